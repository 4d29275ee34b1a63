"""The applications of the two listeners, and what every answer has in common."""

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from relay.config import ServerConfig
from relay.errors import MethodRefused, PageMissing, RelayError
from relay.intake.events import report
from relay.intake.runtime import Runtime
from relay.web.desk_api import DeskApi
from relay.web.headers import dress
from relay.web.pages import FALLBACK, FIELDS, LANGUAGES, Pages
from relay.web.submitter import SubmitterPages
from relay.web.upload import Budget, Limits

METHODS = ("GET", "HEAD", "POST")
_METHOD_NOT_ALLOWED = 405


def create_app(config: ServerConfig, runtime: Runtime) -> web.Application:
    """Return the public application; in a demo it carries the desk's API too."""
    pages = Pages()
    submitter = SubmitterPages(
        intake=runtime.intake,
        pages=pages,
        budget=Budget(config.max_inflight_bytes),
        limits=Limits(
            names=FIELDS,
            max_bytes=config.max_upload_bytes,
            min_bytes_per_minute=config.min_bytes_per_minute,
        ),
    )
    app = _application(pages)
    if config.demo:
        app.add_routes(DeskApi(runtime.handover).routes())
    app.add_routes(submitter.routes())
    return app


def create_desk_app(runtime: Runtime) -> web.Application:
    """Return the desk's application, for a listener of its own."""
    app = _application(Pages())
    app.add_routes(DeskApi(runtime.handover).routes())
    return app


def _application(pages: Pages) -> web.Application:
    app = web.Application(middlewares=[_error_pages(pages)])
    app.on_response_prepare.append(_dress_the_rest)
    return app


async def _dress_the_rest(_: web.Request, response: web.StreamResponse) -> None:
    """Set our headers on what aiohttp answers by itself, outside the middleware."""
    if "Content-Security-Policy" not in response.headers:
        dress(response)


def _error_pages(pages: Pages) -> Middleware:
    """Return the middleware that turns whatever goes wrong into a page with our headers."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        allowed = METHODS
        try:
            if request.method not in METHODS:
                raise MethodRefused  # noqa: TRY301 - one place turns refusals into pages
            return await handler(request)
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
            language=first if first in LANGUAGES else FALLBACK,
            error=error,
            status=error.http_status,
        )
        if isinstance(error, MethodRefused):
            response.headers["Allow"] = ", ".join(allowed)
        return response

    return middleware
