"""The staff's commands against the real relay, as typed by a person."""

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from relay.cli.campaign import write_desk
from relay.desk.journal import JournalFile
from relay.desk.opening import open_all
from relay.errors import NothingThere
from relay.queue.states import Reason
from relay.seal import age
from relay.seal.envelope import pack, unpack
from relay.seal.files import load_identities
from relay.seal.lists import load_recipients, load_staff
from relay.seal.signing import SigningIdentity
from tests import photos
from tests.conftest import RELAY, Answer, Result, Service, Starter, free_port, relay, wait_until
from tests.judge import judge


class Sleeper(Service):
    """A relay that starts when it is first asked for something. Opening asks it for nothing."""

    def wake(self) -> None:
        if self.process is None:
            self.start()

    def request(self, *arguments: Any, **options: Any) -> Answer:
        self.wake()
        return super().request(*arguments, **options)

    def desk(self, *arguments: str | Path, config: Path | None = None) -> Result:
        if arguments[0] != "open":
            self.wake()
        return super().desk(*arguments, config=config)

    def kill(self) -> None:
        if self.process is not None:
            super().kill()


Settle = Callable[[Path], Sleeper]


def settled(left: Path, folder: Path) -> Sleeper:
    """A relay and its desk, asleep in `folder`, with all that those of before have left."""
    for name in ("demo", "sealed"):
        shutil.copytree(left / name, folder / name)
    service = Sleeper(folder / "demo", free_port())
    write_desk(service.folder, f"127.0.0.1:{service.port}")
    journal = service.folder / "desk-journal.json"
    journal.write_text(journal.read_text().replace(str(left), str(folder)))
    return service


