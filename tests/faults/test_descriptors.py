"""No descriptor is left: nothing crashes or spins, and all comes back by itself."""

import contextlib
import os
import re
import signal
import socket
from pathlib import Path

from tests.conftest import Service, Starter, wait_until
from tests.web.test_service import post_head, processes_below

_FEW = 60  # the relay itself, its database and its box take half of them
_MANY = 100
_TICKS_S = os.sysconf("SC_CLK_TCK")


def cpu_s(service: Service) -> float:
    assert service.process is not None
    fields = Path(f"/proc/{service.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_S


def count_open(service: Service) -> int:
    assert service.process is not None
    return len(list(Path(f"/proc/{service.process.pid}/fd").iterdir()))


def wait_for_covers(service: Service, count: int) -> None:
    """Wait for so many cover writes."""
    seen: set[int] = set()
    path = service.folder / "queue.sqlite"
    wait_until(lambda: seen.add(path.stat().st_mtime_ns) or len(seen) > count, seconds=60)  # type: ignore[func-returns-value]


def test_out_of_descriptors_it_neither_dies_nor_spins_and_opens_when_they_are_back(
    start_service: Starter, dirty: bytes
) -> None:
    limit = ["prlimit", f"--nofile={_FEW}:{_FEW}"]
    service = start_service(limit, cover_write_s=1, health_listen='"unix:health.sock"')
    assert service.process is not None
    token, receipt = service.token(), service.send(dirty, message="before").receipt
    box = processes_below(service.process.pid)
    with contextlib.ExitStack() as stack:
        for _ in range(_MANY):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", service.port)))
            client.sendall(post_head("multipart/form-data; boundary=x", 9999) + b"--x\r\n")
        wait_until(lambda: count_open(service) == _FEW)
        for pid in box:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: "closed: The box does not start." in service.log_file.read_text())
        before = cpu_s(service)
        wait_for_covers(service, 3)
        assert cpu_s(service) - before < 1.5, "of two seconds at least"
        assert service.process.poll() is None
    wait_until(lambda: service.get("/en/").status == 200, seconds=60)
    log = service.log_file.read_text()
    assert re.search(r"closed: The box does not start\. Too many open files\.\n", log)
    assert log.endswith("open again\n")
    assert "is here, locked" in service.post_receipt("receipt", receipt).text
    assert service.send(dirty, message="after", token=token).status == 200
    fetched = service.desk("pull", "--to", "sealed", "--json").json["fetched"]
    assert len(fetched) == 2  # type: ignore[arg-type]
