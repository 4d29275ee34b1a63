"""Move a queue to another database: all of it or nothing, and never in two places that serve."""

import hashlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Table, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from relay.errors import ConfigInvalid, Corrupt, NotKept
from relay.queue import entries
from relay.queue.chain import LogEntry, verify_chain
from relay.queue.database import Access
from relay.queue.schema import ARRIVING, MOVED, envelope, log, marker, submission
from relay.queue.store import SealedQueue

_AT_ONCE = 500
_ENVELOPES_AT_ONCE = 16  # they may have megabytes each


async def move(source: SealedQueue, target: SealedQueue) -> bool:
    """Copy everything into `target`, look whether it is all there, and leave `source` empty.

    Both opened with `is_moving`. Neither is served meanwhile. Cut short, it is repeated by calling
    it again; `target` can't be served before `source` is empty. Returns False where what lay in
    `source` is still in its files, because somebody reads them.

    Raises:
        ConfigInvalid: another queue is in `target`, or none in `source`. Corrupt: an envelope or
            the log is not what it was when it came. NotKept: one of the two can't be read or
            written. In all of these nothing is lost.
    """
    async with source.begin(Access.ALONE) as ours:
        if await source.find_stage(ours) != MOVED:
            await _copy_anew(source, target, ours)
            await source.give_up(ours)
    async with target.begin(Access.ALONE) as theirs:
        is_new = await target.find_stage(theirs) == ARRIVING
        if is_new:
            await target.arrive(theirs)
    try:
        await source.compact()  # an earlier call may have had to leave it
    except NotKept:
        return False
    if not is_new:
        raise ConfigInvalid("The queue was moved from here before.")
    return True


async def _copy_anew(source: SealedQueue, target: SealedQueue, ours: AsyncConnection) -> None:
    if await source.find_stage(ours) == ARRIVING:
        raise ConfigInvalid("A move to there was cut short: finish that one first.")
    counted = await _count(ours)
    async with target.begin(Access.ALONE) as theirs:
        if await target.find_stage(theirs) not in (MOVED, ARRIVING) and await _holds(theirs):
            raise ConfigInvalid("The place to move to holds another queue. Choose an empty one.")
        await target.begin_anew(theirs)
        await _copy(ours, theirs)
        if await _count(theirs) != counted:
            raise Corrupt("Not everything arrived. The queue is where it was.")


async def _holds(connection: AsyncConnection) -> bool:
    """Whether there is anything that was served."""
    return any(await _count(connection))


async def _count(connection: AsyncConnection) -> list[int]:
    """Return how many submissions, envelopes and entries of the log there are."""
    return [
        (await connection.execute(select(func.count()).select_from(table))).scalar_one()
        for table in (submission, envelope, log)
    ]


async def _rows(connection: AsyncConnection, table: Table) -> Sequence[Row[Any]]:
    query = select(table).order_by(*table.primary_key.columns)
    return (await connection.execute(query)).all()


async def _copy(ours: AsyncConnection, theirs: AsyncConnection) -> None:
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
