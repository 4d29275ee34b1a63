import datetime as dt
import hashlib
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import inspect

from relay.errors import (
    ConfigInvalid,
    Corrupt,
    LockedByColleague,
    NothingThere,
    NotKept,
    QueueFull,
)
from relay.queue import schema
from relay.queue.chain import Checkpoint, Head, verify_chain
from relay.queue.look import look_at_queue
from relay.queue.sqlite import PRAGMAS
from relay.queue.states import Reason, State, Verdict
from relay.queue.store import SealedQueue
from relay.queue.verdicts import Decision, SignedVerdict
from tests.conftest import Service

DAY = dt.date(2026, 3, 19)
ONE = dt.timedelta(days=1)
RETAIN, LEASE = 30, 3
ALICE, BERTA, CLARA = "relaysigner1alice", "relaysigner1berta", "relaysigner1clara"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.sqlite"


@pytest_asyncio.fixture
async def queue(path: Path) -> AsyncIterator[SealedQueue]:
    async with SealedQueue.open(path, max_queued=5) as opened:
        yield opened


def receipt(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


async def turn(queue: SealedQueue, today: dt.date) -> None:
    await queue.turn_day(today=today, retain_days=RETAIN, lease_days=LEASE)


async def leased(queue: SealedQueue, number: int, sealed: bytes) -> bytes:
    """Enqueue, lease to Alice the same day, return the id."""
    await queue.enqueue(sealed, receipt(number), today=DAY)
    handout = await queue.lease(ALICE, today=DAY, include_today=True)
    digest = hashlib.sha256(sealed).digest()
    return next(lease.id for lease in handout.leases if lease.envelope_sha256 == digest)


def verdict(
    submission_id: bytes,
    sealed: bytes,
    kind: Verdict = Verdict.RELEASE,
    signer: str = ALICE,
) -> SignedVerdict:
    decision = Decision(
        campaign="demo",
        id=submission_id,
        envelope_sha256=hashlib.sha256(sealed).digest(),
        verdict=kind,
        reason=Reason.FACE_VISIBLE if kind is Verdict.RETURN else None,
    )
    return SignedVerdict(decision=decision, signer=signer, signature="c2ln")


def files_hold(path: Path, needle: bytes) -> bool:
    there = [path, Path(f"{path}-wal"), Path(f"{path}-journal")]
    return any(needle in file.read_bytes() for file in there if file.exists())


# -- what the database is ----------------------------------------------------------------------


async def test_every_connection_carries_the_pragmas(queue: SealedQueue) -> None:
    for _ in range(3):
        async with queue._begin() as connection:  # noqa: SLF001 - what is asserted is the connection
            for name, value in PRAGMAS.items():
                found = (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()
                assert found == value, name
        await queue.write_cover()
    assert PRAGMAS["synchronous"] == 2
    assert PRAGMAS["secure_delete"] == 1


async def test_no_table_keeps_an_order_of_arrival(queue: SealedQueue, path: Path) -> None:  # noqa: ARG001
    with sqlite3.connect(path) as database:
        for table in ("submission", "envelope", "marker"):
            with pytest.raises(sqlite3.OperationalError, match="no such column"):
                database.execute(f"SELECT rowid FROM {table}")  # noqa: S608 - our own names
    database.close()


def test_the_schema_has_the_columns_it_should_and_no_others() -> None:
    columns = {table.name: set(table.columns.keys()) for table in schema.metadata.sorted_tables}
    assert columns == {
        "submission": {
            "id", "day", "state", "changed_day", "receipt_hash", "envelope_sha256", "holder",
            "lease_day", "return_reason", "take_down", "arrival_logged", "end_logged",
        },
        "envelope": {"id", "sealed"},
        "log": {
            "seq", "day", "action", "submission_id", "envelope_sha256", "signer", "statement",
            "signature", "hash",
        },
        "marker": {"name", "value"},
    }  # fmt: skip
    for table in schema.metadata.sorted_tables:
        for column in table.columns:
            assert "TIME" not in str(column.type).upper(), "no clock finer than a day"


async def test_the_database_is_private_and_carries_its_version(
    queue: SealedQueue, path: Path
) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    async with queue._begin() as connection:  # noqa: SLF001 - reads the version
        version = (await connection.exec_driver_sql("PRAGMA user_version")).scalar_one()
        names = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    assert version == schema.SCHEMA_VERSION
    assert set(names) == {*schema.metadata.tables, "alembic_version"}


async def test_a_database_of_another_version_is_refused(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(ConfigInvalid, match="version 99"):
        async with SealedQueue.open(path, max_queued=5):
            pass


# As version 1 made it.
VERSION_1 = """
CREATE TABLE submission (
    id BLOB NOT NULL,
    day DATE NOT NULL,
    state VARCHAR(9) NOT NULL CHECK (state IN ('sealed', 'leased', 'released', 'posted',
        'returned', 'withdrawn', 'expired')),
    changed_day DATE NOT NULL,
    receipt_hash BLOB NOT NULL,
    envelope_sha256 BLOB NOT NULL,
    holder VARCHAR(80),
    lease_day DATE,
    return_reason VARCHAR(24),
    take_down BOOLEAN NOT NULL,
    arrival_logged BOOLEAN NOT NULL,
    end_logged BOOLEAN NOT NULL,
    PRIMARY KEY (id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX submission_by_receipt ON submission (receipt_hash);
CREATE INDEX submission_by_state ON submission (state, day);
CREATE TABLE envelope (id BLOB NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (id)) WITHOUT ROWID;
CREATE TABLE log (
    seq INTEGER NOT NULL,
    day DATE NOT NULL,
    action VARCHAR(9) NOT NULL,
    submission_id BLOB NOT NULL,
    envelope_sha256 BLOB NOT NULL,
    signer VARCHAR(80),
    statement TEXT,
    signature VARCHAR(88),
    hash BLOB NOT NULL,
    PRIMARY KEY (seq)
);
CREATE TABLE marker (name VARCHAR(16) NOT NULL, value BLOB NOT NULL, PRIMARY KEY (name))
    WITHOUT ROWID;
PRAGMA user_version = 1;
"""
TABLES = ("submission", "envelope", "log", "marker")


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(path)) as database:
        return {
            table: sorted(database.execute(f"SELECT * FROM {table}").fetchall())  # noqa: S608
            for table in TABLES
        }


async def make_version_1(queue: SealedQueue, path: Path, older: Path) -> list[bytes]:
    """A database of version 1 with something in each state that there was."""
    ids = [await leased(queue, number, b"%d" % number) for number in range(4)]
    for number, kind in ((1, Verdict.RELEASE), (2, Verdict.RETURN), (3, Verdict.RELEASE)):
        said = verdict(ids[number], b"%d" % number, kind)
        await queue.decide(said, bearer=ALICE, today=DAY)
    said = verdict(ids[3], b"3", Verdict.POST)
    await queue.decide(said, bearer=ALICE, today=DAY)
    await queue.enqueue(b"4", receipt(4), today=DAY)
    await queue.enqueue(b"5", receipt(5), today=DAY)
    await queue.withdraw(receipt(5), today=DAY)
    await turn(queue, DAY + ONE)
    with closing(sqlite3.connect(older)) as database:
        database.executescript(VERSION_1)
        database.execute("ATTACH ? AS newer", (str(path),))
        for table in TABLES:
            database.execute(f"INSERT INTO {table} SELECT * FROM newer.{table}")  # noqa: S608
        database.commit()
    return ids


async def test_a_database_of_version_1_is_upgraded_and_loses_nothing(
    queue: SealedQueue, path: Path
) -> None:
    older = path.with_name("older.sqlite")
    ids = await make_version_1(queue, path, older)
    before = rows(older)
    assert len(before["submission"]) == 6
    with closing(sqlite3.connect(older)) as database, pytest.raises(sqlite3.IntegrityError):
        database.execute("UPDATE submission SET state = 'answered'")
    assert look_at_queue(older, seconds=5).fault is None
    assert look_at_queue(older, seconds=5).other_version is None
    async with SealedQueue.open(older, max_queued=9) as upgraded:
        assert rows(older) == before
        answered = verdict(ids[1], b"1", Verdict.ANSWER)
        assert await upgraded.decide(answered, bearer=ALICE, today=DAY)
        entries = (await upgraded.read_log(after=0, limit=99)).entries
        verify_chain(entries, Head())
        async with upgraded._begin() as connection:  # noqa: SLF001 - reads the version
            found = await connection.exec_driver_sql("PRAGMA user_version")
            assert found.scalar_one() == schema.SCHEMA_VERSION
    with closing(sqlite3.connect(older)) as old, closing(sqlite3.connect(path)) as new:
        shape = "SELECT type, name, sql FROM sqlite_master WHERE name LIKE 'submission%'"
        assert sorted(old.execute(shape)) == sorted(new.execute(shape))


def test_a_demo_of_the_release_before_is_served_again(service: Service, dirty: bytes) -> None:
    receipt = service.send(dirty).receipt
    assert service.stop() == 0
    path, newer = service.folder / "queue.sqlite", service.folder / "newer.sqlite"
    path.rename(newer)
    path.touch(mode=0o600)
    with closing(sqlite3.connect(path)) as database:
        database.executescript(VERSION_1)
        database.execute("ATTACH ? AS newer", (str(newer),))
        for table in TABLES:
            database.execute(f"INSERT INTO {table} SELECT * FROM newer.{table}")  # noqa: S608
        database.commit()
    service.start()
    assert "is here, locked" in service.post_receipt("receipt", receipt).text
    assert service.desk("pull", "--to", "sealed").code == 0


async def test_an_upgrade_that_fails_changes_nothing(queue: SealedQueue, path: Path) -> None:
    older = path.with_name("older.sqlite")
    await make_version_1(queue, path, older)
    with closing(sqlite3.connect(older)) as database:
        database.execute("CREATE TABLE submission_before (id)")  # stands in the way
    before = rows(older)
    with pytest.raises(ConfigInvalid):
        async with SealedQueue.open(older, max_queued=9):
            pass
    assert rows(older) == before
    with closing(sqlite3.connect(older)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (1,)


async def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be looked at closely" * 20)
    with pytest.raises((NotKept, ConfigInvalid)):
        async with SealedQueue.open(path, max_queued=5):
            pass


async def test_an_id_tells_nothing_of_arrival(queue: SealedQueue) -> None:
    for number in range(5):
        await queue.enqueue(b"%d" % number, receipt(number), today=DAY)
    handout = await queue.lease(ALICE, today=DAY, include_today=True)
    ids = [lease.id for lease in handout.leases]
    assert ids == sorted(ids)
    assert all(len(one) == 16 for one in ids)


# -- enqueue -----------------------------------------------------------------------------------


async def test_what_was_enqueued_is_there_after_a_restart(path: Path) -> None:
    async with SealedQueue.open(path, max_queued=5) as queue:
        await queue.enqueue(b"sealed", receipt(1), today=DAY)
    async with SealedQueue.open(path, max_queued=5) as queue:
        standing = await queue.find(receipt(1))
    assert standing is not None
    assert standing.state is State.SEALED


async def test_the_same_receipt_twice_is_one_submission(queue: SealedQueue) -> None:
    await queue.enqueue(b"first", receipt(1), today=DAY)
    await queue.enqueue(b"second", receipt(1), today=DAY)
    handout = await queue.lease(ALICE, today=DAY, include_today=True)
    assert [lease.envelope_sha256 for lease in handout.leases] == [
        hashlib.sha256(b"first").digest()
    ]


async def test_a_full_queue_takes_nothing_and_loses_nothing(queue: SealedQueue) -> None:
    for number in range(5):
        await queue.enqueue(b"x", receipt(number), today=DAY)
    assert await queue.is_full()
    with pytest.raises(QueueFull):
        await queue.enqueue(b"x", receipt(5), today=DAY)
    await queue.enqueue(b"x", receipt(0), today=DAY)  # a double send still finds its own
    assert await queue.find(receipt(5)) is None
    await queue.withdraw(receipt(0), today=DAY)
    await queue.enqueue(b"x", receipt(5), today=DAY)


async def test_a_write_that_fails_is_an_error_and_not_a_receipt(path: Path) -> None:
    async with SealedQueue.open(path, max_queued=5) as queue:
        async with queue._begin() as connection:  # noqa: SLF001 - makes the disk full
            await connection.exec_driver_sql("PRAGMA max_page_count = 40")
        with pytest.raises(NotKept) as caught:
            await queue.enqueue(b"CANARY" * 100_000, receipt(1), today=DAY)
        assert "CANARY" not in repr(caught.value.__cause__)
        assert await queue.find(receipt(1)) is None


# -- withdrawal, destruction ---------------------------------------------------------------------


@pytest.mark.parametrize("end", ["", "-wal"])
async def test_nothing_is_kept_in_a_file_that_nobody_would_find(path: Path, end: str) -> None:
    """SQLite goes on writing to a file that is gone, and says that it is kept."""
    file, away = Path(f"{path}{end}"), path.with_name("away")
    async with SealedQueue.open(path, max_queued=10) as queue:
        assert await queue.enqueue(b"one", receipt(1), today=DAY)
        assert queue.find_fault() is None
        file.rename(away)
        with pytest.raises(NotKept):
            await queue.enqueue(b"two", receipt(2), today=DAY)
        with pytest.raises(NotKept):
            await queue.withdraw(receipt(1), today=DAY)
        assert "moved, deleted or replaced" in (queue.find_fault() or "")
        assert await queue.find(receipt(1)), "what was kept can be read"
        if not end:
            file.touch()
            with pytest.raises(NotKept):
                await queue.enqueue(b"two", receipt(2), today=DAY)
        away.rename(file)
        assert queue.find_fault() is None
        assert await queue.enqueue(b"two", receipt(2), today=DAY)
    async with SealedQueue.open(path, max_queued=10) as queue:
        assert await queue.find(receipt(1))
        assert await queue.find(receipt(2))


async def test_a_log_that_was_deleted_loses_nothing_at_the_next_start(path: Path) -> None:
    async with SealedQueue.open(path, max_queued=10) as queue:
        assert await queue.enqueue(b"one", receipt(1), today=DAY)
        Path(f"{path}-wal").unlink()
        with pytest.raises(NotKept):
            await queue.enqueue(b"two", receipt(2), today=DAY)
    async with SealedQueue.open(path, max_queued=10) as queue:
        assert await queue.find(receipt(1))
        assert await queue.enqueue(b"two", receipt(2), today=DAY)


async def test_how_full_it_is_follows_what_is_written(queue: SealedQueue, path: Path) -> None:
    assert not await queue.is_full()
    async with SealedQueue.open(path, max_queued=1) as other:
        assert not await other.is_full()
        assert await other.enqueue(b"one", receipt(1), today=DAY)
        assert await other.is_full()
        await queue.withdraw(receipt(1), today=DAY)
        assert await other.is_full(), "another program's change is seen at the next count"
        assert await other.count() == 0
        assert not await other.is_full()


async def test_withdrawn_means_destroyed_in_every_file(queue: SealedQueue, path: Path) -> None:
    sealed = b"CANARYSEALED" + os.urandom(300_000)
    await queue.enqueue(sealed, receipt(1), today=DAY)
    assert files_hold(path, b"CANARYSEALED")
    assert await queue.withdraw(receipt(1), today=DAY) is None
    assert await queue.find(receipt(1)) is None
    assert not files_hold(path, b"CANARYSEALED")
    assert not files_hold(path, sealed[200_000:200_064])


async def test_withdrawn_before_release_can_not_be_fetched(queue: SealedQueue) -> None:
    submission_id = await leased(queue, 1, b"sealed")
    assert await queue.envelope(submission_id, ALICE) == b"sealed"
    await queue.withdraw(receipt(1), today=DAY)
    with pytest.raises(NothingThere):
        await queue.envelope(submission_id, ALICE)
    handout = await queue.lease(BERTA, today=DAY, include_today=True)
    assert handout.gone == (submission_id,)
    assert handout.leases == ()


async def test_withdrawn_after_release_asks_for_the_post_to_be_taken_down(
    queue: SealedQueue,
) -> None:
    submission_id = await leased(queue, 1, b"sealed")
    await queue.decide(verdict(submission_id, b"sealed"), bearer=ALICE, today=DAY)
    standing = await queue.withdraw(receipt(1), today=DAY)
    assert standing is not None
    assert (standing.state, standing.take_down) == (State.RELEASED, True)
    handout = await queue.lease(ALICE, today=DAY, include_today=True)
    assert handout.take_down == (submission_id,)


async def test_a_take_down_is_kept_until_the_desk_was_told(queue: SealedQueue) -> None:
    submission_id = await leased(queue, 1, b"sealed")
    await queue.decide(verdict(submission_id, b"sealed"), bearer=ALICE, today=DAY)
    late = DAY + (RETAIN - 1) * ONE
    await queue.withdraw(receipt(1), today=late)
    await turn(queue, late + 5 * ONE)
    handout = await queue.lease(ALICE, today=late + 5 * ONE, include_today=False)
    assert handout.take_down == (submission_id,)


# -- what became of it -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "state"), [(Verdict.POST, State.POSTED), (Verdict.ANSWER, State.ANSWERED)]
)
async def test_what_was_posted_or_answered_is_held_no_longer(
    queue: SealedQueue, path: Path, kind: Verdict, state: State
) -> None:
    sealed = b"CANARYSEALED" * 9000
    submission_id = await leased(queue, 1, sealed)
    said = verdict(submission_id, sealed, kind, BERTA)
    with pytest.raises(NothingThere, match="not released"):
        await queue.decide(said, bearer=ALICE, today=DAY)
    assert await queue.decide(verdict(submission_id, sealed), bearer=ALICE, today=DAY)
    assert await queue.decide(said, bearer=BERTA, today=DAY), "a laptop may be lost"
    assert not await queue.decide(said, bearer=ALICE, today=DAY)
    assert not await queue.decide(verdict(submission_id, sealed), bearer=ALICE, today=DAY)
    standing = await queue.find(receipt(1))
    assert standing is not None
    assert (standing.state, standing.take_down) == (state, False)
    assert await queue.count() == 0
    assert not files_hold(path, b"CANARYSEALED")
    other = {Verdict.POST: Verdict.ANSWER, Verdict.ANSWER: Verdict.POST}[kind]
    for wrong in (other, Verdict.RETURN):
        with pytest.raises(NothingThere, match=f"It was {state} before"):
            await queue.decide(verdict(submission_id, sealed, wrong), bearer=ALICE, today=DAY)
    entries = (await queue.read_log(after=0, limit=9)).entries
    assert [entry.action for entry in entries] == ["leased", "released", state]
    assert entries[-1].statement == said.decision.statement()


@pytest.mark.parametrize("kind", [None, Verdict.POST, Verdict.ANSWER])
async def test_what_she_wanted_gone_and_is_gone_leaves_nothing(
    queue: SealedQueue, kind: Verdict | None
) -> None:
    submission_id = await leased(queue, 1, b"sealed")
    gone = verdict(submission_id, b"sealed", Verdict.REMOVE, BERTA)
    for before in (Verdict.RELEASE, kind):
        with pytest.raises(NothingThere):
            await queue.decide(gone, bearer=BERTA, today=DAY)
        if before is not None:
            said = verdict(submission_id, b"sealed", before)
            await queue.decide(said, bearer=ALICE, today=DAY)
    with pytest.raises(NothingThere, match="Nobody has asked"):
        await queue.decide(gone, bearer=BERTA, today=DAY)
    standing = await queue.withdraw(receipt(1), today=DAY)
    assert standing is not None
    assert standing.take_down
    assert (await queue.lease(ALICE, today=DAY, include_today=True)).take_down == (submission_id,)
    assert await queue.decide(gone, bearer=BERTA, today=DAY)
    assert not await queue.decide(gone, bearer=ALICE, today=DAY)
    assert await queue.find(receipt(1)) is None
    assert await queue.withdraw(receipt(1), today=DAY) is None
    assert await queue.count() == 0
    handout = await queue.lease(ALICE, today=DAY, include_today=True)
    assert (handout.gone, handout.take_down) == ((submission_id,), ())
    await turn(queue, DAY + ONE)
    entries = (await queue.read_log(after=0, limit=9)).entries
    assert [e.action for e in entries if e.action in ("removed", "withdrawn")] == ["removed"]
    with pytest.raises(NothingThere, match="taken it back"):
        await queue.decide(verdict(submission_id, b"sealed"), bearer=ALICE, today=DAY)


async def test_what_was_taken_back_before_release_can_not_be_removed(queue: SealedQueue) -> None:
    submission_id = await leased(queue, 1, b"sealed")
    await queue.withdraw(receipt(1), today=DAY)
    with pytest.raises(NothingThere, match="taken it back"):
        await queue.decide(
            verdict(submission_id, b"sealed", Verdict.REMOVE), bearer=ALICE, today=DAY
        )


async def test_a_post_that_she_took_back_meanwhile_is_still_said(queue: SealedQueue) -> None:
    submission_id = await leased(queue, 1, b"sealed")
    await queue.decide(verdict(submission_id, b"sealed"), bearer=ALICE, today=DAY)
    await queue.withdraw(receipt(1), today=DAY)
    await queue.decide(verdict(submission_id, b"sealed", Verdict.POST), bearer=ALICE, today=DAY)
    standing = await queue.find(receipt(1))
    assert standing is not None
    assert (standing.state, standing.take_down) == (State.POSTED, True)


async def test_a_receipt_of_something_gone_is_never_acknowledged_again(
    queue: SealedQueue,
) -> None:
    """Whoever withdraws while a double send is under way must not read that it was kept."""
    assert await queue.enqueue(b"x", receipt(1), today=DAY)
    assert await queue.enqueue(b"x", receipt(1), today=DAY)
    await queue.withdraw(receipt(1), today=DAY)
    assert not await queue.enqueue(b"x", receipt(1), today=DAY)
    assert await queue.find(receipt(1)) is None


async def test_a_reader_that_delays_destruction_is_noticed(queue: SealedQueue, path: Path) -> None:
    await queue.enqueue(b"CANARYSEALED" * 9000, receipt(1), today=DAY)
    await queue.sweep()
    reader = sqlite3.connect(path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM submission").fetchone()
    await queue.withdraw(receipt(1), today=DAY)
    assert not await queue.sweep()
    before = Path(f"{path}-wal").stat().st_size
    for _ in range(3):
        with pytest.raises(NotKept, match="Another program"):
            await turn(queue, DAY)
    grown = Path(f"{path}-wal").stat().st_size - before
    assert grown < 50_000, "no copy of the database is added each time"
    reader.close()
    await queue.write_cover()
    assert not files_hold(path, b"CANARYSEALED")


async def test_unknown_withdrawn_and_expired_are_one_answer(queue: SealedQueue) -> None:
    await queue.enqueue(b"x", receipt(1), today=DAY)
    await queue.enqueue(b"y", receipt(2), today=DAY)
    await queue.withdraw(receipt(1), today=DAY)
    await turn(queue, DAY + 31 * ONE)
    assert [await queue.find(receipt(number)) for number in (1, 2, 3)] == [None] * 3


# -- leases and verdicts -------------------------------------------------------------------------


async def test_today_is_not_handed_out_unless_configured(queue: SealedQueue) -> None:
    await queue.enqueue(b"x", receipt(1), today=DAY)
    assert not (await queue.lease(ALICE, today=DAY, include_today=False)).leases
    assert (await queue.lease(ALICE, today=DAY + ONE, include_today=False)).leases


async def test_a_lease_is_one_colleagues_and_comes_again_when_asked_again(
    queue: SealedQueue,
) -> None:
    submission_id = await leased(queue, 1, b"x")
    again = await queue.lease(ALICE, today=DAY, include_today=True)
    assert [lease.id for lease in again.leases] == [submission_id]
    assert not (await queue.lease(BERTA, today=DAY, include_today=True)).leases
    with pytest.raises(NothingThere):
        await queue.envelope(submission_id, BERTA)
    with pytest.raises(LockedByColleague):
        await queue.decide(verdict(submission_id, b"x", signer=BERTA), bearer=BERTA, today=DAY)


async def test_a_lease_that_ran_out_goes_to_a_colleague(queue: SealedQueue) -> None:
    submission_id = await leased(queue, 1, b"x")
    await turn(queue, DAY + LEASE * ONE)
    assert not (await queue.lease(BERTA, today=DAY + LEASE * ONE, include_today=False)).leases
    await turn(queue, DAY + (LEASE + 1) * ONE)
    handout = await queue.lease(BERTA, today=DAY + (LEASE + 1) * ONE, include_today=False)
    assert [lease.id for lease in handout.leases] == [submission_id]
    with pytest.raises(LockedByColleague):
        await queue.decide(verdict(submission_id, b"x"), bearer=ALICE, today=DAY + 4 * ONE)


async def test_freed_leases_go_to_whoever_asks_next_and_the_log_says_who_freed_them(
    queue: SealedQueue,
) -> None:
    submission_id = await leased(queue, 1, b"x")
    assert await queue.free(BERTA, by=BERTA, today=DAY) == ()
    assert await queue.free(ALICE, by=BERTA, today=DAY) == (submission_id,)
    with pytest.raises(NothingThere, match="run out"):
        await queue.decide(verdict(submission_id, b"x"), bearer=ALICE, today=DAY)
    with pytest.raises(NothingThere):
        await queue.envelope(submission_id, ALICE)
    handout = await queue.lease(BERTA, today=DAY, include_today=True)
    assert [lease.id for lease in handout.leases] == [submission_id]
    await queue.decide(verdict(submission_id, b"x", signer=BERTA), bearer=BERTA, today=DAY)
    assert await queue.free(BERTA, by=ALICE, today=DAY) == (), "what is decided stays decided"
    entries = (await queue.read_log(after=0, limit=10)).entries
    assert [(entry.action, entry.signer) for entry in entries] == [
        ("leased", ALICE), ("freed", BERTA), ("leased", BERTA), ("released", BERTA),
    ]  # fmt: skip


async def test_a_verdict_is_carried_out_once(queue: SealedQueue) -> None:
    submission_id = await leased(queue, 1, b"x")
    assert await queue.decide(verdict(submission_id, b"x"), bearer=ALICE, today=DAY)
    assert not await queue.decide(verdict(submission_id, b"x"), bearer=ALICE, today=DAY)
    with pytest.raises(NothingThere, match="released before"):
        await queue.decide(verdict(submission_id, b"x", Verdict.RETURN), bearer=ALICE, today=DAY)
    entries = (await queue.read_log(after=0, limit=10)).entries
    assert [entry.action for entry in entries] == ["leased", "released"]


async def test_a_verdict_may_be_brought_by_a_colleague_where_either_has_the_lease(
    queue: SealedQueue,
) -> None:
    one, two = await leased(queue, 1, b"x"), await leased(queue, 2, b"y")
    hers = verdict(one, b"x", signer=BERTA)
    for bearer in (BERTA, CLARA):
        with pytest.raises(LockedByColleague):
            await queue.decide(hers, bearer=bearer, today=DAY)
    assert await queue.decide(hers, bearer=ALICE, today=DAY), "signed by her, brought by the holder"
    assert await queue.decide(verdict(two, b"y"), bearer=CLARA, today=DAY), "the other way round"
    entries = (await queue.read_log(after=0, limit=10)).entries
    assert [entry.signer for entry in entries] == [ALICE, ALICE, BERTA, ALICE]


async def test_a_look_ahead_shows_what_a_lease_would_and_leases_nothing(
    queue: SealedQueue,
) -> None:
    await leased(queue, 1, b"x")
    await queue.enqueue(b"y", receipt(2), today=DAY)
    await queue.enqueue(b"z", receipt(3), today=DAY + ONE)
    for holder, count in ((ALICE, 2), (BERTA, 1)):
        seen = await queue.foresee(holder, today=DAY + ONE, include_today=False)
        assert len(seen.leases) == count
    seen = await queue.foresee(BERTA, today=DAY + ONE, include_today=True)
    assert seen == await queue.lease(BERTA, today=DAY + ONE, include_today=True)
    entries = (await queue.read_log(after=0, limit=10)).entries
    assert [entry.signer for entry in entries] == [ALICE, BERTA, BERTA]


async def test_returned_means_destroyed_with_a_reason(queue: SealedQueue, path: Path) -> None:
    sealed = b"CANARYSEALED" * 1000
    submission_id = await leased(queue, 1, sealed)
    await queue.decide(verdict(submission_id, sealed, Verdict.RETURN), bearer=ALICE, today=DAY)
    standing = await queue.find(receipt(1))
    assert standing is not None
    assert standing.return_reason is Reason.FACE_VISIBLE
    assert not files_hold(path, b"CANARYSEALED")


async def test_a_verdict_about_other_bytes_or_nothing_is_refused(queue: SealedQueue) -> None:
    submission_id = await leased(queue, 1, b"x")
    with pytest.raises(Corrupt):
        await queue.decide(verdict(submission_id, b"swapped"), bearer=ALICE, today=DAY)
    with pytest.raises(NothingThere):
        await queue.decide(verdict(bytes(16), b"x"), bearer=ALICE, today=DAY)
    await queue.withdraw(receipt(1), today=DAY)
    with pytest.raises(NothingThere, match="taken it back"):
        await queue.decide(verdict(submission_id, b"x"), bearer=ALICE, today=DAY)


# -- the day turns -------------------------------------------------------------------------------


async def test_arrivals_are_logged_when_the_day_turns_in_the_order_of_their_ids(
    queue: SealedQueue,
) -> None:
    for number in range(5):
        await queue.enqueue(b"%d" % number, receipt(number), today=DAY)
    await queue.withdraw(receipt(3), today=DAY)
    await turn(queue, DAY)
    assert (await queue.read_log(after=0, limit=10)).entries == ()
    await turn(queue, DAY + ONE)
    entries = (await queue.read_log(after=0, limit=10)).entries
    assert [entry.action for entry in entries] == ["arrived"] * 5 + ["withdrawn"]
    ids = [entry.submission_id for entry in entries[:5]]
    assert ids == sorted(ids)
    assert {entry.day for entry in entries} == {DAY}
    verify_chain(entries, Head())
    await turn(queue, DAY + ONE)
    assert (await queue.read_log(after=0, limit=10)).entries == entries, (
        "turning twice changes nothing"
    )


async def test_what_is_too_old_is_destroyed_logged_and_forgotten(
    queue: SealedQueue, path: Path
) -> None:
    await queue.enqueue(b"CANARYSEALED" * 999, receipt(1), today=DAY)
    await turn(queue, DAY + RETAIN * ONE)
    assert await queue.find(receipt(1)) is not None
    due = await queue.count_due(today=DAY + 31 * ONE, retain_days=RETAIN, lease_days=LEASE)
    assert (due.expired, due.forgotten) == (1, 0)
    assert await queue.find(receipt(1)) is not None, "a dry run ends nothing"
    await turn(queue, DAY + 31 * ONE)
    assert await queue.find(receipt(1)) is None
    assert not files_hold(path, b"CANARYSEALED")
    entries = (await queue.read_log(after=0, limit=10)).entries
    assert [entry.action for entry in entries] == ["arrived", "expired"]
    await turn(queue, DAY + 62 * ONE)
    database = sqlite3.connect(path)
    assert database.execute("SELECT count(*) FROM submission").fetchone() == (0,)
    database.close()


async def test_the_file_keeps_no_order_of_arrival_after_the_day_turned(tmp_path: Path) -> None:
    """The same submissions in another order leave the same pages, keys aside."""
    offsets = []
    for order in (range(5), reversed(range(5))):
        path = tmp_path / f"{len(offsets)}.sqlite"
        async with SealedQueue.open(path, max_queued=5) as queue:
            for number in order:
                await queue.enqueue(b"MARK%d" % number * 9000, receipt(number), today=DAY)
            await turn(queue, DAY + ONE)
            handout = await queue.lease(ALICE, today=DAY + ONE, include_today=False)
            by_id = [lease.envelope_sha256 for lease in handout.leases]
        raw = path.read_bytes()
        marks = {hashlib.sha256(b"MARK%d" % n * 9000).digest(): b"MARK%d" % n for n in range(5)}
        places = [raw.index(marks[digest] * 500) for digest in by_id]
        assert places == sorted(places), "envelopes lie in the order of their random ids"
        offsets.append(places)


async def test_a_cover_write_leaves_nothing_in_the_write_ahead_log(
    queue: SealedQueue, path: Path
) -> None:
    await queue.enqueue(b"x" * 10_000, receipt(1), today=DAY)
    assert Path(f"{path}-wal").stat().st_size > 10_000
    before = path.stat().st_mtime_ns
    await queue.write_cover()
    assert Path(f"{path}-wal").stat().st_size == 0
    assert path.stat().st_mtime_ns > before


# -- the log -------------------------------------------------------------------------------------


async def test_the_log_is_truncated_only_behind_a_checkpoint(queue: SealedQueue) -> None:
    for number in range(3):
        await queue.enqueue(b"%d" % number, receipt(number), today=DAY)
    await turn(queue, DAY + 40 * ONE)
    entries = (await queue.read_log(after=0, limit=10)).entries
    assert len(entries) == 6, "three arrivals and three expiries; nobody has vouched"
    heads = verify_chain(entries, Head())
    wrong = Head(seq=4, hash=bytes(32))
    with pytest.raises(Corrupt):
        await queue.keep_checkpoint(Checkpoint(head=wrong, signer=ALICE, signature=""))
    await queue.keep_checkpoint(Checkpoint(head=heads[4], signer=ALICE, signature=""))
    await turn(queue, DAY + 41 * ONE)
    kept = (await queue.read_log(after=0, limit=10)).entries
    assert [entry.seq for entry in kept] == [4, 5, 6], "1 to 3 are old and vouched for"
    page = await queue.read_log(after=0, limit=10)
    base, checkpoint = page.base, page.checkpoint
    assert base == heads[3]
    assert checkpoint is not None
    assert checkpoint.head == heads[4]
    verify_chain(kept, base)
    await turn(queue, DAY + 100 * ONE)
    await queue.enqueue(b"new", receipt(9), today=DAY + 100 * ONE)
    await turn(queue, DAY + 101 * ONE)
    kept = (await queue.read_log(after=0, limit=10)).entries
    base = (await queue.read_log(after=0, limit=10)).base
    verify_chain(kept, base)
    assert kept[-1].seq == 7


async def test_a_checkpoint_that_comes_after_its_entry_was_dropped_is_no_alarm(
    queue: SealedQueue,
) -> None:
    """A colleague vouched for the same entry, and the day turned while this desk was checking."""
    await queue.enqueue(b"x", receipt(1), today=DAY)
    await turn(queue, DAY + ONE)
    entries = (await queue.read_log(after=0, limit=10)).entries
    head = verify_chain(entries, Head())[-1]
    await queue.keep_checkpoint(Checkpoint(head=head, signer=ALICE, signature=""))
    await turn(queue, DAY + 40 * ONE)
    await queue.keep_checkpoint(Checkpoint(head=head, signer=BERTA, signature=""))
    page = await queue.read_log(after=0, limit=10)
    assert page.base == head
    assert page.checkpoint is not None
    assert page.checkpoint.signer == ALICE
