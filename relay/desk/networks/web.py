"""Requests to a network: to one server, over HTTPS, within limits, and with failures that are ours.

No redirect is followed, no cookie kept, no proxy but the given one used, and nothing read from the
environment. What a server says of its own accord stays out of messages: it may repeat the post.
"""

import datetime as dt
import ipaddress
import json
import re
import ssl
import threading
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError, HTTPError, MaxRetryError, NewConnectionError

from relay.errors import ConfigInvalid, PostFailed, PostRefused

TIMEOUT_S = (20.0, 60.0)  # to connect; between two pieces of an answer
_LONGEST_ANSWER_S = 120.0
_MOST_ANSWER_BYTES = 4 << 20
_CHUNK_BYTES = 1 << 16
_CONNECTIONS = 32  # posts of one instant go out side by side
_LONGEST_IDLE_S = 20.0  # a connection that a router has forgotten would swallow the next post
_LONGEST_PAUSE_S = 24 * 3600.0
UNREADABLE = "What the network answered can't be read."
_RESET = ("X-RateLimit-Reset", "RateLimit-Reset")  # x-rate-limit-reset: X
_X_RESET = "x-rate-limit-reset"
_EPOCH = re.compile(r"[0-9]{9,11}")
_SECONDS = re.compile(r"[0-9]{1,9}")
_UNSENT = (NewConnectionError, ConnectTimeoutError)


class NoAnswer(PostFailed):
    """The question may have arrived and been acted upon; nobody can tell from here."""


