"""Cover what is visible in a photo that this desk has opened, so that nobody has to send it again.

What is covered is remembered before it is drawn: whatever opens the envelope later draws it too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from relay.desk.copies import destroy_sheets
from relay.desk.decide import find_id
from relay.desk.journal import Journal, JournalFile
from relay.desk.opening import Examined, examine_opened, make_scrubber, refuse_gone
from relay.desk.rewrite import rewrite_opened
from relay.desk.visible import merged, name_of, uncovered
from relay.errors import ConfigInvalid, NothingThere, RelayError
from relay.scrub.canonical import Size
from relay.scrub.found import Box, Found, cover_of, is_same, snapped
from relay.scrub.supervisor import ScrubbedPhoto, Scrubber
from relay.seal.envelope import PHOTO_NAME, SUBMISSION_NAME

_CHANGED = "Something was covered or opened meanwhile. Run it again."


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be covered: boxes in px of the photo; is_all: what is visible and unmarked too."""

    boxes: tuple[Box, ...] = ()
    is_all: bool = True


@dataclass(kw_only=True)
class Covered:
    """What became of it.

    covers: what was covered now, with its name. folders: where. away: folders that this desk has
    written and can't see now. visible: what can still be seen. sheets: pages that were destroyed.
    failed: files that could not be written or destroyed, and why.
    """

    id: str
    covers: list[tuple[str, Box]] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    away: list[Path] = field(default_factory=list)
    visible: list[Found] = field(default_factory=list)
    sheets: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


async def cover(
    given: str, wanted: Wanted, journal_file: JournalFile, accept_missing: Sequence[str] = ()
) -> Covered:
    """Cover it in every folder that `open` wrote, look again, destroy pages that show it uncovered.

    given: an id, or its beginning. Killed at any point, each photo is whole, the one before or the
    covered one; until it is called again and ends, it can't be released. Nor can it while a folder
    is away: what lies there is uncovered.

    Raises:
        NothingThere: not opened here, taken back, returned, or nothing to cover.
        ConfigInvalid: a box does not lie in the photo.
        Corrupt, RelayError: what lies there is no photo, or the box does not start.
    """
    journal = journal_file.read()
    submission_id = find_id(journal, given, opened=True)
    refuse_gone(journal, submission_id)
    if submission_id in journal.questions:
        raise NothingThere(f"{submission_id}: a question. There is no photo to cover.")
    done = Covered(id=submission_id)
    async with make_scrubber(accept_missing) as scrubber:
        examined = await _look(_folders(journal, done), journal, scrubber)
        done.covers = _choose(examined, wanted, journal)
        with journal_file.update() as journal:
            refuse_gone(journal, submission_id)
            if any(journal.covers_of(submission_id) != one.covers for one in examined):
                raise RelayError(_CHANGED)
            _remember(journal, examined, done)
        for folder in _folders(journal, done):
            await _cover_in(folder, journal_file, scrubber, done)
    with journal_file.update() as journal:
        refuse_gone(journal, submission_id)
        _conclude(journal, done)
    return done


def _folders(journal: Journal, done: Covered) -> list[Path]:
    """Return the folders that are there.

    Raises:
        NothingThere: none is.
    """
    places = [Path(place) for place in journal.opened.get(done.id, {})]
    done.away = [place for place in places if not place.parent.is_dir()]
    folders = [place for place in places if (place / PHOTO_NAME).is_file()]
    if not folders and done.away:
        away = ", ".join(map(str, done.away))
        raise NothingThere(f"{done.id}: not there now: {away}. Plug in the drive, and run it again")
    if not folders:
        opening = "Open it first: relay desk open sealed/ --to opened/"
        raise NothingThere(f"{done.id}: no opened photo of it on this desk. {opening}")
    return folders


async def _look(folders: Sequence[Path], journal: Journal, scrubber: Scrubber) -> list[Examined]:
    """Return what lies there, without the pictures: there may be many folders.

    Raises:
        RelayError: none can be read; a few that can't are named when they are to be covered.
    """
    examined, errors = [], []
    for folder in folders:
        try:
            one = await _examine(folder, journal, scrubber)
        except OSError as error:
            errors.append(RelayError(f"{folder}: {error.strerror}"))
        except RelayError as error:
            errors.append(error)
        else:
            photo = _photo(one)
            examined.append(replace(one, photo=replace(photo, jpeg=b"")))
    if not examined:
        raise errors[0]
    return examined


async def _examine(folder: Path, journal: Journal, scrubber: Scrubber) -> Examined:
    """Return what lies there, covered as far as is remembered.

    Raises:
        RelayError: somebody has changed it, so that boxes may no longer mean the same places.
    """
    examined = await examine_opened(folder, journal, scrubber)
    if examined.found:
        why = f"this photo was changed after it was opened ({', '.join(examined.found)})"
        raise RelayError(f"{folder}: {why}. Delete that folder, and open it again")
    return examined


