"""The sealed queue on its database. One writer, one transaction for each change."""

import asyncio
import datetime as dt
import hashlib
import json
import os
import secrets
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    and_,
    delete,
    event,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from relay.errors import ConfigInvalid, Corrupt, LockedByColleague, NothingThere, NotKept, QueueFull
from relay.queue.chain import Checkpoint, Head, LogEntry, head_from_json, next_hash
from relay.queue.schema import (
    SCHEMA_VERSION,
    UPGRADED_VERSION,
    envelope,
    log,
    marker,
    metadata,
    submission,
)
from relay.queue.states import (
    ACTIONS,
    ENDED,
    FIRST,
    GONE,
    HELD,
    LEADS_TO,
    OPEN,
    OUT,
    Reason,
    State,
    Verdict,
)
from relay.queue.verdicts import SignedVerdict

# Per connection: every one of them is a promise, and each new connection starts without them.
PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL: the log is synced before a commit returns, so before a receipt shows
    "secure_delete": 1,  # deleted content is overwritten with zeros
    "busy_timeout": 10_000,
    "journal_size_limit": 0,  # the write-ahead log keeps nothing after a checkpoint
}
_COVER_BYTES = 64
_CHECKPOINT_MS = 250  # a reader is not waited for: everybody else would wait too
_IS_READ = "relay_is_read"


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What a receipt can tell: never when, never who."""

    state: State
    return_reason: Reason | None
    take_down: bool


@dataclass(frozen=True, kw_only=True)
class Lease:
    """One submission handed to one colleague."""

    id: bytes
    day: dt.date
    envelope_sha256: bytes


@dataclass(frozen=True, kw_only=True)
class Handout:
    """What a pull is told: what to fetch, what to destroy, what to take down, what is posted."""

    leases: tuple[Lease, ...]
    gone: tuple[bytes, ...]
    take_down: tuple[bytes, ...]
    posted: tuple[bytes, ...]


@dataclass(frozen=True, kw_only=True)
class LogPage:
    """A piece of the log: the head before the oldest entry kept, who vouched last, entries."""

    base: Head
    checkpoint: Checkpoint | None
    entries: tuple[LogEntry, ...]


@dataclass(frozen=True, kw_only=True)
class Purged:
    """How many envelopes, leases and rows a purge ended."""

    expired: int
    lapsed: int
    forgotten: int


class SealedQueue:
    """The queue. `async with SealedQueue.open(…) as queue`."""

    def __init__(self, engine: AsyncEngine, *, path: Path, max_queued: int) -> None:
        """Use `SealedQueue.open`."""
        self._engine = engine
        self._path = path
        self._max_queued = max_queued
        self._opened: tuple[int, int] | None = None  # device and inode of what is written to
        self._held: int | None = None  # how many envelopes; None: to be counted

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path, *, max_queued: int) -> AsyncIterator["SealedQueue"]:
        """Open the database at `path`; made whole where there is none.

        Raises:
            ConfigInvalid: not a queue of this version, or the place can't be written.
        """
        # VACUUM copies the database: on its own disk, not on whatever holds /var/tmp.
        os.environ["SQLITE_TMPDIR"] = str(path.parent)
        # One connection: SQLite has one writer, and a second one would only wait for it.
        engine = create_async_engine(
            f"sqlite+aiosqlite:///{path}",
            pool_size=1,
            max_overflow=0,
            pool_timeout=60,
            hide_parameters=True,  # an error must not quote an envelope or a receipt's hash
        )
        event.listen(engine.sync_engine, "connect", _prepare_connection)
        event.listen(engine.sync_engine, "begin", _begin_transaction)
        try:
            queue = cls(engine, path=path, max_queued=max_queued)
            try:
                await queue._create_or_check()
            except (NotKept, OSError) as error:
                raise ConfigInvalid(f"{path}: can't be read and written as a queue") from error
            yield queue
        finally:
            await engine.dispose()

    async def _create_or_check(self) -> None:
        self._path.touch(mode=0o600)
        async with self._begin() as connection:
            version = (await connection.exec_driver_sql("PRAGMA user_version")).scalar_one()
            if version == 0:
                await connection.run_sync(metadata.create_all)
                await connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")
            elif version == UPGRADED_VERSION:
                await _upgrade(connection)
            elif version != SCHEMA_VERSION:
                words = f"a queue of version {version}, not {SCHEMA_VERSION}"
                raise ConfigInvalid(f"{self._path}: {words}")
        self._opened = _identify(self._path)

    def find_fault(self) -> str | None:
        """Return why nothing may be written to these files now; None: nothing to be seen.

        For the operator: it names the path. What only writing tells is not in it.
        """
        folder = self._path.parent
        if not self._is_in_place():
            return f"{self._path}: moved, deleted or replaced. Put it back, or restart the relay"
        if not (os.access(self._path, os.R_OK | os.W_OK) and os.access(folder, os.W_OK | os.X_OK)):
            return f"{self._path}: can't be written: no right to, or a disk that is read-only"
        return None

    def free_bytes(self) -> int:
        """Return what is free on the queue's disk, for others than root.

        Raises:
            OSError: the folder is gone.
        """
        disk = os.statvfs(self._path.parent)
        return disk.f_bavail * disk.f_frsize

    def _is_in_place(self) -> bool:
        """Whether what we write would be found again: SQLite goes on with a file that is gone."""
        try:
            log = Path(f"{self._path}-wal")
            return _identify(self._path) == self._opened and log.exists()
        except OSError:
            return False

    @asynccontextmanager
    async def _begin(self, *, is_read: bool = False) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._engine.connect() as connection:
                await connection.execution_options(**{_IS_READ: is_read})
                async with connection.begin():
                    if not is_read and self._opened is not None and not self._is_in_place():
                        raise NotKept
                    yield connection
        except (SQLAlchemyError, OSError) as error:
            raise NotKept from error
        finally:
            if not is_read:
                self._held = None

    # -- the submitter's side ------------------------------------------------------------------

    async def enqueue(
        self, sealed: bytes, receipt_hash: bytes, *, today: dt.date, most: int | None = None
    ) -> bool:
        """Keep `sealed` durably: when this returns True, it is synced to the disk.

        Where the queue already holds this receipt, nothing changes. False: the receipt stands
        for something taken back, returned or expired, so nothing was kept under it.

        Raises:
            QueueFull: `max_queued` envelopes are held, or `most`. NotKept: the disk said no.
        """
        async with self._begin() as connection:
            known = await _one(connection, submission.c.receipt_hash == receipt_hash)
            if known is not None:
                return known.state not in (*GONE, State.RETURNED)
            if await _count_held(connection) >= self.limit(most):
                raise QueueFull
            row = {
                "id": secrets.token_bytes(16),
                "day": today,
                "state": State.SEALED,
                "changed_day": today,
                "receipt_hash": receipt_hash,
                "envelope_sha256": hashlib.sha256(sealed).digest(),
            }
            await connection.execute(insert(submission).values(row))
            await connection.execute(insert(envelope).values(id=row["id"], sealed=sealed))
        return True

    async def is_full(self, *, most: int | None = None) -> bool:
        """Whether the next submission would be refused. Counts only after something was written."""
        held = self._held
        return (await self.count() if held is None else held) >= self.limit(most)

    def limit(self, most: int | None) -> int:
        """Return how many envelopes there may be, where a way in has a limit of its own."""
        return self._max_queued if most is None else min(most, self._max_queued)

    async def count(self) -> int:
        """Return how many envelopes are held, after a look into the database."""
        async with self._begin(is_read=True) as connection:
            self._held = held = await _count_held(connection)
        return held

    async def find(self, receipt_hash: bytes) -> Standing | None:
        """Return where the submission of this receipt stands; None: unknown, withdrawn, expired."""
        async with self._begin(is_read=True) as connection:
            row = await _one(connection, submission.c.receipt_hash == receipt_hash)
        if row is None or row.state in GONE:
            return None
        return Standing(
            state=State(row.state),
            return_reason=Reason(row.return_reason) if row.return_reason else None,
            take_down=row.take_down,
        )

    async def withdraw(self, receipt_hash: bytes, *, today: dt.date) -> Standing | None:
        """Destroy the envelope, or ask for the post to be taken down where it was released.

        Returns the standing afterwards, None where nothing is held any more.
        """
        async with self._begin() as connection:
            row = await _one(connection, submission.c.receipt_hash == receipt_hash)
            if row is not None and row.state in OPEN:
                change = {"state": State.WITHDRAWN, "changed_day": today}
                await _change(connection, row.id, change)
                await _destroy(connection, row.id)
            elif row is not None and row.state in OUT:
                change = {"take_down": True, "changed_day": today}  # kept until the desk was told
                await _change(connection, row.id, change)
        with suppress(NotKept):  # it is withdrawn; the next cover write overwrites the rest
            await self.checkpoint()
        return await self.find(receipt_hash)

    # -- the desk's side -----------------------------------------------------------------------

    async def lease(self, holder: str, *, today: dt.date, include_today: bool) -> Handout:
        """Lease everything that waits to `holder` and return all that she holds, by id."""
        async with self._begin() as connection:
            for row in await _all(connection, _waits(today, include_today=include_today)):
                change = {"state": State.LEASED, "holder": holder, "lease_day": today}
                await _change(connection, row.id, change | {"changed_day": today})
                await _append(connection, today, State.LEASED, row, signer=holder)
            return await _hand_out(connection, _is_held_by(holder))

    async def foresee(self, holder: str, *, today: dt.date, include_today: bool) -> Handout:
        """Return what `lease` would, and lease nothing."""
        waiting = _waits(today, include_today=include_today)
        async with self._begin(is_read=True) as connection:
            return await _hand_out(connection, or_(waiting, _is_held_by(holder)))

    async def free(self, holder: str, *, by: str, today: dt.date) -> tuple[bytes, ...]:
        """End every lease of `holder` at once, and log that `by` did it. Returns the ids."""
        hers = and_(submission.c.state == State.LEASED, submission.c.holder == holder)
        async with self._begin() as connection:
            rows = await _all(connection, hers)
            for row in rows:
                await _change(connection, row.id, {"state": State.SEALED})
                await _append(connection, today, "freed", row, signer=by)
        return tuple(row.id for row in rows)

    async def envelope(self, submission_id: bytes, holder: str) -> bytes:
        """Return the envelope that `holder` has leased.

        Raises:
            NothingThere: unknown, destroyed, or not hers: one answer.
        """
        hers = and_(submission.c.holder == holder, submission.c.state == State.LEASED)
        query = select(envelope.c.sealed).join(submission, submission.c.id == envelope.c.id)
        async with self._begin(is_read=True) as connection:
            found = await connection.execute(query.where(envelope.c.id == submission_id, hers))
            sealed = found.scalar_one_or_none()
        if sealed is None:
            raise NothingThere
        return bytes(sealed)

    async def decide(self, verdict: SignedVerdict, *, bearer: str, today: dt.date) -> bool:
        """Carry out and log a signed verdict. Returns False where it stood already.

        bearer: the colleague who brought it. She or the one who signed it must hold the lease.
        What became of a released one, any colleague may say: the laptop of the one who released
        it may be lost.

        Raises:
            NothingThere: unknown, withdrawn, expired, or decided the other way.
            LockedByColleague: a third one has it.
            Corrupt: the verdict speaks of other bytes than the relay holds.
        """
        decision = verdict.decision
        async with self._begin() as connection:
            row = await _one(connection, submission.c.id == decision.id)
            if row is None:
                raise NothingThere("The relay knows no submission of this number.")
            if row.envelope_sha256 != decision.envelope_sha256:
                raise Corrupt("The verdict is about another envelope than the relay holds.")
            if _stands(row, decision.verdict):
                return False
            if row.state in GONE:
                raise NothingThere("She has taken it back, or it has expired. Destroy your copy.")
            if decision.verdict in FIRST:
                _check_first(row, {verdict.signer, bearer})
            else:
                _check_later(row, decision.verdict)
            state = LEADS_TO[decision.verdict]
            change = {"state": state, "changed_day": today, "return_reason": decision.reason}
            if state in GONE:
                change["end_logged"] = True  # as "removed", and not once more
            await _change(connection, row.id, change)
            if state not in HELD:
                await _destroy(connection, row.id)
            action = ACTIONS[decision.verdict]
            await _append(connection, today, action, row, signer=verdict.signer, verdict=verdict)
        with suppress(NotKept):  # it is decided; the next cover write overwrites the rest
            await self.checkpoint()
        return True

    async def read_log(self, *, after: int, limit: int) -> LogPage:
        """Return at most `limit` entries of the log after number `after`, in order."""
        query = select(log).where(log.c.seq > after).order_by(log.c.seq).limit(limit)
        async with self._begin(is_read=True) as connection:
            rows = (await connection.execute(query)).mappings()
            fields = await _read_marker(connection, "checkpoint")
            return LogPage(
                base=await _base(connection),
                checkpoint=None if fields is None else Checkpoint.from_json(fields),
                entries=tuple(LogEntry(**row) for row in rows),
            )

    async def keep_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint whose signature was checked.

        Raises:
            Corrupt: the log here has another hash at that entry, or no such entry.
        """
        at = select(log.c.hash).where(log.c.seq == checkpoint.head.seq)
        async with self._begin() as connection:
            if checkpoint.head.seq <= (await _base(connection)).seq:
                return  # a colleague vouched for it as well, and it was dropped meanwhile
            if (await connection.execute(at)).scalar_one_or_none() != checkpoint.head.hash:
                raise Corrupt("The checkpoint is not of this log.")
            newest = await _read_marker(connection, "checkpoint")
            if newest is not None and head_from_json(newest).seq >= checkpoint.head.seq:
                return
            await _write_marker(connection, "checkpoint", checkpoint.to_json())

    # -- the relay's own housekeeping ----------------------------------------------------------

    async def remember_list(self, signer: str, number: int, digest: str) -> bool:
        """Take note of a signed list. False: an older one than before, or another of its number.

        digest: SHA-256 in hex. Each `signer` has numbers of her own. Writes only what is new.
        """
        async with self._begin(is_read=True) as connection:
            known = await _read_marker(connection, "recipients") or {}
        newest, told = known.get(signer, [0, ""]), [number, digest]
        if newest == told:
            return True
        if newest[0] >= number:
            return False
        async with self._begin() as connection:
            await _write_marker(connection, "recipients", known | {signer: told})
        return True

    async def last_turned(self) -> dt.date | None:
        """Return the day for which `turn_day` was last done."""
        async with self._begin(is_read=True) as connection:
            fields = await _read_marker(connection, "turned")
        return None if fields is None else dt.date.fromisoformat(fields["day"])

    async def turn_day(self, *, today: dt.date, retain_days: int, lease_days: int) -> Purged:
        """Log the arrivals of past days, expire, let leases lapse, forget, then compact.

        Safe to repeat. Afterwards neither the file nor its order tells when anything came.
        """
        async with self._begin() as connection:
            await _log_arrivals(connection, today)
            expired = await _expire(connection, today, retain_days)
            await _log_ends(connection, today)
            lapsed = await _lapse(connection, today, lease_days)
            forgotten = await _forget(connection, today, retain_days)
            await _destroy_unheld(connection)
            await _truncate_log(connection, today, retain_days)
        if not await self.checkpoint():  # a VACUUM would fill the disk with a log nobody can empty
            raise NotKept("Another program reads the queue. What was destroyed is still in it.")
        async with self._outside_transaction() as driver:
            await driver.execute_fetchall("VACUUM")
        await self.checkpoint()
        async with self._begin() as connection:
            await _write_marker(connection, "turned", {"day": today.isoformat()})
        return Purged(expired=expired, lapsed=lapsed, forgotten=forgotten)

    async def count_due(self, *, today: dt.date, retain_days: int, lease_days: int) -> Purged:
        """Return what `turn_day` would end, and end nothing."""
        async with self._begin() as connection:
            expired = await _expire(connection, today, retain_days)
            lapsed = await _lapse(connection, today, lease_days)
            forgotten = await _forget(connection, today, retain_days)
            await connection.rollback()
        return Purged(expired=expired, lapsed=lapsed, forgotten=forgotten)

    async def write_cover(self) -> None:
        """Write and forget noise, so that the last change of the files tells of no arrival."""
        async with self._begin() as connection:
            await _write_marker(connection, "cover", secrets.token_hex(_COVER_BYTES))
        await self.checkpoint()

    async def try_room(self, count: int) -> None:
        """Write `count` bytes of noise and forget them: a disk may have room for less than that.

        Raises:
            NotKept: an envelope of that length would not be kept either.
        """
        async with self._begin() as connection:
            await _write_marker(connection, "cover", secrets.token_hex(count // 2))
        await self.write_cover()

    async def checkpoint(self) -> bool:
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

    @asynccontextmanager
    async def _outside_transaction(self) -> AsyncIterator[Any]:
        """Yield aiosqlite's own connection; what runs on it when we are cancelled is ended."""
        try:
            async with self._engine.connect() as connection:
                driver: Any = (await connection.get_raw_connection()).driver_connection
                try:
                    yield driver
                except asyncio.CancelledError:
                    await driver.interrupt()
                    raise
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise NotKept from error


async def _upgrade(connection: AsyncConnection) -> None:
    """Bring a database of version 1 to ours: SQLite can't change which states a column takes.

    In the transaction that is open: whole or not at all.
    """
    columns = ", ".join(submission.columns.keys())
    for index in submission.indexes:
        await connection.exec_driver_sql(f"DROP INDEX {index.name}")
    await connection.exec_driver_sql("ALTER TABLE submission RENAME TO submission_before")
    await connection.run_sync(submission.create)
    copied = f"SELECT {columns} FROM submission_before"  # noqa: S608 - our own names
    await connection.exec_driver_sql(f"INSERT INTO submission ({columns}) {copied}")
    await connection.exec_driver_sql("DROP TABLE submission_before")
    await connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _stands(row: Row[Any], verdict: Verdict) -> bool:
    """Whether a verdict was carried out before."""
    match verdict:
        case Verdict.RELEASE:
            return State(row.state) in OUT
        case Verdict.REMOVE:
            return bool(row.state == State.WITHDRAWN and row.take_down)
        case _:
            return bool(row.state == LEADS_TO[verdict])


def _check_first(row: Row[Any], colleagues: set[str]) -> None:
    """Return where one of the colleagues may release or return it."""
    if row.state not in OPEN:
        raise NothingThere(f"It was {row.state} before.")
    if row.state == State.SEALED:
        raise NothingThere("Your lease has run out. Pull again.")
    if row.holder not in colleagues:
        raise LockedByColleague


def _check_later(row: Row[Any], verdict: Verdict) -> None:
    """Return where it may be said what became of it."""
    if row.state in OPEN:
        raise NothingThere("It is not released.")
    if verdict is Verdict.REMOVE:
        if not row.take_down:
            raise NothingThere("Nobody has asked for it to be taken down.")
    elif row.state != State.RELEASED:
        raise NothingThere(f"It was {row.state} before.")


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


async def _all(connection: AsyncConnection, where: ColumnElement[bool]) -> Sequence[Row[Any]]:
    query = select(submission).where(where).order_by(submission.c.id)
    return (await connection.execute(query)).all()


async def _one(connection: AsyncConnection, where: ColumnElement[bool]) -> Row[Any] | None:
    query = select(submission).where(where)
    return (await connection.execute(query)).one_or_none()


def _waits(today: dt.date, *, include_today: bool) -> ColumnElement[bool]:
    waiting = submission.c.state == State.SEALED
    return waiting if include_today else and_(waiting, submission.c.day < today)


def _is_held_by(holder: str) -> ColumnElement[bool]:
    return and_(submission.c.state == State.LEASED, submission.c.holder == holder)


async def _hand_out(connection: AsyncConnection, leased: ColumnElement[bool]) -> Handout:
    gone = and_(submission.c.state.in_(GONE), submission.c.holder.is_not(None))
    wanted = and_(submission.c.take_down, submission.c.state.in_(OUT))
    posted = submission.c.state == State.POSTED
    return Handout(
        leases=tuple(
            Lease(id=row.id, day=row.day, envelope_sha256=row.envelope_sha256)
            for row in await _all(connection, leased)
        ),
        gone=tuple(row.id for row in await _all(connection, gone)),
        take_down=tuple(row.id for row in await _all(connection, wanted)),
        posted=tuple(row.id for row in await _all(connection, posted)),
    )


async def _count_held(connection: AsyncConnection) -> int:
    held = select(func.count()).where(submission.c.state.in_(HELD))
    return (await connection.execute(held)).scalar_one()


async def _change(connection: AsyncConnection, submission_id: bytes, change: Any) -> None:
    where = submission.c.id == submission_id
    await connection.execute(update(submission).where(where).values(change))


async def _destroy(connection: AsyncConnection, submission_id: bytes) -> None:
    await connection.execute(delete(envelope).where(envelope.c.id == submission_id))


async def _destroy_unheld(connection: AsyncConnection) -> None:
    held = select(submission.c.id).where(submission.c.state.in_(HELD))
    await connection.execute(delete(envelope).where(envelope.c.id.not_in(held)))


async def _append(  # noqa: PLR0913 - the fields of an entry
    connection: AsyncConnection,
    day: dt.date,
    action: State | str,
    row: Row[Any],
    *,
    signer: str | None = None,
    verdict: SignedVerdict | None = None,
) -> None:
    newest = select(log.c.seq, log.c.hash).order_by(log.c.seq.desc()).limit(1)
    last = (await connection.execute(newest)).one_or_none() or await _base(connection)
    entry = LogEntry(
        seq=last.seq + 1,
        day=day,
        action=str(action),
        submission_id=row.id,
        envelope_sha256=row.envelope_sha256,
        signer=signer,
        statement=verdict.decision.statement() if verdict else None,
        signature=verdict.signature if verdict else None,
        hash=b"",
    )
    entry = replace(entry, hash=next_hash(last.hash, entry))
    await connection.execute(insert(log).values(vars(entry)))


async def _log_arrivals(connection: AsyncConnection, today: dt.date) -> None:
    """Append the arrivals of past days: by day, and within a day by random id."""
    where = and_(submission.c.arrival_logged.is_(False), submission.c.day < today)
    for row in sorted(await _all(connection, where), key=lambda row: (row.day, row.id)):
        await _append(connection, row.day, "arrived", row)
        await _change(connection, row.id, {"arrival_logged": True})


async def _log_ends(connection: AsyncConnection, today: dt.date) -> None:
    """Append withdrawals of past days, and expiries, which happen only when the day turns."""
    where = and_(
        submission.c.end_logged.is_(False),
        submission.c.arrival_logged,
        or_(
            and_(submission.c.state == State.WITHDRAWN, submission.c.changed_day < today),
            submission.c.state == State.EXPIRED,
        ),
    )
    rows = await _all(connection, where)
    for row in sorted(rows, key=lambda row: (row.changed_day, row.id)):
        await _append(connection, row.changed_day, row.state, row)
        await _change(connection, row.id, {"end_logged": True})


async def _expire(connection: AsyncConnection, today: dt.date, retain_days: int) -> int:
    oldest = today - dt.timedelta(days=retain_days)
    too_old = update(submission).where(submission.c.state.in_(OPEN), submission.c.day < oldest)
    change = {"state": State.EXPIRED, "changed_day": today}
    return (await connection.execute(too_old.values(change))).rowcount


async def _lapse(connection: AsyncConnection, today: dt.date, lease_days: int) -> int:
    oldest = today - dt.timedelta(days=lease_days)
    too_old = update(submission).where(
        submission.c.state == State.LEASED, submission.c.lease_day < oldest
    )
    return (await connection.execute(too_old.values(state=State.SEALED))).rowcount


async def _forget(connection: AsyncConnection, today: dt.date, retain_days: int) -> int:
    oldest = today - dt.timedelta(days=retain_days)
    too_old = delete(submission).where(
        submission.c.state.in_((*ENDED, State.RELEASED)), submission.c.changed_day < oldest
    )
    return (await connection.execute(too_old)).rowcount


async def _truncate_log(connection: AsyncConnection, today: dt.date, retain_days: int) -> None:
    """Drop the entries that are too old and that a colleague has vouched for."""
    checkpoint = await _read_marker(connection, "checkpoint")
    if checkpoint is None:
        return
    recent = select(func.min(log.c.seq)).where(log.c.day >= today - dt.timedelta(days=retain_days))
    first_recent = (await connection.execute(recent)).scalar_one_or_none()
    vouched = Checkpoint.from_json(checkpoint).head.seq
    last_dropped = vouched if first_recent is None else min(vouched, first_recent - 1)
    at = select(log.c.seq, log.c.hash).where(log.c.seq == last_dropped)
    base = (await connection.execute(at)).one_or_none()
    if base is not None:
        await _write_marker(connection, "base", {"seq": base.seq, "hash": base.hash.hex()})
        await connection.execute(delete(log).where(log.c.seq <= last_dropped))


async def _base(connection: AsyncConnection) -> Head:
    base = await _read_marker(connection, "base")
    return head_from_json(base) if base is not None else Head()


async def _read_marker(connection: AsyncConnection, name: str) -> dict[str, Any] | None:
    query = select(marker.c.value).where(marker.c.name == name)
    value = (await connection.execute(query)).scalar_one_or_none()
    return None if value is None else dict(json.loads(value))


async def _write_marker(connection: AsyncConnection, name: str, value: object) -> None:
    await connection.execute(delete(marker).where(marker.c.name == name))
    row = {"name": name, "value": json.dumps(value).encode()}
    await connection.execute(insert(marker).values(row))
