"""What she chose is binding, and nothing goes out so soon that it tells when she sent it."""

import dataclasses
import datetime as dt
from pathlib import Path

import pytest

from relay.desk.captions import CaptionFiles, Captions
from relay.desk.eligible import Held, Ready, Rules, Sorter, find_few, refuse_unread
from relay.desk.journal import Journal, JournalFile, place_of
from relay.desk.networks import Network, accounts
from relay.desk.posts import Record, Stage
from relay.errors import ConfigInvalid
from tests.desk.test_captions import ID, submission

ARRIVED = dt.date(2026, 3, 17)
SOON = dt.datetime(2026, 3, 19, 0, 0, 1, tzinfo=dt.UTC)
BOTH = ("one", "two")


class Desk:
    """A desk that has one photo open, and two accounts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / "accounts.toml"
        path.write_text(
            "".join(f'[{name}]\nnetwork = "folder"\npath = "{name}"\n' for name in BOTH)
        )
        self.networks: dict[str, Network] = accounts.load(path)
        self.journal = Journal()
        self.files = CaptionFiles(JournalFile(folder))
        opened = folder / "opened" / ID
        opened.mkdir(parents=True)
        self.opened = opened
        self.has()
        self.files.keep(ID, Captions(texts={"folder": "words"}, alt="a poster"))
        self.journal.opened = {ID: {place_of(opened): ""}}
        self.journal.days = {ID: ARRIVED.isoformat()}

    def has(self, **changes: object) -> None:
        (self.opened / "submission.json").write_bytes(submission(**changes).encode())

    def sort(self, when: dt.datetime = SOON, **rules: object) -> tuple[list[Ready], list[Held]]:
        fitting = Rules(**rules)  # type: ignore[arg-type]
        return Sorter(self.journal, self.files, self.networks, fitting).sort([ID], when)

    def why_held(self, when: dt.datetime = SOON, **rules: object) -> str:
        ready, held = self.sort(when, **rules)
        assert not ready
        (one,) = held
        return one.why


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_it_is_ready_for_every_account(desk: Desk) -> None:
    ready, held = desk.sort()
    assert not held
    assert [(one.id, one.accounts, one.is_public) for one in ready] == [(ID, BOTH, False)]
    assert ready[0].captions.texts == {"folder": "words"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"may_post": False}, "seen by the team alone"),
        ({"not_before": dt.date(2026, 3, 19)}, "not before 2026-03-19"),
    ],
)
def test_what_she_chose_is_binding(desk: Desk, changes: dict[str, object], why: str) -> None:
    desk.has(**changes)
    assert why in desk.why_held()
    assert why in desk.why_held(same_day=True, again=True, at=SOON)


def test_her_day_has_begun_wherever_she_is(desk: Desk) -> None:
    """At UTC-12 it begins twelve hours after it does in Greenwich."""
    desk.has(not_before=dt.date(2026, 3, 19))
    begins = dt.datetime(2026, 3, 19, 12, 0, tzinfo=dt.UTC)
    assert desk.why_held(begins - dt.timedelta(seconds=1))
    assert desk.sort(begins)[0]


def test_a_whole_day_lies_between_arrival_and_post(desk: Desk) -> None:
    """Who sent it at the last second of a day has a whole one before it is posted."""
    midnight = dt.datetime(2026, 3, 19, tzinfo=dt.UTC)
    assert "From 2026-03-19 on" in desk.why_held(midnight - dt.timedelta(seconds=1))
    assert desk.sort(midnight)[0]
    assert desk.sort(dt.datetime(2026, 3, 17, 1, tzinfo=dt.UTC), same_day=True)[0]


def test_a_day_that_this_desk_was_not_told_keeps_it_back(desk: Desk) -> None:
    desk.journal.days.clear()
    assert "not told when it came" in desk.why_held()


def test_what_is_taken_back_or_asked_to_be_taken_down_is_held(desk: Desk) -> None:
    desk.journal.take_down = [ID]
    assert "take-down" in desk.why_held()
    desk.journal.gone = [ID]
    assert "taken it back" in desk.why_held()


def test_words_that_nobody_read_are_not_posted(desk: Desk) -> None:
    refuse_unread(desk.journal, desk.files, ID)
    desk.files.path(ID).unlink()
    assert "relay desk caption" in desk.why_held()
    with pytest.raises(ConfigInvalid, match="Read its words first"):
        refuse_unread(desk.journal, desk.files, ID)
    desk.has(may_post=False)
    refuse_unread(desk.journal, desk.files, ID)


def test_a_picture_without_words_for_who_cannot_see_it_is_not_posted(desk: Desk) -> None:
    desk.files.keep(ID, Captions(texts={"folder": "words"}, alt=""))
    assert "can't see the picture" in desk.why_held()


def test_it_goes_only_where_it_does_not_stand_yet(desk: Desk) -> None:
    at = SOON.isoformat()
    desk.journal.posts = {ID: {"one": Record(at=at, stage=Stage.PLACED), "two": Record(at=at)}}
    (ready,), held = desk.sort()
    assert not held
    assert (ready.accounts, ready.is_public) == (("two",), True)
    desk.journal.posts[ID]["two"] = Record(at=at, stage=Stage.REMOVED)
    assert desk.sort() == ([], [])


def test_what_stands_somewhere_goes_to_no_new_account_unless_it_is_named(desk: Desk) -> None:
    """Whoever renames a table in accounts.toml must not post everything once more."""
    desk.journal.posts = {ID: {"before": Record(at=SOON.isoformat(), stage=Stage.PLACED)}}
    assert desk.sort() == ([], [])
    (ready,), _ = desk.sort(is_named=True)
    assert ready.accounts == BOTH


def test_one_account_can_be_named(desk: Desk) -> None:
    (ready,), _ = desk.sort(account="two")
    assert ready.accounts == ("two",)


def ready_ones(desk: Desk, count: int, batch: str = "", **changes: object) -> list[Ready]:
    ((one,), _) = desk.sort()
    ids = [f"{batch}{number}".ljust(32, "0") for number in range(count)]
    return [dataclasses.replace(one, id=name, batch=batch, **changes) for name in ids]  # type: ignore[arg-type]


def placed_ones(desk: Desk, count: int, batch: str) -> None:
    for number in range(count):
        record = Record(at=SOON.isoformat(), batch=batch, stage=Stage.PLACED)
        desk.journal.posts[f"{batch}{number}".ljust(32, "f")] = {"one": record}


def test_few_are_few_whatever_stands_there_already(desk: Desk) -> None:
    """Photos that only wait for one more account hide nobody."""
    waiting = ready_ones(desk, 5, is_public=True)
    (hers,) = ready_ones(desk, 1)
    assert find_few([*waiting, hers], desk.journal, 5) == [hers]
    assert find_few(ready_ones(desk, 5), desk.journal, 5) == []


def test_what_is_left_of_a_batch_may_go_where_the_batch_was_large_enough(desk: Desk) -> None:
    left = ready_ones(desk, 2, "b")
    for one in left:
        desk.journal.posts[one.id] = {"one": Record(at=SOON.isoformat(), batch="b")}
    assert find_few(left, desk.journal, 5) == left, "the others of it were taken back"
    placed_ones(desk, 3, "b")
    assert find_few(left, desk.journal, 5) == []


def test_what_nobody_knows_of_is_shown_and_not_posted_again(desk: Desk) -> None:
    at = SOON.isoformat()
    desk.journal.posts = {
        ID: {
            "one": Record(at=at, stage=Stage.UNKNOWN),
            "two": Record(at=at, stage=Stage.PLACED),
        }
    }
    assert "nobody knows whether it stands at one" in desk.why_held()
    (ready,), _ = desk.sort(again=True)
    assert ready.accounts == ("one",)


def test_what_waits_for_one_moment_is_not_posted_at_another(desk: Desk) -> None:
    moment = SOON + dt.timedelta(days=1)
    desk.journal.posts = {ID: {"one": Record(at=moment.isoformat(), is_moment=True)}}
    assert "planned for 2026-03-20T00:00Z" in desk.why_held()
    assert "planned for" in desk.why_held(at=SOON)
    assert desk.sort(moment, at=moment)[0]


def test_what_is_not_open_here_is_held(desk: Desk) -> None:
    desk.journal.opened.clear()
    assert "not open here" in desk.why_held()
