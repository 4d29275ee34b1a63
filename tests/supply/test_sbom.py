"""The lists of parts: what the locks hold, in a form that other people's programs read."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from scripts.supply import locks, sbom
from tests.conftest import ROOT

lists = pytest.mark.parametrize("name", sbom.LISTS)


def committed(name: str) -> str:
    return (ROOT / f"deploy/sbom/{name}.cdx.json").read_text()


def test_the_committed_lists_are_current() -> None:
    assert sbom.check(ROOT) == []


@lists
def test_a_list_is_valid_cyclonedx(name: str) -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(committed(name)) is None
    broken = committed(name).replace('"type": "library"', '"type": "poster"', 1)
    assert validator.validate_str(broken) is not None, "else the schema was not looked at"


@lists
def test_a_list_holds_every_package_of_the_lock_with_its_hashes_and_a_licence(name: str) -> None:
    listed = {
        (
            one["name"],
            one["version"],
            frozenset(hash_["content"] for hash_ in one["externalReferences"][0]["hashes"]),
        )
        for one in json.loads(committed(name))["components"]
    }
    pins = locks.read_locks(ROOT)[name]
    assert listed == {(pin.name, pin.version, pin.hashes) for pin in pins}
    for one in json.loads(committed(name))["components"]:
        (licence,) = one["licenses"]
        words = licence.get("expression") or licence["license"].get("id", "")
        # "BSD" is all that PySocks says.
        assert words or licence["license"]["name"].endswith((" License", "BSD")), one["name"]


@lists
def test_every_package_of_a_list_is_asked_for_by_somebody(name: str) -> None:
    whole = json.loads(committed(name))
    asked = {one["ref"]: one.get("dependsOn", []) for one in whole["dependencies"]}
    reached, waiting = set(), ["poster-relay"]
    while waiting:
        one = waiting.pop()
        waiting += set(asked[one]) - reached
        reached.add(one)
    assert reached == {"poster-relay", *(one["bom-ref"] for one in whole["components"])}
    direct = {one.partition("@")[0] for one in asked["poster-relay"]}
    assert ("pkg:pypi/jinja2" in direct) == (name == "server")
    assert "pkg:pypi/cryptography" in direct
    assert "pkg:pypi/cffi" not in direct


@lists
def test_a_list_says_neither_when_nor_where_it_was_made(name: str) -> None:
    code = (
        "import sys; from pathlib import Path; from scripts.supply import sbom; "
        "sys.stdout.write(sbom.render(Path(), sys.argv[1]))"
    )
    for seed, zone in (("1", "UTC"), ("2", "Asia/Kabul")):
        made = subprocess.run(
            [sys.executable, "-c", code, name],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone},
            capture_output=True,
            text=True,
            check=True,
        )
        assert made.stdout == committed(name)
    assert "timestamp" not in committed(name)
    assert "serialNumber" not in committed(name)


@pytest.mark.parametrize("name", ["server", "desk"])
def test_a_list_that_is_not_current_is_named(tmp_path: Path, name: str) -> None:
    for folder in ("deploy", "scripts"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    assert sbom.check(tmp_path) == []
    path = tmp_path / f"deploy/lock/{name}.txt"
    path.write_text(path.read_text().replace("--hash=sha256:0", "--hash=sha256:1", 1))
    (said,) = sbom.check(tmp_path)
    assert said.startswith(f"deploy/sbom/{name}.cdx.json is not current")
    sbom.write_all(tmp_path)
    assert sbom.check(tmp_path) == []
    (tmp_path / f"deploy/sbom/{name}.cdx.json").unlink()
    assert len(sbom.check(tmp_path)) == 1
