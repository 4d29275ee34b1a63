"""Every page that a submitter can meet, with all that can be on it, in any language."""

import datetime as dt
import io
from collections.abc import Iterator

from aiohttp import web
from PIL import Image

from relay import errors
from relay.campaign import PublicTexts
from relay.intake.choice import Choice, Looked
from relay.intake.pending import Acknowledgement, Draft, Words
from relay.intake.submit import NotSentYet
from relay.queue.restorations import Restoration
from relay.queue.states import Reason, State
from relay.queue.store import Standing
from relay.receipt import grouped
from relay.scrub.found import Box, Found, Kind
from relay.web.catalogues import offer
from relay.web.pages import POSTERS, REASONS, REMOVALS, SENTENCES, Pages, Place
from relay.web.progress import new_name
from tests.conftest import ROOT

PUBLIC = PublicTexts.load(ROOT / "relay/cli/demo-campaign.toml")
RECEIPT = "26710935118704265520"
MESSAGE = "zebras over the quiet river"
TOKEN = "A" * 64
ANSWERS = "https://campaign.example.org/answers"
RULE = ".grid{grid-template-columns:repeat(12,1fr)}"
CROWD = "cover-crowd"
_FINDS = [Found(kind=Kind.CODE, box=Box(1300, 900, 90, 90))]
_FINDS += [Found(kind=Kind.FACE, box=Box(x, 100, 90, 120)) for x in range(0, 1200, 120)]


def make_pages(name: str = "clearnet", onion_address: str = "a" * 56 + ".onion") -> Pages:
    place = Place(name=name, host="", onion_address=onion_address, is_https=True)
    return Pages(place, offer(accepted=(), is_demo=True), PUBLIC)


def preview() -> bytes:
    content = io.BytesIO()
    Image.linear_gradient("L").resize((320, 240)).convert("RGB").save(content, "JPEG")
    return content.getvalue()


def every_page(pages: Pages, code: str) -> Iterator[tuple[str, web.Response]]:
    """Yield each page with a name of its own."""
    for name, template, values in _all(pages, code):
        if template == "form.html":
            yield name, pages.form(language=code, **values)
        else:
            yield name, pages.render(template, language=code, **values)


def _all(pages: Pages, code: str) -> Iterator[tuple[str, str, dict]]:  # type: ignore[type-arg]
    names = {code: language.name for code, language in pages.languages.items()}
    yield "languages", "languages.html", {"languages": names, "is_answer": False}
    form = {"is_open": True, "is_trapped": False, "token": TOKEN, "progress": new_name()}
    fresh = {"fields": {"may_post": "yes"}, "error": None, "is_answer": False}
    written = {"fields": {"message": MESSAGE, "poster": "general", "may_post": "yes"}}
    yield "form", "form.html", {**form, **fresh}
    for error in (errors.PhotoUnsupported(), errors.DayUnreadable()):
        yield f"form-{type(error).__name__}", "form.html", {**form, **written, "error": error}
    asked = {"fields": {"message": MESSAGE, "kind": "question"}}
    for error in (errors.QuestionWithPhoto(), errors.FormExpired()):
        yield f"form-asked-{type(error).__name__}", "form.html", {**form, **asked, "error": error}
    trapped = {"is_trapped": True, "error": errors.TrapFilled()}
    yield "form-TrapFilled", "form.html", {**form, **written, **trapped}
    closed = {"is_open": False, "error": errors.Closed(), "token": "", "progress": ""}
    yield "closed", "form.html", {**form, **fresh, **closed}
    yield from _covers()
    yield "held", "held.html", {"fields": {"ticket": TOKEN}, "wish": "again"}
    yield "held-without", "held.html", {"fields": {}}
    yield "thrown", "thrown.html", {}
    yield from _sent()
    yield "asked", "asked.html", {"receipt": grouped(RECEIPT)}
    yield from _posters(code)
    yield "receipt", "receipt.html", {"error": None, "is_answer": False}
    yield "receipt-mistyped", "receipt.html", {"error": errors.ReceiptMistyped()}
    yield from _standings()
    yield "error", "error.html", {"error": errors.PageMissing(), "is_answer": False}
    yield "failed", "error.html", {"error": errors.RelayError()}


