"""A visitor's browser: one connection, her line, and what she was answered."""

import asyncio
import html
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp

from tests.conftest import multipart
from tests.doors import line as tor_line
from tests.load.lines import Line
from tests.load.relays import ONION, Relay

LONGEST_S = 900.0  # she waits no longer for one answer
_RECEIPT = re.compile(r'<output id="receipt">([\d ]+)</output>')
_TOKEN = re.compile(r'name="token" value="([^"]+)"')
_COVER = re.compile(r'<form id="cover".*?</form>', re.DOTALL)
_WITHDRAW = '<form id="withdraw"'
_COME_BACK = 503
OK, COVER, COME_BACK = "ok", "cover", "come back"


@dataclass(frozen=True)
class Answer:
    """outcome: ok, cover, come back, `status …` or `no answer: …`; waited_s: since the last byte
    had been sent."""

    outcome: str
    text: str = ""
    waited_s: float = 0.0

    @property
    def is_error(self) -> bool:
        """Whether it is the relay's failure: it gave no answer, or a 5xx that no page explains."""
        return self.outcome.startswith(("no answer", "status 5"))

    @property
    def receipt(self) -> str:
        match = _RECEIPT.search(self.text)
        return match[1].replace(" ", "") if match else ""

    @property
    def token(self) -> str:
        match = _TOKEN.search(self.text)
        return match[1] if match else ""

    @property
    def is_held(self) -> bool:
        return self.outcome == OK and _WITHDRAW in self.text


class _TorConnector(aiohttp.UnixConnector):
    """Comes to the relay's socket as tor does: a line that names the circuit first."""

    def __init__(self, path: str, circuit: int) -> None:
        super().__init__(path)
        self._circuit = circuit

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> Any:  # noqa: ASYNC109 - aiohttp's own
        made = await super()._create_connection(req, traces, timeout)
        made.transport.write(tor_line(self._circuit))
        return made


class Visitor:
    """One browser at one relay over one line."""

    def __init__(self, session: aiohttp.ClientSession, base: str, line: Line) -> None:
        self._session = session
        self._base = base
        self._line = line
        self._is_connected = False

    async def ask(
        self, path: str, body: bytes | None = None, kind: str = "", hold: "Hold | None" = None
    ) -> Answer:
        """Ask for a page, or send a form. hold: waits in it before the last bytes."""
        try:
            async with asyncio.timeout(LONGEST_S):
                return await self._ask(path, body, kind, hold)
        except TimeoutError:
            return Answer("no answer: too late")
        except (aiohttp.ClientError, OSError) as error:
            return Answer(f"no answer: {type(error).__name__}")

    async def _ask(self, path: str, body: bytes | None, kind: str, hold: "Hold | None") -> Answer:
        if not self._is_connected:  # its opening takes a round trip of its own
            await self._line.wait_round_trip()
            self._is_connected = True
        await self._line.wait_round_trip()
        sent_at = time.monotonic()

        async def send() -> AsyncIterator[bytes]:
            nonlocal sent_at
            assert body is not None
            end = len(body) if hold is None else max(0, len(body) - hold.last_bytes)
            async for piece in self._line.carry(body[:end]):
                yield piece
            if hold is not None:
                await hold.wait()
                yield body[end:]
            sent_at = time.monotonic()

        headers = {} if body is None else {"Content-Type": kind, "Content-Length": str(len(body))}
        method = "GET" if body is None else "POST"
        data = None if body is None else send()
        async with self._session.request(
            method, self._base + path, data=data, headers=headers
        ) as response:
            text = await response.text()
            waited_s = time.monotonic() - sent_at
        await self._line.wait_for(len(text))
        return Answer(_judge(response.status, text), text, waited_s)

    async def post(self, path: str, fields: dict[str, str]) -> Answer:
        body = urlencode(fields).encode()
        return await self.ask(path, body, "application/x-www-form-urlencoded")

    async def submit(
        self, token: str, fields: dict[str, str], photo: bytes | None, hold: "Hold | None" = None
    ) -> Answer:
        """Send the form as a browser does. A photo is made one of its own by what trails it."""
        parts: list[tuple[str, bytes, str | None]] = [("token", token.encode(), None)]
        parts += [(name, value.encode(), None) for name, value in fields.items()]
        if photo is not None:
            parts.append(("photo", photo, "photo.jpg"))
        body, kind = multipart(parts)
        return await self.ask("/en/", body, kind, hold)

    async def press_send(self, page: str) -> Answer:
        """Send what the cover page shows, with everything covered that was found."""
        match = _COVER.search(page)
        assert match, "a cover page without its form"
        fields = {"looked": "on", "do": "send"}
        for tag in re.findall(r"<input[^>]*>", match[0]):
            found = {key: re.search(rf'\b{key}="([^"]*)"', tag) for key in ("name", "value")}
            if found["name"] and ('type="hidden"' in tag or " checked" in tag):
                value = html.unescape(found["value"][1]) if found["value"] else "on"
                fields[found["name"][1]] = value
        return await self.post("/en/cover", fields)


@dataclass
class Hold:
    """Where uploads wait for each other before their last bytes."""

    wait: Callable[[], Awaitable[None]]
    last_bytes: int = 1000


@asynccontextmanager
async def visit(relay: Relay, line: Line) -> AsyncIterator[Visitor]:
    """Open a browser: by tor's socket where the line is tor's and the relay has one."""
    path = relay.onion if line.circuit else None
    connector: aiohttp.BaseConnector = aiohttp.TCPConnector(limit=0)
    base = relay.url
    if path is not None:
        connector, base = _TorConnector(str(path), line.circuit), f"http://{ONION}"
    timeout = aiohttp.ClientTimeout(total=None)
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, cookie_jar=jar, auto_decompress=False
    ) as session:
        yield Visitor(session, base, line)


def one_of_its_own(photo: bytes) -> bytes:
    """The photo with something behind its end, so that no two are the same."""
    return photo + secrets.token_bytes(16)


def _judge(status: int, text: str) -> str:
    if status == _COME_BACK:
        return COME_BACK
    if status != 200:
        return f"status {status}"
    return COVER if _COVER.search(text) else OK
