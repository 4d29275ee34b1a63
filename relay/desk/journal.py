"""What a desk remembers: a JSON file beside desk.toml, replaced whole or not at all.

It is written before every step that can't be undone, so that a command killed at any moment has
not forgotten a copy that it made or a verdict that it sent.
"""

import datetime as dt
import fcntl
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import Any

from relay.desk.posts import Record, Records
from relay.errors import Corrupt, RelayError
from relay.queue.chain import Head
from relay.queue.states import LATER, Verdict
from relay.queue.verdicts import Decision
from relay.scrub.found import Box, is_same
from relay.scrub.wire import LONG_SIDE_PX
from relay.seal.files import sync_folder
from relay.seal.signing import Signer

FILE_NAME = "desk-journal.json"
_LOCK_NAME = ".desk-journal.lock"
ID = re.compile(r"[0-9a-f]{32}")
DIGEST = re.compile(r"[0-9a-f]{64}")
MOST_REASON_CHARACTERS = 200
SENT, CONFIRMED = "sent", "confirmed"
_SAID = {SENT, CONFIRMED}
_MOST_HEADS = 100
_LARGEST = (LONG_SIDE_PX, LONG_SIDE_PX)
_DAMAGED = (AttributeError, LookupError, TypeError, ValueError, RecursionError)
_LOST = (
    "Put a copy of it back, if you have one. Without it this desk no longer knows where copies of "
    "photos lie that must be destroyed, what was taken back, and what you have decided. To begin "
    "afresh all the same, destroy those copies yourself and move it away."
)


@dataclass
class Verdicts:
    """By id: sent without an answer; confirmed by the relay; of those, not yet seen in its log.

    signed: the statements that were signed for a file, without a network.
    after: id to the number of the entry behind which an awaited verdict stands; 0: anywhere.

    Those five know one verdict about each: release or return. What was said later of a released
    one stands beside it, by id and then by verdict. later: "sent" or "confirmed". expected: of the
    confirmed, those not yet seen in the relay's log, as `after`.
    """

    sent: dict[str, str] = field(default_factory=dict)
    confirmed: dict[str, str] = field(default_factory=dict)
    awaited: dict[str, str] = field(default_factory=dict)
    signed: dict[str, str] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)
    later: dict[str, dict[str, str]] = field(default_factory=dict)
    expected: dict[str, dict[str, int]] = field(default_factory=dict)

    def said_later(self, submission_id: str) -> dict[Verdict, str]:
        """Return what this desk has said became of it: "sent" or "confirmed", by the verdict."""
        said = self.later.get(submission_id, {})
        return {verdict: said[verdict] for verdict in LATER if verdict in said}


