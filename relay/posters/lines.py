"""Where lines end, and how large letters can be so that all of them fit.

Widths are in ems, heights too: both grow with the letters.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from relay.errors import ConfigInvalid

Measure = Callable[[str], float]
LARGEST_PT, SMALLEST_PT = 300, 24
# Between the lowest stroke of a line and the highest of the next, in ems.
_GAP, _WIDEST_GAP = 0.12, 0.5
_RULED = re.compile(r"\s*_{2,}\s*")
RULE_HEIGHT = 0.9  # above a line to write on, in ems: capitals as large as the print
_SPACES = re.compile(r"[ \t\u3000]+")  # and none that holds two words together
_BREAK = "\N{ZERO WIDTH SPACE}"
# Chinese ends a line after any character, but begins none with what closes a clause. Source:
# Unicode Annex 14, classes ID, OP, CL.
_HAN, _CLOSES, _OPENS = r"\u3400-\u9fff", "，。、！？：；」』）》", "「『（《"  # noqa: RUF001 - Chinese
_BETWEEN_HAN = re.compile(f"(?<=[{_HAN}{_CLOSES}])(?=[{_HAN}{_OPENS}])")
# Burmese writes no spaces between words; a line may end where a syllable begins: at a letter that
# is not stacked under another and carries no asat. Source: Unicode 16.4.
_BETWEEN_SYLLABLES = re.compile(
    r"(?<=[\u1000-\u109f])(?<!\u1039)(?=[\u1000-\u102a\u103f\u104c-\u104f](?!\u1037?[\u1039\u103a]))"
)


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the poster. above, below: how far its strokes reach, in ems."""

    words: str
    above: float
    below: float
    is_rule: bool = False


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Every line, the size of the letters in points, and where each line stands from the top."""

    lines: tuple[Line, ...]
    size_pt: float
    baselines_pt: tuple[float, ...]


def lay_out(
    words: str,
    *,
    width_pt: float,
    height_pt: float,
    measure: Measure,
    ink: Callable[[str], tuple[float, float]],
) -> Layout:
    """Return the lines in the largest letters in which they fit.

    ink: how far a line's strokes reach above and below where it stands, in ems.

    Raises:
        ConfigInvalid: they don't fit in letters that can be read from where a photo is taken.
    """
    above, below = ink(words)
    for size in range(LARGEST_PT, SMALLEST_PT - 1, -2):
        wrapped = _wrap_all(words, width_pt / size, measure)
        if wrapped is None:
            continue
        lines = tuple(_line(one, above, below) for one in wrapped)
        gap = _gap(lines, height_pt / size)
        if gap >= _GAP:
            return _place(lines, size, min(gap, _WIDEST_GAP), height_pt)
    raise ConfigInvalid(
        f"too long for a poster: it does not fit in letters of {SMALLEST_PT} points"
    )


def _line(words: str, above: float, below: float) -> Line:
    if _RULED.fullmatch(words):
        return Line(words="", above=RULE_HEIGHT, below=0, is_rule=True)
    return Line(words=words, above=above, below=below)


def _gap(lines: Sequence[Line], height: float) -> float:
    """Return how much room there is between two lines of all that share `height`."""
    left = height - sum(line.above + line.below for line in lines)
    return left / (len(lines) - 1) if len(lines) > 1 else left


def _place(lines: tuple[Line, ...], size_pt: float, gap: float, height_pt: float) -> Layout:
    steps = [before.below + gap + after.above for before, after in pairwise(lines)]
    used = lines[0].above + sum(steps) + lines[-1].below
    at = (height_pt / size_pt - used) / 2 + lines[0].above
    baselines = [at]
    for step in steps:
        baselines.append(baselines[-1] + step)
    return Layout(
        lines=lines, size_pt=size_pt, baselines_pt=tuple(size_pt * line for line in baselines)
    )


def _wrap_all(words: str, width: float, measure: Measure) -> list[str] | None:
    """Return the lines; None where a single piece is wider than the sheet."""
    lines = []
    for paragraph in words.strip().splitlines():
        if _RULED.fullmatch(paragraph):
            lines.append(paragraph)
            continue
        pieces = pieces_of(paragraph)
        if any(measure(piece.strip()) > width for piece in pieces):
            return None
        lines += _balance(pieces, width, measure)
    return lines


def pieces_of(paragraph: str) -> list[str]:
    """Split where a line may end. A space stays with what is before it."""
    pieces = []
    for word in _SPACES.split(paragraph.strip()):
        marked = word
        if _BREAK not in word:  # who put marks of her own knows the words
            marked = _BETWEEN_HAN.sub(_BREAK, _BETWEEN_SYLLABLES.sub(_BREAK, word))
        parts = [part for part in marked.split(_BREAK) if part] or [""]
        pieces += [*parts[:-1], f"{parts[-1]} "]
    return pieces or [""]


def _balance(pieces: list[str], width: float, measure: Measure) -> list[str]:
    """Return as few lines as there can be, as equally long as they can be."""
    lines = _wrap(pieces, width, measure)
    for percent in range(95, 0, -5):
        narrower = _wrap(pieces, width * percent / 100, measure)
        if len(narrower) > len(lines) or max(map(measure, narrower)) > width:
            break
        lines = narrower
    return lines


def _wrap(pieces: list[str], width: float, measure: Measure) -> list[str]:
    lines, line = [], pieces[0]
    for piece in pieces[1:]:
        if measure((line + piece).strip()) <= width:
            line += piece
        else:
            lines.append(line.strip())
            line = piece
    return [*lines, line.strip()]
