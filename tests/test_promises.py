"""A promise that no test has proved in a whole session fails it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.promises import read_promises

SECURITY = """# Security

## What is promised, and the test that proves it

| Promise | Test |
| --- | --- |
{rows}
## What is not promised
"""
ROW = "| {} | `tests/test_it.py::test_{}` |\n"
BOTH = {"Nothing is kept": "one", "Nobody is named": "two"}
CONFTEST = """
from keeper import Keeper

def pytest_configure(config):
    config.pluginmanager.register(Keeper(config))
"""
GOOD = """
import pytest

def test_one():
    pass

@pytest.mark.parametrize("n", [1, 2])
def test_two(n):
    pass

def test_three():
    pass
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "tests").mkdir(parents=True)
    (folder / "pytest.ini").write_text(
        "[pytest]\ntestpaths = tests\naddopts = --import-mode=importlib -p no:cacheprovider\n"
    )
    (folder / "tests/conftest.py").write_text(CONFTEST)
    shutil.copyfile(ROOT / "tests/promises.py", folder / "keeper.py")
    promise(folder, BOTH)
    (folder / "tests/test_it.py").write_text(GOOD)
    return folder


def promise(folder: Path, promises: dict[str, str]) -> None:
    rows = "".join(ROW.format(words, test) for words, test in promises.items())
    (folder / "SECURITY.md").write_text(SECURITY.format(rows=rows))


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    environment = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # none has a part in this, and all are slow
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def change(folder: Path, old: str, new: str) -> None:
    path = folder / "tests/test_it.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def test_a_session_that_proves_every_promise_passes(suite: Path) -> None:
    code, said = run(suite)
    assert code == 0
    assert "promise" not in said


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("def test_two", "def other_two", "did not run"),
        ("def test_two(n):\n    pass", "def test_two(n):\n    assert n == 1", "failed"),
        (
            "def test_two(n):\n    pass",
            "def test_two(n):\n    pytest.skip('no tool')",
            "was skipped",
        ),
        ("def test_two(n):", "def test_two(n):\n    if n == 2: pytest.skip('x')", "was skipped"),
        ("def test_two(n):", "@pytest.mark.xfail\ndef test_two(n):\n    assert 0", "failed"),
        ("def test_two(n):", "@pytest.mark.skip\ndef test_two(n):", "was skipped"),
        ("def test_two(n):", "@pytest.mark.xfail\ndef test_two(n):", "failed"),
        ("def test_two(n):", "def test_two(n, missing):", "failed"),
        ("[1, 2]", "[]", "was skipped"),
    ],
)
def test_a_promise_that_nothing_proved_fails_the_session_by_name(
    suite: Path, old: str, new: str, what: str
) -> None:
    (suite.parent / "shared").mkdir()
    change(suite, old, new)
    code, said = run(suite, "-q")
    assert code == 1
    assert f'"Nobody is named": tests/test_it.py::test_two {what}\n' in said
    assert "Nothing is kept" not in said


SHARED_OUT = ("-q", "-p", "xdist", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("", "", None),
        ("def test_two", "def other_two", "did not run"),
        ("def test_two(n):\n    pass", "def test_two(n):\n    assert n == 1", "failed"),
        ("def test_two(n):", "def test_two(n):\n    if n == 2: pytest.skip('x')", "was skipped"),
        ("def test_two(n):", "@pytest.mark.xfail\ndef test_two(n):\n    assert 0", "failed"),
        ("def test_two(n):\n    pass", "def test_two(n):\n    import os; os.abort()", "failed"),
    ],
)
def test_promises_are_kept_where_two_share_the_tests_too(
    suite: Path, old: str, new: str, said: str | None
) -> None:
    """Each sees a half, and judges nothing; that is for whoever hears of both."""
    shutil.copyfile(suite / "tests/test_it.py", suite / "tests/test_more.py")
    change(suite, old, new)
    code, shown = run(suite, *SHARED_OUT)
    assert code == (said is not None), shown
    judged = [line for line in shown.splitlines() if line.startswith('"')]
    assert judged == ([f'"Nobody is named": tests/test_it.py::test_two {said}'] if said else [])


def test_an_excuse_is_one_where_two_share_the_tests_too(suite: Path) -> None:
    change(suite, "def test_two(n):", "def test_two(n):\n    pytest.skip('needs ../shared')")
    code, said = run(suite, *SHARED_OUT)
    assert code == 0
    assert "test_two needs ../shared" in said


