"""Fill a queue with as many sealed envelopes as wanted, faster than anybody sends them.

What is in an envelope is noise to the queue, so noise is what these hold.
"""

import datetime as dt
import hashlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from relay.intake.submit import utc_today
from relay.queue.store import SealedQueue
from tests.postgres import Postgres

Submission = tuple[bytes, dt.date, str, dt.date, bytes, bytes, bool, bool, bool]
COLUMNS = (
    "id", "day", "state", "changed_day", "receipt_hash", "envelope_sha256", "take_down",
    "arrival_logged", "end_logged",
)  # fmt: skip
_AT_ONCE = 1000


def yesterday() -> dt.date:
    return utc_today() - dt.timedelta(days=1)


def make(count: int, size: int) -> Iterator[tuple[Submission, bytes]]:
    """Rows of `submission` and their envelopes (bytes of noise), by id, all of yesterday."""
    day = yesterday()
    for submission_id in sorted(os.urandom(16) for _ in range(count)):
        sealed = os.urandom(size)
        digest = hashlib.sha256(sealed).digest()
        yield (
            (submission_id, day, "sealed", day, os.urandom(32), digest, False, False, False),
            sealed,
        )


async def fill_sqlite(path: Path, count: int, size: int) -> list[bytes]:
    """Make a queue at `path` with `count` envelopes of `size` bytes. Returns the receipts' hashes.

    By id, as they lie after each turn of the day.
    """
    async with SealedQueue.open(path, max_queued=count):
        pass  # its tables
    receipts = []
    places = ", ".join("?" * len(COLUMNS))
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    for row, sealed in make(count, size):
        day = row[1].isoformat()
        told = (row[0], day, row[2], day, *row[4:])
        words = f"INSERT INTO submission ({', '.join(COLUMNS)}) VALUES ({places})"  # noqa: S608 - our own
        connection.execute(words, told)
        connection.execute("INSERT INTO envelope (id, sealed) VALUES (?, ?)", (row[0], sealed))
        receipts.append(row[4])
    connection.execute("COMMIT")
    connection.close()
    os.sync()  # whatever is measured next is not to wait for this
    return receipts


async def fill_postgres(server: Postgres, name: str, count: int, size: int) -> list[bytes]:
    """As `fill_sqlite`, in a database that `server.create` has made."""
    async with SealedQueue.open(server.address(name), max_queued=count):
        pass
    receipts = []
    connection = await server.connect(name)
    try:
        made = make(count, size)
        while some := [row for _, row in zip(range(_AT_ONCE), made, strict=False)]:
            rows = [row for row, _ in some]
            sealed = [(row[0], one) for row, one in some]
            await connection.copy_records_to_table("submission", records=rows, columns=COLUMNS)
            await connection.copy_records_to_table("envelope", records=sealed)
            receipts += [row[4] for row in rows]
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()
    return receipts
