"""The desk looks again, refuses to release what can be seen, and covers it."""

import base64
import io
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

from relay.desk.copies import destroy_copies
from relay.desk.journal import JournalFile
from relay.scrub.found import Box
from relay.seal.envelope import Submission
from tests import photos
from tests.conftest import RELAY, Result, relay
from tests.envelopes import PLAIN, announce, clean_photo, read_journal, seal
from tests.faces.fetch import CACHE

ONE, TWO, THREE = ("5d2f1c0a" + "1" * 24, "77aa00bb" + "2" * 24, "c0ffee00" + "3" * 24)
ASTRONAUT = CACHE / "astronaut.png"
HER_FACE = (460, 230, 630, 450)  # left, top, right, bottom, of what no cover may leave
CODE_AT = (1200, 900)
CODE_PX = 290
RELEASED = ("release", ONE, "--to", "verdicts.json")


def with_face() -> bytes:
    """A woman before a grey wall, as a relay would have cleaned her photo, and not covered her."""
    picture = Image.new("RGB", (1600, 1200), (150, 150, 140))
    woman = Image.open(ASTRONAUT).convert("RGB")
    picture.paste(woman.resize((1024, 1024)), (100, 100))
    return photos.encode(picture, quality=85, subsampling="4:2:0")


def with_code() -> bytes:
    return photos.encode(photos.with_code(at=CODE_AT), quality=85, subsampling="4:2:0")


def desk(campaign: Path, *arguments: str | Path) -> Result:
    return relay("desk", "--config", "demo/desk.toml", *arguments, cwd=campaign.parent)


def opened(campaign: Path, to: str = "opened") -> Path:
    done = desk(campaign, "open", "sealed", "--to", to)
    assert done.code == 0, done.err
    return campaign.parent / to / ONE


def picture_in(folder: Path) -> Image.Image:
    return Image.open(io.BytesIO((folder / "photo.jpg").read_bytes())).convert("RGB")


def is_black(picture: Image.Image, box: Box) -> bool:
    """To the pixel, but for the two at its edge into which a decoder draws colour."""
    inside = (box.x + 2, box.y + 2, box.right - 2, box.bottom - 2)
    return picture.crop(inside).getextrema() == ((0, 0),) * 3


def boxes(campaign: Path, field: str, submission_id: str = ONE) -> list[Box]:
    journal: dict[str, Any] = read_journal(campaign)
    return [Box(*sides) for sides in journal[field][submission_id]]


def submission_in(folder: Path) -> Submission:
    return Submission.decode((folder / "submission.json").read_bytes())


@pytest.fixture
def face(campaign: Path) -> Path:
    """A desk with an envelope in sealed/ in which a face can be seen."""
    announce(campaign, seal(campaign, PLAIN, with_face()), ONE)
    return campaign


@pytest.fixture
def code(campaign: Path) -> Path:
    """The same, with a code."""
    announce(campaign, seal(campaign, PLAIN, with_code()), ONE)
    return campaign


# -- it looks again -------------------------------------------------------------------------------


def test_open_says_what_can_be_seen_and_was_not_marked(face: Path) -> None:
    done = desk(face, "open", "sealed", "--to", "opened")
    words = "1 face can be seen that was not marked as printed on the poster."
    assert f"{ONE}: ALARM: {words}\n    Cover it: relay desk cover {ONE}\n" in done.err
    (box,) = boxes(face, "looked")
    assert box.x < HER_FACE[2]
    assert box.right > HER_FACE[0]
    report = desk(face, "open", "sealed", "--to", "again", "--json").json
    assert report["opened"][0]["visible_unmarked"] == 1  # type: ignore[index]


def test_where_nothing_is_found_that_is_remembered_and_nothing_said(campaign: Path) -> None:
    announce(campaign, seal(campaign), ONE)
    assert "ALARM" not in desk(campaign, "open", "sealed", "--to", "opened").err
    assert read_journal(campaign)["looked"] == {ONE: []}


