"""age v1 files, written and read whole.

Source: C2SP age.md. The primitives are those of `cryptography`; the format is ours.
Both directions work on bytes in memory: a reader that streams would hand out plaintext before
the last chunk has been checked.
"""

import hmac
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from relay.errors import Corrupt, WrongIdentity
from relay.seal.keys import FILE_KEY_BYTES, Identity, Passphrase, Recipient
from relay.seal.stanza import Stanza, encode_header, header_damaged, parse_header, to_base64

_PAYLOAD_NONCE_BYTES = 16
_CHUNK_BYTES = 64 * 1024
_TAG_BYTES = 16
_CONTENT_DAMAGED = "The content is damaged or cut short."


def seal(plaintext: bytes, recipients: Sequence[Recipient]) -> bytes:
    """Return `plaintext` as an age file that each of `recipients` can open on their own."""
    if not recipients:
        raise ValueError("no recipient")
    if len(recipients) > 1 and any(isinstance(one, Passphrase) for one in recipients):
        raise ValueError("a passphrase must be the only recipient")
    file_key = os.urandom(FILE_KEY_BYTES)
    stanzas = tuple(recipient.wrap(file_key) for recipient in recipients)
    return _write(stanzas, file_key, os.urandom(_PAYLOAD_NONCE_BYTES), plaintext)


def _write(stanzas: tuple[Stanza, ...], file_key: bytes, nonce: bytes, plaintext: bytes) -> bytes:
    """Everything but chance: the same arguments make the same file."""
    covered = encode_header(stanzas)
    mac = to_base64(_header_mac(file_key, covered))
    return b"".join([covered, b" ", mac, b"\n", nonce, *_seal_chunks(file_key, nonce, plaintext)])


def sealed_bytes(plaintext_bytes: int) -> int:
    """Return the length of what follows the header of a sealed plaintext of this length."""
    chunks = max(1, -(-plaintext_bytes // _CHUNK_BYTES))
    return _PAYLOAD_NONCE_BYTES + plaintext_bytes + chunks * _TAG_BYTES


def unseal(untrusted_file: bytes, identities: Sequence[Identity]) -> bytes:
    """Return the whole plaintext of an age file.

    Raises:
        WrongIdentity: the file is sound as far as one can see, but sealed to others.
        Corrupt: damaged, cut short, or altered.
    """
    header = parse_header(untrusted_file)
    file_key = _unwrap(header.stanzas, identities)
    if not hmac.compare_digest(header.mac, _header_mac(file_key, header.covered)):
        raise Corrupt("The header was altered.")
    start = header.length + _PAYLOAD_NONCE_BYTES
    nonce = untrusted_file[header.length : start]
    if len(nonce) != _PAYLOAD_NONCE_BYTES:
        raise header_damaged("cut short")
    return _unseal_chunks(file_key, nonce, memoryview(untrusted_file)[start:])


def _unwrap(stanzas: Sequence[Stanza], identities: Sequence[Identity]) -> bytes:
    for identity in identities:
        file_key = identity.unwrap(stanzas)
        if file_key is not None:
            return file_key
    raise WrongIdentity


def _hkdf(file_key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(hashes.SHA256(), length=32, salt=salt, info=info).derive(file_key)


def _header_mac(file_key: bytes, covered: bytes) -> bytes:
    return hmac.digest(_hkdf(file_key, b"", b"header"), covered, "sha256")


def _chunk_nonce(counter: int, *, is_last: bool) -> bytes:
    return counter.to_bytes(11, "big") + bytes([is_last])


def _seal_chunks(file_key: bytes, nonce: bytes, plaintext: bytes) -> list[bytes]:
    cipher = ChaCha20Poly1305(_hkdf(file_key, nonce, b"payload"))
    view = memoryview(plaintext)
    starts = range(0, max(len(view), 1), _CHUNK_BYTES)
    return [
        cipher.encrypt(
            _chunk_nonce(counter, is_last=start == starts[-1]),
            view[start : start + _CHUNK_BYTES],
            None,
        )
        for counter, start in enumerate(starts)
    ]


def _unseal_chunks(file_key: bytes, nonce: bytes, untrusted_payload: memoryview) -> bytes:
    cipher = ChaCha20Poly1305(_hkdf(file_key, nonce, b"payload"))
    sealed_chunk_bytes = _CHUNK_BYTES + _TAG_BYTES
    starts = range(0, max(len(untrusted_payload), 1), sealed_chunk_bytes)
    chunks = []
    for counter, start in enumerate(starts):
        is_last = start == starts[-1]
        try:
            chunk = cipher.decrypt(
                _chunk_nonce(counter, is_last=is_last),
                untrusted_payload[start : start + sealed_chunk_bytes],
                None,
            )
        except (InvalidTag, ValueError):
            raise Corrupt(_CONTENT_DAMAGED) from None
        if is_last and not chunk and counter:
            raise Corrupt(_CONTENT_DAMAGED)
        chunks.append(chunk)
    return b"".join(chunks)
