"""Take down what a sender wants gone: delete its posts where the network allows it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from relay.desk.copies import Destruction, destroy_copies
from relay.desk.journal import JournalFile
from relay.desk.networks import Network, Picture, Placed, Post
from relay.desk.posts import Record, Stage
from relay.errors import CantTakeDown, RelayError

_NOT_THERE = "this account is not in the accounts file"
_NOBODY_KNOWS = "nobody knows whether it stands there"


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

    is_deleted: somebody has deleted by hand what could not be deleted from here.
    """
    done = TakenDown(id=submission_id)
    for account, record in journal_file.read().posts.get(submission_id, {}).items():
        if record.stage is Stage.REMOVED:
            continue
        try:
            _delete(networks.get(account), record, is_deleted=is_deleted)
        except RelayError as error:
            done.left[account] = (record.url, error.message)
            continue
        if record.is_begun:
            done.deleted.append(account)
        with journal_file.update() as journal:
            journal.posts[submission_id][account] = Record(at=record.at, stage=Stage.REMOVED)
    if not done.left:
        with journal_file.update() as journal:
            done.destruction = destroy_copies([submission_id], journal)
    return done


def _delete(network: Network | None, record: Record, *, is_deleted: bool) -> None:
    """Return where the post is not there any more.

    Raises:
        RelayError: it is, or may be.
    """
    if not record.is_begun or is_deleted:
        return
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
    network.take_down(placed)


def _nothing(record: Record) -> Post:
    """Return a post to ask for: it is found by its key and its instant."""
    picture = Picture(jpeg=b"", alt="", size=(0, 0))
    return Post(text="", language="en", picture=picture, created=record.instant)
