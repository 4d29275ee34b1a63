"""What a relay's queue ought to be after each step: plain Python, one object per submission."""

import datetime as dt
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from relay.queue.chain import GENESIS, LogEntry, next_hash
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
from relay.queue.verdicts import Decision
from relay.seal import signing
from relay.seal.signing import Signer
from tests.places import Place, days

CAMPAIGN = "demo"
FIRST_DAY = dt.date(2026, 3, 19)
RETAIN, LEASE = 4, 2
MOST = 12
Said = tuple[int, bool | None]  # to a verdict: the HTTP status, and whether it stood already
BY_ACTION = {action: verdict for verdict, action in ACTIONS.items()}


@dataclass(eq=False, kw_only=True)
class Kept:
    """One submission. holder: who leased it last. logged: action, signer and day, in order."""

    id: str
    receipt_hash: bytes
    sealed: bytes
    day: dt.date
    changed_day: dt.date
    state: State = State.SEALED
    holder: str | None = None
    lease_day: dt.date | None = None
    reason: Reason | None = None
    take_down: bool = False
    is_forgotten: bool = False
    is_arrival_logged: bool = False
    logged: list[tuple[str, str | None, dt.date]] = field(default_factory=list)

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.sealed).hexdigest()

    @property
    def verdict(self) -> tuple[State, str] | None:
        """What was decided and by whom, as the log must tell it."""
        firsts = [ACTIONS[verdict] for verdict in FIRST]
        decided = [(State(a), who) for a, who, _ in self.logged if a in firsts and who]
        assert len(decided) <= 1
        return decided[0] if decided else None

    def said_later(self, signer: str) -> set[Verdict]:
        """What a colleague has said became of it, as the log must tell it."""
        said = {BY_ACTION[a] for a, who, _ in self.logged if who == signer and a in BY_ACTION}
        return said - {*FIRST}

    @property
    def is_removed(self) -> bool:
        return any(action == ACTIONS[Verdict.REMOVE] for action, _, _ in self.logged)

    def decision(self, verdict: Verdict) -> Decision:
        return Decision(
            campaign=CAMPAIGN,
            id=bytes.fromhex(self.id),
            envelope_sha256=hashlib.sha256(self.sealed).digest(),
            verdict=verdict,
            reason=Reason.OTHER if verdict is Verdict.RETURN else None,
        )


