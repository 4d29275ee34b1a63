"""SIGTERM under load: what has arrived is answered, the rest is told to come back, then it ends."""

import contextlib
import functools
import http.client
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests import photos
from tests.conftest import Service, Starter, multipart, wait_until
from tests.doors import ONION, ONION_SETTINGS, Visitor, line
from tests.faults.kills import Moment, run
from tests.web.test_service import MIB, processes_below

_CLOSED = "We are closed for the moment. Nothing was sent."


@dataclass
class Upload:
    """A form post of which as much is sent as one likes."""

    service: Service
    connection: socket.socket
    photo: bytes
    message: str = ""
    sent: int = 0
    body: bytes = field(init=False)

    def __post_init__(self) -> None:
        fields = {"token": self.service.token(), "message": self.message}
        parts: list[tuple[str, bytes, str | None]] = [
            (name, text.encode(), None) for name, text in fields.items()
        ]
        self.body, kind = multipart([*parts, ("photo", self.photo, "x.jpg")])
        head = f"POST /en/ HTTP/1.1\r\nHost: {ONION}\r\nContent-Type: {kind}\r\n"
        self.connection.sendall(f"{head}Content-Length: {len(self.body)}\r\n\r\n".encode())

    def send(self, count: int | None = None) -> None:
        until = len(self.body) if count is None else self.sent + count
        self.connection.sendall(self.body[self.sent : until])
        self.sent = until

    def answer(self) -> tuple[int, str]:
        """The whole page; an error where it is not whole."""
        response = http.client.HTTPResponse(self.connection)
        response.begin()
        return response.status, response.read().decode()


def connect(service: Service) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=30)


def knock(service: Service, circuit: int) -> socket.socket:
    """Come by tor's socket."""
    visitor = Visitor(service.folder / "onion.sock", first=line(circuit))
    visitor.connect()
    return visitor.sock


@functools.cache
def costly() -> bytes:
    """A photo inside every limit that takes the box as long as any."""
    scans = photos.encode(photos.picture(2800, 2800), progressive=True)
    last = scans[scans.rindex(b"\xff\xda") : -2]
    return scans[:-2] + last * 85 + b"\xff\xd9"


@contextlib.contextmanager
def dripping(uploads: list[Upload]) -> Iterator[None]:
    """Let more of them come all the time."""
    done = threading.Event()

    def drip() -> None:
        with contextlib.suppress(OSError):
            while not done.wait(0.1):
                for upload in uploads:
                    upload.send(100)

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def is_gone(below: set[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in below)


def test_an_upload_on_its_way_is_told_to_come_back_and_one_that_has_arrived_is_kept(
    service: Service,
) -> None:
    assert service.process is not None
    large = photos.encode(photos.noise(2400, 1800))
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(connect(service)) for _ in range(7)]
        coming = Upload(service, connections.pop(), large, message="on its way")
        coming.send(len(coming.body) // 2)
        idle = processes_below(service.process.pid)
        arrived = [
            Upload(service, connection, photos.encode(photos.picture(seed=number)))
            for number, connection in enumerate(connections)
        ]
        for upload in arrived:
            upload.send()
        wait_until(lambda: processes_below(service.process.pid) > idle)  # type: ignore[union-attr]
        service.get("/en/")  # by now all has been read that was there
        below = processes_below(service.process.pid)
        service.process.terminate()
        status, page = coming.answer()
        assert status == 503
        assert _CLOSED in page
        assert "on its way" in page, "her words are kept"
        coming.send()  # she may go on: it is read and dropped
        answers = [upload.answer() for upload in arrived]
        assert [status for status, _ in answers] == [200] * len(arrived)
    assert service.process.wait(timeout=10) == 0
    wait_until(lambda: is_gone(below))
    service.start()
    for _, page in answers:
        receipt = re.search(r'<output id="receipt">([\d ]+)</output>', page)
        assert receipt
        assert "is here, locked" in service.post_receipt("receipt", receipt[1]).text
    fetched = service.desk("pull", "--to", "sealed", "--json").json["fetched"]
    assert len(fetched) == len(arrived)  # type: ignore[arg-type]


def test_neither_slow_uploads_nor_costly_photos_at_two_listeners_hold_it_up(
    start_service: Starter,
) -> None:
    service = start_service(**ONION_SETTINGS)
    assert service.process is not None
    idle = processes_below(service.process.pid)
    with contextlib.ExitStack() as stack:
        slow, arrived = [], []
        for circuit in range(7):
            for connection in (connect(service), knock(service, circuit)):
                stack.enter_context(connection)
                upload = Upload(service, connection, costly() if circuit else bytes(MIB))
                (arrived if circuit else slow).append(upload)
        for upload in arrived:
            upload.send()
        stack.enter_context(dripping(slow))
        wait_until(lambda: processes_below(service.process.pid) > idle)  # type: ignore[union-attr]
        below = processes_below(service.process.pid)
        assert service.stop() == 0
    wait_until(lambda: is_gone(below))


def test_stopped_and_started_under_load_it_keeps_what_it_acknowledged_once(campaign: Path) -> None:
    account, _ = run(campaign, times=2, seed=2, moments=[Moment.STOP])
    assert account.is_clean, account.table()
    assert account.acknowledged
