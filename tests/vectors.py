"""The public test vectors of age (npm cctv-age), as its README describes them."""

import base64
import json
import subprocess
import zlib
from dataclasses import dataclass

from relay.seal.keys import Identity, Passphrase, parse_identity
from tests.conftest import ROOT

_FIELDS = {
    *("expect", "payload", "identity", "passphrase"),
    *("armored", "file key", "compressed", "comment"),
}


@dataclass(frozen=True, kw_only=True)
class Vector:
    """A file, and what must become of it. payload_hash: SHA-256 in hex, "" where there is none."""

    name: str
    expect: str
    identities: tuple[Identity, ...]
    file_key: bytes
    payload_hash: str
    is_armored: bool
    file: bytes


def load() -> list[Vector]:
    """Every vector there is; one with a field that we don't know fails."""
    command = ["node", str(ROOT / "tests/node/vectors.mjs")]
    listed = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return [_parse(name, base64.b64decode(text)) for name, text in listed.items()]


def _parse(name: str, raw: bytes) -> Vector:
    head, _, file = raw.partition(b"\n\n")
    fields: dict[str, list[str]] = {}
    for line in head.decode().splitlines():
        key, _, value = line.partition(": ")
        assert key in _FIELDS, f"{name}: {key}"
        fields.setdefault(key, []).append(value)
    match fields.get("compressed"):
        case None:
            pass
        case ["zlib"]:
            file = zlib.decompress(file)
        case other:
            raise AssertionError(f"{name}: compressed with {other}")
    identities: list[Identity] = [parse_identity(text) for text in fields.get("identity", [])]
    identities += [Passphrase(secret=text) for text in fields.get("passphrase", [])]
    return Vector(
        name=name,
        expect=fields["expect"][0],
        identities=tuple(identities),
        file_key=bytes.fromhex(fields["file key"][0]),
        payload_hash=fields.get("payload", [""])[0],
        is_armored=fields.get("armored") == ["yes"],
        file=file,
    )
