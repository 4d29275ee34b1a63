"""What may be posted now, and why the rest may not: what she chose is binding."""

import datetime as dt
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from relay.desk.captions import CaptionFiles, Captions
from relay.desk.decide import refuse_lost
from relay.desk.journal import Journal
from relay.desk.networks import Network
from relay.desk.opening import read_submission
from relay.desk.posts import Records, Stage, batch_of, is_public
from relay.errors import ConfigInvalid, NothingThere, RelayError
from relay.seal.envelope import SUBMISSION_NAME, Submission

# A day has begun everywhere on Earth this much after it has in Greenwich: at UTC-12, and nobody
# knows where she is.
_LAST_PLACE = dt.timedelta(hours=12)
# The relay tells the day of arrival and no more: only two midnights later is a whole day over.
_HELD_DAYS = 2


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A photo that may be posted, its words, and the accounts that it still has to go to.

    is_public: it stands somewhere already. batch: of which it is, if it was planned before.
    """

    id: str
    folder: Path
    submission: Submission
    captions: Captions
    accounts: tuple[str, ...]
    is_public: bool
    batch: str


@dataclass(frozen=True, kw_only=True)
class Held:
    """What is not posted, and why, in words."""

    id: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the campaign and the command say. at: the one instant for all; else random ones.

    same_day: post on the day of arrival, which gives away when she sent it. again: also where the
    outcome is unknown. account: this one alone. is_named: somebody has typed the numbers, so that
    a photo that stands somewhere goes to accounts that it was never meant for, too. after_restore:
    also what the relay has lost, and may have been taken back.
    """

    at: dt.datetime | None = None
    same_day: bool = False
    again: bool = False
    account: str = ""
    is_named: bool = False
    after_restore: bool = False


class Sorter:
    """Sorts what this desk has released."""

    def __init__(
        self,
        journal: Journal,
        files: CaptionFiles,
        networks: Mapping[str, Network],
        rules: Rules,
    ) -> None:
        """Judge by what `journal` says. networks: by the name of the account."""
        self._journal = journal
        self._files = files
        self._networks = networks
        self._rules = rules

    def sort(self, ids: Collection[str], when: dt.datetime) -> tuple[list[Ready], list[Held]]:
        """Return what may be posted at `when` (UTC), and what may not; nothing of what is over."""
        ready, held = [], []
        for submission_id in ids:
            records = self._journal.posts.get(submission_id, {})
            accounts = self._accounts(records)
            try:
                if accounts:
                    ready.append(self._judge(submission_id, records, accounts, when))
            except RelayError as error:
                held.append(Held(id=submission_id, why=error.message))
            if lost := self._unknown(records):
                why = f"nobody knows whether it stands at {', '.join(lost)}. Look there. If it "
                why += "does: --posted. If it does not: --again."
                held.append(Held(id=submission_id, why=why))
        return ready, held

    def _accounts(self, records: Records) -> list[str]:
        """Return the accounts that it still has to go to.

        One that is new in the accounts file, or has a new name there, gets nothing of what stands
        elsewhere already.
        """
        over = {Stage.PLACED, Stage.REMOVED} | (set() if self._rules.again else {Stage.UNKNOWN})
        wanted = [name for name in self._networks if self._rules.account in ("", name)]
        if is_public(records) and not self._rules.is_named:
            wanted = [name for name in wanted if name in records]
        return [name for name in wanted if name not in records or records[name].stage not in over]

    def _unknown(self, records: Records) -> list[str]:
        unknown = [name for name, record in records.items() if record.stage is Stage.UNKNOWN]
        return [] if self._rules.again else unknown

    def _judge(
        self, submission_id: str, records: Records, accounts: Sequence[str], when: dt.datetime
    ) -> Ready:
        """Return it where it may be posted.

        Raises:
            RelayError: it may not; the message says why.
        """
        refuse_withdrawn(self._journal, submission_id)
        if not self._rules.after_restore:
            refuse_lost(self._journal, submission_id)
        self._refuse_other_moment(records)
        folder = find_folder(self._journal, submission_id)
        submission = read_submission(folder)
        refuse_unwanted(submission, when)
        if not self._rules.same_day:
            refuse_early(self._journal.days.get(submission_id), when)
        captions = self._files.read(submission_id)
        if captions is None:
            raise ConfigInvalid(
                f"nobody has read its words yet: relay desk caption {submission_id}"
            )
        if faults := find_faults(captions, {name: self._networks[name] for name in accounts}):
            edit = f"relay desk caption {submission_id} --edit"
            raise ConfigInvalid(f"{' '.join(faults)} Change it: {edit}")
        return Ready(
            id=submission_id,
            folder=folder,
            submission=submission,
            captions=captions,
            accounts=tuple(accounts),
            is_public=is_public(records),
            batch=batch_of(records),
        )

    def _refuse_other_moment(self, records: Records) -> None:
        """Raise RelayError where it waits for another instant."""
        at = self._rules.at.isoformat() if self._rules.at else None
        for record in records.values():
            if record.stage is Stage.PLANNED and record.is_moment and record.at != at:
                moment = record.instant.strftime("%Y-%m-%dT%H:%MZ")
                raise RelayError(
                    f"it is planned for {moment}. Other plans: relay desk post --cancel"
                )


