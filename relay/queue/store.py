"""The sealed queue on its database: one transaction for each change."""

import datetime as dt
import hashlib
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, insert, or_, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from relay.config import PostgresServer
from relay.errors import (
    ConfigInvalid,
    Corrupt,
    HeldAfterRestore,
    LockedByColleague,
    NothingThere,
    NotKept,
    QueueFull,
)
from relay.queue import entries, locks, markers, restorations, turning
from relay.queue.backup import QueueCopy, fill
from relay.queue.chain import Checkpoint, Head, LogEntry, head_from_json
from relay.queue.database import Access, Database
from relay.queue.migrations import bring_up, drop_all
from relay.queue.restorations import Restoration
from relay.queue.schema import (
    ARRIVING,
    MOVED,
    REVISION,
    UNKNOWN_HOLDER,
    envelope,
    log,
    submission,
)
from relay.queue.sqlite import SqliteFile
from relay.queue.states import (
    ACTIONS,
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
from relay.queue.turning import Purged
from relay.queue.verdicts import SignedVerdict

_COVER_BYTES = 64
_GONE = "She has taken it back, or it has expired. Destroy your copy."
_HELD = "To decide about it all the same: --after-restore"
_AT_ONCE = 500  # ids in one statement
_ELSEWHERE = {
    MOVED: "the queue was moved from here to another place (relay migrate)",
    ARRIVING: "a move to here was cut short: call relay migrate again",
}


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
    """What a pull is told: what to fetch, what to destroy, what to take down, what is posted.

    lost: with an older machine; of those, what is gone was taken back since. restorations: told
    as long as receipts of before may come.
    """

    leases: tuple[Lease, ...]
    gone: tuple[bytes, ...]
    take_down: tuple[bytes, ...]
    posted: tuple[bytes, ...]
    lost: tuple[bytes, ...]
    restorations: tuple[Restoration, ...]


@dataclass(frozen=True, kw_only=True)
class LogPage:
    """A piece of the log: the head before the oldest entry kept, who vouched last, entries."""

    base: Head
    checkpoint: Checkpoint | None
    entries: tuple[LogEntry, ...]


class SealedQueue:
    """The queue. `async with SealedQueue.open(…) as queue`."""

    def __init__(self, database: Database, *, max_queued: int) -> None:
        """Use `SealedQueue.open`."""
        self._database = database
        self._max_queued = max_queued
        self._held: int | None = None  # how many envelopes; None: to be read

    @classmethod
    @asynccontextmanager
    async def open(
        cls, place: Path | PostgresServer, *, max_queued: int, is_moving: bool = False
    ) -> AsyncIterator["SealedQueue"]:
        """Open the database there; its tables are made whole where there are none.

        is_moving: something is to be moved from there, or to there; it is left as it is found.

        Raises:
            ConfigInvalid: not a queue of this version, or the place can't be read and written.
        """
        database = _choose(place)
        queue = cls(database, max_queued=max_queued)
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(database.opened())
                await queue._create_or_check(is_moving=is_moving)
            except (NotKept, OSError) as error:
                words = "can't be read and written as a queue"
                raise ConfigInvalid(f"{database.where}: {words}") from error
            yield queue

    async def _create_or_check(self, *, is_moving: bool) -> None:
        async with self.begin(Access.ALONE) as connection:
            revision = await self._database.find_revision(connection)
            if revision in (MOVED, ARRIVING):
                if is_moving:
                    return
                raise ConfigInvalid(f"{self._database.where}: {_ELSEWHERE[revision]}")
            if revision != REVISION:
                await connection.run_sync(bring_up, revision)
            await self._database.take_note(connection)
            await turning.count_anew(connection)

    async def belongs_to(self, owner: str) -> bool:
        """Take note of who serves this queue, where nobody has. False: somebody else does."""
        async with self.begin(Access.READ) as connection:
            known = await markers.read(connection, "owner")
        if known is None:
            async with self.begin() as connection:
                await locks.take(connection, locks.Lock.MARKERS)
                known = await markers.read(connection, "owner")
                if known is None:
                    await markers.write(connection, "owner", {"owner": owner})
        return known is None or known["owner"] == owner

    @property
    def where(self) -> str:
        """What to call the place, for the operator."""
        return self._database.where

    @property
    def cant_write(self) -> str:
        """What to tell the operator where writing failed and `find_fault` sees nothing."""
        return self._database.cant_write

    def find_fault(self) -> str | None:
        """Return why nothing may be written now; None: nothing to be seen.

        For the operator: it names the place. What only writing tells is not in it.
        """
        return self._database.find_fault()

    def free_bytes(self) -> int | None:
        """Return what is free on the queue's disk, for others than root; None: not ours to see.

        Raises:
            OSError: the folder is gone.
        """
        return self._database.free_bytes()

    @asynccontextmanager
    async def begin(self, access: Access = Access.WRITE) -> AsyncIterator[AsyncConnection]:
        """Begin a transaction, for the rest of this package.

        Raises:
            NotKept: the database can't be read or written.
        """
        try:
            async with self._outside(), self._database.begin(access) as connection:
                yield connection
        finally:
            if access in {Access.WRITE, Access.ALONE}:
                self._held = None

    @asynccontextmanager
    async def _outside(self) -> AsyncIterator[None]:
        """Turn what a database says of itself into our error."""
        failures: tuple[type[Exception], ...] = (SQLAlchemyError, OSError, *self._database.errors)
        try:
            yield
        except failures as error:
            raise NotKept from error

    # -- the submitter's side ------------------------------------------------------------------

    async def enqueue(
        self, sealed: bytes, receipt_hash: bytes, *, today: dt.date, most: int | None = None
    ) -> bool:
        """Keep `sealed` durably: when this returns True, it is synced to the disk.

        Where the queue already holds this receipt, nothing changes. False: the receipt stands
        for something taken back, returned, expired or lost, so nothing was kept under it.

        Raises:
            QueueFull: `max_queued` envelopes are held, or `most`. NotKept: the disk said no.
        """
        try:
            return await self._enqueue(sealed, receipt_hash, today, self.limit(most))
        except NotKept:
            if not self._database.is_unsure:
                raise
        # The answer to a commit may have been lost. Who asks again under this receipt learns it.
        return await self._enqueue(sealed, receipt_hash, today, self.limit(most))

    async def _enqueue(
        self, sealed: bytes, receipt_hash: bytes, today: dt.date, limit: int
    ) -> bool:
        async with self.begin() as connection:
            await locks.take_receipt(connection, receipt_hash)
            known = await _one(connection, submission.c.receipt_hash == receipt_hash)
            if known is not None:
                return known.state not in (*GONE, State.RETURNED, State.LOST)
            if await markers.read_held(connection) >= limit:
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
            # Asked again: another relay may have filled the queue. From here on it waits for us.
            if await markers.change_held(connection, +1) > limit:
                raise QueueFull
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
        async with self.begin(Access.READ) as connection:
            self._held = held = await markers.read_held(connection)
        return held

    async def find(self, receipt_hash: bytes) -> Standing | None:
        """Return where the submission of this receipt stands; None: unknown, withdrawn, expired."""
        async with self.begin(Access.READ) as connection:
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
        async with self.begin() as connection:
            hers = submission.c.receipt_hash == receipt_hash
            row = await _one(connection, hers, is_to_change=True)
            if row is not None and row.state in (*OPEN, State.LOST):
                change = {"state": State.WITHDRAWN, "changed_day": today}
                await _change(connection, [row.id], change)
                await _destroy(connection, row.id)
            elif row is not None and row.state in OUT:
                change = {"take_down": True, "changed_day": today}  # kept until the desk was told
                await _change(connection, [row.id], change)
        with suppress(NotKept):  # it is withdrawn; the next cover write overwrites the rest
            await self.sweep()
        return await self.find(receipt_hash)

    # -- the desk's side -----------------------------------------------------------------------

    async def lease(self, holder: str, *, today: dt.date, include_today: bool) -> Handout:
        """Lease everything that waits to `holder` and return all that she holds, by id."""
        waiting = select(submission).where(_waits(today, include_today=include_today))
        # What a colleague leases through another relay at this moment is hers.
        waiting = waiting.order_by(submission.c.id).with_for_update(skip_locked=True)
        change = {"state": State.LEASED, "holder": holder, "lease_day": today, "changed_day": today}
        async with self.begin() as connection:
            rows = (await connection.execute(waiting)).all()
            await _change(connection, [row.id for row in rows], change)
            said = [entries.entry(today, State.LEASED, row, signer=holder) for row in rows]
            await entries.append(connection, said)
            return await _hand_out(connection, _is_held_by(holder))

    async def foresee(self, holder: str, *, today: dt.date, include_today: bool) -> Handout:
        """Return what `lease` would, and lease nothing."""
        waiting = _waits(today, include_today=include_today)
        async with self.begin(Access.READ) as connection:
            return await _hand_out(connection, or_(waiting, _is_held_by(holder)))

    async def free(self, holder: str, *, by: str, today: dt.date) -> tuple[bytes, ...]:
        """End every lease of `holder` at once, and log that `by` did it. Returns the ids."""
        hers = and_(submission.c.state == State.LEASED, submission.c.holder == holder)
        async with self.begin() as connection:
            rows = await _all(connection, hers, is_to_change=True)
            await _change(connection, [row.id for row in rows], {"state": State.SEALED})
            said = [entries.entry(today, "freed", row, signer=by) for row in rows]
            await entries.append(connection, said)
        return tuple(row.id for row in rows)

    async def envelope(self, submission_id: bytes, holder: str) -> bytes:
        """Return the envelope that `holder` has leased.

        Raises:
            NothingThere: unknown, destroyed, or not hers: one answer.
        """
        hers = and_(submission.c.holder == holder, submission.c.state == State.LEASED)
        query = select(envelope.c.sealed).join(submission, submission.c.id == envelope.c.id)
        async with self.begin(Access.READ) as connection:
            found = await connection.execute(query.where(envelope.c.id == submission_id, hers))
            sealed = found.scalar_one_or_none()
        if sealed is None:
            raise NothingThere
        return bytes(sealed)

    async def decide(
        self,
        verdict: SignedVerdict,
        *,
        bearer: str,
        today: dt.date,
        after_restore: bool = False,
    ) -> bool:
        """Carry out and log a signed verdict. Returns False where it stood already.

        bearer: the colleague who brought it. She or the one who signed it must hold the lease.
        What became of a released one, any colleague may say: the laptop of the one who released
        it may be lost. after_restore: also about what was lost with an older machine, which its
        sender may have taken back since.

        Raises:
            NothingThere: unknown, withdrawn, expired, or decided the other way.
            HeldAfterRestore: lost, and not said to be decided all the same.
            LockedByColleague: a third one has it.
            Corrupt: the verdict speaks of other bytes than the relay holds.
        """
        decision = verdict.decision
        async with self.begin() as connection:
            row = await _one(connection, submission.c.id == decision.id, is_to_change=True)
            if row is None:
                raise NothingThere("The relay knows no submission of this number.")
            if row.envelope_sha256 != decision.envelope_sha256:
                raise Corrupt("The verdict is about another envelope than the relay holds.")
            if _stands(row, decision.verdict):
                return False
            restored = await restorations.read(connection)
            if row.state == State.LOST:
                if not after_restore:
                    _check_lost(decision.verdict, restored)
            else:
                _check(row, verdict, bearer, is_known=not restored)
            state = LEADS_TO[decision.verdict]
            change = {"state": state, "changed_day": today, "return_reason": decision.reason}
            if state in GONE:  # logged as "removed", and not once more
                change |= {"end_logged": True, "take_down": True}
            await _change(connection, [row.id], change)
            action = ACTIONS[decision.verdict]
            said = entries.entry(today, action, row, signer=verdict.signer, verdict=verdict)
            await entries.append(connection, [said])
            if state not in HELD:
                await _destroy(connection, row.id)
        with suppress(NotKept):  # it is decided; the next cover write overwrites the rest
            await self.sweep()
        return True

    async def read_log(self, *, after: int, limit: int) -> LogPage:
        """Return at most `limit` entries of the log after number `after`, in order."""
        query = select(log).where(log.c.seq > after).order_by(log.c.seq).limit(limit)
        async with self.begin(Access.READ) as connection:
            rows = (await connection.execute(query)).mappings()
            fields = await markers.read(connection, "checkpoint")
            return LogPage(
                base=await entries.base(connection),
                checkpoint=None if fields is None else Checkpoint.from_json(fields),
                entries=tuple(LogEntry(**row) for row in rows),
            )

    async def keep_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint whose signature was checked.

        Raises:
            Corrupt: the log here has another hash at that entry, or no such entry.
        """
        at = select(log.c.hash).where(log.c.seq == checkpoint.head.seq)
        async with self.begin() as connection:
            await locks.take(connection, locks.Lock.MARKERS)
            if checkpoint.head.seq <= (await entries.base(connection)).seq:
                return  # a colleague vouched for it as well, and it was dropped meanwhile
            if (await connection.execute(at)).scalar_one_or_none() != checkpoint.head.hash:
                raise Corrupt("The checkpoint is not of this log.")
            newest = await markers.read(connection, "checkpoint")
            if newest is not None and head_from_json(newest).seq >= checkpoint.head.seq:
                return
            await markers.write(connection, "checkpoint", checkpoint.to_json())

    async def restorations(self) -> tuple[Restoration, ...]:
        """Return from which copies this queue was restored, as long as that is told."""
        async with self.begin(Access.READ) as connection:
            return await restorations.read(connection)

    # -- the relay's own housekeeping ----------------------------------------------------------

    async def fill(self, copy: QueueCopy, *, today: dt.date) -> None:
        """Put a copy into this queue, which is fresh: whole or not at all."""
        async with self.begin(Access.ALONE) as connection:
            await fill(connection, copy, today=today)

    async def remember_list(self, signer: str, number: int, digest: str) -> bool:
        """Take note of a signed list. False: an older one than before, or another of its number.

        digest: SHA-256 in hex. Each `signer` has numbers of her own. Writes only what is new.
        """
        async with self.begin(Access.READ) as connection:
            known = await markers.read(connection, "recipients") or {}
        if known.get(signer) == [number, digest]:
            return True
        async with self.begin() as connection:
            await locks.take(connection, locks.Lock.MARKERS)
            known = await markers.read(connection, "recipients") or {}
            newest, told = known.get(signer, [0, ""]), [number, digest]
            if newest[0] < number:
                await markers.write(connection, "recipients", known | {signer: told})
        return bool(newest[0] < number or newest == told)

    async def last_turned(self) -> dt.date | None:
        """Return the day for which `turn_day` was last done."""
        async with self.begin(Access.READ) as connection:
            fields = await markers.read(connection, "turned")
        return None if fields is None else dt.date.fromisoformat(fields["day"])

    async def turn_day(
        self, *, today: dt.date, retain_days: int, lease_days: int, is_again: bool = True
    ) -> Purged:
        """Log the arrivals of past days, expire, let leases lapse, forget, then compact.

        is_again: though another relay has turned that day. Safe to repeat. Afterwards neither the
        files nor their order tell when anything came.
        """
        turned = {"day": today.isoformat()}
        async with self.begin(Access.ALONE) as connection:
            if not is_again and await markers.read(connection, "turned") == turned:
                return Purged(expired=0, lapsed=0, forgotten=0)
            purged = await turning.turn(connection, today, retain_days, lease_days)
            is_compact = await self._database.rewrite(connection)
            if is_compact:
                await markers.write(connection, "turned", turned)
        if not is_compact:
            await self.compact()
            async with self.begin() as connection:
                await markers.write(connection, "turned", turned)
        return purged

    async def count_due(self, *, today: dt.date, retain_days: int, lease_days: int) -> Purged:
        """Return what `turn_day` would end, and end nothing."""
        async with self.begin(Access.ALONE) as connection:
            purged = await turning.turn(connection, today, retain_days, lease_days)
            await connection.rollback()
        return purged

    async def write_cover(self) -> None:
        """Write and forget noise, so that the last change of the files tells of no arrival."""
        async with self.begin() as connection:
            await markers.write(connection, "cover", secrets.token_hex(_COVER_BYTES))
        await self.sweep()

    async def try_room(self, count: int) -> None:
        """Write `count` bytes of noise and forget them: a disk may have room for less than that.

        Raises:
            NotKept: an envelope of that length would not be kept either.
        """
        async with self.begin() as connection:
            await markers.write(connection, "cover", secrets.token_hex(count // 2))
            await markers.change_held(connection, 0)  # as a submission would
        await self.write_cover()

    async def compact(self) -> None:
        """Write everything anew, so that neither files nor order tell when anything came."""
        async with self._outside():
            await self._database.compact()

    async def find_stage(self, connection: AsyncConnection) -> str | None:
        """Return the revision; MOVED: moved away from here; ARRIVING: not all the way here yet."""
        return await self._database.find_revision(connection)

    async def begin_anew(self, connection: AsyncConnection) -> None:
        """Drop what is there, and make tables that nobody serves before `arrive`."""
        await drop_all(connection)
        await connection.run_sync(bring_up, None)
        await self._database.mark(connection, ARRIVING)

    async def arrive(self, connection: AsyncConnection) -> None:
        """Let it be served from here on."""
        await self._database.mark(connection, REVISION)

    async def give_up(self, connection: AsyncConnection) -> None:
        """Leave nothing but a note that the queue was moved; who serves it can't go on."""
        await drop_all(connection)
        await self._database.mark(connection, MOVED)

    async def sweep(self) -> bool:
        """Get what was destroyed out of the files, as far as the database does that.

        Returns False where another program reads it: the next cover write tries again.
        """
        async with self._outside():
            return await self._database.sweep()


def _choose(place: Path | PostgresServer) -> Database:
    if isinstance(place, Path):
        return SqliteFile(place)
    from relay.queue.postgres import PostgresDatabase  # noqa: PLC0415 - one file needs no driver

    return PostgresDatabase(place)


def _stands(row: Row[Any], verdict: Verdict) -> bool:
    """Whether a verdict was carried out before."""
    match verdict:
        case Verdict.RELEASE:
            return State(row.state) in OUT
        case Verdict.REMOVE:
            return bool(row.state == State.WITHDRAWN and row.take_down)
        case _:
            return bool(row.state == LEADS_TO[verdict])


def _check(row: Row[Any], verdict: SignedVerdict, bearer: str, *, is_known: bool) -> None:
    """Return where what is not lost may be decided so."""
    if verdict.decision.verdict is Verdict.REMOVE:
        _check_removal(row, is_known=is_known)
    elif row.state in GONE:
        raise NothingThere(_GONE)
    elif verdict.decision.verdict in FIRST:
        _check_first(row, {verdict.signer, bearer})
    else:
        _check_later(row)


def _check_first(row: Row[Any], colleagues: set[str]) -> None:
    """Return where one of the colleagues may release or return it."""
    if row.state not in OPEN:
        raise NothingThere(f"It was {row.state} before.")
    if row.state == State.SEALED:
        raise NothingThere("Your lease has run out. Pull again.")
    if row.holder not in colleagues:
        raise LockedByColleague


def _check_later(row: Row[Any]) -> None:
    """Return where it may be said what became of it."""
    if row.state in OPEN:
        raise NothingThere("It is not released.")
    if row.state != State.RELEASED:
        raise NothingThere(f"It was {row.state} before.")


def _check_removal(row: Row[Any], *, is_known: bool) -> None:
    """Return where it may be said that its post is gone.

    is_known: whether this queue knows of everybody who has asked for that.
    """
    if row.state in OPEN:
        raise NothingThere("It is not released.")
    was_lost = row.holder == UNKNOWN_HOLDER
    if row.state in GONE and not was_lost:
        raise NothingThere(_GONE)
    if not (row.take_down or was_lost or (row.state in OUT and not is_known)):
        raise NothingThere("Nobody has asked for it to be taken down.")


def _check_lost(verdict: Verdict, restored: Sequence[Restoration]) -> None:
    """Return where it harms nobody that its sender may have taken it back since the copy."""
    if verdict in (Verdict.RETURN, Verdict.REMOVE):
        return
    day = f" of {max(one.copied for one in restored)}" if restored else ""
    raise HeldAfterRestore(
        f"The relay was set up again from a copy{day}: she may have taken this back since. {_HELD}"
    )


async def _all(
    connection: AsyncConnection, where: ColumnElement[bool], *, is_to_change: bool = False
) -> Sequence[Row[Any]]:
    query = select(submission).where(where).order_by(submission.c.id)
    query = query.with_for_update() if is_to_change else query
    return (await connection.execute(query)).all()


async def _one(
    connection: AsyncConnection, where: ColumnElement[bool], *, is_to_change: bool = False
) -> Row[Any] | None:
    query = select(submission).where(where)
    query = query.with_for_update() if is_to_change else query
    return (await connection.execute(query)).one_or_none()


def _waits(today: dt.date, *, include_today: bool) -> ColumnElement[bool]:
    waiting = submission.c.state == State.SEALED
    return waiting if include_today else and_(waiting, submission.c.day < today)


def _is_held_by(holder: str) -> ColumnElement[bool]:
    return and_(submission.c.state == State.LEASED, submission.c.holder == holder)


async def _hand_out(connection: AsyncConnection, leased: ColumnElement[bool]) -> Handout:
    gone = and_(submission.c.state.in_(GONE), submission.c.holder.is_not(None))
    wanted = and_(submission.c.take_down, submission.c.state.in_((*OUT, State.LOST)))
    posted = submission.c.state == State.POSTED
    was_lost = and_(submission.c.holder == UNKNOWN_HOLDER, submission.c.state.in_(GONE))
    lost = or_(submission.c.state == State.LOST, was_lost)
    # One question: the answers to several might contradict each other.
    kinds = (leased, gone, wanted, posted, lost)
    query = select(submission, *kinds).where(or_(*kinds)).order_by(submission.c.id)
    rows = (await connection.execute(query)).all()
    return Handout(
        leases=tuple(
            Lease(id=row.id, day=row.day, envelope_sha256=row.envelope_sha256)
            for row in rows
            if row[-5]
        ),
        gone=tuple(row.id for row in rows if row[-4]),
        take_down=tuple(row.id for row in rows if row[-3]),
        posted=tuple(row.id for row in rows if row[-2]),
        lost=tuple(row.id for row in rows if row[-1]),
        restorations=await restorations.read(connection),
    )


async def _change(connection: AsyncConnection, ids: Sequence[bytes], change: Any) -> None:
    for first in range(0, len(ids), _AT_ONCE):
        where = submission.c.id.in_(ids[first : first + _AT_ONCE])
        await connection.execute(update(submission).where(where).values(change))


async def _destroy(connection: AsyncConnection, submission_id: bytes) -> None:
    query = delete(envelope).where(envelope.c.id == submission_id)
    if (await connection.execute(query)).rowcount:
        await markers.change_held(connection, -1)
