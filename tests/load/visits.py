"""Visitors of a campaign day: when they come, what for, over which line, and what they do.

They come at random moments of their own, however slow the relay is (an open model), and a time
counts from the moment that was planned, so that a relay that falls behind is not flattered.
"""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from tests.load.book import HELD, UNCLEAR, WITHDRAWN, Book
from tests.load.client import COVER, OK, Answer, Visitor, one_of_its_own, visit
from tests.load.lines import FAST, Line, by_tor, slow
from tests.load.relays import Relay

READ, SEND, ASK, CHECK, WITHDRAW = "read", "send", "ask", "check", "withdraw"
# Most who open the form only read it; of those who sent, some look or change their mind.
CAMPAIGN_DAY = {READ: 0.55, SEND: 0.35, ASK: 0.0, CHECK: 0.07, WITHDRAW: 0.03}
_TRIES = 8  # of one who loses her connection, each at the next relay
_PAUSE_S = 0.2
_TAKEN_BACK = "our copy has been destroyed"


@dataclass(frozen=True)
class Plan:
    """One arrival."""

    at_s: float
    purpose: str
    line: Line
    photo: int


@dataclass(frozen=True, kw_only=True)
class Day:
    """What is asked of the load. rate: arrivals a second; shares: of 1."""

    rate: float
    seconds: float
    seed: int
    mix: Mapping[str, float] = field(default_factory=lambda: CAMPAIGN_DAY)
    slow_share: float = 0.0
    slow_bytes_per_s: float = 15_000
    tor_share: float = 0.0

    def plan(self, photos: int) -> list[Plan]:
        """The same arrivals for the same seed: exponential gaps, so a Poisson process."""
        rng = random.Random(self.seed)
        plans: list[Plan] = []
        at_s = rng.expovariate(self.rate)
        while at_s < self.seconds:
            purpose = rng.choices(list(self.mix), list(self.mix.values()))[0]
            line = self._choose_line(rng, len(plans) + 1)
            plans.append(Plan(at_s, purpose, line, rng.randrange(max(1, photos))))
            at_s += rng.expovariate(self.rate)
        return plans

    def _choose_line(self, rng: random.Random, circuit: int) -> Line:
        chance = rng.random()
        if chance < self.tor_share:
            return by_tor(rng, circuit)
        if chance < self.tor_share + self.slow_share:
            return slow(self.slow_bytes_per_s)
        return FAST


