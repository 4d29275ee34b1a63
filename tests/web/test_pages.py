import asyncio
import datetime as dt
import re
import socket
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from relay.queue.states import GONE, Reason, State
from relay.queue.store import SealedQueue
from relay.receipt import _check_digit
from relay.scrub.wire import Removed
from relay.web.pages import REASONS, REMOVALS, SENTENCES
from tests import photos
from tests.conftest import Answer, Service, multipart

HEADERS = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
    "server": "web",
}
# Besides HEADERS, and by an allow-list.
ALSO = {"content-security-policy", "permissions-policy", "date", "content-type", "content-length"}
ALSO |= {"connection", "transfer-encoding", "allow"}
SPECIAL = {"/leave": {"refresh"}, "/left": {"clear-site-data", "location"}}
SPECIAL["/clear"] = {"clear-site-data"}
SPECIAL["/poster/en-general.pdf"] = {"content-disposition"}
SPECIAL["/poster/my-write-in.pdf?paper=letter"] = {"content-disposition"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
UNKNOWN_DIGITS = "1" * 19
UNKNOWN = UNKNOWN_DIGITS + _check_digit(UNKNOWN_DIGITS)
# Every route there is, with its methods; everything else is denied.
ROUTES = {
    "/": {"GET"},
    "/en/": {"GET", "POST"},
    "/en/receipt": {"GET", "POST"},
    "/en/cover": {"POST"},
    "/en/withdraw": {"POST"},
    "/en/poster": {"GET"},
    "/fa/": {"GET", "POST"},
    "/poster/en-general.pdf": {"GET"},
    "/poster/my-write-in.pdf?paper=letter": {"GET"},
    "/leave": {"GET"},
    "/left": {"GET"},
    "/clear": {"GET"},
    "/progress/0123456789abcdefghijkl": {"GET"},
    "/desk/v1/nonce": {"POST"},
    "/desk/v1/lease": {"POST"},
    "/desk/v1/envelope/00": {"GET"},
    "/desk/v1/verdict": {"POST"},
    "/desk/v1/checkpoint": {"POST"},
    "/desk/v1/log": {"GET"},
}
DENIED = [
    "/en",
    "/xx/",
    "/favicon.ico",
    "/robots.txt",
    "/static/",
    "/healthz",
    "/en/receipt/",
    "/%",
    "/xx/receipt",
    "/progress/",
    "/progress/0123",
    "/en/leave",
    "/en/poster/",
    "/poster/",
    "/poster/en-general",
]


def check_headers(headers: dict[str, str], *also: str) -> None:
    found = {name.lower(): value for name, value in headers.items()}
    for name, value in HEADERS.items():
        assert found[name] == value
    policy = found["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "script-src" not in policy
    for sense in ("camera", "microphone", "geolocation"):
        assert f"{sense}=()" in found["permissions-policy"]
    assert found["date"].endswith("00:00:00 GMT"), "no clock finer than a day"
    assert set(found) - {*HEADERS, *also} <= ALSO, "nothing else is told"


@pytest.mark.parametrize("path", [*ROUTES, *DENIED])
@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "X"]
)
def test_every_answer_has_our_headers_and_only_the_listed_methods_work(
    shared_service: Service, method: str, path: str
) -> None:
    is_watched: AbstractContextManager[object] = nullcontext()
    if path.startswith("/progress/") and method == "GET":  # a second look is answered at once
        is_watched = socket.create_connection(("127.0.0.1", shared_service.port))
    with is_watched:
        if isinstance(is_watched, socket.socket):
            is_watched.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            is_watched.recv(1)
        answer = shared_service.request(method, path, b"" if method == "POST" else None, FORM)
    special = SPECIAL.get(path, set()) if method in {"GET", "HEAD"} else set()
    check_headers(answer.headers, *special)
    assert special <= {name.lower() for name in answer.headers}
    allowed = ROUTES.get(path, set())
    asked = "GET" if method == "HEAD" and not path.startswith("/desk/") else method
    if asked not in {"GET", "POST"}:
        assert answer.status == 405
        assert "Allow" in answer.headers
    elif path in DENIED:
        assert answer.status == 404
    elif asked not in allowed:
        assert answer.status == 405
    elif path.startswith("/desk/"):
        assert answer.status == (200 if path.endswith("/nonce") else 403)
    else:
        expected = 303 if path == "/left" else 200
        refused = {"/en/": 403, "/fa/": 403, "/en/cover": 410}.get(path, 400)
        assert answer.status == (expected if asked == "GET" else refused)


