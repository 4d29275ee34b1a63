"""One instant, as a person writes it."""

import datetime as dt

import pytest

from relay.desk.instant import read_instant
from relay.errors import ConfigInvalid


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2018-03-19T08:00-04:00", "2018-03-19T12:00"),
        ("2026-12-10T08:00:30+05:30", "2026-12-10T02:30:30"),
        ("2026-12-10 08:00Z", "2026-12-10T08:00"),
        ("2026-12-10T08:00 UTC", "2026-12-10T08:00"),
        ("2026-12-10T08:00 America/New_York", "2026-12-10T13:00"),
        ("2026-07-10T08:00 America/New_York", "2026-07-10T12:00"),
        ("2026-03-08T03:00 America/New_York", "2026-03-08T07:00"),
        ("2026-01-01T00:30 Pacific/Kiritimati", "2025-12-31T10:30"),
        (" 2026-12-10T08:00  America/Argentina/Buenos_Aires ", "2026-12-10T11:00"),
    ],
)
def test_an_instant_is_read_into_utc(text: str, utc: str) -> None:
    instant = read_instant(text)
    assert instant == dt.datetime.fromisoformat(f"{utc}+00:00")
    assert instant.tzinfo is dt.UTC


@pytest.mark.parametrize("text", ["2026-12-10T08:00", "2026-12-10 08:00:00"])
def test_a_time_of_no_clock_is_refused_and_shown_how_to_write_it(text: str) -> None:
    with pytest.raises(ConfigInvalid, match=r"whose clock: write it as 2026-12-10T08:00-05:00"):
        read_instant(text)


@pytest.mark.parametrize(
    ("text", "why", "ways"),
    [
        (
            "2026-03-08T02:30 America/New_York",
            "never comes",
            "2026-03-08T02:30:00-05:00 or 2026-03-08T02:30:00-04:00",
        ),
        (
            "2026-11-01T01:30 America/New_York",
            "comes twice",
            "2026-11-01T01:30:00-04:00 or 2026-11-01T01:30:00-05:00",
        ),
        (
            "2026-10-04T02:15 Australia/Lord_Howe",  # where clocks are turned by half an hour
            "never comes",
            "2026-10-04T02:15:00+10:30 or 2026-10-04T02:15:00+11:00",
        ),
    ],
)
def test_a_time_that_the_clock_skips_or_repeats_is_refused_with_both_ways_to_write_it(
    text: str, why: str, ways: str
) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        read_instant(text)
    assert why in refused.value.message
    assert ways in refused.value.message
    first, second = (read_instant(way) for way in ways.split(" or "))
    assert first != second


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "2026-12-10",
        "10.12.2026 08:00+01:00",
        "2026-12-10T8:00-05:00",
        "2026-13-10T08:00Z",
        "2026-02-29T08:00Z",
        "2026-12-10T24:00Z",
        "2026-12-10T08:00-15:00",
        "2026-12-10T08:00+05:75",
        "2026-12-10T08:00+0530",
        "2026-12-10T08:00-05:00 America/New_York",  # they may contradict each other
        "2026-12-10T08:00 EST",  # said of New York in summer, too, and then wrong
        "2026-12-10T08:00 Etc/GMT+5",  # is five hours behind
        "2026-12-10T08:00 America/Nowhere",
        "2026-12-10T08:00 America/../../etc/passwd",
        "2026-12-10T08:00 America/Argentina",
        "0001-01-01T00:00+05:00",
        "9999-12-31T23:59 America/New_York",
        "２０２６-12-10T08:00Z",  # noqa: RUF001 - full-width digits
    ],
)
def test_what_names_no_instant_is_refused(text: str) -> None:
    with pytest.raises(ConfigInvalid):
        read_instant(text)
