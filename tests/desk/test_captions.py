"""The exact words of a post: from the templates, as edited, and nothing that she did not allow."""

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.campaign import PublicTexts, Texts
from relay.desk.captions import CaptionFiles, Captions, draw_up
from relay.desk.journal import JournalFile
from relay.errors import ConfigInvalid
from relay.seal.envelope import Submission

ID = "0123456789abcdef" * 2
TEXTS = PublicTexts(
    hashtag="#HerVoice",
    handles={"default": "@campaign", "mastodon": "@campaign@social.example"},
    languages={
        "en": Texts(
            caption={
                "default": "{message}\n\n{poster} {handle} {hashtag}",
                "x": "{hashtag}: {message}",
            },
            kind={"general": "A poster for all."},
            alt={"default": "A person holds a poster.", "handwritten": "Written by hand."},
        ),
        "fa": Texts(caption={"default": "«{message}» {hashtag}"}, alt={"default": "یک نفر"}),
    },
)


def submission(**changes: object) -> Submission:
    fields: dict[str, object] = {
        "campaign": "demo",
        "language": "en",
        "message": "Hear us.",
        "may_quote": True,
        "poster": "general",
        "may_post": True,
        "not_before": None,
        "scrub": {},
    }
    return Submission(**fields | changes)  # type: ignore[arg-type]


def drawn(**changes: object) -> Captions:
    return draw_up(submission(**changes), TEXTS, ("mastodon", "bluesky", "x"))


def test_each_network_has_its_own_template_and_handle() -> None:
    captions = drawn()
    assert captions.texts == {
        "mastodon": "Hear us.\n\nA poster for all. @campaign@social.example #HerVoice",
        "bluesky": "Hear us.\n\nA poster for all. @campaign #HerVoice",
        "x": "#HerVoice: Hear us.",
    }
    assert captions.alt == "A person holds a poster."


def test_her_message_is_left_out_where_she_did_not_allow_it() -> None:
    captions = drawn(may_quote=False)
    assert "Hear us" not in captions.encode()
    assert captions.texts["bluesky"] == "A poster for all. @campaign #HerVoice"


@pytest.mark.parametrize(
    ("changes", "text", "alt"),
    [
        ({"language": "fa"}, "«Hear us.» #HerVoice", "یک نفر"),
        ({"language": "sw"}, "Hear us.\n\nA poster for all. @campaign #HerVoice", None),
        ({"poster": None}, "Hear us.\n\n@campaign #HerVoice", "A person holds a poster."),
        ({"poster": "handwritten"}, "Hear us.\n\n@campaign #HerVoice", "Written by hand."),
    ],
)
def test_language_and_poster_decide(changes: dict[str, object], text: str, alt: str | None) -> None:
    captions = drawn(**changes)
    assert captions.texts["bluesky"] == text
    assert alt is None or captions.alt == alt


def test_without_templates_there_are_plain_words_and_alt_has_to_be_written() -> None:
    captions = draw_up(submission(), PublicTexts(hashtag="#x"), ["folder"])
    assert captions == Captions(texts={"folder": "Hear us.\n\n#x"}, alt="")


def test_her_message_fills_no_placeholder_and_opens_no_part() -> None:
    """A sender writes what staff would have to see through."""
    hostile = "{hashtag} {0.__class__}\n=== alt ===\n= === x ===\n\u202egnp.exe\u2066\u200b!"
    captions = drawn(message=hostile)
    assert Captions.decode(captions.encode()) == captions
    first, *lines = captions.texts["bluesky"].splitlines()
    assert first == "{hashtag} {0.__class__}"
    assert lines[:3] == ["alt ===", "x ===", "gnp.exe!"]


@given(st.text("= \n\tabx", max_size=30))
def test_no_message_breaks_its_captions_apart(message: str) -> None:
    captions = drawn(message=message)
    assert Captions.decode(captions.encode()) == captions


@given(st.text(), st.text(), st.text())
def test_what_is_read_is_what_was_kept(one: str, other: str, alt: str) -> None:
    captions = draw_up(submission(message=one), TEXTS, ["bluesky"])
    edited = Captions(texts={**captions.texts, "x": other}, alt=alt)
    first = _decoded(edited)
    assert first is None or _decoded(first) == first


def _decoded(captions: Captions) -> Captions | None:
    try:
        return Captions.decode(captions.encode())
    except ConfigInvalid:  # an editor has written the head of a part into it
        return None


@pytest.mark.parametrize("text", ["", "=== x ===\nwords", "=== alt ===\n=== alt ===\n"])
def test_a_file_without_its_parts_is_refused(text: str) -> None:
    with pytest.raises(ConfigInvalid, match="alt"):
        Captions.decode(text)


def test_captions_are_private_and_the_journal_knows_them(tmp_path: Path) -> None:
    files = CaptionFiles(JournalFile(tmp_path))
    assert files.read(ID) is None
    files.keep(ID, drawn())
    assert files.read(ID) == drawn()
    path = files.path(ID)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert JournalFile(tmp_path).read().captions == {ID: [str(path)]}
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigInvalid, match=path.name):
        files.read(ID)


def test_days_are_not_in_the_words() -> None:
    assert "2026" not in drawn(not_before=dt.date(2026, 3, 19)).encode()
