"""A relay that lies to the desk: answers made up here, checked by the real code."""

import dataclasses
import datetime as dt
import errno
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relay.desk.audit import audit, remember
from relay.desk.decide import hand_over, make_decision, refuse_lost, sign
from relay.desk.free import free
from relay.desk.journal import JournalFile
from relay.desk.manifest import NAME, Manifest, SignedManifest, learn, read_manifest
from relay.desk.pull import pull
from relay.desk.verdict_file import VerdictFile, add_verdicts
from relay.errors import (
    Corrupt,
    HeldAfterRestore,
    LockedByColleague,
    NothingThere,
    RelayError,
    RelayUnreachable,
)
from relay.queue.chain import Checkpoint, Head, LogEntry, next_hash
from relay.queue.states import ACTIONS, Reason, Verdict
from relay.queue.verdicts import Decision, SignedVerdict
from relay.seal import signing
from relay.seal.signing import SigningIdentity

ME, COLLEAGUE, STRANGER = (SigningIdentity.generate() for _ in range(3))
KNOWN = {ME.signer().encoded, COLLEAGUE.signer().encoded}
ONE, TWO = "11" * 16, "22" * 16
SEALED = {ONE: b"first", TWO: b"second"}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def lease(submission_id: str, envelope: str) -> dict[str, str]:
    return {"id": submission_id, "day": "2026-03-19", "envelope": envelope}


def release(desk: JournalFile) -> SignedVerdict:
    return sign(ME, make_decision(desk.read(), ONE, Verdict.RELEASE, None))


class LyingRelay:
    """Stands where the client would: answers what a test wants it to."""

    def __init__(self) -> None:
        self.handout: dict[str, Any] = {
            "campaign": "demo",
            "leases": [lease(i, digest(s)) for i, s in SEALED.items()],
            "gone": [],
            "take_down": [],
        }
        self.envelopes: dict[str, Any] = dict(SEALED)
        self.verdict: Any = {"already": False}
        self.freed: Any = {"freed": []}
        self.log: dict[str, Any] = {}
        self.vouched: list[Any] = []

    async def ask(self, _: str, path: str, question: Any = None) -> Any:
        answers = {
            "/desk/v1/lease": self.handout,
            "/desk/v1/verdict": self.verdict,
            "/desk/v1/free": self.freed,
        }
        if path.startswith("/desk/v1/log"):
            after = int(path.partition("=")[2])
            page = [entry for entry in self.log["entries"] if entry["seq"] > after]
            return self.log | {"entries": page}
        if path == "/desk/v1/checkpoint":
            self.vouched.append(question)
            return {}
        answer = answers[path]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def fetch(self, _: str, path: str) -> bytes:
        sealed = self.envelopes[path.rpartition("/")[2]]
        if isinstance(sealed, Exception):
            raise sealed
        return bytes(sealed)


