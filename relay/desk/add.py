"""What still comes by e-mail: clean it in the box, seal it here, put it into the same queue."""

import datetime as dt
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from relay.desk.client import DeskClient
from relay.desk.journal import JournalFile
from relay.desk.opening import make_scrubber
from relay.errors import ConfigInvalid, Corrupt, RelayError, TextTooLong, TooLarge
from relay.scrub.supervisor import ScrubbedPhoto
from relay.scrub.wire import MAX_UPLOAD_BYTES
from relay.seal.envelope import MESSAGE_CHARACTERS, Submission, photo_budget, seal_envelope
from relay.seal.keys import ClassicRecipient, HybridRecipient
from relay.seal.lists import RecipientList, parse_recipients
from relay.seal.signing import Signer

Poster = Literal["general", "write-in", "handwritten"]
_LISTED = Path("The relay's list of recipients")
_SMALLEST, _LARGEST = 64 * 1024, 64 * 1024**2
_MOST_SLOTS = 64


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What she wrote in her e-mail, as the form would ask it."""

    language: str
    message: str
    poster: Poster | None
    may_post: bool
    may_quote: bool
    not_before: dt.date | None


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """What to seal with, as the relay says it; the list is believed by its signature."""

    name: str
    envelope_bytes: int
    recipient_slots: int
    listed: RecipientList


@dataclass(frozen=True, kw_only=True)
class Added:
    """The outcome for one file: what was left behind, or why it was not taken."""

    source: Path
    removed: tuple[str, ...] = ()
    error: RelayError | None = None


async def fetch_campaign(
    client: DeskClient, journal_file: JournalFile, campaign_signer: str
) -> Campaign:
    """Return what to seal with.

    campaign_signer: relaysigner1…; empty: the relay's word is taken for the list.

    Raises:
        Corrupt: the answer can't be read, is of another campaign than before, or the list is not
            the one that the campaign signed, or older than one seen before.
    """
    campaign = _read_campaign(await client.ask("GET", "/desk/v1/campaign"))
    listed = campaign.listed
    if campaign_signer:
        try:
            listed.require_signature(Signer.parse(campaign_signer), campaign.name)
        except ValueError as error:
            raise ConfigInvalid(f"campaign_signer in desk.toml: {error}") from None
        except ConfigInvalid as error:
            raise Corrupt(error.message) from None
    with journal_file.update() as journal:
        journal.pin_campaign(campaign.name)
        if campaign_signer:
            journal.pin_list(campaign_signer, listed.number)
    return campaign


async def add_all(
    client: DeskClient | None,
    campaign: Campaign,
    sources: Iterable[Path],
    choices: Choices,
    *,
    accept_missing: Sequence[str] = (),
) -> AsyncIterator[Added]:
    """Clean, seal and send each file, yielding as it goes; one that fails keeps back no other.

    client: None to clean, and send nothing.

    Raises:
        ConfigInvalid: nobody in the list is valid today, or more than there is room for.
    """
    today = dt.datetime.now(dt.UTC).date()
    recipients = campaign.listed.current(today, slots=campaign.recipient_slots)
    budget = photo_budget(campaign.envelope_bytes)
    campaign.listed.require_sealing()
    async with make_scrubber(accept_missing, max_jpeg_bytes=budget) as scrubber:
        for source in sources:
            try:
                photo = await scrubber.scrub(_read(source))
                if client is not None:
                    sealed = _seal(photo, campaign, recipients, choices)
                    await client.send("POST", "/desk/v1/submission", sealed)
            except RelayError as error:
                yield Added(source=source, error=error)
            else:
                yield Added(source=source, removed=tuple(photo.removed.words()))


async def add_questions(
    client: DeskClient | None, campaign: Campaign, sources: Iterable[Path], language: str
) -> AsyncIterator[Added]:
    """Seal and send the question in each text file; as `add_all` for photos."""
    today = dt.datetime.now(dt.UTC).date()
    recipients = campaign.listed.current(today, slots=campaign.recipient_slots)
    campaign.listed.require_sealing()
    for source in sources:
        try:
            sealed = seal_envelope(
                _read_question(source, campaign, language),
                None,
                recipients,
                envelope_bytes=campaign.envelope_bytes,
                recipient_slots=campaign.recipient_slots,
            )
            if client is not None:
                await client.send("POST", "/desk/v1/submission", sealed)
        except RelayError as error:
            yield Added(source=source, error=error)
        else:
            yield Added(source=source)


def _read_question(source: Path, campaign: Campaign, language: str) -> Submission:
    """Return what is asked in a text file.

    Raises:
        RelayError: it can't be read, or is empty. TextTooLong: more than 500 characters.
    """
    try:
        text = source.read_text("utf-8").strip()
    except OSError as error:
        raise RelayError(str(error.strerror)) from None
    except UnicodeDecodeError:
        raise RelayError("Not a text file.") from None
    if not text:
        raise RelayError("There is no question in it.")
    if len(text) > MESSAGE_CHARACTERS:
        raise TextTooLong
    return Submission.question(campaign=campaign.name, language=language, text=text)


def _seal(
    photo: ScrubbedPhoto,
    campaign: Campaign,
    recipients: Sequence[HybridRecipient | ClassicRecipient],
    choices: Choices,
) -> bytes:
    submission = Submission(
        campaign=campaign.name,
        scrub={"removed": photo.removed.words(), "quality": photo.quality},
        **vars(choices),
    )
    return seal_envelope(
        submission,
        photo.jpeg,
        recipients,
        envelope_bytes=campaign.envelope_bytes,
        recipient_slots=campaign.recipient_slots,
    )


def _read(source: Path) -> bytes:
    try:
        with source.open("rb") as file:
            untrusted_photo = file.read(MAX_UPLOAD_BYTES + 1)
    except OSError as error:
        raise RelayError(str(error.strerror)) from None
    if len(untrusted_photo) > MAX_UPLOAD_BYTES:
        raise TooLarge
    return untrusted_photo


def _read_campaign(answer: Any) -> Campaign:
    try:
        size, slots = int(answer["envelope_bytes"]), int(answer["recipient_slots"])
        campaign = Campaign(
            name=str(answer["campaign"]),
            envelope_bytes=size,
            recipient_slots=slots,
            listed=parse_recipients(_LISTED, str(answer["recipients"]), allow_classic=True),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        raise Corrupt("The relay's answer can't be read.") from None
    except ConfigInvalid as error:
        raise Corrupt(error.message) from None
    if size % 512 or not _SMALLEST <= size <= _LARGEST or not 0 < slots <= _MOST_SLOTS:
        raise Corrupt("The relay's answer can't be read.")
    return campaign
