"""When each photo is posted: in a random order after random pauses, or all at one instant."""

import asyncio
import datetime as dt
import random
from collections.abc import Sequence
from typing import TypeVar

LATE = dt.timedelta(minutes=2)  # what comes later than this has missed its instant
_STEP_S = 5.0  # between two looks at the clock: a laptop may have slept, or its clock been set
_T = TypeVar("_T")
_RANDOM = random.SystemRandom()


def now() -> dt.datetime:
    """Return this instant, in UTC."""
    return dt.datetime.now(dt.UTC)


def draw(count: int, start: dt.datetime, pause_s: tuple[float, float]) -> list[dt.datetime]:
    """Return as many instants after `start`, a random pause before each. pause_s: least, most."""
    instants = []
    for _ in range(count):
        start += dt.timedelta(seconds=_RANDOM.uniform(*pause_s))
        instants.append(start)
    return instants


def shuffled(ones: Sequence[_T]) -> list[_T]:
    """Return them in a random order."""
    return _RANDOM.sample(ones, len(ones))


async def wait_until(instant: dt.datetime) -> dt.timedelta:
    """Return how late it is, once the clock shows `instant`; nothing to wait for where it did."""
    while True:
        left = (instant - now()).total_seconds()
        if left <= 0:
            return dt.timedelta(seconds=-left)
        await asyncio.sleep(min(left, _STEP_S))


def said(late: dt.timedelta) -> str:
    """Return a span in words: "40 seconds", "3 minutes", "2 hours", "5 days"."""
    seconds = max(0, round(late.total_seconds()))
    for length, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 2 * length:
            return f"{seconds // length} {name}s"
    return f"{seconds} seconds"
