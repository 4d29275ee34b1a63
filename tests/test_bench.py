"""The measurements run, say where a limit is broken, and are written down in a document."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench import desk, growth, scrub, seal, submit
from tests.bench.all import DOCUMENT, NAMES, figures_of, fill_in, machine
from tests.bench.report import Report, Row, finish
from tests.bench.report import growth as growth_rows
from tests.conftest import FULL, ROOT

# A measurement that installs a program from PyPI, and one that looks for faces in each photo twice.
LONG = ("onionshare", "desk")
LIMITS = {
    "submit": [submit.LIMIT],
    "scrub": [*scrub.LIMITS.values()],
    "seal": [seal.LIMIT],
    "desk": [desk.FLAT],
    "growth": [growth.LIMIT],
}


def report(ratio: float) -> Report:
    costs = {100: 1.0, 1000: ratio}
    rows = [Row(name="bare", cost=2.5, unit="ms", bound=2.5, to="bare")]
    return Report(
        name="growth", title="As it is", rows=rows + growth_rows("insert", costs, "ms", 1.2)
    )


@pytest.mark.parametrize("name", [name for name in NAMES if FULL or name not in LONG])
def test_every_measurement_runs_and_writes_what_it_prints(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.bench", name, "--quick", "--json", "--to", tmp_path]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode in (0, 1), done.stderr  # a limit may be broken: it was not quiet
    written = Report.read(tmp_path / f"{name}.json")
    assert json.loads(done.stdout) == written.to_json()
    assert (done.returncode == 1) == written.is_over
    assert all(row.cost > 0 and row.ratio for row in written.rows)
    limits = {row.limit for row in written.rows if row.limit is not None}
    assert limits <= set(LIMITS.get(name, []))
    assert bool(limits) == (name in LIMITS)
    assert (tmp_path / f"{name}.svg").read_text().startswith("<svg")


def test_what_costs_more_than_it_may_is_marked_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert finish(report(1.19), tmp_path) == 0
    assert "OVER" not in capsys.readouterr().out
    assert finish(report(1.21), tmp_path) == 1
    said = capsys.readouterr().out
    assert re.search(r"insert, 1,000 +1\.21 ms +1\.21 +at 100 +1\.20 OVER", said)
    assert "1.20 OVER |" in report(1.21).markdown()
    piped = Report(name="a", title="a", rows=[Row(name="a | b", cost=1, unit="s")]).markdown()
    assert "| a \\| b | 1 s |" in piped, "a bar in a name is no border of a table"
    assert Report.read(tmp_path / "growth.json") == report(1.21)


def test_figures_are_put_in_their_places_and_nothing_else_changes() -> None:
    document = DOCUMENT.read_text()
    filled = fill_in(document, {"growth": figures_of(report(1.0)), "machine": machine("it")})
    assert report(1.0).markdown() in filled
    again = fill_in(filled, {"growth": figures_of(report(1.1)), "machine": machine("it")})
    assert report(1.0).markdown() not in again
    assert report(1.1).markdown() in again
    place = re.compile(r"<!-- bench: (growth|machine) -->.*?<!-- end -->", re.DOTALL)
    assert place.sub("", again) == place.sub("", document)


def test_the_document_names_every_measurement_and_every_limit() -> None:
    document = DOCUMENT.read_text()
    places = re.findall(r"<!-- bench: (\w+) -->", document)
    assert places == ["machine", *NAMES]
    sections = document.split("\n## ")
    for name in NAMES:
        section = next(one for one in sections if f"<!-- bench: {name} -->" in one)
        assert f"`scripts/bench {name}`" in section
        promised = {float(limit) for limit in re.findall(r"\*\*(\d\.\d+)\*\*", section)}
        assert promised == set(LIMITS.get(name, [])), name
    usage = (ROOT / "scripts" / "bench").read_text()
    assert all(re.search(rf"\b{name}\b", usage) for name in NAMES)
    assert "scripts/bench faces" in document


def test_nothing_names_the_machine() -> None:
    assert Path("/etc/hostname").read_text().strip() not in machine("scripts/bench all")