def test_what_she_marked_as_printed_is_no_alarm_but_said(face: Path) -> None:
    opened(face)
    (box,) = boxes(face, "looked")
    (face.parent / "sealed" / f"{ONE}.age").unlink()
    marked = replace(PLAIN, visible=((box.x + 3, box.y + 3, box.width, box.height),))
    announce(face, seal(face, marked, with_face()), TWO)
    done = desk(face, "open", "sealed", "--to", "again")
    assert "ALARM" not in done.err
    assert "1 face left visible" in done.err
    assert boxes(face, "looked", TWO) == []
    assert desk(face, "release", TWO, "--to", "verdicts.json").code == 0


def test_a_mark_that_no_photo_can_have_hides_nothing(face: Path) -> None:
    absurd = ((-5, 0, 1 << 40, 1 << 40), (0, 0, 0, 0), (1590, 0, 20, 20), (70000, 1, 1, 1))
    announce(face, seal(face, replace(PLAIN, visible=absurd), with_face()), ONE)
    opened(face)
    assert len(boxes(face, "looked")) == 1
    assert desk(face, "review", "sealed", "--to", "sheet").code == 0


def thumbnail(text: str) -> Image.Image:
    (raw,) = re.findall(r'src="data:image/jpeg;base64,([^"]*)"', text)
    return Image.open(io.BytesIO(base64.b64decode(raw))).convert("RGB")


def test_the_sheet_frames_it_and_raises_an_alarm(face: Path) -> None:
    done = desk(face, "review", "sealed", "--to", "sheet", "--json")
    assert done.json["reviewed"][0]["visible_unmarked"] == 1  # type: ignore[index]
    text = (face.parent / "sheet" / "review.html").read_text()
    alarm = "ALARM: 1 face can be seen that was not marked as printed on the poster."
    assert alarm in text
    (box,) = boxes(face, "looked")
    small = thumbnail(text)
    red, green, blue = small.split()
    magenta = ImageChops.darker(ImageChops.subtract(red, green), ImageChops.subtract(blue, green))
    left, top, right, bottom = magenta.point([0] * 100 + [255] * 156).getbbox() or (0, 0, 0, 0)
    scale = small.width / 1600
    framed = [side / scale for side in (left, top, right, bottom)]
    meant = (box.x, box.y, box.right, box.bottom)
    near = [abs(one - other) < 25 for one, other in zip(framed, meant, strict=True)]
    assert near in ([True] * 4, [True, False, True, True]), "the number stands above the frame"
    assert framed[1] <= box.y + 25


# -- it refuses to release ------------------------------------------------------------------------


def test_a_release_is_refused_until_it_is_covered_or_somebody_says_why(face: Path) -> None:
    opened(face)
    done = desk(face, *RELEASED, "--json")
    assert done.code == 1
    assert done.json["failed"] == {ONE: "StillVisible"}
    assert f"relay desk cover {ONE}" in done.err
    assert '--visible-because "…"' in done.err
    assert not (face.parent / "verdicts.json").exists() or ONE not in verdicts(face)
    assert read_journal(face)["verdicts"]["signed"] == {}
    why = "It is the poster's own portrait, in print."
    done = desk(face, *RELEASED, "--visible-because", why)
    assert (done.code, done.out) == (0, f"{ONE}: to be released\n")
    assert ONE in verdicts(face)
    assert read_journal(face)["reasons"] == {ONE: why}
    assert "already to be released" in desk(face, *RELEASED).out
    assert desk(face, "review", "sealed", "--to", "sheet").code == 0
    text = (face.parent / "sheet" / "review.html").read_text()
    assert "You have signed: release (not sent from here). Visible: It is the poster&#x27;s" in text


def verdicts(campaign: Path) -> list[str]:
    signed = json.loads((campaign.parent / "verdicts.json").read_text())
    listed = json.loads(signed["statement"])["verdicts"]
    return [json.loads(one["statement"])["id"] for one in listed]


def test_what_was_sent_already_is_not_refused(face: Path) -> None:
    opened(face)
    assert boxes(face, "looked")
    with JournalFile(face).update() as journal:
        journal.verdicts.confirmed[ONE] = "release"
    assert desk(face, "release", ONE, "--dry-run", "--to", "verdicts.json").code == 0


