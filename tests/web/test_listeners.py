"""The ways in: clearnet with TLS, tor's socket with its line, the operator's."""

import asyncio
import datetime as dt
import http.client
import json
import os
import re
import select
import socket
import sqlite3
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest

from relay.config import ServerConfig
from relay.errors import ConfigInvalid
from relay.web import tls
from relay.web.app import _FULL, _OPEN_NETWORK_FULL
from relay.web.onion import UPLOADS_AT_ONCE, Circuits
from relay.web.tls import BeforeTls, Certificate
from tests import photos
from tests.conftest import RELAY, Service, Starter, configure, multipart, relay, wait_until
from tests.doors import (
    HOST,
    ONION,
    ONION_SETTINGS,
    TLS_SETTINGS,
    Visitor,
    line,
    secure,
    trusting,
    write_pair,
)


@pytest.fixture(autouse=True)
def see_off() -> Iterator[None]:
    yield
    for visitor in Visitor.here:
        visitor.close()
    Visitor.here.clear()


@contextmanager
def uploading(service: Service, circuit: int) -> Iterator[socket.socket]:
    """Someone who is in the middle of an upload on that circuit."""
    body, kind = multipart([("photo", b"x" * 1000, "x.jpg")])
    head = f"POST /en/ HTTP/1.1\r\nHost: {ONION}\r\nContent-Type: {kind}\r\nContent-Length: {{}}"
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(service.folder / "onion.sock"))
        client.sendall(line(circuit) + head.format(len(body)).encode() + b"\r\n\r\n" + body[:500])
        yield client


@pytest.fixture
def onion_service(start_service: Starter) -> Service:
    return start_service(**ONION_SETTINGS)


@pytest.fixture
def lasting_onion(lasting: Starter) -> Service:
    """One for all who do nothing by which a circuit, a socket or a queue is known afterwards."""
    return lasting(**ONION_SETTINGS)


def test_a_photo_comes_in_by_tors_socket(lasting_onion: Service, dirty: bytes) -> None:
    visitor = Visitor(lasting_onion.folder / "onion.sock", first=line(55))
    page = visitor.ask().read().decode()
    token = page.split('name="token" value="')[1].split('"')[0]
    body, kind = multipart([("token", token.encode(), None), ("photo", dirty, "x.jpg")])
    visitor.request("POST", "/en/", body, {"Content-Type": kind})
    answer = visitor.getresponse()
    assert answer.status == 200
    assert 'id="receipt"' in answer.read().decode()


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"PROXY TCP4 127.0.0.1 127.0.0.1 1 80\r\n",
        b"PROXY TCP6 fc00:dead:beef:4dad::1:zz ::1 1 80\r\n",
        b"PROXY " + b"x" * 500,
    ],
)
def test_who_is_not_tor_gets_no_answer_at_tors_socket(lasting_onion: Service, first: bytes) -> None:
    visitor = Visitor(lasting_onion.folder / "onion.sock", first=first)
    with pytest.raises((ConnectionError, http.client.BadStatusLine)):
        visitor.ask()


def test_tors_line_may_come_in_pieces(lasting_onion: Service) -> None:
    visitor = Visitor(lasting_onion.folder / "onion.sock")
    visitor.connect()
    for byte in line(0x12345):
        visitor.sock.sendall(bytes([byte]))
    assert visitor.ask().status == 200


def test_a_request_for_another_name_is_refused(lasting_onion: Service) -> None:
    path = lasting_onion.folder / "onion.sock"
    for host in ("localhost", "b" * 56 + ".onion", "relay.example.org"):
        answer = Visitor(path, first=line(1), host=host).ask()
        assert answer.status == 421
        assert ONION not in answer.read().decode()
    assert Visitor(path, first=line(1), host=ONION.upper()).ask().status == 200


