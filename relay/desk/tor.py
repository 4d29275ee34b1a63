"""The way to an onion: the SOCKS port of this laptop's tor. Names go to tor, never to a resolver.

By hand, since it is three messages, and the libraries for it drop tor's own reasons for a failure.
Source: RFC 1928; tor's socks-extensions specification and proposal 304 for the reasons.
"""

import asyncio
import re
import socket
from urllib.parse import urlsplit

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.tracing import Trace

from relay.errors import ConfigInvalid, RelayUnreachable

_ONION = re.compile(r"[a-z2-7]{56}\.onion")
_LIMIT_S = 150.0  # tor gives up by itself after 120 (SocksTimeout), and says why
_HTTP_PORT = 80
_VERSION, _NO_PASSWORD, _CONNECT, _NAME = 5, 0, 1, 3
_GRANTED = 0
_ADDRESS_BYTES = {1: 4, 4: 16}
_TRY_LATER = "tor knows the onion, but nobody answers there. Try again in a few minutes."
_WHY = {
    0x05: "tor reached the onion, but no relay answers behind it.",
    0xF0: (
        "tor can't find that onion. Is `relay` in desk.toml right? If it is, the relay's tor is "
        "down, or has just been started."
    ),
    0xF1: "What tor found for that onion can't be used. Is this laptop's tor up to date?",
    0xF2: _TRY_LATER,
    0xF3: _TRY_LATER,
    0xF4: (
        "This laptop's tor has no key for that onion (client authorization). Put your "
        ".auth_private file into tor's ClientOnionAuthDir and restart tor."
    ),
    0xF5: (
        "This laptop's tor has a key for that onion, but the relay's tor doesn't know it (client "
        "authorization). Send your .auth line to the operator again."
    ),
    0xF6: "That is not an onion address. Correct `relay` in desk.toml.",
    0xF7: _TRY_LATER,
}


class OnionConnector(aiohttp.BaseConnector):
    """Connects to onions through tor's SOCKS port at `proxy` (socks5h://host:port)."""

    def __init__(self, proxy: str) -> None:
        """Remember the way; nothing is connected yet."""
        super().__init__()
        address = urlsplit(proxy)
        self._proxy = (address.hostname or "", address.port or 0)

    async def _create_connection(  # as aiohttp's own connectors do it
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],  # noqa: ARG002 - nothing traces
        timeout: aiohttp.ClientTimeout,  # noqa: ARG002, ASYNC109 - an onion takes longer
    ) -> ResponseHandler:
        connected = await reach(self._proxy, req.url.host or "", req.url.port or _HTTP_PORT)
        _, protocol = await self._loop.create_connection(self._factory, sock=connected)
        return protocol


def check_way(relay: str, proxy: str) -> None:
    """Return where a relay's address and a proxy belong together.

    Raises:
        ConfigInvalid: an onion that a resolver would be asked for, or a way out of Tor in clear.
    """
    address = urlsplit(relay)
    is_onion = (address.hostname or "").endswith(".onion")
    if is_onion and not proxy:
        raise ConfigInvalid('An onion needs tor: proxy = "socks5h://127.0.0.1:9050" in desk.toml.')
    if is_onion and not _ONION.fullmatch(address.hostname or ""):
        raise ConfigInvalid(_WHY[0xF6])
    if proxy and not (is_onion and address.scheme == "http"):
        raise ConfigInvalid('`proxy` goes with `relay = "http://….onion"` only: correct desk.toml.')


async def reach(proxy: tuple[str, int], host: str, port: int) -> socket.socket:
    """Return a connection to `host`, which tor looks up.

    Raises:
        RelayUnreachable: says at which step, and what to do.
    """
    where = f"{proxy[0]}:{proxy[1]}"
    try:
        async with asyncio.timeout(_LIMIT_S):
            connected = await _connect(proxy)
            try:
                await _ask(connected, host, port)
            except BaseException:
                connected.close()
                raise
            return connected
    except TimeoutError:
        raise RelayUnreachable(
            f"tor on {where} found no way in {_LIMIT_S:.0f} seconds. Is this laptop online?"
        ) from None
    except ConnectionRefusedError:
        raise RelayUnreachable(
            f"tor is not running on {where}. Start it, or correct `proxy` in desk.toml."
        ) from None
    except (OSError, EOFError):
        raise RelayUnreachable(
            f"What listens on {where} is not tor's SOCKS port. Correct `proxy` in desk.toml."
        ) from None


async def _connect(proxy: tuple[str, int]) -> socket.socket:
    family = socket.AF_INET6 if ":" in proxy[0] else socket.AF_INET
    connected = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        await asyncio.get_running_loop().sock_connect(connected, proxy)
    except BaseException:
        connected.close()
        raise
    return connected


async def _ask(connected: socket.socket, host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connected, bytes([_VERSION, 1, _NO_PASSWORD]))
    if await _read(connected, 2) != bytes([_VERSION, _NO_PASSWORD]):
        raise EOFError
    name = host.encode("ascii")
    question = bytes([_VERSION, _CONNECT, 0, _NAME, len(name)]) + name + port.to_bytes(2)
    await loop.sock_sendall(connected, question)
    version, answer, _, kind = await _read(connected, 4)
    if version != _VERSION:
        raise EOFError
    if answer != _GRANTED:
        raise RelayUnreachable(_WHY.get(answer) or _unexplained(answer))
    await _read(connected, _ADDRESS_BYTES.get(kind, 0) + 2)


def _unexplained(answer: int) -> str:
    return (
        f"tor could not reach the onion and gives no reason ({answer}). For a reason, add "
        "ExtendedErrors to the SocksPort line of tor's torrc, restart tor and try again."
    )


async def _read(connected: socket.socket, count: int) -> bytes:
    """Return exactly `count` bytes, so that what follows stays for HTTP."""
    received = b""
    while len(received) < count:
        more = await asyncio.get_running_loop().sock_recv(connected, count - len(received))
        if not more:
            raise EOFError
        received += more
    return received
