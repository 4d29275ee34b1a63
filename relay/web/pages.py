"""Pages: Jinja templates, the languages they come in, and the sentences that code chooses."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from gettext import NullTranslations
from importlib import resources
from typing import Any

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from relay.queue.states import Reason, State
from relay.web.headers import dress

# Code in the path and in <html lang>; the language's own name.
LANGUAGES = {"en": "English"}
FALLBACK = "en"
POSTERS = {
    "general": "general: made for everybody",
    "write-in": "write-in: speaks to my own government",
    "handwritten": "written by hand",
}
SENTENCES = {
    State.SEALED: "Your photo is here, locked. Nobody has decided about it yet.",
    State.LEASED: "Your photo is here, locked. Nobody has decided about it yet.",
    State.RELEASED: "The team has checked and accepted your photo.",
    State.POSTED: "Your photo has been posted.",
    State.RETURNED: "The team can't post this photo and has destroyed it. You can send another.",
}
REASONS = {
    Reason.FACE_VISIBLE: "A face can be seen in it.",
    Reason.TEXT_UNREADABLE: "The text on the poster can't be read.",
    Reason.NOT_A_POSTER: "It does not show a poster.",
    Reason.MORE_THAN_ONE_PERSON: "It shows more than one person.",
    Reason.DESTROYED_UNSEEN: "It was destroyed without being looked at.",
    Reason.OTHER: "It does not fit the campaign.",
}
# What the scrub report names, in her words. A test holds that none is missing.
REMOVALS = {
    "position": "where it was taken",
    "time": "when it was taken",
    "device": "which phone or camera took it",
    "serial number": "a number that belongs to that one phone, camera or file",
    "thumbnail": "a small hidden copy of the picture",
    "edit history": "notes of apps and websites that it went through",
    "content credentials": "a signed history of the photo",
    "second picture": "a second, hidden picture",
    "video": "a hidden video",
    "comment": "hidden text",
    "colour profile": "the colour settings of the phone or screen",
    "hidden pixels": "see-through parts and what lay under them",
}
_CHARSET = "utf-8"


@dataclass(frozen=True, kw_only=True)
class Place:
    """A listener, as its visitors see it."""

    name: str
    host: str = ""  # what they ask for; empty: anything
    onion_address: str = ""
    is_https: bool = False


def _as_address(jpeg: bytes) -> str:
    """Return a picture as the address of itself: no second request, and nothing is kept for one."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


class Pages:
    """Renders every page, with its headers."""

    def __init__(self, place: Place) -> None:
        """Load the templates and the one style sheet."""
        self.place = place
        style = resources.files("relay.web").joinpath("templates/style.css").read_text(_CHARSET)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        self._style_source = f"'sha256-{digest}'"
        self._environment = Environment(
            loader=PackageLoader("relay.web", "templates"),
            autoescape=select_autoescape(),
            undefined=StrictUndefined,
            extensions=["jinja2.ext.i18n"],
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.install_gettext_translations(NullTranslations(), newstyle=True)  # type: ignore[attr-defined]
        self._environment.globals["place"] = place
        self._environment.filters["picture"] = _as_address
        self._environment.globals["style"] = Markup(style)  # noqa: S704 - our own file

    def render(
        self, template: str, *, language: str, status: int = 200, **values: Any
    ) -> web.Response:
        """Return the page. `values` are escaped wherever the template shows them."""
        text = self._environment.get_template(template).render(language=language, **values)
        response = web.Response(
            text=text, status=status, content_type="text/html", charset=_CHARSET
        )
        dress(response, style=self._style_source)
        return response

    def form(self, *, language: str, fields: Mapping[str, str], **values: Any) -> web.Response:
        """Return the form; `fields` keeps what she wrote."""
        known = {name: fields.get(name, "") for name in FIELDS}
        return self.render("form.html", language=language, fields=known, posters=POSTERS, **values)


# Every field of the form but the photo. Others are not looked at.
FIELDS = ("token", "message", "may_quote", "poster", "may_post", "not_before", "look")
