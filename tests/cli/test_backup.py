"""`relay backup` and `relay restore` on the real service: what is true after a machine was lost."""

import datetime as dt
import io
import os
import re
import shutil
import sqlite3
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from relay.cli.campaign import write_desk
from relay.cli.keys import make_keys
from relay.intake.backup import Backup, open_backup
from relay.seal import age
from relay.seal.files import write_secret
from relay.seal.keys import HybridIdentity
from tests import photos
from tests.conftest import FULL, RELAY, Answer, Result, Service, Starter, free_port, relay
from tests.desk.campaigns import Campaign
from tests.grounds import ALONE

OPERATOR = HybridIdentity.generate()
TODAY = dt.datetime.now(dt.UTC).date()
TOLD = f"from a copy of \N{LEFT-TO-RIGHT ISOLATE}{TODAY}\N{POP DIRECTIONAL ISOLATE}"
LOST = "What you sent is not here any more: our computer was lost."
NOTHING = "Nothing is kept under this receipt."
UNKNOWN = "0000 0000 0000 0000 0000"
WAITS = "sent, and not pulled before the copy"
HELD = "pulled and opened"
TAKEN_BACK_SINCE = "pulled and opened; taken back after the copy, and the desk not told"
TOLD_SINCE = "pulled and opened; taken back after the copy, and the desk told"
RELEASED = "released"
RELEASED_SINCE = "pulled and opened; released after the copy"
RETURNED = "returned"
RETURNED_SINCE = "pulled and opened; returned after the copy"
POSTED = "posted"
POSTED_SINCE = "released; posted after the copy"
WITHDRAWN = "pulled and opened; taken back before the copy"
SENT_SINCE = "sent and pulled after the copy"
BEFORE = (
    *(HELD, TAKEN_BACK_SINCE, TOLD_SINCE, RELEASED, RELEASED_SINCE),
    *(RETURNED, RETURNED_SINCE, POSTED, POSTED_SINCE, WITHDRAWN),
)
ARE_LOST = (
    *(WAITS, HELD, TAKEN_BACK_SINCE, TOLD_SINCE, RELEASED, RELEASED_SINCE),
    *(RETURNED_SINCE, POSTED_SINCE),
)
ACCOUNT = '[folder]\nnetwork = "folder"\npath = "for-others"\n'


def write_operator(folder: Path) -> Path:
    """The operator's key pair, as `age-keygen -pq` writes it. Returns the recipients' file."""
    public = OPERATOR.recipient().encoded
    text = f"# created: 2026-03-19T12:00:00Z\n# public key: {public}\n{OPERATOR.encode_secret()}\n"
    write_secret(folder / "identity.txt", text.encode())
    recipients = folder / "operator.txt"
    recipients.write_text(f"# the operator\n{public}\n")
    return recipients


def back_up(folder: Path, to: Path, *more: str) -> Result:
    config, recipients = folder / "relay.toml", folder.parent / "operator.txt"
    return relay("backup", "--config", config, "--to", to, "--recipients", recipients, *more)


def restore(file: Path, to: Path, *more: str) -> Result:
    return relay("restore", file, "--identity", file.parent / "identity.txt", "--to", to, *more)


def open_it(file: Path) -> Backup:
    return open_backup(file, (OPERATOR,))


@dataclass
class Lost:
    """A desk in demo/, and in again/ the relay that was restored after the old machine was lost."""

    campaign: Campaign
    messages: dict[str, str] = field(default_factory=dict)  # of those that the desk has, to ids
    receipts: dict[str, str] = field(default_factory=dict)
    token: str = ""

    def standing(self, what: str) -> Answer:
        return self.campaign.service.post_receipt("receipt", self.receipts.get(what, what))

    def withdraw(self, what: str) -> Answer:
        return self.campaign.service.post_receipt("withdraw", self.receipts[what])

    def desk(self, *arguments: str | Path) -> Result:
        return self.campaign.desk(*arguments)

    def pull(self) -> Result:
        return self.desk("pull", "--to", "sealed")

    def has_copies(self, what: str) -> bool:
        home, one = self.campaign.folder.parent, self.messages[what]
        return (home / "opened" / one).exists() or (home / f"sealed/{one}.age").exists()

    def posts(self) -> list[Path]:
        return sorted((self.campaign.folder / "for-others").glob("*.jpg"))

    def send(self, what: str, **fields: str) -> None:
        photo = photos.encode(photos.picture(320, 240, seed=len(self.receipts)))
        chosen = {"message": what, "may_quote": "yes", "may_post": "yes", **fields}
        self.receipts[what] = self.campaign.service.send_on(photo, **chosen).receipt

    def receive(self) -> None:
        """Pull and open what waits."""
        before = {*self.messages.values()}
        assert self.pull().code == 0
        assert self.desk("open", "sealed", "--to", "opened").code == 0
        for folder in (self.campaign.folder.parent / "opened").iterdir():
            text = (folder / "submission.json").read_text()
            for what in self.receipts:
                if folder.name not in before and f'"{what}"' in text:
                    self.messages[what] = folder.name

    def do(self, command: str, *whats: str, more: tuple[str, ...] = ()) -> None:
        done = self.desk(command, *(self.messages[what] for what in whats), *more)
        assert done.code == 0, done.err


