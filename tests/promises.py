"""SECURITY.md keeps its word: where the whole suite ran, every promised test has run and passed.

What this machine can't prove is named; under RELAY_TEST_NO_SKIP (CI) not being root is no excuse.
"""

import enum
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

_HEADING = "## What is promised"
_ROW = re.compile(r"\| (?P<words>[^|`]+) \| `(?P<test>tests/[\w/]+\.py::test_\w+)` \|")
# What selects some tests by hand. Only what was typed counts: an option in a file hides nothing.
_SELECTING = (
    *("-k", "-m", "--deselect", "--ignore", "--ignore-glob"),
    *("--lf", "--last-failed", "--sw", "--stepwise", "--co", "--collect-only"),
)
_WITHOUT_SAMPLES = ("../shared", "got empty parameter set")
_ONLY_ROOT, _ONLY_X86 = "only root", "only x86-64"


class Excuse(enum.StrEnum):
    """What this machine lacks for a test: no program is such a thing."""

    NO_SAMPLES = "needs ../shared"
    NOT_ROOT = "needs root"
    OTHER_MACHINE = "needs x86-64"


@dataclass(frozen=True)
class Promise:
    """A row: what is promised, and the one test that proves it."""

    words: str
    test: str


def read_promises(text: str) -> list[Promise]:
    """Read the rows of SECURITY.md.

    Raises:
        ValueError: a row does not end in the name of exactly one test; it is quoted.
    """
    section = text.partition(_HEADING)[2].partition("\n## ")[0]
    promises = []
    for row in [line for line in section.splitlines() if line.startswith("|")][2:]:
        match = _ROW.fullmatch(row)
        if match is None:
            raise ValueError(f"not a promise with exactly one test: {row}")
        promises.append(Promise(match["words"], match["test"]))
    return promises


@dataclass(eq=False)  # pluggy keeps plugins in sets
class Keeper:
    """The plugin. Registered by tests/conftest.py."""

    config: pytest.Config
    outcomes: dict[str, set[str]] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    unproved: list[str] = field(default_factory=list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what became of a test; of one with parameters, what became of each."""
        name = report.nodeid.partition("[")[0]
        outcomes = self.outcomes.setdefault(name, set())
        if report.failed or hasattr(report, "wasxfail"):
            outcomes.add("failed")
        elif report.skipped:
            outcomes.add(find_excuse(report, self.config.rootpath) or "was skipped")
        elif report.when == "call":
            outcomes.add("passed")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Fail a whole session that broke a promise."""
        is_over = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        if not (is_over and is_whole(self.config)) or session.shouldstop or session.shouldfail:
            return
        text = (self.config.rootpath / "SECURITY.md").read_text()
        for promise in read_promises(text):
            self._judge(promise)
        if self.broken:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name what was promised and not kept, and what could not be looked at."""
        for title, lines, colour in (
            ("promises of SECURITY.md not proved here", self.unproved, "yellow"),
            ("promises of SECURITY.md that nothing proved", self.broken, "red"),
        ):
            if lines:
                terminalreporter.section(title, **{colour: True})
                terminalreporter.write("".join(f"{line}\n" for line in lines))

    def _judge(self, promise: Promise) -> None:
        outcomes = self.outcomes.get(promise.test, set())
        excuses = {*Excuse} - ({Excuse.NOT_ROOT} if is_strict() else set())
        said = " and ".join(sorted(outcomes - {"passed"})) or "did not run"
        line = f'"{promise.words}": {promise.test} {said}'
        if outcomes - {"passed"} - excuses or not outcomes:
            self.broken.append(line)
        elif "passed" not in outcomes:
            self.unproved.append(line)


def is_strict() -> bool:
    """Whether this is CI, which has to have everything."""
    return bool(os.environ.get("RELAY_TEST_NO_SKIP"))


def find_excuse(report: pytest.TestReport, root: Path) -> Excuse | None:
    """Return what a skip says that this machine lacks, where it does lack it."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
    if any(words in reason for words in _WITHOUT_SAMPLES):
        return None if (root.parent / "shared").is_dir() else Excuse.NO_SAMPLES
    if _ONLY_ROOT in reason and os.geteuid() != 0:
        return Excuse.NOT_ROOT
    if _ONLY_X86 in reason and os.uname().machine != "x86_64":
        return Excuse.OTHER_MACHINE
    return None


def is_whole(config: pytest.Config) -> bool:
    """Whether nobody has asked for a part of the suite, and this is not one of two who share it."""
    if hasattr(config, "workerinput"):
        return False
    typed = config.invocation_params.args
    return config.args_source == pytest.Config.ArgsSource.TESTPATHS and not any(
        argument == option or argument.startswith(f"{option}=") or _is_joined(argument, option)
        for argument in typed
        for option in _SELECTING
    )


def _is_joined(argument: str, option: str) -> bool:
    return len(option) == len("-k") and argument.startswith(option)
