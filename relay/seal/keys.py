"""Recipients (public) and identities (secret): post-quantum hybrid, classic X25519, passphrase.

Source: C2SP age.md, "Recipient types"; RFC 9180 and draft-ietf-hpke-pq for the hybrid.
Parsing a recipient costs more than sealing to it: parse once, keep the object.
"""

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from relay.seal import bech32
from relay.seal.stanza import Stanza, from_base64, header_damaged, to_base64

FILE_KEY_BYTES = 16
HYBRID_PREFIX = "age1pq"
CLASSIC_PREFIX = "age"
_HYBRID_IDENTITY_PREFIX = "age-secret-key-pq-"
_CLASSIC_IDENTITY_PREFIX = "age-secret-key-"
_HYBRID_INFO = b"age-encryption.org/mlkem768x25519"
_CLASSIC_INFO = b"age-encryption.org/v1/X25519"
_SCRYPT_LABEL = b"age-encryption.org/v1/scrypt"
_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
_ENC_BYTES = 1120  # ML-KEM-768 ciphertext 1088, X25519 share 32
_MLKEM_PUBLIC_BYTES = 1184
_X25519_BYTES = 32
_SEED_BYTES = 32
_WRAPPED_BYTES = FILE_KEY_BYTES + 16
_ZERO_NONCE = bytes(12)
_SALT_BYTES = 16
SCRYPT_LOG_N = 18  # 0.6 s and 256 MiB on a laptop; what the age command writes
_SCRYPT_MAX_LOG_N = 22  # 10 s and 4 GiB: above it somebody wants to stop us
_LOG_N = re.compile(r"[1-9][0-9]?")
_HELD = (
    "this is a SECRET key, and this machine has held it. Stop the relay, destroy the file and its "
    "copies, and install the machine anew. The key's owner makes new ones (relay keys generate); "
    "the old line leaves every list. Take what was sealed to it as read by others"
)


class Recipient(Protocol):
    """Somebody who can be sealed to."""

    def wrap(self, file_key: bytes) -> Stanza:
        """Return the stanza that hands `file_key` to this recipient alone."""


class Identity(Protocol):
    """A secret that opens what was sealed to its recipient."""

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """Return the file key, or None where no stanza is for this identity.

        Raises:
            Corrupt: a stanza of this identity's type is malformed.
        """


@dataclass(frozen=True)
class HybridRecipient:
    """ML-KEM-768 with X25519: `age1pq1…`."""

    _key: MLKEM768X25519PublicKey = field(repr=False)
    encoded: str

    @classmethod
    def parse(cls, text: str) -> "HybridRecipient":
        """Read `age1pq1…`.

        Raises:
            ValueError: says what is wrong with it.
        """
        prefix, raw = bech32.decode(text)
        if prefix != HYBRID_PREFIX or len(raw) != _MLKEM_PUBLIC_BYTES + _X25519_BYTES:
            raise ValueError("not a hybrid recipient")
        key = MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(raw[:_MLKEM_PUBLIC_BYTES]),
            X25519PublicKey.from_public_bytes(raw[_MLKEM_PUBLIC_BYTES:]),
        )
        return cls(key, text)

    def wrap(self, file_key: bytes) -> Stanza:
        """Return a `mlkem768x25519` stanza."""
        sealed = _SUITE.encrypt(file_key, self._key, info=_HYBRID_INFO)
        enc, body = sealed[:_ENC_BYTES], sealed[_ENC_BYTES:]
        return Stanza(type="mlkem768x25519", arguments=(to_base64(enc).decode(),), body=body)


