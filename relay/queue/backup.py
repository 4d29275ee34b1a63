"""What a backup holds of the queue: every row but the envelopes; and a queue made of it again.

A queue that was restored does not know what happened after the copy: what had an envelope then is
lost, and whoever asks about anything is told of which day the copy was.
"""

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Column, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from relay.errors import Corrupt
from relay.queue import restorations
from relay.queue.chain import GENESIS, Head, LogEntry, head_from_json, next_hash, verify_chain
from relay.queue.restorations import Restoration
from relay.queue.schema import UNKNOWN_HOLDER, log, marker, submission
from relay.queue.states import HELD, RESTORED, Reason, State

NO_SUBMISSION = bytes(16)  # in the log: an entry about none
_VERSION = 1
_OWN = ("cover", "held")  # noise, and a count of what is not copied
_FIELDS = {"version", "day", "submission", "log", "marker"}
_DAMAGED = "The copy of the queue can't be read."


@dataclass(frozen=True, kw_only=True)
class QueueCopy:
    """The rows of a queue at one moment of a day, by id and by number.

    submissions: by the names of the columns. markers: by their names, as JSON.
    """

    day: dt.date
    submissions: tuple[dict[str, Any], ...]
    entries: tuple[LogEntry, ...]
    markers: dict[str, dict[str, Any]]

    def encode(self) -> bytes:
        """Return the copy as JSON: days in ISO form, bytes in hex."""
        fields = {
            "version": _VERSION,
            "day": self.day.isoformat(),
            "submission": [_encode(row) for row in self.submissions],
            "log": [entry.to_json() for entry in self.entries],
            "marker": self.markers,
        }
        return json.dumps(fields, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, untrusted_json: bytes) -> "QueueCopy":
        """Read a copy.

        Raises:
            Corrupt: not JSON, another version, a field missing or unknown, or a broken log.
        """
        try:
            fields = json.loads(untrusted_json)
            if set(fields) != _FIELDS or fields["version"] != _VERSION:
                raise Corrupt("The copy of the queue was written by another release.")
            copy = cls(
                day=dt.date.fromisoformat(fields["day"]),
                submissions=tuple(_decode(row) for row in fields["submission"]),
                entries=tuple(LogEntry.from_json(entry) for entry in fields["log"]),
                markers={
                    str(name): dict(value)
                    for name, value in fields["marker"].items()
                    if name not in _OWN
                },
            )
            copy.restorations()
        except (AttributeError, LookupError, TypeError, ValueError, RecursionError):
            raise Corrupt(_DAMAGED) from None
        verify_chain(copy.entries, copy.base)
        return copy

    @property
    def base(self) -> Head:
        """The head of the log before its first entry here."""
        base = self.markers.get("base")
        return Head() if base is None else head_from_json(base)

    @property
    def head(self) -> Head:
        """Where the log ended."""
        if not self.entries:
            return self.base
        return Head(seq=self.entries[-1].seq, hash=self.entries[-1].hash)

    @property
    def lost(self) -> tuple[dict[str, Any], ...]:
        """The submissions that had an envelope: it is not in the copy."""
        return tuple(row for row in self.submissions if row["state"] in HELD)

    def restorations(self) -> tuple[Restoration, ...]:
        """Return from which copies the queue had been restored before."""
        return restorations.decode(self.markers.get(restorations.NAME))

    def entry_of_restoring(self, today: dt.date) -> LogEntry:
        """Return the entry with which the log goes on behind the copy."""
        entry = LogEntry(
            seq=self.head.seq + 1,
            day=today,
            action=RESTORED,
            submission_id=NO_SUBMISSION,
            envelope_sha256=GENESIS,
            signer=None,
            statement=self.day.isoformat(),
            signature=None,
            hash=b"",
        )
        return replace(entry, hash=next_hash(self.head.hash, entry))


async def read_copy(connection: AsyncConnection, *, today: dt.date) -> QueueCopy:
    """Return every row but the envelopes, as they stand in the transaction that is open."""
    submissions = await connection.execute(select(submission).order_by(submission.c.id))
    entries = await connection.execute(select(log).order_by(log.c.seq))
    markers = await connection.execute(select(marker).where(marker.c.name.not_in(_OWN)))
    return QueueCopy(
        day=today,
        submissions=tuple(dict(row) for row in submissions.mappings()),
        entries=tuple(LogEntry(**row) for row in entries.mappings()),
        markers={row.name: dict(json.loads(row.value)) for row in markers},
    )


async def fill(connection: AsyncConnection, copy: QueueCopy, *, today: dt.date) -> None:
    """Put a copy into an empty queue, as what is true of it now.

    What had an envelope is lost, and whoever may have pulled it since is not known.
    """
    rows = [row | _lost(today) if row["state"] in HELD else row for row in copy.submissions]
    told = (*copy.restorations(), Restoration(copied=copy.day, restored=today))
    markers = copy.markers | {restorations.NAME: restorations.encode(told)}
    entries = (*copy.entries, copy.entry_of_restoring(today))
    for table, content in (
        (submission, rows),
        (log, [vars(entry) for entry in entries]),
        (marker, [_marker(name, value) for name, value in markers.items()]),
    ):
        if content:
            await connection.execute(insert(table), content)


def _lost(today: dt.date) -> dict[str, Any]:
    return {
        "state": State.LOST,
        "changed_day": today,
        "holder": UNKNOWN_HOLDER,
        "lease_day": None,
    }


def _marker(name: str, value: object) -> dict[str, Any]:
    return {"name": name, "value": json.dumps(value).encode()}


def _encode(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _encode_value(value) for name, value in row.items()}


def _encode_value(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if isinstance(value, dt.date) else value


def _decode(untrusted_row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of `submission`; a ValueError or TypeError where something is amiss."""
    if set(untrusted_row) != set(submission.columns.keys()):
        raise ValueError("other columns")
    row = {name: _decode_value(submission.c[name], value) for name, value in untrusted_row.items()}
    State(row["state"])
    if row["return_reason"] is not None:
        Reason(row["return_reason"])
    return row


def _decode_value(column: Column[Any], value: Any) -> Any:
    if value is None and column.nullable:
        return None
    kind = column.type.python_type
    if kind is bytes:
        return bytes.fromhex(value)
    if kind is dt.date:
        return dt.date.fromisoformat(value)
    if type(value) is not kind:
        raise TypeError(column.name)
    return value