@dataclass
class Journal:
    """What was pulled, where copies lie, what was decided, how far the log was checked.

    campaign: as the relay named it first; another name later is an alarm.
    envelopes: id to SHA-256, as the relay announced it first.
    sealed: id to the paths of its `.age` files. opened: id to folder to the SHA-256 opened there.
    shown: id to the paths of the contact sheets, or lists of questions, that show it.
    take_down: ids of this desk's posts that their senders want deleted. gone: ids taken back or
    expired, never to be opened again. pulls: how often this desk has pulled. manifests: signer to
    the highest number of a manifest of hers. questions: ids that were opened here, and have no
    photo.

    Boxes are [x, y, width, height] in px of the photo. looked: id to the places where something is
    visible that was not marked as printed; an empty list: looked, and nothing there. covered: id to
    what this desk has covered. covering: those of which a cover has begun and not ended, and how
    many covers their submission.json will tell. reasons: id to why it was released although
    something is visible.

    lost: ids of which the relay has no envelope any more: it was set up again from a copy of a day
    (copied; ISO 8601, UTC), and their senders may have taken them back since. lapsed: ids whose
    release was confirmed before a colleague here accepted that. heads: number to hash of the heads
    that were checked here, the newest ones: a log that was restored has to agree with them.

    days: id to the day it came (ISO 8601, UTC). captions: id to the paths of files with the words
    of its posts. posts: id to account to where its post stands.
    """

    campaign: str = ""
    envelopes: dict[str, str] = field(default_factory=dict)
    sealed: dict[str, list[str]] = field(default_factory=dict)
    opened: dict[str, dict[str, str]] = field(default_factory=dict)
    shown: dict[str, list[str]] = field(default_factory=dict)
    verdicts: Verdicts = field(default_factory=Verdicts)
    log_seq: int = 0
    log_hash: str = Head().hash.hex()
    lists: dict[str, int] = field(default_factory=dict)
    take_down: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    pulls: int = 0
    manifests: dict[str, int] = field(default_factory=dict)
    questions: list[str] = field(default_factory=list)
    looked: dict[str, list[list[int]]] = field(default_factory=dict)
    covered: dict[str, list[list[int]]] = field(default_factory=dict)
    covering: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    days: dict[str, str] = field(default_factory=dict)
    captions: dict[str, list[str]] = field(default_factory=dict)
    posts: dict[str, Records] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    copied: str = ""
    lapsed: list[str] = field(default_factory=list)
    heads: dict[str, str] = field(default_factory=dict)

    @property
    def known_heads(self) -> list[Head]:
        """Every head that is remembered, the newest last."""
        heads = {int(seq): bytes.fromhex(digest) for seq, digest in self.heads.items()}
        heads[self.log_seq] = bytes.fromhex(self.log_hash)
        return [Head(seq=seq, hash=digest) for seq, digest in sorted(heads.items())]

    def remember_head(self, head: Head, there: Iterable[Head]) -> None:
        """Remember where the log ended; there: those heads that it still has."""
        kept = [*(one for one in there if one.seq), head][-_MOST_HEADS:]
        self.heads = {str(one.seq): one.hash.hex() for one in kept}
        self.log_seq, self.log_hash = head.seq, head.hash.hex()

    def hear_lost(self, ids: Iterable[str], copied: str) -> None:
        """Remember what the relay has lost, as it says now."""
        self.lost, self.copied = sorted({*ids} - {*self.gone}), copied

    def settle(self, submission_id: str) -> None:
        """Remember that the relay took a verdict about it, so that it is not lost any more."""
        self.lost = [one for one in self.lost if one != submission_id]
        self.lapsed = [one for one in self.lapsed if one != submission_id]

    @property
    def head(self) -> Head:
        """Where the log ended when it was last checked."""
        return Head(seq=self.log_seq, hash=bytes.fromhex(self.log_hash))

    def pin_campaign(self, untrusted_name: str) -> None:
        """Remember the campaign's name.

        Raises:
            Corrupt: the relay named another before. A signature for it would be good there.
        """
        if self.campaign not in ("", untrusted_name):
            raise Corrupt("The relay speaks for another campaign than before.")
        self.campaign = untrusted_name

    def pin_list(self, signer: str, number: int) -> None:
        """Remember the number of a signer's newest list of recipients.

        Raises:
            Corrupt: a newer one was seen before.
        """
        if number < self.lists.get(signer, 0):
            raise Corrupt("The relay's list of recipients is older than one that was there before.")
        self.lists[signer] = number

    def pin_envelope(self, submission_id: str, digest: str) -> None:
        """Remember the digest of an envelope.

        Raises:
            Corrupt: the relay announced another before.
        """
        if self.envelopes.setdefault(submission_id, digest) != digest:
            raise Corrupt(f"{submission_id}: the relay has exchanged this submission.")

    def pin_day(self, submission_id: str, day: dt.date) -> None:
        """Remember the day on which it came, as it was told first."""
        self.days.setdefault(submission_id, day.isoformat())

    def is_mine(self, submission_id: str) -> bool:
        """Whether this desk has decided about it, so that a request to take it down is for us."""
        verdicts = self.verdicts
        decided = {**verdicts.sent, **verdicts.confirmed, **verdicts.signed}
        return submission_id in {**decided, **verdicts.later}

    def is_returned(self, submission_id: str) -> bool:
        """Whether this desk's return stands: the relay has confirmed it, or it was signed."""
        if submission_id in self.verdicts.confirmed:
            return self.verdicts.confirmed[submission_id] == Verdict.RETURN
        signed = self.verdicts.signed.get(submission_id)
        return signed is not None and Decision.parse(signed).verdict is Verdict.RETURN

    def unwanted(self) -> list[str]:
        """Return the ids of which no copy may stay: taken back, expired, or returned from here."""
        decided = {*self.verdicts.confirmed, *self.verdicts.signed}
        return sorted({*self.gone, *filter(self.is_returned, decided)})

    def remember_kind(self, submission_id: str, *, is_question: bool) -> None:
        """Remember whether it came with a photo."""
        others = {*self.questions} - {submission_id}
        self.questions = sorted({*others, submission_id} if is_question else others)

    def hear_take_down(self, ids: Iterable[str]) -> list[str]:
        """Return which of these are questions: they are lost, since no post stands for them.

        A question that was released is nowhere but in copies of the team's.
        """
        questions = [one for one in ids if one in self.questions]
        self.lose(questions)
        return questions

    def lose(self, ids: Iterable[str]) -> None:
        """Remember for good that these were taken back or have expired."""
        self.gone = sorted({*self.gone, *ids})
        self.lost = [one for one in self.lost if one not in self.gone]
        for submission_id in self.gone:
            for memory in (self.looked, self.covered, self.covering, self.reasons, self.days):
                memory.pop(submission_id, None)
            if not self.is_begun(submission_id):
                self.posts.pop(submission_id, None)

    def is_begun(self, submission_id: str) -> bool:
        """Whether a post of it may stand somewhere."""
        return any(record.is_begun for record in self.posts.get(submission_id, {}).values())

    def covers_of(self, submission_id: str) -> tuple[Box, ...]:
        """Return what this desk has covered of it, or is about to."""
        return tuple(Box(*sides) for sides in self.covered.get(submission_id, []))

    def seen_in(self, submission_id: str) -> tuple[Box, ...]:
        """Return where something was visible that was not marked as printed."""
        return tuple(Box(*sides) for sides in self.looked.get(submission_id, []))

    def remember_look(self, submission_id: str, visible: Iterable[Box]) -> None:
        """Remember where something is visible that was not marked as printed.

        A reason that was given before it was seen does not stand for it.
        """
        visible, known = list(visible), self.seen_in(submission_id)
        if not all(any(is_same(box, other) for other in known) for box in visible):
            self.drop_reason(submission_id)
        self.looked[submission_id] = [list(astuple(box)) for box in visible]

    def drop_reason(self, submission_id: str) -> None:
        """Have a release explained again, unless it was sent with that reason."""
        if submission_id not in {**self.verdicts.sent, **self.verdicts.confirmed}:
            self.reasons.pop(submission_id, None)

    def remember_covers(self, submission_id: str, boxes: Iterable[Box]) -> None:
        """Remember all that is to be covered of it."""
        self.covered[submission_id] = [list(astuple(box)) for box in boxes]

    def show(self, submission_id: str, place: str) -> None:
        """Remember that the page or list at `place` shows it."""
        places = self.shown.setdefault(submission_id, [])
        if place not in places:
            places.append(place)

    def show_no_longer(self, submission_id: str, place: str) -> None:
        """Remember that the page or list at `place` shows it no longer."""
        places = [other for other in self.shown.pop(submission_id, []) if other != place]
        if places:
            self.shown[submission_id] = places

    def forget(self, submission_id: str, place: str) -> None:
        """Remember one copy less. The digest stays: it can't come again as another."""
        for copies in (self.sealed, self.shown, self.captions):
            left = [other for other in copies.pop(submission_id, []) if other != place]
            if left:
                copies[submission_id] = left
        folders = self.opened.pop(submission_id, {})
        folders.pop(place, None)
        if folders:
            self.opened[submission_id] = folders


