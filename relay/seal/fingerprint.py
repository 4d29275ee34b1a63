"""Fingerprints: a public key as eight words that two people can read to each other.

The words are those of BIP 39: 2,048 common English ones that differ in their first four letters.
Eight of them are 88 bits: nobody finds another key with the same.
"""

import hashlib
import re
from functools import cache

from mnemonic import Mnemonic

_CONTEXT = b"poster-relay/v1/fingerprint\n"
_WORDS, _WORD_BITS = 8, 11
_BETWEEN = re.compile(r"[\s,.;-]+")


def fingerprint(encoded: str) -> str:
    """Return the eight words of a public key, given as it is written (`age1pq1…`, …)."""
    digest = hashlib.sha256(_CONTEXT + encoded.encode()).digest()
    number = int.from_bytes(digest, "big") >> 256 - _WORDS * _WORD_BITS
    shifts = range((_WORDS - 1) * _WORD_BITS, -1, -_WORD_BITS)
    return " ".join(_list_of_words()[number >> shift & (1 << _WORD_BITS) - 1] for shift in shifts)


def count_alike(encoded: str, typed: str) -> int:
    """Return how many of the eight words, in their places, are those that were typed.

    Raises:
        ValueError: not eight words.
    """
    words = _BETWEEN.split(typed.strip().lower())
    if len(words) != _WORDS:
        raise ValueError(f"a fingerprint has {_WORDS} words, these are {len(words)}")
    own = fingerprint(encoded).split(" ")
    return sum(one == other for one, other in zip(own, words, strict=True))


@cache
def _list_of_words() -> tuple[str, ...]:
    return tuple(Mnemonic("english").wordlist)