def test_what_was_signed_before_anybody_looked_is_refused_and_not_sent(face: Path) -> None:
    announce(face, seal(face), TWO)
    assert desk(face, "release", ONE, TWO, "--to", "verdicts.json").code == 0
    assert desk(face, "send", "verdicts.json", "--dry-run").code == 0
    opened(face)
    refused = desk(face, *RELEASED)
    assert refused.code == 1
    sent = desk(face, "send", "verdicts.json", "--dry-run")
    assert (sent.code, sent.out) == (3, f"{TWO}: would be released\n")
    assert f"{ONE}: Not released: what can be seen in 1 place" in sent.err
    assert '--visible-because "…"' in sent.err
    why = ("--visible-because", "the campaign's own portrait")
    assert desk(face, "send", "verdicts.json", "--dry-run", *why).code == 0
    assert desk(face, *RELEASED, *why).out == f"{ONE}: already to be released\n"
    assert desk(face, *RELEASED).code == 0, "it has been said why"
    assert desk(face, "send", "verdicts.json", "--dry-run").code == 0


def test_a_reason_does_not_stand_for_what_was_found_later(face: Path) -> None:
    folder = opened(face)
    assert desk(face, *RELEASED, "--visible-because", "a portrait, in print").code == 0
    opened(face, "again")
    assert desk(face, "review", "opened", "--to", "sheet").code == 0
    assert desk(face, *RELEASED).code == 0, "nothing new"
    (folder / "photo.jpg").write_bytes(with_code())
    assert desk(face, "review", "opened", "--to", "sheet").code == 0
    assert read_journal(face)["reasons"] == {}
    assert desk(face, *RELEASED).code == 1
    assert desk(face, "send", "verdicts.json", "--dry-run").code == 1


def test_of_several_the_others_are_released(face: Path) -> None:
    announce(face, seal(face), TWO)
    opened(face)
    done = desk(face, "release", ONE, TWO, "--to", "verdicts.json")
    assert (done.code, done.out) == (3, f"{TWO}: to be released\n")
    assert verdicts(face) == [TWO]
    assert desk(face, "return", ONE, "--reason", "face-visible", "--to", "v2.json").code == 0


@pytest.mark.parametrize("why", ["", " ", "x" * 201, "two\nlines", "\x1b[31m", "\N{RIGHT-TO-LEFT OVERRIDE}"])  # fmt: skip # noqa: E501
def test_a_reason_that_is_none_is_a_usage_error(face: Path, why: str) -> None:
    done = desk(face, *RELEASED, "--visible-because", why)
    assert done.code == 2
    assert "1 to 200 characters" in done.err


def test_where_nobody_has_looked_a_release_goes_on_with_a_warning(face: Path) -> None:
    done = desk(face, *RELEASED)
    assert (done.code, done.out) == (0, f"{ONE}: to be released\n")
    assert f"{ONE}: not opened on this desk: nobody here has looked for faces.\n" in done.err
    assert read_journal(face)["reasons"] == {}


def test_a_copy_that_was_changed_by_hand_clears_nothing(face: Path) -> None:
    folder = opened(face)
    before = boxes(face, "looked")
    (folder / "photo.jpg").write_bytes(clean_photo())
    assert desk(face, "review", "opened", "--to", "sheet").code == 0
    assert boxes(face, "looked") == before
    assert desk(face, *RELEASED).code == 1
    assert desk(face, "cover", ONE, "--only", "--box", "0,0,16,16").code == 0
    assert desk(face, *RELEASED).code == 1, "that box hides nothing of it"


def test_what_was_seen_in_a_copy_of_unknown_origin_is_not_forgotten(face: Path) -> None:
    folder = opened(face)
    with JournalFile(face).update() as journal:  # a desk on which nothing was opened yet
        journal.looked.clear()
        journal.opened.clear()
    assert desk(face, "review", "opened", "--to", "sheet").code == 0
    assert len(boxes(face, "looked")) == 1
    done = desk(face, *RELEASED)
    assert done.code == 1
    assert "nobody here has looked" not in done.err
    (folder / "photo.jpg").write_bytes(clean_photo())
    assert desk(face, "review", "opened", "--to", "sheet").code == 0
    assert len(boxes(face, "looked")) == 1, "and such a copy clears nothing"


