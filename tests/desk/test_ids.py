"""Which submissions a verdict is about: whole numbers, their beginnings, lists."""

from pathlib import Path

import pytest

from relay.desk.decide import find_id
from relay.desk.journal import Journal
from relay.errors import ConfigInvalid, NothingThere
from tests import photos
from tests.conftest import Service, relay

ONE, TWO = "5d2f1c0a" + "1" * 24, "5d2f1c0a" + "1" * 23 + "2"
OTHER = "77aa00bb" + "3" * 24
JOURNAL = Journal(envelopes=dict.fromkeys((ONE, TWO, OTHER), "0" * 64))


@pytest.mark.parametrize("text", [OTHER, OTHER[:8], OTHER[:20], OTHER[:8].upper()])
def test_a_number_may_be_shortened_to_its_first_8_digits(text: str) -> None:
    assert find_id(JOURNAL, text) == OTHER


def test_a_whole_number_is_never_ambiguous() -> None:
    assert find_id(JOURNAL, ONE) == ONE
    assert find_id(JOURNAL, TWO) == TWO


def test_where_several_begin_so_they_are_named() -> None:
    with pytest.raises(ConfigInvalid, match=f"{ONE}, {TWO}"):
        find_id(JOURNAL, ONE[:8])


@pytest.mark.parametrize("text", ["77aa00b", "7", "c0ffee"])
def test_a_shorter_one_is_told_to_be_longer(text: str) -> None:
    with pytest.raises(ConfigInvalid, match="first 8 digits"):
        find_id(JOURNAL, text)


@pytest.mark.parametrize(
    "text",
    ["", "00000000", OTHER + "3", OTHER[1:], "../77aa00bb", "77aa00b*", " 77aa00bb", "77aa00bg"],
)
def test_what_begins_none_is_not_there(text: str) -> None:
    with pytest.raises(NothingThere):
        find_id(JOURNAL, text)


@pytest.fixture
def pulled(service: Service) -> tuple[Service, list[str]]:
    """A relay with three submissions, pulled into sealed/."""
    for number in range(3):
        service.send(photos.dirty_jpeg(photos.picture(seed=number)), message=f"n{number}")
    report = service.desk("pull", "--to", "sealed", "--json")
    return service, sorted(report.json["fetched"])  # type: ignore[call-overload]


def test_verdicts_are_given_by_list_and_by_beginnings(pulled: tuple[Service, list[str]]) -> None:
    service, ids = pulled
    home = service.folder.parent
    lines = ["\N{ZERO WIDTH NO-BREAK SPACE}# good", "", f"  {ids[0][:8]}  # lovely", ids[1], ""]
    (home / "yes.txt").write_text("\r\n".join(lines))
    report = service.desk("release", "--list", "yes.txt", "--json").json
    assert [one["id"] for one in report["decided"]] == ids[:2]  # type: ignore[attr-defined]
    again = service.desk("release", ids[0][:8], ids[0][:8], "--list", "yes.txt")
    assert again.out == f"{ids[0]}: already released\n{ids[1]}: already released\n"
    config = ("desk", "--config", service.folder / "desk.toml")
    returned = relay(
        *config, "return", "--reason", "other", "--list", "-", cwd=home, stdin=f"{ids[2][:10]}\n"
    )
    assert (returned.code, returned.out) == (0, f"{ids[2]}: returned\n")


def test_a_list_that_can_not_be_read_decides_nothing(campaign: Path) -> None:
    home = campaign.parent
    (home / "two.txt").write_text(f"{ONE}\n{ONE} {TWO}\n")
    (home / "empty.txt").write_text("# nothing\n")
    (home / "picture.txt").write_bytes(b"\xff\xd8\xff")
    for arguments, said in (
        (("--list", "two.txt"), "two.txt, line 2: one number a line"),
        (("--list", "empty.txt"), "Type the numbers"),
        (("--list", "picture.txt"), "not a text file"),
        (("--list", "nowhere.txt"), "nowhere.txt: No such file"),
        ((), "Type the numbers"),
    ):
        refused = relay("desk", "--config", "demo/desk.toml", "release", *arguments, cwd=home)
        assert refused.code == 2
        assert said in refused.err
