"""The contact sheet, made by the command as a person types it; no relay is needed for that."""

import base64
import fcntl
import hashlib
import html
import io
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from relay.desk import sheet
from relay.desk.copies import destroy_copies
from relay.desk.journal import JournalFile
from relay.desk.opening import Examined
from relay.desk.review import MAX_THUMBNAIL_BYTES
from relay.queue.states import Reason
from relay.scrub import jpeg
from relay.scrub.canonical import SIZES_OF
from relay.scrub.supervisor import ScrubbedPhoto
from relay.scrub.wire import Removed, View
from relay.seal import age
from relay.seal.envelope import pack
from relay.seal.keys import HybridIdentity
from tests import photos
from tests.conftest import RELAY, Result, relay, wait_until
from tests.envelopes import FULL, PLAIN, announce, clean_photo, read_journal, seal

ONE, TWO, THREE = ("5d2f1c0a" + "1" * 24, "77aa00bb" + "2" * 24, "c0ffee00" + "3" * 24)


def desk(campaign: Path, *arguments: str | Path) -> Result:
    return relay("desk", "--config", "demo/desk.toml", *arguments, cwd=campaign.parent)


def review(campaign: Path, *sources: str, code: int = 0) -> str:
    """The text of the sheet."""
    done = desk(campaign, "review", *(sources or ("sealed",)), "--to", "sheet")
    assert done.code == code, done.err
    assert "Traceback" not in done.err
    return (campaign.parent / "sheet" / "review.html").read_text()


def cards(text: str) -> list[str]:
    return re.findall(r"<article>.*?</article>", text, re.DOTALL)


def shown_ids(text: str) -> list[str]:
    return [
        html.unescape(re.sub("<.*?>", "", one)) for one in re.findall(r"<h2>\d+\. (.*)</h2>", text)
    ]


@pytest.fixture
def two(campaign: Path) -> Path:
    """A desk with two envelopes in sealed/."""
    announce(campaign, seal(campaign, PLAIN), ONE)
    announce(campaign, seal(campaign, FULL, clean_photo(2, (1067, 1600))), TWO)
    return campaign


# -- what is on it --------------------------------------------------------------------------------


def test_a_sheet_shows_each_submission_in_plain_words(two: Path) -> None:
    text = review(two)
    assert shown_ids(text) == [ONE, TWO]
    first, second = cards(text)
    assert f'<code class="id"><b>{ONE[:8]}</b>{ONE[8:]}</code>' in first
    for words in (
        "Girls in my village want to learn.",
        "<li>May be posted",
        "<li>Her words may be quoted",
        "<li>On any day",
        "<li>Poster: the general poster",
        "<li>Language: en",
        "<li>Faces covered: 0",
        "<li>Taken out of her file: position, time",
    ):
        assert words in first
    for words in (
        "Let us learn.\nAll of us.",
        "Must not be posted",
        "Don't quote her words",
        "Not before 19 March 2027",
        "Poster: with her own words written in",
        "Faces covered: 3",
        "left visible by her: 2",
    ):
        assert words in second
    assert "ALARM" not in text
    assert "decided" not in first + second


def test_the_page_is_made_for_the_owner_alone_and_its_path_is_the_result(two: Path) -> None:
    done = desk(two, "review", "sealed", "--to", "new/sheet")
    assert (done.code, done.out) == (0, "new/sheet/review.html\n")
    assert done.err == "sealed: no manifest, so nothing shows what is missing here.\n"
    folder = two.parent / "new" / "sheet"
    assert {path.stat().st_mode & 0o777 for path in (folder, folder.parent)} == {0o700}
    assert [path.name for path in folder.iterdir()] == ["review.html"]
    assert (folder / "review.html").stat().st_mode & 0o777 == 0o600


