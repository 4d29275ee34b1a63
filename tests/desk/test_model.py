"""Desks, a relay, submitters, crashes: the real parts against a model, step by step."""

import asyncio
import datetime as dt
import hashlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
from aiohttp import web
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from relay.campaign import PublicTexts
from relay.desk.audit import audit, remember
from relay.desk.decide import hand_over, make_decision, sign
from relay.desk.free import free
from relay.desk.journal import JournalFile
from relay.desk.pull import pull
from relay.errors import (
    DeskRefused,
    LockedByColleague,
    NothingThere,
    QueueFull,
    RelayUnreachable,
)
from relay.intake.door import Door
from relay.intake.handover import Handover, NonceBook
from relay.intake.runtime import Runtime
from relay.queue.states import FIRST, GONE, LATER, OUT, State, Verdict
from relay.queue.store import SealedQueue, Standing
from relay.receipt import ServiceKeys
from relay.seal.lists import Colleague, Role
from relay.seal.signing import SigningIdentity
from relay.web.app import create_desk_app
from tests.conftest import FULL, tenth
from tests.desk.mischief import (
    BREAKS,
    Exchange,
    Killed,
    Kind,
    Mischief,
    WatchedClient,
    current,
    fsync,
)
from tests.desk.model import CAMPAIGN, LEASE, MOST, RETAIN, Kept, Model, Said
from tests.places import Place, lay

STEPS = 10_000
STEPS_EACH = 100  # long enough for a photo to come, go, and be forgotten
DESKS = [SigningIdentity(bytes([number]) * 32) for number in (1, 2, 3)]
KNOWN = {identity.signer().encoded for identity in DESKS}
STAFF = {
    identity.signer().encoded: Colleague(signer=identity.signer(), roles=frozenset(Role))
    for identity in DESKS
}


@dataclass(frozen=True)
class Pull:
    to: str


@dataclass(frozen=True)
class Decide:
    id: str
    verdict: Verdict


@dataclass(frozen=True)
class Free:
    holder: str


@dataclass(frozen=True)
class Audit:
    pass


Command = Pull | Decide | Free | Audit


