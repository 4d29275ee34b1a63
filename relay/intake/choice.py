"""What a submitter chose on the cover page, and the covers that follow from it.

Everything found is covered unless she says that it is printed on the poster. A grid of squares lies
over the picture; she covers any of them, or all but those that she ticks.
"""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass

from relay.errors import KeepNothing
from relay.scrub.canonical import Size
from relay.scrub.found import Box, Found, Kind, Mark, clipped, cover_of, snapped

SQUARES = 12  # along the long side
_FIELD = re.compile(r"([vc])([0-9]{1,3})")
MOST_NUMBERED = 60  # what is found beyond them is covered in any case


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Numbers of what stays visible, squares ticked (row by row from 0), what the ticks mean."""

    visible: frozenset[int] = frozenset()
    squares: frozenset[int] = frozenset()
    is_rest_covered: bool = False  # all squares but the ticked ones

    def encode(self) -> bytes:
        """Return the same bytes for the same choice."""
        fields = [sorted(self.visible), sorted(self.squares), self.is_rest_covered]
        return json.dumps(fields).encode()


@dataclass(frozen=True, kw_only=True)
class Looked:
    """A photo's size (px), its squares, and what was found in it, numbered from 1."""

    size: Size
    found: tuple[Found, ...]

    @property
    def columns(self) -> int:
        """How many squares lie side by side over it."""
        return round(SQUARES * self.size[0] / max(self.size))

    @property
    def rows(self) -> int:
        """How many squares lie one above the other."""
        return round(SQUARES * self.size[1] / max(self.size))

    @property
    def numbered(self) -> tuple[Found, ...]:
        """What she can leave visible: number 1 comes first."""
        return self.found[:MOST_NUMBERED]

    def square(self, number: int) -> Box:
        """Return the place of a square in px."""
        row, column = divmod(number, self.columns)
        width, height = self.size[0] / self.columns, self.size[1] / self.rows
        left, top = column * width, row * height
        return snapped(clipped(left, top, left + width, top + height, self.size), self.size)

    def fit(self, choice: Choice) -> Choice:
        """Return as much of `choice` as there is here.

        Raises:
            KeepNothing: the whole picture would be covered.
        """
        every = frozenset(range(self.rows * self.columns))
        fitted = Choice(
            visible=choice.visible & frozenset(range(1, len(self.numbered) + 1)),
            squares=choice.squares & every,
            is_rest_covered=choice.is_rest_covered,
        )
        if self.covered_squares(fitted) == every:
            raise KeepNothing
        return fitted

    def covered_squares(self, choice: Choice) -> frozenset[int]:
        """Return the squares that `choice` covers."""
        every = frozenset(range(self.rows * self.columns))
        return every - choice.squares if choice.is_rest_covered else choice.squares

    def covers(self, choice: Choice) -> list[Box]:
        """Return what is drawn over the photo (px)."""
        boxes = [
            cover_of(one.box, self.size)
            for number, one in enumerate(self.found, 1)
            if number not in choice.visible
        ]
        return [*boxes, *map(self.square, sorted(self.covered_squares(choice)))]

    def preview(self, choice: Choice) -> list[Mark]:
        """Return what is drawn over the preview: the covers, and each number where it belongs."""
        squares = map(self.square, sorted(self.covered_squares(choice)))
        marks = [Mark(box=box) for box in squares]
        for number, one in enumerate(self.found, 1):
            is_visible = number in choice.visible
            box = one.box if is_visible else cover_of(one.box, self.size)
            shown = number if number <= len(self.numbered) else 0
            marks.append(Mark(box=box, is_solid=not is_visible, number=shown))
        return marks

    def report(self, choice: Choice) -> dict[str, int]:
        """Return how much was covered and left visible, for the scrub report."""
        counts = {"squares_covered": len(self.covered_squares(choice))}
        for kind, word in ((Kind.FACE, "faces"), (Kind.CODE, "codes")):
            numbers = [number for number, one in enumerate(self.found, 1) if one.kind is kind]
            visible = sum(number in choice.visible for number in numbers)
            counts |= {f"{word}_covered": len(numbers) - visible, f"{word}_visible": visible}
        return counts

    def visible(self, choice: Choice) -> list[Box]:
        """Return what stays visible (px)."""
        return [self.found[number - 1].box for number in sorted(choice.visible)]


def read_choice(names: Collection[str]) -> Choice:
    """Return the choice that a form stands for: `v3`, `c17`, `rest`; other fields are not ours."""
    ours = [match for name in names if (match := _FIELD.fullmatch(name))]
    return Choice(
        visible=frozenset(int(match[2]) for match in ours if match[1] == "v"),
        squares=frozenset(int(match[2]) for match in ours if match[1] == "c"),
        is_rest_covered="rest" in names,
    )
