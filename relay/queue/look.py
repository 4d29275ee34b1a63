"""A look into the queue's file from outside, for the operator; it changes nothing."""

import datetime as dt
import json
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay.queue.schema import REVISIONS
from relay.queue.sqlite import PRAGMAS, uri_to_read

_MAGIC = b"SQLite format 3\0"
_WAL = bytes([2, 2])  # Source: sqlite.org/fileformat2.html, 1.3: read and write version
_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_CLOSED = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}
_PRIMARY = 0xFF  # Source: sqlite.org/rescode.html: the rest of a code is its detail
_STEPS = 10_000  # of SQLite's machine between two looks at the clock
# What a new connection begins without, and obeys or does not.
_OBEYED = ("synchronous", "secure_delete")


@dataclass(frozen=True, kw_only=True)
class QueueLook:
    """What was seen: a fault in words, or None; the rest counts where there is none."""

    fault: str | None = None
    is_foreign: bool = False  # the fault: not a queue
    other_version: int | None = None  # of a release whose queue is not ours
    is_busy: bool = False  # another program has locked it
    is_empty: bool = False  # the service has not made it yet
    is_unreadable: bool = False  # for us
    is_wal: bool = True
    disobeyed: tuple[str, ...] = ()
    is_looked_through: bool = True  # False: the time was up


def look_at_queue(path: Path, *, seconds: float) -> QueueLook:
    """Look for faults for so long at most. A service that runs goes on meanwhile.

    A file that nobody has open is read as it lies, so that none appears beside it.
    """
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except PermissionError:
        return QueueLook(is_unreadable=True)
    except OSError as error:
        return QueueLook(fault=str(error.strerror))
    if not header.startswith(_MAGIC):
        fault = "not a queue" if header else None
        return QueueLook(fault=fault, is_foreign=bool(header), is_empty=not header)
    try:
        with closing(_connect(path, seconds)) as connection:
            return _look(connection, is_wal=header[18:20] == _WAL, seconds=seconds)
    except sqlite3.DatabaseError as error:
        code = error.sqlite_errorcode & _PRIMARY
        if code in _CLOSED:
            return QueueLook(is_unreadable=True)
        return QueueLook(is_busy=True) if code in _LOCKED else QueueLook(fault=str(error))


def read_turned(path: Path) -> dt.date | None:
    """Return the day that was turned last; None where that can't be read here and now."""
    try:
        with closing(_connect(path, seconds=0)) as connection:
            found = connection.execute("SELECT value FROM marker WHERE name = 'turned'").fetchone()
        return dt.date.fromisoformat(json.loads(found[0])["day"]) if found else None
    except (sqlite3.Error, ValueError, LookupError, TypeError):
        return None  # the look at the queue says what is wrong with it


def _connect(path: Path, seconds: float) -> sqlite3.Connection:
    return sqlite3.connect(uri_to_read(path), uri=True, timeout=seconds)


def _look(connection: sqlite3.Connection, *, is_wal: bool, seconds: float) -> QueueLook:
    def ask(pragma: str) -> Any:
        return connection.execute(f"PRAGMA {pragma}").fetchone()[0]

    version = ask("user_version")
    if version == 0 and not connection.execute("SELECT 1 FROM sqlite_master").fetchall():
        return QueueLook(is_empty=True)
    if version not in REVISIONS:
        return QueueLook(other_version=version)
    disobeyed = []
    for name in _OBEYED:
        connection.execute(f"PRAGMA {name} = {PRAGMAS[name]}")
        if ask(name) != PRAGMAS[name]:
            disobeyed.append(name)
    until = time.monotonic() + seconds
    connection.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
    try:
        said, is_looked_through = ask("quick_check(1)"), True
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        said, is_looked_through = "ok", False
    return QueueLook(
        fault=None if said == "ok" else "damaged",
        is_wal=is_wal,
        disobeyed=tuple(disobeyed),
        is_looked_through=is_looked_through,
    )
