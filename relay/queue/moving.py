"""Move a queue to another database: all of it or nothing, and never in two places that serve."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Table, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from relay.errors import ConfigInvalid, Corrupt
from relay.queue import entries
from relay.queue.chain import LogEntry, verify_chain
from relay.queue.database import Access
from relay.queue.schema import envelope, log, marker, submission
from relay.queue.store import SealedQueue

_AT_ONCE = 500
_ENVELOPES_AT_ONCE = 16  # they may have megabytes each


@dataclass(frozen=True, kw_only=True)
class Moved:
    """How much there was to move."""

    submissions: int
    envelopes: int
    entries: int


async def foresee(source: SealedQueue) -> Moved:
    """Return how much there is to move."""
    async with source.begin(Access.READ) as connection:
        return await _measure(connection)


async def move(source: SealedQueue, target: SealedQueue) -> Moved:
    """Copy everything into `target`, look whether it is all there, and leave `source` empty.

    Neither is served meanwhile. Cut short, it is repeated by calling it again: either nothing had
    been kept in `target`, or all of it.

    Raises:
        ConfigInvalid: there is something else in `target`. Corrupt: an envelope or the log is not
            what it was when it came. NotKept: one of the two can't be read or written. In all of
            these `source` is as it was.
    """
    async with source.begin(Access.ALONE) as ours:
        moved = await _measure(ours)
        async with target.begin(Access.ALONE) as theirs:
            if not await _is_there(ours, theirs):
                await _copy(ours, theirs)
                if await _measure(theirs) != moved:
                    raise Corrupt("Not everything arrived. The queue is where it was.")
        await source.give_up(ours)
    await source.compact()
    return moved


async def _measure(connection: AsyncConnection) -> Moved:
    counts = [
        (await connection.execute(select(func.count()).select_from(table))).scalar_one()
        for table in (submission, envelope, log)
    ]
    return Moved(submissions=counts[0], envelopes=counts[1], entries=counts[2])


async def _is_there(ours: AsyncConnection, theirs: AsyncConnection) -> bool:
    """Whether an earlier call has copied everything already.

    Raises:
        ConfigInvalid: something else is there.
    """
    found = [await _rows(connection, submission) for connection in (ours, theirs)]
    logs = [await _rows(connection, log) for connection in (ours, theirs)]
    if not found[1] and not logs[1]:
        return False
    if found[0] != found[1] or logs[0] != logs[1] or await _measure(ours) != await _measure(theirs):
        raise ConfigInvalid("The place to move to holds another queue. Choose an empty one.")
    return True


async def _rows(connection: AsyncConnection, table: Table) -> Sequence[Row[Any]]:
    query = select(table).order_by(*table.primary_key.columns)
    return (await connection.execute(query)).all()


async def _copy(ours: AsyncConnection, theirs: AsyncConnection) -> None:
    await theirs.execute(delete(marker))  # of an empty queue
    for table in (submission, log, marker):
        rows = [dict(row._mapping) for row in await _rows(ours, table)]  # noqa: SLF001 - SQLAlchemy's own name for it
        for first in range(0, len(rows), _AT_ONCE):
            await theirs.execute(insert(table), rows[first : first + _AT_ONCE])
    verify_chain(
        [LogEntry(**row._mapping) for row in await _rows(theirs, log)],  # noqa: SLF001 - as above
        await entries.base(theirs),
    )
    query = select(envelope.c.id).order_by(envelope.c.id)
    ids = (await ours.execute(query)).scalars().all()
    for first in range(0, len(ids), _ENVELOPES_AT_ONCE):
        await _copy_envelopes(ours, theirs, ids[first : first + _ENVELOPES_AT_ONCE])


async def _copy_envelopes(
    ours: AsyncConnection, theirs: AsyncConnection, ids: Sequence[bytes]
) -> None:
    query = (
        select(envelope.c.id, envelope.c.sealed, submission.c.envelope_sha256)
        .join(submission, submission.c.id == envelope.c.id)
        .where(envelope.c.id.in_(ids))
    )
    rows = (await ours.execute(query)).all()
    for row in rows:
        if hashlib.sha256(row.sealed).digest() != row.envelope_sha256:
            raise Corrupt(f"Envelope {row.id.hex()} is damaged where it is. Nothing was moved.")
    await theirs.execute(insert(envelope), [{"id": row.id, "sealed": row.sealed} for row in rows])
