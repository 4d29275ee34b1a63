"""Bluesky, and any other server of the AT Protocol (a PDS), asked directly. Exactly once.

A post is a record under a name, and the name is ours: made from the planned instant and the key,
the same on each attempt. It is put there only where nothing stands.
Source: atproto.com/specs/xrpc, /tid, /record-key, /blob; lexicons com.atproto.repo.*,
app.bsky.feed.post, app.bsky.richtext.facet.
"""

import base64
import datetime as dt
import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import regex

from relay.desk.networks import Placed, Post, check_post
from relay.desk.networks.facets import find_facets, find_mentions
from relay.desk.networks.web import UNREADABLE, Refusal, Web, read_server, text_in
from relay.errors import CantTakeDown, PostFailed, PostRefused

_COLLECTION = "app.bsky.feed.post"
_APP = "https://bsky.app/profile"
_RKEY, _BLOB, _DID = "rkey", "blob", "did:"
_GRAPHEME = regex.compile(r"\X")
_BYTES_FOR_ONE = 10  # 300 graphemes and 3000 bytes
_BASE32_SORTABLE = "234567abcdefghijklmnopqrstuvwxyz"
_TID_DIGITS = 13
_CLOCK_BITS = 10
_CID_HEAD = b"\x01\x55\x12\x20"  # version 1, raw bytes, SHA-256, 32 bytes
_OLD_TOKEN = {"ExpiredToken", "InvalidToken"}
_DID_LIKE = regex.compile(r"did:[a-z]+:[A-Za-z0-9._:%-]{1,250}")


@dataclass(frozen=True, kw_only=True)
class _Session:
    did: str
    access: str
    refresh: str


