"""Every public test vector of age. Which version: tests/node/package-lock.json."""

import hashlib
from collections import Counter

import pytest

from relay.errors import Corrupt, RelayError, WrongIdentity
from relay.seal import age, armor
from relay.seal.stanza import parse_header
from tests import vectors
from tests.vectors import Vector

# What each kind of failure is here: the error and how its message begins.
FAILURES = {
    "armor failure": (Corrupt, "The armor is damaged"),
    "header failure": (Corrupt, "The header is damaged"),
    "HMAC failure": (Corrupt, "The header was altered"),
    "no match": (WrongIdentity, "None of your identities"),
    "payload failure": (Corrupt, "The content is damaged"),
}
# All apply. Where content fails, the hash is of what a streaming reader may have given out before;
# a reader of whole files gives out nothing.
COUNT = 143


@pytest.fixture(scope="module")
def every() -> list[Vector]:
    return vectors.load()


def binary(vector: Vector) -> bytes:
    return armor.decode(vector.file) if vector.is_armored else vector.file


def outcome(vector: Vector) -> tuple[str, str]:
    """What became of it, in the words of `expect`, and the hash of all that was given out."""
    try:
        plaintext = age.unseal(binary(vector), vector.identities)
    except RelayError as error:
        return name_failure(error), ""
    return "success", hashlib.sha256(plaintext).hexdigest()


def name_failure(error: RelayError) -> str:
    for kind, (cls, words) in FAILURES.items():
        if type(error) is cls and error.message.startswith(words):
            return kind
    return repr(error)


def test_every_public_vector_passes(every: list[Vector]) -> None:
    wrong = {}
    for vector in every:
        kind, given_out = outcome(vector)
        expected = vector.payload_hash if vector.expect == "success" else ""
        if (kind, given_out) != (vector.expect, expected):
            wrong[vector.name] = f"{kind} instead of {vector.expect}"
    print(f"{len(every) - len(wrong)} of {len(every)} vectors pass")  # noqa: T201 - pytest -rP
    assert wrong == {}
    assert len(every) == COUNT


def test_the_vectors_are_of_every_kind(every: list[Vector]) -> None:
    assert Counter(vector.expect for vector in every) == {
        "success": 26,
        "armor failure": 22,
        "header failure": 62,
        "HMAC failure": 1,
        "no match": 13,
        "payload failure": 19,
    }
    assert sum(vector.is_armored for vector in every) == 33


def test_what_opens_is_written_again_byte_for_byte(every: list[Vector]) -> None:
    """Sealing with the vector's own file key, stanzas and nonce makes the vector."""
    opened = [vector for vector in every if vector.expect == "success"]
    for vector in opened:
        file = binary(vector)
        header = parse_header(file)
        nonce = file[header.length : header.length + 16]
        plaintext = age.unseal(file, vector.identities)
        again = age._write(header.stanzas, vector.file_key, nonce, plaintext)  # noqa: SLF001 - without chance
        assert again == file, vector.name
        if vector.is_armored:
            unwrapped = vector.file.strip().replace(b"\r\n", b"\n") + b"\n"
            assert armor.encode(file) == unwrapped, vector.name
    assert opened