def test_each_door_says_what_its_visitors_network_sees(lasting_onion: Service) -> None:
    by_tor = Visitor(lasting_onion.folder / "onion.sock", first=line(1)).ask()
    by_clearnet = lasting_onion.get("/en/")
    assert f'<code dir="ltr">{ONION}</code>' in by_clearnet.text
    assert "You came by Tor" in by_tor.read().decode()
    assert by_tor.getheader("Onion-Location") is None
    assert "Onion-Location" not in by_clearnet.headers, "only over HTTPS"


def test_too_many_uploads_on_one_circuit_are_told_to_come_back_then_cut(
    onion_service: Service,
) -> None:
    path = onion_service.folder / "onion.sock"
    with ExitStack() as stack:
        uploads = [stack.enter_context(uploading(onion_service, 7)) for _ in range(UPLOADS_AT_ONCE)]
        other = stack.enter_context(uploading(onion_service, 8))
        wait_until(lambda: is_refused(onion_service, 7))
        assert not any(is_cut(one) for one in uploads)
        assert Visitor(path, first=line(8)).ask().status == 200, "another circuit goes on"
        while not is_cut(uploads[0]):
            assert is_refused(onion_service, 7)
        assert all(is_cut(one) for one in uploads)
        assert not is_cut(other)


def test_who_has_given_up_an_upload_may_send_again(onion_service: Service) -> None:
    """Pressing Send again, and again, is no abuse."""
    for _ in range(UPLOADS_AT_ONCE * 3):
        with uploading(onion_service, 7):
            pass
    assert not is_refused(onion_service, 7)


def is_refused(service: Service, circuit: int) -> bool:
    """Whether one more upload on that circuit is told to come back, or cut."""
    with uploading(service, circuit) as one_more:
        try:
            answer = one_more.recv(64)
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        return not answer or b" 503 " in answer


def is_cut(client: socket.socket) -> bool:
    client.settimeout(0.05)
    try:
        return client.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_a_tor_that_has_started_again_means_others_by_the_same_numbers(tmp_path: Path) -> None:
    control = tmp_path / "control"
    control.touch()
    circuits = Circuits(control)
    struck = circuits.enter(5)
    assert circuits.enter(5) is struck
    (tmp_path / "new").touch()
    (tmp_path / "new").rename(control)
    assert circuits.enter(5) is not struck


def test_a_crowd_on_the_open_network_leaves_a_quarter_of_the_queue_to_the_onion(
    start_service: Starter, campaign: Path
) -> None:
    service = start_service(**ONION_SETTINGS, max_queued=4)
    token = service.token().encode()

    def send(number: int, *, by_tor: bool) -> int:
        photo = photos.dirty_jpeg(photos.picture(seed=number))
        body, kind = multipart([("token", token, None), ("photo", photo, "x.jpg")])
        if not by_tor:
            return service.request("POST", "/en/", body, {"Content-Type": kind}).status
        visitor = Visitor(campaign / "onion.sock", first=line(number))
        visitor.request("POST", "/en/", body, {"Content-Type": kind})
        return visitor.getresponse().status

    assert [send(number, by_tor=False) for number in range(4)] == [200, 200, 200, 503]
    assert service.get("/en/").status == 503
    assert Visitor(campaign / "onion.sock", first=line(9)).ask().status == 200
    told = Visitor(campaign / "health.sock").ask("/healthz")
    assert (told.status, told.read().decode()) == (200, f"open\nfull: {_OPEN_NETWORK_FULL}\n")
    assert [send(number, by_tor=True) for number in (10, 11)] == [200, 503]


def test_an_upload_that_drips_makes_room_where_memory_has_run_out(start_service: Starter) -> None:
    code = (
        "import sys; from relay.web import upload; upload._SPARED_S = 1; "
        "from relay.cli import main; sys.exit(main(sys.argv[2:]))"
    )
    service = start_service(wrapper=[sys.executable, "-c", code], max_inflight_bytes=3 << 20)
    token = service.token()
    body, kind = multipart([("token", token.encode(), None), ("photo", bytes(3 << 20), "x.jpg")])
    head = f"POST /en/ HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}"
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as drips:
        drips.sendall(head.encode() + b"\r\n\r\n" + body[: -(200 << 10)])

        def is_cut() -> bool:
            service.send(bytes(1 << 20), token=token)
            return bool(select.select([drips], [], [], 0)[0])

        wait_until(is_cut)
    wait_until(lambda: service.send(bytes(1 << 20), token=token).status == 415)  # it was read


