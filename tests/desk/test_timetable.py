"""When: at random, or at one instant; what is late says so."""

import asyncio
import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from relay.desk.timetable import draw, now, said, shuffled, wait_until

START = dt.datetime(2026, 3, 18, 23, 50, tzinfo=dt.UTC)


@given(st.integers(0, 40), st.floats(0, 600), st.floats(0, 5400))
def test_a_random_pause_lies_before_each(count: int, least: float, more: float) -> None:
    instants = draw(count, START, (least, least + more))
    pauses = [
        (after - before).total_seconds()
        for before, after in zip([START, *instants], instants, strict=False)
    ]
    assert len(pauses) == count
    assert all(least - 1e-3 <= pause <= least + more + 1e-3 for pause in pauses)


def test_no_two_timetables_are_the_same() -> None:
    names = [str(number) for number in range(20)]
    orders = {tuple(shuffled(names)) for _ in range(50)}
    assert len(orders) == 50
    assert all(sorted(order) == sorted(names) for order in orders)
    assert len({tuple(draw(5, START, (600, 5400))) for _ in range(50)}) == 50


def test_it_waits_for_the_clock_and_says_how_late_it_is() -> None:
    instant = now() + dt.timedelta(seconds=0.2)
    late = asyncio.run(wait_until(instant))
    assert now() >= instant
    assert dt.timedelta() <= late
    assert asyncio.run(wait_until(now() - dt.timedelta(hours=3))) >= dt.timedelta(hours=3)


def test_a_span_is_said_in_words() -> None:
    spans = {0: "0 seconds", 45: "45 seconds", 119: "119 seconds", 150: "2 minutes"}
    spans |= {3600: "60 minutes", 7300: "2 hours", 200_000: "2 days"}
    for seconds, words in spans.items():
        assert said(dt.timedelta(seconds=seconds)) == words
