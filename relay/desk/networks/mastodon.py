"""Mastodon, and what speaks its API, through Mastodon.py. Exactly once.

Mastodon keeps an idempotency key for an hour. Beyond that a post is known by its picture: an upload
can be attached once, its id is kept by the journal, and our own posts are looked through for it.
Source: docs.joinmastodon.org, methods/statuses and methods/media; its PostStatusService.
"""

import datetime as dt
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from mastodon import Mastodon
from mastodon.errors import MastodonError, MastodonNetworkError

from relay.desk.networks import Placed, Post, check_post
from relay.desk.networks.web import TIMEOUT_S, UNREADABLE, Web, origin_of, read_server, say_refused
from relay.errors import CantTakeDown, PictureGone, PostFailed, PostRefused, RelayError

_VERSION = "4.5.0"  # what we speak; unset, Mastodon.py would ask twice and guess 1.0.0 on failure
_MOST_DEFAULT = 500  # where an instance does not say
_MOST_EVER = 100_000
_MEDIA = "media"
_KEY_KEPT = dt.timedelta(minutes=45)  # an hour there, by its clock; this laptop's may be wrong
_LOOK_BACK = dt.timedelta(days=1)
_PAGE = 40  # the most that it gives
_MOST_PAGES = 100
_LONGEST_WORK_S = 90.0  # on an upload
_PAUSES_S = (0.2, 0.5, 1.0, 2.0)
_BROKEN = (MastodonError, AttributeError, LookupError, TypeError, ValueError, RecursionError)


