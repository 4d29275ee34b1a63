"""The turn of the day: what is past is logged, what is too old ends, what ended is forgotten."""

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from relay.queue import entries, markers, restorations
from relay.queue.schema import envelope, submission
from relay.queue.states import ENDED, HELD, OPEN, State


@dataclass(frozen=True, kw_only=True)
class Purged:
    """How many envelopes, leases and rows a purge ended."""

    expired: int
    lapsed: int
    forgotten: int


async def turn(
    connection: AsyncConnection, today: dt.date, retain_days: int, lease_days: int
) -> Purged:
    """Do all of it but the compacting, in the transaction that is open, alone."""
    await _mend_days(connection, today)
    await _log_arrivals(connection, today)
    expired = await _expire(connection, today, retain_days)
    await _log_ends(connection, today)
    lapsed = await _lapse(connection, today, lease_days)
    forgotten = await _forget(connection, today, retain_days)
    await _destroy_unheld(connection)
    await count_anew(connection)
    await entries.truncate(connection, today, retain_days)
    await restorations.forget(connection, today, retain_days)
    return Purged(expired=expired, lapsed=lapsed, forgotten=forgotten)


async def count_anew(connection: AsyncConnection) -> None:
    """Count the envelopes that are held."""
    held = select(func.count()).where(submission.c.state.in_(HELD))
    count = (await connection.execute(held)).scalar_one()
    await markers.write(connection, "held", {"count": count})


async def _mend_days(connection: AsyncConnection, today: dt.date) -> None:
    """Let nothing be of a day to come: a clock was ahead, and it would wait for that day."""
    for column in (submission.c.day, submission.c.changed_day, submission.c.lease_day):
        await connection.execute(update(submission).where(column > today).values({column: today}))


async def _log_arrivals(connection: AsyncConnection, today: dt.date) -> None:
    """Append the arrivals of past days: by day, and within a day by random id."""
    where = and_(submission.c.arrival_logged.is_(False), submission.c.day < today)
    query = select(submission).where(where).order_by(submission.c.day, submission.c.id)
    rows = (await connection.execute(query)).all()
    await entries.append(connection, [entries.entry(row.day, "arrived", row) for row in rows])
    await _mark(connection, where, "arrival_logged")


async def _log_ends(connection: AsyncConnection, today: dt.date) -> None:
    """Append withdrawals of past days, and expiries, which happen only when the day turns."""
    where = and_(
        submission.c.end_logged.is_(False),
        submission.c.arrival_logged,
        or_(
            and_(submission.c.state == State.WITHDRAWN, submission.c.changed_day < today),
            submission.c.state == State.EXPIRED,
        ),
    )
    query = select(submission).where(where).order_by(submission.c.changed_day, submission.c.id)
    rows = (await connection.execute(query)).all()
    said = [entries.entry(row.changed_day, row.state, row) for row in rows]
    await entries.append(connection, said)
    await _mark(connection, where, "end_logged")


async def _mark(connection: AsyncConnection, where: ColumnElement[bool], column: str) -> None:
    await connection.execute(update(submission).where(where).values({column: True}))


async def _expire(connection: AsyncConnection, today: dt.date, retain_days: int) -> int:
    oldest = today - dt.timedelta(days=retain_days)
    too_old = update(submission).where(submission.c.state.in_(OPEN), submission.c.day < oldest)
    change = {"state": State.EXPIRED, "changed_day": today}
    return (await connection.execute(too_old.values(change))).rowcount


async def _lapse(connection: AsyncConnection, today: dt.date, lease_days: int) -> int:
    oldest = today - dt.timedelta(days=lease_days)
    too_old = update(submission).where(
        submission.c.state == State.LEASED, submission.c.lease_day < oldest
    )
    return (await connection.execute(too_old.values(state=State.SEALED))).rowcount


async def _forget(connection: AsyncConnection, today: dt.date, retain_days: int) -> int:
    oldest = today - dt.timedelta(days=retain_days)
    too_old = delete(submission).where(
        submission.c.state.in_((*ENDED, State.RELEASED)), submission.c.changed_day < oldest
    )
    return (await connection.execute(too_old)).rowcount


async def _destroy_unheld(connection: AsyncConnection) -> None:
    held = select(submission.c.id).where(
        submission.c.id == envelope.c.id, submission.c.state.in_(HELD)
    )
    # Not "not in": PostgreSQL compares each with each where there are many.
    await connection.execute(delete(envelope).where(~held.exists()))
