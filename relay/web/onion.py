"""Visitors by way of tor: one number for each circuit, and limits for it in place of addresses.

tor writes a line before each connection that it brings to our socket (HiddenServiceExportCircuitID
haproxy): the same number for all that comes on one circuit, another for each circuit. It says
nothing of who is at the other end, is kept in memory alone, and for ten minutes.
Source: tor(1); the PROXY protocol, version 1; tor's control-spec.
"""

import asyncio
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from relay.errors import Busy
from relay.intake.events import events

UPLOADS_AT_ONCE = 4
UPLOADS = 60  # on one circuit; a person sends a few
STRIKES = 3  # a slow line may be honest, and a page then says so; the third time is enough
_REMEMBERED_S = (
    600.0  # a circuit takes no new visits after that. Source: tor(1), MaxCircuitDirtiness
)
_MOST_CIRCUITS = 10_000
_LINE_S = 5.0
_LONGEST_LINE = 107  # bytes; source: the PROXY protocol, version 1
_LINE = re.compile(
    rb"PROXY TCP6 fc00:dead:beef:4dad::([0-9a-f]{1,4}):([0-9a-f]{1,4}) \S+ \d{1,5} \d{1,5}\r\n"
)
_CONTROL_S = 5.0
_COOKIE = re.compile(rb'COOKIEFILE="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(rb"\\([0-7]{1,3}|.)")
_DONE, _GONE = b"250", b"552"


@dataclass(eq=False)
class Circuit:
    """What is done on one circuit."""

    number: int
    close: Callable[[int], None] = field(repr=False)
    seen: float = 0.0
    connections: set[asyncio.BaseTransport] = field(default_factory=set, repr=False)
    _sending: list[asyncio.BaseTransport] = field(default_factory=list, repr=False)
    _uploads: int = 0
    _strikes: int = 0

    @contextmanager
    def upload(self, transport: asyncio.BaseTransport) -> Iterator[None]:
        """Count what is sent by a connection.

        Raises:
            Busy: too much at once, or too much altogether.
        """
        if self._uploads >= UPLOADS:
            raise Busy
        if sum(not sending.is_closing() for sending in self._sending) >= UPLOADS_AT_ONCE:
            self.strike()  # whoever has pressed Send again has closed the one before
            raise Busy
        self._sending.append(transport)
        self._uploads += 1
        try:
            yield
        finally:
            self._sending.remove(transport)

    def strike(self) -> None:
        """Note abuse; cut the circuit when it is enough."""
        self._strikes += 1
        if self._strikes >= STRIKES:
            for connection in list(self.connections):
                if isinstance(connection, asyncio.Transport):
                    connection.abort()
            self.close(self.number)


class Circuits:
    """The circuits of the last minutes."""

    def __init__(self, tor_control: Path | None) -> None:
        """Cut circuits by tor's control socket, where there is one, and always at our end."""
        self._tor_control = tor_control
        self._tor = _identify(tor_control)
        self._circuits: dict[int, Circuit] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def enter(self, number: int) -> Circuit:
        """Return the circuit that a new connection has come by.

        A tor that has started again counts from the beginning, and has made its control socket
        anew: then the numbers stand for others.
        """
        if (tor := _identify(self._tor_control)) != self._tor:
            self._tor = tor
            for other in self._circuits.values():
                other.close = _ignore
            self._circuits.clear()
        self._forget()
        circuit = self._circuits.pop(number, None)
        if circuit is None:
            circuit = Circuit(number, self._close)
        circuit.seen = time.monotonic()
        self._circuits[number] = circuit  # last: they stand in the order of their last visit
        return circuit

    def _forget(self) -> None:
        oldest = time.monotonic() - _REMEMBERED_S
        for number, circuit in list(self._circuits.items()):
            if circuit.seen > oldest and len(self._circuits) < _MOST_CIRCUITS:
                return
            if not circuit.connections:
                del self._circuits[number]

    def _close(self, number: int) -> None:
        if self._tor_control is not None:
            task = asyncio.get_running_loop().create_task(_close(self._tor_control, number))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


def _ignore(_: int) -> None:
    """Close nothing: the number is another's by now."""


def _identify(path: Path | None) -> tuple[int, int] | None:
    try:
        found = path.stat() if path is not None else None
    except OSError:
        return None
    return None if found is None else (found.st_ino, found.st_ctime_ns)


async def _close(tor_control: Path, number: int) -> None:
    try:
        async with asyncio.timeout(_CONTROL_S):
            await close_circuit(tor_control, number)
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
        events.error("tor's control socket does not do what we ask: circuits are not cut there")


async def close_circuit(tor_control: Path, number: int) -> None:
    """Ask tor to close a circuit; one that has gone already is no error.

    Raises:
        OSError, EOFError: there is no tor at this socket, or it does not let us in.
    """
    reader, writer = await asyncio.open_unix_connection(str(tor_control))
    try:
        greeting = await _ask(reader, writer, b"PROTOCOLINFO 1")
        cookie = b""
        if match := _COOKIE.search(greeting):
            path = Path(os.fsdecode(_ESCAPED.sub(_unescape, match[1])))
            cookie = await asyncio.to_thread(path.read_bytes)
        answer = await _ask(reader, writer, b"AUTHENTICATE " + cookie.hex().encode())
        if not answer.startswith(_DONE):
            raise ConnectionRefusedError
        answer = await _ask(reader, writer, b"CLOSECIRCUIT %d" % number)
        if not answer.startswith((_DONE, _GONE)):
            raise ConnectionRefusedError
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def _unescape(match: re.Match[bytes]) -> bytes:
    """Source: tor's control-spec, QuotedString."""
    return bytes([int(match[1], 8) & 0xFF]) if match[1].isdigit() else match[1]


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, command: bytes) -> bytes:
    """Return tor's answer: lines of three digits, a dash but in the last, and words."""
    writer.write(command + b"\r\n")
    await writer.drain()
    answer = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        answer += line
        if line[3:4] == b" ":
            return answer


class TorLine(asyncio.Protocol):
    """Reads tor's line, then hands the connection over to the web protocol."""

    def __init__(
        self,
        circuits: Circuits,
        make_connection: Callable[[Circuit], web.RequestHandler],
    ) -> None:
        """Wait for the line."""
        self._circuits = circuits
        self._make_connection = make_connection
        self._line = b""
        self._transport: asyncio.Transport | None = None
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give it a few seconds."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
            loop = asyncio.get_running_loop()
            self._patience = loop.call_later(_LINE_S, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's own shape
        """Stop waiting."""
        if self._patience is not None:
            self._patience.cancel()

    def data_received(self, data: bytes) -> None:
        """Take the line off; whoever writes none is not tor."""
        if self._transport is None:
            return
        self._line += data
        line, end, rest = self._line.partition(b"\n")
        if not end and len(line) <= _LONGEST_LINE:
            return
        match = _LINE.fullmatch(line + end)
        if match is None:
            self._transport.abort()
            return
        if self._patience is not None:
            self._patience.cancel()
        number = int(match[1], 16) << 16 | int(match[2], 16)
        connection = self._make_connection(self._circuits.enter(number))
        self._transport.set_protocol(connection)
        connection.connection_made(self._transport)
        if rest:
            connection.data_received(rest)
