"""A submission's way in: upload -> scrub -> seal -> enqueue -> receipt."""

import datetime as dt
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from relay.errors import (
    Busy,
    Closed,
    DraftGone,
    KeepNothing,
    NotKept,
    QuestionMissing,
    QueueFull,
    SubmissionRefused,
    TextTooLong,
)
from relay.intake.choice import Choice, Looked
from relay.intake.door import Cause, Door
from relay.intake.drafts import Drafts
from relay.intake.pending import Acknowledgement, Asked, Draft, Words, encode_sent, find_sent
from relay.queue.restorations import Restoration
from relay.queue.store import SealedQueue, Standing
from relay.receipt import ServiceKeys, digest_content
from relay.scrub.canonical import Size
from relay.scrub.found import Mark
from relay.scrub.supervisor import Order, Scrubber
from relay.scrub.turns import ONE_LANE, Lane
from relay.scrub.wire import View
from relay.seal.envelope import MESSAGE_CHARACTERS, Submission, seal_envelope

_MAX_GENERATIONS = 100  # sends of one content with one token after taking it back


@dataclass(frozen=True, kw_only=True)
class Upload:
    """What a submitter sent. The photo is one buffer that its owner wipes."""

    token: str = field(repr=False)
    untrusted_photo: memoryview = field(repr=False)
    words: Words
    is_to_be_shown: bool = False  # she wants to see it and cover more before it is sent


@dataclass(frozen=True, kw_only=True)
class Question:
    """What somebody asks the speakers, without a photo."""

    token: str = field(repr=False)
    text: str = field(repr=False)
    language: str


@dataclass(frozen=True, kw_only=True)
class NotSentYet:
    """What the cover page shows: the picture as it would be sent, numbered, and what to choose.

    problem: why it was not sent, where she wanted that.
    """

    ticket: str = field(repr=False)
    preview: bytes = field(repr=False)
    draft: Draft = field(repr=False)
    choice: Choice
    problem: SubmissionRefused | None = None


@dataclass(frozen=True, kw_only=True)
class Way:
    """Whether somebody still waits for the answer, and the lane by which she came.

    is_begun: the box has worked for her; she goes before those who have just come.
    """

    is_wanted: Callable[[], bool] = lambda: True
    lane: Lane = ONE_LANE
    is_begun: bool = False


ANY_WAY = Way()
WITH_PREVIEW = Order(has_preview=True)  # most photos are sent at once, and then shown small


