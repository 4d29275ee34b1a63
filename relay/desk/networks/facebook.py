"""A Facebook Page. At most once. Tried only against a local stand-in, never against Facebook.

Facebook has no key by which a second attempt would be known. A post whose answer was lost is not
sent again. Facebook makes its own copies of the picture.
Source: developers.facebook.com, Graph API, Page photos, and "Handling errors".
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from relay.desk.networks import Placed, Post, check_post
from relay.desk.networks.web import UNREADABLE, NoAnswer, Refusal, Web, read_server, text_in
from relay.errors import CantTakeDown, ConfigInvalid, OutcomeUnknown, PostFailed

SERVER = "https://graph.facebook.com"
_VERSION = "v25.0"
_PAGE = re.compile(r"[0-9A-Za-z.]{1,100}")
_ID = re.compile(r"[0-9]+(_[0-9]+)?")
_WAIT = {4, 17, 32, 341, 613}  # limits of calls; nothing was done
_IN_TROUBLE = {1, 2}  # "unknown", "service": it may have been done
_GONE = 100  # and a subcode; answered for ids that are not there
_GONE_SUBCODE = 33
_GONE_OR_NOT_OURS = "It is gone there, or this token may not delete it. Look there."


class FacebookPage:
    """One Page, by a token of the Page with pages_manage_posts."""

    name = "facebook"
    is_exactly_once = False
    most = 63206
    most_alt = 1000

    def __init__(self, page: str, token: str, proxy: str = "", server: str = SERVER) -> None:
        """Speak for `page`, its id. server: another one that speaks its API."""
        if not _PAGE.fullmatch(page):
            raise ConfigInvalid("page is the id of a Page, such as 102030405060708")
        self._web = Web(read_server(server), proxy)
        self._page = page
        self._token = token

    def count(self, text: str) -> int:
        """Count characters."""
        return len(text)

    def prepare(self, post: Post, key: str) -> dict[str, str]:
        """Check the post; picture and words go out together."""
        check_post(self, post)
        return {}

    def publish(self, post: Post, key: str, prepared: Mapping[str, str]) -> Placed:
        """Post it. Not to be called again once it may have been sent.

        Raises:
            OutcomeUnknown: it may stand there.
        """
        try:
            untrusted = self._ask(
                "POST",
                f"{self._page}/photos",
                files={"source": ("photo.jpg", post.picture.jpeg, "image/jpeg")},
                data={
                    "caption": post.text,
                    "alt_text_custom": post.picture.alt,
                    "published": "true",
                },
            )
        except NoAnswer:
            raise OutcomeUnknown from None
        except Refusal as refusal:
            if _code(refusal, "code") in _WAIT:
                raise PostFailed("The network wants a pause.") from None
            if _code(refusal, "code") in _IN_TROUBLE:
                raise OutcomeUnknown from None
            raise
        try:
            return _place(untrusted)
        except PostFailed:
            raise OutcomeUnknown from None

    def find(self, post: Post, key: str, prepared: Mapping[str, str]) -> Placed | None:
        """Not here: nobody can tell."""
        raise OutcomeUnknown

    def take_down(self, placed: Placed) -> None:
        """Delete it."""
        try:
            self._ask("DELETE", placed.uri)
        except Refusal as refusal:
            code, subcode = _code(refusal, "code"), _code(refusal, "error_subcode")
            if code == _GONE and subcode == _GONE_SUBCODE:
                raise CantTakeDown(_GONE_OR_NOT_OURS) from None
            if refusal.status != HTTPStatus.NOT_FOUND:
                raise

    def _ask(self, method: str, path: str, **question: Any) -> Any:
        return self._web.ask(method, f"/{_VERSION}/{path}", token=self._token, **question)


def _place(untrusted: Any) -> Placed:
    name = "post_id" if isinstance(untrusted, dict) and "post_id" in untrusted else "id"
    placed = text_in(untrusted, name, most=100)
    if not _ID.fullmatch(placed):
        raise PostFailed(UNREADABLE)
    return Placed(uri=placed, url=f"https://www.facebook.com/{placed}")


def _code(refusal: Refusal, name: str) -> object:
    try:
        return refusal.untrusted_body["error"][name]
    except (LookupError, TypeError):
        return None
