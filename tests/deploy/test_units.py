"""What an operator installs, read by the programs that will read it there."""

import asyncio
import datetime as dt
import os
import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from relay.queue.store import SealedQueue
from tests.conftest import RELAY, ROOT

DEPLOY = ROOT / "deploy"
UNITS = ("poster-relay.service", "poster-relay-tor.service", "poster-relay-backup.service")
SCRIPTS = (
    "common",
    "install",
    "upgrade",
    "uninstall",
    "test-install",
    "test-desk",
    "desk-bundle",
    "desk/install",
)
MOST_EXPOSURE = 1.5


def run(*command: object) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


def exposure(unit: Path) -> float:
    """0 (nothing in its reach) to 10, as systemd counts."""
    said = run("systemd-analyze", "security", "--offline=yes", "--no-pager", unit)
    figure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said.stdout)
    assert figure, said.stdout + said.stderr
    return float(figure[1])


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, with a program of this machine where the installed one would be."""
    program = tmp_path / "relay"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for name in UNITS:
        text = (DEPLOY / "systemd" / name).read_text()
        (tmp_path / name).write_text(
            text.replace("/opt/poster-relay/current/bin/relay", str(program))
        )
    return tmp_path


def test_systemd_reads_the_units_without_a_word(units: Path) -> None:
    others = ("poster-relay.socket", "poster-relay-backup.timer")
    for name in others:
        shutil.copy(DEPLOY / "systemd" / name, units)
    names = (*UNITS, *others)
    said = run("systemd-analyze", "verify", *(units / name for name in names))
    ours = [line for line in said.stderr.splitlines() if "poster-relay" in line]
    assert not ours
    assert said.returncode == 0, said.stderr


def test_a_setting_that_systemd_does_not_know_is_noticed(units: Path) -> None:
    unit = units / UNITS[0]
    unit.write_text(unit.read_text().replace("PrivateNetwork=yes", "PrivateNetworks=yes"))
    assert "PrivateNetworks" in run("systemd-analyze", "verify", unit).stderr


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_has_next_to_nothing_in_its_reach(units: Path, name: str) -> None:
    assert exposure(units / name) <= MOST_EXPOSURE


def settings(path: Path) -> dict[str, list[str]]:
    """Every setting of a unit, a drop-in or a journal, with each of its values in turn."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", path.read_text(), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


# Each stands there once: a later line would undo it.
BOTH_UNITS = {
    "MemorySwapMax": "0",
    "LimitCORE": "0",
    "NoExecPaths": "/",
    "LogNamespace": "poster-relay",
    "StandardOutput": "journal",
    "StandardError": "journal",
    "UMask": "0077",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "PrivateUsers": "yes",
    "ProtectProc": "invisible",
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "MemoryDenyWriteExecute": "yes",
    "KeyringMode": "private",
    "RemoveIPC": "yes",
}
RELAY_ALONE = {
    "User": "poster-relay",
    "ExecPaths": "/usr/bin /usr/lib -/usr/lib64 /opt/poster-relay",
    "PrivateNetwork": "yes",
    "RestrictAddressFamilies": "AF_UNIX",
    "IPAddressDeny": "any",
}
TOR_ALONE = {"User": "poster-relay-tor", "ExecPaths": "/usr/bin/tor /usr/lib -/usr/lib64"}
JOURNAL = {
    "Storage": "volatile",
    "MaxRetentionSec": "1day",
    "ForwardToSyslog": "no",
    "ForwardToKMsg": "no",
    "ForwardToConsole": "no",
    "ForwardToWall": "no",
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("poster-relay.service", BOTH_UNITS | RELAY_ALONE),
        ("poster-relay-tor.service", BOTH_UNITS | TOR_ALONE),
        ("poster-relay-backup.service", BOTH_UNITS | RELAY_ALONE),
        ("journald@poster-relay.conf", JOURNAL),
    ],
)
def test_memory_and_log_stay_off_the_disk_and_nothing_written_can_be_run(
    name: str, expected: dict[str, str]
) -> None:
    found = settings(DEPLOY / "systemd" / name)
    assert {key: found.get(key) for key in expected} == {
        key: [value] for key, value in expected.items()
    }


