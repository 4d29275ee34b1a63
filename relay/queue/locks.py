"""What relays that share a database wait for. SQLite has one writer, who waits for nobody."""

import enum

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

# In the first half of PostgreSQL's advisory locks; a receipt has one of its own in the second.
_OURS = 0x72656C61


class Lock(enum.IntEnum):
    """The gate first; the others after the rows of submissions: so no two wait for each other."""

    GATE = 1  # shared by everybody but the one who works alone
    LOG = 2  # who appends to the log
    MARKERS = 3


async def take(connection: AsyncConnection, lock: Lock) -> None:
    """Wait until no other transaction has this lock; it is given back with the end of ours."""
    if _is_shared(connection):
        await connection.execute(select(func.pg_advisory_xact_lock(_OURS, lock)))


async def take_receipt(connection: AsyncConnection, receipt_hash: bytes) -> None:
    """Wait until nobody else enqueues under this receipt.

    Without it the second of two would fail at the table's index, and the server's log say so.
    """
    if _is_shared(connection):
        key = int.from_bytes(receipt_hash[:8], "big", signed=True)
        await connection.execute(select(func.pg_advisory_xact_lock(key)))


async def pass_gate(connection: AsyncConnection) -> None:
    """Wait until nobody works alone."""
    await connection.execute(select(func.pg_advisory_xact_lock_shared(_OURS, Lock.GATE)))


async def hold_gate(connection: AsyncConnection) -> None:
    """As `pass_gate`, until `leave_gate`: a transaction that begins later sees what was written."""
    await connection.execute(select(func.pg_advisory_lock_shared(_OURS, Lock.GATE)))


async def leave_gate(connection: AsyncConnection) -> None:
    """Let go what `hold_gate` has taken."""
    await connection.execute(select(func.pg_advisory_unlock_shared(_OURS, Lock.GATE)))


def _is_shared(connection: AsyncConnection) -> bool:
    """Whether other relays may write at the same time."""
    return connection.dialect.name == "postgresql"
