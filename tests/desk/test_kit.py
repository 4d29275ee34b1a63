"""What supporters are given before the moment."""

import datetime as dt
from pathlib import Path

import pytest
from icalendar import Calendar

from relay.campaign import PublicTexts
from relay.desk.instant import read_instant
from relay.desk.kit import CALENDAR_NAME, calendar, suggested_posts, write_kit
from tests.conftest import ROOT

DEMO = PublicTexts.load(ROOT / "relay/cli/demo-campaign.toml")
MOMENT = read_instant("2018-03-19T08:00-04:00")


def test_the_calendar_shows_the_moment_and_reminds_of_it() -> None:
    whole = Calendar.from_ical(calendar(DEMO, MOMENT))
    (event,) = whole.walk("VEVENT")
    assert event["DTSTART"].dt == dt.datetime(2018, 3, 19, 12, 0, tzinfo=dt.UTC)
    assert event["DTEND"].dt > event["DTSTART"].dt
    assert event["SUMMARY"] == "#DemoCampaign"
    assert "https://live.example.org/" in event["DESCRIPTION"]
    (alarm,) = event.walk("VALARM")
    assert alarm["TRIGGER"].dt < dt.timedelta()


def test_the_calendar_is_the_same_whenever_it_is_made_and_names_no_program() -> None:
    made = calendar(DEMO, MOMENT)
    assert made == calendar(DEMO, MOMENT)
    for word in (b"relay", b"icalendar", str(dt.datetime.now(dt.UTC).year).encode()):
        assert word not in made.replace(b"10 December 2026", b"")
    for line in made.split(b"\r\n"):
        assert len(line) <= 75, "RFC 5545, 3.1"
        line.decode()
    later = calendar(DEMO, MOMENT + dt.timedelta(hours=1))
    uids = [Calendar.from_ical(one).walk("VEVENT")[0]["UID"] for one in (made, later)]
    assert uids[0] != uids[1]


def test_lines_that_are_long_or_hold_signs_of_the_format_come_back_whole() -> None:
    event = "十二月十日，" * 20 + "; a, b\\n c"  # noqa: RUF001 - Chinese
    made = calendar(PublicTexts(event=event), MOMENT)
    assert all(len(line) <= 75 for line in made.split(b"\r\n"))
    (read,) = Calendar.from_ical(made).walk("VEVENT")
    assert read["DESCRIPTION"] == event


@pytest.mark.parametrize("language", DEMO.languages)
def test_a_suggested_post_is_the_campaigns_own_words_with_handle_and_hashtag(language: str) -> None:
    posts = suggested_posts(DEMO, language)
    assert posts.count("#DemoCampaign") == 4
    assert "@campaign@social.example.org" in posts
    assert DEMO.texts(language).poster["general"].replace("\u200b", "") in posts
    for sign in ("{", "}", "\u200b", "____", "\n\n\n"):
        assert sign not in posts


def test_posts_that_are_the_same_everywhere_stand_once() -> None:
    assert suggested_posts(PublicTexts(hashtag="#A"), "en") == "#A\n"


def test_a_kit_holds_nothing_else(tmp_path: Path) -> None:
    files = write_kit(DEMO, MOMENT, tmp_path / "kit")
    names = {file.name for file in files}
    assert names == {CALENDAR_NAME} | {f"posts-{code}.txt" for code in DEMO.languages}
    assert {file.name for file in (tmp_path / "kit").iterdir()} == names
