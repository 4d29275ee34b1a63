"""What the queue's one file holds, and no longer holds."""

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
    NotKept,
)
from relay.queue import schema
from relay.queue.chain import Head, verify_chain
from relay.queue.look import look_at_queue
from relay.queue.sqlite import PRAGMAS
from relay.queue.states import Verdict
from relay.queue.store import SealedQueue
from tests.conftest import Service
from tests.queue.scene import (
    ALICE,
    DAY,
    ONE,
    leased,
    receipt,
    turn,
    verdict,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.sqlite"


@pytest_asyncio.fixture
async def queue(path: Path) -> AsyncIterator[SealedQueue]:
    async with SealedQueue.open(path, max_queued=5) as opened:
        yield opened


def files_hold(path: Path, needle: bytes) -> bool:
    there = [path, Path(f"{path}-wal"), Path(f"{path}-journal")]
    return any(needle in file.read_bytes() for file in there if file.exists())


async def test_every_connection_carries_the_pragmas(queue: SealedQueue) -> None:
    for _ in range(3):
        async with queue.begin() as connection:
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


async def test_the_database_is_private_and_carries_its_version(
    queue: SealedQueue, path: Path
) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    async with queue.begin() as connection:
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
        async with upgraded.begin() as connection:
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


async def test_a_write_that_fails_is_an_error_and_not_a_receipt(path: Path) -> None:
    async with SealedQueue.open(path, max_queued=5) as queue:
        async with queue.begin() as connection:
            await connection.exec_driver_sql("PRAGMA max_page_count = 40")
        with pytest.raises(NotKept) as caught:
            await queue.enqueue(b"CANARY" * 100_000, receipt(1), today=DAY)
        assert "CANARY" not in repr(caught.value.__cause__)
        assert await queue.find(receipt(1)) is None


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


async def test_withdrawn_means_destroyed_in_every_file(queue: SealedQueue, path: Path) -> None:
    sealed = b"CANARYSEALED" + os.urandom(300_000)
    await queue.enqueue(sealed, receipt(1), today=DAY)
    assert files_hold(path, b"CANARYSEALED")
    assert await queue.withdraw(receipt(1), today=DAY) is None
    assert await queue.find(receipt(1)) is None
    assert not files_hold(path, b"CANARYSEALED")
    assert not files_hold(path, sealed[200_000:200_064])


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
