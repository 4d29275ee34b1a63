"""The wheel: the same bytes from the same source, wherever, whenever and by whom it is built.

`python -m scripts.supply.wheel SOURCE FOLDER` builds it. The same zlib is still needed, since it
does the packing: a Debian and its own Python give one wheel.
"""

import base64
import csv
import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from flit_core.wheel import make_wheel_in

import relay
from scripts.supply import data

# The first moment that a zip file can name. A later one would tell when somebody worked.
_EPOCH = 315532800
_EPOCH_IN_ZIP = (1980, 1, 1, 0, 0, 0)
_BESIDE = ("LICENSE", "README.md", "pyproject.toml")
_OF_TESTS = re.compile(r"(^|/)(tests?|conftest|test_[^/]*|[^/]*_test)(\.py)?(/|$)")
# Two builders who have nothing in common but the source.
_BUILDERS = (
    ("a", 0o022, {"TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "1", "SOURCE_DATE_EPOCH": "1"}),
    (
        "another/place",
        0o077,
        {
            "TZ": "Asia/Kabul",
            "LC_ALL": "C.UTF-8",
            "PYTHONHASHSEED": "2",
            "SOURCE_DATE_EPOCH": "1790000000",
        },
    ),
)


def build(source: Path, folder: Path) -> Path:
    """Build the wheel of `source` into `folder`, which is made if need be."""
    os.environ["SOURCE_DATE_EPOCH"] = str(_EPOCH)
    folder.mkdir(parents=True, exist_ok=True)
    return Path(make_wheel_in(source / "pyproject.toml", folder).file)


def list_source(root: Path) -> list[str]:
    """Name what a wheel is built from: all below relay/ that git does not ignore, and weights."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "relay"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    weights = {f"{data.WEIGHTS.folder}/{file.name}" for file in data.WEIGHTS.files}
    return sorted(
        name for name in set(listed.split("\0")) - {""} | weights if (root / name).exists()
    )


def check(root: Path) -> list[str]:
    """Build twice and compare, then look inside; nothing if all is well."""
    names = list_source(root)
    if not all(file.is_in(root / data.WEIGHTS.folder) for file in data.WEIGHTS.files):
        return [f"{data.WEIGHTS.folder} is not whole: scripts/weights"]
    with tempfile.TemporaryDirectory() as folder:
        built = [
            _build_elsewhere(root, names, Path(folder) / place, umask, environment)
            for place, umask, environment in _BUILDERS
        ]
        hashes = [hashlib.sha256(one.read_bytes()).hexdigest() for one in built]
        if len(set(hashes)) > 1:
            return [f"two builds of one source differ: {' '.join(hashes)}"]
        return list(look_inside(root, names, built[0]))


def _build_elsewhere(
    root: Path, names: list[str], place: Path, umask: int, environment: dict[str, str]
) -> Path:
    """Build from a copy in `place`, as somebody with this umask and these settings would."""
    for number, name in enumerate([*names, *_BESIDE]):
        copy = place / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, copy)
        copy.chmod(0o666 & ~umask)
        os.utime(copy, (number, umask * 1000 + number))
    command = [sys.executable, "-m", "scripts.supply.wheel", str(place), str(place / "dist")]
    environment = {"PATH": os.environ["PATH"], **environment}
    done = subprocess.run(
        command, cwd=root, env=environment, umask=umask, capture_output=True, text=True, check=True
    )
    return Path(done.stdout.strip())


def look_inside(root: Path, names: list[str], wheel: Path) -> Iterator[str]:
    """Say what a wheel holds that it should not, lacks, or says wrongly."""
    version = relay.__version__
    if wheel.name != f"poster_relay-{version}-py3-none-any.whl":
        yield f"the wheel of version {version} is called {wheel.name}"
    about = f"poster_relay-{version}.dist-info"
    ours = {f"{about}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt")}
    ours.add(f"{about}/licenses/LICENSE")
    with zipfile.ZipFile(wheel) as opened:
        held = set(opened.namelist())
        for name in sorted(held - ours - set(names)):
            yield f"the wheel holds {name}, which is not in the source"
        for name in sorted((ours | set(names)) - held):
            yield f"the wheel lacks {name}"
        for name in sorted(held & set(names)):
            if opened.read(name) != (root / name).read_bytes():
                yield f"the wheel has another {name} than the source"
        for name in sorted(filter(_OF_TESTS.search, held)):
            yield f"the wheel holds {name}, which is for tests"
        for entry in opened.infolist():
            mode = stat.S_IMODE(entry.external_attr >> 16)
            if entry.date_time != _EPOCH_IN_ZIP or mode not in (0o644, 0o755):
                yield f"the wheel tells when or by whom {entry.filename} was written"
        if ours <= held:
            yield from _check_words(opened, about, version)


def _check_words(opened: zipfile.ZipFile, about: str, version: str) -> Iterator[str]:
    head = opened.read(f"{about}/METADATA").decode().split("\n\n")[0].splitlines()
    for line in ("Name: poster-relay", f"Version: {version}"):
        if line not in head:
            yield f"the wheel's METADATA does not say {line}"
    for name, sum_, _ in csv.reader(opened.read(f"{about}/RECORD").decode().splitlines()):
        if name == f"{about}/RECORD" or name not in opened.namelist():
            continue
        digest = hashlib.sha256(opened.read(name)).digest()
        if sum_ != "sha256=" + base64.urlsafe_b64encode(digest).decode().rstrip("="):
            yield f"the wheel's RECORD has another sum of {name}"


if __name__ == "__main__":
    print(build(Path(sys.argv[1]), Path(sys.argv[2])))
