"""Progress, leaving, and the field that must stay empty, without a browser."""

import html
import io
import re
import socket
import sys
from collections.abc import Iterator

import pytest
from PIL import Image, ImageSequence

from relay.web.progress import _HEAD, STEPS, _frame
from tests.conftest import Answer, Service, Starter, multipart, wait_until
from tests.web.test_pages import check_headers


def upload(service: Service, photo: bytes, **fields: str) -> tuple[bytes, bytes]:
    """The head and the body of an upload, as a browser would send them."""
    page = service.get("/en/").text
    hidden = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]+)"', page)
    parts: list[tuple[str, bytes, str | None]] = [
        (name, value.encode(), None) for name, value in [*hidden, *fields.items()]
    ]
    body, kind = multipart([*parts, ("photo", photo, "x.jpg")])
    head = f"POST /en/ HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode(), body


def name_in(body: bytes) -> str:
    match = re.search(rb'name="progress"\r\n\r\n([\w-]{22})\r\n', body)
    assert match
    return match[1].decode()


class Watcher:
    """A browser that shows the progress picture."""

    def __init__(self, service: Service, name: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", service.port), timeout=20)
        ask = f"GET /progress/{name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        self.socket.sendall(ask.encode())
        self.content = b""
        while b"\r\n\r\n" not in self.content:
            self.content += self.socket.recv(65536)

    def look(self) -> int:
        """How many frames have come."""
        self.socket.settimeout(0)
        try:
            while chunk := self.socket.recv(65536):
                self.content += chunk
        except BlockingIOError:
            pass
        return self.content.count(b"\x21\xf9\x04") - 1

    def finish(self) -> bytes:
        """The whole picture."""
        self.socket.settimeout(20)
        with self.socket:
            while chunk := self.socket.recv(65536):
                self.content += chunk
        head, _, rest = self.content.partition(b"\r\n\r\n")
        if b"chunked" not in head:
            return rest
        picture = b""
        while rest:  # chunks, each behind its length
            length, _, rest = rest.partition(b"\r\n")
            picture, rest = picture + rest[: int(length, 16)], rest[int(length, 16) + 2 :]
        return picture


@pytest.fixture
def sender(service: Service) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        yield connection


def test_the_picture_grows_as_the_photo_comes(
    service: Service, dirty: bytes, sender: socket.socket
) -> None:
    head, body = upload(service, dirty)
    watcher = Watcher(service, name_in(body))
    wait_until(lambda: watcher.look() == 0)
    sent = 0
    sender.sendall(head)
    for share in (0.32, 0.62, 0.92):
        sender.sendall(body[sent : (sent := int(share * len(body)))])
        wait_until(lambda share=share: watcher.look() == int(STEPS * share))  # type: ignore[misc]
    sender.sendall(body[sent:])
    picture = Image.open(io.BytesIO(watcher.finish()))
    assert picture.n_frames == STEPS + 1  # type: ignore[attr-defined]
    assert picture.info["loop"] == 1
    blue = [
        sum(pixel[:3] == (0x2F, 0x6F, 0xDE) for pixel in frame.convert("RGBA").get_flattened_data())
        for frame in ImageSequence.Iterator(picture)
    ]
    width, height = picture.size
    assert blue == [step * width * height // STEPS for step in range(STEPS + 1)]


def test_a_picture_of_an_upload_that_breaks_ends(
    service: Service, dirty: bytes, sender: socket.socket
) -> None:
    head, body = upload(service, dirty)
    watcher = Watcher(service, name_in(body))
    sender.sendall(head + body[: int(len(body) * 0.52)])
    wait_until(lambda: watcher.look() == STEPS // 2)
    sender.close()
    picture = watcher.finish()
    assert picture.endswith(b"\x3b")
    assert picture.count(b"\x21\xf9\x04") - 1 == STEPS // 2


def test_a_picture_tells_what_it_shows_and_nothing_else(service: Service) -> None:
    name = "0123456789abcdefghijkl"
    watcher = Watcher(service, name)
    again = service.get(f"/progress/{name}")
    check_headers(again.headers)
    assert again.headers["Content-Type"] == "image/gif"
    assert Image.open(io.BytesIO(again.body)).n_frames == 1  # type: ignore[attr-defined]
    head = watcher.content.partition(b"\r\n\r\n")[0].decode()
    check_headers(dict(line.split(": ", 1) for line in head.split("\r\n")[1:]))
    watcher.socket.close()


def test_watchers_are_few_and_keep_nobody_out(service: Service, dirty: bytes) -> None:
    watchers = [Watcher(service, f"{at:022}") for at in range(201)]
    assert watchers[200].finish() != b"", "an empty picture at once"
    assert service.send(dirty).receipt
    for watcher in watchers:
        watcher.socket.close()

    def is_there_room() -> bool:
        another = Watcher(service, "0123456789abcdefghijkl")
        another.socket.close()
        return b"chunked" in another.content

    wait_until(is_there_room)
    assert "failed" not in service.log_file.read_text(), "who has gone is no failure of ours"


def test_every_step_is_a_part_of_the_bar() -> None:
    pictures = [_HEAD + _frame(step) + b"\x3b" for step in range(STEPS)]
    assert {Image.open(io.BytesIO(one)).size for one in pictures} == {(200, 20)}
    assert max(map(len, pictures)) < 400


def test_leaving_goes_by_an_empty_page_and_lets_the_browser_forget(start_service: Starter) -> None:
    service = start_service(leave_to='"https://example.org/news"')
    for path in ("/", "/en/", "/fa/", "/en/receipt", "/nowhere"):
        page = service.get(path).text
        first = re.search(r"<a [^>]*>", page)
        assert first
        assert first[0] == '<a class="leave" href="/leave">'
    empty = service.get("/leave")
    assert empty.headers["Refresh"] == "0; url=/left"
    assert re.search(r"<body>\s*</body>", empty.text)
    away = service.get("/left")
    assert (away.status, away.body) == (303, b"")
    assert away.headers["Location"] == "https://example.org/news"
    assert away.headers["Clear-Site-Data"] == '"cache"'


def test_every_answer_to_what_she_sent_lets_the_browser_forget_the_form(
    service: Service, dirty: bytes
) -> None:
    picture = '<img src="/clear" alt="" width="1" height="1">'
    sent = service.send(dirty)
    answers = [
        sent,
        service.send(b""),
        service.send(dirty, look="yes"),
        service.post_receipt("receipt", sent.receipt),
        service.post_receipt("withdraw", sent.receipt),
        service.post_receipt("receipt", "1"),
        service.request("POST", "/nowhere", b""),
    ]
    assert all(answer.text.count(picture) == 1 for answer in answers)
    for path in ("/", "/en/", "/en/receipt", "/nowhere"):
        assert picture not in service.get(path).text
    assert service.get("/clear").headers["Clear-Site-Data"] == '"cache"'


# -- the field that must stay empty ---------------------------------------------------------------


def trap_in(page: Answer) -> str | None:
    match = re.search(r'<p class="trap".*?</p>', page.text, re.DOTALL)
    return match and match[0]


def test_what_fills_in_every_field_is_told_that_nothing_was_sent(
    service: Service, dirty: bytes
) -> None:
    trap = trap_in(service.get("/en/"))
    assert trap
    assert 'name="website"' in trap
    assert 'autocomplete="off"' in trap
    token = service.token()
    answer = service.send(dirty, token=token, website="CANARY", message="my <words>")
    assert answer.status == 400
    assert "A field that must stay empty was filled in" in answer.text
    assert "Your photo was not sent." in answer.text
    assert 'id="receipt"' not in answer.text
    assert "CANARY" not in answer.text
    assert "my <words>" in html.unescape(answer.text)
    assert trap_in(answer) is None, "a browser that fills it in by itself can't do so again"
    assert service.send(dirty, token=token, message="my <words>").receipt
    assert service.send(dirty, website="").receipt
    assert len(service.desk("pull", "--to", "s", "--json").json["fetched"]) == 2  # type: ignore[arg-type]


# -- her text, where the line breaks or is too slow -----------------------------------------------


def test_an_upload_that_stops_is_answered_with_her_text(start_service: Starter) -> None:
    code = (
        "import sys; from relay.web import upload; upload._WINDOW_S = 2; "
        "from relay.cli import main; sys.exit(main(sys.argv[2:]))"
    )
    service = start_service(wrapper=[sys.executable, "-c", code], min_bytes_per_minute=10_000_000)
    head, body = upload(service, bytes(400_000), message="all my words")
    assert body.index(b'name="message"') < body.index(b'name="photo"')
    page = service.get("/en/").text
    names = re.findall(r'name="(\w+)"', page.partition("<form")[2])
    assert names[-3:] == ["photo", "look", "cvc"], "the browser sends her words before the photo"
    with socket.create_connection(("127.0.0.1", service.port), timeout=90) as sender:
        sender.sendall(head + body[:100_000])
        answer = b""
        while chunk := sender.recv(65536):
            answer += chunk
    assert b" 408 " in answer.partition(b"\r\n")[0]
    assert b"all my words" in answer
    assert b"The connection stopped before the photo had arrived" in answer
