"""`relay check`, and what `relay serve` does where something is missing."""

import asyncio
import dataclasses
import datetime as dt
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from relay import memory
from relay.cli import main
from relay.config import ServerConfig
from relay.intake import check as checking
from relay.intake import machine, onion
from relay.intake.certificate import check_certificate
from relay.intake.exposure import check_listeners
from relay.intake.finding import Finding
from relay.intake.machine import check_clock
from relay.intake.places import check_places
from relay.intake.storage import check_room, least_free_bytes
from relay.queue.store import SealedQueue
from relay.scrub.decoders import find_known_bad, find_versions
from relay.seal.keys import ClassicIdentity, HybridIdentity
from relay.seal.lists import load_recipients, parse_recipients
from relay.seal.signing import SigningIdentity
from tests.conftest import (
    RELAY,
    ROOT,
    Result,
    Service,
    Starter,
    configure,
    relay,
    wait_until,
)

NAMES = ["user", "namespaces", "landlock", "seccomp", "memory", "dumps", "swap"]
REST = [
    "clock", "decoders", "permissions", "service key", "staff", "recipients", "queue", "disk room",
    "settings", "listeners", "certificate", "tor", "languages", "posters",
]  # fmt: skip
# Of the machine on which the tests run, no matter of the campaign; and that it is a demo.
APART = {"swap", "clock", "settings", "languages"}
# A machine without user namespaces, on which we are root by name and nothing else.
POOR = ["unshare", "--user", "--map-root-user", "sh", "-c"]
NOBODY = 65534
POOR_COMMAND = """
echo 0 >/proc/sys/user/max_user_namespaces
exec setpriv --bounding-set=-all --inh-caps=-all "$@"
"""


