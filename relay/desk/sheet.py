"""The words and the look of a contact sheet: one page, no script, nothing that asks a network.

Everything here returns HTML in which every string from outside is escaped, and spelt out where it
can't be seen or turns the direction of what stands around it.
"""

import base64
import hashlib
import html
import re
import shlex
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from relay.desk.decide import QUESTION_REASONS, SHORTEST_ID
from relay.desk.opening import Examined
from relay.desk.visible import count_of
from relay.queue.states import Reason
from relay.scrub.wire import View
from relay.seal.envelope import Submission

STYLE = f"""
:root {{ color-scheme: light; font: 16px/1.4 system-ui, sans-serif; }}
body {{ margin: 1rem auto; max-width: 60rem; padding: 0 1rem; }}
code, pre {{ font-family: ui-monospace, monospace; overflow-wrap: anywhere; }}
pre {{ background: #eee; padding: .5rem; white-space: pre-wrap; }}
code.id {{ font-weight: normal; }}
code.id, pre {{ user-select: all; }}
article {{ border-top: 1px solid #777; display: flex; gap: 1rem; padding: 1rem 0;
  content-visibility: auto; contain-intrinsic-size: auto 18rem; }}
.photo {{ flex: 0 0 {View.THUMBNAIL.side_px}px; text-align: center; }}
.about {{ flex: 1; min-width: 0; }}
h2 {{ font-size: 1.1rem; margin: 0 0 .5rem; }}
section {{ margin: 1.5rem 0; }}
blockquote {{ background: #f4f4f4; margin: .5rem 0; max-height: 16rem; overflow: auto;
  overflow-wrap: anywhere; padding: .5rem; white-space: pre-line; }}
ul {{ margin: .5rem 0; padding-left: 1.2rem; overflow-wrap: anywhere; }}
.alarm, #down {{ border: 3px solid #b00; padding: .5rem; }}
.stop {{ font-weight: bold; color: #b00; }}
.decided {{ background: #def; padding: .5rem; }}
@media print {{
  body {{ max-width: none; margin: 0; }}
  article {{ break-inside: avoid; content-visibility: visible; }}
  blockquote {{ max-height: none; }}
}}
"""
_POLICY = (
    "default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; "
    "form-action 'none'"
)
# Line breaks, and the joiners without which Persian and Hindi are misspelt.
_KEPT_IN_MESSAGES = "\n\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z]{2,4})?")
_POSTERS = {
    "general": "the general poster",
    "write-in": "with her own words written in",
    "handwritten": "written by hand",
    None: "not said",
}
_REPORTED = {"removed": "Taken out of her file", "quality": "Quality of the picture, of 100"}
_REASONS = {
    Reason.FACE_VISIBLE: "a face can be seen",
    Reason.TEXT_UNREADABLE: "the text can't be read",
    Reason.NOT_A_POSTER: "it is no poster",
    Reason.MORE_THAN_ONE_PERSON: "more than one person is in it",
    Reason.DESTROYED_UNSEEN: "abusive; destroyed without a look",
    Reason.OTHER: "anything else",
}


@dataclass(frozen=True, kw_only=True)
class Card:
    """One submission on the sheet: its words, what is amiss, what was decided.

    examined: with a thumbnail in the place of its photo.
    """

    number: int
    examined: Examined
    alarms: tuple[str, ...]
    decided: str


def head(count: int, take_down: Collection[str]) -> str:
    """Return the beginning, for `count` submissions; posts to be taken down come first."""
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY.format(digest=digest)}">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>Review</title>\n<style>{STYLE}</style>\n"
        f"{_take_downs(take_down)}<h1>{count} to review</h1>\n"
        '<p><a href="#decide">How to decide</a> stands at the end.\n'
    )


def draw(card: Card) -> str:
    """Return one submission."""
    submission = card.examined.submission
    notes = [f'<p class="alarm">ALARM: {_escaped(alarm)}\n' for alarm in card.alarms]
    if card.decided:
        notes.append(f'<p class="decided">{_escaped(card.decided)}\n')
    return (
        f'<article><div class="photo">{_picture(card)}</div>\n'
        f'<div class="about"><h2>{card.number}. {_id(card.examined.id)}</h2>\n'
        f"{''.join(notes)}{_message(submission)}{_list(_facts(card.examined))}</div></article>\n"
    )


def _picture(card: Card) -> str:
    photo = card.examined.photo
    if photo is None:
        return "A question, without a photo"
    content = base64.b64encode(photo.jpeg).decode()
    return (
        f'<img alt="Photo {card.number}" width="{photo.width_px}" '
        f'height="{photo.height_px}" src="data:image/jpeg;base64,{content}">'
    )


