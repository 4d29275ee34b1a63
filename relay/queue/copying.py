"""A copy of a queue's rows, read while a service has it. Nothing is changed, no writer waits."""

import datetime as dt
from pathlib import Path

from relay.config import PostgresServer
from relay.errors import RelayError
from relay.queue.backup import QueueCopy, read_copy
from relay.queue.database import Access
from relay.queue.reading import open_for_reading

_TRIES = 5


async def copy_queue(place: Path | PostgresServer, *, today: dt.date) -> QueueCopy:
    """Return every row but the envelopes, as they stand at one moment.

    A SQLite file's write-ahead log is emptied a little later than else.

    Raises:
        ConfigInvalid: there is no queue, or none of this version. RelayError: it can't be read.
    """
    for _ in range(_TRIES):
        before = _at_rest(place)
        async with open_for_reading(place, Access.SNAPSHOT) as connection:
            copy = await read_copy(connection, today=today)
        if before is None or before == _at_rest(place):
            return copy
    raise RelayError(f"{place}: it never stands still. Try again")


def _at_rest(place: Path | PostgresServer) -> tuple[int, int, int] | None:
    """Return what tells a file that nobody has open from what it will be; None: no such file.

    It is read as it lies: that counts only if nobody came meanwhile.
    """
    if not isinstance(place, Path) or Path(f"{place}-wal").exists() or not place.is_file():
        return None
    found = place.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
