"""What was asked, answered and acknowledged: everything a report is made of."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.load.client import COME_BACK, COVER, OK, Answer

PERCENTS = (50, 90, 95, 99)
HELD, WITHDRAWN, UNCLEAR = "held", "withdrawn", "unclear"


def percentile(times: Sequence[float], percent: float) -> float:
    """The least of `times` that so many percent of them do not exceed."""
    ranked = sorted(times)
    return ranked[max(0, math.ceil(len(ranked) * percent / 100) - 1)]


@dataclass(frozen=True)
class Asked:
    """One request: its kind and line, when it was due, how long until its answer was here."""

    kind: str
    line: str
    due_s: float
    seconds: float
    waited_s: float
    outcome: str


@dataclass
class Book:
    """Requests, visits and receipts. Visits are counted by what they ended with."""

    asked: list[Asked] = field(default_factory=list)
    visits: Counter[tuple[str, str]] = field(default_factory=Counter)  # (purpose, outcome)
    receipts: dict[str, str] = field(default_factory=dict)
    acknowledged_s: list[float] = field(default_factory=list)
    twice: int = 0
    covers: int = 0
    second_tries: Counter[str] = field(default_factory=Counter)  # what made them
    late_s: float = 0.0  # the most by which this client itself was late

    def note(self, kind: str, line: str, due_s: float, seconds: float, answer: Answer) -> None:
        asked = Asked(kind, line, due_s, seconds, answer.waited_s, answer.outcome)
        self.asked.append(asked)

    def acknowledge(self, receipt: str, at_s: float) -> None:
        """Keep a receipt; one that somebody else was shown before is an error."""
        self.twice += receipt in self.receipts
        self.receipts[receipt] = HELD
        self.acknowledged_s.append(at_s)

    def held(self) -> list[str]:
        return [receipt for receipt, state in self.receipts.items() if state == HELD]

    def sums(self, purpose: str | None = None) -> dict[str, int]:
        """Visits by outcome: they came to their end, were told to come back, were refused, or
        failed. Together: all that arrived."""
        sums = {"arrived": 0, "done": 0, "come back": 0, "refused": 0, "errors": 0}
        for (of, outcome), count in self.visits.items():
            if purpose in (None, of):
                sums["arrived"] += count
                sums[_column(outcome)] += count
        return sums

    def errors(self) -> dict[str, int]:
        """All answers but pages, of each kind."""
        bad = Counter(one.outcome for one in self.asked if one.outcome not in (OK, COVER))
        return dict(sorted(bad.items()))

    def times(self) -> dict[str, dict[str, float]]:
        """Seconds by kind of request and line: of those that were answered with a page."""
        groups: dict[str, list[float]] = {}
        for one in self.asked:
            if one.outcome in (OK, COVER):
                name = one.kind if one.line == "fast" else f"{one.kind}, {one.line}"
                groups.setdefault(name, []).append(one.seconds)
                if one.kind == "submit":
                    groups.setdefault(f"{name}, after the last byte", []).append(one.waited_s)
        return {name: summary(times) for name, times in sorted(groups.items())}


def summary(times: Sequence[float]) -> dict[str, float]:
    shown = {f"p{percent}": round(percentile(times, percent), 4) for percent in PERCENTS}
    return {"count": len(times), **shown, "worst": round(max(times), 4)}


def _column(outcome: str) -> str:
    if outcome == OK:
        return "done"
    if outcome == COME_BACK:
        return "come back"
    return "errors" if Answer(outcome).is_error else "refused"
