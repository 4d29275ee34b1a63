"""Whom a relay seals to today: the signed list, and that nobody has rolled it back."""

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from relay.config import ServerConfig
from relay.errors import ConfigInvalid
from relay.queue.store import SealedQueue
from relay.seal.files import check_primitives
from relay.seal.keys import ClassicRecipient, HybridRecipient
from relay.seal.lists import RecipientList, load_recipients
from relay.seal.signing import Signer

WARN_DAYS = 14


@dataclass(frozen=True, kw_only=True)
class Today:
    """The list, and who of it is valid today."""

    listed: RecipientList
    recipients: Sequence[HybridRecipient | ClassicRecipient]
    thins_on: dt.date | None  # within WARN_DAYS

    @property
    def warning(self) -> str | None:
        """What the operator has to do soon, in words; None: nothing."""
        if self.thins_on is None:
            return None
        left = self.listed.count(self.thins_on)
        then = f"only {left} of {len(self.recipients)} recipients are valid"
        if not left:
            then = "no recipient is valid, and the form closes"
        return (
            f"{self.listed.path}: from {self.thins_on} on {then}. Put the campaign's next list "
            "there before (keys/rotation.md)"
        )


def load_today(config: ServerConfig, today: dt.date) -> Today:
    """Read the recipients as the campaign signed them and choose those of `today`.

    Raises:
        NoRecipient: the list is empty, as that of a new campaign is.
        ConfigInvalid: names the file: unsound, unsigned, swapped, nobody valid, a key that can't be
            sealed to, or no ML-KEM here.
    """
    check_primitives()
    listed = load_recipients(config.recipients, allow_classic=config.allow_classic)
    if config.campaign_signer:
        listed.require_signature(_read_campaign_signer(config), config.campaign)
    recipients = listed.current(today, slots=config.recipient_slots)
    listed.require_sealing()
    thins_on = listed.thins_on(today, days=WARN_DAYS)
    return Today(listed=listed, recipients=recipients, thins_on=thins_on)


def _read_campaign_signer(config: ServerConfig) -> Signer:
    """Return who signs the campaign's lists.

    Raises:
        ConfigInvalid: not a signer.
    """
    try:
        return Signer.parse(config.campaign_signer)
    except ValueError as error:
        raise ConfigInvalid(f"campaign_signer: {error}") from None


async def remember_list(listed: RecipientList, signer: str, queue: SealedQueue) -> None:
    """Take note of a signed list, so that an older one is noticed, after a restart too.

    Raises:
        ConfigInvalid: it is older than one that was here, or another under the same number.
        NotKept: the queue can't be written.
    """
    digest = hashlib.sha256(listed.statement().encode()).hexdigest()
    if not await queue.remember_list(signer, listed.number, digest):
        raise ConfigInvalid(
            f"{listed.path}: number {listed.number} is older than a list that was here before, or "
            "another under the same number: swapped? Ask whoever signs the campaign's list"
        )