def test_what_was_seen_before_it_was_announced_keeps_it_back(face: Path) -> None:
    with JournalFile(face).update() as journal:
        told = journal.envelopes.pop(ONE)
    opened(face)
    with JournalFile(face).update() as journal:
        journal.envelopes[ONE] = told
    assert desk(face, *RELEASED).code == 1
    assert desk(face, "cover", ONE).code == 0
    assert desk(face, *RELEASED).code == 0


def test_what_was_covered_before_it_was_announced_counts_as_never_looked_at(face: Path) -> None:
    with JournalFile(face).update() as journal:
        told = journal.envelopes.pop(ONE)
    opened(face)
    assert desk(face, "cover", ONE).code == 0
    with JournalFile(face).update() as journal:
        journal.envelopes[ONE] = told
    done = desk(face, *RELEASED)
    assert done.code == 0
    assert "nobody here has looked" in done.err


# -- it covers ------------------------------------------------------------------------------------


def test_what_is_covered_is_gone_from_the_opened_copy(face: Path) -> None:
    folder = opened(face)
    old = (folder / "photo.jpg").read_bytes()
    told = submission_in(folder).covers
    with (
        (folder / "photo.jpg").open("rb") as kept,
        (folder / "submission.json").open("rb") as words,
    ):
        done = desk(face, "cover", ONE[:8])
        assert kept.read() == bytes(len(old)), "what was there is overwritten"
        assert set(words.read()) == {0}
    assert (done.code, done.out) == (0, f"{folder}\n")
    (cover,) = boxes(face, "covered")
    assert f"    1: face, covered at {cover.x},{cover.y},{cover.width},{cover.height}\n" in done.err
    picture = picture_in(folder)
    assert is_black(picture, cover)
    assert picture.crop(HER_FACE).getextrema() == ((0, 0),) * 3
    before = Image.open(io.BytesIO(old)).convert("RGB")
    for corner in ((0, 0, 300, 300), (1200, 0, 1600, 1200)):
        assert ImageChops.difference(picture.crop(corner), before.crop(corner)).getextrema() <= (
            ((0, 12),) * 3
        )
    assert sorted(one.name for one in folder.iterdir()) == ["photo.jpg", "submission.json"]
    assert {one.stat().st_mode & 0o777 for one in folder.iterdir()} == {0o600}
    assert submission_in(folder) == replace(PLAIN, covers=told + 1)
    journal = read_journal(face)
    assert journal["looked"] == {ONE: []}
    assert journal["covering"] == {}
    assert desk(face, *RELEASED).code == 0


def test_a_code_is_covered_as_well(code: Path) -> None:
    folder = opened(code)
    done = desk(code, "cover", ONE, "--json").json
    assert [one["what"] for one in done["covered"]] == ["code"]  # type: ignore[attr-defined]
    assert done["visible_unmarked"] == 0
    x, y = CODE_AT
    assert is_black(picture_in(folder), Box(x + 40, y + 40, CODE_PX - 80, CODE_PX - 80))


def test_whatever_opens_the_envelope_later_covers_it_too(face: Path) -> None:
    folder = opened(face)
    assert desk(face, "cover", ONE).code == 0
    done = desk(face, "open", "sealed", "--to", "second")
    assert f"{ONE}: covered here: 1 place.\n" in done.err
    assert "ALARM" not in done.err
    second = face.parent / "second" / ONE
    (cover,) = boxes(face, "covered")
    assert is_black(picture_in(second), cover)
    assert submission_in(second) == submission_in(folder)
    assert desk(face, "review", "sealed", "--to", "sheet").code == 0
    text = (face.parent / "sheet" / "review.html").read_text()
    assert "<li>Covered here: 1 place\n" in text + "\n" or "<li>Covered here: 1 place<" in text
    assert "ALARM" not in text
    scale = 240 / 1600
    face_small = [round(side * scale) for side in HER_FACE]
    small = thumbnail(text).crop((face_small[0], face_small[1], face_small[2], face_small[3]))
    assert max(high for _, high in small.getextrema()) < 10
    assert "was open already, left as it is" in desk(face, "open", "sealed", "--to", "second").err


