"""Progress is for a person at a terminal: it is drawn on stderr and leaves nothing."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import RELAY, Result, Service, at_terminal
from tests.envelopes import announce, clean_photo, seal

ESCAPE = "\x1b"


@pytest.fixture
def sealed(campaign: Path) -> Path:
    """A desk with twelve envelopes in sealed/."""
    photo = clean_photo()
    for _ in range(12):
        announce(campaign, seal(campaign, photo=photo))
    return campaign


def typed(campaign: Path, words: str, *, term: str = "xterm") -> Result:
    """Type a line into a shell at a narrow terminal."""
    line = f"stty cols 40; {shlex.quote(RELAY)} desk --config demo/desk.toml {words}"
    command = ["env", f"TERM={term}", "sh", "-c", line]
    return at_terminal(command, [], cwd=campaign.parent)


def left(shown: str) -> list[str]:
    """The lines that stand at the terminal in the end, but for what was drawn over."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", re.sub(r"[^\n]*\r\x1b\[2K", "", shown))
    return [line.rstrip("\r").rpartition("\r")[2] for line in plain.split("\n")]


@pytest.mark.parametrize(("command", "what"), [("open", "Opening"), ("review", "Looking")])
def test_at_a_terminal_a_bar_is_drawn_and_the_results_stand_whole(
    sealed: Path, command: str, what: str
) -> None:
    done = typed(
        sealed, f"{command} sealed --to a-folder-with-quite-a-long-name-for-a-narrow-terminal"
    )
    assert done.code == 0
    assert what in done.out
    assert "/12" in done.out
    results = [line for line in left(done.out) if line.startswith("a-folder-with")]
    assert len(results) == (12 if command == "open" else 1)
    for line in results:
        assert re.fullmatch(r"a-folder-with[a-z-]+terminal/([0-9a-f]{32}|review\.html)", line)


@pytest.mark.parametrize("how", ["--json", "2>err", "dumb"])
def test_nowhere_else_is_anything_drawn(sealed: Path, how: str) -> None:
    words = f"open sealed --to opened {how if how != 'dumb' else ''}"
    done = typed(sealed, words, term="dumb" if how == "dumb" else "xterm")
    assert done.code == 0
    assert ESCAPE not in done.out
    assert "Opening" not in done.out


def test_results_that_go_to_a_file_go_there_and_not_to_the_terminal(sealed: Path) -> None:
    done = typed(sealed, "open sealed --to opened >list")
    assert "Opening" in done.out
    assert "opened/" not in done.out
    listed = (sealed.parent / "list").read_text().splitlines()
    assert len(listed) == 12
    assert all(re.fullmatch("opened/[0-9a-f]{32}", line) for line in listed)


def test_without_a_terminal_what_draws_is_not_even_loaded(sealed: Path) -> None:
    code = (
        "import sys; from relay.cli import main\n"
        "main(['desk', '--config', 'demo/desk.toml', 'review', 'sealed', '--to', 'sheet'])\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=sealed.parent, capture_output=True, text=True, check=False
    )
    path, loaded = done.stdout.splitlines()
    warning = "sealed: no manifest, so nothing shows what is missing here.\n"
    assert (path, done.stderr) == ("sheet/review.html", warning)
    assert "relay" in loaded.split()
    assert "rich" not in loaded.split()


def test_what_waits_for_the_relay_shows_how_far_it_is_too(service: Service, dirty: bytes) -> None:
    service.send(dirty)
    assert "Fetching" in typed(service.folder, "pull --to sealed").out
    (name,) = (path.stem for path in (service.folder.parent / "sealed").glob("*.age"))
    released = typed(service.folder, f"release {name[:8]}")
    assert "Sending" in released.out
    assert f"{name}: released" in left(released.out)
