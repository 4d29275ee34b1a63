"""A submission's way in: upload -> scrub -> seal -> enqueue -> receipt."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from relay.errors import Busy, Closed, NotKept, QueueFull, TextTooLong
from relay.intake.door import Cause, Door
from relay.queue.store import SealedQueue, Standing
from relay.receipt import ServiceKeys, digest_content
from relay.scrub.supervisor import Scrubber
from relay.scrub.turns import ONE_LANE, Lane
from relay.seal.envelope import MESSAGE_CHARACTERS, Submission, seal_envelope

Poster = Literal["general", "write-in", "handwritten"]
CANT_WRITE = "the queue can't be written: disk full, or another program has it"
POSTERS: tuple[Poster, ...] = ("general", "write-in", "handwritten")
_MAX_GENERATIONS = 100  # sends of one content with one token after taking it back


@dataclass(frozen=True, kw_only=True)
class Upload:
    """What a submitter sent. The photo is one buffer that its owner wipes."""

    token: str = field(repr=False)
    untrusted_photo: bytearray = field(repr=False)
    message: str = field(repr=False)
    language: str
    poster: Poster | None
    may_post: bool
    may_quote: bool
    not_before: dt.date | None


@dataclass(frozen=True, kw_only=True)
class Acknowledgement:
    """What the receipt page shows: the digits, and what was taken off the photo."""

    receipt: str = field(repr=False)
    removed: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Intake:
    """The submitter's side of the relay."""

    door: Door
    keys: ServiceKeys
    queue: SealedQueue
    scrubber: Scrubber
    most_queued: int | None = None  # beyond it this way in is closed; None: the queue's own limit

    async def submit(
        self,
        upload: Upload,
        *,
        is_wanted: Callable[[], bool] = lambda: True,
        lane: Lane = ONE_LANE,
    ) -> Acknowledgement:
        """Take a photo in. When this returns, it is sealed and synced to the disk.

        is_wanted: whether somebody still waits for the answer. lane: see Scrubber.scrub.

        Raises:
            SubmissionRefused: the submitter can mend it. ComeBack: we can't take it now.
            ScrubFailed: the photo could not be cleaned. Nothing is kept in any of these.
        """
        self.door.require_open()
        token = self.keys.check_token(upload.token)
        message = tidy_message(upload.message)
        photo = await self.scrubber.scrub(upload.untrusted_photo, is_wanted=is_wanted, lane=lane)
        campaign = self.door.require_open()  # asked again: a photo may take a minute
        removed = photo.removed.words()
        envelope = seal_envelope(
            Submission(
                campaign=campaign.name,
                language=upload.language,
                message=message,
                may_quote=upload.may_quote,
                poster=upload.poster,
                may_post=upload.may_post,
                not_before=upload.not_before,
                scrub={"removed": removed, "quality": photo.quality},
            ),
            photo.jpeg,
            campaign.recipients,
            envelope_bytes=campaign.envelope_bytes,
            recipient_slots=campaign.recipient_slots,
        )
        receipt = await self._enqueue(envelope, token, _digest(upload, message))
        return Acknowledgement(receipt=receipt, removed=tuple(removed))

    async def _enqueue(self, envelope: bytes, token: bytes, digest: bytes) -> str:
        """Keep the envelope and return its receipt: the same one for a double send.

        What was taken back, returned or has expired is not here any more, so that sending it
        again is a new submission with a new receipt.
        """
        for generation in range(_MAX_GENERATIONS):
            receipt = self.keys.receipt_for(token, digest, generation)
            hashed = self.keys.hash_receipt(receipt)
            try:
                is_kept = await self.queue.enqueue(
                    envelope, hashed, today=utc_today(), most=self.most_queued
                )
            except NotKept:
                self.door.close(Cause.QUEUE, self.queue.find_fault() or CANT_WRITE)
                raise
            if is_kept:
                return receipt
        raise Busy

    async def require_open(self) -> None:
        """Return where a photo could be taken in now. Cheap: asked for each page and by monitors.

        Raises:
            Closed: no valid recipient, no queue to write to, no room, no box. QueueFull: as it
                says.
        """
        self.door.require_open()
        try:
            is_full = await self.queue.is_full(most=self.most_queued)
        except NotKept as error:
            self.door.close(Cause.QUEUE, CANT_WRITE)
            raise Closed from error
        if is_full:
            raise QueueFull

    async def look_up(self, receipt: str) -> Standing | None:
        """Return where a submission stands; None where nothing is held under this receipt."""
        return await self.queue.find(self.keys.hash_receipt(receipt))

    async def withdraw(self, receipt: str) -> Standing | None:
        """Destroy a submission, or ask the desk to take its post down.

        Returns None where nothing is held under this receipt now.
        """
        return await self.queue.withdraw(self.keys.hash_receipt(receipt), today=utc_today())


def _digest(upload: Upload, message: str) -> bytes:
    choices = (upload.poster, upload.may_post, upload.may_quote, upload.not_before)
    return digest_content([upload.untrusted_photo, message.encode(), repr(choices).encode()])


def utc_today() -> dt.date:
    """Return the only clock that is ever stored."""
    return dt.datetime.now(dt.UTC).date()


def tidy_message(text: str) -> str:
    """Return the message with plain line ends and without control characters.

    Raises:
        TextTooLong: more than 500 characters.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ")
    text = "".join(c for c in text if c == "\n" or c.isprintable() or ord(c) > 0x9F).strip()  # noqa: PLR2004 - C1 ends there
    if len(text) > MESSAGE_CHARACTERS:
        raise TextTooLong
    return text
