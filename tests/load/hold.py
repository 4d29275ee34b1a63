"""Memory while many uploads are held in flight at once, all but their last bytes."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.load.client import COME_BACK, COVER, Answer, Hold, one_of_its_own, visit
from tests.load.lines import FAST
from tests.load.relays import Relay
from tests.load.watch import Track, watching

FACTOR, BASE_BYTES = 1.3, 150 << 20
_TRIES, _PAUSE_S = 30, 2.0
_TICK_S = 0.05


@dataclass
class Weight:
    """Bytes before, while all was held, and at most."""

    before: int = 0
    held: int = 0
    peak: int = 0
    series: list[tuple[float, int]] = field(default_factory=list)

    def in_mib(self) -> dict[str, int]:
        sizes = {"before": self.before, "held": self.held, "peak": self.peak}
        return {name: size >> 20 for name, size in sizes.items()}


@dataclass
class Held:
    """What came of it. in_flight: bytes held at once.

    relay: the process that receives; tree: with its box, which takes as much for one photo.
    """

    uploads: int
    in_flight: int = 0
    relay: Weight = field(default_factory=Weight)
    tree: Weight = field(default_factory=Weight)
    seconds: float = 0.0
    ended_early: int = 0
    come_back: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    receipts: list[str] = field(default_factory=list)

    @property
    def limit(self) -> int:
        return int(FACTOR * self.in_flight) + BASE_BYTES


@dataclass
class _Room:
    """Where uploads wait for each other."""

    held: Held
    waiting: set[int] = field(default_factory=set)
    is_open: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, number: int) -> None:
        self.waiting.add(number)
        await self.is_open.wait()

    async def leave(self, number: int) -> None:
        """Take note of an upload that was answered; before all were there, it waits outside."""
        if not self.is_open.is_set():
            self.waiting.discard(number)
            self.held.ended_early += 1
            await self.is_open.wait()

    @property
    def is_full(self) -> bool:
        return len(self.waiting) + self.held.ended_early == self.held.uploads


async def hold(relay: Relay, photo: bytes, uploads: int) -> Held:
    """Hold so many uploads at once, let them all go, and see that each has a receipt."""
    held = Held(uploads)
    room = _Room(held)
    assert relay.process is not None
    with watching({"relay": relay.process.pid}) as watch:
        track = watch.tracks["relay"]
        _weigh(held, track, "before")
        tasks = [asyncio.create_task(_send(relay, photo, room, one)) for one in range(uploads)]
        while not room.is_full or _on_the_way(relay):  # noqa: ASYNC110 - the kernel says no word
            await asyncio.sleep(_TICK_S)
        held.in_flight = len(room.waiting) * len(photo)
        watch.look()
        _weigh(held, track, "held")
        room.is_open.set()
        await asyncio.gather(*tasks)
        held.seconds = time.monotonic() - watch.began
    held.tree.series, held.relay.series = track.memory, track.own
    for weight in (held.tree, held.relay):
        weight.peak = max(size for _, size in weight.series)
    return held


def _weigh(held: Held, track: Track, when: str) -> None:
    setattr(held.tree, when, track.memory[-1][1])
    setattr(held.relay, when, track.own[-1][1])


async def _send(relay: Relay, photo: bytes, room: _Room, number: int) -> None:
    """Send a photo of her own, and again until she has a receipt."""
    held, own, answer = room.held, one_of_its_own(photo), Answer("")
    async with visit(relay, FAST) as visitor:
        token = (await visitor.ask("/en/")).token
        for _ in range(_TRIES):
            answer = await visitor.submit(
                token, {"may_post": "yes"}, own, Hold(partial(room.wait, number))
            )
            await room.leave(number)
            if answer.outcome == COVER:
                answer = await visitor.press_send(answer.text)
            if answer.receipt:
                held.receipts.append(answer.receipt)
                break
            held.come_back += answer.outcome == COME_BACK
            await asyncio.sleep(_PAUSE_S)
    held.answers[answer.outcome] += 1


def _on_the_way(relay: Relay) -> int:
    """Bytes that lie in the kernel, sent and not read yet, on connections to the relay."""
    port = f":{int(relay.url.rpartition(':')[2]):04X}"
    rows = (row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:])
    queues = (row[4].split(":") for row in rows if port in row[1] + row[2])
    return sum(int(sent, 16) + int(read, 16) for sent, read in queues)
