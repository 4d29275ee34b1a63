"""The wheel: one source, one wheel; everything that it needs, nothing else."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay import __version__
from scripts.supply import wheel
from tests.conftest import ROOT, Service, free_port

ABOUT = f"poster_relay-{__version__}.dist-info"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [ROOT / "scripts/wheel", folder], capture_output=True, text=True, check=True
    )
    return Path(done.stdout.strip())


def copy_source(place: Path, *, seconds: int) -> Path:
    for name in [*wheel.list_source(ROOT), "pyproject.toml", "README.md", "LICENSE"]:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, place / name)
        os.utime(place / name, (seconds, seconds))
    return place


def sum_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_wheel_is_reproducible_and_whole() -> None:
    assert wheel.check(ROOT) == []


def test_two_who_build_have_the_same_wheel_and_would_not_without_care(
    built: Path, tmp_path: Path
) -> None:
    ours, plain = {sum_of(built)}, set()
    for name, seconds, umask in (("a", 10**9, 0o022), ("another/place", 15 * 10**8, 0o077)):
        source = copy_source(tmp_path / name, seconds=seconds)
        for module, to, sums in (
            ("scripts.supply.wheel", ["dist"], ours),
            ("flit_core.wheel", ["--outdir", "plain"], plain),
        ):
            subprocess.run(
                [sys.executable, "-m", module, source, *to[:-1], source / to[-1]],
                cwd=ROOT,
                umask=umask,
                env={"PATH": os.environ["PATH"]},
                check=True,
                capture_output=True,
            )
            (one,) = (source / to[-1]).iterdir()
            sums.add(sum_of(one))
    assert len(ours) == 1
    assert len(plain) == 2


def test_installer_and_desk_bundle_build_that_very_wheel(built: Path, tmp_path: Path) -> None:
    source = copy_source(tmp_path / "source", seconds=10**9)
    script = f'. deploy/common; make_wheel "{sys.executable}" "$1" "$2"'
    subprocess.run(
        ["sh", "-euc", script, "sh", source, tmp_path],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "SOURCE_DATE_EPOCH": "1790000000"},
        check=True,
    )
    (one,) = tmp_path.glob("*.whl")
    assert one.name == built.name
    assert sum_of(one) == sum_of(built)
    for name in ("common", "desk-bundle"):
        text = (ROOT / "deploy" / name).read_text()
        assert len(re.findall(r"make_wheel [\"$.]", text)) == 1, name
        assert not re.search(r"\bpip wheel|git log", text), name
    assert '--mtime="@$epoch"' in (ROOT / "deploy/desk-bundle").read_text()


def rewrite(built: Path, folder: Path, changes: dict[str, bytes | None], year: int = 1980) -> Path:
    """The wheel, with these files changed, added or (None) left out."""
    other = folder / built.name
    with zipfile.ZipFile(built) as read, zipfile.ZipFile(other, "w") as written:
        content = {name: read.read(name) for name in read.namelist()}
        for name, data in {**content, **changes}.items():
            if data is not None:
                entry = zipfile.ZipInfo(name, (year, 1, 1, 0, 0, 0))
                entry.external_attr = 0o644 << 16
                written.writestr(entry, data)
    return other


def said_of(path: Path) -> list[str]:
    return list(wheel.look_inside(ROOT, wheel.list_source(ROOT), path))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"relay/web/templates/form.html": None}, "the wheel lacks relay/web/templates/form.html"),
        ({"relay/web/templates/form.html": b""}, "the wheel has another relay/web/templates/form"),
        ({"relay/config.py": b"print()"}, "the wheel has another relay/config.py"),
        ({"relay/more.py": b""}, "the wheel holds relay/more.py, which is not in the source"),
        ({"tests/photos.py": b""}, "the wheel holds tests/photos.py, which is for tests"),
        ({"relay/test_seal.py": b""}, "the wheel holds relay/test_seal.py, which is for tests"),
        ({"conftest.py": b""}, "the wheel holds conftest.py, which is for tests"),
        ({f"{ABOUT}/RECORD": None}, f"the wheel lacks {ABOUT}/RECORD"),
        ({f"{ABOUT}/METADATA": b"Name: poster-relay\n\n"}, "METADATA does not say Version"),
        ({f"{ABOUT}/METADATA": b"Name: poster-relay\n\n"}, "RECORD has another sum of poster_"),
    ],
)
def test_what_is_wrong_in_a_wheel_is_named(
    built: Path, tmp_path: Path, changes: dict[str, bytes | None], said: str
) -> None:
    assert said_of(rewrite(built, tmp_path, {})) == []
    assert said in "\n".join(said_of(rewrite(built, tmp_path, changes)))


def test_a_wheel_that_tells_a_time_or_another_version_is_named(built: Path, tmp_path: Path) -> None:
    late = said_of(rewrite(built, tmp_path, {}, year=2026))
    assert late
    assert all(one.startswith("the wheel tells when or by whom") for one in late)
    older = Path(shutil.copyfile(built, tmp_path / "poster_relay-0.0.1-py3-none-any.whl"))
    (said,) = said_of(older)
    assert said.endswith("is called poster_relay-0.0.1-py3-none-any.whl")


@pytest.fixture
def installed(built: Path, tmp_path: Path) -> Iterator[Service]:
    """The relay, served from the wheel alone."""
    target = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    subprocess.run([*pip, "--no-deps", "--no-index", "--target", target, built], check=True)
    service = Service(tmp_path / "demo", free_port(), wrapper=["env", f"PYTHONPATH={target}"])
    service.start()
    yield service
    service.kill()


def test_the_relay_runs_from_the_wheel(installed: Service, dirty: bytes) -> None:
    where = [*installed.wrapper, sys.executable, "-c", "import relay; print(relay.__file__)"]
    seen = subprocess.run(where, cwd="/", capture_output=True, text=True, check=True).stdout
    assert seen.startswith(str(installed.folder.parent / "installed"))
    assert installed.send(dirty).receipt
