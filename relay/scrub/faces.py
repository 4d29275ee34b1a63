"""Find what a picture must not show: faces, and codes that a machine can read.

A net, not a guarantee. docs/decisions/0011-face-detector.md says how it is knotted and what it
misses. Importing this loads no decoder and no network; `Detector.load` does.
"""

import enum
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from PIL import Image

    from relay.scrub.looks import Looks

WEIGHTS = Path(__file__).parent / "weights"
Edges = tuple[float, float, float, float]  # left, top, right, bottom in px


class Kind(enum.Enum):
    """What was found."""

    FACE = "face"
    CODE = "code"


@dataclass(frozen=True, kw_only=True)
class Found:
    """A box around something, in px of the picture, inside of it and never empty."""

    kind: Kind
    x: int
    y: int
    width: int
    height: int


class Detector:
    """Both networks and the reader of codes, warm: `find` opens no file and starts no thread."""

    def __init__(self, looks: "Looks") -> None:
        """Take what `load` has made."""
        self._looks = looks

    @classmethod
    def load(cls, folder: Path = WEIGHTS) -> Self:
        """Read the weights, build the networks, run everything once. Forks may use what comes back.

        Raises:
            WeightsAmiss: a file of weights is missing, or is not the pinned one.
        """
        # Before the import. NumPy would start threads, and a process with threads can't leave its
        # namespaces; ONNX Runtime from 1.29 on would tell its maker about this machine.
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        from relay.scrub.looks import Looks  # noqa: PLC0415 - the service may load none of it

        looks = Looks(folder)
        looks.warm_up()
        return cls(looks)

    def find(self, picture: "Image.Image") -> list[Found]:
        """Return what is in `picture` (RGB), the largest first; the same for the same pixels."""
        boxes = [(Kind.FACE, edges) for edges in self._looks.find_faces(picture)]
        boxes += [(Kind.CODE, edges) for edges in self._looks.find_codes(picture)]
        clipped = (_clip(kind, edges, picture.size) for kind, edges in boxes)
        found = [one for one in clipped if one.width > 0 and one.height > 0]
        return sorted(found, key=lambda one: -one.width * one.height)


def _clip(kind: Kind, edges: Edges, size: tuple[int, int]) -> Found:
    left, top = (max(0, math.floor(edge)) for edge in edges[:2])
    right, bottom = (min(side, math.ceil(edge)) for edge, side in zip(edges[2:], size, strict=True))
    return Found(kind=kind, x=left, y=top, width=right - left, height=bottom - top)