def test_a_box_of_hers_is_covered_alone_or_with_the_rest(face: Path) -> None:
    folder = opened(face)
    done = desk(face, "cover", ONE, "--only", "--box", "1300,20,50,30")
    assert done.code == 3, "the face can still be seen"
    assert "ALARM, after a second look: 1 face can be seen" in done.err
    assert boxes(face, "covered") == [Box(1296, 16, 64, 48)]
    assert is_black(picture_in(folder), Box(1296, 16, 64, 48))
    assert desk(face, *RELEASED).code == 1
    assert desk(face, "cover", ONE, "--box", "1400,1150,10,50").code == 0
    assert len(boxes(face, "covered")) == 3
    assert all(is_black(picture_in(folder), box) for box in boxes(face, "covered"))
    assert submission_in(folder).covers == 3
    again = desk(face, "cover", ONE)
    assert again.code == 10
    assert "nothing to cover" in again.err


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ("1,2,3", "four numbers"),
        ("a,b,c,d", "four numbers"),
        ("1,2,3,-4", "four numbers"),
        ("1,2,0,4", "four numbers"),
        ("1, 2, 3, 4", "four numbers"),
        ("\N{ARABIC-INDIC DIGIT ONE},2,3,4", "four numbers"),
        ("1590,0,20,20", "not inside the photo, which is 1600 px wide and 1200 high"),
        ("0,1200,1,1", "not inside the photo"),
        ("99999,0,1,1", "not inside the photo"),
    ],
)
def test_a_box_that_is_none_is_a_usage_error(code: Path, box: str, words: str) -> None:
    folder = opened(code)
    before = (folder / "photo.jpg").read_bytes()
    done = desk(code, "cover", ONE, "--box", box)
    assert done.code == 2
    assert words in done.err
    assert (folder / "photo.jpg").read_bytes() == before
    assert read_journal(code)["covered"] == {}


def test_what_was_not_opened_here_can_not_be_covered(face: Path) -> None:
    done = desk(face, "cover", ONE)
    assert done.code == 10
    assert "Open it first: relay desk open" in done.err
    shutil.rmtree(opened(face))
    assert desk(face, "cover", ONE).code == 10
    assert desk(face, "cover", "0" * 32).code == 10


def test_what_was_taken_back_is_destroyed_not_covered(face: Path) -> None:
    folder = opened(face)
    with JournalFile(face).update() as journal:
        journal.lose([ONE])
    done = desk(face, "cover", ONE)
    assert done.code == 10
    assert f"your copies are destroyed: {ONE}" in done.err
    assert not folder.exists()
    journal_now = read_journal(face)
    assert journal_now["looked"] == journal_now["covered"] == {}


def test_a_sheet_that_shows_it_uncovered_is_destroyed(face: Path) -> None:
    announce(face, seal(face), TWO)
    opened(face)
    assert desk(face, "review", "sealed", "--to", "sheet").code == 0
    sheet = face.parent / "sheet" / "review.html"
    with sheet.open("rb") as kept:
        done = desk(face, "cover", ONE)
        assert set(kept.read()) == {0}
    assert f"{sheet} showed it uncovered and is destroyed." in done.err
    assert not sheet.exists()
    assert ONE not in read_journal(face)["shown"]


def test_every_folder_that_open_wrote_is_covered_and_one_that_was_away_later(face: Path) -> None:
    first = opened(face)
    second = opened(face, "second/place")
    away = face.parent / "away"
    (face.parent / "second").rename(away)
    for _ in range(2):
        done = desk(face, "cover", ONE)
        assert (done.code, done.out) == (3, f"{first}\n")
        assert f"{second}: not there now" in done.err
        refused = desk(face, *RELEASED)
        assert refused.code == 1
        assert "a drive with a copy was away. Run again: relay desk cover" in refused.err
    away.rename(face.parent / "second")
    done = desk(face, "cover", ONE)
    assert (done.code, done.out) == (0, f"{first}\n{second}\n")
    _check_covered(face, first, second)
    assert desk(face, *RELEASED).code == 0