def test_the_operator_is_told_whether_the_form_is_open(lasting_onion: Service) -> None:
    answer = Visitor(lasting_onion.folder / "health.sock").ask("/healthz")
    assert (answer.status, answer.read()) == (200, b"open\n")
    for path in ("/", "/en/", "/desk/v1/nonce"):
        assert Visitor(lasting_onion.folder / "health.sock").ask(path).status == 404
    assert lasting_onion.get("/healthz").status == 404, "nobody else is"


def test_the_operator_is_told_every_cause_for_which_it_is_closed(
    start_service: Starter, campaign: Path
) -> None:
    """The log forgets after a day what was said once."""
    (campaign / "recipients.txt").write_text("")
    running = start_service(**ONION_SETTINGS, min_free_bytes=10**16)
    answer = Visitor(running.folder / "health.sock").ask("/healthz")
    assert answer.status == 503
    assert answer.read().decode().splitlines() == [
        f"closed: {campaign}/recipients.txt: there is no recipient in it",
        f"closed: {campaign}: less than min_free_bytes is free on this disk",
    ]
    page = running.get("/en/")
    assert page.status == 503
    assert str(campaign) not in page.text, "nobody else is told"


def test_the_operator_is_told_while_a_day_is_not_turned(
    start_service: Starter, campaign: Path
) -> None:
    """The log says it once; until it is turned the file keeps the order of that day."""
    running = start_service(**ONION_SETTINGS, cover_write_s=1)

    def health() -> tuple[int, list[str]]:
        answer = Visitor(running.folder / "health.sock").ask("/healthz")
        return answer.status, answer.read().decode().splitlines()

    wait_until(lambda: health() == (200, ["open"]))
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    turned = json.dumps({"day": yesterday.isoformat()}).encode()
    with closing(sqlite3.connect(campaign / "queue.sqlite", isolation_level=None)) as other:
        other.execute("UPDATE marker SET value = ? WHERE name = 'turned'", (turned,))
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM marker").fetchall()  # as a program that reads for long
        wait_until(lambda: len(health()[1]) == 2)
        assert health()[0] == 200, "the form is open all the same"
        assert health()[1][0] == "open"
        assert health()[1][1].startswith("late: the day was not turned: ")
        other.execute("COMMIT")
        wait_until(lambda: health() == (200, ["open"]))


def test_the_operator_is_told_that_the_queue_is_full_and_not_of_how_many(
    start_service: Starter, dirty: bytes
) -> None:
    running = start_service(**ONION_SETTINGS, max_queued=1)
    running.send(dirty)
    answer = Visitor(running.folder / "health.sock").ask("/healthz")
    assert answer.status == 503
    words = answer.read().decode()
    assert words == f"closed: {_FULL}\n"
    assert not re.search(r"\d", words)


def test_sockets_are_for_owner_and_group_and_go_when_the_service_goes(
    onion_service: Service,
) -> None:
    paths = [onion_service.folder / name for name in ("onion.sock", "health.sock")]
    assert [stat.S_IMODE(path.stat().st_mode) for path in paths] == [0o660, 0o660]
    onion_service.kill()
    assert all(path.exists() for path in paths)
    onion_service.start()  # what a kill left is no obstacle
    onion_service.stop()
    assert not any(path.exists() for path in paths)