def tail(failures: Sequence[tuple[str, str]], command: Sequence[str]) -> str:
    """Return the end: names and reasons of what could not be opened, and how to decide.

    command: what one types before `release`.
    """
    typed = _escaped(shlex.join(command))
    parts = ["<hr>\n"]
    if failures:
        lines = (f"<code>{_escaped(name)}</code>: {_escaped(why)}" for name, why in failures)
        parts.append(f'<section id="failed"><h2>Could not be opened</h2>{_list(lines)}</section>\n')
    reasons = (f"<code>{reason}</code>: {words}" for reason, words in _REASONS.items())
    parts.append(
        '<section id="decide"><h2>How to decide</h2>\n'
        f"<p>Type the first {SHORTEST_ID} digits, which are bold, in place of each ID.\n"
        f"<p>It may be posted:\n<pre>{typed} release ID ID</pre>\n"
        "<p>A framed face or code must go; cover it in the photo that you have opened:\n"
        f"<pre>{typed} cover ID</pre>\n"
        "<p>It may be seen; say why:\n"
        f'<pre>{typed} release ID --visible-because "…"</pre>\n'
        "<p>It may not be posted; the relay destroys it:\n"
        f"<pre>{typed} return ID --reason face-visible</pre>\n"
        f"<p>The reasons, which the sender reads:{_list(reasons)}"
        f"<p>For a question: {' or '.join(f'<code>{one}</code>' for one in QUESTION_REASONS)}.\n"
        "<p>Many at once, from a file with one ID a line:\n"
        f"<pre>{typed} release --list FILE</pre>\n"
        "<p>This page shows what was sent to you. Delete it when you have decided.</section>\n"
    )
    return "".join(parts)


def _take_downs(ids: Collection[str]) -> str:
    if not ids:
        return ""
    return (
        '<section id="down"><h2>Take down first</h2>\n'
        "<p>Their senders ask you to delete these posts. Do it now, wherever you posted them.\n"
        f"{_list(map(_id, ids))}</section>\n"
    )


def _facts(examined: Examined) -> list[str]:
    submission, covered_here = examined.submission, len(examined.covers)
    if submission.is_question:
        return ["For whoever moderates; never posted", f"Language: {_escaped(submission.language)}"]
    day = submission.not_before
    facts = [
        "May be posted" if submission.may_post else _stop("Must not be posted"),
        "Her words may be quoted" if submission.may_quote else "Don't quote her words",
        _stop(f"Not before {day.day} {day:%B} {day.year}") if day else "On any day",
        f"Poster: {_POSTERS[submission.poster]}",
        f"Language: {_escaped(submission.language)}",
        _faces(submission),
    ]
    if covered_here:
        facts.append(f"Covered here: {count_of(covered_here, 'place')}")
    for name, value in submission.scrub.items():
        words = ", ".join(value) if isinstance(value, list) else str(value)
        facts.append(f"{_escaped(_REPORTED.get(name, name))}: {_escaped(words) or 'nothing'}")
    return facts


def _faces(submission: Submission) -> str:
    covered = f"Faces covered: {submission.covers}"
    if not submission.visible:
        return covered
    visible = _stop(f"left visible by her: {len(submission.visible)}")
    return f"{covered}; {visible} (framed, without a number; printed on the poster?)"


def _message(submission: Submission) -> str:
    if not submission.message:
        return "<p>No message.\n"
    language = submission.language
    known = f' lang="{language}"' if _LANGUAGE.fullmatch(language) else ""
    lines = re.sub(r"\n{3,}", "\n\n", submission.message.replace("\r\n", "\n"))
    return f'<blockquote dir="auto"{known}>{_escaped(lines, kept=_KEPT_IN_MESSAGES)}</blockquote>\n'


def _id(submission_id: str) -> str:
    beginning, rest = submission_id[:SHORTEST_ID], submission_id[SHORTEST_ID:]
    return f'<code class="id"><b>{beginning}</b>{rest}</code>'


def _list(lines: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{line}' for line in lines)}</ul>\n"


def _stop(words: str) -> str:
    return f'<span class="stop">{words}</span>'


def _escaped(untrusted_text: str, *, kept: str = "") -> str:
    """Return text as HTML; what can't be seen is spelt out, but for `kept`."""
    spelt = (c if c.isprintable() or c in kept else f"\\u{ord(c):04x}" for c in untrusted_text)
    return html.escape("".join(spelt))
