"""Show what waits on one contact sheet, without writing any photo in full."""

import fcntl
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from relay.desk import sheet
from relay.desk.copies import destroy_file, destroy_opened, part_of
from relay.desk.journal import ID, Journal, JournalFile, place_of
from relay.desk.opening import Examined, examine, examine_opened, refuse_gone
from relay.desk.stock import Amiss, Fault, Stock
from relay.errors import NothingThere, RelayError
from relay.queue.states import Verdict
from relay.queue.verdicts import Decision
from relay.scrub.supervisor import Scrubber, accept
from relay.seal.envelope import SUBMISSION_NAME
from relay.seal.files import overwrite, sync_folder
from relay.seal.keys import Identity

SHEET_NAME = "review.html"
MAX_THUMBNAIL_BYTES = 18 << 10  # 500 of them, and all their words, in less than 15 MB
_AT_ONCE = 20  # cards between two writes: each also writes the journal
_DECIDED = {Verdict.RELEASE: "You have released it.", Verdict.RETURN: "You have returned it."}


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
        async with make_thumbnailer(desk.accept_missing) as scrubber:
            for done, source in enumerate(sources):
                watch(done, len(sources))
                try:
                    examined = await _look(source, desk.identities, journal, scrubber)
                except RelayError as error:
                    outcomes.append(Reviewed(source=source, id=source.stem, error=error))
                    continue
                if (examined.id, examined.digest) in seen:
                    continue
                seen.add((examined.id, examined.digest))
                card = _card(len(seen), source, examined, journal)
                file.add(sheet.draw(card), examined.id)
                outcomes.append(
                    Reviewed(
                        source=source, id=examined.id, found=examined.found, alarms=card.alarms
                    )
                )
        failures = [(one.source.name, one.error.message) for one in outcomes if one.error]
        file.add(sheet.tail(failures, desk.command))
        if seen:
            file.finish()
    return outcomes


def make_thumbnailer(accept_missing: Sequence[str] = ()) -> Scrubber:
    """Return a box for thumbnails, not started yet; accept_missing: walls that it may lack."""
    return Scrubber(max_jpeg_bytes=MAX_THUMBNAIL_BYTES, accepted=accept(accept_missing))


async def _look(
    source: Path, identities: Sequence[Identity], journal: Journal, scrubber: Scrubber
) -> Examined:
    try:
        if source.is_dir():
            return await examine_opened(source, journal, scrubber)
        return await examine(source, identities, journal.envelopes, scrubber)
    except OSError as error:
        raise RelayError(error.strerror) from None


def _card(number: int, source: Path, examined: Examined, journal: Journal) -> sheet.Card:
    alarms = []
    found = ", ".join(examined.found)
    if found and source.is_dir():
        alarms.append(f"this photo was changed after it was opened ({found}).")
    elif found:
        alarms.append(f"the relay had not cleaned this photo ({found}). `open` writes it clean.")
    if not examined.was_announced:
        alarms.append("not pulled by this desk: nothing shows where it comes from.")
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
    verdict = verdicts.confirmed.get(submission_id)
    if verdict is not None:
        return _DECIDED[Verdict(verdict)]
    if statement := verdicts.signed.get(submission_id):
        signed = Decision.parse(statement).verdict
        return f"You have signed: {signed} (not sent from here)."
    return ""


class _SheetFile:
    """A sheet in the making. Left without `finish`, nothing of it stays.

    What it shows is remembered before it is written, so that no copy is ever forgotten.
    """

    def __init__(self, path: Path, journal_file: JournalFile) -> None:
        self._path = path
        self._part = part_of(path)
        self._journal_file = journal_file
        self._waiting: list[str] = []
        self._ids: list[str] = []
        self._remembered = 0

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

    def add(self, text: str, submission_id: str | None = None) -> None:
        """Add a piece, which shows that submission."""
        self._waiting.append(text)
        if submission_id is not None:
            self._ids.append(submission_id)
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
            for submission_id in journal.shown.keys() - set(self._ids):
                _drop(journal.shown, submission_id, place)
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
            for submission_id in self._ids[self._remembered :]:
                _put(journal.shown, submission_id, place_of(self._path))
        self._remembered = len(self._ids)
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


def _put(shown: dict[str, list[str]], submission_id: str, place: str) -> None:
    places = shown.setdefault(submission_id, [])
    if place not in places:
        places.append(place)


def _drop(shown: dict[str, list[str]], submission_id: str, place: str) -> None:
    places = [other for other in shown.pop(submission_id) if other != place]
    if places:
        shown[submission_id] = places
