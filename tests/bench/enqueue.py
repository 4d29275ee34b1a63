"""What keeping and destroying an envelope costs, beside SQLite's bare commit of the same bytes.

The bare one is Python's sqlite3 on the same disk, with the promises of the queue: write-ahead log,
every commit synced, what is deleted overwritten. Wall time, medians, in turns.
"""

import argparse
import asyncio
import os
import sqlite3
import sys
from collections import deque
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from relay.intake.submit import utc_today
from relay.queue.sqlite import PRAGMAS
from relay.queue.store import SealedQueue
from tests.bench import clock
from tests.bench.report import Report, Row, run

ENVELOPE_BYTES = 512 * 1024
SWEPT = (
    "A withdrawal also empties the write-ahead log, so that nothing of the envelope is left on the "
    "disk when she is answered, and asks what stands now."
)
HELD = 20  # envelopes that both hold all the time


class Bare:
    """One table, one connection."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        for name, value in PRAGMAS.items():
            self.connection.execute(f"PRAGMA {name} = {value}")
        self.connection.execute("CREATE TABLE kept (id BLOB PRIMARY KEY, b BLOB) WITHOUT ROWID")
        self.ids: deque[bytes] = deque()

    def insert(self) -> float:
        row = (os.urandom(16), os.urandom(ENVELOPE_BYTES))
        self.ids.append(row[0])
        return clock.wall_ms(lambda: self._commit("INSERT INTO kept VALUES (?, ?)", row))

    def delete(self, *, is_swept: bool = False) -> float:
        row = (self.ids.popleft(),)

        def work() -> None:
            self._commit("DELETE FROM kept WHERE id = ?", row)
            if is_swept:
                self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

        return clock.wall_ms(work)

    def _commit(self, words: str, row: tuple[bytes, ...]) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.execute(words, row)
        self.connection.execute("COMMIT")


@dataclass
class Ours:
    """The queue, and the receipts that it holds."""

    queue: SealedQueue
    receipts: deque[bytes] = field(default_factory=deque)

    async def enqueue(self) -> float:
        sealed, receipt = os.urandom(ENVELOPE_BYTES), os.urandom(32)
        self.receipts.append(receipt)
        return await clock.awaited_ms(self.queue.enqueue(sealed, receipt, today=utc_today()))

    async def withdraw(self) -> float:
        receipt = self.receipts.popleft()
        return await clock.awaited_ms(self.queue.withdraw(receipt, today=utc_today()))


async def measure(given: argparse.Namespace) -> Report:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(clock.scratch())
        opened = SealedQueue.open(folder / "queue.sqlite", max_queued=1000)
        ours = Ours(await stack.enter_async_context(opened))
        bare, swept = Bare(folder / "bare.sqlite"), Bare(folder / "swept.sqlite")
        for one in (bare, swept):
            stack.enter_context(closing(one.connection))
        for _ in range(HELD):
            await ours.enqueue()
            bare.insert()
            swept.insert()
        ways: dict[str, clock.Way] = {
            "commit": bare.insert,
            "enqueue": ours.enqueue,
            "delete": bare.delete,
            "commit again": swept.insert,
            "delete and sweep": lambda: swept.delete(is_swept=True),
            "withdraw": ours.withdraw,
        }
        taken = clock.medians(await clock.take_turns(ways, given.rounds))
    return describe(taken, given.rounds)


def describe(taken: dict[str, float], rounds: int) -> Report:
    bare, swept = "a bare commit of its bytes", "a bare deletion, log emptied"
    rows = [
        Row(name=name, cost=taken[way], unit="ms", bound=taken[bound], to=to)
        for name, way, bound, to in (
            (bare, "commit", "commit", bare),
            ("enqueue", "enqueue", "commit", bare),
            ("a bare deletion", "delete", "commit", bare),
            (swept, "delete and sweep", "commit", bare),
            ("withdraw", "withdraw", "commit", bare),
            ("withdraw, once more", "withdraw", "delete and sweep", swept),
        )
    ]
    return Report(
        name="enqueue",
        title="Keeping and destroying an envelope of 512 KiB in SQLite",
        rows=rows,
        notes=[f"Medians of {rounds} rounds.", SWEPT],
    )


def main(arguments: list[str] | None = None) -> int:
    return run(lambda given: asyncio.run(measure(given)), "enqueue", arguments, rounds=(100, 5))


if __name__ == "__main__":
    sys.exit(main())
