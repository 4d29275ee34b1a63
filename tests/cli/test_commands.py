"""The operator's commands and the keys, as typed by a person."""

import base64
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from relay.campaign import PublicTexts
from relay.cli.campaign import write_desk
from relay.config import DeskConfig, ServerConfig
from relay.errors import ConfigInvalid
from tests import photos
from tests.conftest import (
    RELAY,
    Service,
    Starter,
    at_terminal,
    free_port,
    relay,
    wait_until,
)


def test_every_command_explains_itself() -> None:
    for command in (
        [], ["init"], ["serve"], ["demo"], ["purge"], ["keys"], ["keys", "generate"],
        ["keys", "show"], ["desk"], ["desk", "pull"], ["desk", "open"], ["desk", "release"],
        ["desk", "return"], ["desk", "send"], ["desk", "kit"], ["poster"],
        ["desk", "add"], ["desk", "free"], ["desk", "log"],
    ):  # fmt: skip
        shown = relay(*command, "--help")
        assert shown.code == 0
        assert shown.out.startswith("usage: relay")


def test_what_is_no_command_is_exit_2_without_a_trace() -> None:
    for command in ([], ["fly"], ["desk"], ["desk", "open"], ["keys", "generate"], ["--json"]):
        refused = relay(*command)
        assert refused.code == 2
        assert "Traceback" not in refused.err


def test_a_reader_that_has_had_enough_is_no_error_to_speak_of(service: Service) -> None:
    service.send(photos.dirty_jpeg())
    service.desk("pull", "--to", "sealed")
    log = f"{RELAY} desk --config {service.folder / 'desk.toml'} log"
    done = subprocess.run(
        ["bash", "-c", f"{log} | true"], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


# -- keys -----------------------------------------------------------------------------------------


def test_keys_are_made_shown_and_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "pass").write_text("four words of hers\n")
    made = relay("keys", "generate", tmp_path / "k", "--passphrase-file", tmp_path / "pass")
    assert made.code == 0
    recipient, signer = made.out.splitlines()
    assert recipient.startswith("age1pq1")
    assert signer.startswith("relaysigner1")
    assert "SECRET" not in made.out + made.err
    folder = tmp_path / "k"
    assert folder.stat().st_mode & 0o777 == 0o700
    for file in folder.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.read_bytes().startswith(b"age-encryption.org/v1\n-> scrypt ")
        assert b" 18\n" in file.read_bytes()[:80], "as costly as the age command's"
    shown = relay("keys", "show", folder, "--passphrase-file", tmp_path / "pass")
    assert shown.out == made.out
    again = relay("keys", "generate", folder, "--passphrase-file", tmp_path / "pass")
    assert again.code == 2
    assert "never overwritten" in again.err
    (tmp_path / "pass").write_text("wrong\n")
    assert relay("keys", "show", folder, "--passphrase-file", tmp_path / "pass").code == 12


def test_no_command_asks_when_there_is_no_terminal(tmp_path: Path) -> None:
    asked = relay("keys", "generate", tmp_path / "k", stdin="secret\nsecret\n")
    assert asked.code == 2
    assert "no terminal" in asked.err
    assert not (tmp_path / "k").exists()


def test_the_passphrase_is_asked_for_at_a_terminal(tmp_path: Path) -> None:
    command = [RELAY, "keys", "generate", "k"]
    twice = [("passphrase:", "four words"), ("again:", "four words")]
    assert at_terminal(command, twice, cwd=tmp_path).code == 0
    (tmp_path / "pass").write_text("four words\n")
    assert relay("keys", "show", tmp_path / "k", "--passphrase-file", tmp_path / "pass").code == 0
    other = [("passphrase:", "four words"), ("again:", "for words")]
    differ = at_terminal([RELAY, "keys", "generate", "other"], other, cwd=tmp_path)
    assert differ.code == 2
    assert "differ" in differ.out
    assert not (tmp_path / "other").exists()


