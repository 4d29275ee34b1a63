"""The queue in PostgreSQL, which several relays share. It tells more than SQLite: SECURITY.md."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import URL, Table, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from relay.config import PostgresServer
from relay.errors import ConfigInvalid
from relay.queue import locks
from relay.queue.database import Access
from relay.queue.schema import NUMBERS, REVISION, metadata

_CONNECTIONS = 5  # of each relay; others wait their turn
_CONNECT_S = 5
_TRANSACTION_S = 60
_SAYS = {
    # A commit returns when it is synced to the disk, whatever the server's own setting is.
    "synchronous_commit": "on",
    "application_name": "poster-relay",
    "TimeZone": "UTC",
    # A relay whose machine vanishes in the middle of a change holds up the others no longer.
    "idle_in_transaction_session_timeout": "20s",
    "client_connection_check_interval": "10s",
    "tcp_user_timeout": "20s",
}
_LOCK_S = 10  # for who reads at length past us, such as psql, while every table is made anew
# Without these a commit may be lost, or torn, when the server's machine loses its power.
NEEDED = {"fsync": "on", "full_page_writes": "on"}
# What a server is to be set to so that it tells least, and what the setting would tell otherwise.
DISCREET = {
    "log_statement": ("none", "statements in the server's log"),
    "log_min_duration_statement": ("-1", "statements in the server's log"),
    "log_min_error_statement": ("panic", "statements that failed, in the server's log"),
    "log_error_verbosity": ("terse", "rows of statements that failed, in the server's log"),
    "log_lock_waits": ("off", "statements that waited, in the server's log"),
    "log_duration": ("off", "a line for each statement in the server's log"),
    "log_transaction_sample_rate": ("0", "some statements in the server's log"),
    "log_min_duration_sample": ("-1", "some statements in the server's log"),
    "log_statement_stats": ("off", "lines for each statement in the server's log"),
    "log_temp_files": ("-1", "when much was asked, in the server's log"),
    "log_checkpoints": ("off", "how much came in every few minutes, in the server's log"),
    "log_autovacuum_min_duration": ("-1", "how much was deleted, in the server's log"),
    "shared_preload_libraries": ("", "whatever such a library keeps of statements"),
    "track_commit_timestamp": ("off", "the second of every submission"),
    "archive_mode": ("off", "copies of everything, what was taken back included"),
    "max_wal_senders": ("0", "copies of everything on other servers"),
    "wal_level": ("minimal", "more in the write-ahead log than a crash needs"),
    "wal_recycle": ("off", "old write-ahead log, with the second of every submission"),
}


class PostgresDatabase:
    """A `Database` of a server that we reach by its address."""

    is_unsure = True
    errors: tuple[type[Exception], ...] = (asyncpg.PostgresError, asyncpg.InterfaceError)

    def __init__(self, server: PostgresServer) -> None:
        """Know where it is. The database must be there; its tables need not."""
        self.where = server.where
        self.cant_write = f"{self.where}: the database can't be reached or written"
        self._server = server
        self._engine: AsyncEngine

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """See `Database`."""
        self._engine = create_async_engine(
            URL.create("postgresql+asyncpg"),
            connect_args=_connect_arguments(self._server),
            pool_size=_CONNECTIONS,
            max_overflow=0,
            pool_timeout=_TRANSACTION_S,
            pool_pre_ping=True,  # the server may have been restarted since
            hide_parameters=True,  # an error must not quote an envelope or a receipt's hash
        )
        try:
            yield
        finally:
            await self._engine.dispose()

    @asynccontextmanager
    async def begin(self, access: Access) -> AsyncIterator[AsyncConnection]:
        """See `Database`."""
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(_TRANSACTION_S):  # a machine that is gone does not say so
                connection = await stack.enter_async_context(self._engine.connect())
            match access:
                case Access.ALONE:
                    async with connection.begin():
                        await locks.take(connection, locks.Lock.GATE)
                        await connection.exec_driver_sql(
                            "SET LOCAL idle_in_transaction_session_timeout = 0"
                        )
                        yield connection
                case Access.SNAPSHOT:
                    async with _reading_at_length(connection):
                        yield connection
                case _:
                    async with asyncio.timeout(_TRANSACTION_S), connection.begin():
                        await locks.pass_gate(connection)
                        yield connection

    async def find_revision(self, connection: AsyncConnection) -> str | None:
        """See `Database`."""
        names = set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))
        if not names:
            return None
        found: str | None = None
        if "alembic_version" in names:
            query = text("SELECT version_num FROM alembic_version")
            found = (await connection.execute(query)).scalar_one_or_none()
        if found not in NUMBERS:
            what = f"a queue of version {found}, not {REVISION}" if found else "not a queue"
            raise ConfigInvalid(f"{self.where}: {what}")
        return found

    async def take_note(self, connection: AsyncConnection) -> None:
        """See `Database`. A server that may lose what it has acknowledged is refused.

        Raises:
            ConfigInvalid: names the setting.
        """
        for name, needed in NEEDED.items():
            if (found := await _ask_setting(connection, name)) != needed:
                raise ConfigInvalid(f"{self.where}: {name} = {found}: set it to {needed}")

    async def mark(self, connection: AsyncConnection, revision: str) -> None:
        """See `Database`."""
        table = "CREATE TABLE IF NOT EXISTS alembic_version (version_num varchar(32) NOT NULL)"
        await connection.exec_driver_sql(table)
        await connection.exec_driver_sql("DELETE FROM alembic_version")
        await connection.execute(text("INSERT INTO alembic_version VALUES (:at)"), {"at": revision})

    async def sweep(self) -> bool:
        """See `Database`. Nothing can be done: PostgreSQL overwrites in its own time."""
        return True

    async def rewrite(self, connection: AsyncConnection) -> bool:
        """Write every table anew, in the order of its random keys.

        What lay there before is deleted as files when this commits.
        """
        await connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_S}s'")
        for table in metadata.sorted_tables:
            await _rewrite(connection, table)
        return True

    async def compact(self) -> None:
        """See `Database`. Tables that are dropped are deleted as files."""

    def find_fault(self) -> str | None:
        """See `Database`: only asking tells."""
        return None

    def free_bytes(self) -> int | None:
        """See `Database`."""
        return None


@dataclass(frozen=True, kw_only=True)
class ServerLook:
    """What was seen of a server: a fault in words, or None; its settings where there is none."""

    fault: str | None = None
    revision: str | None = None  # of the schema; None: no queue yet
    careless: tuple[str, ...] = ()  # of NEEDED, by name
    telling: tuple[str, ...] = ()  # of DISCREET, by name
    hidden: tuple[str, ...] = ()  # of DISCREET: our account may not see them


async def look_at_server(server: PostgresServer) -> ServerLook:
    """Look at a server and its settings; nothing is changed there."""
    try:
        connection = await asyncpg.connect(**_connect_arguments(server))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return ServerLook(fault=str(error) or type(error).__name__)
    try:
        found = {name: await _try_setting(connection, name) for name in (*NEEDED, *DISCREET)}
        there = await connection.fetchval("SELECT to_regclass('alembic_version') IS NOT NULL")
        query = "SELECT version_num FROM alembic_version"
        return ServerLook(
            revision=await connection.fetchval(query) if there else None,
            careless=tuple(name for name, needed in NEEDED.items() if found[name] != needed),
            telling=tuple(
                name for name, (best, _) in DISCREET.items() if found[name] not in (best, None)
            ),
            hidden=tuple(name for name in DISCREET if found[name] is None),
        )
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return ServerLook(fault=str(error) or type(error).__name__)
    finally:
        await connection.close()


async def _try_setting(connection: asyncpg.Connection, name: str) -> str | None:
    """Return a setting; None: it may not be seen, or this PostgreSQL does not have it."""
    try:
        return str(await connection.fetchval(f"SHOW {name}"))
    except (asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedObjectError):
        return None


def _connect_arguments(server: PostgresServer) -> dict[str, Any]:
    """Return what asyncpg connects with. Source: its `connect`.

    Raises:
        ConfigInvalid: the certificate can't be read.
    """
    return {
        "host": server.host,
        "port": server.port,
        "user": server.user,
        "database": server.name,
        # Read at each connection: it may have been changed. Never the environment's, or ~/.pgpass.
        "password": server.read_password,
        "ssl": False if server.ca is None else _trusting(server.ca),
        "timeout": _CONNECT_S,
        "server_settings": _SAYS,
    }


def _trusting(ca: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(ca))
    except (OSError, ssl.SSLError) as error:
        raise ConfigInvalid(f"{ca}: can't be read as a certificate") from error


async def _ask_setting(connection: AsyncConnection, name: str) -> str:
    """Return a setting of the server."""
    return str((await connection.exec_driver_sql(f"SHOW {name}")).scalar_one())


@asynccontextmanager
async def _reading_at_length(connection: AsyncConnection) -> AsyncIterator[None]:
    """Read as it was when the gate was passed: whoever works alone waits until the end."""
    await connection.execution_options(isolation_level="REPEATABLE READ")
    async with connection.begin():
        await locks.hold_gate(connection)
    try:
        async with connection.begin():
            yield
    finally:
        async with connection.begin():
            await locks.leave_gate(connection)


async def _rewrite(connection: AsyncConnection, table: Table) -> None:
    """Make a table anew: VACUUM FULL would keep the order, and who came in which transaction."""
    name, columns = table.name, ", ".join(table.columns.keys())
    keys = ", ".join(table.primary_key.columns.keys())
    for index in table.indexes:
        await connection.exec_driver_sql(f"DROP INDEX {index.name}")
    for change in (
        f"ALTER TABLE {name} RENAME CONSTRAINT {name}_pkey TO {name}_before_pkey",
        f"ALTER TABLE {name} RENAME TO {name}_before",
    ):
        await connection.exec_driver_sql(change)
    await connection.run_sync(table.create)
    copied = f"SELECT {columns} FROM {name}_before ORDER BY {keys}"  # noqa: S608 - our own names
    await connection.exec_driver_sql(f"INSERT INTO {name} ({columns}) {copied}")
    await connection.exec_driver_sql(f"DROP TABLE {name}_before")