@pytest.mark.parametrize(
    "raw",
    [
        b"\r\n\r\n",
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nBad Header\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /en/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /en/ HTTP/1.1\r\nHost: x\r\nContent-Length: CANARY\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
)
def test_what_the_parser_refuses_has_our_headers_and_no_details(
    shared_service: Service, raw: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", shared_service.port), timeout=10) as client:
        client.sendall(raw + b"\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    if not answer:
        return  # an empty request may be closed without a word
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    assert lines[0].split()[1][0] == "4"
    check_headers(dict(line.split(": ", 1) for line in lines[1:]))
    assert b"CANARY" not in body
    assert b"aiohttp" not in answer
    assert b"Python" not in answer


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        ("GET /en/ HTTP/1.1\r\nHost: x\r\nExpect: foo", b"417"),
        ("POST /nowhere HTTP/1.1\r\nHost: x\r\nExpect: foo", b"417"),
        ("OPTIONS * HTTP/1.1\r\nHost: x", b"405"),
        ("CONNECT a:80 HTTP/1.1\r\nHost: x", b"405"),
        ("GET http://a HTTP/1.1\r\nHost: x", b"4"),
        ("GET /en/ HTTP/1.0", b"200"),
    ],
)
def test_odd_requests_get_our_headers_too(shared_service: Service, raw: str, status: bytes) -> None:
    with socket.create_connection(("127.0.0.1", shared_service.port), timeout=10) as client:
        client.sendall(raw.encode() + b"\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    head = answer.partition(b"\r\n\r\n")[0]
    assert head.split()[1].startswith(status)
    lines = head.decode("latin-1").split("\r\n")
    check_headers(dict(line.split(": ", 1) for line in lines[1:]))


def test_the_first_page_picks_a_language_by_links(shared_service: Service) -> None:
    page = shared_service.get("/").text
    assert 'href="/en/"' in page


def test_the_form_is_as_the_contract_says(shared_service: Service) -> None:
    page = shared_service.get("/en/").text
    assert '<html lang="en"' in page
    form = re.search(r"<form[^>]*>", page)
    assert form
    assert 'method="post"' in form[0]
    assert 'enctype="multipart/form-data"' in form[0]
    assert 'autocomplete="off"' in form[0]
    assert re.search(r'<input type="file"[^>]*name="photo"', page)
    assert re.search(r'<textarea[^>]*name="message"', page)
    assert '<form id="status" method="post"' in shared_service.get("/en/receipt").text


@pytest.mark.parametrize("path", ["/", "/en/", "/en/receipt", "/en/poster"])
def test_a_page_is_one_small_request_without_script(shared_service: Service, path: str) -> None:
    answer = shared_service.get(path)
    head = sum(len(name) + len(value) + 4 for name, value in answer.headers.items())
    assert len(answer.body) + head < 14_000
    # An address to read, and to type where she chooses to, is no link.
    page = re.sub(r'<code dir="ltr">[^<]*</code>', "", answer.text)
    for unwanted in (
        "<script",
        "javascript:",
        "onclick",
        "<svg",
        "@import",
        "http:",
        "https:",
    ):
        assert unwanted not in page
    assert re.findall(r"url\([^)]*", answer.text) == re.findall(
        r"url\(/progress/[\w-]{22}", answer.text
    )
    assert not re.search(r'(src|srcset|href)="(?!/|data:,)', answer.text)


def test_pages_link_by_path_never_by_address(shared_service: Service) -> None:
    for path in ("/", "/en/", "/en/receipt", "/nowhere"):
        links = re.findall(r'(?:href|action)="([^"]*)"', shared_service.get(path).text)
        assert links
        assert all(link.startswith(("/", "data:,")) and not link.startswith("//") for link in links)


# -- refusals: each a page that says what to do, with her text kept -------------------------------


def refused(answer: Answer, status: int, words: str) -> None:
    assert answer.status == status
    check_headers(answer.headers)
    assert words in answer.text
    assert 'role="alert"' in answer.text
    assert 'id="receipt"' not in answer.text
    assert 'name="photo"' in answer.text, "the form is there again"


def test_no_photo(shared_service: Service) -> None:
    answer = shared_service.send(b"", message="my words", poster="write-in")
    refused(answer, 400, "No photo was chosen")
    assert "my words" in answer.text
    assert re.search(r'value="write-in" checked', answer.text)


def test_a_text_file_named_jpg(shared_service: Service) -> None:
    answer = shared_service.send(b"hello\n" * 1000, message="<i>my words</i>")
    refused(answer, 415, "On an iPhone")
    assert "&lt;i&gt;my words&lt;/i&gt;" in answer.text


def test_a_photo_cut_short(shared_service: Service) -> None:
    answer = shared_service.send(photos.encode(photos.picture(2000, 1500))[:20_000])
    refused(answer, 400, "did not arrive whole")


def test_a_message_that_is_too_long(shared_service: Service, dirty: bytes) -> None:
    refused(shared_service.send(dirty, message="é" * 501), 400, "500 characters")
    assert shared_service.send(dirty, message="é\r\n" * 166 + "zz").status == 200


def test_a_day_that_is_none(shared_service: Service, dirty: bytes) -> None:
    refused(shared_service.send(dirty, not_before="soon"), 400, "2026-03-19")
    for none in ("2026-02-30", "1405-01-01", "2019-01-01", "2569-01-01"):  # three other calendars
        refused(shared_service.send(dirty, not_before=none), 400, "2026-03-19")
    assert shared_service.send(dirty, not_before="2026-03-19").status == 200


@pytest.mark.parametrize("token", ["", "AAAA", "x" * 2000, "\N{BULLET}"])
def test_a_token_that_is_not_ours(shared_service: Service, dirty: bytes, token: str) -> None:
    parts = [("token", token.encode(), None), ("message", b"mine", None), ("photo", dirty, "x.jpg")]
    body, kind = multipart(parts)
    answer = shared_service.request("POST", "/en/", body, {"Content-Type": kind})
    refused(answer, 403, "open for too long")
    assert "mine" in answer.text
    assert (
        shared_service.send(dirty, token=re.search(r'token" value="([^"]+)', answer.text)[1]).status
        == 200
    )  # type: ignore[index]


def test_a_post_from_another_site(shared_service: Service, dirty: bytes) -> None:
    body, kind = multipart(
        [("token", shared_service.token().encode(), None), ("photo", dirty, "x")]
    )
    for site, status in {
        "cross-site": 403,
        "same-site": 403,
        "same-origin": 200,
        "none": 200,
    }.items():
        headers = {"Content-Type": kind, "Sec-Fetch-Site": site, "Origin": "null"}
        assert shared_service.request("POST", "/en/", body, headers).status == status


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "multipart/form-data", "multipart/form-data; boundary=", "a; b=é"]
)
def test_a_body_that_is_no_form(shared_service: Service, kind: str) -> None:
    headers = {"Content-Type": kind.encode("utf-8").decode("latin-1")}
    refused(
        shared_service.request("POST", "/en/", b"x" * 100, headers), 400, "did not arrive whole"
    )