@pytest.fixture
def relay() -> Any:
    return LyingRelay()


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Makes a file refuse to be written, for root as well."""
    refused: list[Path] = []
    plain = Path.open

    def refuse(path: Path, *arguments: Any, **named: Any) -> Any:
        if path in refused:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return plain(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", refuse)
    return refused.append


@pytest.fixture
def desk(tmp_path: Path) -> JournalFile:
    return JournalFile(tmp_path)


# -- pull -----------------------------------------------------------------------------------------


async def test_an_exchanged_submission_is_not_taken(relay: Any, desk: JournalFile) -> None:
    to = desk.folder / "sealed"
    await pull(relay, desk, ME, to)
    relay.handout["leases"][0]["envelope"] = digest(b"other")
    relay.envelopes[ONE] = b"other"
    pulled = await pull(relay, desk, ME, to)
    assert "exchanged" in pulled.failed[ONE].message
    assert (to / f"{ONE}.age").read_bytes() == b"first"
    assert desk.read().envelopes[ONE] == digest(b"first")


async def test_gone_does_not_make_room_for_another(relay: Any, desk: JournalFile) -> None:
    to = desk.folder / "sealed"
    await pull(relay, desk, ME, to)
    waiting = [lease(ONE, digest(b"other"))]
    relay.handout |= {"gone": [ONE], "leases": waiting}
    with pytest.raises(Corrupt, match="waits and that it is gone"):
        await pull(relay, desk, ME, to)
    relay.handout |= {"leases": []}
    await pull(relay, desk, ME, to)
    relay.handout |= {"gone": [], "leases": waiting}
    relay.envelopes[ONE] = b"other"
    assert "exchanged" in (await pull(relay, desk, ME, to)).failed[ONE].message


async def test_a_release_without_an_answer_does_not_keep_what_was_taken_back(
    relay: Any, desk: JournalFile
) -> None:
    to = desk.folder / "sealed"
    await pull(relay, desk, ME, to)
    relay.verdict = RelayUnreachable()
    with pytest.raises(RelayUnreachable):
        await hand_over(relay, desk, release(desk))
    relay.handout |= {"gone": [ONE], "leases": []}
    assert (await pull(relay, desk, ME, to)).destroyed == [ONE]


async def test_one_that_fails_does_not_keep_back_the_others(relay: Any, desk: JournalFile) -> None:
    to = desk.folder / "sealed"
    relay.envelopes[ONE] = b"damaged on the way"
    pulled = await pull(relay, desk, ME, to)
    assert list(pulled.failed) == [ONE]
    assert pulled.fetched == [TWO]
    assert [file.name for file in to.glob("*.age")] == [f"{TWO}.age"]
    relay.envelopes[ONE] = NothingThere()  # taken back between lease and fetch
    pulled = await pull(relay, desk, ME, to)
    assert (pulled.failed, pulled.present) == ({}, [TWO])


async def test_what_lies_there_is_signed_for_though_the_relay_falls_silent(
    relay: Any, desk: JournalFile
) -> None:
    to = desk.folder / "sealed"
    await pull(relay, desk, ME, to)
    (to / f"{ONE}.age").unlink()
    relay.envelopes[ONE] = RelayUnreachable()
    assert list((await pull(relay, desk, ME, to)).failed) == [ONE]
    signed = read_manifest(to, lambda _: True)
    assert signed is not None
    assert [listed.id for listed in signed.manifest.envelopes] == [TWO]


async def test_where_no_manifest_can_be_written_none_is_left_that_is_wrong(
    relay: Any, desk: JournalFile
) -> None:
    to = desk.folder / "sealed"
    await pull(relay, desk, ME, to)
    (to / f".{NAME}.part").mkdir()  # in the way
    relay.handout |= {"gone": [ONE], "leases": [lease(TWO, digest(b"second"))]}
    pulled = await pull(relay, desk, ME, to)
    assert pulled.destroyed == [ONE]
    assert list(pulled.failed) == [NAME]
    assert not (to / f"{ONE}.age").exists()
    assert not (to / NAME).exists()


async def test_what_lies_on_a_stick_does_not_end_the_pull(relay: Any, desk: JournalFile) -> None:
    to = desk.folder / "sealed"
    (to / f"{ONE}.age").mkdir(parents=True)
    (to / f"{TWO}.age").symlink_to("/dev/zero")
    pulled = await pull(relay, desk, ME, to)
    assert "a folder is in the way" in pulled.failed[ONE].message
    assert pulled.fetched == [TWO]


async def test_another_colleagues_stick_is_not_pulled_into(relay: Any, desk: JournalFile) -> None:
    stick = desk.folder / "stick"
    await pull(relay, desk, ME, stick)
    with pytest.raises(LockedByColleague, match="another colleague's stick"):
        await pull(relay, JournalFile(desk.folder / "hers"), COLLEAGUE, stick)
    (stick / NAME).write_bytes(b"damaged")
    assert (await pull(relay, desk, ME, stick)).present == [ONE, TWO]


async def test_what_was_taken_back_is_not_fetched_again(relay: Any, desk: JournalFile) -> None:
    to = desk.folder / "sealed"
    await pull(relay, desk, ME, to)
    relay.handout |= {"gone": [ONE], "leases": []}
    await pull(relay, desk, ME, to)
    relay.handout |= {"gone": [], "leases": [lease(ONE, digest(b"first"))]}
    assert "offers again" in (await pull(relay, desk, ME, to)).failed[ONE].message
    assert not (to / f"{ONE}.age").exists()
    with pytest.raises(NothingThere, match="taken it back"):
        make_decision(desk.read(), ONE, Verdict.RELEASE, None)


async def test_another_campaign_is_an_alarm(relay: Any, desk: JournalFile) -> None:
    await pull(relay, desk, ME, desk.folder / "sealed")
    relay.handout["campaign"] = "other"
    with pytest.raises(Corrupt, match="another campaign"):
        await pull(relay, desk, ME, desk.folder / "sealed")


async def test_what_a_colleague_released_and_its_sender_wants_gone_is_said_too(
    relay: Any, desk: JournalFile
) -> None:
    """Hers may be the laptop that was lost, and then nobody else would hear of it."""
    relay.handout |= {"take_down": [TWO], "leases": []}
    pulled = await pull(relay, desk, ME, desk.folder / "sealed")
    assert (pulled.take_down, pulled.of_colleagues) == ([], [TWO])
    assert desk.read().take_down == []


async def test_gone_destroys_nothing_that_was_released(relay: Any, desk: JournalFile) -> None:
    to = desk.folder / "sealed"
    await pull(relay, desk, ME, to)
    decision = release(desk)
    await hand_over(relay, desk, decision)
    relay.handout |= {"gone": [ONE, TWO], "take_down": [ONE], "leases": []}
    pulled = await pull(relay, desk, ME, to)
    assert pulled.destroyed == [TWO]
    assert pulled.disputed == [ONE]
    assert pulled.take_down == [ONE]
    assert pulled.of_colleagues == []
    assert [file.name for file in to.glob("*.age")] == [f"{ONE}.age"]


async def test_every_sealed_copy_is_destroyed_wherever_it_was_pulled_to(
    relay: Any, desk: JournalFile
) -> None:
    for name in ("a", "b", "c/d"):
        await pull(relay, desk, ME, desk.folder / name)
    assert (desk.folder / "c").stat().st_mode & 0o777 == 0o700
    (desk.folder / "a" / f".{ONE}.age.part").write_bytes(b"killed while it was written")
    relay.handout |= {"gone": [ONE], "leases": []}
    await pull(relay, desk, ME, desk.folder / "elsewhere")
    assert not list(desk.folder.rglob(f"*{ONE}.age*"))
    assert len(list(desk.folder.rglob(f"{TWO}.age"))) == 3


async def test_a_link_in_the_place_of_a_copy_is_not_followed(relay: Any, desk: JournalFile) -> None:
    await pull(relay, desk, ME, desk.folder / "sealed")
    victim = desk.folder / "victim"
    victim.mkdir()
    (victim / "photo.jpg").write_bytes(b"mine")
    with desk.update() as journal:
        journal.opened[ONE] = {str(desk.folder / "opened"): digest(b"first")}
    (desk.folder / "opened").symlink_to(victim)
    (desk.folder / "sealed" / f"{ONE}.age").unlink()
    (desk.folder / "sealed" / f"{ONE}.age").symlink_to(victim / "photo.jpg")
    relay.handout |= {"gone": [ONE], "leases": []}
    await pull(relay, desk, ME, desk.folder / "sealed")
    assert (victim / "photo.jpg").read_bytes() == b"mine"


async def test_what_a_killed_open_left_of_it_is_destroyed(relay: Any, desk: JournalFile) -> None:
    part = desk.folder / "opened" / f".{ONE}.part"
    part.mkdir(parents=True)
    for name in ("photo.jpg", "submission.json", ".photo.jpg.part", ".submission.json.part"):
        (part / name).write_bytes(b"in clear")
    with desk.update() as journal:
        journal.opened[ONE] = {str(desk.folder / "opened" / ONE): digest(b"first")}
    relay.handout |= {"gone": [ONE], "leases": []}
    assert (await pull(relay, desk, ME, desk.folder / "sealed")).destroyed == [ONE]
    assert not part.exists()


async def test_one_copy_that_can_not_be_destroyed_keeps_no_other_back(
    relay: Any, desk: JournalFile, read_only: Callable[[Path], None]
) -> None:
    to = desk.folder / "sealed"
    for folder in (to, desk.folder / "other"):
        await pull(relay, desk, ME, folder)
    stuck = desk.folder / "other" / f"{ONE}.age"
    read_only(stuck)
    relay.handout |= {"gone": [ONE, TWO], "leases": []}
    pulled = await pull(relay, desk, ME, to)
    assert pulled.destroyed == [ONE, TWO]
    assert pulled.undestroyed.keys() == {str(stuck)}
    assert list(desk.folder.rglob("*.age")) == [stuck]
    assert desk.read().sealed == {ONE: [str(stuck)]}, "tried again with the next pull"


async def test_a_copy_on_a_drive_that_is_away_is_destroyed_when_it_is_back(
    relay: Any, desk: JournalFile
) -> None:
    stick, away = desk.folder / "stick", desk.folder / "away"
    await pull(relay, desk, ME, stick)
    stick.rename(away)
    relay.handout |= {"gone": [ONE], "leases": []}
    await pull(relay, desk, ME, desk.folder / "sealed")
    away.rename(stick)
    assert (await pull(relay, desk, ME, desk.folder / "sealed")).destroyed == [ONE]
    assert not (stick / f"{ONE}.age").exists()
    assert ONE not in desk.read().sealed


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        "x",
        {},
        {"campaign": "demo", "leases": [lease("../x", "00" * 32)], "gone": [], "take_down": []},
        {"campaign": "demo", "leases": [], "gone": ["../../etc"], "take_down": []},
        {"campaign": "demo", "leases": [lease(ONE, "zz")], "gone": [], "take_down": []},
        {
            "campaign": "demo",
            "leases": [lease(ONE, "00" * 32) | {"day": "soon"}],
            "gone": [],
            "take_down": [],
        },
        {"campaign": "demo", "leases": 7, "gone": [], "take_down": []},
    ],
)
async def test_an_answer_of_another_form_is_refused_and_writes_nothing(
    relay: Any, desk: JournalFile, answer: Any
) -> None:
    relay.handout = answer
    with pytest.raises(Corrupt):
        await pull(relay, desk, ME, desk.folder / "sealed")
    assert not (desk.folder / "sealed").exists()


@pytest.mark.parametrize("answer", [None, [], {}, {"freed": 7}, {"freed": ["\x1b[31m"]}])
async def test_an_answer_about_freed_leases_of_another_form_is_refused(
    relay: Any, answer: Any
) -> None:
    relay.freed = answer
    with pytest.raises(Corrupt):
        await free(relay, COLLEAGUE.signer().encoded)


# -- verdicts -------------------------------------------------------------------------------------


async def test_a_verdict_is_remembered_before_it_is_sent(relay: Any, desk: JournalFile) -> None:
    await pull(relay, desk, ME, desk.folder / "sealed")
    decision = release(desk)
    for lost in (RelayUnreachable(), [], None, "x", {"already": "yes"}):
        relay.verdict = lost
        with pytest.raises(RelayUnreachable):
            await hand_over(relay, desk, decision)
        assert desk.read().verdicts.sent == {ONE: "release"}, "the relay may have acted"
        assert desk.read().verdicts.awaited == {}
    relay.verdict = NothingThere()
    with pytest.raises(NothingThere):
        await hand_over(relay, desk, decision)
    relay.verdict = {"already": False}
    await hand_over(relay, desk, decision)
    assert desk.read().verdicts.awaited == {ONE: "release"}


async def test_a_refusal_does_not_forget_a_release_that_was_sent_before(
    relay: Any, desk: JournalFile
) -> None:
    """The release was carried out and its answer lost: its post may have to be taken down."""
    await pull(relay, desk, ME, desk.folder / "sealed")
    relay.verdict = RelayUnreachable()
    with pytest.raises(RelayUnreachable):
        await hand_over(
            relay, desk, sign(ME, make_decision(desk.read(), ONE, Verdict.RELEASE, None))
        )
    relay.verdict = NothingThere("It was released before.")  # or, to the same: long ago
    for verdict in (Verdict.RETURN, Verdict.RETURN, Verdict.RELEASE, Verdict.RELEASE):
        reason = Reason.OTHER if verdict is Verdict.RETURN else None
        decision = make_decision(desk.read(), ONE, verdict, reason)
        with pytest.raises(NothingThere):
            await hand_over(relay, desk, sign(ME, decision))
        assert desk.read().verdicts.sent == {ONE: "release"}
    relay.handout |= {"take_down": [ONE], "leases": []}
    assert (await pull(relay, desk, ME, desk.folder / "sealed")).take_down == [ONE]


async def test_opposite_verdicts_are_not_both_signed_though_two_ask_at_once(
    relay: Any, desk: JournalFile
) -> None:
    """Each was allowed before the other was signed."""
    await pull(relay, desk, ME, desk.folder / "sealed")
    released = make_decision(desk.read(), ONE, Verdict.RELEASE, None)
    returned = make_decision(desk.read(), ONE, Verdict.RETURN, Reason.OTHER)
    assert add_verdicts(desk.folder / "a", desk, ME, [released]).added == [ONE]
    assert "It stands" in add_verdicts(desk.folder / "b", desk, ME, [returned]).refused[ONE].message
    with desk.update() as journal:
        journal.verdicts.signed.clear()
        journal.verdicts.sent[ONE] = "release"
    assert "It stands" in add_verdicts(desk.folder / "b", desk, ME, [returned]).refused[ONE].message
    with desk.update() as journal:
        journal.lose([ONE])
    assert (
        "taken it back"
        in add_verdicts(desk.folder / "b", desk, ME, [released]).refused[ONE].message
    )
    assert not (desk.folder / "b").exists()


async def test_a_colleagues_older_stick_does_not_wipe_requests_to_take_down(
    relay: Any, desk: JournalFile
) -> None:
    await pull(relay, desk, ME, desk.folder / "sealed")
    await hand_over(relay, desk, release(desk))
    relay.handout |= {"take_down": [ONE], "leases": []}
    await pull(relay, desk, ME, desk.folder / "sealed")
    today = dt.date(2026, 3, 19)
    hers = Manifest(campaign="demo", number=9, day=today, envelopes=(), gone=(), take_down=())
    with desk.update() as journal:
        learn(journal, SignedManifest(manifest=hers, signer=COLLEAGUE.signer().encoded))
    assert desk.read().take_down == [ONE]
    relay.handout |= {"take_down": []}
    assert (await pull(relay, desk, ME, desk.folder / "sealed")).take_down == [ONE], "it forgot"
    with desk.update() as journal:
        journal.lose([ONE])
    assert (await pull(relay, desk, ME, desk.folder / "sealed")).take_down == []


# -- the log --------------------------------------------------------------------------------------


def signed(
    who: SigningIdentity,
    submission_id: str = ONE,
    verdict: Verdict = Verdict.RELEASE,
    campaign: str = "demo",
    sealed: bytes = b"first",
) -> dict[str, Any]:
    decision = Decision(
        campaign=campaign,
        id=bytes.fromhex(submission_id),
        envelope_sha256=hashlib.sha256(sealed).digest(),
        verdict=verdict,
        reason=Reason.OTHER if verdict is Verdict.RETURN else None,
    )
    statement = decision.statement()
    return {
        "action": ACTIONS[verdict],
        "id": submission_id,
        "envelope": decision.envelope_sha256.hex(),
        "signer": who.signer().encoded,
        "statement": statement,
        "signature": who.sign(signing.VERDICT, statement.encode()),
    }


ARRIVED = {
    "action": "arrived",
    "id": ONE,
    "envelope": digest(b"first"),
    "signer": None,
    "statement": None,
    "signature": None,
}


def chained(lines: list[dict[str, Any]], base: Head | None = None) -> dict[str, Any]:
    """A log whose hashes are right, whatever its entries say."""
    base = base or Head()
    head, entries = base.hash, []
    for seq, line in enumerate(lines, start=base.seq + 1):
        fields = line | {"seq": seq, "day": "2026-03-19", "hash": "00" * 32}
        entry = LogEntry.from_json(fields)
        head = next_hash(head, entry)
        entries.append(dataclasses.replace(entry, hash=head).to_json())
    return {
        "campaign": "demo",
        "base": {"seq": base.seq, "hash": base.hash.hex()},
        "checkpoint": None,
        "entries": entries,
    }


def vouched(who: SigningIdentity, log: dict[str, Any]) -> dict[str, Any]:
    """The log with a checkpoint over its newest entry."""
    last = log["entries"][-1]
    head = Head(seq=last["seq"], hash=bytes.fromhex(last["hash"]))
    signature = who.sign(signing.CHECKPOINT, head.statement("demo").encode())
    checkpoint = Checkpoint(head=head, signer=who.signer().encoded, signature=signature)
    return log | {"checkpoint": checkpoint.to_json()}


async def verify(relay: Any, desk: JournalFile, log: dict[str, Any]) -> None:
    relay.log = log
    checked = await audit(relay, desk.read(), ME, KNOWN)
    with desk.update() as journal:
        remember(journal, checked)


async def test_an_honest_log_is_accepted_and_vouched_for(relay: Any, desk: JournalFile) -> None:
    log = chained([ARRIVED, signed(COLLEAGUE)])
    await verify(relay, desk, log)
    assert desk.read().log_seq == 2
    assert [checkpoint["seq"] for checkpoint in relay.vouched] == [2]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([signed(STRANGER)], "does not know"),
        ([signed(COLLEAGUE, campaign="other")], "something else"),
        ([signed(COLLEAGUE), signed(COLLEAGUE, verdict=Verdict.RETURN)], "second time"),
        ([signed(COLLEAGUE), signed(COLLEAGUE)], "second time"),
        ([signed(COLLEAGUE) | {"action": "returned"}], "something else"),
        ([signed(COLLEAGUE, verdict=Verdict.POST)], "nobody released"),
        ([signed(COLLEAGUE), *[signed(ME, verdict=Verdict.POST)] * 2], "second time"),
        (
            [signed(ME, verdict=v) for v in (Verdict.RELEASE, Verdict.POST, Verdict.ANSWER)],
            "second time",
        ),
        (
            [signed(ME, verdict=v) for v in (Verdict.RELEASE, Verdict.REMOVE, Verdict.POST)],
            "second time",
        ),
        ([signed(ME, verdict=Verdict.RETURN), signed(ME, verdict=Verdict.POST)], "second time"),
        ([signed(COLLEAGUE), signed(STRANGER, verdict=Verdict.POST)], "does not know"),
        ([signed(COLLEAGUE) | {"id": "33" * 16}], "something else"),
        ([signed(COLLEAGUE) | {"signature": None}], "does not match"),
        ([signed(COLLEAGUE) | {"statement": None}], "does not match"),
        ([signed(COLLEAGUE) | {"signer": None}], "nobody signed"),
        ([signed(COLLEAGUE) | {"signer": ME.signer().encoded}], "does not match"),
        ([signed(COLLEAGUE) | {"statement": "\ud800"}], "does not match"),
        ([signed(COLLEAGUE, sealed=b"other")], "another envelope"),
    ],
)
async def test_a_forged_verdict_is_found_and_not_vouched_for(
    relay: Any, desk: JournalFile, lines: list[dict[str, Any]], words: str
) -> None:
    await pull(relay, desk, ME, desk.folder / "sealed")
    with pytest.raises(Corrupt, match=words):
        await verify(relay, desk, chained(lines))
    assert relay.vouched == []
    assert desk.read().log_seq == 0


async def test_a_colleague_who_has_left_does_not_break_the_log_that_was_verified(
    relay: Any, desk: JournalFile
) -> None:
    log = chained([ARRIVED, signed(COLLEAGUE)])
    await verify(relay, desk, log)
    relay.log = log
    alone = {ME.signer().encoded}
    assert (await audit(relay, desk.read(), ME, alone)).entries == []
    relay.log = chained([ARRIVED, signed(COLLEAGUE), signed(COLLEAGUE, TWO, sealed=b"second")])
    with pytest.raises(Corrupt, match="entry 3: signed by"):
        await audit(relay, desk.read(), ME, alone)


@pytest.mark.parametrize("already", [True, False])
async def test_a_verdict_that_was_confirmed_must_stand_in_the_log(
    relay: Any, desk: JournalFile, *, already: bool
) -> None:
    await pull(relay, desk, ME, desk.folder / "sealed")
    relay.verdict = {"already": already}
    await hand_over(relay, desk, release(desk))
    for lines in ([], [ARRIVED], [signed(COLLEAGUE, verdict=Verdict.RETURN)]):
        with pytest.raises(Corrupt, match="lacks the verdict"):
            await verify(relay, desk, chained(lines))
    await verify(relay, desk, chained([signed(ME)]))
    assert desk.read().verdicts.awaited == {}


async def test_what_is_gone_from_the_log_must_be_vouched_for_by_somebody_known(
    relay: Any, desk: JournalFile
) -> None:
    await pull(relay, desk, ME, desk.folder / "sealed")
    await hand_over(relay, desk, release(desk))
    later = chained([ARRIVED | {"id": TWO, "envelope": digest(b"second")}], Head(seq=50))
    for log, words in (
        (later, "nobody vouches"),
        (vouched(STRANGER, later), "does not know"),
        (vouched(COLLEAGUE, later) | {"base": {"seq": 49, "hash": "11" * 32}}, "jumps"),
    ):
        with pytest.raises(Corrupt, match=words):
            await verify(relay, desk, log)
    assert relay.vouched == []
    await verify(relay, desk, vouched(COLLEAGUE, later))
    assert desk.read().verdicts.awaited == {}, "older than what is kept"
    assert desk.read().log_seq == 51


async def test_a_verdict_that_stood_before_may_be_older_than_what_is_kept(
    relay: Any, desk: JournalFile
) -> None:
    """A colleague released it, this desk saw that, the entry went, and only the row was left."""
    await pull(relay, desk, ME, desk.folder / "sealed")
    whole = chained([signed(COLLEAGUE), ARRIVED, ARRIVED])
    await verify(relay, desk, whole)
    first, *rest = whole["entries"]
    kept = whole | {"base": {"seq": 1, "hash": first["hash"]}, "entries": rest}
    relay.verdict = {"already": True}
    await hand_over(relay, desk, sign(ME, make_decision(desk.read(), ONE, Verdict.RELEASE, None)))
    await verify(relay, desk, kept)
    relay.verdict = {"already": False}
    await hand_over(relay, desk, sign(ME, make_decision(desk.read(), TWO, Verdict.RELEASE, None)))
    with pytest.raises(Corrupt, match="lacks the verdict"):
        await verify(relay, desk, kept)  # it is newer than anything that this desk has seen


def said(desk: JournalFile, verdict: Verdict, submission_id: str = ONE) -> SignedVerdict:
    return sign(ME, make_decision(desk.read(), submission_id, verdict, None))


@pytest.mark.parametrize("already", [True, False])
@pytest.mark.parametrize("verdict", [Verdict.POST, Verdict.ANSWER])
async def test_what_became_of_a_release_stands_beside_it_in_the_journal_and_the_log(
    relay: Any, desk: JournalFile, verdict: Verdict, *, already: bool
) -> None:
    await pull(relay, desk, ME, desk.folder / "sealed")
    await hand_over(relay, desk, release(desk))
    relay.verdict = RelayUnreachable()
    with pytest.raises(RelayUnreachable):
        await hand_over(relay, desk, said(desk, verdict))
    assert desk.read().verdicts.said_later(ONE) == {verdict: "sent"}
    relay.verdict = {"already": already}
    await hand_over(relay, desk, said(desk, verdict))
    journal = desk.read()
    assert journal.verdicts.confirmed == {ONE: "release"}
    assert journal.verdicts.awaited == {ONE: "release"}
    assert journal.verdicts.said_later(ONE) == {verdict: "confirmed"}
    with pytest.raises(Corrupt, match=f"lacks that {ONE} was {ACTIONS[verdict]}"):
        await verify(relay, desk, chained([signed(ME)]))
    with pytest.raises(Corrupt, match="nobody released"):
        await verify(relay, desk, chained([signed(ME, verdict=verdict)]))
    await verify(relay, desk, chained([signed(ME), signed(ME, verdict=verdict)]))
    assert (desk.read().verdicts.awaited, desk.read().verdicts.expected) == ({}, {})
    relay.verdict = {"already": True}
    assert (await hand_over(relay, desk, said(desk, verdict))).already
    assert desk.read().verdicts.expected == {}, "it was seen in the log"


async def test_a_refusal_forgets_what_was_sent_and_not_what_was_confirmed(
    relay: Any, desk: JournalFile
) -> None:
    await pull(relay, desk, ME, desk.folder / "sealed")
    relay.verdict = NothingThere("It is not released.")
    with pytest.raises(NothingThere):
        await hand_over(relay, desk, said(desk, Verdict.POST))
    assert desk.read().verdicts.later == {}
    for answer, refusal in ((RelayUnreachable(), RelayUnreachable), (NothingThere(), NothingThere)):
        relay.verdict = answer
        with pytest.raises(refusal):
            await hand_over(relay, desk, said(desk, Verdict.POST))
        assert desk.read().verdicts.said_later(ONE) == {Verdict.POST: "sent"}, "it may have acted"
    relay.verdict = {"already": False}
    await hand_over(relay, desk, said(desk, Verdict.POST))
    relay.verdict = NothingThere("The relay knows no submission of this number.")
    with pytest.raises(NothingThere):
        await hand_over(relay, desk, said(desk, Verdict.POST))
    assert desk.read().verdicts.said_later(ONE) == {Verdict.POST: "confirmed"}


async def test_what_was_taken_down_leaves_no_copy_and_is_no_dispute(
    relay: Any, desk: JournalFile
) -> None:
    await pull(relay, desk, ME, desk.folder / "sealed")
    await hand_over(relay, desk, release(desk))
    await hand_over(relay, desk, said(desk, Verdict.POST))
    relay.handout |= {"take_down": [ONE], "leases": []}
    await pull(relay, desk, ME, desk.folder / "sealed")
    assert (desk.folder / "sealed" / f"{ONE}.age").exists()
    decided = await hand_over(relay, desk, said(desk, Verdict.REMOVE))
    assert not (desk.folder / "sealed" / f"{ONE}.age").exists()
    assert decided.destruction.destroyed == [ONE]
    relay.handout |= {"take_down": [], "gone": [ONE]}
    assert (await pull(relay, desk, ME, desk.folder / "sealed")).disputed == []
    relay.verdict = {"already": True}
    assert (await hand_over(relay, desk, said(desk, Verdict.REMOVE))).already


async def test_that_a_colleague_took_it_down_is_believed_once_the_log_shows_it(
    relay: Any, desk: JournalFile
) -> None:
    await pull(relay, desk, ME, desk.folder / "sealed")
    await hand_over(relay, desk, release(desk))
    relay.handout |= {"gone": [ONE], "leases": []}
    assert (await pull(relay, desk, ME, desk.folder / "sealed")).disputed == [ONE]
    await verify(relay, desk, chained([signed(ME), signed(COLLEAGUE, verdict=Verdict.REMOVE)]))
    pulled = await pull(relay, desk, ME, desk.folder / "sealed")
    assert (pulled.disputed, pulled.destroyed) == ([], [ONE])


async def test_what_became_of_it_is_not_carried_on_a_stick(relay: Any, desk: JournalFile) -> None:
    await pull(relay, desk, ME, desk.folder / "sealed")
    decision = make_decision(desk.read(), ONE, Verdict.POST, None)
    file = VerdictFile(
        campaign="demo", signer=ME.signer().encoded, verdicts={ONE: sign(ME, decision)}
    )
    with pytest.raises(Corrupt, match="laptop that posts"):
        VerdictFile.parse(file.statement(), file.signer)


@pytest.mark.parametrize(
    "broken",
    [
        [],
        {},
        {"entries": []},
        {"campaign": "demo", "base": {"seq": float("inf"), "hash": ""}, "checkpoint": None},
        {"campaign": "demo", "base": {"seq": 0, "hash": "00"}, "checkpoint": 7},
    ],
)
async def test_a_log_of_another_form_is_refused(relay: Any, desk: JournalFile, broken: Any) -> None:
    relay.log = {"entries": []}
    if isinstance(broken, dict):
        relay.log |= broken
    else:
        relay.log = {"entries": broken}
    with pytest.raises(Corrupt):
        await audit(relay, desk.read(), ME, KNOWN)


# -- the journal ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"envelopes": []},
        {"envelopes": {"../x": "00" * 32}},
        {"envelopes": {ONE: 7}},
        {"opened": {ONE: ["x"]}},
        {"sealed": {ONE: [7]}},
        {"verdicts": None},
        {"verdicts": {"sent": {}, "confirmed": {}, "awaited": None}},
        {"verdicts": {"after": {ONE: "1"}}},
        {"verdicts": {"later": {ONE: {"release": "sent"}}}},
        {"verdicts": {"later": {ONE: {"post": "x"}}}},
        {"verdicts": {"later": {ONE: "post"}}},
        {"verdicts": {"expected": {ONE: {"post": -1}}}},
        {"verdicts": {"expected": {"x": {}}}},
        {"log_hash": "zz"},
        {"log_seq": None},
        {"campaign": None},
        {"more": 1},
        {"take_down": "x"},
        {"take_down": ["x"]},
        {"gone": {ONE: 1}},
        {"gone": [7]},
        {"pulls": -1},
        {"pulls": True},
        {"manifests": {"x": 1}},
        {"manifests": {ME.signer().encoded: "1"}},
        {"verdicts": {"sent": {}, "confirmed": {}, "awaited": {}, "signed": {ONE: "release"}}},
    ],
)
def test_a_journal_of_another_form_is_not_guessed_at(
    desk: JournalFile, change: dict[str, Any]
) -> None:
    with desk.update():
        pass
    path = desk.folder / "desk-journal.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(Corrupt, match="desk-journal"):
        desk.read()


def test_a_journal_that_can_not_be_read_is_not_called_damaged(desk: JournalFile) -> None:
    path = desk.folder / "desk-journal.json"
    path.mkdir()
    with pytest.raises(RelayError, match=r"Is a directory\. Don't delete it\.") as told:
        desk.read()
    assert not isinstance(told.value, Corrupt)
    path.rmdir()
    path.write_text("{")
    with pytest.raises(Corrupt, match="no longer knows where copies"):
        desk.read()


def test_a_journal_of_before_is_read(desk: JournalFile) -> None:
    """One that was written before there were manifests, and decisions on a stick."""
    with desk.update() as journal:
        journal.envelopes[ONE] = digest(b"first")
    path = desk.folder / "desk-journal.json"
    fields = json.loads(path.read_text())
    for name in ("take_down", "gone", "pulls", "manifests"):
        del fields[name]
    for name in ("signed", "later", "expected"):
        del fields["verdicts"][name]
    path.write_text(json.dumps(fields))
    assert desk.read().envelopes == {ONE: digest(b"first")}
    assert (desk.read().gone, desk.read().pulls, desk.read().verdicts.signed) == ([], 0, {})


# -- a relay that was restored, or says so --------------------------------------------------------


RESTORED = {
    "action": "restored",
    "id": "00" * 16,
    "envelope": "00" * 32,
    "signer": None,
    "statement": "2026-03-18",
    "signature": None,
}
LEASED = ARRIVED | {"action": "leased", "signer": ME.signer().encoded}
WITHDRAWN = ARRIVED | {"action": "withdrawn"}


async def accept(relay: Any, desk: JournalFile, log: dict[str, Any]) -> list[tuple[str, str]]:
    """As `verify`, after the operator has said that the relay was restored."""
    relay.log = log
    checked = await audit(relay, desk.read(), ME, KNOWN, after_restore=True)
    with desk.update() as journal:
        remember(journal, checked)
    return checked.missing


async def test_a_log_that_says_it_was_restored_is_believed_only_when_told_to(
    relay: Any, desk: JournalFile
) -> None:
    for before, after in (
        ([ARRIVED, LEASED, WITHDRAWN], [ARRIVED, LEASED, RESTORED]),  # as long as before
        ([ARRIVED, LEASED], [ARRIVED, LEASED, RESTORED]),  # it only goes on
        ([ARRIVED, LEASED, WITHDRAWN], [ARRIVED, RESTORED, LEASED, LEASED, LEASED]),
    ):
        (desk.folder / "desk-journal.json").unlink(missing_ok=True)
        await verify(relay, desk, chained(before[:1]))
        await verify(relay, desk, chained(before))
        with pytest.raises(Corrupt, match=r"a copy of 2026-03-18.*--after-restore"):
            await verify(relay, desk, chained(after))
        assert desk.read().log_seq == len(before)
        assert await accept(relay, desk, chained(after)) == []
        assert desk.read().log_seq == len(after)
        await verify(relay, desk, chained([*after, WITHDRAWN]))
        with pytest.raises(Corrupt, match="rolled back"):
            await accept(relay, desk, chained(after[:-1]))


async def test_that_it_was_restored_explains_nothing_else(relay: Any, desk: JournalFile) -> None:
    for lines in ([ARRIVED], [ARRIVED, LEASED], [ARRIVED, LEASED, WITHDRAWN]):
        await verify(relay, desk, chained(lines))
    journal = desk.read()
    for lines, words in (
        ([ARRIVED, LEASED], "rolled back"),  # and does not say so
        ([ARRIVED, LEASED, LEASED], "rolled back"),
        ([ARRIVED, LEASED, ARRIVED, RESTORED], "rolled back"),  # says it too late
        ([WITHDRAWN, LEASED, RESTORED], "rolled back"),  # a head before it was another
        ([ARRIVED, RESTORED, signed(STRANGER)], "does not know"),
        ([ARRIVED, RESTORED, signed(ME), signed(ME, verdict=Verdict.RETURN)], "second time"),
        (
            [ARRIVED, signed(ME, verdict=Verdict.RETURN), RESTORED, signed(COLLEAGUE)],
            "second time|rolled back",
        ),
    ):
        with pytest.raises(Corrupt, match=words):
            await accept(relay, desk, chained(lines))
    assert desk.read() == journal


async def test_what_was_lost_with_the_log_is_named_and_may_be_said_again(
    relay: Any, desk: JournalFile
) -> None:
    await pull(relay, desk, ME, desk.folder / "sealed")
    await verify(relay, desk, chained([ARRIVED]))
    await hand_over(relay, desk, release(desk))
    await hand_over(relay, desk, said(desk, Verdict.POST))
    full = chained([ARRIVED, signed(ME), signed(ME, verdict=Verdict.POST)])
    await verify(relay, desk, full)
    cut = [ARRIVED, RESTORED]
    missing = await accept(relay, desk, chained(cut))
    assert missing == [(ONE, Verdict.RELEASE), (ONE, Verdict.POST)]
    assert desk.read().verdicts.later == {ONE: {Verdict.POST: "sent"}}, "to be said by itself"
    await verify(relay, desk, chained(cut))
    await hand_over(relay, desk, release(desk), after_restore=True)
    with pytest.raises(Corrupt, match="lacks the verdict"):
        await verify(relay, desk, chained([*cut, LEASED]))
    await verify(relay, desk, chained([*cut, signed(ME)]))


async def test_a_verdict_said_again_must_stand_behind_the_restore(
    relay: Any, desk: JournalFile
) -> None:
    await pull(relay, desk, ME, desk.folder / "sealed")
    await hand_over(relay, desk, release(desk))
    before = [ARRIVED, signed(ME)]
    await verify(relay, desk, chained(before))
    assert await accept(relay, desk, chained([*before, RESTORED])) == []
    await hand_over(relay, desk, release(desk), after_restore=True)
    with pytest.raises(Corrupt, match="lacks the verdict"):
        await verify(relay, desk, chained([*before, RESTORED]))
    await verify(relay, desk, chained([*before, RESTORED, signed(ME)]))


async def test_copies_of_what_was_released_stay_until_the_restore_is_believed(
    relay: Any, desk: JournalFile
) -> None:
    to = desk.folder / "sealed"
    await pull(relay, desk, ME, to)
    await hand_over(relay, desk, release(desk))
    lease_of_two = relay.handout["leases"][1:]
    relay.handout |= {"leases": lease_of_two, "gone": [ONE], "lost": [ONE]}
    relay.handout["restored"] = [{"copied": "2026-03-18", "restored": "2026-03-19"}]
    pulled = await pull(relay, desk, ME, to)
    assert (pulled.disputed, pulled.destroyed) == ([ONE], [])
    assert (to / f"{ONE}.age").exists()
    await accept(relay, desk, chained([ARRIVED, RESTORED]))
    pulled = await pull(relay, desk, ME, to)
    assert (pulled.disputed, pulled.destroyed) == ([], [ONE])


@pytest.mark.parametrize(
    "change",
    [
        {"lost": ["x"]},
        {"lost": ONE},
        {"lost": [ONE]},  # and it waits
        {"restored": [{}]},
        {"restored": [{"copied": "today"}]},
        {"restored": 1},
    ],
    ids=str,
)
async def test_a_handout_that_says_of_a_restore_what_can_not_be_is_refused(
    relay: Any, desk: JournalFile, change: dict[str, Any]
) -> None:
    relay.handout |= change
    with pytest.raises(Corrupt):
        await pull(relay, desk, ME, desk.folder / "sealed")


async def test_what_is_lost_is_held_until_the_relay_takes_a_verdict(
    relay: Any, desk: JournalFile
) -> None:
    await pull(relay, desk, ME, desk.folder / "sealed")
    relay.handout |= {"leases": [], "lost": [ONE, "44" * 16]}
    relay.handout["restored"] = [{"copied": "2026-03-18", "restored": "2026-03-19"}]
    pulled = await pull(relay, desk, ME, desk.folder / "sealed")
    assert (pulled.lost, pulled.copied) == ([ONE], "2026-03-18"), "of those that it knows"
    with pytest.raises(HeldAfterRestore, match="2026-03-18"):
        refuse_lost(desk.read(), ONE)
    await hand_over(relay, desk, release(desk), after_restore=True)
    refuse_lost(desk.read(), ONE)
