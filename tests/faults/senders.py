"""Senders in a process of their own, who behave as people with browsers do.

`python -m tests.faults.senders --ports 8080 --ledger FILE`: until SIGTERM. Each then brings what
she has begun to its end, so that nothing is undecided when the process is gone. An answer that
does not come is asked for again with the same token and the same content. Exit code 1: something
was answered that should never be; the ledger says what.
"""

import argparse
import asyncio
import random
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from tests import photos
from tests.conftest import multipart
from tests.faults.ledger import Event, Ledger

_ANSWER_S = 30.0
_GIVE_UP_S = 150.0
_PAUSE_S = 0.1
_TOKEN = re.compile(rb'name="token" value="([^"]+)"')
_RECEIPT = re.compile(rb'<output id="receipt">([\d ]+)</output>')
_DESTROYED = re.compile(rb"(destroyed)")
# Not there, killed, shutting down, closed, too many: each is "come back", and she does.
_COME_BACK = (b"HTTP/1.1 503", b"HTTP/1.1 500")
_RESENT, _WITHDRAWN, _CUT = 0.15, 0.25, 0.2  # of the submissions


class Unexpected(Exception):
    """An answer that no sender should ever see."""


@dataclass
class Sender:
    """One after another: form, photo, receipt; then perhaps once more, or taken back."""

    ports: list[int]
    ledger: Ledger
    rng: random.Random
    stop: asyncio.Event

    async def send_on(self, first: int, step: int) -> None:
        """Send submissions of the numbers `first`, `first + step`, … until told to stop."""
        number = first
        while not self.stop.is_set():
            try:
                await self._submit(number)
            except Unexpected as error:
                self.ledger.write(Event.FAULT, number, str(error))
                raise
            number += step

    async def _submit(self, number: int) -> None:
        form = b"GET /en/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        request = _photo_request(await self._insist(form, _TOKEN), number)
        self.ledger.write(Event.TRIED, number)
        if self.rng.random() < _CUT:  # her own line breaks; she sends again
            await self._ask(request, seconds=self.rng.uniform(0, 1))
        receipt = await self._insist(request, _RECEIPT)
        self.ledger.write(Event.ACKNOWLEDGED, number, receipt)
        fate = self.rng.random()
        if fate < _RESENT:
            again = await self._insist(request, _RECEIPT)
            self.ledger.write(Event.ACKNOWLEDGED, number, again)
        elif fate < _RESENT + _WITHDRAWN:
            self.ledger.write(Event.WITHDRAWING, number)
            await self._insist(_receipt_request(receipt), _DESTROYED)
            self.ledger.write(Event.WITHDRAWN, number)

    async def _insist(self, request: bytes, wanted: re.Pattern[bytes]) -> str:
        """Ask until it is answered; return what was wanted of the answer."""
        until = time.monotonic() + _GIVE_UP_S
        while time.monotonic() < until:
            answer = await self._ask(request)
            if found := wanted.search(answer):
                return found[1].decode()
            if b"\r\n" in answer and not answer.startswith(_COME_BACK):
                head, _, body = answer.partition(b"\r\n\r\n")
                if len(body) >= _length(head):  # else it was cut, and says nothing
                    raise Unexpected(head.split(b"\r\n")[0].decode(errors="replace"))
            await asyncio.sleep(_PAUSE_S)  # she presses again
        raise Unexpected("no answer any more")

    async def _ask(self, request: bytes, *, seconds: float = _ANSWER_S) -> bytes:
        """Return what came of the answer; nothing where nobody is there."""
        answer = b""
        try:
            async with asyncio.timeout(seconds):
                port = self.rng.choice(self.ports)
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    writer.write(request)
                    while piece := await reader.read(1 << 16):
                        answer += piece
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            pass
        return answer


def _length(head: bytes) -> int:
    found = re.search(rb"(?i)content-length: (\d+)", head)
    return int(found[1]) if found else 0


def message_of(number: int) -> str:
    return f"n{number}"


def _photo_request(token: str, number: int) -> bytes:
    photo = photos.encode(photos.picture(320, 240, seed=number))
    parts: list[tuple[str, bytes, str | None]] = [
        ("token", token.encode(), None),
        ("message", message_of(number).encode(), None),
        ("photo", photo, "x.jpg"),
    ]
    body, kind = multipart(parts)
    return _post("/en/", kind, body)


def _receipt_request(receipt: str) -> bytes:
    body = f"receipt={receipt.replace(' ', '')}".encode()
    return _post("/en/withdraw", "application/x-www-form-urlencoded", body)


def _post(path: str, kind: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def _send(arguments: argparse.Namespace) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    ledger = Ledger(arguments.ledger)
    senders = [
        Sender(arguments.ports, ledger, random.Random(f"{arguments.seed} {one}"), stop)
        for one in range(arguments.senders)
    ]
    async with asyncio.TaskGroup() as group:
        for one, sender in enumerate(senders):
            group.create_task(sender.send_on(arguments.first + one, arguments.senders))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ports", type=int, nargs="+", required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--senders", type=int, default=4)
    parser.add_argument("--first", type=int, default=0, help="number of the first submission")
    parser.add_argument("--seed", type=int, default=1)
    asyncio.run(_send(parser.parse_args()))


if __name__ == "__main__":
    main()
