"""Receipts and form tokens: what a submitter holds, and the little that we keep of it.

A receipt is 20 decimal digits, the last a check digit. It is computed from the form's token and
the content, so a double send shows the same receipt; only a keyed hash of it is stored.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import time
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from nacl.encoding import RawEncoder
from nacl.hash import blake2b

from relay.errors import ConfigInvalid, FormExpired, ReceiptMistyped

RECEIPT_DIGITS = 20
TOKEN_HOURS = 24
_KEY_BYTES = 32
_MAC_BYTES = 16
_NONCE_BYTES = 16
_HOUR_BYTES = 4
_SECONDS_PER_HOUR = 3600
_LOST = "Put it back from your backup; without it every receipt is worthless"

# Source: H. M. Damm, "Total anti-symmetrische Quasigruppen", 2004, the order-10 table in common
# use. Catches every single wrong digit and every swap of neighbours.
_DAMM = (
    (0, 3, 1, 7, 5, 9, 8, 6, 4, 2),
    (7, 0, 9, 2, 1, 5, 4, 8, 6, 3),
    (4, 2, 0, 6, 8, 7, 1, 3, 5, 9),
    (1, 7, 5, 0, 9, 8, 3, 4, 2, 6),
    (6, 1, 2, 3, 0, 4, 5, 9, 7, 8),
    (3, 6, 7, 4, 2, 0, 9, 5, 8, 1),
    (5, 8, 6, 9, 7, 2, 0, 1, 3, 4),
    (8, 9, 4, 5, 3, 6, 2, 0, 1, 7),
    (9, 4, 3, 8, 6, 1, 7, 2, 0, 5),
    (2, 5, 8, 1, 4, 3, 6, 7, 9, 0),
)


def _keyed(key: bytes, purpose: bytes, *parts: bytes, size: int = 32) -> bytes:
    """Hash `parts`, length-prefixed so that no two lists of parts collide, under `key`."""
    joined = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return blake2b(joined, digest_size=size, key=key, person=purpose, encoder=RawEncoder)


def _check_digit(digits: str) -> str:
    state = 0
    for digit in digits:
        state = _DAMM[state][int(digit)]
    return str(state)


def read_receipt(typed: str) -> str:
    """Return the 20 digits of a receipt typed with any digits of the world, spaces or dashes.

    Raises:
        ReceiptMistyped: not 20 digits, or the check digit is wrong.
    """
    digits = ""
    for character in typed:
        value = unicodedata.decimal(character, None)
        if value is not None:
            digits += str(value)
        elif not (character.isspace() or unicodedata.category(character) in {"Pd", "Cf"}):
            raise ReceiptMistyped
    if len(digits) != RECEIPT_DIGITS or _check_digit(digits[:-1]) != digits[-1]:
        raise ReceiptMistyped
    return digits


def grouped(digits: str) -> str:
    """Return the digits in groups of four, as they are shown and written down."""
    return " ".join(digits[start : start + 4] for start in range(0, len(digits), 4))


def digest_content(parts: Iterable[bytes | bytearray | memoryview]) -> bytes:
    """Return 32 bytes that stand for the content of a submission; order matters."""
    digest = hashlib.blake2b(digest_size=32)
    for part in parts:  # hashed where it lies: a photo is not copied
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


@dataclass(frozen=True, kw_only=True)
class ServiceKeys:
    """The two secrets that only the service can read: one file, never in the database."""

    token: bytes = field(repr=False)
    receipt: bytes = field(repr=False)

    @classmethod
    def load(cls, path: Path) -> "ServiceKeys":
        """Read the key file.

        Raises:
            ConfigInvalid: missing, malformed, or readable by others.
        """
        try:
            if path.stat().st_mode & 0o077:
                raise ConfigInvalid(f"{path}: others can read or write it. Run: chmod 600 {path}")
            raw = base64.b64decode(path.read_bytes(), validate=True)
        except PermissionError as error:
            mend = "It must belong to the relay's own account"
            raise ConfigInvalid(f"{path}: {error.strerror}. {mend}") from error
        except OSError as error:
            raise ConfigInvalid(f"{path}: {error.strerror}. {_LOST}") from error
        except binascii.Error:
            raw = b""
        if len(raw) != 2 * _KEY_BYTES:
            raise ConfigInvalid(f"{path}: not a service key file. {_LOST}")
        return cls(token=raw[:_KEY_BYTES], receipt=raw[_KEY_BYTES:])

    @staticmethod
    def generate() -> bytes:
        """Return the content of a new key file."""
        return base64.b64encode(secrets.token_bytes(2 * _KEY_BYTES))

    def new_token(self) -> str:
        """Return a form token, valid for 24 hours. It tells the hour it was made, nothing else."""
        hour = int(time.time()) // _SECONDS_PER_HOUR
        body = hour.to_bytes(_HOUR_BYTES, "big") + secrets.token_bytes(_NONCE_BYTES)
        return base64.urlsafe_b64encode(body + self._token_mac(body)).decode()

    def check_token(self, untrusted_token: str) -> bytes:
        """Return the token's bytes.

        Raises:
            FormExpired: not one of ours, or older than 24 hours.
        """
        try:
            raw = base64.urlsafe_b64decode(untrusted_token.encode("ascii"))
        except (ValueError, binascii.Error):
            raise FormExpired from None
        body, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        if len(body) != _HOUR_BYTES + _NONCE_BYTES or not hmac.compare_digest(
            mac, self._token_mac(body)
        ):
            raise FormExpired
        age = int(time.time()) // _SECONDS_PER_HOUR - int.from_bytes(body[:_HOUR_BYTES], "big")
        if not 0 <= age <= TOKEN_HOURS:
            raise FormExpired
        return raw

    def receipt_for(self, token: bytes, content_digest: bytes, generation: int) -> str:
        """Return the receipt of this content sent with this token.

        generation: 0, and one more each time that an earlier one was taken back or ran out.
        """
        seed = _keyed(
            self.receipt, b"receipt", token, content_digest, generation.to_bytes(4, "big")
        )
        digits = str(int.from_bytes(seed, "big") % 10 ** (RECEIPT_DIGITS - 1))
        digits = digits.zfill(RECEIPT_DIGITS - 1)
        return digits + _check_digit(digits)

    def name_owner(self, campaign: str) -> str:
        """Return what tells this campaign's queue, served with this key, from others."""
        return f"{campaign} {_keyed(self.receipt, b'owner').hex()}"

    def hash_receipt(self, digits: str) -> bytes:
        """Return the 32 bytes under which the queue knows a receipt."""
        return _keyed(self.receipt, b"lookup", digits.encode("ascii"))

    def _token_mac(self, body: bytes) -> bytes:
        return _keyed(self.token, b"token", body, size=_MAC_BYTES)
