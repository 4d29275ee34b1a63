"""What an operator may count: past days, as they stood when the day was turned."""

import dataclasses
import datetime as dt
import hashlib
import random
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from relay.config import PostgresServer
from relay.errors import ConfigInvalid, RelayError
from relay.queue.chain import Checkpoint, Head
from relay.queue.counts import Counts, count
from relay.queue.reading import open_for_reading
from relay.queue.schema import submission
from relay.queue.states import Reason, State, Verdict
from relay.queue.store import SealedQueue
from relay.queue.verdicts import Decision, SignedVerdict
from tests import postgres
from tests.conftest import free_port, tenth

DAY = dt.date(2026, 3, 19)
ONE = dt.timedelta(days=1)
RETAIN, LEASE = 30, 3
ALICE, BERTA = "relaysigner1alice", "relaysigner1berta"
NOBODY = 65534
RESTORED = {state for state in State if state == "lost"}  # comes with a restore alone


class Campaign:
    """A queue whose days can be turned, and what a reader beside it counts."""

    def __init__(self, queue: SealedQueue, place: Path | PostgresServer) -> None:
        self.queue = queue
        self.place = place
        self.today = DAY
        self.sent = 0

    async def send(self) -> bytes:
        self.sent += 1
        receipt = hashlib.sha256(b"%d" % self.sent).digest()
        await self.queue.enqueue(b"sealed %d" % self.sent, receipt, today=self.today)
        return receipt

    async def withdraw(self, receipt: bytes) -> None:
        await self.queue.withdraw(receipt, today=self.today)

    async def pull(self, *, include_today: bool = False) -> dict[bytes, bytes]:
        handout = await self.queue.lease(ALICE, today=self.today, include_today=include_today)
        return {lease.id: lease.envelope_sha256 for lease in handout.leases}

    async def decide(self, submission_id: bytes, digest: bytes, verdict: Verdict) -> None:
        decision = Decision(
            campaign="demo",
            id=submission_id,
            envelope_sha256=digest,
            verdict=verdict,
            reason=Reason.OTHER if verdict is Verdict.RETURN else None,
        )
        signed = SignedVerdict(decision=decision, signer=ALICE, signature="c2ln")
        await self.queue.decide(signed, bearer=ALICE, today=self.today)

    async def turn(self, days: int = 1) -> None:
        self.today += days * ONE
        await self.queue.turn_day(today=self.today, retain_days=RETAIN, lease_days=LEASE)

    async def counts(self) -> Counts:
        async with open_for_reading(self.place) as connection:
            return await count(connection, today=self.today, lease_days=LEASE)

    async def by_day(self) -> dict[dt.date, dict[State, int]]:
        return {day.day: dict(day.by_state) for day in (await self.counts()).days}

    async def rows(self) -> list[tuple[dt.date, State]]:
        """What the table itself says."""
        query = select(submission.c.day, submission.c.state)
        async with open_for_reading(self.place) as connection:
            return [(row.day, State(row.state)) for row in await connection.execute(query)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.sqlite"


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Postgres]:
    with postgres.server() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
async def campaign(request: pytest.FixtureRequest, path: Path) -> AsyncIterator[Campaign]:
    place: Path | PostgresServer = path
    if request.param == "postgresql":
        server = request.getfixturevalue("server")
        place = server.address(server.create())
    async with SealedQueue.open(place, max_queued=1000) as queue:
        yield Campaign(queue, place)


async def test_before_the_first_turn_there_is_nothing_to_count(campaign: Campaign) -> None:
    await campaign.send()
    assert await campaign.counts() == Counts()


async def test_no_count_changes_with_what_happens_before_the_day_turns(campaign: Campaign) -> None:
    """Whatever is sent, taken back, pulled and decided today shows tomorrow and not sooner."""
    early = [await campaign.send() for _ in range(6)]
    await campaign.turn()
    first = await campaign.pull()
    await campaign.decide(*first.popitem(), Verdict.RELEASE)
    await campaign.queue.free(ALICE, by=BERTA, today=campaign.today)
    await campaign.turn()
    before = await campaign.counts()
    assert await campaign.by_day() == {DAY: {State.SEALED: 5, State.RELEASED: 1}}

    late = [await campaign.send() for _ in range(4)]
    assert await campaign.counts() == before, "sent"
    await campaign.withdraw(late[0])
    assert await campaign.counts() == before, "taken back on the same day"
    for receipt in early:
        await campaign.withdraw(receipt)
    assert await campaign.counts() == before, "older ones taken back, and a post to be taken down"
    for pulled in (await campaign.pull(include_today=True)).items():
        await campaign.decide(*pulled, Verdict.RELEASE)
    assert await campaign.counts() == before, "those of today pulled and released"

    await campaign.turn()
    assert await campaign.by_day() == {
        DAY: {State.WITHDRAWN: 5, State.RELEASED: 1},
        DAY + 2 * ONE: {State.WITHDRAWN: 1, State.RELEASED: 3},
    }


