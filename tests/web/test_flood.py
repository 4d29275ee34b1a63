"""A flood: a thousand that drip, thousands that send, and a person among them."""

import asyncio
import re
import resource
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from relay.web.connection import MAX_CONNECTIONS
from relay.web.upload import MOST_UPLOADS
from tests import photos
from tests.conftest import Service, Starter, multipart, tenth

_SLOW = 1000
_BUDGET = 64 << 20
_SENDERS = 40  # at once
_MOST_S = 90.0
_TRIES = 25


@dataclass
class Flood:
    """Who is at the relay, and what they were answered."""

    port: int
    token: str
    answers: Counter[str] = field(default_factory=Counter)
    receipts: list[str] = field(default_factory=list)
    open: list[asyncio.StreamWriter] = field(default_factory=list)
    is_full: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, request: bytes) -> bytes:
        """Return the whole answer; nothing where there was none."""
        try:
            async with asyncio.timeout(_MOST_S):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                try:
                    writer.write(request)
                    await writer.drain()
                    return await reader.read()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return b""

    async def send(self, number: int) -> str:
        """Send a photo of its own and return what came of it."""
        photo = photos.encode(photos.picture(320, 240, seed=number))
        parts: list[tuple[str, bytes, str | None]] = [("token", self.token.encode(), None)]
        body, kind = multipart([*parts, ("photo", photo, "x.jpg")])
        answer = await self.ask(post(kind, len(body)) + body)
        if match := re.search(rb'<output id="receipt">([\d ]+)<', answer):
            self.receipts.append(match[1].decode())
            return "sent"
        return "come back" if b"send again.</p>" in answer else "no answer" if not answer else "?"

    async def drip(self, number: int) -> None:
        """Send an upload that never ends, as slowly as is allowed."""
        body, kind = multipart([("photo", bytes(200_000), "x.jpg")])
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return
        self.open.append(writer)
        if len(self.open) >= MOST_UPLOADS:
            self.is_full.set()
        try:
            writer.write(post(kind, len(body)) + body[: 1000 + number])
            while not reader.at_eof():
                await writer.drain()
                await asyncio.sleep(1)  # as long as one drips, it is not waited for
                writer.write(bytes(100))
        except OSError:
            pass


def post(kind: str, length: int) -> bytes:
    head = f"POST /en/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {length}\r\n\r\n".encode()


def take_back(receipt: str) -> bytes:
    body = f"receipt={receipt.replace(' ', '')}".encode()
    head = "POST /en/withdraw HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    kind = "Content-Type: application/x-www-form-urlencoded\r\n"
    return f"{head}{kind}Content-Length: {len(body)}\r\n\r\n".encode() + body


def peak_bytes(service: Service) -> int:
    assert service.process is not None
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert match
    return int(match[1]) * 1024


async def person(flood: Flood, done: asyncio.Event) -> Counter[str]:
    """Somebody who opens the form and sends, again and again; what she saw."""
    seen: Counter[str] = Counter()
    number = 1_000_000
    while not done.is_set() or not seen["sent"]:
        form = await flood.ask(b"GET /en/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        seen["form" if b'name="token"' in form else "no form"] += 1
        number += 1
        seen[await flood.send(number)] += 1
        await asyncio.sleep(1)  # she reads
    return seen


@pytest.mark.parametrize("submissions", [tenth(2000)])
async def test_in_a_flood_a_person_gets_through_or_is_told_to_come_back(
    start_service: Starter, submissions: int
) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    assert MOST_UPLOADS < MAX_CONNECTIONS <= _SLOW
    service = start_service(max_inflight_bytes=_BUDGET)
    earlier = service.send(photos.encode(photos.picture(320, 240))).receipt
    before = peak_bytes(service)
    flood = Flood(service.port, service.token())
    drips = [asyncio.create_task(flood.drip(number)) for number in range(_SLOW)]
    await flood.is_full.wait()
    for number in range(MAX_CONNECTIONS - MOST_UPLOADS):  # all that is left watches progress
        _, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(f"GET /progress/{number:022} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        flood.open.append(writer)
    taken_back = await flood.ask(take_back(earlier))
    assert b"our copy has been destroyed" in taken_back, "that needs no room among the uploads"
    done = asyncio.Event()
    she = asyncio.create_task(person(flood, done))
    turns = asyncio.Semaphore(_SENDERS)

    async def take_turn(number: int) -> None:
        for _ in range(_TRIES):
            async with turns:
                outcome = await flood.send(number)
            flood.answers[outcome] += 1
            if outcome == "sent":
                return
            await asyncio.sleep(2)

    await asyncio.gather(*(take_turn(number) for number in range(submissions)))
    done.set()
    seen = await she
    for drip in drips:
        drip.cancel()
    await asyncio.gather(*drips, return_exceptions=True)
    for writer in flood.open:
        writer.close()
    assert set(seen) <= {"form", "sent", "come back"}, (seen, flood.answers)
    assert set(flood.answers) <= {"sent", "come back", "no answer"}, flood.answers
    assert flood.answers["no answer"] < submissions
    assert peak_bytes(service) - before <= 1.3 * _BUDGET + (150 << 20)
    assert len(set(flood.receipts)) == len(flood.receipts) > submissions // 10
    for receipt in flood.receipts:
        assert "is here, locked" in service.post_receipt("receipt", receipt).text
    pulled = service.desk("pull", "--to", "sealed", "--json").json
    assert len(pulled["fetched"]) == len(flood.receipts)  # type: ignore[arg-type]
    print(seen, flood.answers, (peak_bytes(service) - before) >> 20, "MiB")  # noqa: T201
