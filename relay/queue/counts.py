"""What the queue held when the day was last turned, counted for the operator.

Nothing of what came since: no row of that day, and of the older ones the states that they had then.
So a count never changes with what somebody sends or takes back before the day turns.
"""

import datetime as dt
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from relay.queue import markers
from relay.queue.chain import Checkpoint
from relay.queue.schema import log, submission
from relay.queue.states import HELD, OPEN, State

# What an entry of the log left a submission in.
_LEFT_IN = {str(state): state for state in State} | {
    "freed": State.SEALED,
    "removed": State.WITHDRAWN,
}


@dataclass(frozen=True, kw_only=True)
class DayCount:
    """The submissions that came on one day, by the state in which they stood."""

    day: dt.date
    by_state: Mapping[State, int]

    @property
    def arrived(self) -> int:
        """How many came."""
        return sum(self.by_state.values())


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What the queue held when the day was last turned; empty where it never was.

    turned: that day. leased_day: the last before it on which a desk fetched something.
    entries: of the log, and how many of them nobody has vouched for yet, the oldest of which day.
    """

    turned: dt.date | None = None
    days: tuple[DayCount, ...] = ()
    leased_day: dt.date | None = None
    entries: int = 0
    unvouched: int = 0
    unvouched_day: dt.date | None = None

    @property
    def held(self) -> int:
        """How many envelopes there were."""
        return sum(day.by_state.get(state, 0) for day in self.days for state in HELD)

    @property
    def waiting_day(self) -> dt.date | None:
        """On which day the oldest came that waited."""
        return min((day.day for day in self.days if day.by_state.get(State.SEALED)), default=None)


async def count(connection: AsyncConnection, *, today: dt.date, lease_days: int) -> Counts:
    """Count, in the transaction that is open. Reads no envelope.

    today: a queue that was turned on a later day, by a clock that ran ahead, is counted as of it.
    """
    turned = await markers.read(connection, "turned")
    if turned is None:
        return Counts()
    day = dt.date.fromisoformat(turned["day"])
    until = min(day, today)
    stood = _stood(until)
    return Counts(
        turned=day,
        days=await _count_days(connection, until, lapsed_before=until - dt.timedelta(lease_days)),
        leased_day=await _ask(
            connection, select(func.max(log.c.day)).where(stood, log.c.action == State.LEASED)
        ),
        entries=await _ask(connection, select(func.count()).select_from(log).where(stood)),
        **await _count_unvouched(connection, stood),
    )


def _stood(until: dt.date) -> ColumnElement[bool]:
    """Return which entries the log had when that day was turned; expiries are logged with it."""
    return or_(log.c.day < until, and_(log.c.day == until, log.c.action == State.EXPIRED))


async def _count_days(
    connection: AsyncConnection, until: dt.date, *, lapsed_before: dt.date
) -> tuple[DayCount, ...]:
    newest = (
        select(log.c.submission_id, func.max(log.c.seq).label("seq"))
        .where(_stood(until), log.c.action != "arrived")  # which may come after a lease of its day
        .group_by(log.c.submission_id)
        .subquery()
    )
    columns = (
        submission.c.day,
        submission.c.state,
        submission.c.changed_day,
        log.c.action,
        log.c.day.label("log_day"),
    )
    joined = submission.outerjoin(newest, newest.c.submission_id == submission.c.id).outerjoin(
        log, log.c.seq == newest.c.seq
    )
    query = select(*columns, func.count().label("number")).select_from(joined)
    rows = await connection.execute(query.where(submission.c.day < until).group_by(*columns))
    found: dict[dt.date, Counter[State]] = {}
    for row in rows:
        state = _state_at(row, until, lapsed_before)
        found.setdefault(row.day, Counter())[state] += row.number
    return tuple(DayCount(day=day, by_state=found[day]) for day in sorted(found))


def _state_at(row: Row[Any], until: dt.date, lapsed_before: dt.date) -> State:
    """Return the state of these submissions when that day was turned."""
    state = State(row.state)
    if row.changed_day < until and state not in OPEN:
        return state
    if row.action is None:  # nothing was logged of it, or that is forgotten
        return state if row.changed_day < until else State.SEALED
    left_in = _LEFT_IN.get(row.action, state)
    is_lapsed = left_in is State.LEASED and row.log_day < lapsed_before
    return State.SEALED if is_lapsed else left_in


async def _count_unvouched(
    connection: AsyncConnection, stood: ColumnElement[bool]
) -> dict[str, Any]:
    checkpoint = await markers.read(connection, "checkpoint")
    vouched = 0 if checkpoint is None else Checkpoint.from_json(checkpoint).head.seq
    where = and_(stood, log.c.seq > vouched)
    query = select(func.count().label("unvouched"), func.min(log.c.day).label("unvouched_day"))
    return dict((await connection.execute(query.where(where))).mappings().one())


async def _ask(connection: AsyncConnection, query: Any) -> Any:
    return (await connection.execute(query)).scalar_one()