async def test_when_the_day_has_turned_the_counts_are_those_of_the_table(
    campaign: Campaign,
) -> None:
    """Held against the queue itself, over weeks of everything that can happen."""
    chance, receipts, seen = random.Random(9), [], set()
    for _ in range(tenth(200)):
        receipts += [await campaign.send() for _ in range(chance.randrange(4))]
        for receipt in chance.sample(receipts, min(2, len(receipts))):
            await campaign.withdraw(receipt)
        if chance.random() < 0.4:
            for submission_id, digest in (await campaign.pull(include_today=True)).items():
                kind = chance.choice([*Verdict, None, None])
                if kind in {Verdict.POST, Verdict.ANSWER}:
                    await campaign.decide(submission_id, digest, Verdict.RELEASE)
                if kind not in {None, Verdict.REMOVE}:
                    await campaign.decide(submission_id, digest, kind)
        if chance.random() < 0.1:
            await campaign.queue.free(ALICE, by=BERTA, today=campaign.today)
        if chance.random() < 0.2:
            await vouch(campaign)
        await campaign.turn(chance.choice([1, 1, 2, 5]))
        seen |= await compare(campaign)
    await campaign.send()
    await campaign.turn(RETAIN + 1)
    assert await compare(campaign) | seen == {*State} - RESTORED


async def compare(campaign: Campaign) -> set[State]:
    """Hold what is counted against the table; return the states in it."""
    rows = Counter(await campaign.rows())
    counted = await campaign.by_day()
    assert {(day, state): n for day, held in counted.items() for state, n in held.items()} == rows
    return {state for _, state in rows}


async def vouch(campaign: Campaign) -> None:
    page = await campaign.queue.read_log(after=0, limit=10_000)
    if page.entries:
        last = page.entries[-1]
        head = Head(seq=last.seq, hash=last.hash)
        await campaign.queue.keep_checkpoint(Checkpoint(head=head, signer=ALICE, signature="c2ln"))


async def test_ages_and_the_log_are_those_of_past_days(campaign: Campaign) -> None:
    for _ in range(3):
        await campaign.send()
        await campaign.turn()
    counts = await campaign.counts()
    assert (counts.waiting_day, counts.leased_day, counts.held) == (DAY, None, 3)
    assert (counts.entries, counts.unvouched, counts.unvouched_day) == (3, 3, DAY)
    await vouch(campaign)
    await campaign.pull()
    counts = await campaign.counts()
    assert (counts.waiting_day, counts.leased_day) == (DAY, None), "today's pull shows tomorrow"
    assert (counts.entries, counts.unvouched, counts.unvouched_day) == (3, 0, None)
    pulled = campaign.today
    await campaign.turn()
    counts = await campaign.counts()
    assert (counts.waiting_day, counts.leased_day, counts.held) == (None, pulled, 3)
    assert (counts.entries, counts.unvouched, counts.unvouched_day) == (6, 3, pulled)


async def test_a_day_that_a_wrong_clock_has_turned_ahead_shows_nothing_of_today(
    campaign: Campaign,
) -> None:
    await campaign.send()
    await campaign.turn(3)
    campaign.today = DAY
    await campaign.send()
    assert await campaign.by_day() == {}
    assert (await campaign.counts()).turned == DAY + 3 * ONE


async def test_a_database_without_a_queue_is_left_without_one(server: postgres.Postgres) -> None:
    name = server.create()
    for _ in range(2):
        with pytest.raises(ConfigInvalid, match="there is no queue here yet"):
            async with open_for_reading(server.address(name)):
                pass
    gone = dataclasses.replace(server.address(name), port=free_port())
    with pytest.raises(RelayError, match="can't be reached"):
        async with open_for_reading(gone):
            pass


async def test_reading_makes_and_changes_nothing(path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="there is no queue here yet"):
        async with open_for_reading(path):
            pass
    assert not path.exists()
    async with SealedQueue.open(path, max_queued=5) as queue:
        await Campaign(queue, path).turn()
    before = path.read_bytes(), path.stat().st_mtime_ns, {*path.parent.iterdir()}
    async with open_for_reading(path) as connection:
        assert (await count(connection, today=DAY, lease_days=LEASE)).turned == DAY + ONE
        with pytest.raises(Exception, match="readonly"):
            await connection.exec_driver_sql("DELETE FROM marker")
    assert (path.read_bytes(), path.stat().st_mtime_ns, {*path.parent.iterdir()}) == before


async def test_a_reader_waits_for_no_writer_and_no_writer_for_it(campaign: Campaign) -> None:
    await campaign.send()
    await campaign.turn()
    async with campaign.queue.begin():
        assert (await campaign.counts()).held == 1
    async with open_for_reading(campaign.place) as connection:
        assert (await count(connection, today=campaign.today, lease_days=LEASE)).held == 1
        await campaign.send()


async def test_a_queue_of_another_version_is_neither_read_nor_upgraded(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 1")
    before = path.read_bytes()
    with pytest.raises(ConfigInvalid, match="version 0001"):
        async with open_for_reading(path):
            pass
    assert path.read_bytes() == before


async def test_what_is_no_queue_is_refused_in_words(path: Path) -> None:
    path.write_text("nonsense " * 1000)
    with pytest.raises(RelayError, match="can't be read as a queue"):
        async with open_for_reading(path):
            pass


def test_who_may_not_read_the_queue_counts_nothing(path: Path) -> None:
    code = f"""
import asyncio, os, pathlib, sys
from relay.queue.reading import open_for_reading
async def look():
    async with open_for_reading(pathlib.Path("queue.sqlite")):
        print("read")
os.chdir({str(path.parent)!r})
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
asyncio.run(look())
"""
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE marker (name)")
    path.chmod(0o600)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert "can't be read as a queue" in done.stderr
