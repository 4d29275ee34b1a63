"""Listen until told to stop: for the clearnet, for tor, for the desk, for the operator."""

import asyncio
import gc
import os
import signal
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext
from typing import Any

from aiohttp import web

from relay.config import Endpoint, ServerConfig
from relay.errors import ConfigInvalid
from relay.intake.runtime import open_runtime
from relay.web.app import create_desk_app, create_form_app, create_health_app
from relay.web.connection import Connection, Silent, Sweeper
from relay.web.onion import Circuit, Circuits, TorLine
from relay.web.tls import Certificate

_SHUTDOWN_S = 3.0  # for answers under way; aiohttp takes it twice, and the whole stop ten seconds
_LINGER_S = 30.0  # read on after a refusal, so that the page arrives instead of a reset
_KEEPALIVE_S = 75.0
_HANDSHAKE_S = 30.0
_BACKLOG = 512
_SOCKET_MODE = 0o660  # its owner, and the group that tor and the operator are in


async def serve(config: ServerConfig, *, on_ready: Callable[[], None]) -> None:
    """Serve every listener until SIGTERM or SIGINT; call `on_ready` once they answer.

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
        await _listen(
            stack,
            create_form_app(config, runtime, is_onion=False),
            config.endpoint("listen"),
            tls=_watch_certificate(stack, config),
        )
        await _listen(
            stack,
            create_form_app(config, runtime, is_onion=True),
            config.endpoint("onion_listen"),
            circuits=Circuits(config.tor_control),
        )
        if not config.demo:
            await _listen(stack, create_desk_app(runtime), config.endpoint("desk_listen"))
        await _listen(stack, create_health_app(runtime), config.endpoint("health_listen"))
        gc.collect()
        gc.freeze()  # what is here now stays: a sweep looks at what came after
        on_ready()
        await stop.wait()


def _watch_certificate(stack: AsyncExitStack, config: ServerConfig) -> SSLContext | None:
    if config.tls_certificate is None or config.tls_key is None:
        return None
    certificate = Certificate(config.tls_certificate, config.tls_key)
    watching = asyncio.get_running_loop().create_task(certificate.watch())
    stack.callback(watching.cancel)
    return certificate.context


async def _listen(
    stack: AsyncExitStack,
    app: web.Application,
    endpoint: Endpoint,
    *,
    tls: SSLContext | None = None,
    circuits: Circuits | None = None,
) -> None:
    """Serve `app` there until the stack unwinds; do nothing where there is no endpoint."""
    if endpoint is None:
        return
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_S)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    if runner.server is None:
        raise ConfigInvalid("the web server does not start")
    make = _Maker(runner.server, Sweeper(asyncio.get_running_loop()))

    def protocol() -> asyncio.Protocol:
        return make(None) if circuits is None else TorLine(circuits, make)

    try:
        if isinstance(endpoint, Path):
            await _listen_at_path(stack, protocol, endpoint)
        else:
            await _listen_at_port(stack, protocol, endpoint, tls)
    except OSError as error:
        where = endpoint if isinstance(endpoint, Path) else ":".join(map(str, endpoint))
        why = os.strerror(error.errno) if error.errno else error.strerror
        raise ConfigInvalid(f"can't listen on {where}: {why}. Choose another address.") from error


async def _listen_at_port(
    stack: AsyncExitStack,
    protocol: Callable[[], asyncio.Protocol],
    endpoint: tuple[str, int],
    tls: SSLContext | None,
) -> None:
    server = await asyncio.get_running_loop().create_server(
        protocol,
        *endpoint,
        backlog=_BACKLOG,
        ssl=tls,
        ssl_handshake_timeout=None if tls is None else _HANDSHAKE_S,
    )
    stack.callback(server.close)


async def _listen_at_path(
    stack: AsyncExitStack, protocol: Callable[[], asyncio.Protocol], path: Path
) -> None:
    if _is_served(path):
        raise ConfigInvalid(f"{path}: another program listens there")
    before = os.umask(0o777 - _SOCKET_MODE)
    try:
        server = await asyncio.get_running_loop().create_unix_server(
            protocol, path, backlog=_BACKLOG
        )
    finally:
        os.umask(before)
    stack.callback(_remove, path)
    stack.callback(server.close)


def _is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
        probe.connect(str(path))
        return True
    return False


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


@dataclass(frozen=True)
class _Maker:
    """Makes the connections of one listener."""

    server: web.Server
    sweeper: Sweeper

    def __call__(self, circuit: Circuit | None) -> Connection:
        options: dict[str, Any] = {
            "access_log": None,
            "logger": Silent(),
            "auto_decompress": False,  # a compressed body is a bomb or a mistake
            "lingering_time": _LINGER_S,
            "keepalive_timeout": _KEEPALIVE_S,
        }
        loop = asyncio.get_running_loop()
        return Connection(self.server, self.sweeper, circuit, loop=loop, **options)


def _forget_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Drop what asyncio would print of a broken connection: it quotes its address."""
