"""`relay desk questions`: what is asked, and a list of it for whoever moderates."""

import argparse
from pathlib import Path
from typing import Any

from relay.cli.printing import PARTLY, printable, result, result_json, say
from relay.config import DeskConfig
from relay.desk.journal import JournalFile
from relay.desk.questions import Asked, Found, export, find_questions
from relay.errors import NothingThere


def add_command(actions: Any) -> None:
    """Add `desk questions`."""
    words = "list the questions opened here; --to: the released ones, for whoever moderates"
    parser = actions.add_parser("questions", help=words, description=words)
    parser.add_argument("--to", type=Path, metavar="FILE", help="a list as CSV, for a spreadsheet")
    parser.add_argument("--force", action="store_true", help="even to a place that is not safe")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=_list)


def _list(arguments: argparse.Namespace) -> int:
    journal_file = JournalFile(DeskConfig.load(arguments.config).folder)
    found = find_questions(journal_file.read())
    if not (found.questions or found.failed):
        raise NothingThere("No question opened on this desk.")
    shown = found.questions
    if arguments.to is not None and shown:
        shown = export(shown, arguments.to, journal_file, force=arguments.force)
    if arguments.json:
        _print_json(shown, found, arguments)
    else:
        _print(shown, found, arguments)
    if not found.failed:
        return 0
    return PARTLY if shown else next(iter(found.failed.values())).exit_code


def _print(shown: list[Asked], found: Found, arguments: argparse.Namespace) -> None:
    for submission_id, error in found.failed.items():
        say(f"{submission_id}: {printable(error.message)}")
    if arguments.to is None:
        for one in shown:
            text = printable(" ".join(one.text.split()))
            result(f"{one.number} {one.state} {printable(one.language)}: {text}")
    elif shown:
        result(str(arguments.to))
        say(f"{len(shown)} released. Where one of them is taken back, this desk destroys the whole")
        say("list. A copy that you hand on, you must delete yourself.")


def _print_json(shown: list[Asked], found: Found, arguments: argparse.Namespace) -> None:
    failed = {name: type(error).__name__ for name, error in found.failed.items()}
    listed = [vars(one) | {"number": one.number} for one in shown]
    file = str(arguments.to) if arguments.to is not None and shown else None
    result_json({"questions": listed, "file": file, "failed": failed})
