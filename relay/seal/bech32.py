"""Bech32 without a length limit, as age writes keys.

Source: BIP 173; C2SP age.md, "Native recipients", drops the limit of 90 characters.
"""

import base64
import functools
import operator
from itertools import compress

_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES = {character: value for value, character in enumerate(_CHARSET)}
_OF_BASE32 = {letter: value for value, letter in enumerate(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")}
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM_LENGTH = 6
_BYTE_BITS = 8
_GROUP_BITS = 5
# What the five bits that leave the checksum change in it: the generators of those that are set.
_FED_BACK = [
    functools.reduce(operator.xor, compress(_GENERATOR, (top >> bit & 1 for bit in range(5))), 0)
    for top in range(32)
]


def _polymod(values: list[int]) -> int:
    checksum = 1
    for value in values:
        checksum = (checksum & 0x1FFFFFF) << _GROUP_BITS ^ value ^ _FED_BACK[checksum >> 25]
    return checksum


def _expand(prefix: str) -> list[int]:
    return [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]


def encode(prefix: str, raw: bytes) -> str:
    """Return `raw` as lower-case bech32 under the lower-case `prefix`."""
    count = -(-len(raw) * _BYTE_BITS // _GROUP_BITS)
    grouped = base64.b32encode(raw)[:count]  # the same groups of five bits, in other letters
    values = [_OF_BASE32[letter] for letter in grouped]
    checksum = _polymod([*_expand(prefix), *values, *[0] * _CHECKSUM_LENGTH]) ^ 1
    values += [checksum >> _GROUP_BITS * (5 - i) & 31 for i in range(_CHECKSUM_LENGTH)]
    return prefix + "1" + "".join(_CHARSET[value] for value in values)


def decode(text: str) -> tuple[str, bytes]:
    """Return the lower-case prefix and the bytes of `text`.

    Raises:
        ValueError: mixed case, bad character, bad checksum, or padding that is not zero.
    """
    if text not in (text.lower(), text.upper()):
        raise ValueError("mixed case")
    prefix, separator, coded = text.lower().rpartition("1")
    if not (separator and prefix and len(coded) >= _CHECKSUM_LENGTH):
        raise ValueError("not bech32")
    if not all("!" <= c <= "~" for c in prefix) or any(c not in _VALUES for c in coded):
        raise ValueError("a character that does not belong")
    values = [_VALUES[c] for c in coded]
    if _polymod([*_expand(prefix), *values]) != 1:
        raise ValueError("checksum mismatch: mistyped or cut short")
    number = 0
    groups = values[:-_CHECKSUM_LENGTH]
    for value in groups:
        number = number << _GROUP_BITS | value
    padding = len(groups) * _GROUP_BITS % _BYTE_BITS
    if padding >= _GROUP_BITS or number & (1 << padding) - 1:
        raise ValueError("padding is not zero")
    return prefix, (number >> padding).to_bytes(len(groups) * _GROUP_BITS // _BYTE_BITS, "big")
