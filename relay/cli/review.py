"""`relay desk review`: one contact sheet of what waits."""

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

from relay.cli.keyring import Keyring
from relay.cli.printing import (
    outcome_code,
    printable,
    result,
    result_json,
    say,
    say_destroyed,
    say_take_down,
)
from relay.cli.progress import progress
from relay.config import DeskConfig
from relay.desk.journal import JournalFile
from relay.desk.opening import prepare_folder
from relay.desk.review import SHEET_NAME, Desk, Reviewed, review, take_opened
from relay.desk.stock import take_stock
from relay.errors import NothingThere


def add_command(actions: Any) -> None:
    """Add `desk review`."""
    parser = actions.add_parser("review", help="show submissions on one page, without a network")
    parser.add_argument(
        "sources", type=Path, nargs="+", help="folders, .age files, or what `open` wrote"
    )
    parser.add_argument("--to", type=Path, required=True, help=f"folder for {SHEET_NAME}")
    parser.add_argument("--force", action="store_true", help="even to a place that is not safe")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=_review)


def _review(arguments: argparse.Namespace) -> int:
    config = DeskConfig.load(arguments.config)
    journal_file, keyring = JournalFile(config.folder), Keyring(config)
    stock = take_stock(arguments.sources, journal_file, keyring.knows)
    is_sealed = bool(stock.envelopes)
    take_opened(arguments.sources, journal_file, stock)
    say_take_down(stock.take_down)
    say_destroyed(stock.destroyed)
    for words in stock.warnings:
        say(printable(words))
    if not (stock.envelopes or stock.amiss):
        raise NothingThere("Nothing to review: no file that ends in .age, no opened photo.")
    desk = Desk(
        identities=keyring.identities() if is_sealed else (),
        accept_missing=config.accept_missing,
        command=(str(Path(sys.argv[0])), "desk", "--config", str(arguments.config)),
    )
    prepare_folder(arguments.to, journal_file, force=arguments.force)
    with progress("Looking", quiet=arguments.json) as watch:
        outcomes = asyncio.run(review(stock, arguments.to, journal_file, desk, watch))
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    is_written = len(errors) < len(outcomes)
    sheet = str(arguments.to / SHEET_NAME) if is_written else None
    if arguments.json:
        shown = [_json(outcome) for outcome in outcomes]
        told = {name: vars(stock)[name] for name in ("take_down", "destroyed", "warnings")}
        result_json({"sheet": sheet, **told, "reviewed": shown})
    else:
        _print(outcomes)
        if sheet:
            result(sheet)
    return outcome_code(errors, len(outcomes))


def _print(outcomes: list[Reviewed]) -> None:
    for outcome in outcomes:
        if outcome.error is not None:
            say(f"{printable(outcome.source.name)}: {printable(outcome.error.message)}")
        for alarm in outcome.alarms:
            say(f"{outcome.id}: ALARM: {alarm}")


def _json(outcome: Reviewed) -> dict[str, Any]:
    return {
        "source": str(outcome.source),
        "id": outcome.id,
        "error": type(outcome.error).__name__ if outcome.error else None,
        "found": outcome.found,
        "alarms": outcome.alarms,
        "visible_unmarked": outcome.visible,
    }
