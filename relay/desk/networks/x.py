"""X. At most once. Tried only against a local stand-in, never against X itself.

X has no key by which a second attempt would be known. A post whose answer was lost is not sent
again. An OAuth 2 token of X's is good for two hours: it must be fresh when posts go out.
Source: docs.x.com, x-api/media and x-api/posts; twitter-text, config/v3.json.
"""

import unicodedata
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import regex

from relay.desk.networks import Placed, Post, check_post
from relay.desk.networks.web import NoAnswer, Refusal, Web, read_server, text_in
from relay.errors import OutcomeUnknown, PostFailed

SERVER = "https://api.x.com"
_MEDIA = "media"
_LINK = regex.compile(r"https?://\S+|(?<![\w@#.])(?:[\w-]+\.)+\p{L}{2,}(?:/\S*)?", regex.IGNORECASE)
_GRAPHEME = regex.compile(r"\X")
_EMOJI = regex.compile(r"[\p{Extended_Pictographic}\p{Regional_Indicator}\u20E3]")
_LIGHT = ((0, 0x10FF), (0x2000, 0x200D), (0x2010, 0x201F), (0x2032, 0x2037))
_LINK_WEIGHT, _EMOJI_WEIGHT, _WEIGHT = 23, 2, 2


class XAccount:
    """One account, by an OAuth 2 user token with tweet.write and media.write."""

    name = "x"
    is_exactly_once = False
    most = 280
    most_alt = 1000

    def __init__(self, token: str, proxy: str = "", server: str = SERVER) -> None:
        """Speak to X. server: another one that speaks its API."""
        self._web = Web(read_server(server), proxy)
        self._token = token

    def count(self, text: str) -> int:
        """Count as X weighs: an address 23, an emoji 2, a character 1 or 2 by its script.

        A bare domain counts as an address, whether or not X would link it: never less than X.
        """
        text = unicodedata.normalize("NFC", text)
        links = _LINK.findall(text)
        plain = _LINK.sub("", text)
        return _LINK_WEIGHT * len(links) + sum(map(_weigh, _GRAPHEME.findall(plain)))

    def prepare(self, post: Post, key: str) -> dict[str, str]:
        """Upload the picture and its text. It is kept there for a day."""
        check_post(self, post)
        untrusted = self._ask(
            "POST",
            "/2/media/upload",
            files={"media": ("photo.jpg", post.picture.jpeg, "image/jpeg")},
            data={"media_category": "tweet_image", "media_type": "image/jpeg"},
        )
        media = text_in(untrusted, "data", "id", most=40)
        told = {"id": media, "metadata": {"alt_text": {"text": post.picture.alt}}}
        self._ask("POST", "/2/media/metadata", json=told)
        return {_MEDIA: media}

    def publish(self, post: Post, key: str, prepared: Mapping[str, str]) -> Placed:
        """Post it. Not to be called again once it may have been sent.

        Raises:
            OutcomeUnknown: it may stand there.
        """
        question = {"text": post.text, "media": {"media_ids": [prepared[_MEDIA]]}}
        try:
            untrusted = self._ask("POST", "/2/tweets", json=question)
        except NoAnswer:
            raise OutcomeUnknown from None
        try:
            placed = text_in(untrusted, "data", "id", most=40)
        except PostFailed:
            raise OutcomeUnknown from None
        return Placed(uri=placed, url=f"https://x.com/i/status/{placed}")

    def find(self, post: Post, key: str, prepared: Mapping[str, str]) -> Placed | None:
        """Not here: nobody can tell."""
        raise OutcomeUnknown

    def take_down(self, placed: Placed) -> None:
        """Delete it."""
        try:
            self._ask("DELETE", f"/2/tweets/{placed.uri}")
        except Refusal as refusal:
            if refusal.status != HTTPStatus.NOT_FOUND:
                raise

    def _ask(self, method: str, path: str, **question: Any) -> Any:
        return self._web.ask(method, path, token=self._token, **question)


def _weigh(grapheme: str) -> int:
    if _EMOJI.search(grapheme):
        return _EMOJI_WEIGHT
    return sum(1 if _is_light(ord(one)) else _WEIGHT for one in grapheme)


def _is_light(code: int) -> bool:
    return any(first <= code <= last for first, last in _LIGHT)
