"""The submitter's pages: form, receipt, status, withdrawal."""

import datetime as dt
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace

from aiohttp import web

from relay.errors import (
    CantLook,
    ComeBack,
    CrossSite,
    DayUnreadable,
    FormExpired,
    FormUnreadable,
    NotLookedAt,
    PageMissing,
    PhotoMissing,
    QuestionWithPhoto,
    ReceiptMistyped,
    RelayError,
    SubmissionRefused,
    TooLarge,
    TooSlow,
    TrapFilled,
    UploadEndless,
)
from relay.intake.choice import read_choice
from relay.intake.events import report
from relay.intake.pending import POSTERS, Acknowledgement, Asked, Words
from relay.intake.submit import Intake, NotSentYet, Question, Upload, Way, utc_today
from relay.queue.store import Standing
from relay.receipt import grouped, read_receipt
from relay.scrub.found import is_hard
from relay.web.accepted import in_order_of
from relay.web.catalogues import SOURCE
from relay.web.connection import Connection
from relay.web.headers import dress
from relay.web.onion import Circuit
from relay.web.pages import REASONS, REMOVALS, SENTENCES, Pages
from relay.web.progress import EMPTY, PATH, Progress, new_name
from relay.web.upload import Budget, Form, Limits, Reservation, read_form

PHOTO, QUESTION = "photo", "question"  # what the field `kind` says
_FRESH = {"may_post": "yes"}
RECEIPT_FIELD = "receipt"
_TICKET_FIELD = "ticket"
# Ethiopia's calendar is 7 years behind, Persia's 621; Nepal's is 57 ahead, Thailand's 543.
_LONG_PAST, _FAR_AWAY = dt.timedelta(days=-3 * 366), dt.timedelta(days=5 * 366)
_OURS = {"do", "cvc"}  # of the page that shows a draft: its buttons and its unseen field
_FORGET = {"Clear-Site-Data": '"cache"'}
_SAFE_SITES = {None, "same-origin", "none"}


