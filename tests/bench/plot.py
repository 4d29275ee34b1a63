"""Plots as small SVG files that any browser shows: lines over an axis, bars with their limits."""

import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

_COLOURS = ("#36c", "#c60", "#393", "#909", "#099", "#666", "#b90", "#c09")
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 900, 340, 70, 260, 34, 40
_MOST_POINTS = 300  # of a line: more can't be seen
Points = Sequence[tuple[float, float]]


def lines(  # noqa: PLR0913 - what stands on a plot
    path: Path, title: str, series: Mapping[str, Points], *, x: str, y: str, limit: float = 0
) -> None:
    """Draw each series as a line from zero up. limit: a red line at that height."""
    high = _nice(max([limit, *(b for points in series.values() for _, b in points)], default=1))
    wide = max((a for points in series.values() for a, _ in points), default=1) or 1
    across, down = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def at(a: float, b: float) -> str:
        return f"{_LEFT + across * a / wide:.1f},{_TOP + down * (1 - b / high):.1f}"

    marks = []
    for tick in range(5):
        b, a = high * tick / 4, wide * tick / 4
        marks += [
            f'<path d="M{at(0, b)}L{at(wide, b)}" stroke="#ddd"/>',
            _text(_LEFT - 6, _TOP + down * (1 - tick / 4) + 4, f"{b:g}", "end"),
            _text(_LEFT + across * tick / 4, _HEIGHT - _BOTTOM + 16, f"{a:.3g}", "middle"),
        ]
    for number, (name, points) in enumerate(series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        thinned = points[:: max(1, len(points) // _MOST_POINTS)]
        path_data = " ".join(at(a, b) for a, b in thinned)
        marks.append(f'<polyline points="{path_data}" fill="none" stroke="{colour}"/>')
        row = _TOP + 14 + 18 * number
        marks.append(
            f'<path d="M{_WIDTH - _RIGHT + 10} {row - 4}h16" stroke="{colour}" stroke-width="3"/>'
        )
        marks.append(_text(_WIDTH - _RIGHT + 32, row, name))
    if limit:
        marks.append(f'<path d="M{at(0, limit)}L{at(wide, limit)}" stroke="#c00"/>')
    marks.append(_text(_LEFT + across / 2, _HEIGHT - 6, x, "middle"))
    marks.append(_text(8, _TOP - 4, y))
    _write(path, title, _HEIGHT, marks)


def bars(
    path: Path, title: str, rows: Sequence[tuple[str, float]], *, limits: Mapping[str, float] = {}
) -> None:
    """Draw a bar for each row. limits: a red mark on the row of that name."""
    left, height = 300, 26
    most = max([*(value for _, value in rows), *limits.values()], default=1) or 1
    unit = (_WIDTH - left - 80) / most
    marks = []
    for number, (name, value) in enumerate(rows):
        row = 30 + height * number
        fill = _COLOURS[0]
        marks += [
            f'<rect x="{left}" y="{row}" width="{unit * value:.1f}" height="18" fill="{fill}"/>',
            _text(left - 8, row + 14, name, "end"),
            _text(left + unit * value + 6, row + 14, f"{value:.3g}"),
        ]
        if name in limits:
            at = left + unit * limits[name]
            marks.append(f'<path d="M{at:.1f} {row - 4}v26" stroke="#c00"/>')
    _write(path, title, 40 + height * len(rows), marks)


def _nice(most: float) -> float:
    """The next of 1, 2, 4, 6, 8 times a power of ten."""
    power = 10 ** math.floor(math.log10(most)) if most > 0 else 1
    return next((step * power for step in (1, 2, 4, 6, 8) if step * power >= most), 10 * power)


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    shown = html.escape(words)
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{shown}</text>'


def _write(path: Path, title: str, height: int, marks: Sequence[str]) -> None:
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="#fff"/>'
        + _text(8, 16, title)
        + "".join(marks)
        + "</svg>\n"
    )
