"""A double tap, a resend after a line was cut at any byte, two tabs: one entry, one receipt."""

import re
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import photos
from tests.conftest import Service, multipart, tenth
from tests.web.test_flood import post

_PHOTOS = [photos.dirty_jpeg(photos.picture(320, 240, seed=number)) for number in range(3)]
_MESSAGES = ("", "zebras", "zebras ")  # the last two are one: the spaces at the ends don't count
_ALL = 1.0


@dataclass(frozen=True)
class Press:
    """A press on Send. until: the share of the body that arrives; taps: how often at once."""

    tab: int
    photo: int
    message: int
    until: float = _ALL
    taps: int = 1

    @property
    def content(self) -> tuple[int, int, str]:
        return self.tab, self.photo, _MESSAGES[self.message].strip()


PRESSES = st.builds(
    Press,
    tab=st.integers(0, 1),
    photo=st.integers(0, 2),
    message=st.integers(0, 2),
    until=st.one_of(st.just(_ALL), st.floats(0, _ALL)),
    taps=st.integers(1, 3),
)


def cut(service: Service, token: str, press: Press) -> None:
    """Send that share of the body, and break the line without waiting for an answer."""
    parts: list[tuple[str, bytes, str | None]] = [
        ("token", token.encode(), None),
        ("message", _MESSAGES[press.message].encode(), None),
        ("photo", _PHOTOS[press.photo], "x.jpg"),
    ]
    body, kind = multipart(parts)
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as line:
        line.sendall(post(kind, len(body)) + body[: round(press.until * len(body))])


def send(service: Service, token: str, press: Press) -> set[str]:
    """Press Send as often as it says, at once, and return the receipts that were shown."""
    receipts: list[str] = []

    def tap() -> None:
        photo, message = _PHOTOS[press.photo], _MESSAGES[press.message]
        receipts.append(service.send(photo, token=token, message=message).receipt)

    taps = [threading.Thread(target=tap) for _ in range(press.taps)]
    for one in taps:
        one.start()
    for one in taps:
        one.join()
    assert len(receipts) == press.taps
    return set(receipts)


def test_the_same_content_has_one_receipt_and_other_content_another(
    shared_service: Service,
) -> None:
    every_content: list[tuple[int, int, str]] = []

    @settings(max_examples=tenth(100), suppress_health_check=[HealthCheck.too_slow])
    @given(presses=st.lists(PRESSES, min_size=2, max_size=6))
    def press_on(presses: list[Press]) -> None:
        tokens = [shared_service.token(), shared_service.token()]
        shown: dict[tuple[int, int, str], str] = {}
        # What was cut is sent again in the end, as she would: by then it may have arrived.
        again = [Press(one.tab, one.photo, one.message) for one in presses if one.until < _ALL]
        for press in [*presses, *again]:
            if press.until < _ALL:
                with suppress(OSError):
                    cut(shared_service, tokens[press.tab], press)
                continue
            (receipt,) = send(shared_service, tokens[press.tab], press)
            assert shown.setdefault(press.content, receipt) == receipt
        assert len(set(shown.values())) == len(shown)
        every_content.extend(shown)

    press_on()
    pulled = shared_service.desk("pull", "--to", "sealed", "--json").json
    assert len(pulled["fetched"]) == len(every_content) > 0, "and each is there once"  # type: ignore[arg-type]


def test_the_form_that_comes_with_a_refusal_makes_no_second_entry(
    service: Service, dirty: bytes
) -> None:
    """She was acknowledged, and the page was lost; then the line was too slow for another try."""
    token = service.token()
    receipt = service.send(dirty, token=token, message="zebras").receipt
    refusal = service.send(b"", token=token, message="zebras")
    assert "Your photo was not sent." in refusal.text
    match = re.search(r'name="token" value="([^"]+)"', refusal.text)
    assert match
    assert service.send(dirty, token=match[1], message="zebras").receipt == receipt