def lose(campaign: Campaign) -> Lost:
    """Live a day with a backup in its middle, lose the machine, and restore."""
    lost, service = Lost(campaign), campaign.service
    home = campaign.folder.parent
    campaign.has_accounts(ACCOUNT)
    write_operator(home)
    for what in BEFORE:
        lost.send(what)
    lost.receive()
    ready = (RELEASED, RELEASED_SINCE, POSTED, POSTED_SINCE)
    lost.do("caption", *ready)
    lost.do("release", RELEASED, POSTED, POSTED_SINCE)
    lost.do("return", RETURNED, RETURNED_SINCE, more=("--reason", "not-a-poster", "--dry-run"))
    lost.do("return", RETURNED, more=("--reason", "not-a-poster"))
    lost.do("post", POSTED)
    lost.withdraw(WITHDRAWN)
    lost.token = service.token()
    lost.send(WAITS, token=lost.token)
    assert lost.desk("log", "--verify").code == 0

    done = back_up(campaign.folder, home / "copy.age")
    assert done.code == 0, done.err

    lost.withdraw(TOLD_SINCE)
    lost.send(SENT_SINCE)
    lost.receive()
    lost.do("release", RELEASED_SINCE)
    lost.do("return", RETURNED_SINCE, more=("--reason", "not-a-poster"))
    lost.do("post", POSTED_SINCE)
    assert lost.desk("log", "--verify").code == 0
    lost.withdraw(TAKEN_BACK_SINCE)

    service.kill()
    for name in ("relay.toml", "service.key", "recipients.txt", "staff.txt"):
        (campaign.folder / name).unlink()
    for file in campaign.folder.glob("queue.sqlite*"):
        file.unlink()
    done = restore(home / "copy.age", home / "again")
    assert done.code == 0, done.err
    return lost