@pytest.fixture(scope="module")
def left_pulled(campaign_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is left by a relay that was stopped, and by a desk that pulled three submissions."""
    folder = tmp_path_factory.mktemp("pulled")
    service = Service(Path(shutil.copytree(campaign_template, folder / "demo")), free_port())
    service.start()
    try:
        for number in range(3):
            service.send(photos.dirty_jpeg(photos.picture(seed=number)), message=f"n{number}")
        assert service.desk("pull", "--to", "sealed").code == 0
        assert service.stop() == 0
    finally:
        service.kill()
    return folder


@pytest.fixture(scope="module")
def left_released(left_pulled: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """The same after a release; under True, the desk has verified the log since."""
    left = {False: left_pulled}
    for looked, words in (
        (False, ["release", ids_in(left_pulled)[0]]),
        (True, ["log", "--verify"]),
    ):
        folder = tmp_path_factory.mktemp("released")
        service = settled(left[False], folder)
        try:
            assert service.desk(*words).code == 0
            assert service.stop() == 0
        finally:
            service.kill()
        left[looked] = folder
    return left


def ids_in(folder: Path) -> list[str]:
    return sorted(path.stem for path in (folder / "sealed").glob("*.age"))


@pytest.fixture
def settle(tmp_path: Path) -> Iterator[Settle]:
    """Begin where others have left off: a copy for each test."""
    with ExitStack() as stack:

        def begin(left: Path) -> Sleeper:
            service = settled(left, tmp_path)
            stack.callback(service.kill)
            return service

        yield begin


@pytest.fixture
def pulled(left_pulled: Path, settle: Settle) -> tuple[Service, list[str]]:
    """A relay with three submissions, pulled into sealed/."""
    service = settle(left_pulled)
    return service, ids_in(home(service))


def home(service: Service) -> Path:
    return service.folder.parent


def second_desk(service: Service, name: str) -> Path:
    """A colleague with keys of her own, known to the relay after a restart."""
    folder = home(service) / name
    folder.mkdir()
    (folder / "passphrase").write_text("four words of hers\n")
    made = relay("keys", "generate", folder, "--passphrase-file", folder / "passphrase", "--json")
    assert made.code == 0, made.err
    for file, key in (
        ("recipients.txt", made.json["recipients"][0]),
        ("staff.txt", f"{made.json['signer']} pull release administer"),
    ):  # type: ignore[index]
        with (service.folder / file).open("a") as keys:
            keys.write(f"{key}\n")
    desk = (service.folder / "desk.toml").read_text()
    (folder / "desk.toml").write_text(desk)
    service.kill()
    service.start()
    return folder / "desk.toml"


# -- pull -----------------------------------------------------------------------------------------


def test_pull_writes_one_sealed_file_for_each_and_then_says_nothing_new(
    pulled: tuple[Service, list[str]],
) -> None:
    service, ids = pulled
    files = sorted((home(service) / "sealed").iterdir())
    assert [file.name for file in files] == [*(f"{name}.age" for name in ids), "manifest.json"]
    assert (home(service) / "sealed").stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    again = service.desk("pull", "--to", "sealed")
    assert (again.code, again.out) == (10, "")
    assert "No new submission" in again.err


def test_a_pull_that_was_cut_short_is_repeated_by_calling_it_again(
    pulled: tuple[Service, list[str]],
) -> None:
    service, ids = pulled
    sealed = home(service) / "sealed"
    whole = (sealed / f"{ids[1]}.age").read_bytes()
    (sealed / f"{ids[0]}.age").unlink()
    (sealed / f"{ids[1]}.age").write_bytes(whole[:1000])
    again = service.desk("pull", "--to", "sealed", "--json")
    assert again.code == 0
    assert sorted(again.json["fetched"]) == ids[:2]  # type: ignore[call-overload]
    assert (sealed / f"{ids[1]}.age").read_bytes() == whole


def test_past_days_only_unless_configured(start_service: Starter, dirty: bytes) -> None:
    service = start_service(same_day_pull="false")
    service.send(dirty)
    assert service.desk("pull", "--to", "sealed").code == 10


def test_what_was_taken_back_is_destroyed_at_the_desk_too(service: Service, dirty: bytes) -> None:
    receipt = service.send(dirty).receipt
    service.desk("pull", "--to", "sealed")
    service.desk("open", "sealed", "--to", "opened")
    (folder,) = (home(service) / "opened").iterdir()
    service.post_receipt("withdraw", receipt)
    pull = service.desk("pull", "--to", "sealed")
    assert folder.name in pull.err
    assert "destroyed" in pull.err
    assert not folder.exists()
    assert [file.name for file in (home(service) / "sealed").iterdir()] == ["manifest.json"]
    late = service.desk("release", folder.name)
    assert late.code == 10


def test_a_released_verdict_after_withdrawal_is_refused(
    pulled: tuple[Service, list[str]], dirty: bytes
) -> None:
    service, _ = pulled
    receipt = service.send(dirty, message="late").receipt
    (new,) = service.desk("pull", "--to", "sealed", "--json").json["fetched"]  # type: ignore[misc]
    service.post_receipt("withdraw", receipt)
    release = service.desk("release", new)
    assert release.code == 10
    assert "taken it back" in release.err


# -- open -----------------------------------------------------------------------------------------


def test_open_writes_a_clean_photo_and_its_json_and_nothing_else(
    pulled: tuple[Service, list[str]],
) -> None:
    service, ids = pulled
    opened = service.desk("open", "sealed", "--to", "opened")
    assert opened.code == 0
    folders = sorted((home(service) / "opened").iterdir())
    assert [folder.name for folder in folders] == ids
    for folder in folders:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert sorted(file.name for file in folder.iterdir()) == ["photo.jpg", "submission.json"]
        judge(folder / "photo.jpg")
    texts = [json.loads((folder / "submission.json").read_text())["message"] for folder in folders]
    assert sorted(texts) == ["n0", "n1", "n2"]


def test_open_works_without_a_network(pulled: tuple[Service, list[str]]) -> None:
    """The relay is gone, and no socket but the local ones to the box is even asked for."""
    service, ids = pulled
    service.kill()
    trace = home(service) / "trace"
    command = ["strace", "-f", "-e", "trace=socket,connect", "-o", str(trace), RELAY, "desk"]
    done = subprocess.run(
        [*command, "--config", "demo/desk.toml", "open", "sealed", "--to", "opened"],
        cwd=home(service),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(ids)
    assert "exited with 0" in trace.read_text()
    assert "AF_INET" not in trace.read_text()


def test_open_again_elsewhere_works_and_in_place_changes_nothing(
    pulled: tuple[Service, list[str]],
) -> None:
    service, ids = pulled
    service.desk("open", "sealed", "--to", "opened")
    photo = home(service) / "opened" / ids[0] / "photo.jpg"
    photo.write_bytes(b"edited by hand")
    for spelling in ("opened", "demo/../opened", str(home(service) / "opened")):
        again = service.desk("open", "sealed", "--to", spelling)
        assert again.code == 0
        assert "left as it is" in again.err
    assert photo.read_bytes() == b"edited by hand"
    assert service.desk("open", "sealed", "--to", "elsewhere").code == 0


def test_a_wrong_identity_is_exit_12_and_leaves_no_file(pulled: tuple[Service, list[str]]) -> None:
    service, ids = pulled
    folder = home(service) / "stranger"
    folder.mkdir()
    (folder / "passphrase").write_text("p\n")
    relay("keys", "generate", folder, "--passphrase-file", folder / "passphrase")
    shutil.copy(service.folder / "desk.toml", folder)
    (home(service) / "sealed" / "manifest.json").unlink()  # it would refuse us before
    opened = service.desk("open", "sealed", "--to", "opened", config=folder / "desk.toml")
    assert opened.code == 12
    assert all(f"{name}.age: None of your identities opens this" in opened.err for name in ids)
    assert list((home(service) / "opened").iterdir()) == []


def test_a_wrong_passphrase_is_exit_12(pulled: tuple[Service, list[str]]) -> None:
    service, _ = pulled
    (service.folder / "passphrase").write_text("wrong\n")
    opened = service.desk("open", "sealed", "--to", "opened")
    assert opened.code == 12
    assert "passphrase" in opened.err


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw[:-1],
        lambda raw: raw + b"x",
        lambda raw: raw[:300_000] + bytes([raw[300_000] ^ 1]) + raw[300_001:],
        lambda _: b"age-encryption.org/v1\n-> X25519 a\n",
        lambda _: b"hello\n",
    ],
)
def test_a_damaged_envelope_is_exit_13_named_and_leaves_no_file(
    pulled: tuple[Service, list[str]],
    damage,  # noqa: ANN001
) -> None:
    service, ids = pulled
    sealed = home(service) / "sealed"
    for name in (*(f"{name}.age" for name in ids[1:]), "manifest.json"):
        (sealed / name).unlink()
    path = sealed / f"{ids[0]}.age"
    path.write_bytes(damage(path.read_bytes()))
    opened = service.desk("open", "sealed", "--to", "opened")
    assert opened.code == 13
    assert f"{ids[0]}.age: " in opened.err
    assert opened.out == ""
    assert list((home(service) / "opened").iterdir()) == []


def test_a_full_disk_leaves_no_file_of_an_open(pulled: tuple[Service, list[str]]) -> None:
    service, ids = pulled
    command = ["prlimit", "--fsize=4000", RELAY, "desk", "--config", "demo/desk.toml", "open"]
    done = subprocess.run(
        [*command, "sealed", "--to", "opened"],
        cwd=home(service),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert all(f"{name}.age: " in done.stderr for name in ids)
    assert "too large" in done.stderr
    assert list((home(service) / "opened").iterdir()) == []


def test_of_several_the_good_ones_are_opened_and_the_code_is_3(
    pulled: tuple[Service, list[str]],
) -> None:
    service, ids = pulled
    path = home(service) / "sealed" / f"{ids[1]}.age"
    path.write_bytes(path.read_bytes()[:-1])
    opened = service.desk("open", "sealed", "--to", "opened")
    assert opened.code == 3
    assert sorted(p.name for p in (home(service) / "opened").iterdir()) == [ids[0], ids[2]]
    assert "1 of 3 could not be opened" in opened.err


def test_nothing_to_open_is_exit_10(service: Service) -> None:
    (home(service) / "empty").mkdir()
    assert service.desk("open", "empty", "--to", "opened").code == 10
    assert service.desk("open", "nowhere", "--to", "opened").code == 10


def test_a_place_that_others_can_read_is_exit_14(pulled: tuple[Service, list[str]]) -> None:
    service, _ = pulled
    place = home(service) / "public"
    place.mkdir()
    place.chmod(0o755)
    assert service.desk("open", "sealed", "--to", "public").code == 14
    assert list(place.iterdir()) == []
    assert service.desk("open", "sealed", "--to", "public", "--force").code == 0


def test_the_name_of_an_envelope_never_becomes_a_path(pulled: tuple[Service, list[str]]) -> None:
    service, ids = pulled
    (home(service) / "sealed" / "manifest.json").unlink()
    odd = home(service) / "sealed" / "x\x1b[31m\N{RIGHT-TO-LEFT OVERRIDE}evil.age"
    shutil.copy(home(service) / "sealed" / f"{ids[0]}.age", odd)
    opened = service.desk("open", "sealed", "--to", "opened")
    assert opened.code == 0
    assert "\x1b" not in opened.out + opened.err
    for folder in (home(service) / "opened").iterdir():
        assert set(folder.name) <= set("0123456789abcdef")
    odd.write_bytes(b"broken")
    failed = service.desk("open", "sealed", "--to", "elsewhere")
    assert failed.code == 3
    assert "\x1b" not in failed.err
    assert "\\u202e" in failed.err


# -- release, return ------------------------------------------------------------------------------


def test_release_and_return_are_said_once_and_then_already(
    pulled: tuple[Service, list[str]],
) -> None:
    service, ids = pulled
    assert service.desk("release", *ids[:2]).out == f"{ids[0]}: released\n{ids[1]}: released\n"
    assert service.desk("release", ids[0]).out == f"{ids[0]}: already released\n"
    assert service.desk("release", ids[0]).code == 0
    assert service.desk("return", ids[2], "--reason", "other").out == f"{ids[2]}: returned\n"
    assert service.desk("return", ids[2], "--reason", "other").code == 0
    assert service.desk("release", ids[2]).code == 10
    assert service.desk("return", ids[0], "--reason", "other").code == 10


def test_of_what_is_returned_no_copy_stays(pulled: tuple[Service, list[str]]) -> None:
    service, ids = pulled
    service.desk("open", "sealed", "--to", "opened")
    service.desk("review", "sealed", "--to", "sheet")
    shutil.copytree(home(service) / "sealed", home(service) / "old-stick")
    returned = service.desk("return", ids[0], "--reason", "face-visible")
    assert returned.code == 0
    assert returned.err == "    Your copies are destroyed.\n"
    left = [*(home(service) / "sealed").iterdir(), *(home(service) / "opened").iterdir()]
    assert not [path for path in left if ids[0] in path.name]
    assert not list((home(service) / "sheet").iterdir())
    again = service.desk("return", ids[0], "--reason", "face-visible")
    assert (again.code, again.out) == (0, f"{ids[0]}: already returned\n")
    opened = service.desk("open", "old-stick", "--to", "opened")
    assert opened.code == 3
    assert f"{ids[0]}.age: You have returned it: not opened." in opened.err
    assert service.desk("pull", "--to", "sealed").code == 10
    assert service.desk("open", "sealed", "--to", "opened").code == 0


def test_a_dry_run_decides_nothing(pulled: tuple[Service, list[str]]) -> None:
    service, ids = pulled
    dry = service.desk("return", ids[0], "--reason", "other", "--dry-run")
    assert (dry.code, dry.out) == (0, f"{ids[0]}: would be returned\n")
    assert service.desk("release", ids[0]).out == f"{ids[0]}: released\n"


def test_an_unknown_id_is_exit_10_and_of_several_3(pulled: tuple[Service, list[str]]) -> None:
    service, ids = pulled
    assert service.desk("release", "00" * 16).code == 10
    assert service.desk("release", "../../etc/passwd\x1b").code == 10
    mixed = service.desk("release", ids[0], "00" * 16)
    assert mixed.code == 3
    assert "released" in mixed.out


def test_a_reason_is_one_of_the_list(pulled: tuple[Service, list[str]]) -> None:
    service, ids = pulled
    assert service.desk("return", ids[0]).code == 2
    assert service.desk("return", ids[0], "--reason", "ugly").code == 2
    for reason, name in zip(list(Reason)[:3], ids, strict=True):
        assert service.desk("return", name, "--reason", reason).code == 0


def test_a_colleague_can_not_decide_what_is_leased_to_another(
    pulled: tuple[Service, list[str]],
) -> None:
    service, ids = pulled
    berta = second_desk(service, "berta")
    assert service.desk("pull", "--to", "hers", config=berta).code == 10
    journal = json.loads((service.folder / "desk-journal.json").read_text())
    (berta.parent / "desk-journal.json").write_text(json.dumps(journal))
    locked = service.desk("release", ids[0], config=berta)
    assert locked.code == 11
    assert "colleague" in locked.err
    assert service.desk("release", ids[0]).code == 0


def test_what_a_lost_laptop_had_leased_is_freed_for_the_others(
    pulled: tuple[Service, list[str]],
) -> None:
    service, ids = pulled
    berta = second_desk(service, "berta")
    lost, hers = load_staff(service.folder / "staff.txt")
    assert service.desk("free", "relaysigner1x", config=berta).code == 2
    assert service.desk("free", hers, config=berta).code == 10
    dry = service.desk("free", lost, "--dry-run", config=berta)
    assert (dry.code, dry.out) == (0, "")
    assert service.desk("pull", "--to", "hers", config=berta).code == 10
    freed = service.desk("free", lost, "--json", config=berta)
    assert freed.json == {"freed": ids, "dry_run": False}
    assert service.desk("pull", "--to", "hers", config=berta).code == 0
    assert service.desk("release", ids[0]).code == 11
    assert service.desk("release", ids[0], config=berta).code == 0


def test_a_secret_key_in_place_of_a_signer_is_not_said_again(service: Service) -> None:
    secret = SigningIdentity.generate().encode_secret()
    refused = service.desk("free", secret)
    assert refused.code == 2
    assert secret not in refused.out + refused.err


def test_each_colleague_opens_what_was_sealed_after_she_came(
    pulled: tuple[Service, list[str]], dirty: bytes
) -> None:
    service, _ = pulled
    berta = second_desk(service, "berta")
    service.send(dirty, message="for both")
    assert service.desk("pull", "--to", "hers", config=berta).code == 0
    assert service.desk("open", "hers", "--to", "opened-by-her", config=berta).code == 0
    assert service.desk("open", "hers", "--to", "opened-by-me").code == 13, "who is Berta?"
    with (service.folder / "desk.toml").open("a") as desk:
        desk.write('staff = "staff.txt"\n')
    assert service.desk("open", "hers", "--to", "opened-by-me").code == 0


def test_an_unknown_colleague_is_refused_without_a_word_why(service: Service, dirty: bytes) -> None:
    service.send(dirty)
    folder = home(service) / "stranger"
    folder.mkdir()
    (folder / "passphrase").write_text("p\n")
    relay("keys", "generate", folder, "--passphrase-file", folder / "passphrase")
    shutil.copy(service.folder / "desk.toml", folder)
    for command in (("pull", "--to", "x"), ("log",)):
        refused = service.desk(*command, config=folder / "desk.toml")
        assert refused.code == 1
        assert "The relay refused" in refused.err
    assert not (home(service) / "x").exists()


def test_a_relay_that_is_not_there_is_said(service: Service) -> None:
    service.kill()
    gone = service.desk("pull", "--to", "sealed")
    assert gone.code == 1
    assert "did not answer" in gone.err
    assert "Traceback" not in gone.err


# -- log ------------------------------------------------------------------------------------------


def test_the_log_shows_who_did_what_and_verifies(pulled: tuple[Service, list[str]]) -> None:
    service, ids = pulled
    service.desk("release", ids[0])
    first = service.desk("log", "--verify")
    assert first.code == 0
    assert "whole up to entry 4" in first.err
    assert f"released {ids[0]} by you" in first.out
    second = service.desk("log", "--verify")
    assert (second.code, second.out) == (0, "")
    assert "0 new" in second.err
    assert len(service.desk("log", "--json").json["entries"]) == 4  # type: ignore[arg-type]


def tamper(service: Service, statement: str) -> None:
    service.kill()
    database = sqlite3.connect(service.folder / "queue.sqlite")
    database.execute(statement)
    database.commit()
    database.close()
    service.start()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM log WHERE seq = 2",
        "DELETE FROM log WHERE seq = (SELECT max(seq) FROM log)",
        "DELETE FROM log",
        "UPDATE log SET action = 'returned' WHERE action = 'released'",
        "UPDATE log SET signer = NULL WHERE seq = 1",
        "UPDATE log SET statement = replace(statement, 'release', 'return') WHERE seq = 4",
        "UPDATE log SET seq = seq + 10 WHERE seq = 4",
        "UPDATE log SET day = '2020-01-01' WHERE seq = 3",
    ],
)
@pytest.mark.parametrize("looked_before", [True, False])
def test_a_tampered_log_is_found(
    left_released: dict[bool, Path], settle: Settle, statement: str, *, looked_before: bool
) -> None:
    service = settle(left_released[looked_before])
    tamper(service, statement)
    verified = service.desk("log", "--verify")
    assert verified.code == 13, verified.err
    assert "log" in verified.err


@pytest.mark.one_file
def test_a_queue_rolled_back_to_an_older_copy_is_found(pulled: tuple[Service, list[str]]) -> None:
    service, ids = pulled
    service.desk("log", "--verify")
    service.stop()
    older = (service.folder / "queue.sqlite").read_bytes()
    service.start()
    service.desk("release", ids[0])
    service.desk("log", "--verify")
    service.stop()
    (service.folder / "queue.sqlite").write_bytes(older)
    service.start()
    verified = service.desk("log", "--verify")
    assert verified.code == 13
    assert "rolled back" in verified.err


def test_a_damaged_journal_is_not_guessed_at(pulled: tuple[Service, list[str]]) -> None:
    service, ids = pulled
    (service.folder / "desk-journal.json").write_text('{"envelopes": ')
    broken = service.desk("release", ids[0])
    assert broken.code == 13
    assert "desk-journal.json" in broken.err


# -- broken off, hostile, exchanged ----------------------------------------------------------------


def test_a_swapped_file_is_not_opened_under_anothers_name(
    pulled: tuple[Service, list[str]],
) -> None:
    service, ids = pulled
    sealed = home(service) / "sealed"
    shutil.copy(sealed / f"{ids[0]}.age", sealed / f"{ids[1]}.age")
    opened = service.desk("open", "sealed", "--to", "opened")
    assert opened.code == 3
    assert f"{ids[1]}.age: Swapped: it has the bytes of {ids[0]}" in opened.err
    (sealed / "manifest.json").unlink()
    opened = service.desk("open", "sealed", "--to", "opened")
    assert opened.code == 3
    assert f"{ids[1]}.age: Not the envelope that the relay announced" in opened.err
    assert sorted(p.name for p in (home(service) / "opened").iterdir()) == [ids[0], ids[2]]


def test_a_renamed_envelope_is_known_by_its_content(service: Service, dirty: bytes) -> None:
    receipt = service.send(dirty).receipt
    (name,) = service.desk("pull", "--to", "sealed", "--json").json["fetched"]  # type: ignore[misc]
    (home(service) / "sealed" / f"{name}.age").rename(home(service) / "renamed.age")
    assert service.desk("open", "renamed.age", "--to", "opened").code == 0
    assert [folder.name for folder in (home(service) / "opened").iterdir()] == [name]
    service.post_receipt("withdraw", receipt)
    service.desk("pull", "--to", "sealed")
    assert not list((home(service) / "opened").iterdir())


def test_an_envelope_from_elsewhere_is_opened_with_a_warning(
    pulled: tuple[Service, list[str]],
) -> None:
    service, ids = pulled
    assert "nothing shows" not in service.desk("open", "sealed", "--to", "opened").err
    (service.folder / "desk-journal.json").unlink()
    (home(service) / "sealed" / "manifest.json").unlink()
    warned = service.desk("open", "sealed", "--to", "elsewhere")
    assert warned.code == 0
    assert f"{len(ids)} not pulled by this desk" in warned.err


def test_a_folder_in_the_way_is_not_taken_for_an_opened_one(
    pulled: tuple[Service, list[str]],
) -> None:
    service, ids = pulled
    to = home(service) / "opened"
    to.mkdir(mode=0o700)
    (to / ids[0]).mkdir()
    (to / ids[1]).symlink_to(home(service))
    opened = service.desk("open", "sealed", "--to", "opened")
    assert opened.code == 3
    assert opened.err.count("is in the way") == 2
    assert not list((to / ids[0]).iterdir())


def test_an_open_that_is_killed_has_recorded_every_copy_it_made(service: Service) -> None:
    for number in range(12):
        service.send(photos.dirty_jpeg(photos.picture(seed=number)))
    service.desk("pull", "--to", "sealed")
    to = home(service) / "opened"
    command = [RELAY, "desk", "--config", "demo/desk.toml", "open", "sealed", "--to", "opened"]
    process = subprocess.Popen(command, cwd=home(service), stdout=subprocess.DEVNULL)
    wait_until(lambda: to.is_dir() and len(list(to.glob("[0-9a-f]*"))) >= 2)
    process.kill()
    process.wait()
    (to / f".{'0' * 32}.part").mkdir()
    (to / f".{'0' * 32}.part" / ".photo.jpg.part").write_bytes(b"left in clear")
    journal = json.loads((service.folder / "desk-journal.json").read_text())
    recorded = {folder for folders in journal["opened"].values() for folder in folders}
    assert {str(folder) for folder in to.glob("[0-9a-f]*")} <= recorded
    assert service.desk("open", "sealed", "--to", "opened").code == 0
    assert len(list(to.iterdir())) == 12, "and what was left half done is gone"


async def test_what_is_taken_back_while_it_is_being_opened_is_not_written(
    pulled: tuple[Service, list[str]],
) -> None:
    """As where a pull comes between the check of the stock and the writing."""
    service, ids = pulled
    journal_file = JournalFile(service.folder)
    with journal_file.update() as journal:
        journal.lose(ids[:1])
    envelopes = [home(service) / "sealed" / f"{name}.age" for name in ids]
    passphrase = (service.folder / "passphrase").read_text().strip()
    identities = load_identities(service.folder / "identity.age", passphrase)
    to = home(service) / "opened"
    to.mkdir()
    outcomes = [one async for one in open_all(envelopes, identities, to, journal_file)]
    assert [type(outcome.error) for outcome in outcomes] == [NothingThere, type(None), type(None)]
    assert sorted(folder.name for folder in to.iterdir()) == ids[1:]
    assert ids[0] not in journal_file.read().opened


def test_commands_at_the_same_time_do_not_lose_what_the_other_remembers(
    pulled: tuple[Service, list[str]],
) -> None:
    service, ids = pulled
    service.get("/")
    base = [RELAY, "desk", "--config", "demo/desk.toml"]
    commands = [["release", ids[0]], ["release", ids[1]], ["open", "sealed", "--to", "opened"]]
    running = [
        subprocess.Popen([*base, *words], cwd=home(service), stdout=subprocess.DEVNULL)
        for words in commands
    ]
    assert [process.wait() for process in running] == [0, 0, 0]
    journal = json.loads((service.folder / "desk-journal.json").read_text())
    assert set(journal["verdicts"]["confirmed"]) == set(ids[:2])
    assert set(journal["opened"]) == set(ids)


def hostile(service: Service, change: dict[str, object]) -> bytes:
    """An envelope sealed to the real recipients by somebody who wishes them ill."""
    (entry,) = load_recipients(service.folder / "recipients.txt").entries
    fields = {
        "version": 1, "kind": "photo", "campaign": "demo", "language": "en", "message": "",
        "may_quote": False, "poster": None, "may_post": True, "not_before": None, "covers": 0,
        "visible": [], "scrub": {},
    }  # fmt: skip
    text = json.dumps(fields | change).replace('"DEEP"', "[" * 900 + "]" * 900)
    photo = photos.encode(photos.picture(), quality=85, subsampling="4:2:0")
    return age.seal(pack(text.encode(), photo, 512 * 1024), [entry.recipient])


def test_a_hostile_envelope_costs_itself_and_no_other(pulled: tuple[Service, list[str]]) -> None:
    service, ids = pulled
    sealed = home(service) / "sealed"
    (sealed / "manifest.json").unlink()
    bad = {
        "nan": {"scrub": {"x": float("nan")}},
        "deep": {"scrub": {"x": "DEEP"}},
        "huge": {"scrub": {"x": "y" * 9000}},
        "infinite": {"covers": float("inf")},
    }
    for name, change in bad.items():
        (sealed / f"{name}.age").write_bytes(hostile(service, change))
    (sealed / "endless.age").symlink_to("/dev/zero")
    (sealed / "folder.age").mkdir()
    os.mkfifo(sealed / "pipe.age")
    odd = hostile(service, {"message": "\ud800\x9b31m\N{RIGHT-TO-LEFT OVERRIDE}"})
    (sealed / "odd.age").write_bytes(odd)
    opened = service.desk("open", "sealed", "--to", "opened")
    assert opened.code == 3
    assert "Traceback" not in opened.err
    assert len(opened.out.splitlines()) == len(ids) + 1
    for name in (*bad, "endless", "folder", "pipe"):
        assert f"{name}.age: " in opened.err
    for path in (home(service) / "opened").glob("*/submission.json"):
        assert path.read_text().isprintable(), "safe to show at a terminal"


def test_a_photo_that_the_relay_had_not_cleaned_is_an_alarm_and_comes_out_clean(
    pulled: tuple[Service, list[str]],
) -> None:
    service, _ = pulled
    (entry,) = load_recipients(service.folder / "recipients.txt").entries
    submission = next((home(service) / "sealed").glob("*.age"))
    passphrase = (service.folder / "passphrase").read_text().strip()
    identities = load_identities(service.folder / "identity.age", passphrase)
    plain, _ = unpack(age.unseal(submission.read_bytes(), identities))
    dirty = age.seal(pack(plain, photos.dirty_jpeg(), 512 * 1024), [entry.recipient])
    (home(service) / "dirty").mkdir()
    (home(service) / "dirty" / "dirty.age").write_bytes(dirty)
    opened = service.desk("open", "dirty", "--to", "opened")
    assert opened.code == 0
    assert "ALARM" in opened.err
    judge(next((home(service) / "opened").glob("*/photo.jpg")))
