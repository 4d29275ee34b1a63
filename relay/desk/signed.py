"""Signed files for a stick: one statement, who signed it, the signature. Whole or not at all."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from relay.desk.journal import read_file, replace_file
from relay.errors import Corrupt
from relay.seal.signing import Signer, SigningIdentity

_MAX_BYTES = 16 << 20
Knows = Callable[[str], bool]  # is this signer (relaysigner1…) a colleague, or oneself?


@dataclass(frozen=True, kw_only=True)
class Signed:
    """A statement, and the known colleague who signed it (relaysigner1…)."""

    statement: str
    signer: str


def canonical(fields: dict[str, object]) -> str:
    """Return the one JSON text of `fields`."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))


def write_signed(path: Path, context: bytes, statement: str, identity: SigningIdentity) -> None:
    """Sign `statement` and put it in the place of `path`."""
    fields = {
        "statement": statement,
        "signer": identity.signer().encoded,
        "signature": identity.sign(context, statement.encode()),
    }
    replace_file(path, json.dumps(fields, indent=1).encode() + b"\n")


def read_signed(path: Path, context: bytes, knows: Knows) -> Signed:
    """Read a file that may have been in anybody's hands.

    Raises:
        Corrupt: not to be read, forged, or signed by somebody whom this desk does not know.
    """
    try:
        fields = json.loads(read_file(path, max_bytes=_MAX_BYTES))
        signer, statement = Signer.parse(fields["signer"]), str(fields["statement"])
        signer.verify(context, statement.encode(), str(fields["signature"]))
    except OSError as error:
        raise Corrupt(f"{path}: {error.strerror}.") from None
    except Corrupt as error:
        raise Corrupt(f"{path}: forged or damaged. {error.message}") from None
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError):
        raise Corrupt(f"{path}: can't be read. It was damaged, or is something else.") from None
    if not knows(signer.encoded):
        raise stranger(str(path), signer.encoded)
    return Signed(statement=statement, signer=signer.encoded)


def stranger(what: str, signer: str) -> Corrupt:
    """Return the error about something that a signer unknown to this desk has signed."""
    return Corrupt(
        f"{what}: signed by {signer}, whom this desk does not know. If it is a colleague, "
        "compare the key with her and add it to the staff file that desk.toml names."
    )
