"""Listen until told to stop: for the clearnet, for tor, for the desk, for the operator."""

import asyncio
import gc
import os
import signal
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from relay.config import HANDED_OVER, Endpoint, ServerConfig
from relay.errors import ConfigInvalid
from relay.intake.runtime import open_runtime
from relay.posters.press import Press
from relay.scrub.supervisor import Scrubber
from relay.web.app import create_desk_app, create_form_app, create_health_app
from relay.web.connection import Connection, Silent, Sweeper
from relay.web.onion import Circuit, Circuits, TorLine
from relay.web.tls import BeforeTls, Certificate

_SHUTDOWN_S = 3.0  # for answers under way; aiohttp takes it twice, and the whole stop ten seconds
_LINGER_S = 30.0  # read on after a refusal, so that the page arrives instead of a reset
_KEEPALIVE_S = 75.0
_BACKLOG = 512
_PROBE_S = 2.0
_FIRST_HANDED_OVER = 3  # Source: sd_listen_fds(3), SD_LISTEN_FDS_START
_SOCKET_MODE = 0o660  # its owner, and the group that tor and the operator are in


async def serve(config: ServerConfig, scrubber: Scrubber, *, on_ready: Callable[[], None]) -> None:
    """Serve every listener until SIGTERM or SIGINT; call `on_ready` once they answer.

    scrubber: not entered yet.

    Raises:
        ConfigInvalid: a file or an address can't be used.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_forget_exception)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        runtime = await stack.enter_async_context(open_runtime(config, scrubber))
        press = Press()
        ending = _Ending(stack)
        stack.push_async_callback(ending.finish)
        await _listen(
            ending,
            create_form_app(config, runtime, press, is_onion=False),
            config.endpoint("listen"),
            certificate=_watch_certificate(stack, config),
        )
        await _listen(
            ending,
            create_form_app(config, runtime, press, is_onion=True),
            config.endpoint("onion_listen"),
            circuits=Circuits(config.tor_control),
        )
        if not config.demo:
            desk = create_desk_app(runtime)
            await _listen(ending, desk, config.endpoint("desk_listen"))
        health = create_health_app(config, runtime)
        await _listen(ending, health, config.endpoint("health_listen"))
        gc.collect()
        gc.freeze()  # what is here now stays: a sweep looks at what came after
        on_ready()
        await stop.wait()


def _watch_certificate(stack: AsyncExitStack, config: ServerConfig) -> Certificate | None:
    if config.tls_certificate is None or config.tls_key is None:
        return None
    certificate = Certificate(config.tls_certificate, config.tls_key)
    watching = asyncio.get_running_loop().create_task(certificate.watch())
    stack.callback(watching.cancel)
    return certificate


@dataclass(frozen=True)
class _Ending:
    """What is done at the end: every door is closed, and then `finish`."""

    stack: AsyncExitStack
    runners: list[web.AppRunner] = field(default_factory=list)

    async def finish(self) -> None:
        """Let what has arrived be answered, at all listeners at once, and refuse the rest."""
        await asyncio.gather(*(runner.cleanup() for runner in self.runners))


async def _listen(
    ending: _Ending,
    app: web.Application,
    endpoint: Endpoint,
    *,
    certificate: Certificate | None = None,
    circuits: Circuits | None = None,
) -> None:
    """Serve `app` there until the end; do nothing where there is no endpoint."""
    if endpoint is None:
        return
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_S)
    await runner.setup()
    ending.runners.append(runner)
    if runner.server is None:
        raise ConfigInvalid("the web server does not start")
    make = _Maker(runner.server, Sweeper(asyncio.get_running_loop()))
    greeting: dict[BeforeTls, None] = {}

    def protocol() -> asyncio.Protocol:
        if circuits is not None:
            return TorLine(circuits, make)
        if certificate is not None:
            return BeforeTls(certificate, greeting, make, make.sweeper.sweep_soon)
        return make()

    try:
        if endpoint == HANDED_OVER:
            await _listen_at_socket(ending.stack, protocol, _take_socket())
        elif isinstance(endpoint, Path):
            await _listen_at_path(ending.stack, protocol, endpoint)
        else:
            await _listen_at_port(ending.stack, protocol, endpoint)
    except OSError as error:
        where = ":".join(map(str, endpoint)) if isinstance(endpoint, tuple) else endpoint
        why = os.strerror(error.errno) if error.errno else error.strerror
        raise ConfigInvalid(f"can't listen on {where}: {why}. Choose another address.") from error


async def _listen_at_port(
    stack: AsyncExitStack,
    protocol: Callable[[], asyncio.Protocol],
    endpoint: tuple[str, int],
) -> None:
    server = await asyncio.get_running_loop().create_server(protocol, *endpoint, backlog=_BACKLOG)
    stack.callback(server.close)


async def _listen_at_socket(
    stack: AsyncExitStack, protocol: Callable[[], asyncio.Protocol], listener: socket.socket
) -> None:
    server = await asyncio.get_running_loop().create_server(
        protocol, sock=listener, backlog=_BACKLOG
    )
    stack.callback(server.close)


def _take_socket() -> socket.socket:
    """Return the socket that systemd has opened for us. Source: sd_listen_fds(3).

    Raises:
        ConfigInvalid: it has opened none.
    """
    told = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    if told != (str(os.getpid()), "1"):
        raise ConfigInvalid(
            f"listen = {HANDED_OVER!r}: systemd has handed over no socket. Run deploy/install again"
        )
    os.set_inheritable(_FIRST_HANDED_OVER, False)  # noqa: FBT003 - the standard library's own
    return socket.socket(fileno=_FIRST_HANDED_OVER)


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
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_PROBE_S)
        try:
            probe.connect(str(path))
        except TimeoutError:
            return True  # too busy to answer
        except OSError:
            return False
    return True


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


@dataclass(frozen=True)
class _Maker:
    """Makes the connections of one listener."""

    server: web.Server
    sweeper: Sweeper

    def __call__(self, circuit: Circuit | None = None) -> Connection:
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