class Crowd:
    """Everybody who comes; they go round the relays as a name with several addresses leads them."""

    def __init__(self, relays: Sequence[Relay], photos: Sequence[bytes], seed: int) -> None:
        self.book = Book()
        self.gone: set[str] = set()  # urls of relays that were killed: no name leads there any more
        self._relays = relays
        self._photos = photos
        self._next: Iterator[int] = itertools.count()
        self._rng = random.Random(seed)
        self._began = time.monotonic()

    async def come(self, plans: Sequence[Plan]) -> None:
        """Let everybody come when it is her time, and wait until the last has gone."""
        self._began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for plan in plans:
                await asyncio.sleep(plan.at_s - self._now())
                self.book.late_s = max(self.book.late_s, self._now() - plan.at_s)
                group.create_task(self._visit(plan))

    async def _visit(self, plan: Plan) -> None:
        do = {READ: self._read, SEND: self._send, ASK: self._send}
        receipt = self._choose_receipt(plan.purpose)
        if receipt is not None:
            answer = await self._use(plan, receipt)
        else:
            answer = await do.get(plan.purpose, self._read)(plan)
        purpose = plan.purpose if receipt is not None or plan.purpose in do else READ
        self.book.visits[purpose, answer.outcome] += 1

    def _now(self) -> float:
        return time.monotonic() - self._began

    def _relay(self) -> Relay:
        there = [relay for relay in self._relays if relay.url not in self.gone]
        return there[next(self._next) % len(there)]

    def _choose_receipt(self, purpose: str) -> str | None:
        held = self.book.held() if purpose in (CHECK, WITHDRAW) else []
        return self._rng.choice(held) if held else None

    # -- what they do --------------------------------------------------------------------------

    async def _persist(
        self, plan: Plan, do: Callable[[Visitor, float], Awaitable[Answer]]
    ) -> Answer:
        """Do it; where there is no answer, again: a name with several addresses has a next one.

        With one relay, what fails has failed.
        """
        due_s = plan.at_s
        answer = Answer("no answer: nothing tried")
        for _ in range(_TRIES if len(self._relays) > 1 else 1):
            async with visit(self._relay(), plan.line) as visitor:
                answer = await do(visitor, due_s)
            if not answer.is_error:
                break
            self.book.second_tries[answer.outcome] += 1
            await asyncio.sleep(_PAUSE_S)
            due_s = self._now()
        return answer

    async def _read(self, plan: Plan) -> Answer:
        return await self._persist(plan, partial(self._open_form, plan))

    async def _open_form(self, plan: Plan, visitor: Visitor, due_s: float) -> Answer:
        answer = await visitor.ask("/en/")
        self._note("form", plan, due_s, answer)
        return answer

    def _note(self, kind: str, plan: Plan, due_s: float, answer: Answer) -> None:
        self.book.note(kind, plan.line.name, due_s, self._now() - due_s, answer)

    async def _send(self, plan: Plan) -> Answer:
        """Open the form and send it; where the line breaks, send the same again."""
        photo = one_of_its_own(self._photos[plan.photo]) if plan.purpose == SEND else None
        token = ""

        async def send(visitor: Visitor, due_s: float) -> Answer:
            nonlocal token
            if not token:
                form = await self._open_form(plan, visitor, due_s)
                if not form.token:
                    return form
                token, due_s = form.token, self._now()
            return await self._submit(visitor, plan, due_s, token, photo)

        return await self._persist(plan, send)

    async def _submit(
        self, visitor: Visitor, plan: Plan, due_s: float, token: str, photo: bytes | None
    ) -> Answer:
        fields = {"may_post": "yes", "poster": "general"}
        if photo is None:
            fields = {"kind": "question", "message": f"What can we do? {plan.at_s}"}
        answer = await visitor.submit(token, fields, photo)
        self._note("submit" if photo else "ask", plan, due_s, answer)
        if answer.outcome == COVER:
            self.book.covers += 1
            due_s = self._now()
            answer = await visitor.press_send(answer.text)
            self._note("cover", plan, due_s, answer)
        if answer.receipt:
            self.book.acknowledge(answer.receipt, self._now())
        elif answer.outcome == OK:
            return Answer("status 200 without a receipt")
        return answer

    async def _use(self, plan: Plan, receipt: str) -> Answer:
        is_back = plan.purpose == WITHDRAW
        if is_back:
            self.book.receipts[receipt] = UNCLEAR  # until she has read that it is destroyed

        async def use(visitor: Visitor, due_s: float) -> Answer:
            path = "/en/withdraw" if is_back else "/en/receipt"
            answer = await visitor.post(path, {"receipt": receipt})
            self._note("withdraw" if is_back else "status", plan, due_s, answer)
            return answer

        answer = await self._persist(plan, use)
        if is_back and answer.outcome == OK and _TAKEN_BACK in answer.text:
            self.book.receipts[receipt] = WITHDRAWN
        if answer.outcome == "status 404" and self.book.receipts[receipt] != HELD:
            return Answer(OK)  # taken back by somebody else's hand while she asked
        return answer

    # -- before and after ----------------------------------------------------------------------

    async def warm_up(self, *, is_photo: bool) -> None:
        """Send one to each relay, so that none is seen at its first photo, and receipts are there.

        They count among the receipts and nowhere else.
        """
        before = self.book
        for number in range(2 * len(self._relays)):
            await self._send(Plan(0.0, SEND if is_photo else ASK, FAST, number % len(self._photos)))
        assert len(before.receipts) == 2 * len(self._relays), before.errors()
        self.book = Book(receipts=before.receipts)

    async def ask_for_all(self, at_once: int = 8) -> Counter[str]:
        """Ask for every receipt once more, and count what does not agree with it."""
        wrong: Counter[str] = Counter()
        turns = asyncio.Semaphore(at_once)

        async def ask(receipt: str, state: str) -> None:
            async with turns, visit(self._relay(), FAST) as visitor:
                answer = await visitor.post("/en/receipt", {"receipt": receipt})
            is_gone = answer.outcome == "status 404"
            if state == HELD and not answer.is_held:
                wrong["lost" if is_gone else f"not told: {answer.outcome}"] += 1
            if state == WITHDRAWN and not is_gone:
                wrong["withdrawn and still there"] += 1
            if state == UNCLEAR:
                self.book.receipts[receipt] = WITHDRAWN if is_gone else HELD

        await asyncio.gather(*(ask(*one) for one in list(self.book.receipts.items())))
        return wrong
