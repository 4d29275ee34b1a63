"""The log in the database: appended to, read, and cut behind what a colleague has vouched for."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from relay.queue import locks, markers
from relay.queue.chain import Checkpoint, Head, LogEntry, head_from_json, next_hash
from relay.queue.schema import log
from relay.queue.verdicts import SignedVerdict


def entry(
    day: dt.date,
    action: str,
    row: Row[Any],
    *,
    signer: str | None = None,
    verdict: SignedVerdict | None = None,
) -> LogEntry:
    """Return what the log is to say of a submission; number and hash come when it is appended."""
    return LogEntry(
        seq=0,
        day=day,
        action=str(action),
        submission_id=row.id,
        envelope_sha256=row.envelope_sha256,
        signer=signer,
        statement=verdict.decision.statement() if verdict else None,
        signature=verdict.signature if verdict else None,
        hash=b"",
    )


async def append(connection: AsyncConnection, entries: Iterable[LogEntry]) -> None:
    """Append to the chain, in this order."""
    unnumbered = list(entries)
    if not unnumbered:
        return
    await locks.take(connection, locks.Lock.LOG)
    newest = select(log.c.seq, log.c.hash).order_by(log.c.seq.desc()).limit(1)
    found = (await connection.execute(newest)).one_or_none()
    head = await base(connection) if found is None else Head(seq=found.seq, hash=found.hash)
    rows = []
    for one in unnumbered:
        numbered = replace(one, seq=head.seq + 1)
        head = Head(seq=numbered.seq, hash=next_hash(head.hash, numbered))
        rows.append(vars(replace(numbered, hash=head.hash)))
    await connection.execute(insert(log), rows)


async def base(connection: AsyncConnection) -> Head:
    """Return the head before the oldest entry that is kept."""
    found = await markers.read(connection, "base")
    return head_from_json(found) if found is not None else Head()


async def truncate(connection: AsyncConnection, today: dt.date, retain_days: int) -> None:
    """Drop the entries that are too old and that a colleague has vouched for."""
    checkpoint = await markers.read(connection, "checkpoint")
    if checkpoint is None:
        return
    recent = select(func.min(log.c.seq)).where(log.c.day >= today - dt.timedelta(days=retain_days))
    first_recent = (await connection.execute(recent)).scalar_one_or_none()
    vouched = Checkpoint.from_json(checkpoint).head.seq
    last_dropped = vouched if first_recent is None else min(vouched, first_recent - 1)
    at = select(log.c.seq, log.c.hash).where(log.c.seq == last_dropped)
    found = (await connection.execute(at)).one_or_none()
    if found is not None:
        await markers.write(connection, "base", {"seq": found.seq, "hash": found.hash.hex()})
        await connection.execute(delete(log).where(log.c.seq <= last_dropped))