def test_a_multipart_body_that_is_broken(shared_service: Service, dirty: bytes) -> None:
    body, kind = multipart([("token", b"x", None), ("photo", dirty, "x.jpg")])
    for broken in (body[:-20], body[: len(body) // 2], body[5:], b"--" + body, body * 2):
        answer = shared_service.request("POST", "/en/", broken, {"Content-Type": kind})
        assert answer.status in {400, 403}
        check_headers(answer.headers)
        assert 'role="alert"' in answer.text


def test_fields_that_are_not_ours_are_not_looked_at(shared_service: Service, dirty: bytes) -> None:
    assert shared_service.send(dirty, nickname="CANARY", address="CANARY").status == 200
    refused(shared_service.send(dirty, poster="another"), 400, "did not arrive whole")


# -- the receipt ----------------------------------------------------------------------------------


def test_a_double_send_is_one_submission_with_one_receipt(service: Service, dirty: bytes) -> None:
    token = service.token()
    first = service.send(dirty, token=token, message="hello")
    again = service.send(dirty, token=token, message="hello")
    assert first.receipt == again.receipt
    assert first.body == again.body
    for other in (
        service.send(dirty, token=token, message="hello!"),
        service.send(dirty + b"x", token=token, message="hello"),
        service.send(dirty, token=token, message="hello", may_post="yes"),
        service.send(dirty, message="hello"),
    ):
        assert other.receipt != first.receipt
    pulled = service.desk("pull", "--to", "sealed", "--json").json
    assert len(pulled["fetched"]) == 5  # type: ignore[arg-type]


def test_sending_again_what_was_taken_back_is_a_new_submission(
    service: Service, dirty: bytes
) -> None:
    token = service.token()
    first = service.send(dirty, token=token).receipt
    service.post_receipt("withdraw", first)
    second = service.send(dirty, token=token).receipt
    assert second != first
    assert service.post_receipt("receipt", first).status == 404
    assert "is here, locked" in service.post_receipt("receipt", second).text
    assert service.send(dirty, token=token).receipt == second


def test_status_and_withdrawal(service: Service, dirty: bytes) -> None:
    receipt = service.send(dirty).receipt
    status = service.post_receipt("receipt", receipt)
    assert status.status == 200
    assert '<form id="withdraw" method="post"' in status.text
    withdrawn = service.post_receipt("withdraw", receipt)
    assert withdrawn.status == 200
    assert "our copy has been destroyed" in withdrawn.text
    assert service.post_receipt("withdraw", receipt).body == withdrawn.body, "a double tap"


def test_unknown_withdrawn_and_expired_receipts_get_the_same_bytes(
    service: Service, dirty: bytes
) -> None:
    receipts = [service.send(dirty).receipt for _ in range(3)]
    service.post_receipt("withdraw", receipts[0])
    service.stop()
    assert asyncio.run(expire(service.folder / "queue.sqlite")) == 2
    service.start()
    for page in ("receipt", "withdraw"):
        unknown = service.post_receipt(page, UNKNOWN)
        assert "token" not in unknown.text
        assert "nonce" not in unknown.text
        for receipt in receipts:
            gone = service.post_receipt(page, receipt)
            assert (gone.status, gone.body) == (unknown.status, unknown.body)
            assert gone.headers == unknown.headers
        again = service.post_receipt(page, UNKNOWN)
        assert again.body == unknown.body, "no fresh value"


async def expire(database: Path) -> int:
    """Let the time of everything held run out; how much it was."""
    later = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=31)
    async with SealedQueue.open(database, max_queued=10) as queue:
        return (await queue.turn_day(today=later, retain_days=30, lease_days=3)).expired


def test_a_mistyped_receipt_is_said_to_be_mistyped(shared_service: Service) -> None:
    for page in ("receipt", "withdraw"):
        for typed in (UNKNOWN[:-1] + str((int(UNKNOWN[-1]) + 1) % 10), "123", "", "abc"):
            answer = shared_service.post_receipt(page, typed)
            assert answer.status == 400
            assert "a digit is missing or wrong" in answer.text
            assert '<form id="status"' in answer.text


def test_a_receipt_may_come_as_any_kind_of_form(shared_service: Service, dirty: bytes) -> None:
    receipt = shared_service.send(dirty).receipt
    body, kind = multipart([("receipt", receipt.encode(), None)])
    answer = shared_service.request("POST", "/en/receipt", body, {"Content-Type": kind})
    assert "is here, locked" in answer.text


def test_receipts_never_travel_in_an_address(shared_service: Service, dirty: bytes) -> None:
    sent = shared_service.send(dirty)
    digits = sent.receipt.replace(" ", "")
    for page in (sent, shared_service.post_receipt("receipt", digits)):
        for link in re.findall(r'(?:href|action)="([^"]*)"', page.text):
            assert digits not in link
    assert (
        shared_service.get(f"/en/receipt?receipt={digits}").text
        == shared_service.get("/en/receipt").text
    )


def test_what_the_desk_decides_shows_under_the_receipt(service: Service, dirty: bytes) -> None:
    released, returned = (service.send(dirty, message=name).receipt for name in ("a", "b"))
    service.desk("pull", "--to", "sealed")
    service.desk("open", "sealed", "--to", "opened")
    messages = {}
    for folder in (service.folder.parent / "opened").iterdir():
        messages[(folder / "submission.json").read_text().split('"message":"')[1][0]] = folder.name
    assert "is here, locked" in service.post_receipt("receipt", released).text, (
        "leased reads as sealed"
    )
    service.desk("release", messages["a"])
    service.desk("return", messages["b"], "--reason", "face-visible")
    assert "checked and accepted" in service.post_receipt("receipt", released).text
    answer = service.post_receipt("receipt", returned).text
    assert "A face can be seen" in answer
    assert 'id="withdraw"' not in answer
    asked = service.post_receipt("withdraw", released)
    assert "asked for it to be taken down" in asked.text
    pull = service.desk("pull", "--to", "sealed")
    assert pull.code == 10
    assert f"TAKE DOWN: {messages['a']}" in pull.err


def test_every_state_reason_and_removal_has_its_words() -> None:
    assert set(SENTENCES) == {*State} - {*GONE}
    assert set(REASONS) == set(Reason)
    assert set(REMOVALS) == {word for flag in Removed for word in flag.words()}
