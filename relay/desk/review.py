"""Show what waits on one contact sheet, without writing any photo in full."""

import fcntl
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from relay.desk import sheet
from relay.desk.copies import destroy_file, destroy_opened, part_of
from relay.desk.journal import ID, Journal, JournalFile, place_of
from relay.desk.opening import (
    Examined,
    examine,
    examine_opened,
    make_scrubber,
    refuse_gone,
    remember_look,
)
from relay.desk.stock import Amiss, Fault, Stock
from relay.desk.visible import marked_in, words_for
from relay.errors import NothingThere, RelayError
from relay.queue.states import Verdict
from relay.queue.verdicts import Decision
from relay.scrub.found import Mark
from relay.scrub.supervisor import Order, ScrubbedPhoto, Scrubber
from relay.scrub.wire import View
from relay.seal.envelope import SUBMISSION_NAME
from relay.seal.files import overwrite, sync_folder
from relay.seal.keys import Identity

SHEET_NAME = "review.html"
MAX_THUMBNAIL_BYTES = View.THUMBNAIL.max_bytes  # 500 of them, and all words, take less than 15 MB
_AT_ONCE = 20  # cards between two writes: each also writes the journal
_DECIDED = {Verdict.RELEASE: "You have released it.", Verdict.RETURN: "You have returned it."}
_BECAME = {
    Verdict.POST: "It is posted.",
    Verdict.ANSWER: "It is answered.",
    Verdict.REMOVE: "It is taken down.",
}


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Who reviews: what opens envelopes here, walls that the box may lack, what one types."""

    identities: Sequence[Identity]
    accept_missing: Sequence[str]
    command: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Reviewed:
    """The outcome for one submission: it is on the sheet, or the reason why not."""

    source: Path
    id: str
    error: RelayError | None = None
    found: tuple[str, ...] = ()  # what no clean photo has, in words
    alarms: tuple[str, ...] = ()  # what staff must know of it
    visible: int = 0  # and not marked as printed on the poster


def take_opened(sources: Sequence[Path], journal_file: JournalFile, stock: Stock) -> None:
    """Add to `stock` the folders that `open` wrote among and inside `sources`, by their names.

    What was taken back or returned is destroyed there and named.
    """
    journal = journal_file.read()
    for source in sources:
        inside = sorted(source.iterdir()) if source.is_dir() else []
        for folder in filter(_is_opened, (source, *inside)):
            try:
                refuse_gone(journal, folder.name)
            except NothingThere as error:
                _destroy(folder, error, stock)
            else:
                stock.envelopes.append(folder)


def _destroy(folder: Path, error: RelayError, stock: Stock) -> None:
    stock.amiss.append(Amiss(source=folder, id=folder.name, fault=Fault.TAKEN_BACK, error=error))
    destruction = destroy_opened(folder)
    stock.destroyed = sorted({*stock.destroyed, *destruction.destroyed})
    stock.warn(destruction)


def _is_opened(path: Path) -> bool:
    return bool(ID.fullmatch(path.name)) and (path / SUBMISSION_NAME).is_file()


async def review(
    stock: Stock,
    to: Path,
    journal_file: JournalFile,
    desk: Desk,
    watch: Callable[[int, int], None],
) -> list[Reviewed]:
    """Write `to/review.html`; where nothing can be shown, no sheet, and an older one stays.

    stock: envelopes, what is wrong with others, and among the envelopes folders that `open` wrote.

    What is given twice is shown once. Memory holds a few thumbnails, however many there are.
    watch: told how many are done, of how many.

    Raises:
        RelayError: another review is under way there, or a photo was taken back meanwhile.
        OSError: the sheet can't be written. Nothing of it is left.
    """
    journal = journal_file.read()
    sources = stock.envelopes
    outcomes = [Reviewed(source=one.source, id=one.id, error=one.error) for one in stock.amiss]
    seen: set[tuple[str, str]] = set()
    with _SheetFile(to / SHEET_NAME, journal_file) as file:
        file.add(sheet.head(len(sources), journal.take_down))
        async with make_scrubber(desk.accept_missing) as scrubber:
            for done, source in enumerate(sources):
                watch(done, len(sources))
                try:
                    examined = await _look(source, desk.identities, journal, scrubber)
                    thumbnail = await _draw_thumbnail(examined, examined.photo, scrubber)
                except RelayError as error:
                    outcomes.append(Reviewed(source=source, id=source.stem, error=error))
                    continue
                if (examined.id, examined.digest) in seen:
                    continue
                seen.add((examined.id, examined.digest))
                examined = replace(examined, photo=thumbnail)  # the large one is no longer needed
                card = _card(len(seen), source, examined, journal)
                file.add(sheet.draw(card), examined, is_sealed=not source.is_dir())
                outcomes.append(
                    Reviewed(
                        source=source,
                        id=examined.id,
                        found=examined.found,
                        alarms=card.alarms,
                        visible=len(examined.visible),
                    )
                )
        failures = [(one.source.name, one.error.message) for one in outcomes if one.error]
        file.add(sheet.tail(failures, desk.command))
        if seen:
            file.finish()
    return outcomes


async def _look(
    source: Path, identities: Sequence[Identity], journal: Journal, scrubber: Scrubber
) -> Examined:
    try:
        if source.is_dir():
            return await examine_opened(source, journal, scrubber)
        return await examine(source, identities, journal, scrubber)
    except OSError as error:
        raise RelayError(error.strerror) from None


async def _draw_thumbnail(
    examined: Examined, photo: ScrubbedPhoto | None, scrubber: Scrubber
) -> ScrubbedPhoto | None:
    """Return the photo, small, with a numbered frame around each thing that nobody marked.

    What she left visible has a frame without a number. Of a question there is no photo.
    """
    if photo is None:
        return None
    marks = [Mark(box=box, is_solid=False) for box in marked_in(examined.submission, photo.size)]
    marks += [
        Mark(box=one.box, is_solid=False, number=number)
        for number, one in enumerate(examined.visible, 1)
    ]
    order = Order(view=View.THUMBNAIL, is_ours=True, is_looked_at=False, marks=marks)
    try:
        return await scrubber.scrub(photo.jpeg, order)
    except RelayError:
        raise RelayError("It could not be drawn small.") from None


def _card(number: int, source: Path, examined: Examined, journal: Journal) -> sheet.Card:
    alarms = []
    found = ", ".join(examined.found)
    if found and source.is_dir():
        alarms.append(f"this photo was changed after it was opened ({found}).")
    elif found:
        alarms.append(f"the relay had not cleaned this photo ({found}). `open` writes it clean.")
    if not examined.was_announced:
        alarms.append("not pulled by this desk: nothing shows where it comes from.")
    if examined.visible:
        alarms.append(words_for(examined.visible))
    return sheet.Card(
        number=number,
        examined=examined,
        alarms=tuple(alarms),
        decided=_decided(examined.id, journal),
    )


def _decided(submission_id: str, journal: Journal) -> str:
    verdicts = journal.verdicts
    if sent := verdicts.sent.get(submission_id):
        return f"You have sent a verdict ({sent}), and no answer came. Send it again."
    if said := list(verdicts.said_later(submission_id)):
        return _BECAME[said[-1]]
    verdict = verdicts.confirmed.get(submission_id)
    reason = journal.reasons.get(submission_id, "")
    if verdict is not None:
        return _with(_DECIDED[Verdict(verdict)], reason)
    if statement := verdicts.signed.get(submission_id):
        signed = Decision.parse(statement).verdict
        return _with(f"You have signed: {signed} (not sent from here).", reason)
    return ""


def _with(decided: str, reason: str) -> str:
    return f"{decided} Visible: {reason}" if reason else decided


class _SheetFile:
    """A sheet in the making. Left without `finish`, nothing of it stays.

    What it shows is remembered before it is written, so that no copy is ever forgotten.
    """

    def __init__(self, path: Path, journal_file: JournalFile) -> None:
        self._path = path
        self._part = part_of(path)
        self._journal_file = journal_file
        self._waiting: list[str] = []
        self._shown: list[tuple[Examined, bool]] = []
        self._ids: set[str] = set()

    def __enter__(self) -> Self:
        """Take the part file for us alone; what a review that was killed left in it goes.

        Raises:
            RelayError: another review is writing it.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(self._part, flags, 0o600)
        try:
            self._take()
        except BaseException:
            os.close(self._descriptor)
            raise
        return self

    def _take(self) -> None:
        is_alone = True
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            is_alone = False
        if not (is_alone and self._is_ours()):
            raise RelayError(f"{self._path}: another review is writing it.")
        overwrite(self._descriptor)
        os.ftruncate(self._descriptor, 0)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Destroy what was not finished."""
        try:
            if self._is_ours():
                destroy_file(self._part)
        finally:
            os.close(self._descriptor)

    def add(self, text: str, shown: Examined | None = None, *, is_sealed: bool = False) -> None:
        """Add a piece, which shows that submission; is_sealed: as it came out of its envelope."""
        self._waiting.append(text)
        if shown is not None:
            self._shown.append((shown, is_sealed))
        if len(self._waiting) >= _AT_ONCE:
            self._write()

    def finish(self) -> None:
        """Put the sheet in its place, on the disk; an older one is overwritten.

        Raises:
            RelayError: it was destroyed meanwhile, since something on it was taken back.
        """
        self._write()
        os.fsync(self._descriptor)
        place = place_of(self._path)
        with self._journal_file.update() as journal:
            if not self._is_ours():
                raise RelayError("Something was taken back meanwhile. Make the sheet again.")
            for submission_id in journal.shown.keys() - self._ids:
                journal.show_no_longer(submission_id, place)
            older = None
            if self._path.is_file() and not self._path.is_symlink():
                older = self._path.open("r+b")
            self._part.replace(self._path)
            sync_folder(self._path.parent)
            if older is not None:
                with older:
                    overwrite(older.fileno())

    def _write(self) -> None:
        with self._journal_file.update() as journal:
            for examined, is_sealed in self._shown:
                if journal.covers_of(examined.id) != examined.covers:
                    raise RelayError("Something was covered meanwhile. Make the sheet again.")
                journal.show(examined.id, place_of(self._path))
                remember_look(journal, examined, is_sealed=is_sealed)
        self._ids |= {examined.id for examined, _ in self._shown}
        self._shown.clear()
        unwritten = memoryview("".join(self._waiting).encode())
        while unwritten:
            unwritten = unwritten[os.write(self._descriptor, unwritten) :]
        self._waiting.clear()

    def _is_ours(self) -> bool:
        """Whether the file that we have open still lies at its place, and not another."""
        try:
            there = self._part.lstat()
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self._descriptor))