class BlueskyAccount:
    """One account, by its app password."""

    name = "bluesky"
    is_exactly_once = True
    most = 300
    most_alt = 2000

    def __init__(self, server: str, identifier: str, password: str, proxy: str = "") -> None:
        """Speak to the PDS at `server` (https://…) as `identifier` (its name or DID there)."""
        self._web = Web(read_server(server), proxy)
        self._identifier = identifier
        self._password = password
        self._logging_in = threading.Lock()
        self._session: _Session | None = None

    def count(self, text: str) -> int:
        """Count graphemes; ten bytes of UTF-8 count as one at least."""
        return max(
            sum(1 for _ in _GRAPHEME.finditer(text)), -(-len(text.encode()) // _BYTES_FOR_ONE)
        )

    def prepare(self, post: Post, key: str) -> dict[str, str]:
        """Upload the picture, and look up who is mentioned. It is kept there for hours only."""
        check_post(self, post)
        untrusted = self._ask(
            "POST",
            "com.atproto.repo.uploadBlob",
            data=post.picture.jpeg,
            headers={"Content-Type": "image/jpeg"},
        )
        cid = cid_of(post.picture.jpeg)
        if text_in(untrusted, "blob", "ref", "$link") != cid:
            raise PostRefused("The network did not keep the picture as it was sent.")
        mentioned = {name: self._resolve(name) for name in find_mentions(post.text)}
        known = {_DID + name: did for name, did in mentioned.items() if did}
        return {_RKEY: make_rkey(post.created, key), _BLOB: cid, **known}

    def publish(self, post: Post, key: str, prepared: Mapping[str, str]) -> Placed:
        """Put the record where none stands; return the one that does."""
        try:
            self._put(post, prepared)
        except Refusal as refusal:
            if _name_of(refusal) == "InvalidSwap":
                if found := self.find(post, key, prepared):
                    return found
                raise PostRefused("Another post stands where this one belongs.") from None
            if _name_of(refusal) != "BlobNotFound":
                raise
            self.prepare(post, key)  # it had been there for too long; its name is the same
            self._put(post, prepared)
        return self._placed(prepared)

    def find(self, post: Post, key: str, prepared: Mapping[str, str]) -> Placed | None:
        """Look under the post's name; it must show our picture."""
        if _RKEY not in prepared:
            return None
        where = {
            "repo": self._log_in().did,
            "collection": _COLLECTION,
            "rkey": prepared[_RKEY],
        }
        try:
            untrusted = self._ask("GET", "com.atproto.repo.getRecord", params=where)
        except Refusal as refusal:
            if _name_of(refusal) == "RecordNotFound":
                return None
            raise
        path = ("value", "embed", "images", 0, "image", "ref", "$link")
        try:
            is_ours = text_in(untrusted, *path) == prepared[_BLOB]
        except PostFailed:  # no picture at all
            is_ours = False
        return self._placed(prepared) if is_ours else None

    def take_down(self, placed: Placed) -> None:
        """Delete the record; the server then deletes the picture."""
        did, collection, rkey = _split(placed.uri)
        if did != self._log_in().did or collection != _COLLECTION:
            raise CantTakeDown("This post is not of this account.")
        where = {"repo": did, "collection": _COLLECTION, "rkey": rkey}
        self._ask("POST", "com.atproto.repo.deleteRecord", json=where)

    def _put(self, post: Post, prepared: Mapping[str, str]) -> None:
        question = {
            "repo": self._log_in().did,
            "collection": _COLLECTION,
            "rkey": prepared[_RKEY],
            "record": _record(post, prepared),
            "swapRecord": None,  # only where none stands
        }
        self._ask("POST", "com.atproto.repo.putRecord", json=question)

    def _placed(self, prepared: Mapping[str, str]) -> Placed:
        did, rkey = self._log_in().did, prepared[_RKEY]
        return Placed(uri=f"at://{did}/{_COLLECTION}/{rkey}", url=f"{_APP}/{did}/post/{rkey}")

    def _resolve(self, name: str) -> str:
        try:
            untrusted = self._ask(
                "GET", "com.atproto.identity.resolveHandle", params={"handle": name}
            )
            untrusted_did = text_in(untrusted, "did")
        except (PostRefused, PostFailed):
            return ""  # then it stays plain text
        return untrusted_did if _DID_LIKE.fullmatch(untrusted_did) else ""

    def _ask(self, method: str, name: str, **question: Any) -> Any:
        session = self._log_in()
        try:
            return self._web.ask(method, f"/xrpc/{name}", token=session.access, **question)
        except Refusal as refusal:
            is_old = _name_of(refusal) in _OLD_TOKEN or refusal.status == HTTPStatus.UNAUTHORIZED
            if not is_old:
                raise
        session = self._log_in(old=session)
        return self._web.ask(method, f"/xrpc/{name}", token=session.access, **question)

    def _log_in(self, old: _Session | None = None) -> _Session:
        """Return the session; a new one where `old` is what there is."""
        with self._logging_in:
            if self._session is None or self._session is old:
                self._session = (old and self._renew(old)) or self._begin()
            return self._session

    def _begin(self) -> _Session:
        question = {"identifier": self._identifier, "password": self._password}
        path = "/xrpc/com.atproto.server.createSession"
        return _read_session(self._web.ask("POST", path, json=question))

    def _renew(self, old: _Session) -> _Session | None:
        path = "/xrpc/com.atproto.server.refreshSession"
        try:
            return _read_session(self._web.ask("POST", path, token=old.refresh))
        except PostRefused:
            return None


def make_rkey(instant: dt.datetime, key: str) -> str:
    """Return a TID: the second of the instant, and 29 bits of the key below it.

    The microseconds are the key's, so that no two posts of one instant meet.
    """
    digest = int.from_bytes(hashlib.sha256(key.encode()).digest())
    microseconds = int(instant.timestamp()) * 1_000_000 + (digest >> _CLOCK_BITS) % 1_000_000
    number = microseconds << _CLOCK_BITS | digest % (1 << _CLOCK_BITS)
    digits = [number >> 5 * place & 31 for place in reversed(range(_TID_DIGITS))]
    return "".join(_BASE32_SORTABLE[digit] for digit in digits)


def cid_of(blob: bytes) -> str:
    """Return the name of a blob: what the server must answer that it keeps."""
    digest = hashlib.sha256(blob).digest()
    return "b" + base64.b32encode(_CID_HEAD + digest).decode().rstrip("=").lower()


def _record(post: Post, prepared: Mapping[str, str]) -> dict[str, Any]:
    width, height = post.picture.size
    blob = {
        "$type": "blob",
        "ref": {"$link": prepared[_BLOB]},
        "mimeType": "image/jpeg",
        "size": len(post.picture.jpeg),
    }
    image = {
        "alt": post.picture.alt,
        "image": blob,
        "aspectRatio": {"width": width, "height": height},
    }
    dids = {name.removeprefix(_DID): did for name, did in prepared.items() if name.startswith(_DID)}
    return {
        "$type": _COLLECTION,
        "text": post.text,
        "facets": find_facets(post.text, dids),
        "langs": [post.language],
        "embed": {"$type": "app.bsky.embed.images", "images": [image]},
        "createdAt": post.created.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
    }


def _read_session(untrusted: Any) -> _Session:
    did = text_in(untrusted, "did")
    if not _DID_LIKE.fullmatch(did):
        raise PostFailed(UNREADABLE)
    return _Session(
        did=did,
        access=text_in(untrusted, "accessJwt", most=8000),
        refresh=text_in(untrusted, "refreshJwt", most=8000),
    )


def _name_of(refusal: Refusal) -> str:
    """Return the error's name in the protocol, or nothing."""
    try:
        return text_in(refusal.untrusted_body, "error", most=60)
    except PostFailed:
        return ""


def _split(uri: str) -> tuple[str, str, str]:
    match uri.removeprefix("at://").split("/"):
        case [did, collection, rkey] if uri.startswith("at://"):
            return did, collection, rkey
    raise CantTakeDown("This is not a post of Bluesky's.")
