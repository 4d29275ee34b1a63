"""Listen until told to stop. Nothing here logs, and nothing keeps an address."""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import yarl
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod

from relay.config import ServerConfig, split_listen
from relay.errors import ConfigInvalid
from relay.intake.runtime import open_runtime
from relay.web.app import METHODS, create_app, create_desk_app
from relay.web.headers import dress

_SHUTDOWN_S = 3.0  # for answers under way; aiohttp takes it twice, and the whole stop ten seconds
_LINGER_S = 30.0  # read on after a refusal, so that the page arrives instead of a reset
_KEEPALIVE_S = 75.0
_BACKLOG = 512
_FIRST_REQUEST_S = 30.0  # a connection that has asked for nothing by then is closed
_NOT_FOUND = 404
# yarl remembers the last addresses that were asked for.
_ADDRESS_CACHES = [one for one in vars(yarl._url).values() if hasattr(one, "cache_clear")]  # noqa: SLF001 - yarl.cache_clear leaves the most of them
_READING = ("GET", "HEAD")  # brings nothing of hers
_SWEEP_S = 0.5  # after an answer; what was hers is gone within two seconds
MAX_CONNECTIONS = 1000  # on each listener; beyond it, the oldest that asks for nothing is closed


class _Silent(logging.Logger):
    """What aiohttp would log quotes addresses and headers: all of it is dropped."""

    def __init__(self) -> None:
        super().__init__("silent", logging.CRITICAL + 1)

    def isEnabledFor(self, level: int) -> bool:  # noqa: ARG002, N802 - logging's own name
        return False


class _Sweeper:
    """Lets go of what refers to itself: an error of a library, whose frames hold it and her words.

    Our own code leaves no such thing behind; SQLAlchemy and the HTTP parser do when they fail.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
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


class _Connection(web.RequestHandler):
    """One connection. What the HTTP parser refuses gets our headers and no details."""

    __slots__ = ("_silence", "_sweeper")

    def __init__(self, manager: web.Server, sweeper: _Sweeper, **options: Any) -> None:
        super().__init__(manager, **options)
        self._sweeper = sweeper

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Make room, and give a silent connection a short while only."""
        others = self._manager.connections if self._manager is not None else []
        super().connection_made(transport)
        if len(others) >= MAX_CONNECTIONS:
            _abort(next((other for other in others if _is_idle(other)), self))
        self._silence = self._loop.call_later(_FIRST_REQUEST_S, self._close_if_silent)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let go of the connection, and so of what it has brought."""
        super().connection_lost(exc)
        self._silence.cancel()

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
            return await super().finish_response(request, resp, start_time)
        finally:
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


def _is_idle(connection: web.RequestHandler) -> bool:
    transport = connection.transport
    if transport is None or transport.is_closing():
        return False  # it has been told to go, and others of the same moment need room too
    return connection._current_request is None  # noqa: SLF001 - aiohttp says it nowhere else


def _abort(connection: web.RequestHandler) -> None:
    if connection.transport is not None:
        connection.transport.abort()


async def serve(config: ServerConfig, *, on_ready: Callable[[], None]) -> None:
    """Serve both listeners until SIGTERM or SIGINT; call `on_ready` once they answer.

    Raises:
        ConfigInvalid: a file or an address can't be used.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_forget_exception)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        runtime = await stack.enter_async_context(open_runtime(config))
        await _listen(stack, create_app(config, runtime), config.listen)
        if not config.demo:
            await _listen(stack, create_desk_app(runtime), config.desk_listen)
        gc.collect()
        gc.freeze()  # what is here now stays: a sweep looks at what came after
        on_ready()
        await stop.wait()


async def _listen(stack: AsyncExitStack, app: web.Application, listen: str) -> None:
    host, port = split_listen(listen)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_S)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    loop = asyncio.get_running_loop()
    manager = runner.server
    if manager is None:
        raise ConfigInvalid("the web server does not start")
    options: dict[str, Any] = {
        "access_log": None,
        "logger": _Silent(),
        "auto_decompress": False,  # a compressed body is a bomb or a mistake
        "lingering_time": _LINGER_S,
        "keepalive_timeout": _KEEPALIVE_S,
    }

    sweeper = _Sweeper(loop)

    def connection() -> _Connection:
        return _Connection(manager, sweeper, loop=loop, **options)

    try:
        server = await loop.create_server(connection, host, port, backlog=_BACKLOG)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else error.strerror
        raise ConfigInvalid(f"can't listen on {listen}: {why}. Choose another address.") from error
    stack.callback(server.close)


def _forget_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Drop what asyncio would print of a broken connection: it quotes its address."""