class HybridIdentity:
    """A 32-byte seed and the two private keys that grow from it: `AGE-SECRET-KEY-PQ-1…`."""

    def __init__(self, seed: bytes) -> None:
        """Expand the seed. Source: draft-ietf-hpke-pq, DeriveKeyPair of the hybrid KEM."""
        if len(seed) != _SEED_BYTES:
            raise ValueError("not a hybrid identity")
        expanded = hashlib.shake_256(seed).digest(96)
        self._seed = seed
        self._mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        self._x25519 = X25519PrivateKey.from_private_bytes(expanded[64:])
        self._key = MLKEM768X25519PrivateKey(self._mlkem, self._x25519)

    @classmethod
    def generate(cls) -> "HybridIdentity":
        """Return a fresh identity."""
        return cls(os.urandom(_SEED_BYTES))

    def recipient(self) -> HybridRecipient:
        """Return the public half."""
        raw = (
            self._mlkem.public_key().public_bytes_raw()
            + self._x25519.public_key().public_bytes_raw()
        )
        return HybridRecipient(self._key.public_key(), bech32.encode(HYBRID_PREFIX, raw))

    def encode_secret(self) -> str:
        """Return `AGE-SECRET-KEY-PQ-1…`. It goes into a sealed identity file and nowhere else."""
        return bech32.encode(_HYBRID_IDENTITY_PREFIX, self._seed).upper()

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """Try every `mlkem768x25519` stanza."""
        for stanza in stanzas:
            if stanza.type != "mlkem768x25519":
                continue
            enc = _single_argument(stanza, _ENC_BYTES)
            try:
                return _SUITE.decrypt(enc + stanza.body, self._key, info=_HYBRID_INFO)
            except InvalidTag:
                # A low-order share surfaces as the same error; one exchange tells it apart.
                _exchange(self._x25519, enc[-_X25519_BYTES:])
        return None


@dataclass(frozen=True)
class ClassicRecipient:
    """X25519 alone, without protection against a later quantum computer: `age1…`."""

    _raw: bytes = field(repr=False)
    encoded: str

    @classmethod
    def parse(cls, text: str) -> "ClassicRecipient":
        """Read `age1…`.

        Raises:
            ValueError: says what is wrong with it.
        """
        prefix, raw = bech32.decode(text)
        if prefix != CLASSIC_PREFIX or len(raw) != _X25519_BYTES:
            raise ValueError("not a classic recipient")
        return cls(raw, text)

    def wrap(self, file_key: bytes) -> Stanza:
        """Return an `X25519` stanza."""
        ephemeral = X25519PrivateKey.generate()
        share = ephemeral.public_key().public_bytes_raw()
        key = _classic_key(_exchange(ephemeral, self._raw), share, self._raw)
        body = ChaCha20Poly1305(key).encrypt(_ZERO_NONCE, file_key, None)
        return Stanza(type="X25519", arguments=(to_base64(share).decode(),), body=body)


class ClassicIdentity:
    """The private half of an X25519 recipient: `AGE-SECRET-KEY-1…`."""

    def __init__(self, raw: bytes) -> None:
        """Take the 32 bytes of the private key."""
        if len(raw) != _X25519_BYTES:
            raise ValueError("not a classic identity")
        self._key = X25519PrivateKey.from_private_bytes(raw)
        self._public = self._key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> "ClassicIdentity":
        """Return a fresh identity."""
        return cls(os.urandom(_X25519_BYTES))

    def recipient(self) -> ClassicRecipient:
        """Return the public half."""
        return ClassicRecipient(self._public, bech32.encode(CLASSIC_PREFIX, self._public))

    def encode_secret(self) -> str:
        """Return `AGE-SECRET-KEY-1…`. It goes into a sealed identity file and nowhere else."""
        return bech32.encode(_CLASSIC_IDENTITY_PREFIX, self._key.private_bytes_raw()).upper()

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """Try every `X25519` stanza."""
        for stanza in stanzas:
            if stanza.type != "X25519":
                continue
            share = _single_argument(stanza, _X25519_BYTES)
            key = _classic_key(_exchange(self._key, share), share, self._public)
            try:
                return ChaCha20Poly1305(key).decrypt(_ZERO_NONCE, stanza.body, None)
            except InvalidTag:
                continue
        return None


