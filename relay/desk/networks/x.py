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
_END = r"[\p{Latin}\p{Cyrillic}\d=_#/+&-]"  # what an address may end with
_LINK = regex.compile(
    rf"https?://\S*{_END}|(?<![A-Za-z0-9@#.-])(?:[a-z0-9-]+\.)+[a-z]{{2,}}(?:/(?:\S*{_END})?)?",
    regex.IGNORECASE,
)
# Flags, keys, and pictographs with colour, form and tags, joined or not; source: UTS #51.
_ONE = r"\p{Extended_Pictographic}\p{Emoji_Modifier}?\uFE0F?[\U000E0020-\U000E007F]*"
_EMOJI = regex.compile(
    rf"\p{{Regional_Indicator}}{{2}}|[0-9#*]\uFE0F?\u20E3|{_ONE}(?:\u200D{_ONE})*"
)
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

        What looks like a bare domain counts as an address, whether or not there is one: the list of
        those that there are is X's. A count is rarely less than X's own.
        """
        text = unicodedata.normalize("NFC", text)
        text, links = _LINK.subn("", text)
        text, emoji = _EMOJI.subn("", text)
        light = sum(map(_is_light, map(ord, text)))
        return links * _LINK_WEIGHT + emoji * _EMOJI_WEIGHT + light + (len(text) - light) * _WEIGHT

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


def _is_light(code: int) -> bool:
    return any(first <= code <= last for first, last in _LIGHT)
