"""The relay's day: how far the machine's clock is believed.

What is destroyed when its time has run out can't be brought back. So a day is believed that lies
after the last one that was turned, and no further ahead than time has passed meanwhile.
"""

import datetime as dt
import time
from collections.abc import Callable

OFF_DAYS = 3  # a relay may have been off for so long without anybody saying that the clock is right
_SLACK_DAYS = 1  # while it runs. An envelope lives for a day more than `retain_days` in any case
_DAY_S = 86_400
_MEND = "Set the clock. Where it is right, say so: relay purge --config relay.toml"


class Calendar:
    """Knows the day that was turned last, and the latest one that can be true."""

    def __init__(
        self,
        *,
        clock: Callable[[], dt.date],
        off_days: int = OFF_DAYS,
        uptime_s: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    ) -> None:
        """Believe the clock until `learn` is called.

        off_days: since the last turn when it starts. uptime_s: goes on while the machine sleeps.
        """
        self._clock = clock
        self._off_days = off_days
        self._uptime_s = uptime_s
        self._turned: dt.date | None = None
        self._latest = dt.date.max  # at _since_s; a day later, a day later
        self._since_s = 0.0

    def learn(self, turned: dt.date | None) -> None:
        """Take note of what the queue says was turned last; None: nothing yet.

        Another day than we know of was turned by an operator, who says by that that the clock is
        right, or by another relay.
        """
        if self._turned is None:
            self._believe(turned or self._clock(), days=self._off_days)
        elif turned is not None and turned != self._turned:
            self._believe(turned, days=_SLACK_DAYS)

    def advance(self, today: dt.date) -> None:
        """Take note that we have turned `today`: that allows no day that time has not brought."""
        if today + dt.timedelta(days=_SLACK_DAYS) < self._latest_now():
            self._believe(today, days=_SLACK_DAYS)
        self._turned = today

    def today(self) -> dt.date:
        """Return the clock's day, or the one turned last where the clock can't be right."""
        now, turned = self._clock(), self._turned
        return now if turned is None or turned <= now <= self._latest_now() else turned

    def find_jump(self) -> str | None:
        """Return what to do about a clock that is ahead; None: it is not."""
        now = self._clock()
        return _ahead(now, self._turned) if now > self._latest_now() else None

    def find_lag(self) -> str | None:
        """Return what to do about a clock that is more than a day behind; None: it is not."""
        return _behind(self._clock(), self._turned)

    def _believe(self, turned: dt.date, *, days: int) -> None:
        self._turned = turned
        self._latest = turned + dt.timedelta(days=days)
        self._since_s = self._uptime_s()

    def _latest_now(self) -> dt.date:
        if self._turned is None:
            return self._latest
        passed_s = self._uptime_s() - self._since_s + _DAY_S // 2  # a clock may be set by minutes
        return self._latest + dt.timedelta(days=passed_s // _DAY_S)


def find_fault(now: dt.date, turned: dt.date | None) -> str | None:
    """Return what a relay that starts now would find wrong with the clock."""
    if turned is not None and now > turned + dt.timedelta(days=OFF_DAYS):
        return _ahead(now, turned)
    return _behind(now, turned)


def _ahead(now: dt.date, turned: dt.date | None) -> str:
    words = f"the clock says {now}, long after {turned}, the last day that was turned."
    return f"{words} On its word nothing is destroyed, and the form stays closed. {_MEND}"


def _behind(now: dt.date, turned: dt.date | None) -> str | None:
    if turned is None or now >= turned - dt.timedelta(days=_SLACK_DAYS):
        return None
    words = f"the clock says {now}, before {turned}, the last day that was turned."
    return f"{words} What comes counts as of that day, and nothing expires. {_MEND}"