@dataclass(frozen=True)
class JournalFile:
    """The journal of the desk in `folder`."""

    folder: Path

    def read(self) -> Journal:
        """Return the journal; an empty one where there is none.

        Raises:
            Corrupt: it is damaged. Never guessed at, since it guards against rollback.
            RelayError: it can't be read.
        """
        path = self.folder / FILE_NAME
        try:
            return _parse(json.loads(path.read_text("utf-8")))
        except FileNotFoundError:
            return Journal()
        except OSError as error:
            raise RelayError(f"{path}: {error.strerror}. Don't delete it.") from None
        except (*_DAMAGED, Corrupt):
            raise Corrupt(f"{path}: damaged. {_LOST}") from None

    @contextmanager
    def update(self) -> Iterator[Journal]:
        """Yield the journal and put it on the disk; two commands at once take turns.

        Raises:
            Corrupt: it can't be read. Where the body raises, nothing is written.
        """
        with self.lock():
            journal = self.read()
            yield journal
            replace_file(self.folder / FILE_NAME, json.dumps(asdict(journal), indent=1).encode())

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep every other command of this desk from writing meanwhile."""
        lock = os.open(self.folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _parse(fields: dict[str, Any]) -> Journal:
    """Return the journal in `fields`; a ValueError or TypeError where something is amiss."""
    verdicts = Verdicts(**fields["verdicts"])
    shown, captions = fields.get("shown", {}), fields.get("captions", {})  # newer than the others
    by_id = [*(fields[name] for name in ("envelopes", "sealed", "opened")), shown, captions]
    for memory in (*by_id, *vars(verdicts).values()):
        if not all(map(ID.fullmatch, memory)):
            raise ValueError("not an id")
    digests = [*fields["envelopes"].values(), fields["log_hash"]]
    digests += [digest for folders in fields["opened"].values() for digest in folders.values()]
    if not all(map(DIGEST.fullmatch, digests)):
        raise ValueError("not a digest")
    single = (*fields["sealed"].values(), *shown.values(), *captions.values())
    for path in (path for paths in single for path in paths):
        Path(path)
    if not all(isinstance(seq, int) for seq in verdicts.after.values()):
        raise TypeError
    fields["campaign"].encode()
    posts = {
        submission_id: {account: Record.parse(record) for account, record in records.items()}
        for submission_id, records in fields.get("posts", {}).items()
    }
    known = {"verdicts": verdicts, "log_seq": int(fields["log_seq"]), "posts": posts}
    journal = Journal(**fields | known)
    _check_offline(journal)
    _check_later(verdicts)
    _check_looks(journal)
    return journal


def _check_offline(journal: Journal) -> None:
    """Check what older journals don't have yet; a ValueError or TypeError as above."""
    lists: list[Any] = [journal.take_down, journal.gone, journal.questions]
    lists += [journal.lost, journal.lapsed]
    for ids in lists:
        if not isinstance(ids, list) or not all(map(ID.fullmatch, ids)):
            raise ValueError("not a list of ids")
    for signer in (*journal.manifests, *journal.lists):
        Signer.parse(signer)
    numbers = (journal.pulls, *journal.manifests.values(), *journal.lists.values())
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError("not a number")
    if journal.copied:
        dt.date.fromisoformat(journal.copied)
    if not all(map(DIGEST.fullmatch, journal.heads.values())) or journal.known_heads[0].seq < 0:
        raise ValueError("not a head")
    for submission_id, statement in journal.verdicts.signed.items():
        if Decision.parse(statement).id.hex() != submission_id:
            raise ValueError("not its verdict")


