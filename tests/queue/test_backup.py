"""A queue made of a copy: what is true of each submission, and who may say what of it."""

import dataclasses
import datetime as dt
import json
import shutil
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from relay.config import PostgresServer
from relay.errors import ConfigInvalid, Corrupt, HeldAfterRestore, NothingThere
from relay.queue.backup import QueueCopy
from relay.queue.chain import Head, verify_chain
from relay.queue.copying import copy_queue
from relay.queue.restorations import Restoration
from relay.queue.states import LATER, Reason, State, Verdict
from relay.queue.store import SealedQueue
from relay.queue.verdicts import SignedVerdict
from tests.places import lay
from tests.queue.test_store import ALICE, BERTA, DAY, ONE, RETAIN, receipt, turn, verdict

SEALED = b"CANARYSEALED" * 9000
LATER_DAY = DAY + 2 * ONE


def opened(place: Path | PostgresServer) -> AbstractAsyncContextManager[SealedQueue]:
    return SealedQueue.open(place, max_queued=50)


async def add(queue: SealedQueue, number: int) -> bytes:
    """Enqueue, lease to Alice, return the id."""
    sealed = SEALED + b"%d" % number
    before = {
        lease.id for lease in (await queue.foresee(ALICE, today=DAY, include_today=True)).leases
    }
    assert await queue.enqueue(sealed, receipt(number), today=DAY)
    handout = await queue.lease(ALICE, today=DAY, include_today=True)
    (new,) = {lease.id for lease in handout.leases} - before
    return new


def said(number: int, submission_id: bytes, kind: Verdict = Verdict.RELEASE) -> SignedVerdict:
    return verdict(submission_id, SEALED + b"%d" % number, kind)


async def live(queue: SealedQueue) -> dict[State, bytes]:
    """One submission in each state; its receipt is the number of the state."""
    ids: dict[State, bytes] = {}
    for number, state in enumerate(State):
        if state is not State.LOST:
            ids[state] = await add(queue, number)
    for state in (State.RELEASED, State.POSTED, State.ANSWERED):
        await queue.decide(said(_number(state), ids[state]), bearer=ALICE, today=DAY)
    for state, kind in (
        (State.POSTED, Verdict.POST),
        (State.ANSWERED, Verdict.ANSWER),
        (State.RETURNED, Verdict.RETURN),
    ):
        await queue.decide(said(_number(state), ids[state], kind), bearer=ALICE, today=DAY)
    for state in (State.WITHDRAWN, State.EXPIRED):  # to her, one is as the other
        await queue.withdraw(receipt(_number(state)), today=DAY)
    assert await queue.enqueue(SEALED, receipt(99), today=DAY), "and one that nobody has pulled"
    return ids


def _number(state: State) -> int:
    return list(State).index(state)


async def again(copy: QueueCopy, path: Path) -> AbstractAsyncContextManager[SealedQueue]:
    """A queue that was restored from the copy, by way of its JSON."""
    async with opened(path) as queue:
        await queue.fill(QueueCopy.decode(copy.encode()), today=LATER_DAY)
    return opened(path)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | PostgresServer:
    return lay(request.param, request, tmp_path).address


async def test_what_had_an_envelope_is_lost_and_the_rest_stays(
    tmp_path: Path, place: Path | PostgresServer
) -> None:
    async with opened(place) as queue:
        ids = await live(queue)
        log = await queue.read_log(after=0, limit=99)
        copy = await copy_queue(place, today=DAY)
    assert b"CANARY" not in copy.encode()
    assert [row["id"] for row in copy.submissions] == sorted(row["id"] for row in copy.submissions)
    assert {*copy.markers} <= {"turned", "checkpoint", "base", "recipients"}
    async with await again(copy, tmp_path / "again.sqlite") as queue:
        for state in ids:
            found = await queue.find(receipt(_number(state)))
            match state:
                case State.SEALED | State.LEASED | State.RELEASED:
                    assert found is not None
                    assert found.state is State.LOST
                case State.WITHDRAWN | State.EXPIRED:
                    assert found is None
                case _:
                    assert found is not None
                    assert found.state is state
        assert await queue.restorations() == (Restoration(copied=DAY, restored=LATER_DAY),)
        handout = await queue.lease(BERTA, today=LATER_DAY, include_today=True)
        assert handout.leases == ()
        assert len(handout.lost) == 4
        assert {ids[state] for state in (State.SEALED, State.LEASED, State.RELEASED)} <= {
            *handout.lost
        }
        assert await queue.count() == 0
        page = await queue.read_log(after=0, limit=99)
        assert page.entries[:-1] == log.entries
        last = page.entries[-1]
        assert (last.action, last.day, last.statement) == ("restored", LATER_DAY, str(DAY))
        verify_chain(page.entries, Head())
        assert not await queue.enqueue(SEALED, receipt(99), today=LATER_DAY), "under a new receipt"


