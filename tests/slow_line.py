"""A slow line to a service: all that goes there is held back, and the line can be cut."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_PIECE = 4096


@dataclass(kw_only=True)
class Line:
    """Both ends of each connection that goes over it."""

    port: int
    bytes_per_s: float
    cut_after: int | None = None  # bytes sent on one connection
    cuts: int = 0
    ends: list[socket.socket] = field(default_factory=list)
    pumps: list[threading.Thread] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Break every connection that there is now."""
        for end in self.ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def slow_line(service_port: int, *, bytes_per_s: float = 1e9) -> Iterator[Line]:
    """Lead to the service at `service_port`, what is sent there no faster than that."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        line = Line(port=server.getsockname()[1], bytes_per_s=bytes_per_s)
        accepting = threading.Thread(target=_accept, args=(server, service_port, line))
        accepting.start()
        try:
            yield line
        finally:
            server.shutdown(socket.SHUT_RDWR)
            accepting.join()
            line.cut()
            for pump in line.pumps:
                pump.join()
            for end in line.ends:
                end.close()


def _accept(server: socket.socket, service_port: int, line: Line) -> None:
    with suppress(OSError):
        while True:
            near, _ = server.accept()
            far = socket.create_connection(("127.0.0.1", service_port))
            line.ends += [near, far]
            for ends in ((near, far, line), (far, near, None)):
                line.pumps.append(threading.Thread(target=_pump, args=ends))
                line.pumps[-1].start()


def _pump(source: socket.socket, target: socket.socket, line: Line | None) -> None:
    sent = 0
    with suppress(OSError):
        while piece := source.recv(_PIECE):
            target.sendall(piece)
            sent += len(piece)
            if line is not None:
                time.sleep(len(piece) / line.bytes_per_s)
                if line.cut_after is not None and sent > line.cut_after:
                    line.cuts += 1
                    line.cut()
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