@dataclass(frozen=True, kw_only=True)
class SubmitterPages:
    """The handlers of the public listener."""

    intake: Intake
    pages: Pages
    budget: Budget
    limits: Limits
    leave_to: str
    progress: Progress = field(default_factory=Progress)

    def routes(self) -> list[web.RouteDef]:
        """Return every public route; all else is denied."""
        return [
            web.get("/", self.choose_language),
            web.get("/leave", self.leave),
            web.get("/left", self.send_away),
            web.get("/clear", self.clear),
            web.get(PATH, self.progress.show),
            web.get("/{language}/", self.show_form),
            web.post("/{language}/", self.submit),
            web.post("/{language}/cover", self.cover),
            web.get("/{language}/receipt", self.ask_receipt),
            web.post("/{language}/receipt", self.show_standing),
            web.post("/{language}/withdraw", self.withdraw),
        ]

    async def choose_language(self, request: web.Request) -> web.Response:
        """Show the list of languages, those first that her browser asks for."""
        wanted = in_order_of(request.headers.get("Accept-Language", ""), self.pages.languages)
        return self.pages.render(
            "languages.html",
            language=SOURCE,
            is_answer=False,
            languages={code: self.pages.languages[code].name for code in wanted},
        )

    async def leave(self, _: web.Request) -> web.Response:
        """Show an empty page in the place of this one, at once; it leads to `send_away`."""
        response = self.pages.render("leave.html", language=SOURCE, is_answer=False)
        response.headers["Refresh"] = "0; url=/left"
        return response

    async def send_away(self, _: web.Request) -> web.Response:
        """Let the browser forget our pages, which takes it a moment, and go elsewhere."""
        response = web.Response(status=303)
        dress(response)
        response.headers.update(_FORGET | {"Location": self.leave_to})
        return response

    async def clear(self, _: web.Request) -> web.Response:
        """Let the browser forget the pages before this one: a picture of nothing says so."""
        response = web.Response(body=EMPTY, content_type="image/gif")
        dress(response)
        response.headers.update(_FORGET)
        return response

    async def show_form(self, request: web.Request) -> web.Response:
        """Show advice and form, or say that we are closed."""
        language = self._language(request)
        try:
            await self.intake.require_open()
        except RelayError as error:
            return self._closed(error, language)
        return self._form(language, fields=_FRESH, error=None, status=200)

    async def submit(self, request: web.Request) -> web.Response:
        """Take a submission in and show its receipt, or what would be sent."""
        language = self._language(request)
        form = Form()
        try:
            _require_same_site(request)
            with _counted(request), self._reserve(request) as reservation:
                await read_form(request, self.limits, reservation, form, self.progress)
                reservation.settle()
                outcome = await self._take(form, language, self._way(request))
        except RelayError as error:
            report(error)
            return self._form(language, fields=form.fields, error=error, status=error.http_status)
        finally:
            form.wipe()
        return self._answer(outcome, language)

    async def _take(
        self, form: Form, language: str, way: Way
    ) -> Acknowledgement | Asked | NotSentYet:
        if self.pages.public.answers and form.fields.get("kind") == QUESTION:
            return await self.intake.ask(_read_question(form, language))
        return await self.intake.submit(_read_upload(form, language), way)

    async def cover(self, request: web.Request) -> web.Response:
        """Send what the cover page shows, show it again with other covers, or throw it away."""
        language = self._language(request)
        form = Form()
        try:
            _require_same_site(request)
            await self._read_small(request, form)
            return self._answer(await self._choose(form.fields, self._way(request)), language)
        except SubmissionRefused as error:
            return self._form(language, fields=form.fields, error=error, status=error.http_status)
        except RelayError as error:  # the draft is still here
            report(error)
            return self.pages.render(
                "held.html",
                language=language,
                error=error,
                fields={name: text for name, text in form.fields.items() if name not in _OURS},
                wish=form.fields.get("do", "send"),
                status=error.http_status,
            )

    async def _choose(
        self, fields: Mapping[str, str], way: Way
    ) -> Acknowledgement | NotSentYet | None:
        ticket, wish, choice = fields.get(_TICKET_FIELD, ""), fields.get("do"), read_choice(fields)
        if wish == "drop":
            return await self.intake.throw_away(ticket)
        if wish == "again":
            return await self.intake.show(ticket, choice, way)
        if "looked" in fields:
            return await self.intake.send(ticket, choice, way)
        shown = await self.intake.show(ticket, choice, way)
        if isinstance(shown, Acknowledgement) or shown.problem:
            return shown
        return replace(shown, problem=NotLookedAt())

    def _answer(
        self, outcome: Acknowledgement | Asked | NotSentYet | None, language: str
    ) -> web.Response:
        if outcome is None:
            return self.pages.render("thrown.html", language=language)
        if isinstance(outcome, Asked):
            receipt = grouped(outcome.receipt)
            return self.pages.render("asked.html", language=language, receipt=receipt)
        if isinstance(outcome, Acknowledgement):
            return self.pages.render(
                "sent.html",
                language=language,
                sent=outcome,
                receipt=grouped(outcome.receipt),
                removals=REMOVALS,
            )
        looked, problem = outcome.draft.looked, outcome.problem
        return self.pages.render(
            "cover.html",
            language=language,
            shown=outcome,
            fields=_fields(outcome.draft.words),
            is_hard=is_hard(looked.found),
            rule=f".grid{{grid-template-columns:repeat({looked.columns},1fr)}}",
            status=problem.http_status if problem else 200,
        )

    def _language(self, request: web.Request) -> str:
        language = request.match_info["language"]
        if not self.pages.speaks(language):
            raise PageMissing
        return language

    async def ask_receipt(self, request: web.Request) -> web.Response:
        """Show the form that takes a receipt."""
        language = self._language(request)
        return self.pages.render("receipt.html", language=language, error=None, is_answer=False)

    async def show_standing(self, request: web.Request) -> web.Response:
        """Show where a submission stands."""
        return await self._answer_receipt(request, self.intake.look_up, missing_status=404)

    async def withdraw(self, request: web.Request) -> web.Response:
        """Take a submission back: one press, answered at once."""
        return await self._answer_receipt(request, self.intake.withdraw, missing_status=200)

    async def _answer_receipt(
        self,
        request: web.Request,
        ask: Callable[[str], Awaitable[Standing | None]],
        *,
        missing_status: int,
    ) -> web.Response:
        language = self._language(request)
        try:
            receipt = await self._read_receipt(request)
            standing = await ask(receipt)
            restorations = await self.intake.restorations()
        except SubmissionRefused as error:
            return self._mistyped(error, language)
        except ComeBack as error:  # its own words speak of sending
            raise CantLook from error
        return self.pages.render(
            "standing.html",
            language=language,
            standing=standing,
            receipt=receipt,
            restorations=restorations,
            sentences=SENTENCES,
            reasons=REASONS,
            status=missing_status if standing is None else 200,
        )

    async def _read_receipt(self, request: web.Request) -> str:
        _require_same_site(request)
        form = Form()
        await self._read_small(request, form)
        try:
            return read_receipt(form.fields[RECEIPT_FIELD])
        except KeyError:
            raise ReceiptMistyped from None

    async def _read_small(self, request: web.Request, form: Form) -> None:
        """Read a form without a photo."""
        limits = replace(self.limits, names={RECEIPT_FIELD}, max_bytes=0)
        with _counted(request), self._reserve(request, has_photo=False) as reservation:
            await read_form(request, limits, reservation, form)

    def _way(self, request: web.Request) -> Way:
        circuit = _circuit(request)
        return Way(
            is_wanted=lambda: _is_connected(request),
            lane=(self.pages.place.name, circuit.number if circuit else 0),
        )

    def _reserve(
        self, request: web.Request, *, has_photo: bool = True
    ) -> AbstractContextManager[Reservation]:
        """Reserve memory for what is sent; whoever loses it is cut, and her circuit struck."""

        def end() -> None:
            if (circuit := _circuit(request)) is not None:
                circuit.strike()
            if request.transport is not None:
                request.transport.abort()

        return self.budget.reserve(end, is_counted=has_photo)

    def _form(
        self, language: str, *, fields: Mapping[str, str], error: RelayError | None, status: int
    ) -> web.Response:
        return self.pages.form(
            language=language,
            fields=fields,
            error=error,
            is_open=True,
            is_trapped=isinstance(error, TrapFilled),
            is_answer=error is not None,
            token=self._token_for(fields),
            progress=new_name(),
            status=status,
        )

    def _token_for(self, fields: Mapping[str, str]) -> str:
        """Return the token that she has sent, if it is good: an earlier try may have arrived."""
        try:
            self.intake.keys.check_token(fields.get("token", ""))
        except FormExpired:
            return self.intake.keys.new_token()
        return fields["token"]

    def _closed(self, error: RelayError, language: str) -> web.Response:
        return self.pages.form(
            language=language,
            fields={},
            error=error,
            is_open=False,
            is_trapped=False,
            is_answer=False,
            token="",
            progress="",
            status=error.http_status,
        )

    def _mistyped(self, error: RelayError, language: str) -> web.Response:
        return self.pages.render(
            "receipt.html", language=language, error=error, status=error.http_status
        )