def test_the_daily_backup_is_sealed_and_the_old_ones_go(campaign: Path, tmp_path: Path) -> None:
    """What the unit's lines do, without systemd."""
    queue = campaign / "queue.sqlite"
    asyncio.run(_make_queue(queue))
    (tmp_path / "operator.txt").write_text((campaign / "recipients.txt").read_text())
    kept = tmp_path / "kept"
    kept.mkdir()
    for name, days in (("yesterday.age", 1), ("old.age", 9)):
        (kept / name).write_bytes(b"")
        then = time.time() - days * 86400
        os.utime(kept / name, (then, then))
    found = settings(DEPLOY / "systemd/poster-relay-backup.service")
    for line in (*found["ExecStart"], *found["ExecStartPost"]):
        for installed, here in (
            ("/opt/poster-relay/current/bin/relay", RELAY),
            ("/etc/poster-relay/relay.toml", str(campaign / "relay.toml")),
            ("/etc/poster-relay", str(tmp_path)),
            ("/var/lib/poster-relay-backup", str(kept)),
            ("%%", "%"),
        ):
            line = line.replace(installed, here)  # noqa: PLW2901 - the same line
        done = run(*shlex.split(line))
        assert done.returncode == 0, done.stderr
    today = dt.datetime.now(dt.UTC).date()
    assert {path.name for path in kept.iterdir()} == {"yesterday.age", f"{today}.age"}
    assert (kept / f"{today}.age").read_bytes().startswith(b"age-encryption.org/v1\n")


async def _make_queue(path: Path) -> None:
    async with SealedQueue.open(path, max_queued=1):
        pass


def test_the_units_tell_the_allocators_what_the_relay_would(units: Path) -> None:
    from relay import memory  # noqa: PLC0415 - what is compared

    text = (units / "poster-relay.service").read_text()
    told = dict(re.findall(r"^Environment=(\w+)=(.*)$", text, re.MULTILINE))
    assert memory._tell(told) == told  # noqa: SLF001 - else it would start itself again


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_portable_shell_without_known_traps(name: str) -> None:
    script = DEPLOY / name
    assert run("sh", "-n", script).returncode == 0
    said = run("shellcheck", "-x", "--source-path", DEPLOY.parent, script)
    assert said.returncode == 0, said.stdout


def test_the_profile_parses(tmp_path: Path) -> None:
    text = (DEPLOY / "apparmor/poster-relay").read_text()
    if not Path("/etc/apparmor.d/abi/4.0").exists():  # Debian 12 knows no rule for namespaces
        assert text.count("  userns create,\n") == 1
        text = text.replace("  userns create,\n", "").replace("abi/4.0", "abi/3.0")
    profile = tmp_path / "poster-relay"
    profile.write_text(text)
    said = run("apparmor_parser", "--skip-kernel-load", "--skip-cache", profile)
    assert said.returncode == 0, said.stderr


def test_the_torrc_is_one_that_tor_takes(tmp_path: Path) -> None:
    for name in ("data", "run"):
        (tmp_path / name).mkdir(mode=0o700)
    text = (DEPLOY / "tor/torrc").read_text()
    for name, path in (
        ("DATA", tmp_path / "data"),
        ("RUN", tmp_path / "run"),
        ("FORM_SOCKET", tmp_path / "onion.sock"),
        ("DESK_SOCKET", tmp_path / "desk.sock"),
    ):
        text = text.replace(f"@{name}@", str(path))
    assert not re.search(r"^[^#]*@[A-Z_]+@", text, re.MULTILINE)
    (tmp_path / "torrc").write_text(text)
    said = run("tor", "--verify-config", "--defaults-torrc", "/dev/null", "-f", tmp_path / "torrc")
    assert "Configuration was valid" in said.stdout
    assert said.returncode == 0