def test_a_folder_that_was_away_is_covered_by_open_as_well(face: Path) -> None:
    first = opened(face)
    second = opened(face, "second/place")
    away = face.parent / "away"
    (face.parent / "second").rename(away)
    assert desk(face, "cover", ONE).code == 3
    away.rename(face.parent / "second")
    done = desk(face, "open", "sealed", "--to", "second/place")
    assert f"{ONE}: was open already; it is covered there now, too." in done.err
    _check_covered(face, first, second)
    assert desk(face, "cover", ONE).code == 0
    _check_covered(face, first, second)
    assert desk(face, *RELEASED).code == 0


def _check_covered(campaign: Path, *folders: Path) -> None:
    (cover,) = boxes(campaign, "covered")
    for folder in folders:
        assert is_black(picture_in(folder), cover)
        assert submission_in(folder).covers == 1
        assert sorted(one.name for one in folder.iterdir()) == ["photo.jpg", "submission.json"]


def test_a_copy_that_tells_of_fewer_covers_is_covered_whatever_is_remembered(face: Path) -> None:
    folder, second = opened(face), opened(face, "second/place")
    kept = shutil.copytree(second, face.parent / "kept")
    assert desk(face, "cover", ONE).code == 0
    shutil.rmtree(second)
    shutil.copytree(kept, second)
    assert desk(face, "cover", ONE).code == 0
    _check_covered(face, folder, second)
    shutil.rmtree(folder)
    shutil.rmtree(second)
    shutil.copytree(kept, second)
    assert desk(face, "cover", ONE).code == 0
    _check_covered(face, second)
    assert desk(face, "cover", ONE).code == 10


def test_where_every_copy_is_away_that_is_said(face: Path) -> None:
    opened(face, "second/place")
    (face.parent / "second").rename(face.parent / "away")
    done = desk(face, "cover", ONE)
    assert done.code == 10
    assert f"not there now: {face.parent / 'second/place' / ONE}. Plug in the drive" in done.err


def test_a_photo_that_was_changed_since_is_not_covered_in_the_wrong_place(code: Path) -> None:
    folder = opened(code)
    (folder / "photo.jpg").write_bytes(clean_photo(size=(1000, 700)))
    done = desk(code, "cover", ONE)
    assert done.code == 1
    assert "changed after it was opened (a size of its own). Delete that folder" in done.err
    assert read_journal(code)["covered"] == {}


def test_a_link_in_the_way_is_not_followed(code: Path) -> None:
    folder = opened(code)
    mine = code.parent / "mine.jpg"
    (folder / "photo.jpg").rename(mine)
    (folder / "photo.jpg").symlink_to(mine)
    before = mine.read_bytes()
    done = desk(code, "cover", ONE)
    assert done.code == 1
    assert "a link is in the way" in done.err
    assert mine.read_bytes() == before
    assert desk(code, *RELEASED).code == 1


def test_open_clears_of_what_a_second_look_found_only_what_a_cover_hides(face: Path) -> None:
    opened(face)
    assert desk(face, "cover", ONE).code == 0
    (cover,) = boxes(face, "covered")
    hidden = Box(cover.x + 16, cover.y + 16, 32, 32)
    borderline = Box(1300, 900, 60, 80)
    with JournalFile(face).update() as journal:
        journal.remember_look(ONE, [hidden, borderline])
    opened(face, "again")
    assert boxes(face, "looked") == [borderline]
    assert desk(face, *RELEASED).code == 1
    assert desk(face, "cover", ONE).code == 0
    assert desk(face, *RELEASED).code == 0


# -- killed ---------------------------------------------------------------------------------------


