"""docs/check-transcript.md is what `relay check` says: remade, it has the same shape."""

import re
import subprocess
from pathlib import Path

from tests.conftest import ROOT

COMMITTED = ROOT / "docs/check-transcript.md"
OF_THE_MACHINE = ("swap", "clock")
_FINDING = re.compile(r"(ok|advice|accepted|refused) +(\S.{0,11}?) {2,}\S")


def shape_of(text: str) -> list[str | tuple[str, str]]:
    """Commands, exit codes, and of each finding its state and name; no words."""
    shape: list[str | tuple[str, str]] = []
    for line in "".join(re.findall(r"```console\n(.*?)```", text, re.DOTALL)).splitlines():
        if finding := _FINDING.match(line):
            shape += [finding.groups()] if finding[2] not in OF_THE_MACHINE else []
        elif line.startswith("$ ") or line.isdigit():
            shape.append(line)
    return shape


def test_the_transcript_of_the_check_is_one(tmp_path: Path) -> None:
    subprocess.run([ROOT / "scripts/check-transcript", tmp_path / "again.md"], check=True)
    committed = shape_of(COMMITTED.read_text())
    assert shape_of((tmp_path / "again.md").read_text()) == committed, "scripts/check-transcript"
    good, bad = committed[: committed.index("0")], committed[committed.index("0") + 1 :]
    assert {one[0] for one in good if isinstance(one, tuple)} == {"ok"}
    assert [one[0] for one in bad if isinstance(one, tuple)].count("refused") > 5
    assert bad[-2:] == ["$ echo $?", "1"]


def test_the_script_is_portable_shell_without_known_traps() -> None:
    script = ROOT / "scripts/check-transcript"
    assert subprocess.run(["shellcheck", script], check=False).returncode == 0