class Model:
    """The queue as it ought to be, and the whole log as it has been seen."""

    def __init__(self) -> None:
        self.today = FIRST_DAY
        self.all: dict[str, Kept] = {}
        self.log: list[LogEntry] = []
        self.vouched = 0

    def known(self) -> list[Kept]:
        return [kept for kept in self.all.values() if not kept.is_forgotten]

    def find(self, receipt_hash: bytes) -> Kept | None:
        return next((kept for kept in self.known() if kept.receipt_hash == receipt_hash), None)

    def ids(self, *states: State, holder: str | None = None) -> set[str]:
        return {
            kept.id
            for kept in self.known()
            if kept.state in states and holder in (None, kept.holder)
        }

    def ever_leased(self, holder: str) -> set[str]:
        return {
            kept.id
            for kept in self.all.values()
            if any(entry[:2] == (State.LEASED, holder) for entry in kept.logged)
        }

    def is_full(self) -> bool:
        return len(self.ids(*HELD)) >= MOST

    # -- what may happen ---------------------------------------------------------------------------

    async def add(self, receipt_hash: bytes, sealed: bytes, place: Place) -> None:
        """Take in what the relay has acknowledged, under the id that it has chosen."""
        (rows,) = await place.rows("SELECT id, receipt_hash FROM submission")
        (raw,) = [row["id"] for row in rows if row["receipt_hash"] == receipt_hash]
        self.all[raw.hex()] = Kept(
            id=raw.hex(),
            receipt_hash=receipt_hash,
            sealed=sealed,
            day=self.today,
            changed_day=self.today,
        )

    def withdraw(self, receipt_hash: bytes) -> None:
        kept = self.find(receipt_hash)
        if kept is not None and kept.state in OPEN:
            kept.state, kept.changed_day = State.WITHDRAWN, self.today
        elif kept is not None and kept.state in OUT:
            kept.take_down, kept.changed_day = True, self.today

    def lease(self, holder: str, answer: dict[str, Any], *, is_race: bool) -> None:
        """Compare a handout with what it had to be; in a race a colleague may have been first."""
        hers = self.ids(State.LEASED, holder=holder)
        waiting = {name for name in self.ids(State.SEALED) if self.all[name].day < self.today}
        leases = {lease["id"]: lease for lease in answer["leases"]}
        assert set(leases) <= hers | waiting, "leased twice, too early, or after its end"
        assert is_race or hers <= set(leases), "her own leases come again"
        assert is_race or waiting <= set(leases), "what waits is handed out"
        for name in leases:
            kept = self.all[name]
            assert (leases[name]["envelope"], leases[name]["day"]) == (kept.digest, str(kept.day))
        for name in set(leases) - hers:
            kept = self.all[name]
            kept.state, kept.holder = State.LEASED, holder
            kept.lease_day = kept.changed_day = self.today
            kept.logged.append(("leased", holder, self.today))
        gone = {name for name in self.ids(*GONE) if self.all[name].holder}
        assert set(answer["gone"]) == gone
        decided = {name for name in gone if self.all[name].verdict}
        assert all(self.all[name].is_removed for name in decided), "released, and gone"
        wanted = {kept.id for kept in self.known() if kept.take_down and kept.state in OUT}
        assert set(answer["take_down"]) == wanted

    def answer_to(self, signer: str, decision: Decision) -> Said:
        """Return what the relay has to say to a verdict now."""
        kept = self.all.get(decision.id.hex())
        if kept is None or kept.is_forgotten:
            return 404, None
        verdict = decision.verdict
        if self._stands(kept, verdict):
            return 200, True
        if verdict not in FIRST:
            is_wanted = kept.take_down and kept.state in OUT
            is_next = is_wanted if verdict is Verdict.REMOVE else kept.state is State.RELEASED
            return (200, False) if is_next else (404, None)
        if kept.state is not State.LEASED:
            return 404, None
        return (200, False) if kept.holder == signer else (409, None)

    def _stands(self, kept: Kept, verdict: Verdict) -> bool:
        if verdict is Verdict.RELEASE:
            return kept.state in OUT
        if verdict is Verdict.REMOVE:
            return kept.is_removed
        return kept.state is LEADS_TO[verdict]

    def decide(self, signer: str, decision: Decision) -> None:
        """Carry a verdict out where it counts."""
        if self.answer_to(signer, decision) == (200, False):
            kept, state = self.all[decision.id.hex()], LEADS_TO[decision.verdict]
            kept.state, kept.changed_day, kept.reason = state, self.today, decision.reason
            kept.logged.append((ACTIONS[decision.verdict], signer, self.today))

    def free(self, holder: str, by: str, freed: list[str]) -> None:
        assert set(freed) == self.ids(State.LEASED, holder=holder)
        for name in freed:
            self.all[name].state = State.SEALED
            self.all[name].logged.append(("freed", by, self.today))

    def turn(self) -> None:
        """Log what is past, expire, let leases lapse, forget."""
        oldest = self.today - dt.timedelta(days=RETAIN)
        for kept in self.known():
            if kept.day < self.today and not kept.is_arrival_logged:
                kept.is_arrival_logged = True
                kept.logged.append(("arrived", None, kept.day))
            if kept.state in OPEN and kept.day < oldest:
                kept.state, kept.changed_day = State.EXPIRED, self.today
            is_past = kept.state is State.EXPIRED or kept.changed_day < self.today
            end = (str(kept.state), None, kept.changed_day)
            if kept.state in GONE and is_past and not kept.is_removed and end not in kept.logged:
                kept.logged.append(end)
            lease_ends = self.today - dt.timedelta(days=LEASE)
            if kept.state is State.LEASED and kept.lease_day and kept.lease_day < lease_ends:
                kept.state = State.SEALED
            is_over = kept.state in (*ENDED, State.RELEASED)
            kept.is_forgotten = is_over and kept.changed_day < oldest

    # -- what has to lie there ---------------------------------------------------------------------

    async def compare(self, place: Place) -> None:
        """See that the database holds what it ought to, to the byte, and no more."""
        submissions, sealed, log, markers = await place.rows(
            "SELECT * FROM submission",
            "SELECT id, sealed FROM envelope",
            "SELECT * FROM log ORDER BY seq",
            "SELECT value FROM marker WHERE name = 'held'",
        )
        columns = ("state", "day", "changed_day", "holder", "lease_day", "return_reason")
        columns = (*columns, "take_down", "receipt_hash")
        assert {
            row["id"].hex(): tuple(row[column] for column in columns) for row in days(submissions)
        } == {
            kept.id: (
                kept.state,
                str(kept.day),
                str(kept.changed_day),
                kept.holder,
                kept.lease_day and str(kept.lease_day),
                kept.reason,
                kept.take_down,
                kept.receipt_hash,
            )
            for kept in self.known()
        }
        envelopes = {row["id"]: row["sealed"] for row in sealed}
        held = {bytes.fromhex(kept.id): kept.sealed for kept in self.known() if kept.state in HELD}
        assert envelopes == held
        assert json.loads(markers[0]["value"]) == {"count": len(held)}, "kept, not counted"
        self._read_log([_entry(row) for row in days(log)])

    def _read_log(self, kept: list[LogEntry]) -> None:
        """Take in what is new; what was seen must stand there unchanged, or have been let go."""
        self.take_in(entry for entry in kept if entry.seq > len(self.log))
        first = kept[0].seq if kept else len(self.log) + 1
        assert kept == self.log[first - 1 :]
        oldest = self.today - dt.timedelta(days=RETAIN)
        assert all(entry.day < oldest for entry in self.log[: first - 1])
        assert first - 1 <= self.vouched, "dropped before a colleague had looked"
        for submission in self.all.values():
            entries = [e for e in self.log if e.submission_id.hex() == submission.id]
            assert [(e.action, e.signer, e.day) for e in entries] == submission.logged

    def take_in(self, entries: Iterable[LogEntry]) -> None:
        for entry in entries:
            assert entry.seq == len(self.log) + 1
            assert entry.hash == next_hash(self.log[-1].hash if self.log else GENESIS, entry)
            if entry.statement is not None:
                signer = Signer.parse(entry.signer or "")
                signer.verify(signing.VERDICT, entry.statement.encode(), entry.signature or "")
                said = json.loads(entry.statement)
                assert ACTIONS[Verdict(said["verdict"])] == entry.action
            self.log.append(entry)


def _entry(row: dict[str, Any]) -> LogEntry:
    return LogEntry(**row | {"day": dt.date.fromisoformat(row["day"])})
