"""What the documents say is held against the code."""

import ast
import dataclasses
import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest

from relay import cli, errors
from relay.config import ServerConfig
from relay.scrub import confine
from tests import photos
from tests.conftest import RELAY, ROOT, SHARED, Service, Starter, at_terminal
from tests.promises import read_promises

README = (ROOT / "README.md").read_text()
SECURITY = (ROOT / "SECURITY.md").read_text()
STAFF = (ROOT / "docs/staff.md").read_text()
PLACEHOLDERS = (
    (r"(?<=same: 2 )[0-9a-f]{16}", "[0-9a-f]{16}"),
    (r"[0-9a-f]{32}", "[0-9a-f]{32}"),
    (r"(?:\d{4} ){4}\d{4}", r"(?:\\d{4} ){4}\\d{4}"),
    (r"\d{4}\\?-\d\d\\?-\d\d", r"\\d{4}-\\d\\d-\\d\\d"),
)


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_the_readmes_transcript_works(service: Service) -> None:
    """Typed line by line as it stands, ports aside; ids, receipts and days may differ."""
    home = service.folder.parent
    (home / ".venv" / "bin").mkdir(parents=True)
    (home / ".venv" / "bin" / "relay").symlink_to(RELAY)
    (home / "photo.jpg").write_bytes(photos.dirty_jpeg())
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    assert blocks[0] == "$ scripts/run\n"
    last_line = (ROOT / "scripts/run").read_text().splitlines()[-1]
    assert last_line == 'exec .venv/bin/relay demo "$@"', "what the fixture has started"
    script, expected = "set -eu\n", ""
    for line in "".join(blocks[1:]).splitlines():
        if line.startswith("$ "):
            script += line.removeprefix("$ ").replace("127.0.0.1:8080", f"127.0.0.1:{service.port}")
            script += " 2>&1\n"
        else:
            expected += line + "\n"
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        ["bash", "-c", script], cwd=home, capture_output=True, text=True, check=False, env=env
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pattern = re.escape(expected).replace("\\ ", " ")
    for shown, meant in PLACEHOLDERS:
        pattern = re.sub(shown, meant, pattern)
    assert re.fullmatch(pattern, done.stdout), done.stdout


def test_the_story_of_the_old_laptop_works(
    start_service: Starter, campaign: Path, tmp_path: Path
) -> None:
    """Typed line by line on two laptops; stick and port aside, numbers and days may differ."""
    section = STAFF.split("## The old laptop")[1].split("\n## ")[0]
    settings = re.findall(r"```toml\n(.*?)```", section, re.DOTALL)
    (making, *later) = re.findall(r"```console\n(.*?)```", section, re.DOTALL)
    stick = tmp_path / "stick"
    laptops = {name: tmp_path / name for name in ("old", "online")}
    keys = {}
    for line in making.splitlines():
        name, _, command = line.partition("$ ")
        laptops[name].mkdir()
        shown = typed(re.sub(r"\d{4}-\d\d-\d\d", "2099-05-31", command), laptops[name]).splitlines()
        keys[name] = [line for line in shown if line.startswith(("age1", "relaysigner1"))]
    for name, other in (("old", "online"), ("online", "old")):
        (laptops[name] / "colleagues.txt").write_text(keys[other][1] + "\n")
        (laptops[name] / "desk.toml").write_text(settings[0])
    for file, key in (
        ("recipients.txt", keys["old"][0]),
        ("staff.txt", keys["old"][1]),
        ("staff.txt", keys["online"][1]),
    ):
        with (campaign / file).open("a") as listed:
            listed.write(f"{key}\n")
    service = start_service()
    assert "Three people have sent a photo." in section
    for number in range(3):
        service.send(photos.dirty_jpeg(photos.picture(seed=number)), may_post="yes")
    with (laptops["online"] / "desk.toml").open("a") as desk:
        desk.write(settings[1].replace(":8081", f":{service.port}"))
    told = [*dict.fromkeys(re.findall(r"[0-9a-f]{32}", section))]
    ids: list[str] = []
    for block in later:
        for command, expected in re.findall(r"(\w+\$ .*\n)((?:(?!\w+\$ ).*\n)*)", block):
            name, _, words = command.strip().partition("$ ")
            for shown, real in zip(told, ids, strict=False):
                words = words.replace(shown, real)
            said = typed(words.replace("/media/stick", str(stick)), laptops[name])
            ids = ids or re.findall(r"[0-9a-f]{32}", said)
            for shown, real in zip(told, ids, strict=True):
                said = said.replace(real, shown)
            said = said.replace(str(stick), "/media/stick").replace(RELAY, "relay")
            said = re.sub(r"relaysigner1\w+", "relaysigner1…", said)
            said = re.sub(r"\d{4}-\d\d-\d\d", "2026-03-19", said)
            said = re.sub(r"(?<=same: 6 )[0-9a-f]{16}", "3f1a9c5e7d2b4860", said)
            assert said == expected, command
    assert len(list((laptops["old"] / "opened").glob("*/photo.jpg"))) == 2
    assert not (laptops["online"] / "opened").exists()


