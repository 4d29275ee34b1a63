"""Whether the form takes photos now, and what it is closed for.

What closes it is said in the log once, when it is noticed, and so is that it is open again.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from relay.errors import Closed
from relay.intake.events import events
from relay.seal.keys import ClassicRecipient, HybridRecipient
from relay.seal.lists import RecipientList


class Cause(enum.Enum):
    """What the form can be closed for; several at a time."""

    RECIPIENTS = enum.auto()  # nobody to seal to
    QUEUE = enum.auto()  # nowhere to keep it
    DISK = enum.auto()  # little room left
    BOX = enum.auto()  # nothing to open photos in
    CLOCK = enum.auto()  # what is kept now would be kept under a day that can't be true


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """What a submission is sealed with."""

    name: str
    listed: RecipientList
    recipients: Sequence[HybridRecipient | ClassicRecipient]  # of the list, those of today
    envelope_bytes: int
    recipient_slots: int


class Door:
    """Closed until there is a campaign, and while there is any cause.

    late: what is amiss and closes nothing, in words for the operator: a day that was not turned.
    """

    def __init__(self) -> None:
        """Begin without a campaign, and so closed."""
        self.campaign: Campaign | None = None
        self.late: str | None = None
        self._causes: dict[Cause, str] = {}

    def require_open(self) -> Campaign:
        """Return what to seal with. Asks nothing but this object.

        Raises:
            Closed: for one cause at least.
        """
        if self.campaign is None or self._causes:
            raise Closed
        return self.campaign

    def is_closed_for(self, cause: Cause) -> bool:
        """Whether this is one of the causes."""
        return cause in self._causes

    @property
    def causes(self) -> list[str]:
        """What it is closed for, in words for the operator."""
        return list(self._causes.values())

    def close(self, cause: Cause, why: str) -> None:
        """Close the form; `why` goes into the log, unless it was the last that was said of it."""
        if self._causes.get(cause) != why:
            self._causes[cause] = why
            events.error("closed: %s", why)

    def mend(self, cause: Cause) -> None:
        """Take note that a cause is gone; the last one opens the form."""
        if self._causes.pop(cause, None) is not None and not self._causes:
            events.warning("open again")
