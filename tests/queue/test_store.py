"""What the queue does, on both databases."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from relay.errors import (
    Corrupt,
    LockedByColleague,
    NothingThere,
    QueueFull,
)
from relay.queue import schema
from relay.queue.chain import Checkpoint, Head, verify_chain
from relay.queue.states import Reason, State, Verdict
from relay.queue.store import SealedQueue
from tests.places import Place, holds, lay
from tests.queue.scene import (
    ALICE,
    BERTA,
    CLARA,
    DAY,
    LEASE,
    ONE,
    RETAIN,
    leased,
    receipt,
    turn,
    verdict,
)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return lay(request.param, request, tmp_path)


@pytest_asyncio.fixture
async def queue(place: Place) -> AsyncIterator[SealedQueue]:
    async with SealedQueue.open(place.address, max_queued=5) as opened:
        yield opened


# -- what the database is ----------------------------------------------------------------------


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


async def test_an_id_tells_nothing_of_arrival(queue: SealedQueue) -> None:
    for number in range(5):
        await queue.enqueue(b"%d" % number, receipt(number), today=DAY)
    handout = await queue.lease(ALICE, today=DAY, include_today=True)
    ids = [lease.id for lease in handout.leases]
    assert ids == sorted(ids)
    assert all(len(one) == 16 for one in ids)


# -- enqueue -----------------------------------------------------------------------------------


async def test_what_was_enqueued_is_there_after_a_restart(place: Place) -> None:
    async with SealedQueue.open(place.address, max_queued=5) as queue:
        await queue.enqueue(b"sealed", receipt(1), today=DAY)
    async with SealedQueue.open(place.address, max_queued=5) as queue:
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


# -- withdrawal, destruction ---------------------------------------------------------------------


async def test_how_full_it_is_follows_what_is_written(queue: SealedQueue, place: Place) -> None:
    assert not await queue.is_full()
    async with SealedQueue.open(place.address, max_queued=1) as other:
        assert not await other.is_full()
        assert await other.enqueue(b"one", receipt(1), today=DAY)
        assert await other.is_full()
        await queue.withdraw(receipt(1), today=DAY)
        assert await other.is_full(), "another program's change is seen at the next count"
        assert await other.count() == 0
        assert not await other.is_full()


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
    queue: SealedQueue, place: Place, kind: Verdict, state: State
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
    assert not await holds(place, b"CANARYSEALED")
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


async def test_returned_means_destroyed_with_a_reason(queue: SealedQueue, place: Place) -> None:
    sealed = b"CANARYSEALED" * 1000
    submission_id = await leased(queue, 1, sealed)
    await queue.decide(verdict(submission_id, sealed, Verdict.RETURN), bearer=ALICE, today=DAY)
    standing = await queue.find(receipt(1))
    assert standing is not None
    assert standing.return_reason is Reason.FACE_VISIBLE
    assert not await holds(place, b"CANARYSEALED")


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
    queue: SealedQueue, place: Place
) -> None:
    await queue.enqueue(b"CANARYSEALED" * 999, receipt(1), today=DAY)
    await turn(queue, DAY + RETAIN * ONE)
    assert await queue.find(receipt(1)) is not None
    due = await queue.count_due(today=DAY + 31 * ONE, retain_days=RETAIN, lease_days=LEASE)
    assert (due.expired, due.forgotten) == (1, 0)
    assert await queue.find(receipt(1)) is not None, "a dry run ends nothing"
    await turn(queue, DAY + 31 * ONE)
    assert await queue.find(receipt(1)) is None
    assert not await holds(place, b"CANARYSEALED")
    entries = (await queue.read_log(after=0, limit=10)).entries
    assert [entry.action for entry in entries] == ["arrived", "expired"]
    await turn(queue, DAY + 62 * ONE)
    assert await place.rows("SELECT id FROM submission") == [[]]


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
