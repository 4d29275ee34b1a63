"""The two networks that find faces, by ONNX Runtime. Loaded by `faces.Detector` alone.

Boxes are float arrays (n, 5): left, top, right, bottom in px, and how sure the network is, 0 to 1.
"""

import functools
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from relay.scrub import weights

Floats = NDArray[np.float32]
Rgb = NDArray[np.uint8]

_STRIDE_PX = 32  # the deepest layer of both: sides are filled up with black to a multiple of it
_SILENT = 4  # of the levels of its log: fatal errors only
_AS_ASKED = 1
_MOST_BOXES = 4000  # of one look: a crowd has hundreds, noise made to keep us busy has more
_MOST_GROWTH = 8.0  # of a logarithm of a size; more would overflow


class Net(Protocol):
    """One network."""

    def look(self, rgb: Rgb, least_score: float) -> Floats:
        """Return the boxes around the faces in `rgb` (height, width, 3)."""


class YuNet:
    """Source: W. Wu, H. Peng, S. Yu, "YuNet", Machine Intelligence Research 20 (2023)."""

    def __init__(self, model: bytes) -> None:
        """Build the network from the published file."""
        self._session = _start(weights.open_up(model, weights.YUNET.outputs))

    def look(self, rgb: Rgb, least_score: float) -> Floats:
        """See Net. It wants blue first, and answers for a grid of points at each stride."""
        planes = _planes(rgb[:, :, ::-1])
        answers = dict(
            zip(weights.YUNET.outputs, _run(self._session, weights.YUNET, planes), strict=True)
        )
        found = []
        for stride in (8, 16, 32):
            sure, there, shape = (answers[f"{one}_{stride}"][0] for one in ("cls", "obj", "bbox"))
            scores = np.sqrt(np.clip(sure[:, 0], 0, 1) * np.clip(there[:, 0], 0, 1))
            at = _strongest(scores, least_score)
            rows, columns = np.divmod(at, planes.shape[3] // stride)
            x, y, width, height = shape[at].T
            middle = (columns + x) * stride, (rows + y) * stride
            found.append(
                _boxes(middle, (_grow(width) * stride, _grow(height) * stride), scores[at])
            )
        return np.concatenate(found)


class CenterFace:
    """Source: Y. Xu et al., "CenterFace: Joint Face Detection and Alignment", arXiv 1911.03599."""

    def __init__(self, model: bytes) -> None:
        """Build the network from the published file."""
        self._session = _start(weights.open_up(model, weights.CENTERFACE.outputs))

    def look(self, rgb: Rgb, least_score: float) -> Floats:
        """See Net. It answers for each point at a stride of 4: a face's middle, size, offset."""
        heat, size, offset = (
            answer[0] for answer in _run(self._session, weights.CENTERFACE, _planes(rgb))
        )
        scores = heat[0].reshape(-1)
        at = _strongest(scores, least_score)
        rows, columns = np.divmod(at, heat.shape[2])
        height, width = size.reshape(2, -1)[:, at]
        y, x = offset.reshape(2, -1)[:, at]
        middle = (columns + x + 0.5) * 4, (rows + y + 0.5) * 4
        return _boxes(middle, (_grow(width) * 4, _grow(height) * 4), scores[at])


def suppress(boxes: Floats, most_shared: float) -> Floats:
    """Return the boxes, surest first, without those that share too much with a surer one.

    most_shared: of the area that two cover together.
    """
    left = boxes[np.argsort(-boxes[:, 4], kind="stable")]
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        left = left[_shared(best, left) <= most_shared]
    return np.array(kept, np.float32).reshape(-1, 5)


def _shared(one: Floats, others: Floats) -> Floats:
    corner = np.maximum(one[:2], others[:, :2])
    sides = np.clip(np.minimum(one[2:4], others[:, 2:4]) - corner, 0, None)
    both = sides[:, 0] * sides[:, 1]
    union = _area(one[None]) + _area(others) - both
    return np.asarray(both / np.maximum(union, 1e-6), np.float32)


def _area(boxes: Floats) -> Floats:
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), np.float32)


def _start(model: bytes) -> Any:
    _share_memory()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # a child has no threads
    options.enable_mem_pattern = False  # made for pictures of one size
    options.log_severity_level = _SILENT  # the box may not write to standard error
    options.add_session_config_entry("session.use_env_allocators", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@functools.cache
def _share_memory() -> None:
    """Let both networks take memory from one place, no more than they ask for.

    Source: OrtArenaCfg. As it comes, each has a place of its own that grows by doubling.
    """
    kind = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    memory = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, onnxruntime.OrtMemType.DEFAULT)
    settings = onnxruntime.OrtArenaCfg({"arena_extend_strategy": _AS_ASKED})
    onnxruntime.create_and_register_allocator(memory, settings)


def _run(session: Any, which: weights.Weights, planes: Floats) -> Sequence[Floats]:
    answers: Sequence[Floats] = session.run(which.outputs, {session.get_inputs()[0].name: planes})
    return answers


def _planes(pixels: Rgb) -> Floats:
    height, width = pixels.shape[:2]
    planes = np.zeros((1, 3, _round_up(height), _round_up(width)), np.float32)
    planes[0, :, :height, :width] = pixels.transpose(2, 0, 1)
    return planes


def _round_up(side_px: int) -> int:
    return -(-side_px // _STRIDE_PX) * _STRIDE_PX


def _strongest(scores: Floats, least: float) -> NDArray[np.intp]:
    at = np.flatnonzero(scores >= least)
    if len(at) > _MOST_BOXES:
        at = np.sort(at[np.argsort(-scores[at], kind="stable")[:_MOST_BOXES]])
    return at


def _grow(logarithm: Floats) -> Floats:
    return np.exp(np.minimum(logarithm, _MOST_GROWTH))


def _boxes(middle: tuple[Floats, Floats], size: tuple[Floats, Floats], scores: Floats) -> Floats:
    (x, y), (width, height) = middle, size
    edges = (x - width / 2, y - height / 2, x + width / 2, y + height / 2, scores)
    return np.stack(edges, axis=1).astype(np.float32)
