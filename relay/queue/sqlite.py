"""The queue in one SQLite file: one writer, what is deleted is overwritten, commits are synced."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from relay.errors import ConfigInvalid, NotKept
from relay.queue.database import Access
from relay.queue.schema import NUMBERS, REVISION, SCHEMA_VERSION

# Per connection: every one of them is a promise, and each new connection starts without them.
PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL: the log is synced before a commit returns, so before a receipt shows
    "secure_delete": 1,  # deleted content is overwritten with zeros
    "busy_timeout": 10_000,
    "journal_size_limit": 0,  # the write-ahead log keeps nothing after a checkpoint
}
_CHECKPOINT_MS = 250  # a reader is not waited for: everybody else would wait too
_IS_READ = "relay_is_read"


class SqliteFile:
    """A `Database` in one file."""

    cant_write = "the queue can't be written: disk full, or another program has it"
    is_unsure = False
    errors: tuple[type[Exception], ...] = (sqlite3.Error,)

    def __init__(self, path: Path) -> None:
        """Know where it is; it is made where there is none."""
        self.where = str(path)
        self._path = path
        self._engine: AsyncEngine
        self._opened: tuple[int, int] | None = None  # device and inode of what is written to

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """See `Database`."""
        # VACUUM copies the database: on its own disk, not on whatever holds /var/tmp.
        os.environ["SQLITE_TMPDIR"] = str(self._path.parent)
        self._path.touch(mode=0o600)
        # One connection: SQLite has one writer, and a second one would only wait for it.
        self._engine = create_async_engine(
            f"sqlite+aiosqlite:///{self._path}",
            pool_size=1,
            max_overflow=0,
            pool_timeout=60,
            hide_parameters=True,  # an error must not quote an envelope or a receipt's hash
        )
        event.listen(self._engine.sync_engine, "connect", _prepare_connection)
        event.listen(self._engine.sync_engine, "begin", _begin_transaction)
        try:
            yield
        finally:
            await self._engine.dispose()

    @asynccontextmanager
    async def begin(self, access: Access) -> AsyncIterator[AsyncConnection]:
        """See `Database`."""
        is_read = access in {Access.READ, Access.SNAPSHOT}
        async with self._engine.connect() as connection:
            await connection.execution_options(**{_IS_READ: is_read})
            async with connection.begin():
                if not is_read and self._opened is not None and not self._is_in_place():
                    raise NotKept
                yield connection

    async def find_revision(self, connection: AsyncConnection) -> str | None:
        """See `Database`. `user_version` says it, as it did before there were revisions."""
        found = (await connection.exec_driver_sql("PRAGMA user_version")).scalar_one()
        names = {number: name for name, number in NUMBERS.items()}
        if found and found not in names:
            words = f"a queue of version {found}, not {SCHEMA_VERSION}"
            raise ConfigInvalid(f"{self._path}: {words}")
        return names.get(found)

    async def take_note(self, connection: AsyncConnection) -> None:
        """See `Database`."""
        await self.mark(connection, REVISION)
        self._opened = _identify(self._path)

    async def mark(self, connection: AsyncConnection, revision: str) -> None:
        """See `Database`."""
        await connection.exec_driver_sql(f"PRAGMA user_version = {NUMBERS[revision]}")

    async def sweep(self) -> bool:
        """Move the write-ahead log into the database and empty it.

        Returns False where another program reads the database: the next cover write tries again.
        """
        async with self._outside_transaction() as driver:
            await driver.execute_fetchall(f"PRAGMA busy_timeout = {_CHECKPOINT_MS}")
            try:
                rows = await driver.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:  # before anybody else has the connection
                await driver.execute_fetchall(f"PRAGMA busy_timeout = {PRAGMAS['busy_timeout']}")
        return bool(next(iter(rows))[0] == 0)

    async def rewrite(self, connection: AsyncConnection) -> bool:  # noqa: ARG002 - VACUUM needs none
        """See `Database`."""
        return False

    async def compact(self) -> None:
        """See `Database`."""
        if not await self.sweep():  # a VACUUM would fill the disk with a log nobody can empty
            raise NotKept("Another program reads the queue. What was destroyed is still in it.")
        async with self._outside_transaction() as driver:
            await driver.execute_fetchall("VACUUM")
        await self.sweep()

    @asynccontextmanager
    async def _outside_transaction(self) -> AsyncIterator[Any]:
        """Yield aiosqlite's own connection; what runs on it when we are cancelled is ended."""
        async with self._engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            try:
                yield driver
            except asyncio.CancelledError:
                await driver.interrupt()
                raise

    def find_fault(self) -> str | None:
        """See `Database`. What only writing tells is not in it."""
        folder = self._path.parent
        if not self._is_in_place():
            return f"{self._path}: moved, deleted or replaced. Put it back, or restart the relay"
        if not (os.access(self._path, os.R_OK | os.W_OK) and os.access(folder, os.W_OK | os.X_OK)):
            return f"{self._path}: can't be written: no right to, or a disk that is read-only"
        return None

    def free_bytes(self) -> int | None:
        """See `Database`: for others than root."""
        disk = os.statvfs(self._path.parent)
        return disk.f_bavail * disk.f_frsize

    def _is_in_place(self) -> bool:
        """Whether what we write would be found again: SQLite goes on with a file that is gone."""
        try:
            log = Path(f"{self._path}-wal")
            return _identify(self._path) == self._opened and log.exists()
        except OSError:
            return False


def uri_to_read(path: Path) -> str:
    """Return the file's URI without a right to write; as it lies, where nobody has it open.

    So that no file appears beside it.
    """
    how = "mode=ro" if Path(f"{path}-wal").exists() else "mode=ro&immutable=1"
    return f"{path.absolute().as_uri()}?{how}"


def _identify(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _prepare_connection(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by _begin_transaction alone
    cursor = connection.cursor()
    for name, value in PRAGMAS.items():
        cursor.execute(f"PRAGMA {name} = {value}")
    cursor.close()


def _begin_transaction(connection: Any) -> None:
    is_read = connection.get_execution_options().get(_IS_READ)
    connection.exec_driver_sql("BEGIN" if is_read else "BEGIN IMMEDIATE")
