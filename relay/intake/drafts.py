"""Photos that were looked at and not sent yet: in RAM, encrypted, for a quarter of an hour.

The key of each is in two halves: the page that shows the draft holds one, this process the other.
Who copies our memory, or has her page without our memory, has nothing; and once our half is
overwritten, nobody has.
"""

import asyncio
import base64
import binascii
import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from nacl.encoding import RawEncoder
from nacl.exceptions import CryptoError
from nacl.hash import blake2b
from nacl.secret import SecretBox

from relay.errors import Busy, DraftGone
from relay.scrub.turns import ONE_LANE, Lane

MINUTES = 15
MOST = 128  # at 512 KiB each, from each of two places
_SECONDS = MINUTES * 60
_SPARED_S = 180.0  # of a draft's beginning: time to look at it, though others crowd in
_NAME_BYTES, _HALF_BYTES, _LENGTH_BYTES = 16, 32, 4


@dataclass(eq=False)
class _Draft:
    """One draft: where it came from, our half of its key, its ciphertext, since when it is here."""

    lane: Lane
    half: bytearray = field(repr=False)
    sealed: bytes = field(repr=False)
    began: float
    is_sent: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, kw_only=True)
class _Unlocked:
    """A draft with the whole of its key, and what is in it."""

    name: bytes
    draft: _Draft
    key: bytes = field(repr=False)
    content: bytes = field(repr=False)


class Drafts:
    """A bounded number of drafts from each listener, all padded to one size."""

    def __init__(
        self, *, size: int, most: int = MOST, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Hold at most `most` drafts of each listener, of at most `size` bytes. clock: seconds."""
        self._size = size
        self._most = most
        self._clock = clock
        self._drafts: dict[bytes, _Draft] = {}

    def __len__(self) -> int:
        """Return how many are held."""
        return len(self._drafts)

    def keep(self, content: bytes, lane: Lane = ONE_LANE) -> str:
        """Hold `content` and return the ticket that the page must bring to get it back.

        lane: the listener by which it came, and the circuit there. Listeners do not crowd each
        other out, and a circuit that holds more than its share crowds out itself.

        Raises:
            Busy: too many are held, and none for long. ValueError: it is larger than a draft.
        """
        self.expire()
        there = {name: draft for name, draft in self._drafts.items() if draft.lane[0] == lane[0]}
        if len(there) >= self._most:
            self._drop(self._choose_victim(there, lane))
        name, hers = secrets.token_bytes(_NAME_BYTES), secrets.token_bytes(_HALF_BYTES)
        half = bytearray(secrets.token_bytes(_HALF_BYTES))
        sealed = self._seal(content, _key(half, hers, name))
        self._drafts[name] = _Draft(lane=lane, half=half, sealed=sealed, began=self._clock())
        return base64.urlsafe_b64encode(name + hers).decode()

    def _choose_victim(self, there: dict[bytes, _Draft], lane: Lane) -> bytes:
        """Return which draft goes: one that was sent, one of who holds most, or the oldest.

        Raises:
            Busy: everybody has the same, and has just begun.
        """
        free = {name: draft for name, draft in there.items() if not draft.lock.locked()}
        sent = [name for name, draft in free.items() if draft.is_sent]
        since = self._clock() - _SPARED_S
        if sent and free[sent[0]].began <= since:
            return sent[0]
        held = Counter(draft.lane for draft in there.values())
        fullest = [name for name, draft in free.items() if held[draft.lane] > held[lane] + 1]
        if fullest:
            return max(fullest, key=lambda name: held[free[name].lane])  # of equals the oldest
        old = [name for name, draft in free.items() if draft.began <= since]
        if not old:
            raise Busy
        return old[0]

    def read(self, untrusted_ticket: str) -> bytes:
        """Return a draft's content.

        Raises:
            DraftGone: its time has run out, it was thrown away, we were started again, it is
                another relay's, or the ticket was tampered with.
        """
        return self._unlock(untrusted_ticket).content

    def lock(self, untrusted_ticket: str) -> asyncio.Lock:
        """Return what two presses on one page take turns by.

        Raises:
            DraftGone: as `read`.
        """
        return self._unlock(untrusted_ticket).draft.lock

    def replace(self, untrusted_ticket: str, content: bytes) -> None:
        """Hold what it was answered in the place of a draft that was sent, for as long as a draft.

        Raises:
            DraftGone: as `read`.
        """
        unlocked = self._unlock(untrusted_ticket)
        draft = unlocked.draft
        draft.sealed = self._seal(content, unlocked.key)
        draft.is_sent, draft.began = True, self._clock()
        self._drafts[unlocked.name] = self._drafts.pop(unlocked.name)  # in the order of their times

    def drop(self, untrusted_ticket: str) -> None:
        """Forget a draft.

        Raises:
            DraftGone: as `read`.
        """
        self._drop(self._unlock(untrusted_ticket).name)

    def expire(self) -> None:
        """Forget those whose time has run out, but none that is being sent."""
        since = self._clock() - _SECONDS
        for name, draft in list(self._drafts.items()):
            if draft.began <= since and not draft.lock.locked():
                self._drop(name)

    def forget_all(self) -> None:
        """Forget every draft."""
        for name in list(self._drafts):
            self._drop(name)

    def _unlock(self, untrusted_ticket: str) -> _Unlocked:
        """Return the draft that a ticket opens.

        Raises:
            DraftGone: as `read`.
        """
        self.expire()
        name, hers = _parse(untrusted_ticket)
        draft = self._drafts.get(name)
        if draft is None:
            raise DraftGone
        key = _key(draft.half, hers, name)
        try:
            padded = SecretBox(key).decrypt(draft.sealed)
        except CryptoError:
            raise DraftGone from None
        content = padded[_LENGTH_BYTES:][: int.from_bytes(padded[:_LENGTH_BYTES], "big")]
        return _Unlocked(name=name, draft=draft, key=key, content=content)

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
