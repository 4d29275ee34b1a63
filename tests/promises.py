"""SECURITY.md keeps its word: where the whole suite ran, every promised test has run and passed."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

_HEADING = "## What is promised"
_ROW = re.compile(r"\| (?P<words>[^|`]+) \| `(?P<test>tests/[\w/]+\.py::test_\w+)` \|")
# What selects some tests by hand. Only what was typed counts: an option in a file hides nothing.
_SELECTING = (
    *("-k", "-m", "--deselect", "--ignore", "--ignore-glob"),
    *("--lf", "--last-failed", "--sw", "--stepwise", "--co", "--collect-only"),
)
_WITHOUT_SAMPLES = ("../shared", "got empty parameter set")


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

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what became of a test; of one with parameters, what became of each."""
        name = report.nodeid.partition("[")[0]
        outcomes = self.outcomes.setdefault(name, set())
        if report.failed or hasattr(report, "wasxfail"):
            outcomes.add("failed")
        elif report.skipped:
            outcomes.add("excused" if self._is_excused(report) else "was skipped")
        elif report.when == "call":
            outcomes.add("passed")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Fail a whole session that broke a promise."""
        is_over = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        if not (is_over and is_whole(self.config)) or session.shouldstop or session.shouldfail:
            return
        text = (self.config.rootpath / "SECURITY.md").read_text()
        self.broken = list(self._broken(read_promises(text)))
        if self.broken:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name what was promised and not kept."""
        if self.broken:
            terminalreporter.section("promises of SECURITY.md that nothing proved", red=True)
            for line in self.broken:
                terminalreporter.line(line)

    def _broken(self, promises: list[Promise]) -> Iterable[str]:
        for promise in promises:
            outcomes = self.outcomes.get(promise.test, set())
            if outcomes - {"passed", "excused"}:
                what = " and ".join(sorted(outcomes - {"passed", "excused"}))
            elif not outcomes:
                what = "did not run"
            else:
                continue
            yield f'"{promise.words}": {promise.test} {what}'

    def _is_excused(self, report: pytest.TestReport) -> bool:
        """Whether it wanted the samples in ../shared, and they are not here."""
        samples = self.config.rootpath.parent / "shared"
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        is_told = any(words in reason for words in _WITHOUT_SAMPLES)
        return is_told and not samples.is_dir()


def is_whole(config: pytest.Config) -> bool:
    """Whether nobody has asked for a part of the suite."""
    typed = config.invocation_params.args
    return config.args_source == pytest.Config.ArgsSource.TESTPATHS and not any(
        argument == option or argument.startswith(f"{option}=") or _is_joined(argument, option)
        for argument in typed
        for option in _SELECTING
    )


def _is_joined(argument: str, option: str) -> bool:
    return len(option) == len("-k") and argument.startswith(option)