# -- a campaign, set up by hand -------------------------------------------------------------------


def test_init_keys_serve_send_pull_open(tmp_path: Path) -> None:
    """The operator's way, with a desk listener of its own."""
    folder, public, desk_port = tmp_path / "campaign", free_port(), free_port()
    made = relay("init", folder, "--campaign", "spring")
    assert made.code == 0
    assert made.out == f"{folder / 'relay.toml'}\n"
    assert relay("init", folder, "--campaign", "spring").code == 2
    assert (folder / "service.key").stat().st_mode & 0o777 == 0o600

    desk = tmp_path / "desk"
    desk.mkdir()
    (desk / "pass").write_text("four words\n")
    keys = relay("keys", "generate", desk, "--passphrase-file", desk / "pass")
    recipient, signer = keys.out.splitlines()
    for file, key in (("recipients.txt", recipient), ("staff.txt", signer)):
        with (folder / file).open("a") as lines:
            lines.write(key + "\n")
    (desk / "desk.toml").write_text(
        f'relay = "http://127.0.0.1:{desk_port}"\n'
        'signer = "signer.age"\nidentity = "identity.age"\npassphrase_file = "pass"\n'
    )
    config = folder / "relay.toml"
    text = re.sub(r'listen = ".*"', f'listen = "127.0.0.1:{public}"', config.read_text())
    text += f'desk_listen = "127.0.0.1:{desk_port}"\nsame_day_pull = true\n'
    config.write_text(text)

    service = Service(folder, public)
    service.process = subprocess.Popen([RELAY, "serve", "--config", str(config)])
    try:
        wait_until(service.answers)
        receipt = service.send(photos.dirty_jpeg()).receipt
        assert len(receipt) == 24
        assert service.request("POST", "/desk/v1/nonce", b"").status == 404, "not on this listener"
        other = Service(folder, desk_port)
        assert other.get("/en/").status == 404, "and the form not on that one"
        pull = service.desk("pull", "--to", tmp_path / "sealed", config=desk / "desk.toml")
        assert pull.code == 0, pull.err
        opened = service.desk(
            "open", tmp_path / "sealed", "--to", tmp_path / "opened", config=desk / "desk.toml"
        )
        assert opened.code == 0, opened.err
        assert '"campaign":"spring"' in next(tmp_path.glob("opened/*/*.json")).read_text()
    finally:
        assert service.stop() == 0


# -- demo -----------------------------------------------------------------------------------------


def test_a_demo_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    """Killed at any moment while it is being made, it starts the next time."""
    folder = tmp_path / "demo"
    listen = f"127.0.0.1:{free_port()}"
    command = [RELAY, "demo", "--dir", str(folder), "--listen", listen]
    for _ in range(4):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wait_until(lambda: any(tmp_path.iterdir()))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        if folder.exists():
            assert (folder / "relay.toml").is_file()
            shutil.rmtree(folder)
        for draft in tmp_path.iterdir():
            shutil.rmtree(draft)
    service = Service(folder, int(listen.split(":")[1]))
    service.start()
    assert service.stop() == 0


def test_a_demo_serves_within_three_seconds_the_second_time(service: Service) -> None:
    def restart() -> float:
        service.stop()
        started = time.monotonic()
        service.start()
        return time.monotonic() - started

    assert any(restart() < 3 for _ in range(4)), "where nobody else has the processors"


def test_a_demo_moved_to_another_port_takes_its_desk_along(service: Service) -> None:
    service.stop()
    service.port = free_port()
    service.start()
    service.send(photos.dirty_jpeg())
    assert service.desk("pull", "--to", "sealed").code == 0


@pytest.mark.parametrize("left", ["", "relay = ", None])
def test_a_demo_whose_desk_file_was_cut_short_mends_it(service: Service, left: str | None) -> None:
    service.stop()
    path = service.folder / "desk.toml"
    path.unlink()
    if left is not None:
        path.write_text(left)
    service.start()
    service.send(photos.dirty_jpeg())
    assert service.desk("pull", "--to", "sealed").code == 0