class Page(HTMLParser):
    """Every element with its attributes, and the style sheet."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.style = text.split("<style>")[1].split("</style>", maxsplit=1)[0]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))


def test_nothing_but_data_is_loaded_and_the_style_has_the_hash_of_its_policy(two: Path) -> None:
    text = review(two)
    page = Page(text)
    metas = [attributes for tag, attributes in page.elements if tag == "meta"]
    (policy,) = (str(meta["content"]) for meta in metas if "http-equiv" in meta)
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'"
    )
    assert {"name": "referrer", "content": "no-referrer"} in metas
    allowed = {"alt", "charset", "class", "content", "dir", "height", "href", "http-equiv", "id"}
    allowed |= {"lang", "name", "src", "width"}
    for _, attributes in page.elements:
        assert set(attributes) <= allowed
        assert str(attributes.get("href", "#")).startswith("#")
        assert str(attributes.get("src", "data:")).startswith("data:")
    assert "script" not in {tag for tag, _ in page.elements}
    assert "http" not in re.sub("http-equiv", "", text)
    assert "url(" not in page.style


def test_pictures_are_thumbnails_that_pass_the_strict_check(two: Path) -> None:
    sizes = []
    for attributes in (
        attributes for tag, attributes in Page(review(two)).elements if tag == "img"
    ):
        raw = base64.b64decode(str(attributes["src"]).removeprefix("data:image/jpeg;base64,"))
        sizes.append(jpeg.check(raw, sizes=SIZES_OF[View.THUMBNAIL])[:2])
        assert sizes[-1] == (int(attributes["width"] or 0), int(attributes["height"] or 0))
        assert Image.open(io.BytesIO(raw)).size == sizes[-1]
    assert sizes == [(240, 180), (160, 240)]


def test_no_photo_is_written_in_full_and_no_network_is_asked(two: Path) -> None:
    trace = two.parent / "trace"
    command = ["strace", "-f", "-e", "trace=openat,open,creat,socket", "-o", str(trace), RELAY]
    done = subprocess.run(
        [*command, "desk", "--config", "demo/desk.toml", "review", "sealed", "--to", "sheet"],
        cwd=two.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    calls = trace.read_text()
    written = re.findall(r'"([^"]+)", [^)]*O_(?:WRONLY|RDWR|CREAT)', calls)
    names = {Path(name).name for name in written if not name.startswith(("/proc/", "/dev/"))}
    journal = {".desk-journal.lock", ".desk-journal.json.part", "desk-journal.json"}
    assert names - journal <= {".review.html.part"}, "and a thumbnail is all that stands in it"
    assert ".review.html.part" in names
    assert "AF_INET" not in calls


HOSTILE = (
    "</blockquote><script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp;"
    "\x1b[31m\N{RIGHT-TO-LEFT OVERRIDE}gpj\N{ZERO WIDTH SPACE}\x00\n\n\n\n\nend"
)


def test_a_hostile_message_is_text_and_what_can_not_be_seen_is_spelt_out(campaign: Path) -> None:
    submission = replace(
        PLAIN,
        message=HOSTILE,
        language='en"><b onclick=x>',
        scrub={"<i>removed": ["<u>\N{RIGHT-TO-LEFT ISOLATE}"], "n": 3},
    )
    announce(campaign, seal(campaign, submission), ONE)
    text = review(campaign)
    tags = {tag for tag, _ in Page(text).elements}
    assert not tags & {"script", "i", "u"}
    assert len([tag for tag, _ in Page(text).elements if tag == "img"]) == 1
    assert all(c.isprintable() or c == "\n" for c in text)
    assert "&lt;script&gt;" in text
    assert "\\u001b[31m\\u202egpj\\u200b\\u0000\n\nend</blockquote>" in text
    assert "\\u2067" in text
    assert '<blockquote dir="auto">' in text, "no language that is none"


def test_a_message_keeps_its_direction_its_language_and_its_joiners(campaign: Path) -> None:
    persian = "می\N{ZERO WIDTH NON-JOINER}خواهیم"
    announce(campaign, seal(campaign, replace(PLAIN, language="fa", message=persian)), ONE)
    assert f'<blockquote dir="auto" lang="fa">{persian}</blockquote>' in review(campaign)


def test_what_senders_want_taken_down_comes_first(two: Path) -> None:
    assert "Take down" not in review(two)
    with JournalFile(two).update() as journal:
        journal.take_down = [THREE]
    text = review(two)
    assert text.index(THREE[8:]) < text.index("<h1>") < text.index(ONE[8:])
    report = desk(two, "review", "sealed", "--to", "sheet", "--json")
    assert report.json["take_down"] == [THREE]


def test_what_this_desk_has_decided_stands_there(two: Path) -> None:
    with JournalFile(two).update() as journal:
        journal.verdicts.confirmed[ONE] = "release"
        journal.verdicts.sent[TWO] = "return"
    first, second = cards(review(two))
    assert "You have released it." in first
    assert "You have sent a verdict (return), and no answer came." in second
    assert desk(two, "release", ONE, "--to", "verdicts.json").code == 0
    with JournalFile(two).update() as journal:
        journal.verdicts.confirmed.clear()
    first, _ = cards(review(two))
    assert "You have signed: release (not sent from here)." in first


def test_it_ends_with_commands_to_copy_and_every_reason(two: Path) -> None:
    text = review(two).split('id="decide"')[1]
    for words in ("release ID ID", "return ID --reason face-visible", "release --list FILE"):
        assert re.search(rf"<pre>\S*relay desk --config demo/desk\.toml {words}</pre>", text)
    assert re.findall("<li><code>(.*?)</code>", text) == [str(reason) for reason in Reason]


# -- alarms ---------------------------------------------------------------------------------------


def put(campaign: Path, name: str, photo: bytes) -> None:
    (campaign.parent / "sealed").mkdir(exist_ok=True)
    (campaign.parent / "sealed" / f"{name}.age").write_bytes(seal(campaign, PLAIN, photo))


@pytest.mark.parametrize(
    ("photo", "found"),
    [
        (photos.dirty_jpeg(photos.picture(1600, 1200)), "position, time, device"),
        (clean_photo(size=(1000, 700)), "a size of its own"),
        (photos.encode(photos.picture(), quality=85, subsampling="4:4:4"), "another coding"),
        (photos.encode(photos.picture(), "PNG"), "another coding"),
        (clean_photo() + b"ftyp", "video"),
    ],
)  # fmt: skip
def test_what_the_relay_should_have_cleaned_is_an_alarm_that_names_it(
    campaign: Path, photo: bytes, found: str
) -> None:
    announce(campaign, seal(campaign, PLAIN, photo), ONE)
    alarm = f"the relay had not cleaned this photo ({found}"
    assert f"ALARM: {alarm}" in review(campaign)
    opened = desk(campaign, "open", "sealed", "--to", "opened")
    assert f"{ONE}: ALARM: {alarm}" in opened.err
    report = desk(campaign, "open", "sealed", "--to", "again", "--json")
    assert ", ".join(report.json["opened"][0]["found"]).startswith(found)  # type: ignore[index]


def test_a_known_envelope_under_another_number_is_shown_under_its_own(two: Path) -> None:
    sealed = two.parent / "sealed"
    (sealed / f"{ONE}.age").rename(sealed / f"{THREE}.age")
    assert sorted(shown_ids(review(two))) == [ONE, TWO]
    said = desk(two, "open", "sealed", "--to", "opened")
    assert said.code == 0
    assert "sealed: no manifest, so nothing shows what is missing here." in said.err
    assert sorted(one.name for one in (two.parent / "opened").iterdir()) == [ONE, TWO]


def test_an_envelope_that_nobody_announced_is_an_alarm(two: Path) -> None:
    put(two, "stray", clean_photo())
    text = review(two)
    (alarmed,) = (one for one in cards(text) if "ALARM" in one)
    assert "not pulled by this desk" in alarmed
    assert ONE not in alarmed


# -- sources --------------------------------------------------------------------------------------


def test_opened_photos_are_shown_too_and_what_is_given_twice_once(two: Path) -> None:
    assert desk(two, "open", f"sealed/{ONE}.age", "--to", "opened").code == 0
    assert shown_ids(review(two, "opened")) == [ONE]
    assert shown_ids(review(two, f"opened/{ONE}")) == [ONE]
    assert shown_ids(review(two, "opened", "sealed", f"sealed/{TWO}.age")) == [ONE, TWO]
    assert "ALARM" not in review(two, "opened")
    photo = two.parent / "opened" / ONE / "photo.jpg"
    photo.write_bytes(photos.dirty_jpeg())
    assert "changed after it was opened (position" in review(two, "opened")


def test_open_says_what_the_sender_has_chosen(two: Path) -> None:
    said = desk(two, "open", f"sealed/{ONE}.age", f"sealed/{TWO}.age", "--to", "opened").err
    words = "must not be posted, not before 19 March 2027, 2 faces left visible"
    assert said == f"{TWO}: {words}.\n"


def test_opened_photos_need_no_key(two: Path) -> None:
    desk(two, "open", "sealed", "--to", "opened")
    (two / "identity.age").unlink()
    assert shown_ids(review(two, "opened")) == [ONE, TWO]


def test_an_opened_photo_that_was_taken_back_is_destroyed_and_not_shown(two: Path) -> None:
    """Also where somebody has copied its folder; a copy that the journal knows is said, too."""
    desk(two, "open", "sealed", "--to", "opened")
    shutil.copytree(two.parent / "opened", two.parent / "copied")
    with JournalFile(two).update() as journal:
        journal.lose([ONE])
    done = desk(two, "review", "copied", "--to", "sheet", "--json")
    assert done.code == 3
    assert [one["id"] for one in done.json["reviewed"] if one["error"]] == [ONE]  # type: ignore[attr-defined]
    assert f"your copies are destroyed: {ONE}" in done.err
    assert done.json["destroyed"] == [ONE]
    assert done.json["warnings"] == []
    for folder in ("copied", "opened"):
        assert [one.name for one in (two.parent / folder).iterdir()] == [TWO]


# -- what fails -----------------------------------------------------------------------------------


def test_what_could_not_be_opened_is_listed_at_the_end_and_the_code_is_3(two: Path) -> None:
    odd = two.parent / "sealed" / "<b>\x1b[31m\N{RIGHT-TO-LEFT OVERRIDE}.age"
    odd.write_bytes(b"broken")
    (two.parent / "sealed" / os.fsdecode(b"\xff.age")).write_bytes(b"broken")
    put(two, "picture", photos.noise(600, 600).tobytes()[:100_000])
    text = review(two, code=3)
    assert shown_ids(text) == [ONE, TWO]
    failed = text.split('id="failed"')[1]
    assert "<code>&lt;b&gt;\\u001b[31m\\u202e.age</code>: " in failed
    assert "<code>\\udcff.age</code>: " in failed
    assert "<code>picture.age</code>: What is inside is not a photo." in failed
    done = desk(two, "review", "sealed", "--to", "sheet")
    assert "\x1b" not in done.out + done.err
    assert "3 of 5 could not be opened" in done.err


def test_a_swapped_envelope_is_named_and_not_shown(two: Path) -> None:
    sealed = two.parent / "sealed"
    (sealed / f"{TWO}.age").write_bytes((sealed / f"{ONE}.age").read_bytes())
    text = review(two, code=3)
    assert shown_ids(text) == [ONE]
    assert f"<code>{TWO}.age</code>: Not the envelope that the relay announced" in text


def test_where_nothing_can_be_shown_there_is_no_sheet_and_the_code_says_why(two: Path) -> None:
    sealed, folder = two.parent / "sealed", two.parent / "sheet"
    for path in sealed.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    done = desk(two, "review", "sealed", "--to", "sheet")
    assert (done.code, done.out) == (13, "")
    assert list(folder.iterdir()) == []
    stranger = HybridIdentity.generate().recipient()
    for path in sealed.iterdir():
        path.unlink()
    (sealed / "hers.age").write_bytes(age.seal(pack(b"{}", b"", 1 << 19), [stranger]))
    done = desk(two, "review", "sealed", "--to", "sheet", "--json")
    assert done.code == 12
    assert done.json["sheet"] is None
    assert list(folder.iterdir()) == []


def test_nothing_there_is_exit_10_and_a_folder_that_others_can_read_14(two: Path) -> None:
    (two.parent / "empty").mkdir()
    assert desk(two, "review", "empty", "--to", "sheet").code == 10
    assert desk(two, "review", "nowhere", "--to", "sheet").code == 10
    assert not (two.parent / "sheet").exists()
    (two.parent / "empty").chmod(0o755)
    assert desk(two, "review", "sealed", "--to", "empty").code == 14
    assert list((two.parent / "empty").iterdir()) == []
    assert desk(two, "review", "sealed", "--to", "empty", "--force").code == 0


def test_the_report_names_the_sheet_and_each_outcome(two: Path) -> None:
    put(two, "broken", b"")
    report = desk(two, "review", "sealed", "--to", "sheet", "--json")
    assert report.code == 3
    assert report.json["sheet"] == "sheet/review.html"
    by_id = {one["id"]: one for one in report.json["reviewed"]}  # type: ignore[attr-defined]
    assert by_id[ONE]["error"] is None
    assert by_id["broken"]["error"] == "Corrupt"


# -- what stays -----------------------------------------------------------------------------------


def test_a_sheet_is_replaced_whole_and_a_failed_one_leaves_the_old_one(two: Path) -> None:
    first = review(two)
    (two.parent / "sealed" / f"{ONE}.age").unlink()
    kept = (two.parent / "sheet" / "review.html").open("rb")
    assert shown_ids(review(two)) == [TWO]
    with kept:
        assert kept.read() == bytes(len(first.encode())), "the old one is overwritten"
    path = two.parent / "sealed" / f"{TWO}.age"
    path.write_bytes(b"broken")
    assert shown_ids(review(two, code=13)) == [TWO]
    assert read_journal(two)["shown"] == {TWO: [str(two.parent / "sheet" / "review.html")]}


def test_a_full_disk_leaves_nothing_of_a_sheet(two: Path) -> None:
    command = ["prlimit", "--fsize=8000", RELAY, "desk", "--config", "demo/desk.toml", "review"]
    done = subprocess.run(
        [*command, "sealed", "--to", "sheet"],
        cwd=two.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert list((two.parent / "sheet").iterdir()) == []


@pytest.fixture
def many(campaign: Path) -> Path:
    """A desk with 45 envelopes in sealed/: two pieces of a sheet, and a third begun."""
    envelope = seal(campaign, PLAIN, clean_photo(size=(320, 240)))  # small ones are soon looked at
    for _ in range(45):
        announce(campaign, envelope)
    return campaign


@contextmanager
def paused(campaign: Path) -> Iterator["subprocess.Popen[str]"]:
    """A review that was stopped in the midst of its work; it is to be told to go on, or killed."""
    command = [RELAY, "desk", "--config", "demo/desk.toml", "review", "sealed", "--to", "sheet"]
    part = campaign.parent / "sheet" / ".review.html.part"
    with subprocess.Popen(
        command, cwd=campaign.parent, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            wait_until(lambda: part.exists() and part.stat().st_size > 0, seconds=60)
            wait_until(lambda: is_stopped_without_the_journal(campaign, process))
            assert part.exists()
            yield process
        finally:
            process.kill()  # one that is stopped would be waited for without end


def is_stopped_without_the_journal(campaign: Path, process: "subprocess.Popen[str]") -> bool:
    """Stop it; let it go on where it holds the lock that others need."""
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: ") T " in Path(f"/proc/{process.pid}/stat").read_text())
    with (campaign / ".desk-journal.lock").open("r+b") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            process.send_signal(signal.SIGCONT)
            return False
    return True


def test_what_a_killed_review_left_is_gone_after_the_next(many: Path) -> None:
    with paused(many) as process:
        process.kill()
    folder = many.parent / "sheet"
    assert [path.name for path in folder.iterdir()] == [".review.html.part"]
    shown = read_journal(many)["shown"]
    left = (folder / ".review.html.part").read_text()
    assert set(shown_ids(left)) <= set(shown), "what it shows is remembered"
    assert shown_ids(left)
    for path in (many.parent / "sealed").iterdir():
        path.write_bytes(b"broken")
    assert desk(many, "review", "sealed", "--to", "sheet").code == 13
    assert list(folder.iterdir()) == []


def test_two_reviews_at_once_do_not_mix(many: Path) -> None:
    with paused(many) as first:
        second = desk(many, "review", "sealed", "--to", "sheet")
        assert second.code == 1
        assert "another review is writing it" in second.err
        first.send_signal(signal.SIGCONT)
        _, said = first.communicate()
    assert first.returncode == 0, said
    text = (many.parent / "sheet" / "review.html").read_text()
    assert len(cards(text)) == 45
    assert text.endswith("</section>\n")


def test_what_is_taken_back_goes_from_the_sheet_too(many: Path) -> None:
    text = review(many)
    submission = shown_ids(text)[7]
    journal = JournalFile(many).read()
    assert destroy_copies([submission], journal).destroyed == [submission]
    assert list((many.parent / "sheet").iterdir()) == []
    assert submission not in journal.shown


def test_what_is_taken_back_meanwhile_is_on_no_sheet(many: Path) -> None:
    with paused(many) as process:
        with JournalFile(many).update() as journal:
            destroy_copies([next(iter(journal.shown))], journal)
        process.send_signal(signal.SIGCONT)
        _, said = process.communicate()
    assert process.returncode == 1
    assert "taken back meanwhile" in said
    assert list((many.parent / "sheet").iterdir()) == []


def test_500_of_the_most_costly_submissions_make_less_than_15_megabytes() -> None:
    costly = ScrubbedPhoto(
        jpeg=bytes(MAX_THUMBNAIL_BYTES),
        width_px=240,
        height_px=240,
        quality=30,
        removed=Removed.NOTHING,
    )
    examined = Examined(
        id=ONE,
        digest="",
        submission=replace(FULL, message="\N{RIGHT-TO-LEFT OVERRIDE}" * 500),
        photo=costly,
        found=("position",),
        was_announced=False,
    )
    card = sheet.Card(
        number=500, examined=examined, alarms=("a" * 100, "b" * 100), decided="c" * 90
    )
    assert 500 * len(sheet.draw(card)) < 15_000_000


def test_a_journal_that_is_older_or_damaged(campaign: Path) -> None:
    announce(campaign, seal(campaign), ONE)
    path = campaign / "desk-journal.json"
    journal = json.loads(path.read_text())
    for field in ("shown", "take_down"):
        older = {name: value for name, value in journal.items() if name != field}
        path.write_text(json.dumps(older))
        assert shown_ids(review(campaign)) == [ONE]
    for damage in ({"take_down": ["x"]}, {"take_down": {ONE: 1}}, {"shown": {"x": []}}):
        path.write_text(json.dumps(journal | damage))
        assert desk(campaign, "review", "sealed", "--to", "sheet").code == 13
