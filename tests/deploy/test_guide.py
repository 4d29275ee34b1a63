"""Every command of the operator's guides is run, by a test or by deploy/test-install."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from relay.cli import build_parser
from tests.conftest import RELAY, ROOT
from tests.test_documents import leaves

GUIDES = ("docs/operator.md", "docs/seizure.md")
PROGRAMS = {"relay", "poster-relay", "systemctl", "journalctl", "curl", "chown", "chmod", "swapoff"}
COMMANDS = "tests/cli/test_commands.py::test_"
BACKUP = "tests/cli/test_backup.py::test_"
_CONFIG, _STATE = "--config /etc/poster-relay/relay.toml", "/var/lib/poster-relay"
# What deploy/test-install does not run, and who does.
RUN_BY = {
    "relay init campaign/ --campaign spring-2026": f"{COMMANDS}init_keys_serve_send_pull_open",
    "relay serve --config campaign/relay.toml": f"{COMMANDS}init_keys_serve_send_pull_open",
    "relay check --config campaign/relay.toml": (
        "tests/cli/test_check.py::test_a_person_reads_one_line_for_each"
    ),
    "relay purge --config …": (
        f"{COMMANDS}purge_says_what_it_destroys_and_a_dry_run_destroys_nothing"
    ),
    "relay desk log --verify": "tests/desk/test_desk.py::test_a_tampered_log_is_found",
    f"poster-relay backup {_CONFIG} --recipients /etc/poster-relay/operator.txt --to FILE.age": (
        "tests/deploy/test_units.py::test_the_daily_backup_is_sealed_and_the_old_ones_go"
    ),
    f"poster-relay restore {_STATE}/DAY.age --identity {_STATE}/identity.age --to {_STATE}/again": (
        f"{BACKUP}settings_of_an_installed_relay_fit_their_new_folder"
    ),
    "relay keys generate backup-keys/": f"{BACKUP}a_key_of_relay_keys_opens_it_with_its_passphrase",
    "relay desk log --verify --after-restore": (
        f"{BACKUP}a_log_that_goes_back_is_refused_until_a_colleague_says_that_it_was_restored"
    ),
    "deploy/install --campaign NAME": "nobody: with another name it is run",
    "systemctl daemon-reload": "nobody: no test installs the timer",
    "systemctl enable --now poster-relay-backup.timer": "nobody: the same",
    f"chown -R poster-relay-tor: {_STATE}-tor": "nobody: no test has a machine to lose",
    "poster-relay stats --config /etc/poster-relay/relay.toml": (
        "tests/cli/test_stats.py::test_stats_name_no_submission_and_no_colleague"
    ),
    "swapoff -a": "nobody: it is the machine's own, and no test turns that off",
}
# What the guides leave open, in the words of deploy/test-install.
FILLED_IN = {"FILE": '"$key"', "DESK.onion": '"$desk"'}


def commands_of(text: str) -> list[str]:
    """What stands in an indented block or between backticks, and begins with a program."""
    found = re.findall(r"^ {4}(\S.*)$|`([^`]+)`", text, re.MULTILINE)
    lines = [" ".join("".join(pair).split()) for pair in found]
    return [
        line
        for line in lines
        if line.partition(" ")[0] in PROGRAMS
        or re.match("deploy/(install|upgrade|uninstall)( |$)", line)
    ]


GUIDED = sorted({command for name in GUIDES for command in commands_of((ROOT / name).read_text())})


def test_the_guides_are_read() -> None:
    assert len(GUIDED) > 20
    assert GUIDED.count("deploy/install --campaign spring-2026") == 1


@pytest.mark.parametrize("command", GUIDED)
def test_every_command_of_a_guide_is_one_that_is_run(command: str) -> None:
    program, *words = command.split()
    if program in {"relay", "poster-relay"}:
        if not words or " ".join(words) in dict(leaves(build_parser())):
            return  # a mention
        build_parser().parse_args(words)
    if command in RUN_BY:
        path, _, name = RUN_BY[command].partition("::")
        assert not name or f"def {name}(" in (ROOT / path).read_text()
        return
    for word, filled_in in FILLED_IN.items():
        command = re.sub(rf"\b{re.escape(word)}$", filled_in, command)
    lines = (ROOT / "deploy/test-install").read_text().splitlines()
    run = re.compile(rf"(run 0 |laptop |inside |run 0 .*\| ?){re.escape(command)}( >|\"?$)")
    assert any(map(run.match, lines)), f"{command}: deploy/test-install does not run it"


def test_nothing_is_run_by_a_list_that_no_guide_asks_for() -> None:
    assert RUN_BY.keys() <= set(GUIDED)


def test_what_types_for_the_install_types_at_a_terminal(tmp_path: Path) -> None:
    visit = [sys.executable, "-I", str(ROOT / "tests/deploy/visit.py"), "typed", "four words"]
    keys = [RELAY, "keys", "generate", "my-keys/"]
    for code in (0, 1):  # the second time the keys are there, and never overwritten
        done = subprocess.run(
            [*visit, *keys], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == code
        lines = re.findall("^(?:age1pq1|relaysigner1)[0-9a-z]+$", done.stdout, re.MULTILINE)
        assert len(lines) == (2 if code == 0 else 0)
    assert "never overwritten" in done.stderr
    assert "four words" not in done.stdout
