"""The looks that are taken at one picture, and what they find together. For `faces.Detector` alone.

Two networks that fail differently, upright and turned: what either finds is found.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import zxingcpp
from PIL import Image

from relay.scrub import weights
from relay.scrub.canonical import Size
from relay.scrub.faces import Edges
from relay.scrub.found import GROWN, clipped
from relay.scrub.nets import CenterFace, Floats, Net, Rgb, YuNet, suppress
from relay.scrub.wire import LONG_SIDE_PX

_MOST_SHARED = 0.4  # boxes that share more of what they cover together are one face
_MOST_INSIDE = 0.5  # of the smaller of two boxes
_MOST_TIMES = 3  # as large as the other: one face twice, not a face before another
_BLACKEST, _MOST_BLACK = 3, 0.8  # of 255; of what is in a box
_WARM_PX = (96, 64)


@dataclass(frozen=True, kw_only=True)
class Look:
    """One look: by which network, at how many px at most, turned by how many quarters."""

    net: str
    most_px: int
    least_score: float
    quarters: int = 0


# Source: decision 0011. What takes most memory comes first; the rest then fits into it.
LOOKS = (
    Look(net="centerface", most_px=950_000, least_score=0.25),
    Look(net="yunet", most_px=LONG_SIDE_PX**2, least_score=0.5),
    Look(net="yunet", most_px=307_200, least_score=0.75, quarters=1),
    Look(net="yunet", most_px=307_200, least_score=0.75, quarters=2),
    Look(net="yunet", most_px=307_200, least_score=0.75, quarters=3),
)


class Looks:
    """Both networks, read and built."""

    def __init__(self, folder: Path) -> None:
        """Read the weights.

        Raises:
            WeightsAmiss: a file is missing, or is not the pinned one.
        """
        self._nets: dict[str, Net] = {
            "yunet": YuNet(weights.YUNET.read(folder)),
            "centerface": CenterFace(weights.CENTERFACE.read(folder)),
        }

    def warm_up(self) -> None:
        """Run each network and the reader of codes, for what they do the first time only."""
        grey = Image.new("RGB", _WARM_PX)
        self.find_codes(grey)
        self.find_faces(grey)
        for net in self._nets.values():  # with boxes to go through: a score of nought is enough
            suppress(net.look(np.asarray(grey), 0.0), _MOST_SHARED)

    def find_faces(self, picture: Image.Image, looks: tuple[Look, ...] = LOOKS) -> list[Edges]:
        """Return boxes around the faces in `picture` (RGB), the surest first."""
        wanted: dict[tuple[str, Size, int], Look] = {}
        for look in looks:  # a small picture is looked at once, not in two sizes that are the same
            wanted.setdefault((look.net, _fit(picture.size, look.most_px), look.quarters), look)
        shrunk = {size: _shrink(picture, size) for _, size, _ in wanted}
        boxes = [self._take(shrunk[size], look) for (_, size, _), look in wanted.items()]
        whole = [
            np.hstack((one[:, :4] * _scales(picture.size, size), one[:, 4:]))
            for one, (_, size, _) in zip(boxes, wanted, strict=True)
        ]
        kept = _merge(suppress(np.concatenate(whole), _MOST_SHARED))
        boxes_only = [(left, top, right, bottom) for left, top, right, bottom, _ in kept.tolist()]
        return [edges for edges in boxes_only if not _is_covered(picture, edges)]

    def _take(self, rgb: Rgb, look: Look) -> Floats:
        """Return what one look finds, upright."""
        found = self._nets[look.net].look(np.rot90(rgb, look.quarters), look.least_score)
        boxes = suppress(found, _MOST_SHARED)
        boxes[:, :4] = _turn_back(boxes[:, :4], look.quarters, rgb.shape[1], rgb.shape[0])
        return boxes

    @staticmethod
    def find_codes(picture: Image.Image) -> list[Edges]:
        """Return boxes around the QR and bar codes in `picture`."""
        grey = np.asarray(picture.convert("L"))
        kind = zxingcpp.BarcodeFormat
        square = zxingcpp.BarcodeFormats([kind.QRCode, kind.MicroQRCode, kind.RMQRCode])
        # On tickets, cards, parcels and goods, dark on light. Data Matrix would take longer than
        # all of these together.
        others = zxingcpp.BarcodeFormats([kind.Aztec, kind.PDF417, kind.AllLinear])
        codes = [
            *zxingcpp.read_barcodes(grey, square),
            *zxingcpp.read_barcodes(grey, others, try_invert=False),
        ]
        return [_edges(code.position) for code in codes]


def _is_covered(picture: Image.Image, edges: Edges) -> bool:
    """Whether what is taken for a face is a cover: a head without one still looks like a head."""
    box = clipped(*edges, picture.size)
    inside = np.asarray(picture.crop((box.x, box.y, box.right, box.bottom)))
    return bool((inside.max(axis=2) <= _BLACKEST).mean() > _MOST_BLACK)


def _shrink(picture: Image.Image, size: Size) -> Rgb:
    if size == picture.size:
        return np.asarray(picture)
    return np.asarray(picture.resize(size, Image.Resampling.BILINEAR))


def _scales(size: Size, looked_at: Size) -> Floats:
    return np.tile(np.divide(size, looked_at, dtype=np.float32), 2)


def _fit(size: Size, most_px: int) -> Size:
    scale = min(1, math.sqrt(most_px / (size[0] * size[1])))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _merge(boxes: Floats) -> Floats:
    """Drop what lies in a surer box of much the same size: a face that was found twice.

    Never one that the cover over the surer would not hide.
    """
    kept: list[int] = []
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for at, box in enumerate(boxes):
        across = np.minimum(boxes[kept, 2], box[2]) - np.maximum(boxes[kept, 0], box[0])
        down = np.minimum(boxes[kept, 3], box[3]) - np.maximum(boxes[kept, 1], box[1])
        shared = np.maximum(across, 0) * np.maximum(down, 0)
        smaller, larger = (pick(areas[kept], areas[at]) for pick in (np.minimum, np.maximum))
        is_again = (shared > _MOST_INSIDE * smaller) & (larger <= _MOST_TIMES * smaller)
        if not (is_again & _hides(boxes[kept], box)).any():
            kept.append(at)
    return boxes[kept]


def _hides(boxes: Floats, other: Floats) -> npt.NDArray[np.bool_]:
    """Whether the cover over each of `boxes` hides the other."""
    more = GROWN * np.max(boxes[:, 2:4] - boxes[:, :2], axis=1, initial=0, keepdims=True)
    begins = (boxes[:, :2] - more <= other[:2]).all(axis=1)
    ends = (boxes[:, 2:4] + more >= other[2:4]).all(axis=1)
    return np.asarray(begins & ends)


def _turn_back(edges: Floats, quarters: int, width: int, height: int) -> Floats:
    """Return edges in a picture of which a copy turned by np.rot90 was looked at."""
    left, top, right, bottom = edges.T
    turned = (
        (left, top, right, bottom),
        (width - bottom, left, width - top, right),
        (width - right, height - bottom, width - left, height - top),
        (top, height - right, bottom, height - left),
    )[quarters]
    return np.stack(turned, axis=1)


def _edges(position: zxingcpp.Position) -> Edges:
    corners = (position.top_left, position.top_right, position.bottom_right, position.bottom_left)
    across, down = [corner.x for corner in corners], [corner.y for corner in corners]
    return min(across), min(down), max(across), max(down)
