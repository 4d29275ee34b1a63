"""The hash chain of the log: what staff check without trusting the relay. Pure, no database."""

import datetime as dt
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from relay.errors import Corrupt

GENESIS = bytes(32)


@dataclass(frozen=True, kw_only=True)
class Head:
    """A point in the log: the number of an entry and its hash; 0 before the first."""

    seq: int = 0
    hash: bytes = GENESIS

    def statement(self, campaign: str) -> str:
        """Return the text that a colleague signs to say: up to here I have checked the log."""
        fields = {"version": 1, "campaign": campaign, "seq": self.seq, "hash": self.hash.hex()}
        return json.dumps(fields, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A head of the log, the colleague who vouches for it, and the base64 Ed25519 signature."""

    head: Head
    signer: str
    signature: str

    def to_json(self) -> dict[str, Any]:
        """Return the checkpoint as JSON takes it."""
        return {
            "seq": self.head.seq,
            "hash": self.head.hash.hex(),
            "signer": self.signer,
            "signature": self.signature,
        }

    @classmethod
    def from_json(cls, untrusted_fields: dict[str, Any]) -> "Checkpoint":
        """Read a checkpoint.

        Raises:
            Corrupt: a field is missing or of the wrong form.
        """
        return cls(
            head=head_from_json(untrusted_fields),
            signer=str(untrusted_fields.get("signer")),
            signature=str(untrusted_fields.get("signature")),
        )


def head_from_json(untrusted_fields: dict[str, Any]) -> Head:
    """Read a head.

    Raises:
        Corrupt: a field is missing or of the wrong form.
    """
    try:
        seq, digest = int(untrusted_fields["seq"]), bytes.fromhex(untrusted_fields["hash"])
    except (ArithmeticError, KeyError, TypeError, ValueError):
        raise Corrupt("The relay's log can't be read.") from None
    return Head(seq=seq, hash=digest)


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """One line of the log, as stored and as sent to the desk."""

    seq: int
    day: dt.date
    action: str
    submission_id: bytes
    envelope_sha256: bytes
    signer: str | None
    statement: str | None
    signature: str | None
    hash: bytes

    def to_json(self) -> dict[str, Any]:
        """Return the entry as JSON takes it: days in ISO form, bytes in hex."""
        return _fields(self) | {"hash": self.hash.hex()}

    @classmethod
    def from_json(cls, untrusted_fields: dict[str, Any]) -> "LogEntry":
        """Read an entry that a relay sent.

        Raises:
            Corrupt: a field is missing or of the wrong form.
        """
        try:
            return cls(
                seq=int(untrusted_fields["seq"]),
                day=dt.date.fromisoformat(untrusted_fields["day"]),
                action=str(untrusted_fields["action"]),
                submission_id=bytes.fromhex(untrusted_fields["id"]),
                envelope_sha256=bytes.fromhex(untrusted_fields["envelope"]),
                signer=_optional(untrusted_fields["signer"]),
                statement=_optional(untrusted_fields["statement"]),
                signature=_optional(untrusted_fields["signature"]),
                hash=bytes.fromhex(untrusted_fields["hash"]),
            )
        except (ArithmeticError, KeyError, TypeError, ValueError):
            raise Corrupt("The relay's log can't be read.") from None


def _optional(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError
    return value


def _fields(entry: LogEntry) -> dict[str, Any]:
    return {
        "seq": entry.seq,
        "day": entry.day.isoformat(),
        "action": entry.action,
        "id": entry.submission_id.hex(),
        "envelope": entry.envelope_sha256.hex(),
        "signer": entry.signer,
        "statement": entry.statement,
        "signature": entry.signature,
    }


def next_hash(previous: bytes, entry: LogEntry) -> bytes:
    """Return the hash that `entry` must carry after `previous`; its own `hash` is not read."""
    text = json.dumps(_fields(entry), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(previous + text.encode()).digest()


def verify_chain(entries: Iterable[LogEntry], start: Head) -> list[Head]:
    """Return the head after each entry, `start` first.

    Raises:
        Corrupt: an entry was deleted, altered, added in the middle or put in another order.
    """
    heads = [start]
    for entry in entries:
        if entry.seq != heads[-1].seq + 1:
            raise Corrupt(f"The relay's log jumps from entry {heads[-1].seq} to {entry.seq}.")
        expected = next_hash(heads[-1].hash, entry)
        if entry.hash != expected:
            raise Corrupt(f"The relay's log was altered at entry {entry.seq} or before.")
        heads.append(Head(seq=entry.seq, hash=expected))
    return heads
