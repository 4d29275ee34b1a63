"""Where a queue may lie, and a look into it past the queue's own code."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from relay.config import PostgresServer
from tests.postgres import Postgres


class Place(Protocol):
    @property
    def address(self) -> Path | PostgresServer: ...

    async def rows(self, *queries: str) -> list[list[dict[str, Any]]]:
        """The answers to several questions, as of one moment."""

    async def execute(self, statement: str) -> None: ...


@dataclass(frozen=True)
class OneFile:
    address: Path

    async def rows(self, *queries: str) -> list[list[dict[str, Any]]]:
        with closing(sqlite3.connect(f"{self.address.as_uri()}?mode=ro", uri=True)) as database:
            database.row_factory = sqlite3.Row
            database.execute("BEGIN")
            return [[dict(row) for row in database.execute(query)] for query in queries]

    async def execute(self, statement: str) -> None:
        with closing(sqlite3.connect(self.address, isolation_level=None)) as database:
            database.execute(statement)


@dataclass(frozen=True)
class OnServer:
    server: Postgres
    name: str

    @property
    def address(self) -> PostgresServer:
        return self.server.address(self.name)

    async def rows(self, *queries: str) -> list[list[dict[str, Any]]]:
        connection = await self.server.connect(self.name)
        try:
            async with connection.transaction(isolation="repeatable_read"):
                return [[dict(row) for row in await connection.fetch(query)] for query in queries]
        finally:
            await connection.close()

    async def execute(self, statement: str) -> None:
        connection = await self.server.connect(self.name)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


def lay(kind: str, request: pytest.FixtureRequest, folder: Path) -> Place:
    """A new place of that kind: "sqlite" or "postgresql"."""
    if kind == "sqlite":
        return OneFile(folder / "queue.sqlite")
    server: Postgres = request.getfixturevalue("postgres")
    return OnServer(server, server.create())


async def holds(place: Place, needle: bytes) -> bool:
    """Whether anything that a query can reach has these bytes in it."""
    (rows,) = await place.rows("SELECT sealed FROM envelope")
    return any(needle in bytes(row["sealed"]) for row in rows)


def days(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with days as text and no number for a truth: the two databases tell them apart."""
    truths = ("take_down", "arrival_logged", "end_logged")
    return [
        {
            name: bool(value)
            if name in truths
            else str(value)
            if value is not None and name.endswith("day")
            else value
            for name, value in row.items()
        }
        for row in rows
    ]
