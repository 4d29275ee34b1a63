"""The headers of every answer, errors included. One allow-list for all pages."""

import datetime as dt

from aiohttp import web

from relay.intake.submit import utc_today

# Over HTTPS. A time would help from the second visit on, and most come once; browsers keep it, and
# so our name, when their history is cleared. Zero lets them forget what others may have told them.
HTTPS_ALONE = {"Strict-Transport-Security": "max-age=0"}
METHODS = ("GET", "HEAD", "POST")
FIXED = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "Server": "web",  # says nothing; without it aiohttp names itself and its version
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_POLICY = (
    "default-src 'none'; style-src {style}; img-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


def dress(response: web.StreamResponse, *, style: str = "'none'") -> None:
    """Set every header that an answer carries.

    style: the CSP source of the page's one style sheet. The date is midnight's: a clock that
    can be read from outside tells servers apart.
    """
    response.headers.update(FIXED)
    response.headers["Content-Security-Policy"] = _POLICY.format(style=style)
    midnight = dt.datetime.combine(utc_today(), dt.time(), dt.UTC)
    response.headers["Date"] = midnight.strftime("%a, %d %b %Y %H:%M:%S GMT")
