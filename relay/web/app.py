"""The applications of the listeners, and what every answer has in common."""

from dataclasses import replace

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from relay.config import ServerConfig
from relay.errors import HostUnknown, MethodRefused, PageMissing, QueueFull, RelayError
from relay.intake.events import report
from relay.intake.runtime import Runtime
from relay.posters.press import Press
from relay.web.catalogues import SOURCE, offer
from relay.web.desk_api import DeskApi
from relay.web.headers import HTTPS_ALONE, METHODS, dress
from relay.web.pages import FIELDS, Pages, Place, english_alone
from relay.web.posters import PosterPages
from relay.web.submitter import SubmitterPages
from relay.web.upload import Budget, Limits

_OK, _METHOD_NOT_ALLOWED = 200, 405
_FULL = "the queue is full: a desk has to pull and decide, or max_queued to grow"
_OPEN_NETWORK_FULL = "who comes by the open network is told to come back; the rest is for tor"


def create_form_app(
    config: ServerConfig, runtime: Runtime, press: Press, *, is_onion: bool
) -> web.Application:
    """Return the submitter's application; in a demo the clearnet's carries the desk's API too.

    press: of all listeners, so that each poster is drawn once.

    Each listener has a share of its own of the memory for uploads, and the last quarter of the
    queue is the onion's, where a flood costs work: neither starves the other.
    """
    intake = runtime.intake
    if not is_onion:
        intake = replace(intake, most_queued=_open_networks_share(config))
    place = Place(
        name="onion" if is_onion else "clearnet",
        host=config.onion_address if is_onion else config.host,
        onion_address=config.onion_address,
        is_https=config.is_https and not is_onion,
    )
    languages = offer(accepted=config.accept_unreviewed, is_demo=config.demo)
    pages = Pages(place, languages, runtime.public)
    budget = Budget(
        config.max_inflight_bytes // max(1, bool(config.listen) + bool(config.onion_listen))
    )
    submitter = SubmitterPages(
        intake=intake,
        pages=pages,
        budget=budget,
        limits=Limits(
            names=FIELDS,
            max_bytes=config.max_upload_bytes,
            min_bytes_per_minute=config.min_bytes_per_minute,
        ),
        leave_to=config.leave_to,
    )
    app = _application(pages)

    async def refuse_uploads(_: web.Application) -> None:
        budget.stop()

    app.on_shutdown.append(refuse_uploads)
    if config.demo and not is_onion:
        app.add_routes(DeskApi(runtime.handover).routes())
    app.add_routes(submitter.routes())
    app.add_routes(PosterPages(pages=pages, press=press).routes())
    return app


def _open_networks_share(config: ServerConfig) -> int | None:
    """Return how many envelopes there may be for it; None: as many as there may be at all."""
    return max(1, config.max_queued * 3 // 4) if config.onion_listen else None


def create_desk_app(runtime: Runtime) -> web.Application:
    """Return the desk's application, for a listener of its own."""
    app = _application(english_alone(Place(name="desk")))
    app.add_routes(DeskApi(runtime.handover).routes())
    return app


def create_health_app(config: ServerConfig, runtime: Runtime) -> web.Application:
    """Return the operator's application: whether the form is open, else why, nothing of anybody.

    A line of its own says what is amiss and does not close it: a day that was not turned, and a
    share of the queue that is full.
    """
    door, queue, share = runtime.intake.door, runtime.intake.queue, _open_networks_share(config)

    async def show_health(_: web.Request) -> web.Response:
        lines, status = ["open"], _OK
        try:
            await runtime.intake.require_open()
            if config.listen and await queue.is_full(most=share):
                lines.append(f"full: {_OPEN_NETWORK_FULL}")
        except RelayError as error:
            causes = door.causes or [_FULL if isinstance(error, QueueFull) else error.message]
            lines, status = [f"closed: {why}" for why in causes], error.http_status
        if door.late is not None:
            lines.append(f"late: {door.late}")
        return web.Response(text="\n".join(lines) + "\n", status=status)

    app = _application(english_alone(Place(name="health")))
    app.add_routes([web.get("/healthz", show_health)])
    return app


def _application(pages: Pages) -> web.Application:
    app = web.Application(middlewares=[_error_pages(pages)])

    async def dress_the_rest(_: web.Request, response: web.StreamResponse) -> None:
        """Set our headers on what aiohttp answers by itself, outside the middleware."""
        if "Content-Security-Policy" not in response.headers:
            dress(response)
        if pages.place.is_https:
            response.headers.update(HTTPS_ALONE)

    app.on_response_prepare.append(dress_the_rest)
    return app


def _error_pages(pages: Pages) -> Middleware:
    """Return the middleware that turns whatever goes wrong into a page with our headers."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        allowed = METHODS
        try:
            if request.method not in METHODS:
                raise MethodRefused  # noqa: TRY301 - one place turns refusals into pages
            _require_host(request, pages.place.host)
            response = await handler(request)
            is_page = response.status == _OK and request.method != "POST"  # no receipt is left
            if is_page and pages.place.is_https and pages.place.onion_address:
                there = f"http://{pages.place.onion_address}{request.rel_url.raw_path}"
                response.headers["Onion-Location"] = there
            return response  # noqa: TRY300 - as above
        except web.HTTPException as answer:
            error: RelayError = PageMissing()
            if answer.status == _METHOD_NOT_ALLOWED:
                error = MethodRefused()
                allowed = tuple(sorted(getattr(answer, "allowed_methods", METHODS)))
        except RelayError as refusal:
            error = refusal
        except Exception as failure:  # noqa: BLE001 - the last net: a page, and no trace in it
            error = RelayError()
            error.__cause__ = failure
        report(error)
        first = request.path.lstrip("/").partition("/")[0]
        response = pages.render(
            "error.html",
            language=first if pages.speaks(first) else SOURCE,
            error=error,
            status=error.http_status,
            is_answer=request.method == "POST",
        )
        if isinstance(error, MethodRefused):
            response.headers["Allow"] = ", ".join(allowed)
        return response

    return middleware


def _require_host(request: web.Request, host: str) -> None:
    """Refuse who asks for another name: another site's, or an address that was scanned.

    Raises:
        HostUnknown: it is not ours.
    """
    if host and request.host.lower().partition(":")[0] != host:
        raise HostUnknown
