"""What is found in a picture and what is drawn over it: boxes in px, from the upper left corner."""

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from relay.scrub.canonical import Size

MOST_FOUND = 500  # in one picture
BLOCK_PX = 16  # a JPEG with 4:2:0 codes squares of this side together
GROWN = 0.3  # of the long side, at each side: hair, ears and chin; source: facts of November 2026
SMALL_FACE_PX = 32  # below it a detector misses some
CROWD = 8  # of more faces it misses some


class Kind(enum.IntEnum):
    """What a detector looks for."""

    FACE = 1
    CODE = 2  # a QR or bar code


@dataclass(frozen=True, order=True)
class Box:
    """A rectangle."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """The first column beyond it."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """The first row beyond it."""
        return self.y + self.height

    def lies_in(self, size: Size) -> bool:
        """Whether it has an inside, all of it in a picture of this size."""
        return (
            min(self.x, self.y) >= 0
            and min(self.width, self.height) > 0
            and self.right <= size[0]
            and self.bottom <= size[1]
        )

    def shared_with(self, other: "Box") -> int:
        """Return the area (px) that both cover."""
        across = min(self.right, other.right) - max(self.x, other.x)
        down = min(self.bottom, other.bottom) - max(self.y, other.y)
        return max(0, across) * max(0, down)

    def scaled(self, before: Size, after: Size) -> "Box":
        """Return its place in a picture of size `before` that becomes one of `after`; outward."""
        across, down = after[0] / before[0], after[1] / before[1]
        left, top = int(self.x * across), int(self.y * down)
        right, bottom = -int(-self.right * across // 1), -int(-self.bottom * down // 1)
        return clipped(left, top, right, bottom, after)


@dataclass(frozen=True, kw_only=True)
class Found:
    """A face or a code, and where it is."""

    kind: Kind
    box: Box

    def scaled(self, before: Size, after: Size) -> "Found":
        """Return it as `Box.scaled` has it."""
        return self if before == after else replace(self, box=self.box.scaled(before, after))


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What is drawn over a picture: a black box, or a frame; a number in it where that is not 0."""

    box: Box
    is_solid: bool = True
    number: int = 0


def clipped(left: float, top: float, right: float, bottom: float, size: Size) -> Box:
    """Return the box between these sides as far as it lies in a picture of `size`."""
    x, y = (
        min(max(0, int(start)), side - 1) for start, side in zip((left, top), size, strict=True)
    )
    ends = [-int(-stop // 1) for stop in (right, bottom)]
    width, height = (
        max(1, min(stop, side) - start)
        for stop, side, start in zip(ends, size, (x, y), strict=True)
    )
    return Box(x, y, width, height)


def snapped(box: Box, size: Size) -> Box:
    """Return `box` grown outward to whole blocks, so that nothing beside it is coded with it."""
    return clipped(
        box.x // BLOCK_PX * BLOCK_PX,
        box.y // BLOCK_PX * BLOCK_PX,
        -(-box.right // BLOCK_PX) * BLOCK_PX,
        -(-box.bottom // BLOCK_PX) * BLOCK_PX,
        size,
    )


def cover_of(box: Box, size: Size) -> Box:
    """Return the generous cover over what was found at `box` in a picture of `size`."""
    more = GROWN * max(box.width, box.height)
    grown = clipped(box.x - more, box.y - more, box.right + more, box.bottom + more, size)
    return snapped(grown, size)


def is_same(one: Box, other: Box) -> bool:
    """Whether two boxes mean the same thing: they share half of what they cover together.

    Else the box of a printed face would stand for a real one beside it, or one box for all.
    """
    shared = one.shared_with(other)
    both = one.width * one.height + other.width * other.height - shared
    return 2 * shared >= both


def unmarked(found: Iterable[Found], marked: Sequence[Box]) -> list[Found]:
    """Return what was found and is not among the boxes that were marked before.

    Each mark stands for one find.
    """
    free, left = list(marked), []
    for one in found:
        mark = next((box for box in free if is_same(one.box, box)), None)
        if mark is None:
            left.append(one)
        else:
            free.remove(mark)
    return left


def is_hard(found: Sequence[Found]) -> bool:
    """Whether there are so many faces, or so small ones, that a detector misses some."""
    faces = [one.box for one in found if one.kind is Kind.FACE]
    return len(faces) > CROWD or any(max(b.width, b.height) < SMALL_FACE_PX for b in faces)
