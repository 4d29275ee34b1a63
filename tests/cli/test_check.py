"""`relay check`, and what `relay serve` does where something is missing."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import RELAY, ROOT, Result, Service, Starter, configure, relay

NAMES = ["user", "namespaces", "landlock", "seccomp", "memory", "dumps", "swap"]
FILES = ["service key", "staff", "recipients"]
# A machine without user namespaces, on which we are root by name and nothing else.
POOR = ["unshare", "--user", "--map-root-user", "sh", "-c"]
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
    assert list(findings) == NAMES + FILES
    assert {state for name, state in findings.items() if name != "swap"} == {"ok"}


def test_a_person_reads_one_line_for_each(campaign: Path) -> None:
    done = relay("check", "--config", campaign / "relay.toml")
    lines = done.out.splitlines()
    assert [line[10:23].strip() for line in lines] == NAMES + FILES
    assert max(map(len, lines)) <= 100


def test_what_is_missing_is_refused_by_name_and_accepted_by_name(campaign: Path) -> None:
    config = campaign / "relay.toml"
    configure(campaign, accept_missing=[])
    check = on_a_poor_machine("check", "--config", config)
    assert check.code == 1
    assert [line.split()[1] for line in check.out.splitlines() if "refused" in line] == [
        "user",
        "namespaces",
    ]
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


def test_a_file_that_can_not_be_used_is_found(campaign: Path) -> None:
    (campaign / "staff.txt").write_text("nonsense\n")
    (campaign / "recipients.txt").write_text("")
    done = relay("check", "--config", campaign / "relay.toml")
    assert done.code == 1
    assert "refused   staff" in done.out
    assert "advice    recipients" in done.out


@pytest.mark.parametrize("name", NAMES[:5])
def test_every_protection_is_explained_to_the_operator(name: str) -> None:
    assert f"| `{name}` |" in (ROOT / "docs/operator.md").read_text()
