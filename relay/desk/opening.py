"""Open envelopes: decrypt, check, scrub and look again in the box, write whole or not at all."""

import hashlib
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from relay.desk.copies import part_of, sweep_parts
from relay.desk.journal import (
    ID,
    Journal,
    JournalFile,
    make_private,
    place_of,
    read_file,
    replace_file,
)
from relay.desk.places import check_place
from relay.desk.rewrite import rewrite_opened
from relay.desk.visible import marked_in, merged, uncovered
from relay.errors import (
    BoxBroken,
    Corrupt,
    NothingThere,
    RelayError,
    ScrubFailed,
    SubmissionRefused,
    UnsafePlace,
)
from relay.scrub import jpeg
from relay.scrub.canonical import SIZES
from relay.scrub.found import Box, Found, Mark, unmarked
from relay.scrub.supervisor import Order, ScrubbedPhoto, Scrubber, accept
from relay.scrub.wire import QUALITY
from relay.seal.envelope import (
    MAX_SUBMISSION_BYTES,
    PHOTO_NAME,
    SUBMISSION_NAME,
    Submission,
    open_envelope,
)
from relay.seal.keys import Identity

_MAX_ENVELOPE_BYTES = 66 << 20
_MAX_JPEG_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Examined:
    """One envelope, opened in memory: its photo is the one that was scrubbed again here.

    photo: None of a question.
    found: what the relay should have cleaned away, in words: an alarm. was_announced: else nothing
    shows where it comes from. covers: what this desk has covered of it. visible: what can be seen
    all the same and was not marked as printed on the poster.
    """

    id: str
    digest: str
    submission: Submission
    photo: ScrubbedPhoto | None
    found: tuple[str, ...]
    was_announced: bool
    covers: tuple[Box, ...] = ()
    visible: tuple[Found, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Opened:
    """The outcome for one envelope: a folder, or the reason there is none."""

    source: Path
    id: str
    folder: Path | None = None
    error: RelayError | None = None
    is_new: bool = False
    found: tuple[str, ...] = ()  # what the relay should have cleaned away, in words: an alarm
    was_pulled_here: bool = True  # else nothing shows that the relay ever announced it
    choices: tuple[str, ...] = ()  # of its sender, in words: what restricts a post
    visible: tuple[Found, ...] = ()  # and not marked as printed on the poster
    covers: int = 0  # of this desk's own
    is_mended: bool = False  # it was open already, and a cover was missing there


def list_envelopes(source: Path) -> list[Path]:
    """Return the `.age` files inside `source`, in the order of their names; or the file itself.

    Raises:
        NothingThere: it does not exist.
    """
    if source.is_dir():
        return sorted(path for path in source.glob("*.age") if not path.name.startswith("."))
    if not source.exists():
        raise NothingThere(f"{source}: no such file or folder.")
    return [source]


def read_envelope(source: Path) -> bytes:
    """Return the bytes of a file that should be an envelope.

    Raises:
        Corrupt: not a file, or too large. OSError: not to be read.
    """
    return read_file(source, max_bytes=_MAX_ENVELOPE_BYTES)


def prepare_folder(to: Path, journal_file: JournalFile, *, force: bool) -> None:
    """Make `to`, private to its owner, and clear what an `open` that was killed left in it.

    Raises:
        UnsafePlace: others can read it, or will get what lies there, unless `force`.
    """
    if not force:
        check_place(to)
    make_private(to)
    if not force and to.stat().st_mode & 0o077:
        raise UnsafePlace(f"{to}: others on this computer can read it. Run: chmod 700 {to}")
    with journal_file.lock():  # another `open` writes only while it holds this
        sweep_parts(to)


async def open_all(
    envelopes: Sequence[Path],
    identities: Sequence[Identity],
    to: Path,
    journal_file: JournalFile,
    accept_missing: Sequence[str] = (),
) -> AsyncIterator[Opened]:
    """Open each envelope into `to/<id>/`, yielding as it goes. One that fails leaves no file.

    accept_missing: walls of the box that this laptop may lack, by name.
    """
    async with make_scrubber(accept_missing) as scrubber:
        for source in envelopes:
            try:
                examined = await examine(source, identities, journal_file.read(), scrubber)
                yield _keep(source, examined, to, journal_file)
            except RelayError as error:
                yield Opened(source=source, id=source.stem, error=error)
            except OSError as error:
                failure = RelayError(error.strerror)
                yield Opened(source=source, id=source.stem, error=failure)


def make_scrubber(
    accept_missing: Sequence[str] = (), *, max_jpeg_bytes: int = _MAX_JPEG_BYTES
) -> Scrubber:
    """Return the desk's own box, not started yet; accept_missing: walls that it may lack."""
    return Scrubber(max_jpeg_bytes=max_jpeg_bytes, accepted=accept(accept_missing))


async def examine(
    source: Path,
    identities: Sequence[Identity],
    journal: Journal,
    scrubber: Scrubber,
) -> Examined:
    """Open one envelope in memory, scrub its photo and look at it; nothing is written.

    journal: says the SHA-256 of what was announced, and what this desk has covered.

    Raises:
        WrongIdentity: sealed to others.
        Corrupt: damaged, exchanged, or not what a relay seals.
        ScrubFailed, RelayError: the box died, or does not start again. OSError: not to be read.
    """
    untrusted_file = read_envelope(source)
    digest = hashlib.sha256(untrusted_file).hexdigest()
    announced = journal.envelopes
    known = {told: submission_id for submission_id, told in announced.items()}
    # The name of the file may come from anybody; the id is made here.
    name = source.stem if ID.fullmatch(source.stem) else digest[:32]
    if name not in announced:
        name = known.get(digest, name)
    if announced.get(name, digest) != digest:
        raise Corrupt("Not the envelope that the relay announced: exchanged or damaged.")
    submission, untrusted_photo = open_envelope(untrusted_file, identities)
    if untrusted_photo is None:
        return Examined(
            id=name,
            digest=digest,
            submission=submission,
            photo=None,
            found=(),
            was_announced=digest in known,
        )
    covers = journal.covers_of(name)
    photo, found = await scrub_again(untrusted_photo, scrubber, covers)
    return Examined(
        id=name,
        digest=digest,
        submission=replace(submission, covers=submission.covers + len(covers)),
        photo=photo,
        found=found,
        was_announced=digest in known,
        covers=covers,
        visible=_visible(submission, photo),
    )


async def examine_opened(folder: Path, journal: Journal, scrubber: Scrubber) -> Examined:
    """Read what `open` wrote to `folder`, scrub its photo and look at it; nothing is written.

    What this desk has covered is covered in what comes back, whatever lies there.

    Raises: as `examine`. Its digest is empty where this desk does not know what it opened there.
    """
    digest = journal.opened.get(folder.name, {}).get(place_of(folder), "")
    submission = Submission.decode(read_envelope(folder / SUBMISSION_NAME))
    if submission.is_question:
        if os.path.lexists(folder / PHOTO_NAME):
            raise Corrupt("A photo lies beside a question: somebody has changed it.")
        return Examined(
            id=folder.name,
            digest=digest,
            submission=submission,
            photo=None,
            found=(),
            was_announced=journal.envelopes.get(folder.name) == digest,
        )
    covers = journal.covers_of(folder.name)
    photo, found = await scrub_again(read_envelope(folder / PHOTO_NAME), scrubber, covers)
    return Examined(
        id=folder.name,
        digest=digest,
        submission=submission,
        photo=photo,
        found=found,
        was_announced=journal.envelopes.get(folder.name) == digest,
        covers=covers,
        visible=_visible(submission, photo),
    )


def read_submission(folder: Path) -> Submission:
    """Return what `open` wrote to `folder` beside the photo.

    Raises:
        RelayError: it can't be read. Corrupt: it is something else.
    """
    try:
        raw = read_file(folder / SUBMISSION_NAME, max_bytes=MAX_SUBMISSION_BYTES)
    except OSError as error:
        raise RelayError(f"{folder}: {error.strerror}") from None
    return Submission.decode(raw)


def _visible(submission: Submission, photo: ScrubbedPhoto) -> tuple[Found, ...]:
    return tuple(unmarked(photo.found, marked_in(submission, photo.size)))


def remember_look(journal: Journal, examined: Examined, *, is_sealed: bool) -> None:
    """Remember what was seen, wherever it comes from; only what was announced clears anything.

    is_sealed: it came out of the envelope. A copy that somebody may have changed clears nothing,
    and makes no question of a photo.
    """
    if is_sealed:
        journal.remember_kind(examined.id, is_question=examined.submission.is_question)
    seen = [one.box for one in examined.visible]
    if not seen and not examined.was_announced:
        return
    known = journal.seen_in(examined.id)
    if is_sealed and examined.was_announced:
        known = uncovered(known, examined.covers)
    journal.remember_look(examined.id, merged(known, seen))


def refuse_gone(journal: Journal, submission_id: str) -> None:
    """Return where a submission may be opened.

    Raises:
        NothingThere: it was taken back, has expired, or this desk has returned it.
    """
    if submission_id in journal.gone:
        raise NothingThere("Taken back or expired: not opened.")
    if journal.is_returned(submission_id):
        raise NothingThere("You have returned it: not opened.")


async def scrub_again(
    untrusted_photo: bytes, scrubber: Scrubber, covers: Sequence[Box] = ()
) -> tuple[ScrubbedPhoto, tuple[str, ...]]:
    """Return the photo, redrawn, and what no photo that a relay has cleaned still has, in words.

    covers: in px of the photo, drawn over it before it is looked at.

    Raises: as `examine`.
    """
    try:
        quality, is_clean = jpeg.check(untrusted_photo)[2], True
    except ScrubFailed:
        quality, is_clean = QUALITY, False
    try:
        marks = [Mark(box=box) for box in covers]
        order = Order(quality=quality, is_ours=is_clean, marks=marks)
        photo = await scrubber.scrub(untrusted_photo, order)
    except SubmissionRefused:
        raise Corrupt("What is inside is not a photo.") from None
    except BoxBroken:
        raise RelayError("The box in which photos are opened does not start again.") from None
    found = photo.removed.words()
    size = jpeg.size_of(untrusted_photo)
    if size is not None and size not in SIZES:
        found.append("a size of its own")
    if not (is_clean or found):
        found.append("another coding")
    return photo, tuple(found)


def _keep(source: Path, examined: Examined, to: Path, journal_file: JournalFile) -> Opened:
    """Write what was opened, once; remembered first, so that no copy is ever forgotten."""
    folder = to / examined.id
    with journal_file.update() as journal:
        _refuse_now(journal, examined)
        folders = journal.opened.setdefault(examined.id, {})
        if os.path.lexists(folder) and folders.get(place_of(folder)) != examined.digest:
            raise RelayError(f"{folder} is in the way, with something else in it. Move it away.")
        folders[place_of(folder)] = examined.digest
        remember_look(journal, examined, is_sealed=True)
    files = {SUBMISSION_NAME: examined.submission.encode()}
    if examined.photo is not None:
        files = {PHOTO_NAME: examined.photo.jpeg, **files}  # the photo first: see `cover`
    with journal_file.lock():
        _refuse_now(journal_file.read(), examined)  # something may have come in between
        is_new, is_mended = not folder.exists(), False
        if is_new:
            _write_folder(folder, files)
        elif examined.covers and _lacks_covers(folder, examined.submission):
            is_mended = True
            rewrite_opened(folder, files)
    return Opened(
        source=source,
        id=examined.id,
        folder=folder,
        is_new=is_new,
        found=examined.found,
        was_pulled_here=examined.was_announced,
        choices=_restrictions(examined.submission),
        visible=examined.visible,
        covers=len(examined.covers),
        is_mended=is_mended,
    )


def _refuse_now(journal: Journal, examined: Examined) -> None:
    refuse_gone(journal, examined.id)
    if journal.covers_of(examined.id) != examined.covers:
        raise RelayError("It was covered meanwhile. Open it again.")


def _lacks_covers(folder: Path, submission: Submission) -> bool:
    """Whether a cover did not reach what lies there: a drive was away, a command was killed."""
    try:
        there = Submission.decode(read_envelope(folder / SUBMISSION_NAME))
    except (Corrupt, OSError):
        return True
    return there.covers < submission.covers


def _restrictions(submission: Submission) -> tuple[str, ...]:
    """Return in words what its sender forbids, and what staff must look at."""
    if submission.is_question:
        return ("a question, without a photo",)
    words = [] if submission.may_post else ["must not be posted"]
    if day := submission.not_before:
        words.append(f"not before {day.day} {day:%B} {day.year}")
    if visible := len(submission.visible):
        words.append(f"{visible} {'face' if visible == 1 else 'faces'} left visible")
    return tuple(words)


def _write_folder(folder: Path, files: dict[str, bytes]) -> None:
    part = part_of(folder)
    try:
        part.mkdir(mode=0o700)
        for name, content in files.items():
            replace_file(part / name, content)
        part.rename(folder)
    except OSError:
        sweep_parts(folder.parent)
        raise
