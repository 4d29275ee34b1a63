"""Take down what a sender wants gone: delete its posts where the network allows it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from relay.desk.copies import Destruction, destroy_copies
from relay.desk.journal import JournalFile
from relay.desk.networks import Network, Picture, Placed, Post
from relay.desk.posts import Record, Records, Stage
from relay.errors import CantTakeDown, RelayError

_NOT_THERE = "this account is not in the accounts file"
_NOBODY_KNOWS = "nobody knows where it stands there"
_ANYWHERE = "anywhere"
_NEVER_POSTED = "this desk has posted it nowhere. Has a colleague, or somebody by hand?"


@dataclass(kw_only=True)
class TakenDown:
    """Of one submission, by account: deleted now; not deleted, where it stands and why."""

    id: str
    deleted: list[str] = field(default_factory=list)
    left: dict[str, tuple[str, str]] = field(default_factory=dict)
    destruction: Destruction = field(default_factory=Destruction)


def take_down(
    journal_file: JournalFile,
    networks: Mapping[str, Network],
    submission_id: str,
    *,
    is_deleted: bool,
) -> TakenDown:
    """Delete every post of a submission, and the copies here once none is left.

    is_deleted: somebody has looked, and deleted by hand what can't be deleted from here.
    """
    done = TakenDown(id=submission_id)
    records = journal_file.read().posts.get(submission_id, {})
    begun = {account: record for account, record in records.items() if record.is_begun}
    if not begun and not is_deleted and not _was_removed(records):
        done.left[_ANYWHERE] = ("", _NEVER_POSTED)
    for account, record in begun.items():
        try:
            _delete(networks.get(account), record)
        except RelayError as error:
            if not is_deleted:
                done.left[account] = (record.url, error.message)
                continue
        done.deleted.append(account)
        with journal_file.update() as journal:
            journal.posts[submission_id][account] = Record(at=record.at, stage=Stage.REMOVED)
    if not done.left:
        with journal_file.update() as journal:
            done.destruction = destroy_copies([submission_id], journal)
    return done


def _was_removed(records: Records) -> bool:
    return any(record.stage is Stage.REMOVED for record in records.values())


def _delete(network: Network | None, record: Record) -> None:
    """Return where the post is not there any more.

    Raises:
        RelayError: it is, or may be.
    """
    if network is None:
        raise CantTakeDown(_NOT_THERE)
    placed = Placed(uri=record.uri, url=record.url)
    if record.stage is not Stage.PLACED:
        if not network.is_exactly_once:
            raise CantTakeDown(_NOBODY_KNOWS)
        found = network.find(_nothing(record), record.key, record.prepared)
        if found is None:
            return
        placed = found
    if not placed.uri:
        raise CantTakeDown(_NOBODY_KNOWS)
    network.take_down(placed)


def _nothing(record: Record) -> Post:
    """Return a post to ask for: it is found by its key and its instant."""
    picture = Picture(jpeg=b"", alt="", size=(0, 0))
    return Post(text="", language="en", picture=picture, created=record.instant)