class MastodonAccount:
    """One account."""

    name = "mastodon"
    is_exactly_once = True
    most_alt = 1500

    def __init__(self, server: str, token: str, proxy: str = "") -> None:
        """Speak to `server` (https://…) with an access token of the account."""
        web = Web(read_server(server), proxy)
        self._api = Mastodon(
            access_token=token,
            api_base_url=web.origin,
            session=web,
            ratelimit_method="throw",  # waiting is the caller's
            request_timeout=TIMEOUT_S[1],
            mastodon_version=_VERSION,
            version_check_mode="created",
        )
        self._asking = threading.Lock()
        self._most: int | None = None
        self._account: str | None = None

    @property
    def most(self) -> int:
        """Return what the instance allows; asked for once."""
        with self._asking:
            if self._most is None:
                self._most = self._read_most()
            return self._most

    def count(self, text: str) -> int:
        """Count graphemes; an address as 23, `@name@server` as `@name`."""
        return int(Mastodon.get_status_length(text))

    def prepare(self, post: Post, key: str) -> dict[str, str]:
        """Upload the picture, and wait until it can be attached. It is kept there for a day."""
        check_post(self, post)
        with _as_ours():
            untrusted_media = self._api.media_post(
                post.picture.jpeg,
                mime_type="image/jpeg",
                description=post.picture.alt,
                file_name="photo.jpg",
            )
            media = _id_of(untrusted_media)
            deadline = time.monotonic() + _LONGEST_WORK_S
            turn = 0
            while not untrusted_media.url:
                if time.monotonic() > deadline:
                    raise PostFailed(
                        "The network is still at work on the picture. Try again later."
                    )
                time.sleep(_PAUSES_S[min(turn, len(_PAUSES_S) - 1)])
                turn += 1
                untrusted_media = self._api.media(media)
        return {_MEDIA: media}

    def publish(self, post: Post, key: str, prepared: Mapping[str, str]) -> Placed:
        """Post it; an earlier attempt is found, not doubled.

        Raises:
            PictureGone: the upload is gone. `prepare` again, keep what it returns, then this again.
        """
        media = prepared[_MEDIA]
        is_key_old = dt.datetime.now(dt.UTC) - post.created > _KEY_KEPT
        if is_key_old and (found := self.find(post, key, prepared)):
            return found
        try:
            with _as_ours():
                untrusted_status = self._api.status_post(
                    post.text,
                    media_ids=[media],
                    visibility="public",
                    language=post.language,
                    idempotency_key=key,
                )
        except _Refused as refused:
            if refused.status != HTTPStatus.UNPROCESSABLE_ENTITY:
                raise
            if found := self.find(post, key, prepared):  # attached already
                return found
            if self._is_gone(media):
                raise PictureGone from None
            raise
        with _as_ours():
            placed = _place(untrusted_status)
            is_whole = _has(untrusted_status, media)
        if not is_whole:  # older servers leave out what they don't find, and post the words alone
            self.take_down(placed)
            raise PictureGone
        return placed

    def find(self, post: Post, key: str, prepared: Mapping[str, str]) -> Placed | None:
        """Look through the account's own posts, back to the day before the planned instant."""
        media = prepared.get(_MEDIA)
        if media is None:
            return None
        oldest: str | None = None
        for _ in range(_MOST_PAGES):
            with _as_ours():
                untrusted_page = self._read_page(oldest)
                for untrusted_status in untrusted_page:
                    if _has(untrusted_status, media):
                        return _place(untrusted_status)
                if not untrusted_page:
                    return None
                oldest = _id_of(untrusted_page[-1])
                if untrusted_page[-1].created_at < post.created - _LOOK_BACK:
                    return None
        raise PostFailed("The account has too many posts to look through. Look there by hand.")

    def take_down(self, placed: Placed) -> None:
        """Delete it, picture and all; of another account, "not there" would say nothing."""
        account, _, status = placed.uri.partition("/")
        try:
            with _as_ours():
                if account != self._read_account():
                    raise CantTakeDown("It was posted by another account than this one.")
                self._api.status_delete(status, delete_media=True)
        except _Refused as refused:
            if refused.status != HTTPStatus.NOT_FOUND:
                raise

    def _read_most(self) -> int:
        try:
            with _as_ours():
                untrusted_instance = self._api.instance_v2()
            untrusted_most = untrusted_instance.configuration.statuses.max_characters
        except (_Refused, AttributeError, LookupError):
            return _MOST_DEFAULT
        is_number = type(untrusted_most) is int and 0 < untrusted_most <= _MOST_EVER
        return untrusted_most if is_number else _MOST_DEFAULT

    def _read_account(self) -> str:
        if self._account is None:
            self._account = _id_of(self._api.account_verify_credentials())
        return self._account

    def _read_page(self, before: str | None) -> list[Any]:
        page = self._api.account_statuses(
            self._read_account(), only_media=True, exclude_reblogs=True, max_id=before, limit=_PAGE
        )
        return list(page)

    def _is_gone(self, media: str) -> bool:
        try:
            with _as_ours():
                self._api.media(media)
        except _Refused as refused:
            return refused.status == HTTPStatus.NOT_FOUND
        return False


class _Refused(PostRefused):
    def __init__(self, status: int) -> None:
        super().__init__(say_refused(status))
        self.status = status


@contextmanager
def _as_ours() -> Iterator[None]:
    """Make what Mastodon.py raises ours, without the server's words."""
    try:
        yield
    except RelayError:
        raise
    except _BROKEN as error:
        # Raised while our session's was handled.
        if isinstance(error, MastodonNetworkError) and isinstance(error.__context__, RelayError):
            raise error.__context__ from None
        status = error.args[1] if len(error.args) > 1 else None
        if isinstance(error, MastodonError) and type(status) is int:
            raise _Refused(status) from None
        raise PostFailed(UNREADABLE) from None


def _id_of(untrusted: Any) -> str:
    untrusted_id = str(untrusted.id)
    if not untrusted_id.isascii() or not untrusted_id.replace("-", "").isalnum():
        raise ValueError
    return untrusted_id


def _has(untrusted_status: Any, media: str) -> bool:
    return any(str(one.id) == media for one in untrusted_status.media_attachments)


def _place(untrusted_status: Any) -> Placed:
    untrusted_url = str(untrusted_status.url)
    account = _id_of(untrusted_status.account)
    if not untrusted_url.isprintable() or not origin_of(untrusted_url):
        raise ValueError
    return Placed(uri=f"{account}/{_id_of(untrusted_status)}", url=untrusted_url)