def test_a_demo_says_how_to_send_and_how_to_open(service: Service) -> None:
    lines = service.log_file.read_text().splitlines()
    assert 3 <= len(lines) <= 8
    assert any(f"{service.url}/en/" in line for line in lines)
    for word in ("pull --to sealed/", "open sealed/ --to opened/"):
        assert any(word in line for line in lines)


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    refused = relay("demo", "--dir", tmp_path)
    assert refused.code == 2
    assert "not empty" in refused.err
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]
    assert relay("demo", "--dir", tmp_path / "x", "--listen", "nonsense").code == 2
    assert not (tmp_path / "x").exists()


# -- purge ----------------------------------------------------------------------------------------


def test_purge_says_what_it_destroys_and_a_dry_run_destroys_nothing(
    start_service: Starter, campaign: Path
) -> None:
    service = start_service()
    receipt = service.send(photos.dirty_jpeg()).receipt
    service.stop()
    import sqlite3  # noqa: PLC0415 - to make the submission old

    database = sqlite3.connect(campaign / "queue.sqlite")
    database.execute("UPDATE submission SET day = '2020-01-01', changed_day = '2020-01-01'")
    database.commit()
    database.close()
    config = campaign / "relay.toml"
    dry = relay("purge", "--config", config, "--dry-run", "--json")
    assert (dry.code, dry.json["expired"], dry.json["dry_run"]) == (0, 1, True)
    assert relay("purge", "--config", config, "--dry-run").out.startswith("1 envelopes would be")
    done = relay("purge", "--config", config, "--json")
    assert (done.code, done.json["expired"], done.json["dry_run"]) == (0, 1, False)
    assert relay("purge", "--config", config, "--json").json["expired"] == 0
    service.start()
    assert service.post_receipt("receipt", receipt).status == 404


def test_the_service_purges_when_it_starts(start_service: Starter, campaign: Path) -> None:
    service = start_service()
    receipt = service.send(photos.dirty_jpeg()).receipt
    service.stop()
    import sqlite3  # noqa: PLC0415 - to make the submission old

    database = sqlite3.connect(campaign / "queue.sqlite")
    database.execute("UPDATE submission SET day = '2020-01-01'")
    database.execute("DELETE FROM marker WHERE name = 'turned'")
    database.commit()
    database.close()
    service.start()
    wait_until(lambda: service.post_receipt("receipt", receipt).status == 404)


def test_purge_without_a_queue_says_so(campaign: Path) -> None:
    refused = relay("purge", "--config", campaign / "relay.toml")
    assert refused.code == 2
    assert "no queue here yet" in refused.err