@dataclass(frozen=True, kw_only=True)
class Intake:
    """The submitter's side of the relay."""

    door: Door
    keys: ServiceKeys
    queue: SealedQueue
    scrubber: Scrubber
    drafts: Drafts
    today: Callable[[], dt.date]
    most_queued: int | None = None  # beyond it this way in is closed; None: the queue's own limit

    async def submit(self, upload: Upload, way: Way = ANY_WAY) -> Acknowledgement | NotSentYet:
        """Take a photo in. Once it is acknowledged, it is sealed and synced to the disk.

        Where faces or codes are found in it, or she wants to see it first, nothing is sent yet.

        Raises:
            SubmissionRefused: the submitter can mend it. ComeBack: we can't take it now.
            ScrubFailed: the photo could not be cleaned. Nothing is kept in any of these.
        """
        self.door.require_open()
        token = self.keys.check_token(upload.token)
        words = replace(upload.words, message=tidy_message(upload.words.message))
        photo = await self.scrubber.scrub(upload.untrusted_photo, WITH_PREVIEW, **vars(way))
        way = replace(way, is_begun=True)
        draft = Draft(
            token=token,
            digest=_digest(upload.untrusted_photo, words),
            words=words,
            removed=tuple(photo.removed.words()),
            quality=photo.quality,
            looked=Looked(size=photo.size, found=photo.found),
            jpeg=photo.jpeg,
        )
        if not (photo.found or upload.is_to_be_shown):
            return await self._send(draft, Choice(), way, preview=photo.preview)
        self.door.require_open()
        shown = await self._show(draft, "", Choice(), way)
        return replace(shown, ticket=self.drafts.keep(draft.encode(), way.lane))

    async def ask(self, question: Question) -> Asked:
        """Take a question in, into an envelope like every other; twice the same is one.

        Raises:
            SubmissionRefused: the submitter can mend it. ComeBack: we can't take it now.
        """
        campaign = self.door.require_open()
        token = self.keys.check_token(question.token)
        text = tidy_message(question.text)
        if not text:
            raise QuestionMissing
        envelope = seal_envelope(
            Submission.question(campaign=campaign.name, language=question.language, text=text),
            None,
            campaign.recipients,
            envelope_bytes=campaign.envelope_bytes,
            recipient_slots=campaign.recipient_slots,
        )
        digest = digest_content([b"question", text.encode()])
        # A question costs a flooder no upload: the other half of the queue is for photos.
        most = max(1, self.queue.limit(self.most_queued) // 2)
        return Asked(receipt=await self._enqueue(envelope, token, digest, most=most))

    async def show(
        self, untrusted_ticket: str, choice: Choice, way: Way = ANY_WAY
    ) -> NotSentYet | Acknowledgement:
        """Return a draft as it would be sent with `choice`; where it was sent before, that.

        Raises:
            DraftGone: it is not here any more. Others: as `submit`. The draft stays.
        """
        draft = await self._find_draft(untrusted_ticket, choice)
        if isinstance(draft, Acknowledgement):
            return draft
        return await self._show(draft, untrusted_ticket, choice, way)

    async def _show(self, draft: Draft, ticket: str, choice: Choice, way: Way) -> NotSentYet:
        problem = None
        try:
            choice = draft.looked.fit(choice)
            shown = choice
        except KeepNothing as error:  # she needs to see what lies under the squares
            shown, problem = draft.looked.fit(Choice(visible=choice.visible)), error
        preview = await self._preview(draft.jpeg, draft.looked.preview(shown), way)
        return NotSentYet(
            ticket=ticket, preview=preview, draft=draft, choice=choice, problem=problem
        )

    async def send(
        self, untrusted_ticket: str, choice: Choice, way: Way = ANY_WAY
    ) -> Acknowledgement | NotSentYet:
        """Send a draft, covered as chosen. Again: the same receipt.

        Where nothing of the picture would be left, it is shown instead.

        Raises:
            DraftGone: it is not here any more. Others: as `submit`. The draft stays.
        """
        async with self.drafts.lock(untrusted_ticket):
            draft = await self._find_draft(untrusted_ticket, choice)
            if isinstance(draft, Acknowledgement):
                return draft
            try:
                choice = draft.looked.fit(choice)
            except KeepNothing:
                return await self._show(draft, untrusted_ticket, choice, way)
            self.door.require_open()
            sent = await self._send(draft, choice, way, is_chosen=True)
            with suppress(DraftGone):  # the service is about to end
                self.drafts.replace(untrusted_ticket, encode_sent(sent, choice))
            return sent

    async def throw_away(self, untrusted_ticket: str) -> Acknowledgement | None:
        """Forget a draft. Where it was sent before, that stands, and its receipt is returned.

        Raises:
            DraftGone: it is not here any more.
        """
        async with self.drafts.lock(untrusted_ticket):
            found = await self._find_draft(untrusted_ticket, Choice())
            if isinstance(found, Acknowledgement):
                return replace(found, is_other=True)
            self.drafts.drop(untrusted_ticket)
            return None

    async def _find_draft(self, untrusted_ticket: str, choice: Choice) -> Draft | Acknowledgement:
        """Return a draft, or how it was acknowledged where it was sent and is still held.

        Raises:
            DraftGone: neither is here, or she has taken it back since.
        """
        content = self.drafts.read(untrusted_ticket)
        sent = find_sent(content, choice)
        if sent is None:
            return Draft.decode(content)
        if await self.look_up(sent.receipt) is None:
            self.drafts.drop(untrusted_ticket)
            raise DraftGone
        return sent

    async def _preview(self, jpeg: bytes, marks: Sequence[Mark], way: Way) -> bytes:
        order = Order(view=View.PREVIEW, is_ours=True, is_looked_at=False, marks=marks)
        shown = await self.scrubber.scrub(jpeg, order, **vars(way))
        return shown.jpeg

    async def _send(
        self,
        draft: Draft,
        choice: Choice,
        way: Way,
        *,
        is_chosen: bool = False,
        preview: bytes | None = None,
    ) -> Acknowledgement:
        """Cover as chosen, seal, enqueue. preview: of the draft; None: still to be made."""
        jpeg, size, quality = draft.jpeg, draft.looked.size, draft.quality
        covers = draft.looked.covers(choice)
        if covers:
            order = Order(
                quality=quality,
                is_ours=True,
                is_looked_at=False,
                marks=[Mark(box=box) for box in covers],
                has_preview=True,
            )
            photo = await self.scrubber.scrub(jpeg, order, **vars(way))
            jpeg, size, quality = photo.jpeg, photo.size, photo.quality
            preview = photo.preview
        if preview is None:
            preview = await self._preview(jpeg, (), way)
        campaign = self.door.require_open()  # asked again: a photo may take a minute
        report = draft.looked.report(choice)
        envelope = seal_envelope(
            Submission(
                campaign=campaign.name,
                **vars(draft.words),
                covers=len(covers),
                visible=_sides(draft.looked, choice, size),
                scrub={"removed": list(draft.removed), "quality": quality, **report},
            ),
            jpeg,
            campaign.recipients,
            envelope_bytes=campaign.envelope_bytes,
            recipient_slots=campaign.recipient_slots,
        )
        digest = draft.digest
        if is_chosen:
            digest = digest_content([digest, choice.encode()])
        receipt = await self._enqueue(envelope, draft.token, digest)
        return Acknowledgement(
            receipt=receipt, removed=draft.removed, report=report, preview=preview
        )

    async def _enqueue(
        self, envelope: bytes, token: bytes, digest: bytes, *, most: int | None = None
    ) -> str:
        """Keep the envelope and return its receipt: the same one for a double send.

        most: how many envelopes there may be, where it is not as many as for a photo.

        What was taken back, returned or has expired is not here any more, so that sending it
        again is a new submission with a new receipt.
        """
        for generation in range(_MAX_GENERATIONS):
            receipt = self.keys.receipt_for(token, digest, generation)
            hashed = self.keys.hash_receipt(receipt)
            try:
                is_kept = await self.queue.enqueue(
                    envelope, hashed, today=self.today(), most=most or self.most_queued
                )
            except NotKept:
                self.door.close(Cause.QUEUE, self.queue.find_fault() or self.queue.cant_write)
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
            self.door.close(Cause.QUEUE, self.queue.cant_write)
            raise Closed from error
        if is_full:
            raise QueueFull

    async def look_up(self, receipt: str) -> Standing | None:
        """Return where a submission stands; None where nothing is held under this receipt."""
        return await self.queue.find(self.keys.hash_receipt(receipt))

    async def restorations(self) -> tuple[Restoration, ...]:
        """Return from which copies the queue was set up again: what came after is unknown."""
        return await self.queue.restorations()

    async def withdraw(self, receipt: str) -> Standing | None:
        """Destroy a submission, or ask the desk to take its post down.

        Returns None where nothing is held under this receipt now.
        """
        return await self.queue.withdraw(self.keys.hash_receipt(receipt), today=self.today())


def _sides(looked: Looked, choice: Choice, size: Size) -> tuple[tuple[int, int, int, int], ...]:
    """Return what stays visible in a photo of this size: x, y, width, height (px)."""
    boxes = (box.scaled(looked.size, size) for box in looked.visible(choice))
    return tuple((box.x, box.y, box.width, box.height) for box in boxes)


def _digest(untrusted_photo: memoryview, words: Words) -> bytes:
    choices = (words.poster, words.may_post, words.may_quote, words.not_before)
    return digest_content([untrusted_photo, words.message.encode(), repr(choices).encode()])


def utc_today() -> dt.date:
    """Return the day by the machine's clock, which `Calendar` may not believe."""
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
