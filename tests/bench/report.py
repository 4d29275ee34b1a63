"""What a measurement has shown: rows against their bounds, as a table, as JSON, as a plot."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.bench import plot

FOLDER = Path("bench")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way of doing it. bound: the cost (same unit) that it is compared with, and its name.

    limit: the most that the ratio may be; None: nothing was promised.
    """

    name: str
    cost: float
    unit: str
    bound: float | None = None
    to: str = ""
    limit: float | None = None

    @property
    def ratio(self) -> float | None:
        return self.cost / self.bound if self.bound else None

    @property
    def is_over(self) -> bool:
        return self.limit is not None and self.ratio is not None and self.ratio > self.limit

    def cells(self) -> list[str]:
        ratio, limit = self.ratio, self.limit
        return [
            self.name,
            f"{_short(self.cost)} {self.unit}",
            "" if ratio is None else f"{ratio:.2f}",
            self.to,
            "" if limit is None else f"{limit:.2f}{' OVER' if self.is_over else ''}",
        ]


HEAD = ["", "cost", "ratio", "to", "at most"]


@dataclass(kw_only=True)
class Report:
    """All rows of one measurement. series: lines of a plot, by name; notes: what to know of it."""

    name: str
    title: str
    rows: list[Row] = field(default_factory=list)
    series: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    x: str = ""
    y: str = ""
    limit: float = 0
    notes: list[str] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        return any(row.is_over for row in self.rows)

    def text(self) -> str:
        """The table as it is read at a terminal."""
        cells = [HEAD, *(row.cells() for row in self.rows)]
        widths = [max(len(line[at]) for line in cells) for at in range(len(HEAD))]
        lines = [
            line[0].ljust(widths[0])
            + "".join(
                f"  {cell.ljust(width) if at == _TO else cell.rjust(width)}"
                for at, (cell, width) in enumerate(zip(line[1:], widths[1:], strict=True))
            )
            for line in cells
        ]
        return "\n".join([self.title, *(line.rstrip() for line in lines), *self.notes]) + "\n"

    def markdown(self) -> str:
        """The same as a table of a document."""
        told = [[cell.replace("|", "\\|") for cell in row.cells()] for row in self.rows]
        rows = [HEAD, ["---", "---:", "---:", "---", "---:"], *told]
        table = [f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in rows]
        return "\n".join([*table, *(f"\n{note}" for note in self.notes)]) + "\n"

    def write(self, folder: Path) -> None:
        """Write JSON and a plot."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.json"
        path.write_text(json.dumps(self.to_json(), indent=1) + "\n")
        self.draw(folder / f"{self.name}.svg")

    def draw(self, path: Path) -> None:
        if self.series:
            plot.lines(path, self.title, self.series, x=self.x, y=self.y, limit=self.limit)
            return
        bars = [(row.name, row.ratio) for row in self.rows if row.ratio is not None]
        limits = {row.name: row.limit for row in self.rows if row.limit is not None}
        plot.bars(path, f"{self.title}; ratios, red: the limit", bars, limits=limits)

    def to_json(self) -> dict[str, object]:
        rows = [asdict(row) | {"ratio": row.ratio, "is_over": row.is_over} for row in self.rows]
        return asdict(self) | {"rows": rows, "is_over": self.is_over}

    @classmethod
    def read(cls, path: Path) -> "Report":
        """Read what `write` wrote."""
        fields = json.loads(path.read_text())
        derived = {"ratio", "is_over"}
        rows = [
            Row(**{name: value for name, value in row.items() if name not in derived})
            for row in fields.pop("rows")
        ]
        del fields["is_over"]
        return cls(rows=rows, **fields)


_TO = 2  # the column of words among those of figures
_LARGE = 100


def _short(cost: float) -> str:
    return f"{cost:.0f}" if cost >= _LARGE else f"{cost:.3g}"


def growth(name: str, costs: Mapping[int, float], unit: str, limit: float | None) -> list[Row]:
    """Rows of an operation's cost at each number of envelopes, beside that at the smallest."""
    least = min(costs)
    return [
        Row(
            name=f"{name}, {count:,}",
            cost=cost,
            unit=unit,
            bound=costs[least],
            to=f"at {least:,}",
            limit=limit if count > least else None,
        )
        for count, cost in costs.items()
    ]


def finish(report: Report, folder: Path, *, is_json: bool = False) -> int:
    """Print, write and return the exit code: 1 where something costs more than it may."""
    sys.stdout.write(json.dumps(report.to_json(), indent=1) + "\n" if is_json else report.text())
    report.write(folder)
    return 1 if report.is_over else 0


def run(
    measure: Callable[[argparse.Namespace], Report],
    name: str,
    arguments: Sequence[str] | None = None,
    **numbers: tuple[int, int],
) -> int:
    """Measure as asked for on the command line. numbers: options, their value and the quick one."""
    parser = argparse.ArgumentParser(prog=f"scripts/bench {name}")
    for option, (value, quick) in numbers.items():
        words = f"default: {value}; with --quick: {quick}"
        parser.add_argument(f"--{option}", type=int, metavar="N", help=words)
    parser.add_argument("--quick", action="store_true", help="shows that it works, no more")
    parser.add_argument("--json", action="store_true", help="results on stdout as JSON")
    parser.add_argument("--to", type=Path, default=FOLDER, help=f"default: {FOLDER}")
    given = parser.parse_args(arguments)
    for option, (value, quick) in numbers.items():
        if getattr(given, option) is None:
            setattr(given, option, quick if given.quick else value)
    report = measure(given)
    if given.quick:
        report.notes.append("Quick: these figures show that it works and nothing else.")
    # scripts/bench has changed the folder; paths are meant from where a person typed them.
    return finish(report, Path(os.environ.get("BENCH_FROM", ".")) / given.to, is_json=given.json)
