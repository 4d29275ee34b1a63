"""w3m and lynx: browsers without style, pictures or scripts."""

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import photos
from tests.conftest import Service

pytestmark = pytest.mark.browser
_PATIENCE_S = 30.0


class Terminal:
    """A program at a terminal, and what it has shown since it was last asked."""

    def __init__(self, home: Path, *command: str) -> None:
        self.process, self.end = pty.fork()
        if self.process == 0:
            environment = {"TERM": "xterm", "HOME": str(home), "LANG": "C.UTF-8", "LINES": "60"}
            os.execvpe(command[0], command, os.environ | environment)  # noqa: S606

    def await_words(self, wanted: str) -> None:
        shown = ""
        deadline = time.monotonic() + _PATIENCE_S
        while wanted not in re.sub(r"\s+", " ", shown):
            assert time.monotonic() < deadline, shown
            if select.select([self.end], [], [], 0.1)[0]:
                piece = os.read(self.end, 65536).decode(errors="replace")
                shown += re.sub(r"\x1b(\[[0-9;?]*[a-zA-Z]|[()=>].?)", "", piece)

    def press(self, keys: str) -> None:
        os.write(self.end, keys.encode())

    def close(self) -> None:
        os.kill(self.process, 9)
        os.waitpid(self.process, 0)
        os.close(self.end)


@pytest.fixture
def w3m(service: Service, tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path, "w3m", "-no-mouse", f"{service.url}/en/")
    yield terminal
    terminal.close()


def test_a_photo_can_be_sent_with_w3m(service: Service, w3m: Terminal, tmp_path: Path) -> None:
    photo = tmp_path / photos.FILE_NAME
    photo.write_bytes(photos.dirty_jpeg())
    w3m.await_words("Viewing <Send a photo>")
    w3m.press("/Show me the photo\r")
    w3m.await_words("Forward: Show me the photo")
    w3m.press("\x1b\t\x1b\t\r")  # two fields back, and into it
    w3m.await_words("Filename:")
    w3m.press(f"{photo}\r")
    w3m.press("\t\t\r")  # two fields on: Send
    w3m.await_words("Your photo has arrived and is locked away.")
    pulled = service.desk("pull", "--to", "sealed", "--json").json
    assert len(pulled["fetched"]) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("command", [("w3m", "-dump"), ("lynx", "-dump", "-nolist", "-width=80")])
def test_without_style_everything_is_there_in_order(
    shared_service: Service, command: tuple[str, ...], tmp_path: Path
) -> None:
    def show(page: str) -> str:
        (tmp_path / "page.html").write_text(page)
        shown = subprocess.run(
            [*command, str(tmp_path / "page.html")], capture_output=True, text=True, check=True
        )
        return re.sub(r"\s+", " ", shown.stdout)

    sent = shared_service.send(photos.dirty_jpeg(photos.picture(640, 480)))
    for page, wanted in {
        shared_service.get("/en/").text: [
            "Leave this page",
            "Hold the poster in front of your whole face, eyes too.",
            "Leave this empty",
            "Message",
            "Photo",
            "Send",
            "I have a receipt",
        ],
        sent.text: ["locked away", sent.receipt, "This shows my face. Take it back.", "Now"],
        shared_service.post_receipt("receipt", sent.receipt).text: [
            "is here, locked",
            "Take it back",
        ],
    }.items():
        shown, at = show(page), 0
        for words in wanted:
            at = shown.index(words, at)
