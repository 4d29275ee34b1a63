"""What each operation of the queue costs with few envelopes and with many, on both databases.

All queues are open at once and take turns, so that noise hits all alike. Envelopes are of the real
size in SQLite, and small in PostgreSQL. Wall time, medians.
"""

import argparse
import asyncio
import gc
import math
import os
import statistics
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from relay.intake.submit import utc_today
from relay.queue.store import SealedQueue
from tests import postgres
from tests.bench import clock, fill
from tests.bench.report import Report, Row, growth, run

LIMIT = 1.2
ENVELOPE_BYTES, SMALL_BYTES = 512 * 1024, 1024
SIZES = (
    f"Envelopes of {ENVELOPE_BYTES // 1024} KiB in SQLite, on the disk; of {SMALL_BYTES // 1024} "
    "KiB in PostgreSQL, whose server keeps its files in memory. A pull is for each envelope its "
    "share of the lease and its fetching."
)
HOLDER = "relaysigner1bench"
LIMITED = ("insert", "withdraw", "pull")
_LEASES = 2  # rounds of these: each writes two log entries for each envelope


@dataclass
class Filled:
    """A queue that holds so many envelopes."""

    count: int
    size: int
    queue: SealedQueue
    receipts: deque[bytes]
    ids: list[bytes] = field(default_factory=list)
    at: int = 0

    async def insert(self) -> float:
        receipt, sealed = os.urandom(32), os.urandom(self.size)
        self.receipts.append(receipt)
        return await clock.awaited_ms(self.queue.enqueue(sealed, receipt, today=utc_today()))

    async def find(self) -> float:
        return await clock.awaited_ms(self.queue.find(self.receipts[0]))

    async def ask_room(self) -> float:
        """What a form's page asks of the queue after something was written."""
        return await clock.awaited_ms(self.queue.is_full())

    async def withdraw(self) -> float:
        receipt = self.receipts.popleft()
        return await clock.awaited_ms(self.queue.withdraw(receipt, today=utc_today()))

    async def lease(self) -> float:
        """Milliseconds for each envelope; afterwards all are free again."""
        handed = self.queue.lease(HOLDER, today=utc_today(), include_today=True)
        cost = await clock.awaited_ms(handed)
        self.ids = list(await self.queue.free(HOLDER, by=HOLDER, today=utc_today()))
        return cost / len(self.ids)

    async def lease_for_good(self) -> None:
        await self.queue.lease(HOLDER, today=utc_today(), include_today=True)

    async def fetch(self) -> float:
        self.at = (self.at + 7919) % len(self.ids)  # here and there
        return await clock.awaited_ms(self.queue.envelope(self.ids[self.at], HOLDER))


Step = Callable[[Filled], Awaitable[float]]


async def measure(given: argparse.Namespace) -> Report:
    rows: list[Row] = []
    series = {}
    for name, limits, costs in (
        ("SQLite", given.sqlite, await measure_sqlite(given.sqlite, given.rounds)),
        ("PostgreSQL", given.postgres, await measure_postgres(given.postgres, given.rounds)),
    ):
        least = min(limits)
        share, fetch = costs["share of a lease"], costs["fetch one"]
        costs["pull"] = {count: share[count] + fetch[count] for count in share}
        for step, at in costs.items():
            limit = LIMIT if step in LIMITED else None
            rows += growth(f"{name}, {step}", at, "ms", limit)
            if limit:
                grown = [(math.log10(n), cost / at[least]) for n, cost in at.items()]
                series[f"{name}, {step}"] = grown
    return Report(
        name="growth",
        title="Cost with more envelopes, in units of the cost at the fewest",
        rows=rows,
        series=series,
        x="envelopes, as a power of ten",
        y="times",
        limit=LIMIT,
        notes=[f"Medians of {given.rounds} rounds.", SIZES],
    )


async def measure_sqlite(counts: Sequence[int], rounds: int) -> dict[str, dict[int, float]]:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(clock.scratch())
        filled = []
        for count in counts:
            path = folder / f"{count}.sqlite"
            receipts = await fill.fill_sqlite(path, count, ENVELOPE_BYTES)
            opened = SealedQueue.open(path, max_queued=2 * count + 1000)
            queue = await stack.enter_async_context(opened)
            filled.append(Filled(count, ENVELOPE_BYTES, queue, deque(receipts)))
        return await take_steps(filled, rounds)


async def measure_postgres(counts: Sequence[int], rounds: int) -> dict[str, dict[int, float]]:
    async with AsyncExitStack() as stack:
        server = stack.enter_context(postgres.server())
        filled = []
        for count in counts:
            name = server.create()
            receipts = await fill.fill_postgres(server, name, count, SMALL_BYTES)
            opened = SealedQueue.open(server.address(name), max_queued=2 * count + 1000)
            queue = await stack.enter_async_context(opened)
            filled.append(Filled(count, SMALL_BYTES, queue, deque(receipts)))
        return await take_steps(filled, rounds)


async def take_steps(filled: list[Filled], rounds: int) -> dict[str, dict[int, float]]:
    """Milliseconds of each step at each number of envelopes."""
    gc.collect()
    steps: dict[str, Step] = {
        "insert": Filled.insert,
        "room, asked by the form": Filled.ask_room,
        "find": Filled.find,
        "withdraw": Filled.withdraw,
    }
    costs = await in_turns(steps, filled, rounds)
    costs |= await in_turns({"share of a lease": Filled.lease}, filled, min(rounds, _LEASES))
    for one in filled:
        await one.lease_for_good()
    costs |= await in_turns({"fetch one": Filled.fetch}, filled, rounds)
    return costs


async def in_turns(
    steps: dict[str, Step], filled: Iterable[Filled], rounds: int
) -> dict[str, dict[int, float]]:
    taken = {name: {one.count: list[float]() for one in filled} for name in steps}
    for _ in range(rounds + 1):
        for name, step in steps.items():
            for one in filled:
                taken[name][one.count].append(await step(one))
    return {
        name: {count: statistics.median(costs[1:]) for count, costs in at.items()}
        for name, at in taken.items()
    }  # the first fills caches


def main(arguments: list[str] | None = None) -> int:
    def work(given: argparse.Namespace) -> Report:
        given.sqlite = (10, 30) if given.quick else (100, 1000, 10_000)
        given.postgres = (10, 100) if given.quick else (100, 1000, 10_000, 100_000)
        return asyncio.run(measure(given))

    return run(work, "growth", arguments, rounds=(100, 3))


if __name__ == "__main__":
    sys.exit(main())
