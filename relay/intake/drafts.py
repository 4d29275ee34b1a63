"""Photos that were looked at and not sent yet: in RAM, encrypted, for a quarter of an hour.

The key of each is in two halves: the page that shows the draft holds one, this process the other.
Who copies our memory, or has her page without our memory, has nothing; and once our half is
overwritten, nobody has.
"""

import asyncio
import base64
import binascii
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from nacl.encoding import RawEncoder
from nacl.exceptions import CryptoError
from nacl.hash import blake2b
from nacl.secret import SecretBox

from relay.errors import Busy, DraftGone

MINUTES = 15
MOST = 128  # at 512 KiB each, from each of two places
_SECONDS = MINUTES * 60
_SPARED_S = 180.0  # of a draft's beginning: time to look at it, though others crowd in
_NAME_BYTES, _HALF_BYTES, _LENGTH_BYTES = 16, 32, 4


@dataclass(eq=False)
class _Draft:
    """One draft: where it came from, our half of its key, its ciphertext, since when it is here."""

    place: str
    half: bytearray = field(repr=False)
    sealed: bytes = field(repr=False)
    began: float
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Drafts:
    """A bounded number of drafts from each place, all padded to one size."""

    def __init__(
        self, *, size: int, most: int = MOST, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Hold at most `most` drafts of each place, of at most `size` bytes. clock: seconds."""
        self._size = size
        self._most = most
        self._clock = clock
        self._drafts: dict[bytes, _Draft] = {}

    def __len__(self) -> int:
        """Return how many are held."""
        return len(self._drafts)

    def keep(self, content: bytes, place: str = "") -> str:
        """Hold `content` and return the ticket that the page must bring to get it back.

        place: the listener by which it came. They do not crowd each other out.

        Raises:
            Busy: too many are held, and none for long. ValueError: it is larger than a draft.
        """
        self.expire()
        there = [name for name, draft in self._drafts.items() if draft.place == place]
        if len(there) >= self._most:  # the first is the oldest
            if self._clock() - self._drafts[there[0]].began < _SPARED_S:
                raise Busy
            self._drop(there[0])
        name, hers = secrets.token_bytes(_NAME_BYTES), secrets.token_bytes(_HALF_BYTES)
        half = bytearray(secrets.token_bytes(_HALF_BYTES))
        sealed = self._seal(content, _key(half, hers, name))
        self._drafts[name] = _Draft(place=place, half=half, sealed=sealed, began=self._clock())
        return base64.urlsafe_b64encode(name + hers).decode()

    def read(self, untrusted_ticket: str) -> bytes:
        """Return a draft's content.

        Raises:
            DraftGone: its time has run out, it was thrown away, we were started again, it is
                another relay's, or the ticket was tampered with.
        """
        name, hers = _parse(untrusted_ticket)
        draft = self._find(name)
        try:
            padded = SecretBox(_key(draft.half, hers, name)).decrypt(draft.sealed)
        except CryptoError:
            raise DraftGone from None
        length = int.from_bytes(padded[:_LENGTH_BYTES], "big")
        return padded[_LENGTH_BYTES : _LENGTH_BYTES + length]

    def lock(self, untrusted_ticket: str) -> asyncio.Lock:
        """Return what two presses on one page take turns by.

        Raises:
            DraftGone: as `read`.
        """
        self.read(untrusted_ticket)
        return self._find(_parse(untrusted_ticket)[0]).lock

    def replace(self, untrusted_ticket: str, content: bytes) -> None:
        """Hold `content` in a draft's place, until the draft's time runs out.

        Raises:
            DraftGone: as `read`.
        """
        self.read(untrusted_ticket)
        name, hers = _parse(untrusted_ticket)
        draft = self._find(name)
        draft.sealed = self._seal(content, _key(draft.half, hers, name))

    def drop(self, untrusted_ticket: str) -> None:
        """Forget a draft.

        Raises:
            DraftGone: as `read`.
        """
        self.read(untrusted_ticket)
        self._drop(_parse(untrusted_ticket)[0])

    def expire(self) -> None:
        """Forget those whose time has run out."""
        since = self._clock() - _SECONDS
        for name in [name for name, draft in self._drafts.items() if draft.began <= since]:
            self._drop(name)

    def forget_all(self) -> None:
        """Forget every draft."""
        for name in list(self._drafts):
            self._drop(name)

    def _find(self, name: bytes) -> _Draft:
        self.expire()
        for known, draft in self._drafts.items():
            if hmac.compare_digest(known, name):
                return draft
        raise DraftGone

    def _drop(self, name: bytes) -> None:
        draft = self._drafts.pop(name)
        draft.half[:] = bytes(_HALF_BYTES)

    def _seal(self, content: bytes, key: bytes) -> bytes:
        if len(content) > self._size:
            raise ValueError("larger than a draft")
        padded = len(content).to_bytes(_LENGTH_BYTES, "big") + content.ljust(self._size, b"\0")
        return bytes(SecretBox(key).encrypt(padded))


def _key(ours: bytearray, hers: bytes, name: bytes) -> bytes:
    return blake2b(
        hers + name,
        digest_size=SecretBox.KEY_SIZE,
        key=bytes(ours),
        person=b"relay-draft",
        encoder=RawEncoder,
    )


def _parse(untrusted_ticket: str) -> tuple[bytes, bytes]:
    try:
        raw = base64.b64decode(untrusted_ticket.encode("ascii"), b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise DraftGone from None
    if len(raw) != _NAME_BYTES + _HALF_BYTES:
        raise DraftGone
    return raw[:_NAME_BYTES], raw[_NAME_BYTES:]
