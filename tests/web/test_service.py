"""The real service, as a process: what it survives, what it leaves behind, what it says."""

import asyncio
import contextlib
import dataclasses
import os
import re
import resource
import signal
import socket
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from relay.config import ServerConfig
from relay.errors import NotKept
from relay.intake.box import make_scrubber
from relay.intake.runtime import open_runtime
from relay.queue.store import SealedQueue
from relay.web.connection import MAX_CONNECTIONS
from tests import photos
from tests.conftest import Service, Starter, configure, multipart, relay, wait_until

BODY_STEP = 4096
STARTS = "execve,clone,?fork,?vfork,clone3"
OPENS = "openat,?open,?creat,memfd_create,?mkdir"
WRITES = "write,writev,pwrite64,pwritev,sendfile,splice,copy_file_range"
MIB = 1 << 20


def data_files(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def processes_below(pid: int) -> set[int]:
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            child = int(status.parent.name)
            found |= {child} | processes_below(child)
    return found


def post_head(kind: str, length: int) -> bytes:
    head = f"POST /en/ HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {length}"
    return head.encode() + b"\r\n\r\n"


# -- durable before the receipt ------------------------------------------------------------------


def test_killed_right_after_the_receipt_ten_times_all_ten_are_there(service: Service) -> None:
    receipts = []
    for number in range(10):
        sent = service.send(photos.dirty_jpeg(photos.picture(seed=number)), message=f"n{number}")
        service.kill()
        receipts.append(sent.receipt)
        service.start()
    for receipt in receipts:
        assert "is here, locked" in service.post_receipt("receipt", receipt).text
    pulled = service.desk("pull", "--to", "sealed")
    assert pulled.code == 0
    opened = service.desk("open", "sealed", "--to", "opened")
    assert opened.code == 0
    texts = [path.read_text() for path in service.folder.parent.glob("opened/*/submission.json")]
    assert sorted(re.findall(r'"message":"(n\d)"', "".join(texts))) == [f"n{i}" for i in range(10)]


def test_the_log_of_the_database_is_synced_before_the_first_byte_of_the_receipt(
    start_service: Starter, tmp_path: Path, dirty: bytes
) -> None:
    trace = tmp_path / "trace"
    calls = "openat,fsync,fdatasync,pwrite64,sendto,sendmsg,writev"
    wrapper = ["strace", "-D", "-f", "-y", "-s", "6000", "-e", f"trace={calls}", "-o", str(trace)]
    service = start_service(wrapper=wrapper)
    token = service.token()
    before = len(trace.read_text().splitlines())
    receipt = service.send(dirty, token=token).receipt
    wait_until(lambda: receipt in trace.read_text())
    service.stop()
    lines = trace.read_text().splitlines()[before:]

    kept = next(
        i
        for i, line in enumerate(lines)
        if "pwrite64" in line and "queue.sqlite-wal" in line and "age-encryption.org/v1" in line
    )
    synced = next(
        i for i, line in enumerate(lines) if i > kept and re.search(r"sync\(.*sqlite-wal", line)
    )
    if "<unfinished" in lines[synced]:  # what counts is when it had returned
        thread = lines[synced].split()[0]
        synced = next(
            i
            for i, line in enumerate(lines)
            if i > synced and line.startswith(thread) and "sync resumed" in line
        )
    answered = next(i for i, line in enumerate(lines) if "HTTP/1.1 200" in line)
    assert kept < synced < answered


def test_no_byte_of_a_body_reaches_a_file(start_service: Starter, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    wrapper = [
        "strace",
        "-D",
        "-f",
        "-y",  # a descriptor with its file
        "-s",
        str(9 * BODY_STEP),
        "-e",
        f"trace={STARTS},{OPENS},{WRITES}",
        "-o",
        str(trace),
    ]
    service = start_service(wrapper=wrapper)
    assert service.process is not None
    box = processes_below(service.process.pid)
    before = len(trace.read_text().splitlines())
    body = photos.dirty_jpeg() + (b"CANARYBODY" + os.urandom(BODY_STEP - 10)) * 1500
    service.send(body, message="CANARYMESSAGE")
    service.stop()
    assert "relay.toml" in trace.read_text(), "the trace can be read"
    written = [line for line in trace.read_text().splitlines() if re.search(r"\(\d+</", line)]
    assert any("queue.sqlite-wal>" in line for line in written)
    assert not [line[:200] for line in written if "CANARY" in line]
    starts = re.findall(
        rf"^{service.process.pid} +execve\(.* = 0$", trace.read_text(), re.MULTILINE
    )
    assert len(starts) == 2, "it follows the relay that has started itself again"
    opened = trace.read_text().splitlines()[before:]
    forks = [
        line for line in opened if re.match(rf"({'|'.join(map(str, box))}) +(clone|v?fork)", line)
    ]
    assert forks, "and its box"
    to_write = [
        line for line in opened if re.search(r"O_WRONLY|O_RDWR|O_CREAT|creat|memfd|mkdir", line)
    ]
    names = {re.search(r'"([^"]+)"', line)[1] for line in to_write}  # type: ignore[index]
    assert {Path(name).name for name in names} <= {
        "queue.sqlite", "queue.sqlite-wal", "queue.sqlite-shm", "queue.sqlite-journal", "null",
    }, names  # fmt: skip


# -- what it leaves behind ------------------------------------------------------------------------


def test_no_file_and_no_log_line_holds_anything_of_hers(service: Service) -> None:
    hers = [*photos.CANARIES.values(), photos.FILE_NAME.encode(), b"CANARYMESSAGE", b"CANARYAGENT"]
    body, kind = multipart(
        [
            ("token", service.token().encode(), None),
            ("message", b"CANARYMESSAGE", None),
            ("photo", photos.dirty_jpeg(), photos.FILE_NAME),
        ]
    )
    headers = {"Content-Type": kind, "User-Agent": "CANARYAGENT", "X-Forwarded-For": "203.0.113.9"}
    receipt = service.request("POST", "/en/", body, headers).receipt
    service.send(b"CANARYMESSAGE is not a photo", message="CANARYMESSAGE")
    service.request("POST", "/en/", body[:99], headers)
    digits = receipt.replace(" ", "").encode()
    service.post_receipt("receipt", receipt)
    with socket.create_connection(("127.0.0.1", service.port)) as client:
        client.sendall(b"CANARYMESSAGE\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.")
    left = data_files(service.folder) + service.log_file.read_bytes()
    for secret in (*hers, digits, receipt.encode(), b"203.0.113.9"):
        assert secret not in left, secret
    assert b"127.0.0.1" not in service.log_file.read_bytes().replace(service.url.encode(), b"")
    assert service.stop() == 0
    assert not [secret for secret in hers if secret in data_files(service.folder)]


def test_two_photos_of_very_different_size_give_envelopes_of_one_length(lasting: Starter) -> None:
    service = lasting()
    small = photos.encode(photos.picture(40, 30))
    large = photos.encode(photos.noise(2400, 1800), quality=95)
    assert len(large) > 100 * len(small)
    service.send(small)
    service.send(large, message="x" * 500, poster="handwritten", not_before="2026-03-19")
    service.desk("pull", "--to", "sealed")
    sizes = [path.stat().st_size for path in service.folder.parent.glob("sealed/*.age")]
    assert len(sizes) == 2
    assert len(set(sizes)) == 1


# -- limits ---------------------------------------------------------------------------------------


def test_an_upload_over_the_limit_gets_its_page_and_keeps_her_text(start_service: Starter) -> None:
    service = start_service(max_upload_bytes=2 * MIB)
    for size in (2 * MIB + 1, 5 * MIB):
        answer = service.send(bytes(size), message="my words")
        assert answer.status == 413
        assert "too large" in answer.text
        assert "my words" in answer.text
    parts = [("token", service.token().encode(), None), ("photo", bytes(5 * MIB), "x.jpg")]
    body, kind = multipart([*parts, ("message", b"words after the photo", None)])
    answer = service.request("POST", "/en/", body, {"Content-Type": kind})
    assert "words after the photo" in answer.text
    endless = service.send(bytes(12 * MIB))
    assert endless.status == 413
    assert service.send(photos.dirty_jpeg()).status == 200


def test_a_full_queue_says_so_and_takes_nothing_half(
    start_service: Starter, campaign: Path, dirty: bytes
) -> None:
    service = start_service(max_queued=2)
    receipts = [service.send(dirty, message=text).receipt for text in ("one", "two")]
    form = service.get("/en/")
    assert form.status == 503
    assert "Our box is full" in form.text
    assert 'name="photo"' not in form.text
    configure(campaign, max_queued=5)
    service.kill()
    service.start()
    token = service.token()
    service.send(dirty, message="three")
    service.kill()
    configure(campaign, max_queued=2)
    service.start()
    answer = service.send(dirty, token=token, message="four")
    assert answer.status == 503
    assert "Come back tomorrow" in answer.text
    assert "four" in answer.text
    for receipt in receipts:
        assert service.post_receipt("receipt", receipt).status == 200
    assert len(service.desk("pull", "--to", "sealed", "--json").json["fetched"]) == 3  # type: ignore[arg-type]


@pytest.mark.parametrize("content", ["", "# nobody yet\n", "age1pq1nonsense\n"])
def test_without_a_valid_recipient_the_door_is_closed_and_receipts_still_work(
    start_service: Starter, campaign: Path, dirty: bytes, content: str
) -> None:
    service = start_service()
    token, receipt = service.token(), service.send(dirty).receipt
    service.kill()
    (campaign / "recipients.txt").write_text(content)
    service.start()
    assert service.get("/en/").status == 503
    answer = service.send(dirty, token=token, message="kept")
    assert answer.status == 503
    assert "closed for the moment" in answer.text
    assert "kept" in answer.text
    assert "destroyed" in service.post_receipt("withdraw", receipt).text
    assert "closed: " in service.log_file.read_text()
    assert "recipients.txt" in service.log_file.read_text()


def test_a_full_disk_loses_nothing_that_was_acknowledged(start_service: Starter) -> None:
    service = start_service(wrapper=["prlimit", f"--fsize={2 * MIB}"])
    receipts, refused, token = [], 0, service.token()
    for number in range(6):
        answer = service.send(photos.dirty_jpeg(photos.picture(seed=number)), token=token)
        if answer.status == 200:
            receipts.append(answer.receipt)
        else:  # the first that can't be kept closes the door for a while
            assert answer.status == 503
            assert ("closed for the moment" if refused else "kept nothing") in answer.text
            refused += 1
    assert receipts
    assert refused
    service.kill()
    service.wrapper = []
    service.start()
    for receipt in receipts:
        assert service.post_receipt("receipt", receipt).status == 200
    assert len(service.desk("pull", "--to", "s", "--json").json["fetched"]) == len(receipts)  # type: ignore[arg-type]


def test_uploads_beyond_the_memory_budget_are_told_to_come_back(start_service: Starter) -> None:
    service = start_service(max_inflight_bytes=3 * MIB)
    token = service.token()
    body, kind = multipart([("token", token.encode(), None), ("photo", bytes(2 * MIB), "x.jpg")])
    head = post_head(kind, len(body))

    def is_turned_away() -> bool:
        """Anew each time: one that holds memory and brings nothing more is ended for others."""
        with socket.create_connection(("127.0.0.1", service.port)) as slow:
            slow.sendall(head + body[:-100])
            answer = service.send(bytes(2 * MIB), token=token, message="kept")
            return answer.status == 503 and "Too many people" in answer.text

    wait_until(is_turned_away)
    wait_until(lambda: service.send(bytes(2 * MIB), token=token).status == 415)
    assert service.send(photos.dirty_jpeg()).status == 200, "given back after the connection broke"


def test_a_connection_that_breaks_leaves_nothing(lasting: Starter, dirty: bytes) -> None:
    service = lasting()
    token = service.token()
    body, kind = multipart([("token", token.encode(), None), ("photo", dirty, "x.jpg")])
    head = post_head(kind, len(body))
    for part in (0.0, 0.3, 0.9):
        with socket.create_connection(("127.0.0.1", service.port)) as client:
            client.sendall(head + body[: int(len(body) * part)])
    assert service.send(dirty, token=token).status == 200
    assert len(service.desk("pull", "--to", "sealed", "--json").json["fetched"]) == 1  # type: ignore[arg-type]


def test_two_at_once_with_the_same_content_are_one(lasting: Starter, dirty: bytes) -> None:
    service = lasting()
    token = service.token()
    answers: list[str] = []
    senders = [
        threading.Thread(target=lambda: answers.append(service.send(dirty, token=token).receipt))
        for _ in range(6)
    ]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert len(answers) == 6
    assert len(set(answers)) == 1
    assert len(service.desk("pull", "--to", "sealed", "--json").json["fetched"]) == 1  # type: ignore[arg-type]


def test_silent_connections_do_not_keep_anybody_out(start_service: Starter, dirty: bytes) -> None:
    """With descriptors for little more than the connections that are allowed."""
    few = MAX_CONNECTIONS + 700  # asyncio accepts up to 512 at once before it looks at them
    service = start_service(wrapper=["prlimit", f"--nofile={few}:{few}"])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with contextlib.ExitStack() as stack:
        for _ in range(few + 300):
            stack.enter_context(socket.create_connection(("127.0.0.1", service.port)))
        started = time.monotonic()
        assert service.send(dirty).status == 200
        assert time.monotonic() - started < 20, "room is made before the silent ones are timed out"


def test_a_queue_that_another_program_has_is_said_and_no_receipt_lies(
    service: Service, dirty: bytes
) -> None:
    receipt = service.send(dirty).receipt
    other = sqlite3.connect(service.folder / "queue.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert "is here, locked" in service.post_receipt("receipt", receipt).text, "reading goes on"
    withdrawn = service.post_receipt("withdraw", receipt)
    assert withdrawn.status == 503
    assert "Nothing was changed" in withdrawn.text
    other.execute("ROLLBACK")
    other.close()
    assert "is here, locked" in service.post_receipt("receipt", receipt).text
    assert service.post_receipt("withdraw", receipt).status == 200


async def test_housekeeping_outlives_what_it_did_not_expect(
    campaign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(ServerConfig.load(campaign / "relay.toml"), cover_write_s=0)
    turned = asyncio.Event()
    failures = iter([ValueError("CANARY"), NotKept(), OSError("CANARY")])

    async def last_turned(_: SealedQueue) -> None:
        for failure in failures:
            raise failure
        turned.set()

    monkeypatch.setattr(SealedQueue, "last_turned", last_turned)
    async with open_runtime(config, make_scrubber(config)), asyncio.timeout(20):
        await turned.wait()


# -- start and stop -------------------------------------------------------------------------------


def test_sigterm_ends_it_within_ten_seconds_children_included(service: Service) -> None:
    assert service.process is not None
    below = processes_below(service.process.pid)
    assert below
    with socket.create_connection(("127.0.0.1", service.port)) as idle:
        idle.sendall(b"POST /en/ HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n")
        assert service.stop() == 0
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below))


def test_sigterm_ends_photos_that_are_being_opened_too(service: Service) -> None:
    """Costly ones, inside every limit: none outlives the service."""
    assert service.process is not None
    scans = photos.encode(photos.picture(2800, 2800), progressive=True)
    last = scans[scans.rindex(b"\xff\xda") : -2]
    costly = scans[:-2] + last * 85 + b"\xff\xd9"
    token = service.token()
    body, kind = multipart([("token", token.encode(), None), ("photo", costly, "x.jpg")])
    before = processes_below(service.process.pid)
    with contextlib.ExitStack() as stack:
        for _ in range(6):
            client = socket.create_connection(("127.0.0.1", service.port))
            stack.enter_context(client)
            client.sendall(post_head(kind, len(body)) + body)
        wait_until(lambda: processes_below(service.process.pid) > before)
        below = processes_below(service.process.pid)
        assert service.stop() == 0
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below))


def test_killed_it_takes_its_box_along(service: Service) -> None:
    assert service.process is not None
    below = processes_below(service.process.pid)
    assert below
    service.kill()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below))


def test_a_box_that_dies_costs_one_photo_at_most(service: Service, dirty: bytes) -> None:
    assert service.process is not None
    for pid in processes_below(service.process.pid):
        os.kill(pid, signal.SIGKILL)
    answers = [service.send(dirty, message=str(number)) for number in range(3)]
    assert {answer.status for answer in answers} <= {200, 500}
    assert [answer.status for answer in answers[1:]] == [200, 200]


def test_the_service_can_not_dump_core(lasting: Starter) -> None:
    service = lasting()
    assert service.process is not None
    limits = Path(f"/proc/{service.process.pid}/limits").read_text()
    assert re.search(r"Max core file size\s+0\s+0", limits)


def test_an_address_in_use_is_said(lasting: Starter, tmp_path: Path) -> None:
    service = lasting()
    listen = f"127.0.0.1:{service.port}"
    second = relay("demo", "--dir", tmp_path / "other", "--listen", listen)
    assert second.code == 2
    assert "in use" in second.err
    assert "Traceback" not in second.err
