"""Ed25519 signatures of staff: requests, verdicts, the log, recipients, files on a stick.

Every kind of statement is signed under a context of its own, so that none can stand for another.
"""

import base64
import binascii
import hashlib

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from relay.errors import Corrupt
from relay.seal import bech32

_PUBLIC_PREFIX = "relaysigner"
_SECRET_PREFIX = "relay-signer-secret-"  # noqa: S105 - a prefix, not a secret
_HELD = (
    "this is a SECRET key, and this machine has held it. Stop the relay, destroy the file and its "
    "copies, and install the machine anew. The key's owner makes new ones (relay keys generate); "
    "the old line leaves every list. Ask her about each verdict that is signed with it"
)
_KEY_BYTES = 32
REQUEST = b"poster-relay/v1/desk-request\n"
VERDICT = b"poster-relay/v1/verdict\n"
CHECKPOINT = b"poster-relay/v1/checkpoint\n"
RECIPIENTS = b"poster-relay/v1/recipients\n"
MANIFEST = b"poster-relay/v1/manifest\n"
VERDICTS = b"poster-relay/v1/verdicts\n"


class Signer:
    """A colleague's public signing key: `relaysigner1…`."""

    def __init__(self, raw: bytes) -> None:
        """Take the 32 bytes of the public key."""
        self._key = VerifyKey(raw)
        self.encoded = bech32.encode(_PUBLIC_PREFIX, raw)

    @classmethod
    def parse(cls, text: str) -> "Signer":
        """Read `relaysigner1…`.

        Raises:
            ValueError: says what is wrong with it.
        """
        if text.upper().startswith(_SECRET_PREFIX.upper()):
            raise ValueError(_HELD)
        prefix, raw = bech32.decode(text)
        if prefix != _PUBLIC_PREFIX or len(raw) != _KEY_BYTES:
            raise ValueError("not a signer: it begins with relaysigner1")
        return cls(raw)

    def verify(self, context: bytes, statement: bytes, untrusted_signature: str) -> None:
        """Return where the base64 signature is this key's over `statement`.

        Raises:
            Corrupt: it is not.
        """
        try:
            signature = base64.b64decode(untrusted_signature, validate=True)
            self._key.verify(context + statement, signature)
        except (BadSignatureError, binascii.Error, ValueError):
            raise Corrupt("The signature does not match.") from None


class SigningIdentity:
    """A colleague's secret signing key: `RELAY-SIGNER-SECRET-1…`."""

    def __init__(self, raw: bytes) -> None:
        """Take the 32-byte seed."""
        self._key = SigningKey(raw)

    @classmethod
    def generate(cls) -> "SigningIdentity":
        """Return a fresh key."""
        return cls(bytes(SigningKey.generate()))

    @classmethod
    def parse(cls, text: str) -> "SigningIdentity":
        """Read `RELAY-SIGNER-SECRET-1…`.

        Raises:
            ValueError: says what is wrong with it; never quotes it.
        """
        prefix, raw = bech32.decode(text)
        if prefix != _SECRET_PREFIX or len(raw) != _KEY_BYTES:
            raise ValueError("not a signing key")
        return cls(raw)

    def encode_secret(self) -> str:
        """Return the secret. It goes into a sealed file and nowhere else."""
        return bech32.encode(_SECRET_PREFIX, bytes(self._key)).upper()

    def signer(self) -> Signer:
        """Return the public half."""
        return Signer(bytes(self._key.verify_key))

    def sign(self, context: bytes, statement: bytes) -> str:
        """Return the base64 signature over `statement`."""
        return base64.b64encode(self._key.sign(context + statement).signature).decode()


def request_statement(*, method: str, host: str, path: str, body: bytes, nonce: str) -> bytes:
    """Return the bytes that a desk signs for one request; `path` includes the query."""
    body_hash = hashlib.sha256(body).hexdigest()
    return f"{method}\n{host}\n{path}\n{body_hash}\n{nonce}".encode()
