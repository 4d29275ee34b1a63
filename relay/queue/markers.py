"""The few values that the queue keeps beside its submissions, each under a name, as JSON."""

import json
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from relay.queue import locks
from relay.queue.schema import marker


async def read(connection: AsyncConnection, name: str) -> dict[str, Any] | None:
    """Return a marker; None where there is none."""
    query = select(marker.c.value).where(marker.c.name == name)
    value = (await connection.execute(query)).scalar_one_or_none()
    return None if value is None else dict(json.loads(value))


async def write(connection: AsyncConnection, name: str, value: object) -> None:
    """Write a marker anew."""
    row = {"name": name, "value": json.dumps(value).encode()}
    known = update(marker).where(marker.c.name == name).values(row)
    if (await connection.execute(known)).rowcount == 0:
        await locks.take(connection, locks.Lock.MARKERS)
        if (await connection.execute(known)).rowcount == 0:  # another relay was first
            await connection.execute(insert(marker).values(row))


async def read_held(connection: AsyncConnection) -> int:
    """Return how many envelopes are held: counting them costs more the more there are."""
    found = await read(connection, "held")
    return 0 if found is None else int(found["count"])


async def change_held(connection: AsyncConnection, by: int) -> int:
    """Change how many envelopes are held; return how many. Others wait for our commit."""
    query = select(marker.c.value).where(marker.c.name == "held").with_for_update()
    held = int(json.loads((await connection.execute(query)).scalar_one())["count"]) + by
    await write(connection, "held", {"count": held})
    return held