def on_a_poor_machine(*arguments: str | Path) -> Result:
    done = subprocess.run(
        [*POOR, POOR_COMMAND, "sh", RELAY, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def test_on_a_sound_machine_everything_is_found_in_place(campaign: Path) -> None:
    done = relay("check", "--config", campaign / "relay.toml", "--json")
    assert done.code == 0, done.err
    assert done.json["serves"] is True
    findings = {one["name"]: one["state"] for one in done.json["findings"]}
    assert list(findings) == NAMES + REST
    assert {state for name, state in findings.items() if name not in APART} == {"ok"}
    assert done.json["sound"] is True
    assert {tuple(one) for one in done.json["findings"]} == {("name", "state", "words", "blocks")}


def test_a_person_reads_one_line_for_each(campaign: Path) -> None:
    done = relay("check", "--config", campaign / "relay.toml")
    lines = done.out.splitlines()
    assert [line[10:23].strip() for line in lines] == NAMES + REST
    assert max(map(len, lines)) <= 100


def test_what_is_missing_is_refused_by_name_and_accepted_by_name(campaign: Path) -> None:
    config = campaign / "relay.toml"
    configure(campaign, accept_missing=[])
    check = on_a_poor_machine("check", "--config", config)
    assert check.code == 1
    refused = [line for line in check.out.splitlines() if "refused" in line]
    assert [line.split()[1] for line in refused] == ["user", "namespaces"]
    assert "Run the relay as an account of its own" in refused[0]
    assert "sysctl -w user.max_user_namespaces=10000" in refused[1]
    serve = on_a_poor_machine("serve", "--config", config)
    assert serve.code == 2
    assert "user, namespaces" in serve.err
    assert "accept_missing" in serve.err
    configure(campaign, accept_missing=["user", "namespaces"])
    check = on_a_poor_machine("check", "--config", config, "--json")
    assert check.code == 0
    states = {one["name"]: one["state"] for one in check.json["findings"]}
    assert states["user"] == states["namespaces"] == "accepted"


def test_a_service_that_lacks_something_accepted_says_so_and_serves(
    campaign: Path, start_service: Starter, dirty: bytes
) -> None:
    configure(campaign, accept_missing=["user", "namespaces"])
    service = start_service(wrapper=[*POOR, POOR_COMMAND, "sh"])
    assert service.send(dirty).status == 200
    assert "accepted to be missing: user, namespaces" in service.log_file.read_text()


def test_a_desk_opens_without_a_wall_only_where_that_is_accepted(
    campaign: Path, service: Service, dirty: bytes, tmp_path: Path
) -> None:
    assert service.send(dirty).status == 200
    assert service.desk("pull", "--to", tmp_path / "sealed").code == 0
    desk = campaign / "desk.toml"
    accepting = desk.read_text()
    desk.write_text("\n".join(line for line in accepting.splitlines() if "accept" not in line))
    command = ("desk", "--config", desk, "open", tmp_path / "sealed", "--to", tmp_path / "opened")
    refused = on_a_poor_machine(*command)
    assert refused.code == 2
    assert "accept_missing = ['user', 'namespaces']" in refused.err
    assert not list((tmp_path / "opened").iterdir())
    desk.write_text(accepting)
    assert on_a_poor_machine(*command).code == 0


def test_memory_that_is_not_overwritten_is_refused_unless_accepted(campaign: Path) -> None:
    configure(campaign, accept_missing=[])
    code = (
        "import sys; from relay import memory; memory.overwrite_freed = lambda: None; "
        "from relay.cli import main; sys.exit(main())"
    )
    config = str(campaign / "relay.toml")
    for command, said in (("serve", "'memory'"), ("check", "refused   memory")):
        done = subprocess.run(
            [sys.executable, "-c", code, command, "--config", config],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (1, 2)
        assert said in done.stdout + done.stderr


def test_a_box_that_does_not_start_is_refused_with_what_to_try(campaign: Path) -> None:
    code = (
        "import sys; from relay.scrub import supervisor; supervisor._PROGRAM = ('-c', ''); "
        "from relay.cli import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "check", "--config", str(campaign / "relay.toml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "refused   box          The box does not start. See that 2 GiB of memory" in done.stdout


def test_a_name_that_is_none_is_refused(campaign: Path) -> None:
    configure(campaign, accept_missing=["landlok"])
    done = relay("serve", "--config", campaign / "relay.toml")
    assert done.code == 2
    assert "landlok" in done.err
    check = relay("check", "--config", campaign / "relay.toml")
    assert check.code == 1
    assert "landlok" in check.out
    configure(campaign, accept_missing=[1])
    done = relay("serve", "--config", campaign / "relay.toml")
    assert done.code == 2
    assert "list of names" in done.err


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("service.key", None, "Put it back from your backup; without it every receipt is worth"),
        ("service.key", "nonsense", "not a service key file. Put it back from your backup"),
        ("staff.txt", None, "Put it back from your backup, or make an empty one"),
        ("staff.txt", "nonsense\n", "line 1: "),
    ],
)
def test_nothing_is_served_without_a_file_that_is_needed(
    campaign: Path, name: str, content: str | None, words: str
) -> None:
    if content is None:
        (campaign / name).unlink()
    else:
        (campaign / name).write_text(content)
    (wrong,) = (one for one in look(campaign) if one.is_danger)
    assert wrong.blocks
    assert words in wrong.words
    assert words in relay("serve", "--config", campaign / "relay.toml").err


def test_a_file_of_another_account_does_not_hide_what_is_wrong_in_it(campaign: Path) -> None:
    key = campaign / "service.key"
    key.write_text("nonsense")
    os.chown(key, 65533, -1)
    done = relay("check", "--config", campaign / "relay.toml", "--json")
    assert (done.code, done.json["serves"]) == (1, False)
    assert [state for state, _ in said(done)["service key"]] == ["refused", "refused"]


@pytest.mark.parametrize(
    ("text", "state", "words"),
    [
        ("# nobody yet\n", "advice", "Add a line for each colleague"),
        (HybridIdentity.generate().encode_secret(), "refused", "install the machine anew"),
        ("nonsense\n", "refused", "line 1: not a recipient"),
        (ClassicIdentity.generate().recipient().encoded, "refused", "quantum computer"),
        (None, "refused", "or make an empty one"),
    ],
)
def test_a_recipients_file_that_is_not_merely_empty_is_a_danger(
    campaign: Path, text: str | None, state: str, words: str
) -> None:
    path = campaign / "recipients.txt"
    path.unlink()
    if text is not None:
        path.write_text(text)
    (found,) = findings(campaign)["recipients"]
    assert found[0] == state
    assert words in found[1]
    assert "SECRET-KEY" not in found[1], "no key is quoted"


def test_one_recipient_and_no_staff_are_too_few(campaign: Path) -> None:
    configure(campaign, demo="false")
    (campaign / "staff.txt").write_text("")
    found = findings(campaign)
    assert found["recipients"][0][0] == found["staff"][0][0] == "advice"
    assert "a lost laptop would lose every photo" in found["recipients"][0][1]
    assert "nobody can fetch" in found["staff"][0][1]
    with (campaign / "recipients.txt").open("a") as recipients:
        recipients.write(HybridIdentity.generate().recipient().encoded + "\n")
    assert findings(campaign)["recipients"] == [("ok", "can be used")]


def test_a_list_that_nobody_signs_is_a_danger_and_one_that_ends_soon_is_said(
    campaign: Path,
) -> None:
    configure(campaign, demo="false")
    path, today = campaign / "recipients.txt", dt.datetime.now(dt.UTC).date()
    (found,) = findings(campaign)["signature"]
    assert (found[0], "keys/README.md" in found[1]) == ("refused", True)
    keys = [HybridIdentity.generate().recipient().encoded for _ in range(3)]
    signing = SigningIdentity.generate()
    configure(campaign, campaign_signer=f'"{signing.signer().encoded}"')
    ended, soon = today - dt.timedelta(days=1), today + dt.timedelta(days=14)
    for last, state, words in (
        (soon, "ok", f"no longer sealed to: line 3 ended on {ended}"),
        (soon - dt.timedelta(days=1), "advice", f"from {soon} on no recipient is valid"),
    ):
        text = f"{keys[0]} until {ended}\n{keys[1]} until {last}\n{keys[2]} until {last}\n"
        listed = parse_recipients(path, text).signed(signing, campaign="demo", number=1)
        path.write_text(listed.encode())
        found = findings(campaign)
        assert found["recipients"][0][0] == state
        assert words in found["recipients"][0][1]
        assert "signature" not in found
    path.write_text(text)
    assert findings(campaign)["recipients"][0][0] == "refused"
    configure(campaign, campaign_signer='"relaysigner1x"')
    assert findings(campaign)["recipients"][0][0] == "refused"


# -- a campaign that is spoilt ---------------------------------------------------------------------


Found = dict[str, list[tuple[str, str]]]


def look(campaign: Path) -> list[Finding]:
    """What `relay check` finds out about a campaign, apart from the machine: no box is started."""
    path = campaign / "relay.toml"
    return checking.check_campaign(ServerConfig.load(path), path, now=dt.datetime.now(dt.UTC))


def findings(campaign: Path) -> Found:
    """State and words of each finding about a campaign, by name."""
    found: Found = {}
    for one in look(campaign):
        found.setdefault(one.name, []).append((one.state, one.words))
    return found


def said(done: Result) -> Found:
    """The same of every finding that a `relay check --json` has printed."""
    found: Found = {}
    for one in done.json["findings"]:  # type: ignore[attr-defined]
        found.setdefault(one["name"], []).append((one["state"], one["words"]))
    dangers = [one for one in found.values() for state, _ in one if state == "refused"]
    assert done.code == bool(dangers), done.err
    return found


def test_what_is_found_out_about_a_campaign_is_what_a_check_prints(campaign: Path) -> None:
    """So what the tests below look at without a box and a process is what an operator reads."""
    (campaign / "staff.txt").write_text("nonsense\n")
    printed = relay("check", "--config", campaign / "relay.toml", "--json").json["findings"]
    found = [vars(one) for one in look(campaign)]
    assert any(one["blocks"] for one in found)
    places = printed[-len(found) - 2 : -2]  # type: ignore[index] # languages and posters come last
    assert without_room(places) == without_room(found)


def without_room(found: list[dict[str, object]]) -> list[dict[str, object]]:
    """Leave out how much is free on the disk, which changes meanwhile."""
    return [one for one in found if one["name"] != "disk room"]


def test_a_campaign_spoilt_in_every_way_is_told_how_to_mend_each(campaign: Path) -> None:
    """What a line says to run is run; then nothing is left of them."""
    config = campaign / "relay.toml"
    campaign.parent.chmod(0o777)
    make_queue(campaign)
    configure(
        campaign,
        demo="false",
        listen='"0.0.0.0:8080"',
        desk_listen='"[::]:8081"',
        min_free_bytes=10**16,
        onion_listen='"unix:onion.sock"',
        tor_control='"control"',
        tls_certificate='"cert.pem"',
        tls_key='"key.pem"',
    )
    write_certificate(campaign)
    for name, mode in (
        ("relay.toml", 0o666), ("recipients.txt", 0o664), ("staff.txt", 0o622),
        ("service.key", 0o644), ("queue.sqlite", 0o660), ("key.pem", 0o604), ("cert.pem", 0o646),
        (".", 0o757),
    ):  # fmt: skip
        (campaign / name).chmod(mode)
    found = said(relay("check", "--config", config, "--json"))
    for name, file, mend in (
        ("relay.toml", "relay.toml", "chmod go-w"),
        ("recipients", "recipients.txt", "chmod go-w"),
        ("staff", "staff.txt", "chmod go-w"),
        ("service key", "service.key", "chmod 600"),
        ("database", "queue.sqlite", "chmod 600"),
        ("tls key", "key.pem", "chmod go-w,o-rwx"),
        ("certificate", "cert.pem", "chmod go-w"),
        ("folder", "", "chmod go-w,o-rwx"),
        ("folders", "..", "chmod o-w"),
        ("disk room", "", "lower min_free_bytes"),
        ("tor control", "control", "Is tor running"),
        ("listeners", "", "Listen on 127.0.0.1 or unix:"),
    ):
        wrong = [(state, words) for state, words in found[name] if mend in words]
        path = os.path.normpath(campaign / file)
        assert wrong, (name, found[name])
        if name not in {"listeners", "disk room", "tor control"}:
            assert f"{mend} {path}" in wrong[0][1]
            command = wrong[0][1].rpartition("Run: ")[2]
            subprocess.run(["sh", "-c", command], check=True)
        assert wrong[0][0] == ("advice" if name == "tor control" else "refused")
    assert [state for state, _ in found["listeners"]] == ["ok", "ok", "refused"], "form, tor, desk"
    after = said(relay("check", "--config", config, "--json"))
    assert {name for name, each in after.items() for state, _ in each if state == "refused"} == {
        "listeners",
        "disk room",
        "signature",
    }
    signing, recipients = SigningIdentity.generate(), campaign / "recipients.txt"
    listed = load_recipients(recipients).signed(signing, campaign="demo", number=1)
    recipients.write_text(listed.encode())
    settings = {"desk_listen": "127.0.0.1:8081", "campaign_signer": signing.signer().encoded}
    configure(campaign, min_free_bytes=0, **{key: f'"{value}"' for key, value in settings.items()})
    assert relay("check", "--config", config).code == 0


def make_queue(campaign: Path) -> None:
    """Make queue.sqlite as the service does at its first start, and close it."""
    config = ServerConfig.load(campaign / "relay.toml")

    async def make() -> None:
        async with SealedQueue.open(config.database, max_queued=config.max_queued):
            pass

    asyncio.run(make())


def write_certificate(
    folder: Path, *, name: str = "relay.example.org", days: tuple[float, float] = (-1, 90)
) -> None:
    """Write cert.pem and key.pem, valid from and until so many days from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now + dt.timedelta(days=days[0]))
        .not_valid_after(now + dt.timedelta(days=days[1]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    (folder / "key.pem").chmod(0o600)


def with_tls(campaign: Path) -> None:
    configure(campaign, tls_certificate='"cert.pem"', tls_key='"key.pem"', host='"a.example.org"')


@pytest.fixture
def own_authority(campaign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system trusts cert.pem itself, and nothing else."""
    monkeypatch.setenv("SSL_CERT_FILE", str(campaign / "cert.pem"))


@pytest.mark.usefixtures("own_authority")
@pytest.mark.parametrize(
    ("name", "days", "state", "words"),
    [
        ("a.example.org", (-1, 90.5), "ok", "90 days"),
        ("*.example.org", (-1, 90.5), "ok", "90 days"),
        ("a.example.org", (-1, 13.5), "advice", "runs out in 13 days. Renew it"),
        ("a.example.org", (-9, -1.5), "refused", "ran out 2 days ago. Renew it"),
        ("a.example.org", (2, 90), "refused", "not valid yet. Is the clock right?"),
        ("b.example.org", (-1, 90), "refused", "is for b.example.org, not for host"),
        ("*.a.example.org", (-1, 90), "refused", "not for host"),
    ],
)
def test_a_certificate_is_looked_at_as_a_browser_will(
    campaign: Path, name: str, days: tuple[float, float], state: str, words: str
) -> None:
    write_certificate(campaign, name=name, days=days)
    with_tls(campaign)
    config = ServerConfig.load(campaign / "relay.toml")
    found = check_certificate(config, now=dt.datetime.now(dt.UTC))
    assert found.state == state
    assert words in found.words


def test_a_certificate_that_no_authority_vouches_for_is_not_praised(campaign: Path) -> None:
    write_certificate(campaign, name="a.example.org")
    with_tls(campaign)
    config = ServerConfig.load(campaign / "relay.toml")
    found = check_certificate(config, now=dt.datetime.now(dt.UTC))
    assert found.state == "advice"
    assert "a browser would warn of it (self-signed certificate)" in found.words


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every account may enter, unlike those of a test."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_tls_key_that_the_service_can_not_read_is_refused_and_mended_by_a_copy(
    campaign: Path, open_folder: Path
) -> None:
    """As an ACME client leaves it: root's alone; root, who runs the check, can read it."""
    theirs = open_folder / "live"
    theirs.mkdir(mode=0o700)
    write_certificate(theirs, name="a.example.org")
    ours = Path(shutil.copytree(campaign, open_folder / "demo"))
    os.chown(ours, NOBODY, NOBODY)
    settings = {"host": '"a.example.org"', "tls_certificate": f'"{theirs}/cert.pem"'}
    configure(ours, **settings, tls_key=f'"{theirs}/key.pem"')
    for setting in ("tls_certificate", "tls_key"):
        config = ServerConfig.load(ours / "relay.toml")
        found = check_certificate(config, now=dt.datetime.now(dt.UTC))
        assert (found.state, found.blocks) == ("refused", True)
        assert f"can't read it. As root give it a copy, name that in {setting}" in found.words
        command = found.words.rpartition("Run: ")[2]
        assert re.match(r"install -m 6(00|44) -o nobody ", command)
        subprocess.run(["sh", "-c", command], check=True)
        configure(ours, **{setting: f'"{command.split()[-1]}"'})
    config = ServerConfig.load(ours / "relay.toml")
    assert "self-signed" in check_certificate(config, now=dt.datetime.now(dt.UTC)).words
    os.chown(ours / "tls.key", 0, 0)
    found = check_certificate(config, now=dt.datetime.now(dt.UTC))
    assert found.words.endswith(f"Run: chown nobody {ours}/tls.key")


def test_a_certificate_without_its_key_is_refused(campaign: Path) -> None:
    write_certificate(campaign)
    key = (campaign / "key.pem").read_bytes()
    write_certificate(campaign)
    with_tls(campaign)
    config = ServerConfig.load(campaign / "relay.toml")
    now = dt.datetime.now(dt.UTC)
    (campaign / "key.pem").write_bytes(key)
    found = check_certificate(config, now=now)
    assert (found.state, found.blocks) == ("refused", True)
    assert "don't belong together" in found.words
    (campaign / "cert.pem").write_text("nonsense")
    assert check_certificate(config, now=now).state == "refused"


def placed(campaign: Path) -> dict[str, list[str]]:
    """What the check says of places, without the rest of it."""
    path = campaign / "relay.toml"
    found: dict[str, list[str]] = {}
    for one in check_places(ServerConfig.load(path), path):
        found.setdefault(one.name, []).append(f"{one.state}: {one.words}")
    return found


@pytest.mark.parametrize("setting", ["onion_listen", "health_listen", "desk_listen", "tor_control"])
def test_who_can_exchange_a_socket_is_found(campaign: Path, tmp_path: Path, setting: str) -> None:
    place = tmp_path / "run" / "sockets"
    place.mkdir(parents=True)
    path = place / "s"
    configure(campaign, **{setting: f'"{path}"' if setting == "tor_control" else f'"unix:{path}"'})
    assert placed(campaign).keys() == {"permissions"}
    place.chmod(0o777)
    assert placed(campaign)["folders"] == [
        f"refused: {place}: everybody can change it. Run: chmod o-w {place}"
    ]
    place.chmod(0o755)
    os.chown(place, 65533, -1)
    assert "Run: chown root" in placed(campaign)["folders"][0]


def test_tor_may_own_the_folder_of_its_control_socket_and_no_other_above(
    campaign: Path, tmp_path: Path
) -> None:
    place = tmp_path / "run" / "tor"
    place.mkdir(parents=True)
    (place / "control").touch()
    os.chown(place, 65533, -1)
    os.chown(place / "control", 65533, -1)
    configure(campaign, tor_control=f'"{place}/control"')
    assert placed(campaign).keys() == {"permissions"}
    os.chown(place.parent, 65532, -1)
    assert f"{place.parent}: belongs to 65532" in placed(campaign)["folders"][0]


def test_a_group_that_can_exchange_what_lies_below_is_found(campaign: Path) -> None:
    above = campaign.parent
    os.chown(above, -1, 0)
    above.chmod(0o775)
    assert placed(campaign).keys() == {"permissions"}, "root's group is root"
    os.chown(above, -1, 65533)
    assert placed(campaign)["folders"] == [
        f"refused: {above}: the group 65533 can change it. Run: chmod g-w {above}"
    ]
    above.chmod(0o1775)
    assert placed(campaign).keys() == {"permissions"}


def test_where_owners_can_not_be_told_nobody_is_said_to_be_shut_out(campaign: Path) -> None:
    done = on_a_poor_machine("check", "--config", campaign / "relay.toml", "--json")
    (found,) = (one for one in done.json["findings"] if one["name"] == "permissions")  # type: ignore[attr-defined]
    assert found["state"] == "advice"
    assert "in a user namespace" in found["words"]


# -- the queue -------------------------------------------------------------------------------------


def test_the_check_disturbs_neither_a_service_that_runs_nor_a_queue_that_rests(
    campaign: Path, service: Service, dirty: bytes
) -> None:
    receipt = service.send(dirty).receipt
    done = relay("check", "--config", campaign / "relay.toml", "--json")
    assert done.code == 0
    assert said(done)["queue"] == [("ok", "whole; synced, and overwritten where it is deleted")]
    assert "is here, locked" in service.post_receipt("receipt", receipt).text
    assert service.send(dirty, message="another").status == 200
    service.stop()
    before = {path.name: path.read_bytes() for path in campaign.glob("queue.sqlite*")}
    assert before.keys() == {"queue.sqlite"}
    assert relay("check", "--config", campaign / "relay.toml").code == 0
    assert {path.name: path.read_bytes() for path in campaign.glob("queue.sqlite*")} == before


def test_a_queue_that_was_damaged_or_changed_is_found(
    campaign: Path, service: Service, dirty: bytes
) -> None:
    assert service.send(dirty).status == 200
    service.stop()
    queue = campaign / "queue.sqlite"
    whole = queue.read_bytes()
    with closing(sqlite3.connect(queue)) as other:
        assert other.execute("PRAGMA journal_mode = delete").fetchone() == ("delete",)
    state, words = findings(campaign)["queue"][0]
    assert (state, "journal_mode is not WAL" in words) == ("refused", True)
    queue.write_bytes(whole[:8192] + b"\x55" * 8192 + whole[16384:])
    words = findings(campaign)["queue"][0][1]
    assert "move the file away and keep it, start again with an empty queue" in words
    assert "receipts of what lay there are void" in words
    assert "copy" not in words, "it would bring back what was withdrawn"
    queue.write_bytes(b"no queue at all")
    assert "not a queue" in findings(campaign)["queue"][0][1]
    with closing(sqlite3.connect(campaign / "other.sqlite")) as other:
        other.execute("PRAGMA user_version = 99")
    (campaign / "other.sqlite").replace(queue)
    queue.chmod(0o600)
    words = findings(campaign)["queue"][0][1]
    assert "a queue of version 99" in words
    assert "move" not in words, "the release that made it can use it"


def test_a_queue_that_another_program_has_is_not_called_damaged(campaign: Path) -> None:
    make_queue(campaign)
    with closing(sqlite3.connect(campaign / "queue.sqlite")) as other:
        other.execute("PRAGMA locking_mode = exclusive")
        other.execute("BEGIN IMMEDIATE")
        done = relay("check", "--config", campaign / "relay.toml", "--json")
    (found,) = said(done)["queue"]
    assert found == ("advice", f"{campaign}/queue.sqlite: another program has it. Try again")


def test_check_and_doorkeeper_agree_on_the_room_that_opens_a_form(campaign: Path) -> None:
    """Between the limit and a twentieth more, what has closed stays closed, and that is said."""
    disk = os.statvfs(campaign)
    free = disk.f_bavail * disk.f_frsize
    config = ServerConfig.load(campaign / "relay.toml")
    for least, state in ((free * 2, "refused"), (free * 40 // 41, "advice")):
        config = dataclasses.replace(config, min_free_bytes=least)
        found = check_room(config)
        assert found.state == state
        assert (least_free_bytes(config, is_closed=False) > free) == (state == "refused")
        assert least_free_bytes(config, is_closed=True) > free
        assert "a form that has closed opens again" in found.words or state == "refused"


# -- what serves only when it is mended ------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"demo": "false", "listen": '"0.0.0.0:8080"'}, "Set tls_certificate and tls_key"),
        ({"demo": "false", "listen": '"[::]:8080"'}, "Set tls_certificate and tls_key"),
        ({"demo": "false", "desk_listen": '"10.0.0.1:8081"'}, "let tor bring staff"),
    ],
)
def test_nothing_is_served_to_the_network_without_tls(
    campaign: Path, settings: dict[str, object], words: str
) -> None:
    configure(campaign, **settings)
    done = relay("serve", "--config", campaign / "relay.toml")
    assert done.code == 2
    assert "open to the network, without TLS" in done.err
    assert words in done.err
    assert any(one.blocks for one in look(campaign))


def test_a_demo_is_served_to_this_machine_alone(campaign: Path) -> None:
    write_certificate(campaign)
    configure(campaign, listen='"0.0.0.0:8080"')
    with_tls(campaign)
    done = relay("serve", "--config", campaign / "relay.toml")
    assert done.code == 2
    assert "Listen on 127.0.0.1, or set demo = false" in done.err


def test_each_listener_is_named_with_what_it_is_open_to(campaign: Path) -> None:
    configure(
        campaign,
        demo="false",
        listen='"0.0.0.0:443"',
        onion_listen='"unix:onion.sock"',
        desk_listen='"127.0.0.1:8081"',
        health_listen='"unix:health.sock"',
    )
    with_tls(campaign)
    found = check_listeners(ServerConfig.load(campaign / "relay.toml"))
    assert [(one.state, one.words) for one in found] == [
        ("ok", "listen = '0.0.0.0:443' is open to the network, over TLS"),
        ("ok", "onion_listen = 'unix:onion.sock' is open to its owner and group on this machine"),
        ("ok", "desk_listen = '127.0.0.1:8081' is open to this machine alone"),
        ("ok", "health_listen = 'unix:health.sock' is open to its owner and group on this machine"),
    ]


def test_settings_that_protect_less_are_named_with_what_they_cost(campaign: Path) -> None:
    assert "demo = true" in findings(campaign)["settings"][0][1]
    configure(campaign, demo="false", allow_classic="true")
    found = findings(campaign)["settings"]
    assert [state for state, _ in found] == ["advice", "advice"]
    assert "same_day_pull = true: whoever gets at a desk learns in which order" in found[0][1]
    assert "allow_classic = true: what is kept today" in found[1][1]
    configure(campaign, same_day_pull="false", allow_classic="false")
    assert findings(campaign)["settings"] == [("ok", "none that protects less")]


@pytest.mark.parametrize("listen", ["0:18080", "1.2.3:80", "[::zz]:80", "[12:80", "999.1.1.1:80"])
def test_an_address_that_is_none_is_refused_by_name_in_json_too(
    campaign: Path, capsys: pytest.CaptureFixture[str], listen: str
) -> None:
    def run(*arguments: str) -> Result:
        """In this process: it is refused before anything else begins."""
        code = main([*arguments, "--config", str(campaign / "relay.toml")])
        return Result(code, *capsys.readouterr())

    configure(campaign, listen=f'"{listen}"')
    for command in ("serve", "check"):
        done = run(command)
        assert done.code == 2
        assert "listen: an address and a port" in done.err
        assert done.out == ""
    done = run("check", "--json")
    assert done.code == 2
    assert "listen: an address and a port" in done.err
    assert done.json == {
        "serves": False,
        "sound": False,
        "findings": [
            {
                "name": "relay.toml",
                "state": "refused",
                "words": done.err.removeprefix("relay: ").strip(),
                "blocks": True,
            }
        ],
    }


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("service.key", 0o640),
        ("queue.sqlite", 0o604),
        ("queue.sqlite-wal", 0o604),
        ("key.pem", 0o644),
    ],
)
def test_nothing_is_served_while_others_can_read_a_secret(
    campaign: Path, name: str, mode: int
) -> None:
    make_queue(campaign)
    write_certificate(campaign)
    if name == "key.pem":
        with_tls(campaign)
    (campaign / name).touch(mode=0o600)
    (campaign / name).chmod(mode)
    done = relay("serve", "--config", campaign / "relay.toml")
    assert done.code == 2
    mend = "go-w,o-rwx" if name == "key.pem" else "600"
    assert f"Run: chmod {mend} {campaign / name}" in done.err


