"""The queue opened to be read: for who only looks, beside a relay that serves."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from relay.config import PostgresServer
from relay.errors import ConfigInvalid, RelayError
from relay.queue.database import Access
from relay.queue.schema import REVISION, REVISIONS
from relay.queue.sqlite import uri_to_read

_NONE = "there is no queue here yet"
_UNREACHED = "the database can't be reached or read"
_FOREIGN = "can't be read as a queue. Run this as the relay's own account"


@asynccontextmanager
async def open_for_reading(
    place: Path | PostgresServer, access: Access = Access.READ
) -> AsyncIterator[AsyncConnection]:
    """Yield a connection in a transaction. No queue is made or upgraded by it.

    access: READ, or SNAPSHOT for several questions about one moment; a file answers so at any rate.

    Raises:
        ConfigInvalid: there is none, or of another version. RelayError: it can't be read.
    """
    where, opened = _choose(place, access)
    try:
        async with opened as connection:
            yield connection
    except (SQLAlchemyError, PermissionError) as error:
        raise RelayError(f"{where}: {_FOREIGN}") from error
    except OSError as error:
        raise RelayError(f"{where}: {_UNREACHED}") from error


def _choose(
    place: Path | PostgresServer, access: Access
) -> tuple[str, AbstractAsyncContextManager[AsyncConnection]]:
    match place:
        case Path():
            return str(place), _file(place)
        case PostgresServer():
            return place.where, _server(place, access)


@asynccontextmanager
async def _file(path: Path) -> AsyncIterator[AsyncConnection]:
    engine = create_async_engine(_address(path), hide_parameters=True)
    try:
        async with engine.connect() as connection:
            await connection.exec_driver_sql("BEGIN")  # all that is read is of one moment
            version = (await connection.exec_driver_sql("PRAGMA user_version")).scalar_one()
            _require_ours(str(path), REVISIONS.get(version, str(version)))
            yield connection
    finally:
        await engine.dispose()


def _address(path: Path) -> str:
    if not path.is_file():
        raise ConfigInvalid(f"{path}: {_NONE}")
    return f"sqlite+aiosqlite:///{uri_to_read(path)}&uri=true"


@asynccontextmanager
async def _server(server: PostgresServer, access: Access) -> AsyncIterator[AsyncConnection]:
    from relay.queue.postgres import PostgresDatabase  # noqa: PLC0415 - one file needs no driver

    database = PostgresDatabase(server)
    try:
        async with database.opened(), database.begin(access) as connection:
            found = await database.find_revision(connection)
            if found is None:
                raise ConfigInvalid(f"{server.where}: {_NONE}")
            _require_ours(server.where, found)
            yield connection
    except database.errors as error:
        raise RelayError(f"{server.where}: {_UNREACHED}") from error


def _require_ours(where: str, revision: str) -> None:
    if revision != REVISION:
        words = f"a queue of version {revision}, not {REVISION}"
        raise ConfigInvalid(f"{where}: {words}. The relay upgrades an older one at its start")