def test_a_test_that_was_deselected_by_a_file_fails_the_session(suite: Path) -> None:
    path = suite / "pytest.ini"
    path.write_text(path.read_text().replace("addopts =", "addopts = -k one"))
    code, said = run(suite)
    assert code == 1
    assert "test_two did not run" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ("-k", "one"),
        ("-kone",),
        ("tests/test_it.py::test_one",),
        ("tests",),
        ("-m", "not slow"),
        ("--deselect", "tests/test_it.py::test_two"),
        ("--deselect=tests/test_it.py::test_two",),
        ("--collect-only",),
    ],
)
def test_a_part_of_the_suite_promises_nothing(suite: Path, arguments: tuple[str, ...]) -> None:
    change(suite, "def test_two", "def other_two")
    code, said = run(suite, *arguments)
    assert code == 0, said
    assert "did not run" not in said


def test_a_session_that_was_stopped_early_fails_for_its_own_reason(suite: Path) -> None:
    change(suite, "def test_one():", "def test_one():\n    assert 0")
    code, said = run(suite, "-x")
    assert code == 1
    assert "did not run" not in said


@pytest.mark.parametrize("is_here", [True, False])
def test_samples_that_are_not_here_are_an_excuse_and_here_they_are_none(
    suite: Path, *, is_here: bool
) -> None:
    if is_here:
        (suite.parent / "shared").mkdir()
    change(suite, "def test_two(n):", "def test_two(n):\n    pytest.skip('needs ../shared')")
    code, said = run(suite)
    assert code == is_here
    assert ("test_two was skipped" in said) == is_here
    assert ("test_two needs ../shared" in said) == (not is_here)


@pytest.mark.parametrize("is_strict", [True, False])
def test_what_needs_root_is_named_where_nobody_is_and_is_no_excuse_in_ci(
    suite: Path, monkeypatch: pytest.MonkeyPatch, *, is_strict: bool
) -> None:
    monkeypatch.setenv("RELAY_TEST_NO_SKIP", "1" if is_strict else "")
    keeper = suite / "keeper.py"
    keeper.write_text(keeper.read_text().replace("os.geteuid()", "1000"))
    change(suite, "def test_two(n):", "def test_two(n):\n    pytest.skip('only root may')")
    code, said = run(suite, "-q")
    assert code == is_strict
    assert '"Nobody is named": tests/test_it.py::test_two needs root\n' in said
    assert ("not proved here" in said) == (not is_strict)
    assert "Nothing is kept" not in said


def test_what_this_machine_can_prove_in_part_is_proved(suite: Path) -> None:
    change(suite, "def test_two(n):", "def test_two(n):\n    if n == 1: pytest.skip('../shared')")
    code, said = run(suite)
    assert code == 0
    assert "not proved here" not in said


@pytest.mark.parametrize("is_here", [True, False])
def test_numbers_of_another_machine_are_an_excuse_there(suite: Path, *, is_here: bool) -> None:
    keeper = suite / "keeper.py"
    machine = '"x86_64"' if is_here else '"riscv64"'
    keeper.write_text(keeper.read_text().replace("os.uname().machine", machine))
    change(suite, "def test_two(n):", "def test_two(n):\n    pytest.skip('only x86-64')")
    code, said = run(suite)
    assert code == is_here
    assert ("test_two needs x86-64" in said) == (not is_here)


@pytest.mark.parametrize(
    "row",
    [
        "| Nothing is kept | none |",
        "| Nothing is kept | `tests/test_it.py::test_one`, `tests/test_it.py::test_two` |",
        "| Nothing is kept | `tests/test_it.py` |",
        "| Nothing is kept | `tests/test_it.py::helper` |",
        "| Nothing is kept |",
        "| `tests/test_it.py::test_one` | `tests/test_it.py::test_two` |",
        "|Nothing is kept|`tests/test_it.py::test_one`|",
    ],
)
def test_a_row_without_exactly_one_test_is_refused(row: str) -> None:
    with pytest.raises(ValueError, match="exactly one test"):
        read_promises(SECURITY.format(rows=ROW.format("Good", "one") + row + "\n"))


def test_the_repository_has_the_keeper(request: pytest.FixtureRequest) -> None:
    names = [type(plugin).__name__ for plugin in request.config.pluginmanager.get_plugins()]
    assert names.count("Keeper") == 1
