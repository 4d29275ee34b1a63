"""Pages: Jinja templates, the languages they come in, and the sentences that code chooses."""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context, select_autoescape
from jinja2.runtime import Context
from markupsafe import Markup

from relay.campaign import PublicTexts
from relay.queue.states import Reason, State
from relay.web.catalogues import SOURCE, Language, offer
from relay.web.headers import dress
from relay.web.progress import PROGRESS

POSTERS = {
    "general": "general: made for everybody",
    "write-in": "write-in: speaks to my own government",
    "handwritten": "written by hand",
}
# The relay can't tell a question from a photo: both lie in the same envelopes.
SENTENCES = {
    State.SEALED: "What you sent is here, locked. Nobody has decided about it yet.",
    State.LEASED: "What you sent is here, locked. Nobody has decided about it yet.",
    State.RELEASED: "The team has checked and accepted what you sent.",
    State.POSTED: "Your photo has been posted.",
    State.ANSWERED: "Your question has been answered.",
    State.RETURNED: "The team can't use what you sent and has destroyed it. You can send again.",
    State.LOST: "What you sent is not here any more: our computer was lost.",
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
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


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


def _isolate_days(text: str) -> str:
    """Return the text with each day kept in its order, from left to right.

    Source: Unicode Annex 9: after Arabic letters, 2026-03-19 is else shown as 19-03-2026.
    """
    return _DAY.sub("\N{LEFT-TO-RIGHT ISOLATE}\\g<0>\N{POP DIRECTIONAL ISOLATE}", text)


@pass_context
def _translate(context: Context, sentence: str) -> str:
    """Return the sentence in the page's language."""
    if not sentence:
        return ""  # to gettext, that asks for the catalogue's own head
    spoken = context["spoken"].translations.gettext(sentence)
    return _isolate_days(spoken)


@pass_context
def _refuse_plural(_: Context, *_sentences: object) -> str:
    raise NotImplementedError  # "Faces: 2" needs no plural forms, of which Arabic has six


class Pages:
    """Renders every page, with its headers."""

    def __init__(
        self,
        place: Place,
        languages: Mapping[str, Language],
        public: PublicTexts = PublicTexts(),  # noqa: B008 - frozen, and says nothing
    ) -> None:
        """Load the templates and the style sheets. languages: those offered, by their codes."""
        self.place = place
        self.languages = languages
        self.public = public
        self._styles = {name: _read_style(name) for name in ("page", "form", "cover", "poster")}
        self._environment = Environment(
            loader=PackageLoader("relay.web", "templates"),
            autoescape=select_autoescape(),
            undefined=StrictUndefined,
            extensions=["jinja2.ext.i18n"],
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.install_gettext_callables(  # type: ignore[attr-defined]
            _translate, _refuse_plural, newstyle=True
        )
        self._environment.globals["place"] = place
        self._environment.globals["answers"] = public.answers
        self._environment.globals["is_choice"] = len(languages) > 1
        self._environment.globals["has_poster_page"] = self.has_poster_page
        self._environment.filters["picture"] = _as_address
        self._environment.filters["isolated"] = lambda day: _isolate_days(str(day))

    def speaks(self, code: str) -> bool:
        """Whether this language is offered."""
        return code in self.languages

    def has_poster_page(self, code: str) -> bool:
        """Whether there is anything to say on the page of posters."""
        public = self.public
        is_said = public.event or public.stream or public.texts(code).poster
        return self.speaks(code) and bool(is_said)

    def render(
        self,
        template: str,
        *,
        language: str,
        status: int = 200,
        is_answer: bool = True,
        rule: str = "",
        **values: Any,
    ) -> web.Response:
        """Return the page. `values` are escaped wherever the template shows them.

        is_answer: to what she has sent; the browser is told to forget the pages before it. rule: a
        rule of style that this page alone has, of ours.
        """
        style = self._styles["page"] + self._styles.get(template.partition(".")[0], "") + rule
        text = self._environment.get_template(template).render(
            language=language,
            spoken=self.languages[language],
            is_answer=is_answer,
            style=Markup(style),  # noqa: S704 - our own words
            **values,
        )
        response = web.Response(
            text=text, status=status, content_type="text/html", charset=_CHARSET
        )
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        dress(response, style=f"'sha256-{digest}'")
        return response

    def form(
        self, *, language: str, fields: Mapping[str, str], progress: str, **values: Any
    ) -> web.Response:
        """Return the form; `fields` keeps what she wrote. progress: the name of its picture."""
        known = {name: fields.get(name, "") for name in FIELDS}
        return self.render(
            "form.html",
            language=language,
            fields=known,
            posters=POSTERS,
            progress=progress,
            rule=f"#send:focus~.bar{{background-image:url({PROGRESS}{progress})}}",
            **values,
        )


def _read_style(name: str) -> str:
    """Return a style sheet of ours without what only its reader needs."""
    sheet = resources.files("relay.web").joinpath(f"templates/{name}.css").read_text(_CHARSET)
    return re.sub(r"\s*([{}:;,~])\s*", r"\1", " ".join(sheet.split())).replace(";}", "}")


def english_alone(place: Place) -> Pages:
    """Return the pages of a listener at which no submitter comes by."""
    return Pages(place, {SOURCE: offer(accepted=(), is_demo=False)[SOURCE]})


# Every field of the form but the photo. Others are not looked at.
FIELDS = (
    "token",
    "progress",
    "website",  # stays empty: what fills in every form that it finds gives itself away
    "kind",
    "message",
    "may_quote",
    "poster",
    "may_post",
    "not_before",
    "look",
)
