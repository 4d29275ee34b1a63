"""What the turn of the day costs: arrivals are logged, the file is compacted (VACUUM) and synced.

Beside it `cp` of the same file and a sync: the least that writing everything anew can cost.
"""

import argparse
import asyncio
import datetime as dt
import os
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from relay.intake.submit import utc_today
from relay.queue.store import SealedQueue
from tests.bench import clock, fill
from tests.bench.report import Report, Row, run

LOGGED = (
    "The first turn logs {:,} arrivals as well, the second has nothing to log. While it lasts, "
    "nothing else is written."
)
ENVELOPE_BYTES = 512 * 1024


async def measure(given: argparse.Namespace) -> Report:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(clock.scratch())
        path = folder / "queue.sqlite"
        await fill.fill_sqlite(path, given.envelopes, ENVELOPE_BYTES)
        opened = SealedQueue.open(path, max_queued=given.envelopes)
        queue = await stack.enter_async_context(opened)
        taken: dict[str, list[float]] = {"copy": [], "turn": []}
        for day in range(given.rounds):
            taken["copy"].append(copy(path, folder / "copy"))
            today = utc_today() + dt.timedelta(days=day)
            turned = queue.turn_day(today=today, retain_days=30, lease_days=3)
            taken["turn"].append(await clock.awaited_ms(turned) / 1000)
        size = path.stat().st_size
    return describe(taken, size, given.envelopes)


def copy(path: Path, to: Path) -> float:
    """Seconds of `cp` and a sync of what it wrote."""

    def work() -> None:
        subprocess.run(["cp", "--reflink=never", path, to], check=True)
        with to.open("rb+") as file:
            os.fsync(file.fileno())

    spent = clock.wall_ms(work) / 1000
    to.unlink()
    return spent


def describe(taken: dict[str, list[float]], size: int, envelopes: int) -> Report:
    to = "cp and sync"
    rows = [
        Row(name=f"{name}{', again' * bool(number)}", cost=cost, unit="s", bound=bound, to=to)
        for number, bound in enumerate(taken["copy"])
        for name, cost in ((to, bound), ("turn of the day", taken["turn"][number]))
    ]
    notes = [f"A file of {size / 1e9:.2f} GB.", LOGGED.format(envelopes)]
    title = f"The turn of the day with {envelopes:,} envelopes of 512 KiB"
    return Report(name="turn", title=title, rows=rows, notes=notes)


def main(arguments: list[str] | None = None) -> int:
    return run(
        lambda given: asyncio.run(measure(given)),
        "turn",
        arguments,
        envelopes=(5000, 30),
        rounds=(2, 1),
    )


if __name__ == "__main__":
    sys.exit(main())