def _posters(code: str) -> Iterator[tuple[str, str, dict]]:  # type: ignore[type-arg]
    words = PUBLIC.texts(code).poster
    kinds = {kind: POSTERS[kind] for kind in words}
    shown = {"public": PUBLIC, "printed": words, "is_answer": False}
    yield "poster", "poster.html", {**shown, "kinds": kinds}
    yield "poster-none", "poster.html", {**shown, "kinds": {}}


def _covers() -> Iterator[tuple[str, str, dict]]:  # type: ignore[type-arg]
    words = Words(
        message=MESSAGE,
        language="en",
        poster="general",
        may_post=True,
        may_quote=True,
        not_before=dt.date(2026, 12, 31),
    )
    for name, finds, squares, problem in (
        ("cover", 2, (), None),
        ("cover-again", 2, (3, 4), errors.NotLookedAt()),
        ("cover-unasked", 0, (), None),
        (CROWD, 10, (), None),
    ):
        draft = Draft(
            token=b"",
            digest=b"",
            words=words,
            removed=("position",),
            quality=80,
            looked=Looked(size=(1600, 1200), found=tuple(_FINDS[:finds])),
            jpeg=preview(),
        )
        shown = NotSentYet(
            ticket=TOKEN,
            preview=preview(),
            draft=draft,
            choice=Choice(squares=frozenset(squares)),
            problem=problem,
        )
        fields = {"message": MESSAGE, "poster": "general", "may_post": "yes"}
        yield (
            name,
            "cover.html",
            {"shown": shown, "fields": fields, "is_hard": name == CROWD, "rule": RULE},
        )


def _sent() -> Iterator[tuple[str, str, dict]]:  # type: ignore[type-arg]
    for name, is_other in (("sent", False), ("sent-before", True)):
        sent = Acknowledgement(
            receipt=RECEIPT,
            removed=tuple(REMOVALS),
            report={"faces_covered": 2, "faces_visible": 1},
            preview=preview(),
            is_other=is_other,
        )
        yield (
            name,
            "sent.html",
            {"sent": sent, "receipt": grouped(RECEIPT), "removals": REMOVALS},
        )


def _standings() -> Iterator[tuple[str, str, dict]]:  # type: ignore[type-arg]
    standings = [
        None,
        Standing(state=State.SEALED, return_reason=None, take_down=False),
        Standing(state=State.RELEASED, return_reason=None, take_down=False),
        Standing(state=State.POSTED, return_reason=None, take_down=True),
        Standing(state=State.ANSWERED, return_reason=None, take_down=False),
        Standing(state=State.RETURNED, return_reason=Reason.FACE_VISIBLE, take_down=False),
    ]
    words = {"sentences": SENTENCES, "reasons": REASONS, "receipt": RECEIPT, "restorations": ()}
    for standing in standings:
        name = f"standing-{standing.state if standing else 'none'}"
        yield name, "standing.html", {"standing": standing, **words}
    lost = Standing(state=State.LOST, return_reason=None, take_down=False)
    day = dt.date(2026, 3, 19)
    words["restorations"] = (Restoration(copied=day, restored=day),)
    yield "standing-lost", "standing.html", {"standing": lost, **words}
    yield "standing-none-restored", "standing.html", {"standing": None, **words}


def head_bytes(response: web.Response) -> int:
    """How much its headers take on the wire, with those that the server adds."""
    added = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\nContent-Type: text/html; charset=utf-8\r\n"
    )
    lines = sum(len(f"{name}: {value}\r\n") for name, value in response.headers.items())
    return len(added) + lines + 2