# -- the machine -----------------------------------------------------------------------------------


def test_a_clock_that_can_not_be_right_is_a_danger() -> None:
    assert check_clock(dt.date(1970, 1, 1)).state == "refused"
    today = dt.datetime.now(dt.UTC).date()
    assert check_clock(today).state in {"ok", "advice"}
    assert check_clock(today, turned=today).state in {"ok", "advice"}
    assert "Set the clock" in check_clock(today, turned=today - dt.timedelta(days=9)).words


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ({"Pillow": "12.3.0"}, ["Pillow"]),
        ({"Pillow": "13.0.0"}, []),
        ({"WebP": "1.3.1"}, ["WebP"]),
        ({"AVIF": "1.2.1"}, ["AVIF"]),
        ({"JPEG": "2.0.90"}, ["JPEG"]),
        ({"JPEG": "2.0.6"}, []),
        ({"libheif": "1.23.6"}, ["libheif"]),
        ({"zlib": "1.2.12"}, ["zlib"]),
        ({"dav1d": "1.3.0-0-g1234567"}, ["dav1d"]),
        ({"dav1d": "1.5.3-0-gb546257"}, []),
        ({"zlib": "1.2.13.1-motley"}, []),
    ],
)
def test_decoders_known_to_be_dangerous_are_named_with_a_source(
    version: dict[str, str], expected: list[str]
) -> None:
    known = list(find_known_bad(version))
    assert [bad.decoder for _, bad in known] == expected
    assert all(re.search(r"CVE-|GHSA-|release notes", bad.source) for _, bad in known)


