"""What the queue asks of a database. Two answer: a SQLite file, and PostgreSQL."""

import enum
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection


class Access(enum.Enum):
    """What a transaction is for."""

    READ = enum.auto()
    WRITE = enum.auto()  # beside other relays, where there are any
    ALONE = enum.auto()  # nobody else reads or writes meanwhile, however long it takes
    SNAPSHOT = enum.auto()  # reads at length, always as it was at the beginning; holds nobody up


class Database(Protocol):
    """One database, opened; errors of its own come as `errors`."""

    where: str  # for the operator
    is_unsure: bool  # whether a commit may have been made though its answer was an error
    cant_write: str  # what to say where writing failed and nothing is to be seen
    errors: tuple[type[Exception], ...]

    def opened(self) -> AbstractAsyncContextManager[None]:
        """Hold connections while inside. Nothing is asked of the database yet."""

    def begin(self, access: Access) -> AbstractAsyncContextManager[AsyncConnection]:
        """Begin a transaction; committed, durably, when the block ends without an error."""

    async def find_revision(self, connection: AsyncConnection) -> str | None:
        """Return the revision of the schema, MOVED or ARRIVING; None: there is nothing yet.

        Raises:
            ConfigInvalid: it is no queue.
        """

    async def take_note(self, connection: AsyncConnection) -> None:
        """Take note that the schema is ours now, in the transaction that made it so."""

    async def mark(self, connection: AsyncConnection, revision: str) -> None:
        """Write down the revision, MOVED or ARRIVING."""

    async def sweep(self) -> bool:
        """Get what was deleted out of the files, as far as that goes. False: not now."""

    async def rewrite(self, connection: AsyncConnection) -> bool:
        """Write everything anew, in a transaction alone, so that no order of arrival is left.

        Returns False where that is to be done by `compact`, outside of one.
        """

    async def compact(self) -> None:
        """Write everything anew, and get what was deleted out of the files."""

    def find_fault(self) -> str | None:
        """Return why nothing may be written now, in words for the operator; None: not seen."""

    def free_bytes(self) -> int | None:
        """Return what is free on the database's disk; None: that can't be seen from here.

        Raises:
            OSError: its folder is gone.
        """
