"""What `relay stats` tells: how the campaign goes, as it stood when the day was last turned."""

import datetime as dt
from typing import Any

from relay.config import ServerConfig
from relay.queue.counts import Counts, DayCount, count
from relay.queue.reading import open_for_reading
from relay.queue.states import State

_WORDS = {State.SEALED: "waiting"}  # the rest are called as they are
COLUMNS = ("arrived", *(_WORDS.get(state, str(state)) for state in State))


async def read_stats(config: ServerConfig, *, today: dt.date) -> dict[str, Any]:
    """Return the report, as JSON takes it. Ages are in days; None where there is nothing of age.

    Raises:
        ConfigInvalid: there is no queue of ours. RelayError: it can't be read.
    """
    async with open_for_reading(config.queue) as connection:
        counts = await count(connection, today=today, lease_days=config.lease_days)
    return _report(counts, today=today, most=config.max_queued)


def _report(counts: Counts, *, today: dt.date, most: int) -> dict[str, Any]:
    def age(day: dt.date | None) -> int | None:
        return None if day is None else (today - day).days

    return {
        "turned": None if counts.turned is None else counts.turned.isoformat(),
        "days_since_turned": age(counts.turned),
        "held": counts.held,
        "max_queued": most,
        "full_percent": counts.held * 100 // most,
        "oldest_waiting_days": age(counts.waiting_day),
        "days_since_pull": age(counts.leased_day),
        "log_entries": counts.entries,
        "log_unvouched": counts.unvouched,
        "oldest_unvouched_days": age(counts.unvouched_day),
        "by_day": [_row(day) for day in counts.days],
    }


def _row(day: DayCount) -> dict[str, Any]:
    states = [day.by_state.get(state, 0) for state in State]
    return {"day": day.day.isoformat()} | dict(zip(COLUMNS, (day.arrived, *states), strict=True))