def test_a_socket_that_another_relay_serves_is_not_taken_from_it(
    onion_service: Service, tmp_path: Path
) -> None:
    second = relay("init", tmp_path / "second", "--campaign", "second")
    assert second.code == 0
    config = tmp_path / "second" / "relay.toml"
    path = onion_service.folder / "onion.sock"
    text = "".join(
        part for part in config.read_text().splitlines(keepends=True) if "listen" not in part
    )
    config.write_text(f'{text}listen = ""\nonion_listen = "unix:{path}"\n')
    refused = relay("serve", "--config", config)
    assert refused.code == 2
    assert "another program listens" in refused.err
    assert Visitor(path, first=line(1)).ask().status == 200


def test_a_socket_is_not_announced_as_a_web_address(campaign: Path, tmp_path: Path) -> None:
    configure(campaign, listen='"unix:form.sock"')
    log = tmp_path / "log"
    command = [RELAY, "serve", "--config", str(campaign / "relay.toml")]
    with log.open("w") as told, subprocess.Popen(command, stderr=told) as process:
        wait_until(lambda: "Serving demo" in log.read_text())
        process.terminate()
    assert "  the form at unix:form.sock\n" in log.read_text()
    assert "http" not in log.read_text()


# -- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ('listen = ""', "the form needs"),
        ('desk_listen = ""', "desk_listen"),
        ('onion_listen = "127.0.0.1:80"', "unix:"),
        ('onion_listen = "unix:"', "unix:"),
        ('onion_listen = "unix:' + "x" * 120 + '"', "at most 107"),
        ('onion_address = "example.onion"', "onion_address"),
        ('desk_listen = "127.0.0.1:8080"', "one address"),
        ('tls_key = "key.pem"', "belong together"),
        ('host = "https://example.org"', "host"),
    ],
)
def test_a_way_in_that_can_not_be_is_refused_by_name(
    tmp_path: Path, settings: str, words: str
) -> None:
    path = tmp_path / "relay.toml"
    path.write_text(f'campaign = "x"\n{settings}\n')
    with pytest.raises(ConfigInvalid, match=words):
        ServerConfig.load(path)


# -- TLS -------------------------------------------------------------------------------------------


@pytest.fixture
def tls_service(start_service: Starter, campaign: Path) -> Service:
    write_pair(campaign)
    return start_service(**TLS_SETTINGS, **ONION_SETTINGS)


def test_tls_ends_in_the_relay(tls_service: Service) -> None:
    connection = Visitor(Path(), host=HOST)
    connection.sock = secure(tls_service, trusting(tls_service.folder / "certificate.pem"))
    connection.request("GET", "/en/")
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.getheader("Onion-Location") == f"http://{ONION}/en/"
    assert answer.getheader("Strict-Transport-Security") == "max-age=0", "no trace"
    assert ONION in answer.read().decode()
    connection.request("GET", "/en/", headers={"Host": "127.0.0.1"})
    answer = connection.getresponse()
    assert answer.status == 421
    assert answer.getheader("Onion-Location") is None


def test_tls_is_of_today_and_no_visit_can_be_tied_to_the_next(tls_service: Service) -> None:
    context = trusting(tls_service.folder / "certificate.pem")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context.minimum_version = context.maximum_version = version
        visitor = Visitor(Path(), host=HOST)
        visitor.sock = client = secure(tls_service, context)
        assert visitor.ask().read()
        session = client.session
        assert session is None or not session.has_ticket
        client.unwrap().close()  # cleanly: of a session that was cut nobody takes up the thread
        with context.wrap_socket(
            socket.create_connection(("127.0.0.1", tls_service.port), timeout=20),
            server_hostname="relay.example.org",
            session=session,
        ) as client:
            assert not client.session_reused
    old = trusting(tls_service.folder / "certificate.pem")
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError, match=r"."):
        secure(tls_service, old)


