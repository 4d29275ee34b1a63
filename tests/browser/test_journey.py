"""Sending over a slow line, leaving and going back, scripts off, in Chromium and Firefox."""

import base64
import io
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from PIL import Image, ImageChops
from playwright.sync_api import Error

from tests import photos
from tests.browser.chromium import Browser, Chromium
from tests.browser.firefox import Firefox, FirefoxError
from tests.browser.test_cover import MESSAGE, box, choose, title, words
from tests.conftest import Service, Starter, wait_until
from tests.slow_line import slow_line
from tests.web.test_cover import opened

pytestmark = pytest.mark.browser
_BLUE = (0x2F, 0x6F, 0xDE)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / photos.FILE_NAME
    path.write_bytes(photos.dirty_jpeg(photos.picture(1200, 1600)))
    return path


@contextmanager
def elsewhere() -> Iterator[str]:
    """A harmless site, for who leaves."""
    page = b"<!doctype html><title>Elsewhere</title><main>Weather</main>"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n"
    answer = head + b"Content-Length: %d\r\n\r\n" % len(page) + page

    def serve(server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = server.accept()
                with client:
                    client.recv(65536)
                    client.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        serving = threading.Thread(target=serve, args=(server,))
        serving.start()
        try:
            yield f"http://localhost:{server.getsockname()[1]}/"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            serving.join()


def holds(browser: Browser, expression: str) -> bool:
    """Whether this is so, on whatever page is there; between two pages it is not."""
    try:
        return bool(browser.ask(expression))
    except (Error, FirefoxError):
        return False


def await_title(browser: Browser, wanted: str) -> None:
    wait_until(
        lambda: holds(browser, f"document.title == '{wanted}' && document.readyState != 'loading'")
    )


def filled(browser: Browser) -> float:
    """How much of the width between the margins is blue, in the row that has most of it."""
    picture = Image.open(io.BytesIO(browser.screenshot())).convert("RGB")
    differences = [
        band.point(lambda value, wanted=wanted: 255 * (abs(value - wanted) < 24))  # type: ignore[misc]
        for band, wanted in zip(picture.split(), _BLUE, strict=True)
    ]
    blue = ImageChops.multiply(ImageChops.multiply(*differences[:2]), differences[2])
    rows = blue.resize((1, blue.height), Image.Resampling.BOX).get_flattened_data()
    return max(rows) / 255 * picture.width / (picture.width - 34)


@pytest.fixture
def service(lasting: Starter) -> Service:
    return lasting()


def test_she_sees_how_much_has_been_sent(browser: Browser, service: Service, photo: Path) -> None:
    size = photo.stat().st_size
    with slow_line(service.port, bytes_per_s=size / 8) as line:
        choose(browser, line.url, photo)
        assert not browser.ask("document.querySelector('.wait').checkVisibility()")
        browser.tap("#send")
        seen = [0.0]
        for least in (0.1, 0.3, 0.5, 0.7):
            wait_until(lambda least=least: filled(browser) >= least)  # type: ignore[misc]
            seen.append(filled(browser))
        assert seen == sorted(seen)
        assert len(browser.asked) == 2, "and all the time it was being sent"
        await_title(browser, "Sent")
        # The form, the bar, the upload, and forgetting. (Playwright tells when it is spoken to.)
        wait_until(lambda: browser.ask("1") and len(browser.asked) == 4)


def back_to_the_form(browser: Browser) -> None:
    browser.back()
    wait_until(lambda: holds(browser, "document.querySelector('#message')"))
    assert browser.ask("document.querySelector('#message').value") == ""
    assert browser.ask("document.querySelector('#photo').value") == ""
    assert MESSAGE not in browser.ask("document.documentElement.innerHTML")


def test_back_after_sending_shows_an_empty_form(
    browser: Browser, service: Service, photo: Path
) -> None:
    choose(browser, service.url, photo)
    browser.click("#send")
    assert title(browser) == "Sent"
    back_to_the_form(browser)


def test_back_after_leaving_shows_nothing_of_hers(
    browser: Browser, start_service: Starter, photo: Path
) -> None:
    with elsewhere() as there:
        service = start_service(leave_to=f'"{there}"')
        choose(browser, service.url, photo)
        browser.press("Tab")
        browser.click(".leave")
        await_title(browser, "Elsewhere")
        back_to_the_form(browser)
        choose(browser, service.url, photo)
        browser.click("[name=look]")
        browser.click("#send")
        assert title(browser) == "Not sent yet"
        browser.click(".leave")
        await_title(browser, "Elsewhere")
        browser.back()
        assert browser.ask("document.querySelector('.picture')") is None
        choose(browser, service.url, photo)
        browser.click("#send")
        receipt = words(browser, "#receipt")
        browser.click(".leave")
        await_title(browser, "Elsewhere")
        browser.back()
        assert receipt not in browser.ask("document.documentElement.innerHTML")
        assert browser.ask("document.querySelector('output, .picture')") is None


def test_leaving_comes_first(browser: Browser, service: Service) -> None:
    browser.goto(f"{service.url}/en/")
    browser.press("Tab")
    assert browser.ask("document.activeElement.className") == "leave"
    browser.ask("scrollTo(0, 5000)")
    left, top, width, height = box(browser, ".leave")
    assert (top, height >= 44, width >= 44, left >= 0) == (0, True, True, True)


def test_a_line_that_breaks_costs_one_reload(
    browser: Browser, service: Service, photo: Path
) -> None:
    with slow_line(service.port) as line:
        choose(browser, line.url, photo)
        line.cut_after = photo.stat().st_size // 2
        browser.tap("#send")
        wait_until(lambda: line.cuts)
        wait_until(lambda: holds(browser, "!document.querySelector('#message')"))
        line.cut_after = None
        browser.resend()
        assert title(browser) == "Sent"
    ((submission, _),) = opened(service).values()
    assert submission.message == MESSAGE


# -- what stays on the disk -----------------------------------------------------------------------


def send_and_look(browser: Browser, url: str, photo: Path) -> dict[str, list[bytes]]:
    """Send a photo, look its receipt up, leave; return what must not be found anywhere, by name."""
    choose(browser, url, photo)
    token = browser.ask("document.querySelector('[name=token]').value")
    browser.click("#send")
    receipt = words(browser, "#receipt")
    preview = browser.ask("document.querySelector('.picture img').src").partition(",")[2]
    browser.click("main > p > a")
    browser.write("#digits", receipt)
    browser.click("#status button")
    assert "is here, locked" in words(browser, "h1")
    content = photo.read_bytes()
    texts = {
        "message": [MESSAGE],
        "file name": [photos.FILE_NAME],
        "receipt": [receipt, receipt.replace(" ", ""), receipt.replace(" ", "+")],
        "token": [token],
        "preview": [preview[len(preview) // 2 :][:64]],
    }
    traces = {
        name: [one.encode(code) for one in every for code in ("utf-8", "utf-16-le")]
        for name, every in texts.items()
    }
    middles = (content, base64.b64decode(preview))
    traces["picture"] = [one[len(one) // 2 :][:64] for one in middles]
    return traces


def found(folder: Path, traces: dict[str, list[bytes]]) -> dict[str, set[str]]:
    """Which traces stand in which files, by the name of their folder.

    A browser that still runs takes files away meanwhile: those are gone, and hold nothing.
    """
    stays: dict[str, set[str]] = {}
    files = [Path(at, name) for at, _, names in os.walk(folder) for name in names]
    assert len(files) > 20, "it has written what it writes"
    for path in files:
        if path.is_symlink():  # Chromium's locks, which name nothing that is there
            continue
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue
        if path.suffix.startswith(".jsonlz4"):
            content += lz4(content)
        for name, every in traces.items():
            if any(one in content for one in every):
                stays.setdefault(name, set()).add(path.parent.name)
    return stays


def lz4(content: bytes) -> bytes:
    """Unpack what Firefox keeps of a session. Source: LZ4's block format, behind `mozLz40`."""
    packed, unpacked, at = content[12:], bytearray(), 0
    while True:
        token = packed[at]
        length, at = _read_length(token >> 4, packed, at + 1)
        unpacked += packed[at : at + length]
        at += length
        if at >= len(packed):
            assert unpacked.startswith(b"{"), "JSON"
            return bytes(unpacked)
        offset = int.from_bytes(packed[at : at + 2], "little")
        length, at = _read_length(token & 15, packed, at + 2)
        for _ in range(length + 4):
            unpacked.append(unpacked[-offset])


def _read_length(length: int, packed: bytes, at: int) -> tuple[int, int]:
    """Return a length that goes on in further bytes where it is 15, and where it ends."""
    more = length == 15
    while more:
        length, more, at = length + packed[at], packed[at] == 255, at + 1
    return length, at


@pytest.mark.parametrize("is_private", [True, False])
def test_chromium_keeps_nothing_on_the_disk_but_the_address_and_the_name_of_the_file(
    service: Service, photo: Path, tmp_path: Path, *, is_private: bool
) -> None:
    profile = tmp_path / "profile"
    with Chromium.with_profile(profile, is_private=is_private) as browser:
        traces = send_and_look(browser, service.url, photo)
        traces["address"] = [service.url.encode()]
        if not is_private:  # it writes its session down a few seconds later
            wait_until(lambda: "address" in found(profile, traces))
    stays = found(profile, traces)
    if is_private:
        assert stays == {}
        return
    assert "Default" in stays.pop("address"), "in its history"
    assert stays.pop("file name", set()) <= {"Sessions"}, "to open the window again"
    assert stays == {}


@pytest.mark.parametrize("is_private", [True, False])
def test_firefox_keeps_nothing_on_the_disk_but_the_address(
    service: Service, photo: Path, tmp_path: Path, *, is_private: bool
) -> None:
    with Firefox.started(tmp_path / "home", is_private=is_private) as browser:
        traces = send_and_look(browser, service.url, photo)
        traces["address"] = [service.url.encode()]
    stays = found(tmp_path / "home", traces)
    if not is_private:
        assert "profile" in stays.pop("address"), "in its history"
    assert stays == {}
