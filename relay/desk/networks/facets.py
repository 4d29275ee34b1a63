"""What in a post's words is a link, a hashtag or a mention on Bluesky, in bytes of UTF-8.

Source: the rules of @atproto/api, rich-text/detection; lexicon app.bsky.richtext.facet.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import regex

_LINK = regex.compile(r"(?:^|(?<=[\s(]))https?://[^\s<>\"]+", regex.IGNORECASE)
_MENTION = regex.compile(
    r"(?:^|(?<=[\s(]))@((?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?)",
    regex.IGNORECASE,
)
_UNSEEN = r"\u00AD\u2060\u200A-\u200D\u20E2"  # they end a hashtag there
_TAG = regex.compile(rf"(?:^|(?<=\s))[#\uFF03](?!\uFE0F)([^\s{_UNSEEN}]+)")
_NOT_A_TAG = regex.compile(r"[\d\p{P}]+")
_TRAILING = regex.compile(r"\p{P}+$")
_AFTER_LINK = regex.compile(r"[.,;:!?'\"]+$")
_MOST_TAG = 64  # graphemes
_GRAPHEME = regex.compile(r"\X")
Facet = dict[str, Any]


def find_mentions(text: str) -> list[str]:
    """Return the names that are mentioned, without @."""
    return [match[1] for match in _MENTION.finditer(text)]


def find_facets(text: str, dids: Mapping[str, str]) -> list[Facet]:
    """Return the facets of a text, in their order.

    dids: who is mentioned, by name; another mention stays plain text.
    """
    found = [*_links(text), *_tags(text), *_mentions(text, dids)]
    return [_facet(text, start, end, feature) for start, end, feature in sorted(found, key=_start)]


def _start(found: tuple[int, int, Facet]) -> int:
    return found[0]


def _links(text: str) -> Iterator[tuple[int, int, Facet]]:
    for match in _LINK.finditer(text):
        link = _AFTER_LINK.sub("", match[0])
        if link.endswith(")") and "(" not in link:
            link = link[:-1]
        feature = {"$type": "app.bsky.richtext.facet#link", "uri": link}
        yield match.start(), match.start() + len(link), feature


def _tags(text: str) -> Iterator[tuple[int, int, Facet]]:
    for match in _TAG.finditer(text):
        tag = _TRAILING.sub("", match[1])
        if not tag or _NOT_A_TAG.fullmatch(tag) or len(_GRAPHEME.findall(tag)) > _MOST_TAG:
            continue
        feature = {"$type": "app.bsky.richtext.facet#tag", "tag": tag}
        yield match.start(), match.start() + 1 + len(tag), feature


def _mentions(text: str, dids: Mapping[str, str]) -> Iterator[tuple[int, int, Facet]]:
    for match in _MENTION.finditer(text):
        if did := dids.get(match[1]):
            yield (
                match.start(),
                match.end(),
                {"$type": "app.bsky.richtext.facet#mention", "did": did},
            )


def _facet(text: str, start: int, end: int, feature: Facet) -> Facet:
    first = len(text[:start].encode())
    index = {"byteStart": first, "byteEnd": first + len(text[start:end].encode())}
    return {"index": index, "features": [feature]}