async def test_a_new_certificate_is_used_without_a_restart_and_a_broken_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "_LOOK_S", 0.02)
    paths = write_pair(tmp_path, "old.example.org")
    certificate = Certificate(*paths)
    watching = asyncio.create_task(certificate.watch())
    server = await asyncio.get_running_loop().create_server(
        lambda: BeforeTls(certificate, {}, asyncio.Protocol, lambda: None), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]

    async def name() -> bytes:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return bytes(found)

    first = await name()
    paths[0].write_text("broken")
    await asyncio.sleep(0.2)
    assert await name() == first
    write_pair(tmp_path, "new.example.org")
    deadline = time.monotonic() + 20
    while b"new.example.org" not in await name():
        assert time.monotonic() < deadline
    watching.cancel()
    server.close()


AS_THE_UNIT_DOES = """
import os
from pathlib import Path
from relay import memory
from relay.web.tls import Certificate
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
memory.forbid_dumps()
certificate = Certificate(Path("certificate.pem"), Path("key.pem"))
Path("certificate.pem").write_text("broken")
Path("key.pem").unlink()
certificate.new_context()
print("root" if os.getuid() == 0 else "no root")
"""


def test_a_pair_that_was_good_serves_on_without_its_files_and_without_root(tmp_path: Path) -> None:
    for path in (tmp_path, *write_pair(tmp_path)):
        if os.getuid() == 0:
            os.chown(path, 65534, 65534)
    command = [sys.executable, "-c", AS_THE_UNIT_DOES]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "no root\n", done.stderr


def test_silent_greetings_keep_nobody_out_and_cost_little(tls_service: Service) -> None:
    assert tls_service.process is not None
    before = resident_bytes(tls_service.process.pid)
    with ExitStack() as stack:
        for _ in range(800):
            silent = socket.create_connection(("127.0.0.1", tls_service.port), timeout=20)
            stack.enter_context(silent)
        visitor = Visitor(Path(), host=HOST)
        visitor.sock = secure(tls_service, trusting(tls_service.folder / "certificate.pem"))
        assert visitor.ask().status == 200
        assert resident_bytes(tls_service.process.pid) - before < 150 * 1024**2


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_what_is_said_with_the_last_words_of_the_greeting_is_heard(tls_service: Service) -> None:
    """In one packet, as some clients do it."""
    context = trusting(tls_service.folder / "certificate.pem")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    speaking = context.wrap_bio(incoming, outgoing, server_hostname=HOST)
    with socket.create_connection(("127.0.0.1", tls_service.port), timeout=20) as plain:
        while True:
            try:
                speaking.do_handshake()
                break
            except ssl.SSLWantReadError:
                plain.sendall(outgoing.read())
                incoming.write(plain.recv(65536))
        speaking.write(f"GET /en/ HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        plain.sendall(outgoing.read())
        answer = b""
        while not answer:
            incoming.write(plain.recv(65536))
            with suppress(ssl.SSLWantReadError):
                answer = speaking.read(64)
    assert answer.startswith(b"HTTP/1.1 200")


def test_nothing_leads_away_from_a_receipt(tls_service: Service, dirty: bytes) -> None:
    """A browser that follows Onion-Location by itself would take the page from her."""
    visitor = Visitor(Path(), host=HOST)
    visitor.sock = secure(tls_service, trusting(tls_service.folder / "certificate.pem"))
    page = visitor.ask()
    assert page.getheader("Onion-Location") is not None
    token = page.read().decode().split('name="token" value="')[1].split('"')[0]
    body, kind = multipart([("token", token.encode(), None), ("photo", dirty, "x.jpg")])
    visitor.request("POST", "/en/", body, {"Content-Type": kind})
    answer = visitor.getresponse()
    assert 'id="receipt"' in answer.read().decode()
    assert answer.getheader("Onion-Location") is None


def test_a_pair_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    certificate, _ = write_pair(tmp_path, "one.example.org")
    (tmp_path / "other").mkdir()
    _, key = write_pair(tmp_path / "other", "two.example.org")
    with pytest.raises(ConfigInvalid, match="not a certificate and its key"):
        Certificate(certificate, key)
    with pytest.raises(ConfigInvalid, match=os.strerror(2)):
        Certificate(tmp_path / "missing.pem", key)