def _check_later(verdicts: Verdicts) -> None:
    """Check what was said of released ones; a ValueError or TypeError as above."""
    verdicts_said = [*map(list, verdicts.later.values()), *map(list, verdicts.expected.values())]
    if not all(Verdict(verdict) in LATER for said in verdicts_said for verdict in said):
        raise ValueError("not what is said later")
    if not {word for said in verdicts.later.values() for word in said.values()} <= _SAID:
        raise ValueError("neither sent nor confirmed")
    seqs = [seq for expected in verdicts.expected.values() for seq in expected.values()]
    if not all(type(seq) is int and seq >= 0 for seq in seqs):
        raise ValueError("not the number of an entry")


def _check_looks(journal: Journal) -> None:
    """Check what was seen and covered; a ValueError or TypeError as above."""
    seen_by_id = (journal.looked, journal.covered, journal.covering, journal.reasons)
    for by_id in (*seen_by_id, journal.days, journal.posts):
        if not all(map(ID.fullmatch, by_id)):
            raise ValueError("not an id")
    for day in journal.days.values():
        dt.date.fromisoformat(day)
    seen = [*journal.looked.values(), *journal.covered.values()]
    for sides in (sides for boxes in seen for sides in boxes):
        if not all(type(side) is int for side in sides) or not Box(*sides).lies_in(_LARGEST):
            raise ValueError("not a box in a photo")
    if not all(type(count) is int and count >= 0 for count in journal.covering.values()):
        raise ValueError("not a number")
    if not all(map(is_reason, journal.reasons.values())):
        raise ValueError("not a reason")


def is_reason(text: str) -> bool:
    """Whether it can stand as the reason of a release: 1 to 200 characters that can be seen."""
    return text.isprintable() and 0 < len(text.strip()) <= len(text) <= MOST_REASON_CHARACTERS


def read_file(path: Path, *, max_bytes: int) -> bytes:
    """Return what is in a file that may come from anybody.

    Raises:
        Corrupt: not a file, or more than `max_bytes`. OSError: not to be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Corrupt("Not a file.")
        untrusted_file = file.read(max_bytes + 1)
    if len(untrusted_file) > max_bytes:
        raise Corrupt("Too large to be what its name says.")
    return untrusted_file


def replace_file(path: Path, content: bytes) -> None:
    """Write `content` beside `path`, mode 0600, sync it, and put it in the place of `path`."""
    part = unfinished(path)
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    sync_folder(path.parent)


def unfinished(path: Path) -> Path:
    """Return where `replace_file` leaves what it could not finish."""
    return path.with_name(f".{path.name}.part")


def place_of(path: Path) -> str:
    """Return one spelling of where `path` lies; a link at its end is not followed."""
    return str(path.parent.resolve() / path.name)


def make_private(folder: Path) -> None:
    """Make `folder` and what is missing above it, for the owner alone."""
    for missing in reversed([f for f in (folder, *folder.parents) if not f.exists()]):
        missing.mkdir(mode=0o700)