# -- configuration --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'campaign' is missing"),
        ("campaign = 'x'\nmax_queud = 5", "unknown setting 'max_queud'"),
        ("campaign = 'x'\nfolder = 'y'", "unknown setting 'folder'"),
        ("campaign = 'x'\nmax_queued = '5'", "max_queued is of the wrong type"),
        ("campaign = 'x'\nmax_queued = true", "max_queued is of the wrong type"),
        ("campaign = 'x'\nmax_queued = 0", "max_queued is at least 1"),
        ("campaign = 'x'\ndemo = 1", "demo is of the wrong type"),
        ("campaign = 'x'\nenvelope_bytes = 1000", "multiple of 512"),
        ("campaign = 'x'\nlisten = 'everywhere'", "an address and a port"),
        ("campaign = 'x'\nretain_days = 1000000", "retain_days is at most 3650"),
        ("campaign = 'x'\ncover_write_s = 90000", "cover_write_s is at most 3600"),
        ("campaign = 'x'\nlisten = '127.0.0.1:0'", "an address and a port"),
        ("campaign = 'x'\nlisten = '127.0.0.1:99999'", "an address and a port"),
        ("campaign = 'a b'", "letters, digits and dashes"),
        ("campaign = ", "relay.toml"),
    ],
)
def test_a_configuration_that_is_not_sound_is_refused_by_name(
    tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "relay.toml"
    path.write_text(text)
    with pytest.raises(ConfigInvalid, match=re.escape(words)):
        ServerConfig.load(path)
    refused = relay("serve", "--config", path)
    assert refused.code == 2
    assert "Traceback" not in refused.err


def test_paths_count_from_the_configurations_own_folder(tmp_path: Path) -> None:
    path = tmp_path / "relay.toml"
    path.write_text("campaign = 'x'\nservice_key = 'keys/s'\nstaff = '/etc/staff'")
    config = ServerConfig.load(path)
    assert config.service_key == tmp_path / "keys/s"
    assert config.database == tmp_path / "queue.sqlite"
    assert config.staff == Path("/etc/staff")


def test_a_desks_configuration_is_checked_too(tmp_path: Path) -> None:
    path = tmp_path / "desk.toml"
    for text in ("", "relay = 'ftp://x'\nsigner = 's'\nidentity = 'i'", "relay = 1"):
        path.write_text(text)
        with pytest.raises(ConfigInvalid):
            DeskConfig.load(path)
        assert relay("desk", "--config", path, "pull", "--to", "x").code == 2
    assert relay("desk", "--config", tmp_path / "none", "pull", "--to", "x").code == 2


def test_keys_onion_writes_what_tor_reads_and_prints_its_public_half(tmp_path: Path) -> None:
    onion = "a" * 55 + "d.onion"
    made = relay("keys", "onion", tmp_path / "keys", "--onion", onion)
    assert made.code == 0, made.err
    path = tmp_path / "keys" / "desk.auth_private"
    assert path.stat().st_mode & 0o777 == 0o600
    address, kind, curve, secret = path.read_text().strip().split(":")
    assert (f"{address}.onion", kind, curve) == (onion, "descriptor", "x25519")
    private = X25519PrivateKey.from_private_bytes(base64.b32decode(secret + "===="))
    public = base64.b32encode(private.public_key().public_bytes_raw()).decode().rstrip("=")
    assert made.out == f"descriptor:x25519:{public}\n"
    assert relay("keys", "onion", tmp_path / "keys", "--onion", onion).code == 2, "never again"
    assert relay("keys", "onion", tmp_path / "b", "--onion", "example.org").code == 2
    assert not (tmp_path / "b").exists()


# -- what the campaign says in public ------------------------------------------------------------


def test_a_demo_has_public_words_for_relay_and_desk(campaign: Path) -> None:
    assert ServerConfig.load(campaign / "relay.toml").campaign_file == campaign / "campaign.toml"
    assert DeskConfig.load(campaign / "desk.toml").campaign_file == campaign / "campaign.toml"


def test_the_example_of_a_new_campaign_can_be_used_once_its_signs_are_taken_out(
    tmp_path: Path,
) -> None:
    assert relay("init", tmp_path / "new", "--campaign", "spring").code == 0
    example = tmp_path / "new/campaign.toml"
    assert PublicTexts.load(example) == PublicTexts(), "nothing of it is shown as it is"
    head, _, rest = example.read_text("utf-8").partition("\n\n")
    assert head.startswith("# ")
    example.write_text(re.sub(r"^# ?", "", rest, flags=re.MULTILINE), "utf-8")
    texts = PublicTexts.load(example)
    assert {*texts.texts("en").poster} == {"general", "write-in"}
    assert texts.event
    config = tmp_path / "new/relay.toml"
    config.write_text(
        config.read_text("utf-8").replace("# campaign_file", "campaign_file"), "utf-8"
    )
    assert ServerConfig.load(config).campaign_file == example


def test_a_demo_of_an_older_release_is_served_again(campaign: Path) -> None:
    (campaign / "campaign.toml").unlink()
    write_desk(campaign, "127.0.0.1:9")
    assert DeskConfig.load(campaign / "desk.toml").campaign_file is None