def _circuit(request: web.Request) -> Circuit | None:
    return request.protocol.circuit if isinstance(request.protocol, Connection) else None


@contextmanager
def _counted(request: web.Request) -> Iterator[None]:
    """Hold a body that is sent against the circuit that it comes by, where there is one."""
    circuit = _circuit(request)
    if circuit is None or request.transport is None:
        yield
        return
    with circuit.upload(request.transport):
        try:
            yield
        except (TooSlow, UploadEndless):
            circuit.strike()
            raise


def _is_connected(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()


def _require_same_site(request: web.Request) -> None:
    """Refuse posts from other sites. `Origin` is null under no-referrer and tells nothing."""
    if request.headers.get("Sec-Fetch-Site") not in _SAFE_SITES:
        raise CrossSite


def _read_question(form: Form, language: str) -> Question:
    fields = form.fields
    _check_form(fields)
    if form.is_too_large or form.untrusted_photo:
        raise QuestionWithPhoto
    return Question(token=fields["token"], text=fields.get("message", ""), language=language)


def _check_form(fields: Mapping[str, str]) -> None:
    if fields.get("website"):
        raise TrapFilled
    if "token" not in fields:
        raise FormExpired
    if fields.get("kind", PHOTO) not in (PHOTO, QUESTION):
        raise FormUnreadable


def _read_upload(form: Form, language: str) -> Upload:
    fields = form.fields
    _check_form(fields)
    if form.is_too_large:
        raise TooLarge
    if not form.untrusted_photo:
        raise PhotoMissing
    poster = next((known for known in POSTERS if known == fields.get("poster")), None)
    if fields.get("poster") and poster is None:
        raise FormUnreadable
    return Upload(
        token=fields["token"],
        untrusted_photo=form.untrusted_photo.view(),
        words=Words(
            message=fields.get("message", ""),
            language=language,
            poster=poster,
            may_post=fields.get("may_post") == "yes",
            may_quote=fields.get("may_quote") == "yes",
            not_before=_read_day(fields.get("not_before", "")),
        ),
        is_to_be_shown=fields.get("look") == "yes",
    )


def _fields(words: Words) -> dict[str, str]:
    """Return what a form had in it, to fill another with it."""
    chosen = {
        "message": words.message,
        "poster": words.poster or "",
        "may_post": "yes" if words.may_post else "",
        "may_quote": "yes" if words.may_quote else "",
        "not_before": words.not_before.isoformat() if words.not_before else "",
    }
    return {name: text for name, text in chosen.items() if text}


def _read_day(text: str) -> dt.date | None:
    """Return the day before which it must not be posted.

    Raises:
        DayUnreadable: it is none, or one of another calendar: in Persia's, this year is long past.
    """
    try:
        day = dt.date.fromisoformat(text.strip()) if text.strip() else None
    except ValueError:
        raise DayUnreadable from None
    today = utc_today()
    if day is not None and not _LONG_PAST <= day - today <= _FAR_AWAY:
        raise DayUnreadable
    return day
