"""The few sizes in which a picture may leave. docs/decisions/0007-canonical-sizes.md says why.

Width and height name the camera: they are what is left when everything else is gone.
"""

import math
from dataclasses import dataclass

from relay.scrub.wire import LONG_SIDE_PX, View

Size = tuple[int, int]
_EDGE = 6.6 / LONG_SIDE_PX  # of each side: 3.3 px left and right of a picture of our own size
LONG_SIDES_PX = (LONG_SIDE_PX, 1280, 960, 640, 320)
_RATIOS = ((1, 1), (4, 3), (3, 2), (16, 9), (20, 9))
_MOST_CROPPED = 1 / 8  # of the picture; beyond it the whole is shown on white


def _sizes(long_px: int) -> list[Size]:
    return [(long_px, round(long_px * short / long)) for long, short in _RATIOS]


def _both_ways(long_px: int) -> set[Size]:
    return {turned for size in _sizes(long_px) for turned in (size, size[::-1])}


_LANDSCAPE = {long_px: _sizes(long_px) for long_px in LONG_SIDES_PX}
SIZES = frozenset[Size]().union(*map(_both_ways, LONG_SIDES_PX))
# No size is of two views: a preview can't pass for a photo.
SIZES_OF = {
    View.PHOTO: SIZES,
    View.PREVIEW: frozenset(_both_ways(View.PREVIEW.side_px)),
    View.THUMBNAIL: frozenset(_both_ways(View.THUMBNAIL.side_px)),
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Where a picture goes.

    `box` of it (px: left, top, right, bottom) is drawn `drawn` px large in the middle of a white
    canvas of `canvas` px. Without a margin, `drawn` is `canvas`.
    """

    canvas: Size
    drawn: Size
    box: tuple[float, float, float, float]


def plan(width_px: int, height_px: int, *, is_ours: bool) -> Plan:
    """Return how a picture of this size becomes one of `SIZES`.

    It is cropped around its middle to the nearest ratio where that costs at most an eighth of it,
    and shown whole on white where it would cost more. A narrow edge goes in any case: the rest then
    lies askew to the blocks of 8 px that it was coded in, and what was hidden in those, or tells
    which program coded them, is blurred. is_ours: a picture of one of `SIZES`, taken as it is.
    """
    long_px = min(LONG_SIDES_PX, key=lambda side: _distance(side, max(width_px, height_px)))
    ratio = max(width_px, height_px) / min(width_px, height_px)
    canvas = min(_LANDSCAPE[long_px], key=lambda size: _distance(size[0] / size[1], ratio))
    if width_px < height_px:
        canvas = canvas[1], canvas[0]
    scales = canvas[0] / width_px, canvas[1] / height_px
    if min(scales) / max(scales) < 1 - _MOST_CROPPED:
        drawn = [max(1, round(side * min(scales))) for side in (width_px, height_px)]
        return Plan(canvas=canvas, drawn=(drawn[0], drawn[1]), box=_box(width_px, height_px, 1, 1))
    if is_ours:
        return Plan(canvas=canvas, drawn=canvas, box=(0, 0, width_px, height_px))
    across, down = (min(1, scale / max(scales)) for scale in scales)
    return Plan(canvas=canvas, drawn=canvas, box=_box(width_px, height_px, across, down))


def _box(
    width_px: int, height_px: int, across: float, down: float
) -> tuple[float, float, float, float]:
    """Return the middle of a picture: these shares of its sides, less the edge."""
    left = width_px * (1 - across * (1 - _EDGE)) / 2
    top = height_px * (1 - down * (1 - _EDGE)) / 2
    return left, top, width_px - left, height_px - top


def smaller(size: Size) -> list[Size]:
    """Return the canonical sizes below `size` in its own ratio, largest first."""
    at = LONG_SIDES_PX.index(max(size))
    ratio = _LANDSCAPE[LONG_SIDES_PX[at]].index((max(size), min(size)))
    below = [_LANDSCAPE[long_px][ratio] for long_px in LONG_SIDES_PX[at + 1 :]]
    return below if size[0] >= size[1] else [(short, long) for long, short in below]


def view_size(size: Size, view: View) -> Size:
    """Return the size in which a picture of one of `SIZES` is shown."""
    if view is View.PHOTO:
        return size
    ratio = size[0] / size[1]
    return min(SIZES_OF[view], key=lambda other: _distance(other[0] / other[1], ratio))


def _distance(one: float, other: float) -> float:
    return abs(math.log(one / other))