def _photo(examined: Examined) -> ScrubbedPhoto:
    """Return what is to be covered.

    Raises:
        NothingThere: it is a question.
    """
    if examined.photo is None:
        raise NothingThere(f"{examined.id}: a question. There is no photo to cover.")
    return examined.photo


def _choose(
    examined: Sequence[Examined], wanted: Wanted, journal: Journal
) -> list[tuple[str, Box]]:
    """Return what is to be covered besides what is, with its name.

    Raises:
        NothingThere: nothing. ConfigInvalid: a box does not lie in the photo.
    """
    submission_id, size = examined[0].id, _photo(examined[0]).size
    for box in wanted.boxes:
        _check(box, size)
    names: dict[Box, str] = {}
    if wanted.is_all:
        found = [one for each in examined for one in each.visible]
        for box in merged(journal.seen_in(submission_id), [one.box for one in found]):
            kinds = [name_of(one) for one in found if is_same(one.box, box)]
            names.setdefault(cover_of(box, size), kinds[0] if kinds else "seen before")
    for box in wanted.boxes:
        names.setdefault(snapped(box, size), "yours")
    covers = journal.covers_of(submission_id)
    chosen = [(name, box) for box, name in names.items() if box not in covers]
    expected = _expected(examined, journal)
    is_drawn = all(one.submission.covers >= expected for one in examined)
    if not chosen and is_drawn and submission_id not in journal.covering:
        raise NothingThere(
            f"{submission_id}: nothing to cover. Everything that was found is marked or covered; "
            "cover what you see yourself: --box X,Y,WIDTH,HEIGHT"
        )
    return chosen


def _check(box: Box, size: Size) -> None:
    if not box.lies_in(size):
        sides = f"{box.x},{box.y},{box.width},{box.height}"
        raise ConfigInvalid(
            f"--box {sides}: not inside the photo, which is {size[0]} px wide and {size[1]} high"
        )


def _expected(examined: Sequence[Examined], journal: Journal) -> int:
    """Return how many covers each submission.json should tell before any more are chosen."""
    submission_id = examined[0].id
    told = [one.submission.covers for one in examined]
    known = max([*told, len(journal.covers_of(submission_id))])
    return journal.covering.get(submission_id, known)


def _remember(journal: Journal, examined: Sequence[Examined], done: Covered) -> None:
    journal.covering[done.id] = _expected(examined, journal) + len(done.covers)
    journal.drop_reason(done.id)  # whoever covers it does not want it seen
    covers = [*journal.covers_of(done.id), *(box for _, box in done.covers)]
    journal.remember_covers(done.id, covers)


async def _cover_in(
    folder: Path, journal_file: JournalFile, scrubber: Scrubber, done: Covered
) -> None:
    """Cover all that is remembered in the photo of one folder; one that fails keeps back no other.

    Raises:
        NothingThere: it was taken back meanwhile.
    """
    journal = journal_file.read()
    try:
        examined = await _examine(folder, journal, scrubber)
        with journal_file.lock():
            rewrite_opened(folder, _files(examined, journal_file.read()))
    except NothingThere:
        raise
    except OSError as error:
        done.failed[str(folder)] = error.strerror or ""
    except RelayError as error:
        done.failed[str(folder)] = error.message
    else:
        done.folders.append(folder)
        done.visible += [one for one in examined.visible if one not in done.visible]


def _files(examined: Examined, now: Journal) -> dict[str, bytes]:
    """Return what is to lie there; the photo first, since the other says that it is covered.

    Raises:
        NothingThere: it was taken back meanwhile. RelayError: it was covered by another command.
    """
    refuse_gone(now, examined.id)
    if now.covers_of(examined.id) != examined.covers or examined.id not in now.covering:
        raise RelayError(_CHANGED)
    told = replace(examined.submission, covers=now.covering[examined.id])
    return {PHOTO_NAME: _photo(examined).jpeg, SUBMISSION_NAME: told.encode()}


def _conclude(journal: Journal, done: Covered) -> None:
    """Destroy pages that may show it uncovered; where all is done, let it be released."""
    destruction = destroy_sheets(done.id, journal)
    done.sheets = destruction.destroyed
    left = uncovered(journal.seen_in(done.id), journal.covers_of(done.id))
    seen = merged(left, [one.box for one in done.visible])
    if seen or done.id in journal.envelopes:
        journal.remember_look(done.id, seen)
    else:
        journal.looked.pop(done.id, None)  # nobody has looked at what the relay may announce
    if not done.failed and not done.away:
        journal.covering.pop(done.id, None)
    done.failed |= destruction.failed