@dataclass(frozen=True, kw_only=True)
class Passphrase:
    """Recipient and identity in one: age's scrypt form, for identity files."""

    secret: str = field(repr=False)
    log_n: int = SCRYPT_LOG_N

    def wrap(self, file_key: bytes) -> Stanza:
        """Return a `scrypt` stanza; it must be the only one of its file."""
        salt = os.urandom(_SALT_BYTES)
        key = self._derive(salt, self.log_n)
        body = ChaCha20Poly1305(key).encrypt(_ZERO_NONCE, file_key, None)
        arguments = (to_base64(salt).decode(), str(self.log_n))
        return Stanza(type="scrypt", arguments=arguments, body=body)

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """Open the one `scrypt` stanza; None where the passphrase is wrong."""
        scrypts = [stanza for stanza in stanzas if stanza.type == "scrypt"]
        if not scrypts:
            return None
        if len(stanzas) != 1:
            raise header_damaged("a passphrase stanza is not alone")
        stanza = scrypts[0]
        if len(stanza.arguments) != 2 or not _LOG_N.fullmatch(stanza.arguments[1]):  # noqa: PLR2004 - salt and log N
            raise header_damaged("a malformed passphrase stanza")
        salt, log_n = from_base64(stanza.arguments[0].encode()), int(stanza.arguments[1])
        if len(salt) != _SALT_BYTES or len(stanza.body) != _WRAPPED_BYTES:
            raise header_damaged("a malformed passphrase stanza")
        if log_n > _SCRYPT_MAX_LOG_N:
            raise header_damaged("it asks for too much work")
        try:
            key = self._derive(salt, log_n)
            return ChaCha20Poly1305(key).decrypt(_ZERO_NONCE, stanza.body, None)
        except InvalidTag:
            return None

    def _derive(self, salt: bytes, log_n: int) -> bytes:
        kdf = Scrypt(salt=_SCRYPT_LABEL + salt, length=32, n=1 << log_n, r=8, p=1)
        return kdf.derive(self.secret.encode())


def parse_recipient(text: str) -> HybridRecipient | ClassicRecipient:
    """Read one recipient of either kind.

    Raises:
        ValueError: says what is wrong with it, a secret key given as a recipient included.
    """
    if text.upper().startswith("AGE-SECRET-KEY-"):
        raise ValueError(_HELD)
    if text.startswith(HYBRID_PREFIX + "1"):
        return HybridRecipient.parse(text)
    if text.startswith(CLASSIC_PREFIX + "1"):
        return ClassicRecipient.parse(text)
    raise ValueError("not a recipient: it begins with age1pq1")


def parse_identity(text: str) -> HybridIdentity | ClassicIdentity:
    """Read one identity of either kind.

    Raises:
        ValueError: says what is wrong with it; never quotes it.
    """
    prefix, raw = bech32.decode(text)
    if not text.isupper():
        raise ValueError("an identity is written in capitals")
    if prefix == _HYBRID_IDENTITY_PREFIX:
        return HybridIdentity(raw)
    if prefix == _CLASSIC_IDENTITY_PREFIX:
        return ClassicIdentity(raw)
    raise ValueError("not an identity")


def _single_argument(stanza: Stanza, length: int) -> bytes:
    if len(stanza.arguments) != 1 or len(stanza.body) != _WRAPPED_BYTES:
        raise header_damaged("a malformed recipient stanza")
    raw = from_base64(stanza.arguments[0].encode("ascii"))
    if len(raw) != length:
        raise header_damaged("a malformed recipient stanza")
    return raw


def _exchange(private: X25519PrivateKey, share: bytes) -> bytes:
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(share))
    except ValueError:
        raise header_damaged("a low-order share") from None


def _classic_key(shared: bytes, share: bytes, public: bytes) -> bytes:
    return HKDF(hashes.SHA256(), length=32, salt=share + public, info=_CLASSIC_INFO).derive(shared)
