"""From which copies a queue was restored, and when: told as long as receipts of before may come."""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncConnection

from relay.queue import markers
from relay.queue.schema import marker

NAME = "restored"


@dataclass(frozen=True, kw_only=True)
class Restoration:
    """The queue was set up again on one day from a copy of another."""

    copied: dt.date
    restored: dt.date


async def read(connection: AsyncConnection) -> tuple[Restoration, ...]:
    """Return those that are still told."""
    return decode(await markers.read(connection, NAME))


async def forget(connection: AsyncConnection, today: dt.date, retain_days: int) -> None:
    """Stop telling of those that are so long ago that nothing from before is known any more."""
    told = await read(connection)
    oldest = today - dt.timedelta(days=retain_days)
    left = tuple(one for one in told if one.restored >= oldest)
    if left and left != told:
        await markers.write(connection, NAME, encode(left))
    elif told and not left:
        await connection.execute(delete(marker).where(marker.c.name == NAME))


def encode(told: Iterable[Restoration]) -> dict[str, Any]:
    """Return them as a marker keeps them."""
    return {"days": [[one.copied.isoformat(), one.restored.isoformat()] for one in told]}


def decode(fields: Mapping[str, Any] | None) -> tuple[Restoration, ...]:
    """Read what a marker keeps; a ValueError, TypeError or LookupError where something is amiss."""
    days = [] if fields is None else fields["days"]
    return tuple(
        Restoration(copied=dt.date.fromisoformat(copied), restored=dt.date.fromisoformat(restored))
        for copied, restored in days
    )
