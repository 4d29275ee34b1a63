"""Coverage-guided fuzzing of everything that reads an age file or a key. See scripts/fuzz."""

from contextlib import suppress

import atheris

with atheris.instrument_imports(include=["relay.seal"]):
    from relay.seal import age, armor, bech32, envelope, keys
    from relay.seal.stanza import encode_header, from_base64, parse_header, to_base64

from relay.errors import Corrupt, WrongIdentity
from tests import vectors
from tests.fuzz.run import run

_SEEDS = vectors.load()
_IDENTITIES = [
    identity
    for vector in _SEEDS
    if vector.name in {"hybrid", "x25519", "scrypt"}  # most others are sealed to the same
    for identity in vector.identities
]
_MAX_BYTES = 20_000
keys._SCRYPT_MAX_LOG_N = 10  # noqa: SLF001 - as the vectors have it; more would only take longer


def try_one(untrusted: bytes) -> None:
    """Whatever the bytes, there is an answer, and one way only to write what was read."""
    with suppress(Corrupt):
        untrusted = read_armor(untrusted)
    with suppress(Corrupt):
        header = parse_header(untrusted)
        assert encode_header(header.stanzas) == header.covered
        mac = untrusted[len(header.covered) + 1 : header.length - 1]
        assert to_base64(from_base64(mac)) == mac
    with suppress(Corrupt, WrongIdentity):
        age.unseal(untrusted, _IDENTITIES)
    with suppress(Corrupt):
        envelope.unpack(untrusted)
    with suppress(Corrupt):
        envelope.Submission.decode(untrusted)
    read_key(untrusted.decode("latin-1"))


def read_armor(untrusted: bytes) -> bytes:
    age_file = armor.decode(untrusted)
    assert armor.is_armored(untrusted)
    assert armor.encode(age_file).split() == untrusted.split()
    return age_file


def read_key(untrusted: str) -> None:
    with suppress(ValueError):
        assert bech32.encode(*bech32.decode(untrusted)) == untrusted.lower()
    for parse in (keys.parse_identity, keys.parse_recipient):
        with suppress(ValueError):
            parse(untrusted)


def seeds() -> dict[str, bytes]:
    """Every vector, envelope plaintext, and the text of a key of each kind."""
    identities = [kind(bytes(range(32))) for kind in (keys.HybridIdentity, keys.ClassicIdentity)]
    found = {vector.name: vector.file for vector in _SEEDS}
    found |= {f"identity {i}": one.encode_secret().encode() for i, one in enumerate(identities)}
    found |= {
        f"recipient {i}": one.recipient().encoded.encode() for i, one in enumerate(identities)
    }
    submission = envelope.Submission(
        campaign="demo",
        language="en",
        message="",
        may_quote=False,
        poster=None,
        may_post=True,
        not_before=None,
        scrub={},
    ).encode()
    found |= {"submission": submission, "archive": envelope.pack(submission, b"jpeg", 4096)}
    return {name: seed for name, seed in found.items() if len(seed) <= _MAX_BYTES}


if __name__ == "__main__":
    run(try_one, seeds(), max_bytes=_MAX_BYTES)