def test_the_decoders_that_are_installed_are_found_and_are_not_known_to_be_dangerous() -> None:
    versions = find_versions(heic=False)
    assert not list(find_known_bad(versions))
    assert {"Pillow", "JPEG", "WebP", "AVIF", "dav1d"} < versions.keys()
    assert {"libheif", "libde265"} < find_versions(heic=True).keys()


def test_a_decoder_without_a_version_to_compare_is_not_praised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "find_versions", lambda **_: {"WebP": "unknown", "JPEG": "3.2.0"})
    (found,) = machine.check_decoders(heic=False)
    assert found.state == "advice"
    assert found.words.startswith("WebP unknown: no version to compare. Install the locked wheels")


def test_memory_that_a_crash_would_write_is_found_with_where_it_would_go(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As on a system that refuses: the tests' own process has forbidden nothing."""
    monkeypatch.setattr(memory, "forbid_dumps", lambda: None)
    pattern = tmp_path / "core_pattern"
    monkeypatch.setattr(machine, "_CORE_PATTERN", pattern)
    for text, where in (("core", "the disk"), ("|/usr/bin/collector %P", "/usr/bin/collector")):
        pattern.write_text(f"{text}\n")
        found = machine.check_dumps()
        assert (found.state, found.blocks) == ("refused", True)
        assert f"a crash may write memory to {where}," in found.words


def test_the_check_needs_no_root(campaign: Path) -> None:
    unprivileged = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
    done = subprocess.run(
        [*unprivileged, RELAY, "check", "--config", str(campaign / "relay.toml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# -- tor -------------------------------------------------------------------------------------------


@pytest.fixture
def tor(tmp_path: Path) -> Iterator[Path]:
    """A real tor without a network, with an onion; its folder holds the control socket."""
    folder = tmp_path / "tor"
    folder.mkdir(mode=0o700)
    settings = f"""
        DataDirectory {folder}/data
        ControlSocket {folder}/control
        CookieAuthentication 1
        DisableNetwork 1
        SocksPort 0
        HiddenServiceDir {folder}/onion
        HiddenServicePort 80 unix:{folder}/onion.sock
    """
    (folder / "torrc").write_text(settings)
    (folder / "none").touch()
    command = ["tor", "-f", f"{folder}/torrc", "--defaults-torrc", f"{folder}/none"]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log) as process:
        wait_until((folder / "control").exists)
        yield folder
        process.terminate()


def test_a_tor_that_answers_says_its_version_and_where_its_keys_are(
    campaign: Path, tor: Path
) -> None:
    configure(campaign, onion_listen='"unix:onion.sock"', tor_control=f'"{tor}/control"')
    found = findings(campaign)
    version = subprocess.check_output(["tor", "--version"], text=True).split()[2].rstrip(".")
    assert found["tor"][0][0] == "ok"
    assert found["tor control"] == [("ok", f"answers: {version}")]
    assert "onion keys" not in found
    (tor / "onion").chmod(0o755)
    state, words = findings(campaign)["onion keys"][0]
    assert state == "refused"
    assert words.endswith(f"Run: chmod go-rwx {tor / 'onion'}")


@pytest.mark.parametrize(
    ("said", "state", "words"),
    [
        ("Tor version 0.4.7.16.", "refused", "Install 0.4.8 or newer"),
        ("Tor version 0.4.8.1-alpha.", "ok", "0.4.8.1"),
        ("Tor version 0.5.0.", "ok", "0.5.0"),
        ("no tor", "advice", "Install tor again"),
        (None, "advice", "there is no tor here: install it"),
    ],
)
def test_a_tor_that_is_too_old_or_missing_is_said(
    campaign: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: str | None,
    state: str,
    words: str,
) -> None:
    configure(campaign, onion_listen='"unix:onion.sock"')
    monkeypatch.setattr(onion, "_TOR_PLACES", str(campaign))
    if said is not None:
        (campaign / "tor").write_text(f"#!/bin/sh\necho '{said}'\n")
        (campaign / "tor").chmod(0o755)
    (found,) = onion.check_tor(ServerConfig.load(campaign / "relay.toml"))
    assert found.state == state
    assert words in found.words


@pytest.mark.parametrize(("listen", "state"), [("", "refused"), ("127.0.0.1:8080", "advice")])
def test_a_tor_that_does_not_answer_is_a_danger_where_it_is_the_only_way_in(
    campaign: Path, listen: str, state: str
) -> None:
    configure(campaign, listen=f'"{listen}"', onion_listen='"unix:onion.sock"')
    configure(campaign, tor_control='"control"')
    *_, found = onion.check_tor(ServerConfig.load(campaign / "relay.toml"))
    assert (found.name, found.state) == ("tor control", state)
    assert "Is tor running" in found.words


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n", b"515 no\r\n", b"250 OK\r\n"])
def test_a_control_socket_that_talks_nonsense_is_advice_and_no_trace(
    campaign: Path, tmp_path: Path, answer: bytes
) -> None:
    configure(campaign, onion_listen='"unix:onion.sock"', tor_control=f'"{tmp_path}/s"')
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()

        def talk() -> None:
            visitor, _ = server.accept()
            with visitor:
                visitor.recv(1000)
                visitor.sendall(answer * 4)

        talking = threading.Thread(target=talk)
        talking.start()
        state, words = findings(campaign)["tor control"][0]
        talking.join()
    assert state == "advice", words


@pytest.mark.parametrize("name", NAMES[:5])
def test_every_protection_is_explained_to_the_operator_with_what_mends_it(name: str) -> None:
    """The table's last column is what the check says."""
    missing = [*checking.WALLS.values(), checking.MEMORY][NAMES.index(name)]
    (row,) = re.findall(
        rf"^\| `{name}` \|.*\| (.*) \|$", (ROOT / "docs/operator.md").read_text(), re.MULTILINE
    )
    assert row.replace("`", "") == missing.mend
