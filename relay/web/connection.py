"""One connection: nothing of it is logged, and nothing is kept when its answer has gone."""

import asyncio
import gc
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import yarl
from aiohttp import ClientError, web
from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError

from relay.web.headers import METHODS, dress
from relay.web.onion import Circuit
from relay.web.progress import PROGRESS

_FIRST_REQUEST_S = 30.0  # a connection that has asked for nothing by then is closed
_ASKING_S = 5.0  # before, a newcomer is not taken for silent, nor who was answered for done
_NOT_FOUND = 404
# yarl remembers the last addresses that were asked for.
_ADDRESS_CACHES = [one for one in vars(yarl._url).values() if hasattr(one, "cache_clear")]  # noqa: SLF001 - yarl.cache_clear leaves the most of them
_READING = ("GET", "HEAD")  # brings nothing of hers
_SWEEP_S = 0.5  # after an answer; what was hers is gone within two seconds
_LAST_LINGER_S = 2.0  # where the service ends: read on, so that the page arrives, not a reset
MAX_CONNECTIONS = 1000  # on each listener; beyond it, the oldest that asks for nothing is closed


class Silent(logging.Logger):
    """What aiohttp would log quotes addresses and headers: all of it is dropped."""

    def __init__(self) -> None:
        """Say nothing, at any level."""
        super().__init__("silent", logging.CRITICAL + 1)

    def isEnabledFor(self, level: int) -> bool:  # noqa: ARG002, N802 - logging's own name
        """Return that it is not."""
        return False


class Sweeper:
    """Lets go of what refers to itself: an error of a library, whose frames hold it and her words.

    Our own code leaves no such thing behind; SQLAlchemy and the HTTP parser do when they fail.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Sweep in `loop`, when asked."""
        self._loop = loop
        self._is_due = self._is_due_again = False

    def sweep_soon(self) -> None:
        """Sweep in a moment, once for all that ask meanwhile."""
        self._is_due_again = self._is_due
        if not self._is_due:
            self._is_due = True
            self._loop.call_later(_SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        for cache in _ADDRESS_CACHES:
            cache.cache_clear()
        gc.collect()
        self._is_due = False
        if self._is_due_again:  # whoever asked last may still have been busy
            self.sweep_soon()


class Connection(web.RequestHandler):
    """One connection. What the HTTP parser refuses gets our headers and no details."""

    __slots__ = ("_circuits", "_silence", "_sweeper", "circuit", "silent_since")

    def __init__(
        self, manager: web.Server, sweeper: Sweeper, circuit: Circuit | None, **options: Any
    ) -> None:
        """Serve one visitor. circuit: the one that tor brought her by, on an onion's listener."""
        super().__init__(manager, **options)
        self._sweeper = sweeper
        self.circuit = circuit

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Make room, and give a silent connection a short while only."""
        others = _still_here(self._manager.connections) if self._manager is not None else []
        super().connection_made(transport)
        if self.circuit is not None:
            self.circuit.connections.add(transport)
        if len(others) >= MAX_CONNECTIONS:
            _abort(self._find_spare(others) or self._most_at(others))
        self.silent_since = self._loop.time()
        self._silence = self._loop.call_later(_FIRST_REQUEST_S, self._close_if_silent)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let go of the connection, and so of what it has brought."""
        if self.circuit is not None and self.transport is not None:
            self.circuit.connections.discard(self.transport)
        super().connection_lost(exc)
        self._silence.cancel()

    def _find_spare(self, others: Sequence[web.RequestHandler]) -> web.RequestHandler | None:
        """Return whose end costs least, of its kind the oldest; None: each would cost a try.

        Whoever is being answered may be on her way to a receipt: of those, the newest.
        """
        kinds: tuple[list[web.RequestHandler], ...] = ([], [], [], [])
        for other in others:
            if _is_answered(other):
                kinds[0 if _is_old(other, self._loop.time()) else 2].append(other)
            elif _is_watching(other):
                kinds[1].append(other)
            elif other._current_request is None:  # noqa: SLF001 - aiohttp says it nowhere else
                kinds[3].insert(0, other)
        return next((kind[0] for kind in kinds if kind), None)

    def _most_at(self, others: Sequence[web.RequestHandler]) -> web.RequestHandler:
        """Return a connection of the circuit that has the most of them; without circuits, us."""
        return max([self, *others], key=_count_at_circuit)

    def _close_if_silent(self) -> None:
        if self._request_count == 0:
            _abort(self)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Answer, and let go of the page: aiohttp keeps the answer until the next request."""
        is_odd = bool(request.query_string) or resp.status == _NOT_FOUND
        if is_odd:  # she may have put her receipt into the address: nothing of it is kept open
            resp.force_close()
        try:
            finished = await super().finish_response(request, resp, start_time)
            if self._close:  # the service ends: aiohttp itself reads on no more
                await _read_on(request)
            return finished
        finally:
            self.silent_since = self._loop.time()
            if isinstance(resp, web.Response):
                resp.body = None
            if request.method not in _READING or is_odd:
                self._sweeper.sweep_soon()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what the parser refused, without its words."""
        is_method = isinstance(exc, BadHttpMethod)
        if exc is not None:
            exc.__traceback__ = None  # its frames hold what was read, and one of them the error
        del exc, message  # they quote the request
        if request.writer.output_size > 0:
            raise ConnectionError
        response = web.Response(status=405 if is_method else status, text="Not understood.\n")
        dress(response)
        if is_method:
            response.headers["Allow"] = ", ".join(METHODS)
        response.force_close()
        return response


async def _read_on(request: web.BaseRequest) -> None:
    """Drop what still comes of a body that was answered before it had arrived."""
    with suppress(TimeoutError, OSError, ClientError, HttpProcessingError):
        async with asyncio.timeout(_LAST_LINGER_S):
            while not request.content.at_eof():
                await request.content.readany()


def _still_here(connections: Sequence[web.RequestHandler]) -> list[web.RequestHandler]:
    """Return those that have not gone: aiohttp lists one until it has stopped waiting for it."""
    return [one for one in connections if one.transport and not one.transport.is_closing()]


def _is_answered(connection: web.RequestHandler) -> bool:
    """Whether it has all that it has asked for; more of what it sends may still come."""
    transport = connection.transport
    is_read = not isinstance(transport, asyncio.Transport) or not transport.get_write_buffer_size()
    return is_read and not connection._request_in_progress  # noqa: SLF001 - as above


def _is_old(connection: web.RequestHandler, now: float) -> bool:
    """Whether it has been silent for long enough to have asked, or to have read its answer."""
    return not isinstance(connection, Connection) or now - connection.silent_since > _ASKING_S


def _is_watching(connection: web.RequestHandler) -> bool:
    """Whether it shows a progress: whoever loses that loses no photo."""
    request = connection._current_request  # noqa: SLF001 - as above
    return request is not None and request.path.startswith(PROGRESS)


def _count_at_circuit(connection: web.RequestHandler) -> int:
    circuit = connection.circuit if isinstance(connection, Connection) else None
    return 0 if circuit is None else len(circuit.connections)


def _abort(connection: web.RequestHandler) -> None:
    if connection.transport is not None:
        connection.transport.abort()