@pytest.fixture(scope="module")
def before(campaign_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Lost:
    """A machine that was lost and restored; nobody serves it yet."""
    folder = tmp_path_factory.mktemp("lost") / "demo"
    service = Service(Path(shutil.copytree(campaign_template, folder)), free_port())
    service.start()
    try:
        return lose(Campaign(service))
    finally:
        service.kill()


@pytest.fixture
def lost(before: Lost, tmp_path: Path) -> Iterator[Lost]:
    """The same, served again, fresh for each test."""
    home = before.campaign.folder.parent
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    port = free_port()
    write_desk(tmp_path / "demo", f"127.0.0.1:{port}")
    journal = tmp_path / "demo/desk-journal.json"
    journal.write_text(journal.read_text().replace(str(home), str(tmp_path)))
    again = Service(tmp_path / "again", port)
    again.start()
    campaign = Campaign(Service(tmp_path / "demo", port))
    campaign.has_accounts(ACCOUNT)
    yield replace(before, campaign=campaign, receipts=dict(before.receipts))
    again.kill()


# -- what is true afterwards ---------------------------------------------------------------------


def test_each_receipt_says_what_is_true_and_of_which_day_the_copy_is(lost: Lost) -> None:
    said = {what: lost.standing(what).text for what in (*lost.receipts, UNKNOWN)}
    assert all(TOLD in text for text in said.values())
    for what in ARE_LOST:
        assert LOST in said[what], what
        assert 'id="withdraw"' in said[what], what
    assert "The team can't use what you sent" in said[RETURNED]
    assert "Your photo has been posted." in said[POSTED]
    assert "If you took it back since then" in said[POSTED]
    assert NOTHING in said[WITHDRAWN]
    assert NOTHING in said[SENT_SINCE]
    assert said[WITHDRAWN] == said[SENT_SINCE] == said[UNKNOWN]


def test_nothing_withdrawn_comes_back_at_the_relay_or_at_the_desk(lost: Lost) -> None:
    pulled = lost.pull()
    assert pulled.code == 10, "nothing is handed out"
    assert TAKEN_BACK_SINCE in lost.messages
    assert f"copy of {TODAY}" in pulled.err
    assert lost.has_copies(TAKEN_BACK_SINCE), "it may be all that is left of it"
    assert not lost.has_copies(TOLD_SINCE)
    assert not lost.has_copies(WITHDRAWN)
    before = lost.posts()
    lost.do("caption", TAKEN_BACK_SINCE, SENT_SINCE)
    for what in (TAKEN_BACK_SINCE, TOLD_SINCE, WITHDRAWN, SENT_SINCE):
        assert lost.desk("release", lost.messages[what]).code != 0, what
    assert lost.desk("release", lost.messages[SENT_SINCE], "--after-restore").code == 10
    for what in (TOLD_SINCE, WITHDRAWN):
        assert lost.desk("release", lost.messages[what], "--after-restore").code == 10, what
    posted = lost.desk("post")
    assert "she may have taken this back since" in posted.err
    assert lost.posts() == before
    assert NOTHING in lost.standing(WITHDRAWN).text


def test_a_desk_that_has_not_pulled_since_is_refused_by_the_relay(lost: Lost) -> None:
    lost.do("caption", HELD)
    for what in (HELD, RELEASED):
        refused = lost.desk("release", lost.messages[what])
        assert refused.code == 1
        assert f"a copy of {TODAY}: she may have taken this back since" in refused.err
    before = lost.posts()
    assert lost.desk("post", lost.messages[RELEASED]).code != 0
    assert lost.posts() == before


def test_what_she_takes_back_again_is_destroyed_and_its_posts_are_taken_down(lost: Lost) -> None:
    for what in (TAKEN_BACK_SINCE, WAITS, POSTED_SINCE):
        assert NOTHING in lost.withdraw(what).text
        assert lost.standing(what).body == lost.standing(UNKNOWN).body
    pulled = lost.pull()
    assert f"TAKE DOWN: {lost.messages[POSTED_SINCE]}" in pulled.err
    assert not lost.has_copies(TAKEN_BACK_SINCE)
    assert not lost.has_copies(WAITS)
    assert len(lost.posts()) == 2
    down = lost.desk("take-down", lost.messages[POSTED_SINCE], "--deleted")
    assert down.code == 0, down.err
    assert not lost.has_copies(POSTED_SINCE)
    assert lost.pull().err.count("TAKE DOWN") == 0
    logged = lost.desk("log", "--verify", "--after-restore")
    assert f"removed {lost.messages[POSTED_SINCE]}" in logged.out, logged.err
    assert NOTHING in lost.standing(POSTED_SINCE).text


def test_what_was_lost_can_be_sent_again_under_a_new_receipt(lost: Lost) -> None:
    before = dict(lost.receipts)
    del lost.receipts[WAITS]
    seed = len(BEFORE)  # the very photo
    photo = photos.encode(photos.picture(320, 240, seed=seed))
    fields = {"message": WAITS, "may_quote": "yes", "may_post": "yes"}
    service = lost.campaign.service
    first = service.send_on(photo, token=lost.token, **fields).receipt
    assert first != before[WAITS]
    assert service.send_on(photo, token=lost.token, **fields).receipt == first, "and once"
    assert "locked" in service.post_receipt("receipt", first).text
    assert LOST in service.post_receipt("receipt", before[WAITS]).text


def test_a_colleague_may_decide_about_what_was_lost_all_the_same(lost: Lost) -> None:
    lost.pull()
    assert lost.desk("post", "--after-restore").code == 2, "only by number"
    lost.do("caption", HELD)
    lost.do("release", HELD, more=("--after-restore",))
    assert "checked and accepted" in lost.standing(HELD).text
    lost.do("return", WAITS, more=("--reason", "other"))
    assert "can't use what you sent" in lost.standing(WAITS).text
    lost.do("post", HELD)
    lost.do("post", RELEASED, more=("--after-restore",))
    for what in (HELD, RELEASED):
        assert "Your photo has been posted." in lost.standing(what).text
    assert len(lost.posts()) == 4
    verified = lost.desk("log", "--verify", "--after-restore")
    assert verified.code == 0, verified.err
    assert lost.desk("log", "--verify").code == 0


def test_a_log_that_goes_back_is_refused_until_a_colleague_says_that_it_was_restored(
    lost: Lost,
) -> None:
    refused = lost.desk("log", "--verify")
    assert refused.code == 13
    assert f"a copy of {TODAY}" in refused.err
    assert "--after-restore" in refused.err
    journal = (lost.campaign.folder / "desk-journal.json").read_bytes()
    assert lost.desk("log", "--verify").code == 13, "and again"
    assert (lost.campaign.folder / "desk-journal.json").read_bytes() == journal

    accepted = lost.desk("log", "--verify", "--after-restore", "--json")
    assert accepted.code == 0, accepted.err
    missing = {(one["id"], one["verdict"]) for one in accepted.json["missing"]}  # type: ignore[attr-defined]
    assert missing == {
        (lost.messages[RELEASED_SINCE], "release"),
        (lost.messages[RETURNED_SINCE], "return"),
        (lost.messages[POSTED_SINCE], "post"),
    }
    assert lost.desk("log", "--verify").code == 0, "accepted once is accepted"
    again = lost.desk("log", "--verify", "--json")
    assert again.json["missing"] == []
    assert not lost.desk("log").out.count("posted " + lost.messages[POSTED_SINCE])

    lost.do("return", RETURNED_SINCE, more=("--reason", "not-a-poster"))
    lost.do("release", RELEASED_SINCE, more=("--after-restore",))
    lost.desk("post")  # says of what stands there that it does
    assert "Your photo has been posted." in lost.standing(POSTED_SINCE).text
    assert "can't use what you sent" in lost.standing(RETURNED_SINCE).text
    assert lost.desk("log", "--verify").code == 0


@pytest.fixture(scope="module")
def served(campaign_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a relay that has run once, and beside it a backup of it and the keys."""
    folder = tmp_path_factory.mktemp("served") / "demo"
    running = Service(Path(shutil.copytree(campaign_template, folder)), free_port())
    running.start()
    assert running.stop() == 0
    write_operator(folder.parent)
    assert back_up(folder, folder.parent / "copy.age").code == 0
    return folder


@pytest.fixture
def copy(served: Path, tmp_path: Path) -> Path:
    """That backup, and in demo/ the relay's folder, fresh for each test."""
    shutil.copytree(served.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / "copy.age"


# -- the sealed file -----------------------------------------------------------------------------


def test_a_backup_while_photos_come_has_what_was_there_and_no_envelope(
    start_service: Starter, campaign: Path, tmp_path: Path
) -> None:
    service = start_service()
    write_operator(tmp_path)
    words = "the words of a message"
    first = [service.send(photos.dirty_jpeg(), message=f"{words} {n}").receipt for n in range(2)]
    with closing(sqlite3.connect(campaign / "queue.sqlite")) as queue:
        before = {row[0] for row in queue.execute("SELECT id FROM submission")}
        envelopes = [row[0] for row in queue.execute("SELECT sealed FROM envelope")]
    later: list[str] = []

    def send() -> None:
        later.extend(
            service.send(photos.dirty_jpeg(), message=f"{words} later {n}").receipt
            for n in range(3)
        )

    sender = threading.Thread(target=send)
    sender.start()
    copies: list[Path] = []
    while sender.is_alive():
        copies.append(tmp_path / f"{len(copies)}.age")
        assert back_up(campaign, copies[-1]).code == 0
    sender.join()
    assert len(later) == 3
    copies.append(tmp_path / "last.age")
    assert back_up(campaign, copies[-1]).code == 0
    assert len({copy.stat().st_size for copy in copies}) == 1, "its length tells nothing"
    assert all(copy.stat().st_mode & 0o777 == 0o600 for copy in copies)
    for copy in copies:
        ids = [row["id"] for row in open_it(copy).queue.submissions]
        assert before <= {*ids}
        assert ids == sorted(ids), "not in the order of their arrival"
    assert len(ids) == len(first) + len(later)

    sealed = copies[-1].read_bytes()
    plain = age.unseal(sealed, [OPERATOR])
    key = (campaign / "service.key").read_bytes()
    assert key in plain
    for canary in (key, b"relay.toml", campaign.name.encode() + b"\n", b"submission"):
        assert canary not in sealed
    for envelope in envelopes:
        assert envelope not in plain
        assert envelope[-1000:] not in plain
    assert words.encode() not in plain
    for receipt in (*first, *later):
        assert receipt.replace(" ", "").encode() not in plain
    assert not re.search(rb"\d\d:\d\d", plain.rpartition(b"queue.json")[2]), "no clock"


def test_a_backup_changes_nothing_and_leaves_no_file(copy: Path) -> None:
    folder = copy.parent / "demo"

    def look() -> dict[Path, tuple[int, bytes]]:
        return {one: (one.stat().st_mtime_ns, one.read_bytes()) for one in folder.iterdir()}

    before = look()
    assert back_up(folder, copy.parent / "second.age").code == 0
    assert look() == before


def test_any_tar_opens_it_and_finds_files_without_a_date(copy: Path) -> None:
    plain = age.unseal(copy.read_bytes(), [OPERATOR])
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        members = archive.getmembers()
        assert {(one.mode, one.uid, one.gid, one.mtime, one.uname) for one in members} == {
            (0o600, 0, 0, 0, "")
        }
        names = [one.name for one in members]
    assert names == [
        *("relay.toml", "service.key", "recipients.txt", "staff.txt", "campaign.toml"),
        "queue.json",
    ]


def test_what_can_not_be_opened_leaves_no_folder(copy: Path) -> None:
    sealed, to = copy.read_bytes(), copy.parent / "again"
    other = copy.parent / "other.txt"
    write_secret(other, HybridIdentity.generate().encode_secret().encode())
    refused = relay("restore", copy, "--identity", other, "--to", to)
    assert refused.code == 12
    flipped = bytearray(sealed)
    flipped[len(sealed) // 2] ^= 1
    for damaged in (bytes(flipped), sealed[: len(sealed) // 2], sealed[:-1], b"", b"x" * 9000):
        copy.write_bytes(damaged)
        assert restore(copy, to).code == 13
    assert not to.exists()


def test_what_somebody_else_has_sealed_is_looked_through(copy: Path) -> None:
    plain = age.unseal(copy.read_bytes(), [OPERATOR])
    for one, other in ((b"queue.json", b"../../x.js"), (b"service.key", b"service.kez")):
        changed = plain.replace(one, other, 1)
        copy.write_bytes(age.seal(changed, [OPERATOR.recipient()]))
        assert restore(copy, copy.parent / "again").code == 13
    assert not (copy.parent / "again").exists()


def test_a_folder_with_something_in_it_stays_as_it_is(copy: Path) -> None:
    to = copy.parent / "again"
    to.mkdir()
    (to / "mine").write_text("mine")
    for more in ((), ("--dry-run",)):
        refused = restore(copy, to, *more)
        assert refused.code == 2
        assert "not empty" in refused.err
    assert [path.name for path in to.iterdir()] == ["mine"]
    (to / "mine").unlink()
    assert restore(copy, to, "--dry-run").code == 0
    assert not any(to.iterdir())
    assert restore(copy, to).code == 0
    assert to.stat().st_mode & 0o777 == 0o700
    secrets = {path.name for path in to.iterdir() if path.stat().st_mode & 0o777 == 0o600}
    assert secrets == {"service.key", "queue.sqlite", "relay.toml"}


def test_a_key_of_relay_keys_opens_it_with_its_passphrase(copy: Path) -> None:
    tmp_path, campaign = copy.parent, copy.parent / "demo"
    copy.unlink()
    (tmp_path / "words").write_text("four words of hers\n")
    kept, _ = make_keys(tmp_path / "mine", "four words of hers", log_n=10)
    (tmp_path / "operator.txt").write_text(f"{kept}\n")
    assert back_up(campaign, tmp_path / "copy.age").code == 0
    arguments = ("--identity", tmp_path / "mine/identity.age", "--to", tmp_path / "again")
    asked = relay("restore", tmp_path / "copy.age", *arguments)
    assert asked.code == 2, "nothing is asked without a terminal"
    words = ("--passphrase-file", tmp_path / "words")
    assert relay("restore", tmp_path / "copy.age", *arguments, *words).code == 0
    assert (tmp_path / "again/service.key").read_bytes() == (campaign / "service.key").read_bytes()


def test_a_restore_that_is_killed_leaves_nothing_that_could_be_served(copy: Path) -> None:
    points = range(1, 99) if FULL else (1, 5, 9, 99)
    ends = set()
    for point in points:
        to = copy.parent / f"again-{point}"
        trace = "trace=fsync,fdatasync,rename"
        inject = ["-e", trace, "-e", f"inject=fsync,fdatasync,rename:signal=KILL:when={point}"]
        command = ["strace", "-f", "-qq", "-o", os.devnull, *inject, RELAY, "restore", copy]
        identity = copy.parent / "identity.txt"
        done = subprocess.run(
            [*command, "--identity", identity, "--to", to], capture_output=True, check=False
        )
        ends.add(done.returncode == 0)
        assert (to / "relay.toml").exists() == (done.returncode == 0)
        if done.returncode == 0:
            break
        assert relay("serve", "--config", to / "relay.toml").code == 2
        assert restore(copy, to).code == 2, "nor is it taken for an empty folder"
    assert ends == {True, False}


def test_settings_of_an_installed_relay_fit_their_new_folder(copy: Path) -> None:
    campaign = copy.parent / "demo"
    text = (campaign / "relay.toml").read_text()
    (campaign / "elsewhere").mkdir(mode=0o700)
    for name in ("queue.sqlite", "service.key"):
        (campaign / name).rename(campaign / "elsewhere" / name)
    places = f'database = "{campaign}/elsewhere/queue.sqlite"\n'
    places += f'service_key = "{campaign}/elsewhere/service.key"\n'
    (campaign / "relay.toml").write_text(places + text)
    copy.unlink()
    assert back_up(campaign, copy).code == 0
    shutil.rmtree(campaign)
    again = copy.parent / "again"
    assert restore(copy, again).code == 0
    assert (again / "relay.toml.before").read_text() == places + text
    running = Service(again, free_port())
    running.start()
    assert running.stop() == 0
    # As docs/operator.md says: its parts in their old places.
    (campaign / "elsewhere").mkdir(parents=True, mode=0o700)
    for name in ("queue.sqlite", "service.key"):
        (again / name).rename(campaign / "elsewhere" / name)
    for name in ("recipients.txt", "staff.txt", "campaign.toml"):
        (again / name).rename(campaign / name)
    (again / "relay.toml.before").rename(campaign / "relay.toml")
    running = Service(campaign, free_port())
    running.start()
    assert TOLD in running.post_receipt("receipt", UNKNOWN).text
    assert running.stop() == 0


# -- what goes wrong while it is made ------------------------------------------------------------


def test_a_disk_that_is_full_or_read_only_leaves_no_half_of_a_backup(copy: Path) -> None:
    disk = copy.parent / "disk"
    disk.mkdir()
    config = copy.parent / "demo/relay.toml"
    command = [RELAY, "backup", "--config", str(config), "--recipients"]
    command += [str(copy.parent / "operator.txt"), "--to", str(disk / "copy.age")]
    for options, word in (("size=4m", "No space left"), ("ro", "Read-only")):
        script = f'mount -t tmpfs -o {options} none "$0" && {{ "$@"; echo $?; ls -A "$0"; }}'
        done = subprocess.run(
            [*ALONE, script, str(disk), *command], capture_output=True, text=True, check=False
        )
        assert done.stdout == "1\n", "failed, and nothing is there"
        assert word in done.stderr
    missing = back_up(config.parent, copy.parent / "none/copy.age")
    assert missing.code == 1
    assert "No such file" in missing.err


def test_of_two_at_once_one_is_made_and_none_is_overwritten(copy: Path) -> None:
    before = copy.read_bytes()
    config, recipients = copy.parent / "demo/relay.toml", copy.parent / "operator.txt"
    refused = back_up(config.parent, copy)
    assert refused.code == 2
    assert "never overwritten" in refused.err
    command = [RELAY, "backup", "--config", config, "--recipients", recipients, "--to"]
    both = [subprocess.Popen([*command, copy.parent / "two.age"], stderr=-3) for _ in range(2)]
    assert sorted(one.wait() for one in both) == [0, 2]
    open_it(copy.parent / "two.age")
    assert copy.read_bytes() == before
    assert not list(copy.parent.glob(".*.part"))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (OPERATOR.encode_secret(), "this is a SECRET key"),
        ("age1fakefakefake", "line 1"),
        ("", "there is no recipient in it"),
    ],
    ids=["secret", "broken", "none"],
)
def test_a_recipient_that_can_not_be_sealed_to_is_refused(
    copy: Path, line: str, words: str
) -> None:
    (copy.parent / "operator.txt").write_text(line + "\n")
    refused = back_up(copy.parent / "demo", copy.parent / "new.age")
    assert refused.code == 2
    assert words in refused.err
    assert line[:30] not in refused.err or not line
    assert not (copy.parent / "new.age").exists()