def find_folder(journal: Journal, submission_id: str) -> Path:
    """Return where it lies open on this desk.

    Raises:
        NothingThere: nowhere.
    """
    folders = map(Path, journal.opened.get(submission_id, {}))
    found = next((one for one in folders if (one / SUBMISSION_NAME).is_file()), None)
    if found is None:
        raise NothingThere("it is not open here. Open it: relay desk open")
    return found


def find_few(ready: Sequence[Ready], journal: Journal, min_batch: int) -> list[Ready]:
    """Return those that would go out among too few: nowhere public yet, and not of a large batch.

    A batch that was cut short counts with what of it is public by now, and without what was taken
    back since.
    """
    fresh = [one for one in ready if not one.is_public]
    if len(fresh) >= min_batch:
        return []
    names = {one.id for one in fresh}
    sizes = Counter(
        batch_of(records)
        for submission_id, records in journal.posts.items()
        if submission_id in names or is_public(records)
    )
    return [one for one in fresh if not one.batch or sizes[one.batch] < min_batch]


def refuse_withdrawn(journal: Journal, submission_id: str) -> None:
    """Return where its sender has not taken it back, and nobody has returned it.

    Raises:
        RelayError: with why.
    """
    if submission_id in journal.gone:
        raise RelayError("she has taken it back, or it has expired.")
    if submission_id in journal.take_down:
        raise RelayError(f"she asks to take it down: relay desk take-down {submission_id}")
    if submission_id in journal.covering:
        raise RelayError(f"a cover of it was cut short: relay desk cover {submission_id}")


def refuse_never(submission: Submission) -> None:
    """Return where its sender allows a post, now or later.

    Raises:
        RelayError: with why.
    """
    if submission.is_question:
        raise RelayError("a question: it goes to the moderator (relay desk questions).")
    if not submission.may_post:
        raise RelayError("its sender wants it seen by the team alone.")


def refuse_unwanted(submission: Submission, when: dt.datetime) -> None:
    """Return where its sender allows a post at `when`.

    Raises:
        RelayError: with why.
    """
    refuse_never(submission)
    day = submission.not_before
    if day is not None and (when - _LAST_PLACE).date() < day:
        raise RelayError(f"its sender says: not before {day}, wherever she is.")


def refuse_early(day: str | None, when: dt.datetime) -> None:
    """Return where at least a whole day lies between its arrival and `when`.

    Raises:
        RelayError: with the first day on which it may be posted.
    """
    if day is None:
        raise RelayError("this desk was not told when it came. Pull it here.")
    first = dt.date.fromisoformat(day) + dt.timedelta(days=_HELD_DAYS)
    if when.date() < first:
        raise RelayError(f"so soon, a post would tell when she sent it. From {first} on (UTC).")


def refuse_unread(journal: Journal, files: CaptionFiles, submission_id: str) -> None:
    """Return where somebody has read the words of its posts, or it has none from this desk.

    Raises:
        ConfigInvalid: it would be posted with words that nobody has seen.
    """
    with suppress(NothingThere):
        submission = read_submission(find_folder(journal, submission_id))
        is_posted = not submission.is_question and submission.may_post
        if is_posted and files.read(submission_id) is None:
            raise ConfigInvalid(f"Read its words first: relay desk caption {submission_id}")


def find_faults(captions: Captions, networks: Mapping[str, Network]) -> list[str]:
    """Return in sentences why these words can't be posted to these accounts.

    Raises:
        PostFailed: a network did not say how long a post may be.
    """
    faults = []
    if not captions.alt:
        faults.append("Words for people who can't see the picture are missing (alt).")
    for name, network in networks.items():
        text = captions.texts.get(network.name)
        if not text:
            faults.append(f"There are no words for {network.name}.")
            continue
        if (length := network.count(text)) > network.most:
            faults.append(f"Too long for {name}: {length} of {network.most}.")
        if len(captions.alt) > network.most_alt:
            faults.append(f"alt is too long for {name}: {len(captions.alt)} of {network.most_alt}.")
    return faults
