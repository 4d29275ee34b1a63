"""Every measurement, one after the other, and the document that shows what came out.

docs/performance.md is prose with places for figures; what stands in these is written here.
"""

import argparse
import datetime as dt
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.bench.report import Report
from tests.conftest import ROOT

NAMES = (
    "submit", "scrub", "seal", "enqueue", "pull", "desk", "form", "growth", "turn", "onionshare",
)  # fmt: skip
DOCUMENT = ROOT / "docs" / "performance.md"
_PLACE = re.compile(r"(<!-- bench: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def machine(command: str) -> str:
    """When, on what and how it was measured; not whose machine it is."""
    cpu = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.*)$", cpu, re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    facts = [
        f"{dt.datetime.now(dt.UTC).date()}",
        f"`{command}`",
        f"{os.cpu_count()} cores ({model[1].strip() if model else 'unknown'})",
        f"{memory:.0f} GiB of memory",
        f"Linux {os.uname().release.partition('-')[0]}",
        f"Python {sys.version.partition(' ')[0]}",
        f"load before the start {os.getloadavg()[0]:.1f}",
    ]
    return ", ".join(facts) + ".\n"


def fill_in(document: str, figures: dict[str, str]) -> str:
    """Return the document with the figures in their places; a place without any is left as is."""

    def put(match: re.Match[str]) -> str:
        name = match[2]
        return f"{match[1]}{figures[name]}{match[3]}" if name in figures else match[0]

    return _PLACE.sub(put, document)


def figures_of(report: Report) -> str:
    plot = f"\n![{report.title}](performance/{report.name}.svg)\n"
    return f"\n{report.markdown()}{plot}\n"


def measure(name: str, folder: Path, *, is_quick: bool) -> bool:
    """Measure in a process of its own, since some change what they measure. False: over, broken."""
    command = [sys.executable, "-m", "tests.bench", name, "--to", str(folder)]
    command += ["--quick"] if is_quick else []
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench all")
    parser.add_argument("--quick", action="store_true", help="shows that all work, no more")
    parser.add_argument(
        "--to", type=Path, default=None, help="performance.md and performance/; default: docs"
    )
    given = parser.parse_args(arguments)
    to = ROOT / "docs"
    if given.to is not None:
        to = Path(os.environ.get("BENCH_FROM", ".")).resolve() / given.to
    elif given.quick:
        parser.error("--quick needs --to: its figures are not for the document")
    begun = machine("scripts/bench all" + " --quick" * given.quick)
    folder = to / "performance"
    bad = [name for name in NAMES if not measure(name, folder, is_quick=given.quick)]
    paths = [folder / f"{name}.json" for name in NAMES]
    figures = {path.stem: figures_of(Report.read(path)) for path in paths if path.exists()}
    document = fill_in(DOCUMENT.read_text(), figures | {"machine": f"\n{begun}\n"})
    (to / DOCUMENT.name).write_text(document)
    if bad:
        print(f"over its limit, or broken: {', '.join(bad)}", file=sys.stderr)  # noqa: T201
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
