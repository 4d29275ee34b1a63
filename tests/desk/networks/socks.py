"""A SOCKS proxy that the desk goes through, and that can lose what comes back."""

import select
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Socks(socketserver.ThreadingTCPServer):
    """A SOCKS 5 proxy that leads every name to one port of this machine.

    is_cutting: answers are lost on the way back; what was asked is done.
    """

    daemon_threads = True

    def __init__(self, to: int) -> None:
        super().__init__(("127.0.0.1", 0), _Leader)
        self.to = to
        self.asked: list[str] = []
        self.is_cutting = False

    @property
    def address(self) -> str:
        return f"socks5h://127.0.0.1:{self.server_address[1]}"


class _Leader(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        server, caller = self.server, self.request
        assert isinstance(server, Socks)
        caller.recv(64)
        caller.sendall(b"\x05\x00")
        question = caller.recv(512)
        # 3: a name. Nobody was asked for its address.
        server.asked.append(question[5 : 5 + question[4]].decode() if question[3] == 3 else "")
        caller.sendall(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
        with socket.create_connection(("127.0.0.1", server.to)) as far, suppress(OSError):
            other = {caller: far, far: caller}
            while True:
                for end in select.select([*other], [], [])[0]:
                    chunk = end.recv(65536)
                    if not chunk or (server.is_cutting and end is far):
                        return
                    other[end].sendall(chunk)


@contextmanager
def socks(to: int) -> Iterator[Socks]:
    with Socks(to) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()