@dataclass
class Desk:
    """A laptop. unfinished: commands that were cut short and not repeated yet."""

    folder: Path
    identity: SigningIdentity
    unfinished: list[Command] = field(default_factory=list)

    @property
    def signer(self) -> str:
        return self.identity.signer().encoded

    @property
    def journal_file(self) -> JournalFile:
        return JournalFile(self.folder)

    def compare(self, model: Model) -> None:
        """See that the journal knows every copy here and every release of hers."""
        journal = self.journal_file.read()
        for name, paths in self.copies().items():
            assert name in model.ever_leased(self.signer)
            for path in paths:
                sealed = model.all[name].sealed
                assert path.read_bytes() in (sealed, bytes(len(sealed))), "whole, or overwritten"
                assert str(path) in journal.sealed[name]
        released = {**journal.verdicts.sent, **journal.verdicts.confirmed}
        for kept in model.all.values():
            if kept.verdict == (State.RELEASED, self.signer):
                assert released.get(kept.id) == Verdict.RELEASE, "it may have to be taken down"
            known = {*journal.verdicts.said_later(kept.id)}
            assert kept.said_later(self.signer) <= known, "and what became of it"
        seen = [entry.hash.hex() for entry in model.log[: journal.log_seq]]
        assert seen[-1:] == [journal.log_hash] or journal.log_seq == 0

    def copies(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for path in self.folder.glob("*/*.age"):
            if not path.name.startswith("."):
                found.setdefault(path.stem, []).append(path)
        return found


class Relay:
    """Queue, handover and listener in this process, on one port through every restart."""

    def __init__(self, place: Place, model: Model) -> None:
        self.place, self.starts = place, 0
        self._model = model
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    async def start(self) -> None:
        self.starts += 1
        async with AsyncExitStack() as stack:
            self.queue = await stack.enter_async_context(
                SealedQueue.open(self.place.address, max_queued=MOST)
            )
            handover = Handover(
                campaign=CAMPAIGN,
                staff=STAFF,
                door=Door(),
                keys=ServiceKeys(token=bytes(32), receipt=bytes(32)),
                queue=self.queue,
                nonces=NonceBook(),
                same_day_pull=False,
                today=lambda: self._model.today,
            )
            no_intake: Any = None  # the desk's listener has none
            app = create_desk_app(
                Runtime(intake=no_intake, handover=handover, public=PublicTexts())
            )
            runner = web.AppRunner(app, access_log=None)
            stack.push_async_callback(runner.cleanup)
            await runner.setup()
            await web.SockSite(runner, self._socket.dup()).start()
            self._open = stack.pop_all()

    async def restart(self) -> None:
        await self._open.aclose()
        await self.start()

    async def stop(self) -> None:
        await self._open.aclose()
        self._socket.close()


@dataclass(frozen=True)
class Wanted:
    """What a colleague sets out to do. which: of those she may choose from, the newest first."""

    what: str
    which: int
    verdict: Verdict


_T = TypeVar("_T")
numbers = st.integers(0, 7)
desks = st.integers(0, len(DESKS) - 1)
days = st.sampled_from([0, 0, 1, 1, 1, LEASE + 1, RETAIN + 1])
tasks = ["hers", "hers", "hers", "unsure", "unsure", "any", "pull", "audit", "out", "out"]
verdicts = st.sampled_from([*FIRST, *FIRST, *Verdict])
in_race = st.builds(Wanted, st.sampled_from(tasks), numbers, verdicts)
wishes = st.builds(Wanted, st.sampled_from([*tasks, "free"]), numbers, verdicts)
points = st.integers(0, 9)
troubles = st.none() | st.builds(Mischief, st.sampled_from([Kind.KILLED, *Kind]), points, numbers)
blows = st.none() | st.builds(Mischief, st.sampled_from([Kind.KILLED, Kind.CUT]), points, numbers)

# How often, and with what, each method of Campaign is called.
HAPPENINGS: dict[str, tuple[int, dict[str, st.SearchStrategy[Any]]]] = {
    "submit": (3, {"count": st.integers(1, 3), "days": st.sampled_from([1, 0])}),
    "send_again_or_withdraw": (2, {"which": numbers, "is_sent": st.booleans()}),
    "work": (8, {"who": desks, "wanted": wishes, "trouble": troubles}),
    "work_at_once": (
        2,
        {"pair": st.tuples(desks, desks), "wanted": st.tuples(in_race, in_race), "blow": blows},
    ),
    "take_down": (3, {"who": desks, "which": numbers, "trouble": troubles}),
    "repeat_what_was_cut_short": (1, {"who": desks}),
    "take_what_is_not_hers": (1, {"who": desks, "which": numbers}),
    "midnight": (3, {"days": days, "then": st.sampled_from(["turn", "turn", "restart", "no"])}),
}
happenings = st.sampled_from(
    [name for name, (times, _) in HAPPENINGS.items() for _ in range(times)]
).flatmap(lambda name: st.tuples(st.just(name), st.fixed_dictionaries(HAPPENINGS[name][1])))


class Campaign(RuleBasedStateMachine):
    """What happens. Whatever is drawn does not depend on chance, such as a submission's id."""

    steps = 0  # by all the machines together

    make_place: Callable[[Path], Place]  # where the relay's queue is to lie

    def __init__(self) -> None:
        super().__init__()
        # In memory: what a sync is for, another test shows.
        self.folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
        self.model = Model()
        self.relay = Relay(self.make_place(self.folder), self.model)
        self.desks = [Desk(self.folder / f"desk{n}", identity) for n, identity in enumerate(DESKS)]
        for desk in self.desks:
            desk.folder.mkdir()
        self.answered: list[Exchange] = []
        self.raced: list[tuple[Exchange, Said, Said]] = []
        self.is_race = self.is_begun = self.is_sound = False
        self.runner = asyncio.Runner()
        self.run(self.relay.start())

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        self.is_sound = False
        self.runner.run(work)

    def teardown(self) -> None:
        """Let every desk finish what was cut short and look once more; put all away."""
        try:
            if self.is_sound:
                self.run(self._finish())
                self._compare()
        finally:
            self.runner.run(self.relay.stop())
            self.runner.close()
            shutil.rmtree(self.folder)

    async def _finish(self) -> None:
        for desk in self.desks:
            for command in [*desk.unfinished, Pull("sealed"), Audit()]:
                await self._command(desk, command)
        for kept in self.model.all.values():
            found = await self.relay.queue.find(kept.receipt_hash)
            assert found == _standing(self.model.find(kept.receipt_hash))

    @rule(what=happenings)
    def go_on(self, what: tuple[str, dict[str, Any]]) -> None:
        """Let one thing happen. One rule: of several, each run would leave out some."""
        name, arguments = what
        getattr(self, name)(**arguments)

    # -- the submitters ----------------------------------------------------------------------------

    def submit(self, count: int, days: int) -> None:
        for _ in range(count):
            number = b"%d" % len(self.model.all)
            self.run(self._submit(hashlib.sha256(b"receipt" + number).digest(), number * 999))
        self.model.today += dt.timedelta(days=days)

    def send_again_or_withdraw(self, which: int, *, is_sent: bool) -> None:
        if not is_sent:
            self.run(self._withdraw(which))
        elif kept := self._pick(which, self.model.all.values()):
            self.run(self._submit(kept.receipt_hash, b"again, and sealed anew"))

    async def _submit(self, receipt_hash: bytes, sealed: bytes) -> None:
        known, today = self.model.find(receipt_hash), self.model.today
        if known is None and self.model.is_full():
            with pytest.raises(QueueFull):
                await self.relay.queue.enqueue(sealed, receipt_hash, today=today)
            return
        is_kept = await self.relay.queue.enqueue(sealed, receipt_hash, today=today)
        if known is None:
            await self.model.add(receipt_hash, sealed, self.relay.place)
        assert is_kept == (known is None or known.state not in (*GONE, State.RETURNED))

    async def _withdraw(self, which: int) -> None:
        if kept := self._pick(which, self.model.all.values()):
            await self._take_back(kept)

    async def _take_back(self, kept: Kept) -> None:
        standing = await self.relay.queue.withdraw(kept.receipt_hash, today=self.model.today)
        self.model.withdraw(kept.receipt_hash)
        assert standing == _standing(self.model.find(kept.receipt_hash))

    # -- the desks ---------------------------------------------------------------------------------

    def work(self, who: int, wanted: Wanted, trouble: Mischief | None) -> None:
        self.run(self._work(self.desks[who], wanted, trouble))

    def take_down(self, who: int, which: int, trouble: Mischief | None) -> None:
        """One that is out is wanted back, and a colleague says that it is gone."""
        if kept := self._pick(
            which, (k for k in self.model.all.values() if k.state in OUT and not k.is_forgotten)
        ):
            self.run(self._take_back(kept))
        self.run(self._work(self.desks[who], Wanted("out", which, Verdict.REMOVE), trouble))

    def work_at_once(
        self, pair: tuple[int, int], wanted: tuple[Wanted, Wanted], blow: Mischief | None
    ) -> None:
        async def both() -> None:
            self.is_race = True
            first, second = (self.desks[who] for who in pair)
            works = (self._work(first, wanted[0], blow), self._work(second, wanted[1], None))
            outcomes = await asyncio.gather(*works, return_exceptions=True)
            self.is_race = False
            for outcome in outcomes:
                if outcome is not None:
                    raise outcome
            self._settle()

        self.run(both())

    def repeat_what_was_cut_short(self, who: int) -> None:
        async def repeat() -> None:
            for command in [*self.desks[who].unfinished]:
                await self._command(self.desks[who], command)

        self.run(repeat())

    def take_what_is_not_hers(self, who: int, which: int) -> None:
        """Ask for any envelope, and send a request once more that somebody has sent before."""
        self.run(self._ask_for_any(self.desks[who], which))
        if self.answered:
            self.run(self._replay(self._pick(which, self.answered)))

    async def _ask_for_any(self, desk: Desk, which: int) -> None:
        if kept := self._pick(which, self.model.all.values()):
            async with self._client(desk) as client:
                with suppress(NothingThere):
                    await client.fetch("GET", f"/desk/v1/envelope/{kept.id}")

    async def _replay(self, sent: Exchange) -> None:
        async with (
            aiohttp.ClientSession(self.relay.url) as session,
            session.request(sent.method, sent.path, data=sent.body, headers=sent.headers) as answer,
        ):
            assert answer.status == 403

    # -- the relay ---------------------------------------------------------------------------------

    def midnight(self, days: int, then: str) -> None:
        """The clock goes on; the relay may be late to turn the day."""
        if then == "turn":
            self.run(self._turn(days))
        else:
            self.model.today += dt.timedelta(days=days)
        if then == "restart":
            self.run(self.relay.restart())

    async def _turn(self, days: int) -> None:
        self.model.today += dt.timedelta(days=days)
        await self.relay.queue.turn_day(
            today=self.model.today, retain_days=RETAIN, lease_days=LEASE
        )
        self.model.turn()

    # -- what must hold ----------------------------------------------------------------------------

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        Campaign.steps += self.is_begun  # the first look is before the first step
        self.is_begun = True
        self._compare()
        self.is_sound = True

    def _compare(self) -> None:
        self.runner.run(self.model.compare(self.relay.place))
        for desk in self.desks:
            desk.compare(self.model)

    def _settle(self) -> None:
        """Explain the verdicts of a race: what was done at once came in some order."""
        order = [*Verdict]  # each only after those before it

        def place(race: tuple[Exchange, Said, Said]) -> tuple[bool, int]:
            return race[1] != (200, False), order.index(race[0].decision.verdict)

        for sent, said, before in sorted(self.raced, key=place):
            after = self.model.answer_to(sent.signer, sent.decision)
            assert said == after or (said == before != (200, False))
            if said == (200, False):
                self.model.decide(sent.signer, sent.decision)
        self.raced.clear()

    # -- how it is done ----------------------------------------------------------------------------

    def _pick(self, which: int, among: Iterable[_T]) -> _T | None:
        there = list(among)
        return there[-1 - which % len(there)] if there else None

    def _client(self, desk: Desk) -> WatchedClient:
        return WatchedClient(self.relay.url, desk.identity, self._watch, self._befall)

    async def _befall(self, mischief: Mischief) -> None:
        which = mischief.which
        if mischief.kind is Kind.RESTART:
            await self.relay.restart()
        elif mischief.kind is Kind.WITHDRAWAL:
            await self._withdraw(which)
        elif mischief.kind is Kind.MIDNIGHT:
            await self._turn((0, 1, LEASE + 1, RETAIN + 1)[which % 4])
        else:
            what = ("hers", "pull", "audit", "free")[which % 4]
            verdict = Verdict.RELEASE if which > 3 else Verdict.RETURN
            await self._work(self.desks[which % len(DESKS)], Wanted(what, which, verdict), None)

    async def _work(self, desk: Desk, wanted: Wanted, mischief: Mischief | None) -> None:
        ids: Iterable[str] = self.model.all
        if wanted.what == "hers":
            ids = self.model.ids(State.LEASED, holder=desk.signer)
        elif wanted.what == "unsure":  # what was sent and not answered
            ids = desk.journal_file.read().verdicts.sent
        elif wanted.what == "out":  # what is released, by whomever
            ids = self.model.ids(*OUT)
            later = wanted.verdict if wanted.verdict in LATER else LATER[wanted.which % len(LATER)]
            wanted = replace(wanted, verdict=later)
            if later is Verdict.REMOVE:
                ids = {one for one in ids if self.model.all[one].take_down} or ids
        kept = self._pick(
            wanted.which, [self.model.all[name] for name in self.model.all if name in ids]
        )
        if wanted.what == "audit":
            command: Command = Audit()
        elif wanted.what == "free":
            command = Free(self.desks[wanted.which % len(DESKS)].signer)
        elif kept is None or wanted.what == "pull":
            command = Pull("sealed" if wanted.verdict is Verdict.RELEASE else "stick")
        else:
            command = Decide(kept.id, wanted.verdict)
        await self._command(desk, command, mischief)

    async def _command(
        self, desk: Desk, command: Command, mischief: Mischief | None = None
    ) -> None:
        """Do it. Only where something has struck may it fail otherwise than the model says."""
        token = current.set(mischief)
        try:
            async with self._client(desk) as client:
                if isinstance(command, Pull):
                    await self._pull(desk, client, command)
                elif isinstance(command, Decide):
                    await self._decide(desk, client, command)
                elif isinstance(command, Free):
                    await free(client, command.holder)
                else:
                    await self._audit(desk, client)
        except (Killed, RelayUnreachable, DeskRefused):
            assert mischief is not None, "undisturbed, it goes through"
            assert mischief.is_done
            assert mischief.kind in BREAKS
            desk.unfinished.append(command)
        else:
            desk.unfinished = [other for other in desk.unfinished if other != command]
        finally:
            current.reset(token)

    async def _pull(self, desk: Desk, client: WatchedClient, command: Pull) -> None:
        before = set(desk.copies())
        pulled = await pull(client, desk.journal_file, desk.identity, desk.folder / command.to)
        for error in pulled.failed.values():
            raise error
        leases = {lease["id"] for lease in client.handout["leases"]}
        removed = {kept.id for kept in self.model.all.values() if kept.is_removed}
        disputed = {*pulled.disputed}
        assert disputed <= removed, "only until this desk has seen it in the log"
        verdict = (State.RETURNED, desk.signer)
        returned = {kept.id for kept in self.model.all.values() if kept.verdict == verdict}
        there = {*pulled.fetched, *pulled.present}
        # What she returns herself while she pulls is not fetched, or not any more there.
        assert leases - client.missing - returned <= there <= leases - client.missing
        for name in there - returned:
            path = desk.folder / command.to / f"{name}.age"
            assert path.read_bytes() == self.model.all[name].sealed
        gone = set(client.handout["gone"]) - disputed
        assert not gone & set(desk.copies()), "what was taken back is destroyed here too"
        # So does what this desk has returned, or was told of by a pull that was killed in between:
        # the relay may have forgotten it since.
        due = returned | {k.id for k in self.model.all.values() if k.state in GONE}
        destroyed = set(pulled.destroyed)
        assert gone & before <= destroyed <= due & before or self.is_race
        released = (State.RELEASED, desk.signer)
        mine = {kept.id for kept in self.model.all.values() if kept.verdict == released}
        assert set(client.handout["take_down"]) & mine <= set(pulled.take_down)

    async def _decide(self, desk: Desk, client: WatchedClient, command: Decide) -> None:
        kept = self.model.all[command.id]
        decision, journal = kept.decision(command.verdict), desk.journal_file.read()
        is_known = command.id in journal.envelopes
        if command.verdict not in journal.verdicts.said_later(command.id):
            is_known &= command.id not in journal.gone or command.verdict is Verdict.REMOVE
            is_known &= command.verdict in FIRST or not journal.is_returned(command.id)
        if is_known:
            made = make_decision(journal, command.id, command.verdict, decision.reason)
            assert made == decision
        else:  # the command stops here; a bold desk goes on
            with pytest.raises(NothingThere):
                make_decision(journal, command.id, command.verdict, decision.reason)
        try:
            decided = await hand_over(client, desk.journal_file, sign(desk.identity, decision))
        except NothingThere:
            assert client.said == (404, None)
        except LockedByColleague:
            assert client.said == (409, None)
        else:
            assert client.said == (200, decided.already)
            verdicts = desk.journal_file.read().verdicts
            if command.verdict in FIRST:
                assert verdicts.confirmed[command.id] == command.verdict
            else:
                assert verdicts.said_later(command.id)[command.verdict] == "confirmed"

    async def _audit(self, desk: Desk, client: WatchedClient) -> None:
        checked = await audit(client, desk.journal_file.read(), desk.identity, KNOWN)
        with desk.journal_file.update() as journal:
            remember(journal, checked)

    def _watch(self, client: WatchedClient, sent: Exchange) -> None:
        """Take what the relay answered into the model, or find that it must not have."""
        if "Authorization" in sent.headers:
            self.answered.append(sent)
        if sent.status == 403:
            assert client.nonce_of != self.relay.starts, "a fresh nonce was refused"
            return
        client.nonce_of = self.relay.starts
        kind, _, name = sent.path.removeprefix("/desk/v1/").partition("/")
        if kind == "envelope":
            kept = self.model.all[name]
            is_hers = name in self.model.ids(State.LEASED, holder=sent.signer)
            if sent.status == 404:
                client.missing.add(name)
                assert not is_hers or self.is_race
            else:
                assert (sent.status, sent.answer) == (200, kept.sealed)
                assert is_hers, "only what is hers"
        elif kind == "verdict":
            already = sent.json["already"] if sent.status == 200 else None
            client.said = (sent.status, already)
            right = self.model.answer_to(sent.signer, sent.decision)
            if self.is_race:  # seen when both are done
                self.raced.append((sent, client.said, right))
            else:
                assert client.said == right
                self.model.decide(sent.signer, sent.decision)
        else:
            assert sent.status == 200, sent
            if kind == "lease":
                client.handout = sent.json
                self.model.lease(sent.signer, sent.json, is_race=self.is_race)
            elif kind == "free":
                self.model.free(json.loads(sent.body)["signer"], sent.signer, sent.json["freed"])
            elif kind == "checkpoint":
                self.model.vouched = max(self.model.vouched, json.loads(sent.body)["seq"])


def _standing(kept: Kept | None) -> Standing | None:
    if kept is None or kept.state in GONE:
        return None
    return Standing(state=kept.state, return_reason=kept.reason, take_down=kept.take_down)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_whatever_happens_a_submission_is_decided_once_and_none_is_lost(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, database: str
) -> None:
    monkeypatch.setattr(os, "fsync", fsync)
    Campaign.steps = 0

    class There(Campaign):
        @staticmethod
        def make_place(folder: Path) -> Place:
            return lay(database, request, folder)

    run_state_machine_as_test(
        There,
        settings=settings(
            max_examples=tenth(STEPS * 11 // 10) // STEPS_EACH,
            stateful_step_count=STEPS_EACH,
            deadline=None,
            database=None,
            derandomize=not FULL,
            # A campaign of a hundred steps on a real database takes seconds, not milliseconds.
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
    assert Campaign.steps >= tenth(STEPS)
