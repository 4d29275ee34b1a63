"""The looks that are taken at one picture, and what they find together. For `faces.Detector` alone.

Two networks that fail differently, upright and turned: what either finds is found.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zxingcpp
from PIL import Image

from relay.scrub import weights
from relay.scrub.faces import Edges
from relay.scrub.nets import CenterFace, Floats, Net, Rgb, YuNet, suppress

_MOST_SHARED = 0.4  # boxes that share more of what they cover together are one face
_WARM_PX = (96, 64)


@dataclass(frozen=True, kw_only=True)
class Look:
    """One look: by which network, at what long side at most, turned by how many quarters."""

    net: str
    long_px: int
    least_score: float
    quarters: int = 0


# Source: decision 0011.
LOOKS = (
    Look(net="centerface", long_px=960, least_score=0.3),
    Look(net="yunet", long_px=1600, least_score=0.5),
    Look(net="yunet", long_px=640, least_score=0.6),
    Look(net="yunet", long_px=640, least_score=0.7, quarters=1),
    Look(net="yunet", long_px=640, least_score=0.7, quarters=2),
    Look(net="yunet", long_px=640, least_score=0.7, quarters=3),
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
        seen = {}
        for look in reversed(looks):
            size = _fit(picture.size, look.long_px)
            seen[look.net, size, look.quarters] = look  # a small picture needs no second size
        boxes = np.concatenate(
            [self._take(picture, size, look) for (_, size, _), look in seen.items()]
        )
        return [tuple(box[:4]) for box in suppress(boxes, _MOST_SHARED).tolist()]

    def _take(self, picture: Image.Image, size: tuple[int, int], look: Look) -> Floats:
        """Return what one look finds, in px of the whole picture and upright."""
        shrunk = picture
        if size != picture.size:
            shrunk = picture.resize(size, Image.Resampling.BILINEAR)
        rgb: Rgb = np.rot90(np.asarray(shrunk), look.quarters)
        boxes = suppress(self._nets[look.net].look(rgb, look.least_score), _MOST_SHARED)
        boxes[:, :4] = _turn_back(boxes[:, :4], look.quarters, size)
        boxes[:, :4] *= np.tile(np.divide(picture.size, size), 2)
        return boxes

    @staticmethod
    def find_codes(picture: Image.Image) -> list[Edges]:
        """Return boxes around the QR and bar codes in `picture`."""
        codes = zxingcpp.read_barcodes(np.asarray(picture.convert("L")))
        return [_edges(code.position) for code in codes]


def _fit(size: tuple[int, int], long_px: int) -> tuple[int, int]:
    scale = min(1, long_px / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _turn_back(edges: Floats, quarters: int, size: tuple[int, int]) -> Floats:
    """Return edges in the picture of `size`, of which a copy turned by np.rot90 was looked at."""
    width, height = size
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