def typed(command: str, folder: Path) -> str:
    """Type a command at a terminal, and her passphrase where it is asked for."""
    program, *arguments = shlex.split(command)
    assert program == "relay"
    asked = [("passphrase: ", "four words of hers")]
    asked += [("again: ", "four words of hers")] if "generate" in arguments else []
    done = at_terminal(["env", "TERM=dumb", RELAY, *arguments], asked, cwd=folder)
    assert done.code == 0, done.out
    return done.out.replace("\r\n", "\n").lstrip("\n")


def test_the_readme_lists_every_command_with_its_own_words() -> None:
    listed = dict(re.findall(r"^\| \w+ \| `relay ([a-z -]+)` \| (.*) \|$", README, re.MULTILINE))
    assert listed == dict(leaves(cli.build_parser()))


def leaves(parser, prefix: str = ""):  # noqa: ANN001, ANN201 - argparse's own classes are private
    for action in parser._actions:  # noqa: SLF001 - argparse offers no other way
        for choice in getattr(action, "_choices_actions", []):
            name = f"{prefix}{choice.dest}"
            below = list(leaves(action.choices[choice.dest], f"{name} "))
            yield from below or [(name, choice.help)]


def test_every_promise_names_one_test_that_exists() -> None:
    """That it ran and passed is held at the end of the session: tests/promises.py."""
    promises = read_promises(SECURITY)
    assert len(promises) > 30
    for promise in promises:
        path, _, function = promise.test.partition("::")
        defined = [
            node.name
            for node in ast.parse((ROOT / path).read_text()).body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        assert defined.count(function) == 1, promise.test


def test_the_threat_model_names_tests_that_exist() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/threat-model.md").read_text()))
    text = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 40
    assert named <= set(re.findall(r"def (test_\w+)", text))


def test_the_count_of_system_calls_is_the_filters() -> None:
    counts = [
        len(confine.allowed_calls(machine, threads=threads))
        for threads in (False, True)
        for machine in confine._MACHINES.values()  # noqa: SLF001 - the lists are what is counted
    ]
    assert counts[::2] == counts[1::2]
    alone, with_threads = counts[::2]
    assert f"{alone} system calls and no other; where HEIC is opened, {with_threads} |" in SECURITY
    assert f" {alone} system calls, " in (ROOT / "docs/threat-model.md").read_text()


def test_every_setting_is_documented_with_its_default() -> None:
    table = (ROOT / "docs/operator.md").read_text().split("## Settings")[1]
    documented = dict(re.findall(r"^\| `(\w+)` \| `?([^|`]+)`? \|", table, re.MULTILINE))
    settings = {
        setting.name: shown(setting.default)
        for setting in dataclasses.fields(ServerConfig)
        if setting.name != "folder"
    }
    assert {name: default.strip() for name, default in documented.items()} == settings


def shown(default: object) -> str:
    match default:
        case dataclasses.MISSING:
            return "none"
        case None:
            return "not set"
        case "":
            return "empty"
        case bool():
            return str(default).lower()
        case tuple():
            return str(list(default))
    return str(default)


def test_every_dependency_is_named_and_locked_with_hashes() -> None:
    text = (ROOT / "docs/dependencies.md").read_text().lower()
    for lock in ("desk", "server", "test", "fuzz"):
        locked = (ROOT / f"deploy/lock/{lock}.txt").read_text()
        names = re.findall(r"^([a-z0-9_.-]+)==", locked, re.MULTILINE)
        assert names
        for name in names:
            assert name in text, f"{name} is not in docs/dependencies.md"
        assert locked.count("==") - locked.count(" == '") - locked.count(" != ") <= len(names)
        entries = re.split(r"\n(?=[a-z])", locked.strip())
        assert all("--hash=sha256:" in entry for entry in entries)
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = declared["dependencies"] + declared["optional-dependencies"]["server"]
    for requirement in wanted:
        assert re.split(r"[\[<>=]", requirement)[0].lower() in text


def test_the_exit_codes_are_documented() -> None:
    table = (ROOT / "docs/staff.md").read_text().split("## Exit codes")[1]
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    used = {kind.exit_code for kind in kinds if issubclass(kind, errors.RelayError)}
    assert used <= documented
    assert documented == {0, 1, 2, 3, 10, 11, 12, 13, 14, 130}


def test_no_file_on_the_machine_is_named_for_a_colleague() -> None:
    ours = {"laptop-1", "laptop-2", "nobody", "*"}
    for name in ("docs/operator.md", "docs/install-transcript.md", "deploy/install"):
        text = (ROOT / name).read_text()
        assert set(re.findall(r"([\w*-]+)\.auth\b", text)) <= ours
        assert "never a name" in text, name
    assert "| `desk/authorized_clients/` " in (ROOT / "docs/seizure.md").read_text()


def test_every_decision_and_document_is_linked_from_somewhere() -> None:
    for path in (ROOT / "docs").glob("*.md"):
        assert f"docs/{path.name}" in README


def test_nothing_committed_names_a_machine_or_a_registry() -> None:
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    hosts = ["pypi" + ".org", "pythonhosted" + ".org", "registry" + ".npmjs", "deb.debian" + ".org"]
    unwanted = [*hosts, str(ROOT.parent) + "/"]
    for name in filter(None, files):
        text = (ROOT / name).read_bytes().decode("utf-8", "replace")
        assert not [word for word in unwanted if word in text], name


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared")
def test_no_shared_sample_is_committed() -> None:
    names = {path.name for path in (SHARED / "samples").iterdir()}
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert not names & {name.rpartition("/")[2] for name in listed}
