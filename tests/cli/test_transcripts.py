"""Every command, its ordinary and its failing use, as a text that a person can read.

Each file in transcripts/ is what a terminal shows: `$` and a command, what it prints (stdout and
stderr as they come), and its exit code where that is not 0. The commands are run again, and what
they print must be the same, but for ids, keys, days and the like, which stand as `<id 1>`.
`RELAY_TEST_WRITE=1` writes the files anew; read the difference before it is committed.
"""

import datetime as dt
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from relay.cli import build_parser
from relay.cli.campaign import write_desk
from relay.seal.fingerprint import _list_of_words
from tests import photos
from tests.conftest import RELAY, Starter
from tests.test_documents import leaves

FOLDER = Path(__file__).parent / "transcripts"
FILES = sorted(FOLDER.glob("*.txt"))
NEEDS_RELAY = "demo/desk.toml"
# A sender, in two words: what it does on the real form is in README.md.
SEND = """#!/bin/sh
# send PHOTO [WORDS [FIELD=VALUE]]: sends it by the form and keeps the receipt in ./receipt
token=$(curl -s "$FORM" | sed -n 's/.*name="token" value="\\([^"]*\\)".*/\\1/p')
curl -s -F token="$token" -F message="${2:-}" -F "${3:-look=}" -F photo=@"$1" "$FORM" |
    sed -n 's/.*<output id="receipt">\\([^<]*\\)<.*/\\1/p' >receipt
[ -s receipt ] && echo "sent"
"""
ASK = """#!/bin/sh
# ask WORDS: asks a question by the form and keeps the receipt in ./receipt
token=$(curl -s "$FORM" | sed -n 's/.*name="token" value="\\([^"]*\\)".*/\\1/p')
curl -s -F token="$token" -F kind=question -F message="$1" "$FORM" |
    sed -n 's/.*<output id="receipt">\\([^<]*\\)<.*/\\1/p' >receipt
[ -s receipt ] && echo "asked"
"""
TAKE_BACK = """#!/bin/sh
# take-back: takes back what was sent last
[ "$(curl -s -o page -w '%{http_code}' -d receipt="$(cat receipt)" "${FORM}withdraw")" = 200 ] && echo "taken back"
"""  # noqa: E501 - a line of shell
WORDS_OF_A_KEY = re.compile(r"(?<![a-z])(?:[a-z]{3,8} ){7}[a-z]{3,8}(?![a-z])")
CHANGING = (
    ("id", re.compile(r"\b[0-9a-f]{32}\b")),
    ("hash", re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{16})\b")),
    ("signature", re.compile(r"[A-Za-z0-9+/]{86}==")),
    ("recipient", re.compile(r"age1(?:pq1)?[02-9ac-hj-np-z]{50,}")),
    ("signer", re.compile(r"relaysigner1[02-9ac-hj-np-z]{50,}")),
    ("onion key", re.compile(r"\b[A-Z2-7]{52}\b")),
    ("short", re.compile(r"(?<=1…)[02-9ac-hj-np-z]{6}\b|\b[0-9a-f]{8}\b")),
)


def commands_in(text: str) -> list[str]:
    return [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]


class Steady:
    """Makes of what changes from run to run a word that does not."""

    def __init__(self, home: Path, port: int) -> None:
        today = dt.datetime.now(dt.UTC).date()
        self._fixed = {str(home): "~", f"127.0.0.1:{port}": "127.0.0.1:8080", str(today): "<today>"}
        self._fixed[str(today - dt.timedelta(days=1))] = "<before>"
        self._seen: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        for found, shown in self._fixed.items():
            text = text.replace(found, shown)
        for kind, pattern in CHANGING:
            text = pattern.sub(lambda match, kind=kind: self._name(kind, match[0]), text)
        return WORDS_OF_A_KEY.sub(self._name_words, text)

    def _name_words(self, match: re.Match[str]) -> str:
        is_fingerprint = set(match[0].split(" ")) <= set(_list_of_words())
        return self._name("words", match[0]) if is_fingerprint else match[0]

    def _name(self, kind: str, found: str) -> str:
        count = sum(name.startswith(f"<{kind} ") for name in self._seen.values())
        return self._seen.setdefault(found, f"<{kind} {count + 1}>")


def perform(command: str, home: Path, env: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=home,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
    return done.stdout + (f"[{done.returncode}]\n" if done.returncode else "")


@pytest.fixture
def stage(
    tmp_path: Path, request: pytest.FixtureRequest
) -> Callable[..., tuple[Path, dict[str, str], int]]:
    """A home with photos, a passphrase and, where it is wanted, a relay that runs."""

    def build(*, is_served: bool) -> tuple[Path, dict[str, str], int]:
        port = 8080
        env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        if is_served:
            start: Starter = request.getfixturevalue("start_service")
            service = start()
            port = service.port
            write_desk(service.folder, f"127.0.0.1:{port}")
            env["FORM"] = f"{service.url}/en/"
        tools = tmp_path / ".tools"
        tools.mkdir()
        (tools / "relay").symlink_to(RELAY)
        for name, script in (("send", SEND), ("ask", ASK), ("take-back", TAKE_BACK)):
            (tools / name).write_text(script)
            (tools / name).chmod(0o755)
        env |= {"PATH": f"{tools}:{env['PATH']}", "HOME": str(tmp_path), "COLUMNS": "100"}
        for number in range(3):
            photo = photos.dirty_jpeg(photos.picture(seed=number))
            (tmp_path / f"photo-{number + 1}.jpg").write_bytes(photo)
        (tmp_path / "code.jpg").write_bytes(photos.encode(photos.with_code()))
        (tmp_path / "words").write_text("correct horse battery staple again\n")
        return tmp_path, env, port

    return build


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_command_says_what_its_transcript_says(path: Path, stage) -> None:  # noqa: ANN001 - above
    text = path.read_text()
    home, env, port = stage(is_served=NEEDS_RELAY in text)
    steady = Steady(home, port)
    shown = text.partition("\n$ ")[0].rstrip() + "\n"
    for command in commands_in(text):
        shown += f"\n$ {command}\n{steady(perform(command, home, env))}"
    if os.environ.get("RELAY_TEST_WRITE"):
        path.write_text(shown)
    assert shown == text


def test_every_command_has_a_transcript_with_a_use_that_fails() -> None:
    texts = [path.read_text() for path in FILES]
    for name in dict(leaves(build_parser())):
        spoken = re.escape(name).replace("desk\\ ", "desk(?: --config \\S+)? ")
        words = re.compile(rf"\$ (?:.*[^\w-])?relay {spoken}(?= |$)", re.MULTILINE)
        mine = [block for text in texts for block in text.split("\n\n") if words.match(block)]
        if name in {"serve", "demo", "check"}:
            continue  # test_commands.py, and docs/check-transcript.md
        assert mine, f"relay {name} has no transcript"
        ends = [re.search(r"^\[\d+\]$", block, re.MULTILINE) for block in mine]
        assert any(ends), f"relay {name}: no use that fails"
        assert not all(ends), f"relay {name}: no ordinary use"


def test_transcripts_hold_no_secret_and_no_place_of_a_machine() -> None:
    for path in FILES:
        text = path.read_text()
        assert not re.search(r"SECRET-KEY-\w|SIGNER-SECRET-1\w|/tmp/|(?:\d{4} ){4}\d{4}", text), (
            path
        )
        assert text.isascii() or "…" in text