@pytest.fixture
def small(campaign: Path) -> Path:
    """A desk that has opened a small photo with a code."""
    picture = photos.with_code((320, 240), (100, 60), scale=4)
    photo = photos.encode(picture, quality=85, subsampling="4:2:0")
    announce(campaign, seal(campaign, PLAIN, photo), ONE)
    opened(campaign)
    assert boxes(campaign, "looked")
    assert desk(campaign, "review", "sealed", "--to", "sheet").code == 0
    return campaign


def killed_at(campaign: Path, write: int, *arguments: str) -> int:
    """Run a command that is killed (-9) where it syncs for the `write`th time."""
    inject = ["-e", "trace=fsync", "-e", f"inject=fsync:signal=KILL:when={write}"]
    command = ["strace", "-qq", "-o", os.devnull, *inject, RELAY, "desk"]
    done = subprocess.run(
        [*command, "--config", "demo/desk.toml", *arguments],
        cwd=campaign.parent,
        capture_output=True,
        check=False,
    )
    return done.returncode


def test_a_cover_killed_at_any_write_is_whole_or_not_at_all_and_finished_by_calling_it_again(
    small: Path,
) -> None:
    home, kept = small.parent, small.parent.parent / "kept"
    shutil.copytree(home, kept)
    folder = home / "opened" / ONE
    old = (folder / "photo.jpg").read_bytes()
    assert desk(small, "cover", ONE).code == 0
    covered = (folder / "photo.jpg").read_bytes()
    ended, write = 1, 0
    while ended:
        write += 1
        for name in ("demo", "opened", "sheet"):
            shutil.rmtree(home / name)
            shutil.copytree(kept / name, home / name)
        ended = killed_at(small, write, "cover", ONE)
        now = (folder / "photo.jpg").read_bytes()
        assert now in (old, covered)
        is_free = desk(small, "release", ONE, "--to", "x.json", "--dry-run").code == 0
        assert not is_free or (now == covered and not (home / "sheet" / "review.html").exists())
        if now == covered:
            assert boxes(small, "covered")
        if not ended:
            break
        done = desk(small, "cover", ONE)
        assert done.code == (10 if is_free else 0), done.err
        (cover,) = boxes(small, "covered")
        assert is_black(picture_in(folder), cover), "drawn twice or once"
        assert sorted(one.name for one in folder.iterdir()) == ["photo.jpg", "submission.json"]
        assert submission_in(folder).covers == 1
        assert not (home / "sheet" / "review.html").exists()
        assert desk(small, "release", ONE, "--to", "x.json", "--dry-run").code == 0
    assert write > 10


def test_what_a_killed_cover_left_is_destroyed_with_the_rest(small: Path) -> None:
    folder = small.parent / "opened" / ONE
    (folder / ".photo.jpg.old").write_bytes(b"old")
    with JournalFile(small).update() as journal:
        assert destroy_copies([ONE], journal).destroyed == [ONE]
    assert not folder.exists()


# -- the journal ----------------------------------------------------------------------------------


def test_a_journal_of_before_opens_and_a_damaged_one_does_not(campaign: Path) -> None:
    announce(campaign, seal(campaign), ONE)
    path = campaign / "desk-journal.json"
    journal = json.loads(path.read_text())
    fields = ("looked", "covered", "covering", "reasons")
    path.write_text(json.dumps({k: v for k, v in journal.items() if k not in fields}))
    assert desk(campaign, "release", ONE, "--to", "x.json", "--dry-run").code == 0
    damages: list[dict[str, object]] = [
        *({field: {"x": []}} for field in fields),
        *({field: [ONE]} for field in fields),
        {"looked": {ONE: [[0, 0, 10]]}},
        {"looked": {ONE: [[0, 0, 10, True]]}},
        {"looked": {ONE: [[0, 0, 10, 1601]]}},
        {"covered": {ONE: [[-1, 0, 10, 10]]}},
        {"covered": {ONE: 7}},
        {"covering": {ONE: "1"}},
        {"reasons": {ONE: "two\nlines"}},
        {"reasons": {ONE: 5}},
    ]
    for damage in damages:
        path.write_text(json.dumps(journal | damage))
        done = desk(campaign, "release", ONE, "--to", "x.json", "--dry-run")
        assert done.code == 13, damage