async def test_what_is_lost_can_be_taken_back_whoever_may_have_it(tmp_path: Path) -> None:
    async with opened(tmp_path / "queue.sqlite") as queue:
        ids = await live(queue)
        copy = await copy_queue(tmp_path / "queue.sqlite", today=DAY)
    async with await again(copy, tmp_path / "again.sqlite") as queue:
        assert await queue.withdraw(receipt(99), today=LATER_DAY) is None
        assert await queue.withdraw(receipt(_number(State.RELEASED)), today=LATER_DAY) is None
        handout = await queue.lease(BERTA, today=LATER_DAY, include_today=True)
        gone = {*handout.gone} & {*handout.lost}
        assert ids[State.RELEASED] in gone
        assert len(gone) == 2, (
            "nobody had pulled the other before the copy; somebody may have since"
        )
        one = said(_number(State.RELEASED), ids[State.RELEASED])
        for after_restore in (False, True):
            with pytest.raises(NothingThere, match="taken it back"):
                await queue.decide(one, bearer=ALICE, today=DAY, after_restore=after_restore)
        removed = said(_number(State.RELEASED), ids[State.RELEASED], Verdict.REMOVE)
        assert await queue.decide(removed, bearer=BERTA, today=LATER_DAY), "it was posted since"
        assert not await queue.decide(removed, bearer=BERTA, today=LATER_DAY)
        await turn(queue, LATER_DAY + ONE)
        entries = (await queue.read_log(after=0, limit=99)).entries
        ends = [one.action for one in entries if one.submission_id == ids[State.RELEASED]]
        assert "removed" in ends
        assert "withdrawn" not in ends, "once"


@pytest.mark.parametrize("kind", [Verdict.RELEASE, Verdict.POST, Verdict.ANSWER])
async def test_what_is_lost_is_decided_only_by_somebody_who_says_so(
    tmp_path: Path, kind: Verdict
) -> None:
    async with opened(tmp_path / "queue.sqlite") as queue:
        ids = await live(queue)
        copy = await copy_queue(tmp_path / "queue.sqlite", today=DAY)
    async with await again(copy, tmp_path / "again.sqlite") as queue:
        one = said(_number(State.LEASED), ids[State.LEASED], kind)
        with pytest.raises(HeldAfterRestore, match=f"a copy of {DAY}"):
            await queue.decide(one, bearer=ALICE, today=LATER_DAY)
        found = await queue.find(receipt(_number(State.LEASED)))
        assert found is not None
        assert found.state is State.LOST
        assert await queue.decide(one, bearer=BERTA, today=LATER_DAY, after_restore=True)
        assert not await queue.decide(one, bearer=ALICE, today=LATER_DAY)
        found = await queue.find(receipt(_number(State.LEASED)))
        assert found is not None
        assert found.state in {State.RELEASED, State.POSTED, State.ANSWERED}
        handout = await queue.lease(ALICE, today=LATER_DAY, include_today=True)
        assert ids[State.LEASED] not in handout.lost
        if kind not in LATER:
            standing = await queue.withdraw(receipt(_number(State.LEASED)), today=LATER_DAY)
            assert standing is not None
            assert standing.take_down, "as what was released else"


async def test_a_return_of_what_is_lost_harms_nobody(tmp_path: Path) -> None:
    async with opened(tmp_path / "queue.sqlite") as queue:
        ids = await live(queue)
        copy = await copy_queue(tmp_path / "queue.sqlite", today=DAY)
    async with await again(copy, tmp_path / "again.sqlite") as queue:
        one = said(_number(State.SEALED), ids[State.SEALED], Verdict.RETURN)
        assert await queue.decide(one, bearer=BERTA, today=LATER_DAY)
        found = await queue.find(receipt(_number(State.SEALED)))
        assert found is not None
        assert (found.state, found.return_reason) == (State.RETURNED, Reason.FACE_VISIBLE)


