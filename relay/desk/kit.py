"""What supporters are given before the moment: when it is, and what they could post.

The campaign's own words alone: nothing of a submission is in it.
"""

import datetime as dt
import uuid
from pathlib import Path

from icalendar import Alarm, Calendar, Event

from relay.campaign import PublicTexts
from relay.desk.captions import word

CALENDAR_NAME = "moment.ics"
_MAKER = "-//campaign//moment//EN"  # the format asks for one; it names no program
_NETWORKS = ("mastodon", "bluesky", "facebook", "x")
_BEFORE = dt.timedelta(minutes=10)
_LASTS = dt.timedelta(minutes=15)


def write_kit(texts: PublicTexts, instant: dt.datetime, folder: Path) -> list[Path]:
    """Write the calendar and the suggested posts; return where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {CALENDAR_NAME: calendar(texts, instant)}
    for language in texts.languages:
        files[f"posts-{language}.txt"] = suggested_posts(texts, language).encode()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in files]


def calendar(texts: PublicTexts, instant: dt.datetime) -> bytes:
    """Return the moment as a calendar file, the same bytes whenever it is made.

    instant: in UTC; a calendar shows it by the clock of its own place. Source: RFC 5545.
    """
    title = texts.hashtag or texts.event or "The moment"
    words = "\n".join(line for line in (texts.event, texts.stream) if line)
    name = f"{instant.isoformat()} {title} {words}"
    event = Event.new(
        uid=uuid.uuid5(uuid.NAMESPACE_OID, name),
        stamp=instant,  # in the place of a clock; it must change with the event, and does
        start=instant,
        end=instant + _LASTS,
        summary=title,
        description=words or None,
    )
    alarm = Alarm()
    alarm.add("ACTION", "DISPLAY")
    alarm.add("DESCRIPTION", title)
    alarm.add("TRIGGER", -_BEFORE)
    event.add_component(alarm)
    whole = Calendar()
    whole.add("PRODID", _MAKER)
    whole.add("VERSION", "2.0")
    whole.add_component(event)
    return bytes(whole.to_ical())


def suggested_posts(texts: PublicTexts, language: str) -> str:
    """Return what a supporter could post in a language, one for each network."""
    posts = {network: _suggest(texts, language, network) for network in _NETWORKS}
    if len({*posts.values()}) == 1:
        return f"{posts[_NETWORKS[0]]}\n"
    return "\n\n".join(f"--- {network}\n{post}" for network, post in posts.items()) + "\n"


def _suggest(texts: PublicTexts, language: str, network: str) -> str:
    """She speaks for herself: the words of the poster, and none about a photo that came."""
    message = texts.texts(language).poster.get("general", "").strip()
    return word(texts, language, network, message=message)
