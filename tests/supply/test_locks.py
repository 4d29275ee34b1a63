"""The lists of what is installed: whole, pinned, and from nowhere else."""

import re
import shutil
from pathlib import Path

import pytest

from scripts.supply import locks
from tests.conftest import ROOT

HASH = "--hash=sha256:" + "0" * 64
LISTS = ("demo", "desk", "fuzz", "server", "test")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What the check reads, to be broken."""
    shutil.copytree(ROOT / "deploy/lock", tmp_path / "deploy/lock")
    (tmp_path / "scripts").mkdir()
    for name in ("pyproject.toml", "scripts/lock"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    return tmp_path


def edit(copy: Path, pattern: str, new: str, lists: tuple[str, ...] = LISTS) -> None:
    for name in lists:
        path = copy / f"deploy/lock/{name}.txt"
        changed, count = re.subn(pattern, new, path.read_text(), flags=re.MULTILINE)
        assert count == 1, f"{name}.txt has no {pattern}"
        path.write_text(changed)


def entry(name: str) -> str:
    return rf"^{name}==(?:.+\n)(?:    --hash=.+\n)+"


def test_our_locks_are_whole(copy: Path) -> None:
    assert locks.check(ROOT) == []
    assert locks.check(copy) == []


@pytest.mark.parametrize(
    "line",
    [
        f"yarl==1.0 {HASH} --index-url https://example.org/simple",
        "--index-url https://example.org/simple",
        "--extra-index-url https://example.org/simple",
        "-i https://example.org/simple",
        "--find-links /srv/wheels",
        "--trusted-host example.org",
        "--no-binary :all:",
        "-r other.txt",
        "-c other.txt",
        "-e .",
        ".",
        f"yarl @ https://example.org/yarl-1.0-py3-none-any.whl {HASH}",
        f"https://example.org/yarl-1.0-py3-none-any.whl {HASH}",
        f"git+https://example.org/yarl@main {HASH}",
        f"./yarl-1.0-py3-none-any.whl {HASH}",
        "yarl==1.0",
        "yarl==1.0 ; sys_platform == 'linux'",
        "yarl==1.0 --hash=md5:" + "0" * 32,
        "yarl==1.0 --hash=sha256:" + "0" * 63,
        f"yarl>=1.0 {HASH}",
        f"yarl==1.* {HASH}",
        f"yarl {HASH}",
        f"уarl==1.0 {HASH}",  # noqa: RUF001 - the first letter is Cyrillic
        f"yarl==1.0 {HASH} # and what a comment hides",
        "# a comment",
        "",
    ],
)
@pytest.mark.parametrize("is_last", [True, False])
def test_a_line_that_is_no_pinned_package_with_hashes_is_refused(
    copy: Path, line: str, *, is_last: bool
) -> None:
    path = copy / "deploy/lock/server.txt"
    lines = path.read_text()
    path.write_text(f"{lines}{line}\n" if is_last else f"{line}\n{lines}")
    assert len(locks.check(copy)) == 1
    path.write_text(lines)
    assert locks.check(copy) == []


@pytest.mark.parametrize(
    ("pattern", "new", "lists", "said"),
    [
        (r"^pillow==\S+", "pillow==12.9", LISTS, "has pillow 12.9, outside >=13"),
        (r"^yarl==\S+", "yarl==1.25", LISTS, r".venv has \S+ of yarl 1.25"),
        (r"^yarl==\S+", "yarl==1.25", ("server",), "server.txt has another yarl than test.txt"),
        (entry("pynacl"), "", ("desk",), "desk.txt lacks pynacl on Python 3.11"),
        (entry("yarl"), "", ("server",), "server.txt lacks yarl on Python 3.11"),
        (entry("greenlet"), "", ("server",), "server.txt lacks greenlet on Python 3.13"),
        (
            r"^(yarl==.*'linux')",
            r"\1 and python_version < '3.14'",
            LISTS,
            "lacks yarl",
        ),
        (r"\Z", f"stray==1.0 {HASH}\n", ("desk",), "desk.txt has stray, which nothing asks for"),
        (r"\Z", f"yarl==1.0 {HASH}\n", ("desk",), "desk.txt has yarl twice on Python 3.11"),
        (r"^(yarl==.*)$", rf"\1\n    {HASH} \\", ("server",), "other hashes of yarl than test"),
    ],
)
def test_what_does_not_fit_is_named(
    copy: Path, pattern: str, new: str, lists: tuple[str, ...], said: str
) -> None:
    edit(copy, pattern, new, lists)
    assert re.search(said, "\n".join(locks.check(copy)))


def test_a_list_that_nothing_makes_is_named(copy: Path) -> None:
    (copy / "deploy/lock/more.txt").write_text(f"stray==1.0 {HASH}\n")
    assert "'more'" in locks.check(copy)[0]


def test_a_dependency_from_an_address_is_named(copy: Path) -> None:
    path = copy / "pyproject.toml"
    wanted = '"piexif @ https://example.org/piexif-1.1.3-py3-none-any.whl"'
    path.write_text(re.sub(r'"piexif>=.*"', wanted, path.read_text()))
    assert "pyproject.toml takes piexif from an address" in locks.check(copy)


def test_a_dependency_that_was_not_locked_is_named(copy: Path) -> None:
    path = copy / "pyproject.toml"
    path.write_text(path.read_text().replace('"piexif>', '"textual>=8",\n    "piexif>'))
    assert {f"{name}.txt lacks textual on Python 3.11: scripts/lock" for name in LISTS} <= set(
        locks.check(copy)
    )