async def test_a_post_may_be_said_to_be_gone_although_nobody_is_known_to_have_asked(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path / "queue.sqlite") as queue:
        ids = await live(queue)
        removed = said(_number(State.POSTED), ids[State.POSTED], Verdict.REMOVE)
        with pytest.raises(NothingThere, match="Nobody has asked"):
            await queue.decide(removed, bearer=ALICE, today=DAY)
        copy = await copy_queue(tmp_path / "queue.sqlite", today=DAY)
    async with await again(copy, tmp_path / "again.sqlite") as queue:
        assert await queue.decide(removed, bearer=ALICE, today=LATER_DAY)
        assert await queue.find(receipt(_number(State.POSTED))) is None


async def test_a_restore_is_told_until_nothing_from_before_is_known(tmp_path: Path) -> None:
    async with opened(tmp_path / "queue.sqlite") as queue:
        await live(queue)
        copy = await copy_queue(tmp_path / "queue.sqlite", today=DAY)
    async with await again(copy, tmp_path / "again.sqlite") as queue:
        await turn(queue, LATER_DAY + RETAIN * ONE)
        assert await queue.find(receipt(99)) is not None
        assert await queue.restorations() != ()
        await turn(queue, LATER_DAY + (RETAIN + 1) * ONE)
        assert await queue.find(receipt(99)) is None, "lost is forgotten as what is gone"
        assert await queue.restorations() == ()
        handout = await queue.lease(ALICE, today=LATER_DAY, include_today=True)
        assert (handout.lost, handout.restorations) == ((), ())


async def test_what_was_restored_twice_tells_both(tmp_path: Path) -> None:
    async with opened(tmp_path / "queue.sqlite") as queue:
        await live(queue)
        first = await copy_queue(tmp_path / "queue.sqlite", today=DAY)
    async with await again(first, tmp_path / "again.sqlite"):
        second = await copy_queue(tmp_path / "again.sqlite", today=LATER_DAY)
    async with await again(second, tmp_path / "third.sqlite") as queue:
        assert [one.copied for one in await queue.restorations()] == [DAY, LATER_DAY]
        actions = [one.action for one in (await queue.read_log(after=0, limit=99)).entries]
        assert actions.count("restored") == 2


async def test_a_copy_that_was_changed_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path / "queue.sqlite") as queue:
        await live(queue)
        copy = await copy_queue(tmp_path / "queue.sqlite", today=DAY)
    fields = json.loads(copy.encode())

    def changed(**change: object) -> bytes:
        return json.dumps(fields | change).encode()

    row, entry = fields["submission"][0], fields["log"][0]
    for text in (
        b"",
        b"[]",
        changed(version=2),
        changed(more=1),
        changed(day="yesterday"),
        changed(day=dt.datetime.now(dt.UTC).isoformat()),
        changed(submission=[row | {"state": "sold"}]),
        changed(submission=[row | {"id": 1}]),
        changed(submission=[row | {"take_down": 1}]),
        changed(submission=[row | {"clock": "12:00"}]),
        changed(log=fields["log"][1:]),
        changed(log=[entry | {"day": "2026-03-18"}, *fields["log"][1:]]),
        changed(marker={"restored": {"days": [["2026-03-19"]]}}),
        changed(marker={"base": {"seq": 5, "hash": "00" * 32}}),
    ):
        with pytest.raises(Corrupt):
            QueueCopy.decode(text)
    assert QueueCopy.decode(changed()) == copy
    assert dataclasses.replace(copy, day=LATER_DAY) != copy


async def test_no_queue_and_one_of_another_version_are_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="there is no queue here yet"):
        await copy_queue(tmp_path / "queue.sqlite", today=DAY)
    (tmp_path / "queue.sqlite").touch()
    with pytest.raises(ConfigInvalid, match="of version 0"):
        await copy_queue(tmp_path / "queue.sqlite", today=DAY)


async def test_what_a_killed_relay_has_left_is_copied_whole(tmp_path: Path) -> None:
    place = tmp_path / "queue.sqlite"
    (tmp_path / "killed").mkdir()
    async with opened(place) as queue:
        await live(queue)
        for name in ("queue.sqlite", "queue.sqlite-wal"):  # as they lie at this moment
            shutil.copy(tmp_path / name, tmp_path / "killed" / name)
        expected = await copy_queue(place, today=DAY)
    assert (tmp_path / "killed/queue.sqlite-wal").stat().st_size > 0
    assert await copy_queue(tmp_path / "killed/queue.sqlite", today=DAY) == expected
