"""The questions that this desk has opened: what they say, where they stand, a list to hand on."""

import enum
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from relay.desk.copies import destroy_file
from relay.desk.decide import SHORTEST_ID
from relay.desk.journal import (
    CONFIRMED,
    Journal,
    JournalFile,
    make_private,
    place_of,
    replace_file,
)
from relay.desk.opening import read_submission
from relay.desk.places import check_place
from relay.desk.spreadsheet import encode_rows
from relay.errors import Corrupt, NothingThere, RelayError
from relay.queue.states import Verdict
from relay.queue.verdicts import Decision
from relay.seal.envelope import SUBMISSION_NAME, Submission

_HEAD = ("number", "language", "question")


class Stage(enum.StrEnum):
    """Where a question stands, as far as this desk knows."""

    WAITING = "waiting"
    RELEASED = "released"
    ANSWERED = "answered"
    HELD = "held"  # the relay has lost it: she may have taken it back


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One question, as its sender wrote it."""

    id: str
    language: str
    text: str
    state: Stage

    @property
    def number(self) -> str:
        """What one calls it by."""
        return self.id[:SHORTEST_ID]


@dataclass(kw_only=True)
class Found:
    """The questions here, by id; and folders that can't be read, with the reason."""

    questions: list[Asked] = field(default_factory=list)
    failed: dict[str, RelayError] = field(default_factory=dict)


def find_questions(journal: Journal) -> Found:
    """Read the questions that `open` wrote and that are still there."""
    found = Found()
    for submission_id in journal.questions:
        folders = [Path(place) for place in journal.opened.get(submission_id, {})]
        there = [folder for folder in folders if os.path.lexists(folder / SUBMISSION_NAME)]
        if submission_id in journal.unwanted() or not there:
            continue
        try:
            submission = _read(there[0])
        except RelayError as error:
            found.failed[submission_id] = error
            continue
        found.questions.append(
            Asked(
                id=submission_id,
                language=submission.language,
                text=submission.message,
                state=_stage(journal, submission_id),
            )
        )
    return found


def _read(folder: Path) -> Submission:
    submission = read_submission(folder)
    if not submission.is_question:
        raise Corrupt(f"{folder}: changed after it was opened.")
    return submission


def _stage(journal: Journal, submission_id: str) -> Stage:
    """A release that was signed here for another laptop to send counts: here is the only text."""
    verdicts = journal.verdicts
    if verdicts.said_later(submission_id).get(Verdict.ANSWER) == CONFIRMED:
        return Stage.ANSWERED
    if submission_id in journal.lost:
        return Stage.HELD
    signed = verdicts.signed.get(submission_id)
    is_signed = signed is not None and Decision.parse(signed).verdict is Verdict.RELEASE
    is_released = verdicts.confirmed.get(submission_id) == Verdict.RELEASE
    return Stage.RELEASED if is_released or is_signed else Stage.WAITING


def export(
    questions: Sequence[Asked], to: Path, journal_file: JournalFile, *, force: bool
) -> list[Asked]:
    """Write the released ones to `to`, in an order that tells nothing, and return them.

    A copy like every other: remembered before it is written, and destroyed as a whole where one
    of them is taken back. An older list in its place is overwritten.

    Raises:
        NothingThere: none is released. UnsafePlace: `to` would be copied to others.
        RelayError: something else lies there, or one was taken back meanwhile.
    """
    released = [one for one in questions if one.state is Stage.RELEASED]
    if not released:
        raise NothingThere("No released question here. Release first, then make the list.")
    if not force:
        check_place(to.parent)
    make_private(to.parent)
    place, ids = place_of(to), {one.id for one in released}
    with journal_file.update() as journal:
        is_ours = any(place in places for places in journal.shown.values())
        if os.path.lexists(to) and not (is_ours and to.is_file() and not to.is_symlink()):
            raise RelayError(f"{to} is in the way, with something else in it. Move it away.")
        for submission_id in ids:
            journal.show(submission_id, place)
    random.SystemRandom().shuffle(released)
    # A spreadsheet takes bare digits for a sum: 1234e567.
    rows = [_HEAD, *((f"no. {one.number}", one.language, one.text) for one in released)]
    with journal_file.lock():
        if ids & {*journal_file.read().unwanted()}:
            raise RelayError("A question was taken back meanwhile. Make the list again.")
        destroy_file(to)
        replace_file(to, encode_rows(rows))
    with journal_file.update() as journal:
        for submission_id in journal.shown.keys() - ids:
            journal.show_no_longer(submission_id, place)
    return released