class Web(requests.Session):
    """The way to one server. Threads may share it."""

    def __init__(self, server: str, proxy: str = "") -> None:
        """Go to `server` (as `read_server` gives it), through `proxy` where there is one.

        proxy: socks5h://host:port; names go there too, never to a resolver.
        """
        super().__init__()
        self.trust_env = False
        self.cookies.set_policy(_NoCookies())
        self.origin = server
        if proxy:
            self.proxies = {"http": proxy, "https": proxy}
        self.headers["User-Agent"] = "poster-relay"
        self._counting = threading.Lock()
        self._under_way = 0
        self._last_s = time.monotonic()
        for scheme in ("http://", "https://"):
            self.mount(scheme, HTTPAdapter(max_retries=0, pool_maxsize=_CONNECTIONS))

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send it, and read the whole answer.

        Raises:
            PostFailed: it did not go out, or the server says "later". NoAnswer: it may have.
            PostRefused: the server wants to send us elsewhere.
        """
        if origin_of(request.url or "") != self.origin:
            raise PostRefused("The network pointed to another server. Nothing was sent there.")
        kwargs |= {"timeout": TIMEOUT_S, "allow_redirects": False, "stream": True}
        self._begin()
        try:
            response = super().send(request, **kwargs)
            response._content = _read(response)  # noqa: SLF001 - what .content and .json() give
        except requests.exceptions.InvalidSchema as error:  # PySocks is missing
            raise ConfigInvalid("A proxy needs PySocks: install poster-relay[post].") from error
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            # Not the error's own words: they hold addresses, and some of them the question.
            if _is_unsent(error):
                raise PostFailed("The network could not be reached.") from None
            raise NoAnswer from None
        finally:
            self._end()
        _check_status(response)
        return response

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return nothing: requests would read such an answer whole, however long."""
        return

    def ask(
        self,
        method: str,
        path: str,
        *,
        token: str = "",
        headers: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return the JSON of an answer; None where it holds nothing.

        kwargs: as `requests.request` takes them: params, json, data, files.

        Raises:
            PostRefused: with the status in it. PostFailed, NoAnswer: as `send`.
        """
        authorization = {"Authorization": f"Bearer {token}"} if token else {}
        # A function as `auth` keeps requests from looking for a .netrc.
        response = self.request(
            method,
            self.origin + path,
            headers={**authorization, **(headers or {})},
            auth=lambda request: request,
            **kwargs,
        )
        if not response.ok:
            raise Refusal(response)
        try:
            return read_json(response.content)
        except PostFailed:
            raise NoAnswer(UNREADABLE) from None

    def _begin(self) -> None:
        """Close connections that nobody has used for long; a post needs one that is alive."""
        with self._counting:
            if not self._under_way and time.monotonic() - self._last_s > _LONGEST_IDLE_S:
                self.close()  # they are opened anew
            self._under_way += 1

    def _end(self) -> None:
        with self._counting:
            self._under_way -= 1
            self._last_s = time.monotonic()


class Refusal(PostRefused):
    """A 4xx. untrusted_body: its JSON, or None. status: its number."""

    def __init__(self, response: requests.Response) -> None:
        """Say the status, and not the server's words."""
        self.status = response.status_code
        super().__init__(say_refused(self.status))
        try:
            self.untrusted_body = read_json(response.content)
        except PostFailed:
            self.untrusted_body = None


def say_refused(status: int) -> str:
    """Return a message for a refusal with that status."""
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return f"The network refused ({status}). Is the account's token or password still good?"
    return f"The network refused ({status})."


def read_server(address: str, *, name: str = "server") -> str:
    """Return the origin of `address`.

    Raises:
        ConfigInvalid: not an address of a server, or in clear over a network.
    """
    origin = origin_of(address)
    if not origin.isascii() or not origin or address.rstrip("/") != origin:
        raise ConfigInvalid(f"{name} is an address such as https://example.org")
    if origin.startswith("http:") and not _is_loopback(urlsplit(origin).hostname or ""):
        raise ConfigInvalid(f"{name} begins with https://")
    return origin


def origin_of(address: str) -> str:
    """Return scheme, host and port of an address; "" where it has none that we would ask."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return ""
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "")


def read_json(untrusted_answer: bytes) -> Any:
    """Return what it says; None where it is empty.

    Raises:
        PostFailed: it is not JSON.
    """
    if not untrusted_answer.strip():
        return None
    try:
        return json.loads(untrusted_answer)
    except (ValueError, RecursionError):
        raise PostFailed(UNREADABLE) from None


def text_in(untrusted: Any, *path: str | int, most: int = 2000) -> str:
    """Return the printable text that stands at `path` in an answer.

    Raises:
        PostFailed: there is none.
    """
    for step in path:
        try:
            untrusted = untrusted[step]
        except (LookupError, TypeError):
            raise PostFailed(UNREADABLE) from None
    if not isinstance(untrusted, str) or not untrusted.isprintable():
        raise PostFailed(UNREADABLE)
    if not 0 < len(untrusted) <= most:
        raise PostFailed(UNREADABLE)
    return untrusted


def _read(response: requests.Response) -> bytes:
    deadline = time.monotonic() + _LONGEST_ANSWER_S
    untrusted_answer = bytearray()
    with response:
        for chunk in response.iter_content(_CHUNK_BYTES):
            untrusted_answer += chunk
            if len(untrusted_answer) > _MOST_ANSWER_BYTES or time.monotonic() > deadline:
                raise requests.exceptions.ChunkedEncodingError
    return bytes(untrusted_answer)


def _check_status(response: requests.Response) -> None:
    status = response.status_code
    if response.is_redirect or HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        raise PostRefused("The network pointed elsewhere. Is the address of the server right?")
    pause_s = _pause_s(response)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        raise PostFailed("The network wants a pause (429).", retry_after_s=pause_s)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise NoAnswer(f"The network has trouble of its own ({status}).", retry_after_s=pause_s)


def _pause_s(response: requests.Response) -> float | None:
    wanted = response.headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(wanted):
        return min(float(wanted), _LONGEST_PAUSE_S)
    until = _instant(wanted)
    if until is None and response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        names = (*_RESET, _X_RESET)
        until = next(
            filter(None, (_instant(response.headers.get(name, "")) for name in names)), None
        )
    if until is None:
        return None
    now = _instant(response.headers.get("Date", "")) or dt.datetime.now(dt.UTC)
    return min(max((until - now).total_seconds(), 0.0), _LONGEST_PAUSE_S)


def _instant(text: str) -> dt.datetime | None:
    text = text.strip()
    try:
        if _EPOCH.fullmatch(text):
            return dt.datetime.fromtimestamp(int(text), dt.UTC)
        if "," in text:
            return parsedate_to_datetime(text).astimezone(dt.UTC)
        return dt.datetime.fromisoformat(text).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return None


def _is_unsent(error: Exception) -> bool:
    """Whether it is certain that not one byte of the question reached the server."""
    cause: object = error
    for _ in range(4):  # requests wraps what urllib3 wraps
        if isinstance(cause, (*_UNSENT, requests.ConnectTimeout, ssl.SSLCertVerificationError)):
            return True
        if isinstance(cause, MaxRetryError):
            cause = cause.reason
        elif isinstance(cause, Exception) and cause.args:
            cause = cause.args[0]
    return False


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _NoCookies(DefaultCookiePolicy):
    def set_ok(self, *_: object) -> bool:
        return False
