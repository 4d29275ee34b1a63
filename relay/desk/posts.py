"""What the journal keeps of a post: one record for each submission and account."""

import datetime as dt
import enum
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

_KEY_BYTES = 16


class Stage(enum.StrEnum):
    """Where a post stands.

    planned -> sending -> placed -> removed; sending -> refused, planned again, or unknown: of an
    account that is at most once, it may stand there or not.
    """

    PLANNED = "planned"
    SENDING = "sending"
    PLACED = "placed"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    REMOVED = "removed"


@dataclass
class Record:
    """One post. Written down before each step, so that a kill at any moment doubles nothing.

    at: the instant it is planned for (ISO 8601, UTC). is_moment: one for all, which somebody named;
    else drawn at random. batch: names those that were planned together. key: random, its name for
    good. prepared: what the network said of the picture. shows: SHA-256 of that picture and its
    alt. why: it was refused.
    """

    at: str
    is_moment: bool = False
    stage: Stage = Stage.PLANNED
    key: str = field(default_factory=lambda: secrets.token_hex(_KEY_BYTES))
    batch: str = ""
    prepared: dict[str, str] = field(default_factory=dict)
    shows: str = ""
    uri: str = ""
    url: str = ""
    why: str = ""

    @property
    def instant(self) -> dt.datetime:
        """When it is planned for."""
        return dt.datetime.fromisoformat(self.at)

    @property
    def is_begun(self) -> bool:
        """Whether it may stand there already."""
        return self.stage in (Stage.SENDING, Stage.PLACED, Stage.UNKNOWN)

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> "Record":
        """Read what a journal holds; a ValueError or TypeError where something is amiss."""
        record = cls(**{**fields, "stage": Stage(fields["stage"])})
        words = [record.at, record.key, record.batch, record.shows]
        words += [record.uri, record.url, record.why]
        words += [*record.prepared, *record.prepared.values()]
        if not all(isinstance(word, str) for word in words) or type(record.is_moment) is not bool:
            raise TypeError
        if record.instant.utcoffset() != dt.timedelta():
            raise ValueError("not an instant in UTC")
        return record


Records = dict[str, Record]  # by account


def is_over(records: Iterable[Record]) -> bool:
    """Whether every post that was begun has ended well, and there is one."""
    stages = {record.stage for record in records}
    return Stage.PLACED in stages and not stages & {Stage.PLANNED, Stage.SENDING}


def is_public(records: Records) -> bool:
    """Whether it stands somewhere."""
    return any(record.stage is Stage.PLACED for record in records.values())


def batch_of(records: Records) -> str:
    """Return the batch that it was planned in; empty where it was not."""
    return next((record.batch for record in records.values()), "")
