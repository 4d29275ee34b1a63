"""The networks that a desk posts to: one small interface, and one module for each.

Everything waits for its answer: call it in a thread. `prepare` may be called long before the
instant and again after a crash; `publish` and `find` take the same post, key and prepared strings
each time. Of accounts and secrets, see `accounts`.

Raises, all of them:
    PostRefused: the network said no; repeating will not make it better.
    PostFailed: no answer, or "later": nothing is lost by trying again after `retry_after_s`.
    PictureGone: a PostFailed; what `prepare` brought there is there no longer. Call it again, keep
        what it returns, and `publish` with that.
    OutcomeUnknown: `publish` of a network that is not `is_exactly_once`, when the question went out
        and no answer came back.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from relay.errors import PostRefused


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A released photo, as it is posted: the very bytes. alt: what it shows. size: px."""

    jpeg: bytes
    alt: str
    size: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Post:
    """created: the planned instant, aware, in UTC; no clock is read for it."""

    text: str
    language: str
    picture: Picture
    created: dt.datetime


@dataclass(frozen=True, kw_only=True)
class Placed:
    """Where a post stands. uri: what `take_down` needs. url: what a person opens."""

    uri: str
    url: str


class Network(Protocol):
    """One account in one network.

    is_exactly_once: `publish` again, with the same key and prepared strings, makes no second post
    and returns the first one; else it must not be called again once it may have been sent.
    most: the longest text, as `count` counts it. most_alt: of the picture's alternative text, in
    characters.
    """

    name: str
    is_exactly_once: bool
    most_alt: int

    @property
    def most(self) -> int:
        """Return the limit of `count`; may ask the network once, raises PostFailed then."""
        ...

    def count(self, text: str) -> int:
        """Return the length of a text as this network counts it."""
        ...

    def prepare(self, post: Post, key: str) -> dict[str, str]:
        """Bring the picture there, unseen by anybody; return what the journal keeps for later.

        key: names this post for good: 1 to 64 of a-z, 0-9 and dashes.
        """
        ...

    def publish(self, post: Post, key: str, prepared: Mapping[str, str]) -> Placed:
        """Post it now."""
        ...

    def find(self, post: Post, key: str, prepared: Mapping[str, str]) -> Placed | None:
        """Return where it was posted, if it was; networks that are exactly once only."""
        ...

    def take_down(self, placed: Placed) -> None:
        """Delete it there; gone already is fine.

        Raises:
            CantTakeDown: the network doesn't allow it.
        """
        ...


def check_post(network: Network, post: Post) -> None:
    """Return where a post is one that the network takes.

    Raises:
        PostRefused: too long, without words, or with a picture that nobody described.
    """
    if not post.text.strip():
        raise PostRefused("A post needs words.")
    if network.count(post.text) > network.most:
        raise PostRefused(f"The text is too long: {network.name} takes {network.most}.")
    if not post.picture.alt.strip():
        raise PostRefused("The picture needs a text for people who can't see it.")
    if len(post.picture.alt) > network.most_alt:
        raise PostRefused(
            f"The picture's text is too long: {network.name} takes {network.most_alt} characters."
        )
