"""`relay desk`: pull, open, log; the verdicts are in `relay.cli.verdicts`."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from relay.cli import (
    add,
    caption,
    cover,
    free,
    kit,
    post,
    questions,
    review,
    take_down,
    verdicts,
)
from relay.cli.keyring import Keyring, connected
from relay.cli.printing import (
    PARTLY,
    outcome_code,
    printable,
    result,
    result_json,
    say,
    say_destroyed,
    say_take_down,
    say_undestroyed,
)
from relay.cli.progress import progress
from relay.config import DeskConfig
from relay.desk.audit import audit, fetch_log, remember
from relay.desk.client import DeskClient
from relay.desk.journal import JournalFile
from relay.desk.opening import Opened, open_all, prepare_folder
from relay.desk.places import check_place
from relay.desk.pull import Pulled, foresee, pull
from relay.desk.stock import Amiss, Fault, take_stock
from relay.desk.visible import count_of, words_for
from relay.errors import ConfigInvalid, NothingThere
from relay.queue.chain import LogEntry
from relay.queue.states import RESTORED, Verdict
from relay.seal.signing import SigningIdentity

NOTHING = 10


def add_commands(commands: Any) -> None:
    """Add the staff's commands."""
    desk = commands.add_parser("desk", help="the staff side")
    desk.add_argument("--config", type=Path, default=Path("desk.toml"), help="default: desk.toml")
    actions = desk.add_subparsers(required=True, metavar="COMMAND")

    puller = actions.add_parser("pull", help="fetch sealed submissions; destroy withdrawn ones")
    puller.add_argument("--to", type=Path, required=True, help="folder for <id>.age")
    puller.add_argument("--dry-run", action="store_true", help="lease, fetch, destroy nothing")
    puller.add_argument("--force", action="store_true", help="even to a place that is not safe")
    puller.add_argument("--json", action="store_true")
    puller.set_defaults(run=_pull)

    opener = actions.add_parser("open", help="open sealed submissions, without a network")
    opener.add_argument("sources", type=Path, nargs="+", help="folders or .age files")
    opener.add_argument("--to", type=Path, required=True, help="folder for <id>/photo.jpg")
    opener.add_argument("--force", action="store_true", help="even to a place that is not safe")
    opener.add_argument("--json", action="store_true")
    opener.set_defaults(run=_open)

    review.add_command(actions)

    cover.add_command(actions)

    caption.add_command(actions)

    verdicts.add_commands(actions)

    post.add_command(actions)

    take_down.add_command(actions)

    questions.add_command(actions)

    add.add_command(actions)

    free.add_command(actions)

    kit.add_command(actions)

    logger = actions.add_parser("log", help="show the relay's log")
    logger.add_argument("--verify", action="store_true", help="check it since you last looked")
    words = "the operator has told you that the relay was restored from a copy"
    logger.add_argument("--after-restore", action="store_true", help=words)
    logger.add_argument("--json", action="store_true")
    logger.set_defaults(run=_log)


def _pull(arguments: argparse.Namespace) -> int:
    if not arguments.force:
        check_place(arguments.to)

    async def work(client: DeskClient, journal_file: JournalFile, identity: SigningIdentity) -> int:
        if arguments.dry_run:
            pulled = await foresee(client, journal_file, arguments.to)
        else:
            with progress("Fetching", quiet=arguments.json) as watch:
                pulled = await pull(client, journal_file, identity, arguments.to, watch)
        say_take_down(pulled.take_down)
        for submission_id in pulled.of_colleagues:
            say(f"TAKE DOWN: {submission_id}. Released by a colleague; see that the post goes.")
        if arguments.json:
            failed = {name: type(error).__name__ for name, error in pulled.failed.items()}
            result_json(vars(pulled) | {"failed": failed, "dry_run": arguments.dry_run})
        else:
            _print_pulled(pulled, arguments)
        if pulled.undestroyed:
            return PARTLY
        if pulled.failed and not (pulled.fetched or pulled.present):
            return next(iter(pulled.failed.values())).exit_code
        return PARTLY if pulled.failed else 0 if pulled.fetched else NOTHING

    config = DeskConfig.load(arguments.config)
    return connected(config, Keyring(config), work)


def _print_pulled(pulled: Pulled, arguments: argparse.Namespace) -> None:
    to, is_dry = arguments.to, arguments.dry_run
    say_destroyed(pulled.destroyed, "would be" if is_dry else "are")
    if pulled.lost:
        say(f"The relay was set up again from a copy of {pulled.copied}. Of those that you know,")
        say(f"{len(pulled.lost)} may have been taken back since: they are held (docs/staff.md).")
    say_undestroyed(pulled.undestroyed)
    for submission_id in pulled.questions:
        say(f"{submission_id}: a question, taken back after its release. Take it off every list,")
        say(f"    then say so: relay desk answer --taken-back {submission_id}")
    for submission_id in pulled.fetched:
        result(f"{to / f'{submission_id}.age'}{': would be fetched' if is_dry else ''}")
    for submission_id in pulled.disputed:
        say(
            f"{submission_id}: the relay says it was taken back, but it had confirmed your release."
        )
        say("    Your copies stay. Verify the log.")
    for submission_id, error in pulled.failed.items():
        say(f"{submission_id}: {printable(error.message)}")
    if pulled.failed and not is_dry:
        say(f"{len(pulled.failed)} could not be fetched. Pull again.")
    if pulled.fetched and not is_dry:
        desk = f"{Path(sys.argv[0])} desk --config {arguments.config}"
        say(f"{len(pulled.fetched)} new. Open: {desk} open {to}/ --to opened/")
    elif not (pulled.fetched or pulled.failed):
        say("No new submission.")


def _open(arguments: argparse.Namespace) -> int:
    config = DeskConfig.load(arguments.config)
    journal_file, keyring = JournalFile(config.folder), Keyring(config)
    stock = take_stock(arguments.sources, journal_file, keyring.knows)
    say_take_down(stock.take_down)
    say_destroyed(stock.destroyed)
    for words in stock.warnings:
        say(printable(words))
    outcomes = [_not_opened(amiss) for amiss in stock.amiss]
    for outcome in [] if arguments.json else outcomes:
        _print_opened(outcome)
    if not (stock.envelopes or outcomes):
        raise NothingThere("No envelope there: no file that ends in .age.")
    identities = keyring.identities() if stock.envelopes else ()
    prepare_folder(arguments.to, journal_file, force=arguments.force)
    if stock.envelopes:
        envelopes = open_all(
            stock.envelopes, identities, arguments.to, journal_file, config.accept_missing
        )
        outcomes += asyncio.run(_open_and_print(envelopes, len(stock.envelopes), arguments))
    if arguments.json:
        faults = {amiss.source: amiss.fault for amiss in stock.amiss}
        opened = [_opened_json(outcome, faults.get(outcome.source)) for outcome in outcomes]
        about = {"take_down": stock.take_down, "destroyed": stock.destroyed}
        result_json({"opened": opened, "warnings": stock.warnings} | about)
    strangers = [outcome for outcome in outcomes if not outcome.was_pulled_here]
    if strangers:
        say(f"{len(strangers)} not pulled by this desk: nothing shows where they come from.")
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    return outcome_code(errors, len(outcomes))


def _not_opened(amiss: Amiss) -> Opened:
    return Opened(source=amiss.source, id=amiss.id, error=amiss.error)


async def _open_and_print(
    envelopes: AsyncIterator[Opened], count: int, arguments: argparse.Namespace
) -> list[Opened]:
    outcomes: list[Opened] = []
    with progress("Opening", quiet=arguments.json) as watch:
        async for outcome in envelopes:
            if not arguments.json:
                _print_opened(outcome)
            outcomes.append(outcome)
            watch(len(outcomes), count)
    return outcomes


def _print_opened(outcome: Opened) -> None:
    if outcome.error is not None:
        say(f"{printable(outcome.source.name)}: {printable(outcome.error.message)}")
        return
    result(str(outcome.folder))
    if outcome.choices:
        say(f"{outcome.id}: {', '.join(outcome.choices)}.")
    if outcome.found:
        found = ", ".join(outcome.found)
        alarm = f"the relay had not cleaned this photo ({found}). It is clean now."
        say(f"{outcome.id}: ALARM: {alarm}")
    if outcome.visible:
        say(f"{outcome.id}: ALARM: {words_for(outcome.visible)}")
        say(f"    Cover it: relay desk cover {outcome.id}")
    if outcome.covers:
        say(f"{outcome.id}: covered here: {count_of(outcome.covers, 'place')}.")
    if outcome.is_mended:
        say(f"{outcome.id}: was open already; it is covered there now, too.")
    elif not outcome.is_new:
        say(f"{outcome.id}: was open already, left as it is.")


def _opened_json(outcome: Opened, fault: Fault | None) -> dict[str, Any]:
    return {
        "source": str(outcome.source),
        "id": outcome.id,
        "folder": str(outcome.folder) if outcome.folder else None,
        "error": type(outcome.error).__name__ if outcome.error else None,
        "fault": fault,
        "is_new": outcome.is_new,
        "found": outcome.found,
        "choices": outcome.choices,
        "visible_unmarked": len(outcome.visible),
        "was_pulled_here": outcome.was_pulled_here,
    }


def _log_line(entry: LogEntry, mine: str) -> str:
    if entry.action == RESTORED:
        words = f"restored from a copy of {printable(entry.statement or '')}"
        return f"{entry.seq} {entry.day} {words}"
    line = f"{entry.seq} {entry.day} {printable(entry.action)} {entry.submission_id.hex()}"
    if entry.signer is None:
        return line
    return f"{line} by {'you' if entry.signer == mine else printable(entry.signer)}"


def _say_again(verdict: str) -> str:
    """Return how it is said again."""
    again = {
        Verdict.RELEASE: "relay desk release ID --after-restore",
        Verdict.RETURN: "relay desk return ID --reason …",
        Verdict.POST: "the next relay desk post says it by itself",
        Verdict.ANSWER: "relay desk answer ID",
        Verdict.REMOVE: "relay desk take-down ID",
    }
    return again[Verdict(verdict)]


def _log(arguments: argparse.Namespace) -> int:
    if arguments.after_restore and not arguments.verify:
        raise ConfigInvalid("--after-restore goes with --verify.")
    config = DeskConfig.load(arguments.config)
    keyring = Keyring(config)

    async def work(client: DeskClient, journal_file: JournalFile, identity: SigningIdentity) -> int:
        head, missing = "", []
        if arguments.verify:
            known = {identity.signer().encoded} | keyring.staff()
            checked = await audit(
                client, journal_file.read(), identity, known, after_restore=arguments.after_restore
            )
            with journal_file.update() as journal:
                remember(journal, checked)
            head = checked.head.hash.hex()[:16]
            entries, seq = checked.entries, checked.head.seq
            if checked.vouched_by is not None:
                say(f"Older entries are gone; {printable(checked.vouched_by)} had checked them.")
            missing = checked.missing
        else:
            entries = (await fetch_log(client)).entries
            seq = entries[-1].seq if entries else 0
        if arguments.json:
            report = {"verified": arguments.verify, "seq": seq, "head": head}
            report |= {"missing": [{"id": one, "verdict": verdict} for one, verdict in missing]}
            result_json(report | {"entries": [entry.to_json() for entry in entries]})
            return 0
        mine = identity.signer().encoded
        for entry in entries:
            result(_log_line(entry, mine))
        for submission_id, verdict in missing:
            say(f"{submission_id}: the relay has lost your {verdict}. Again: {_say_again(verdict)}")
        if arguments.verify:
            say(f"The log is whole up to entry {seq}; {len(entries)} new since you last looked.")
            say(f"A colleague who verifies it now reads the same: {seq} {head}")
        return 0

    return connected(config, keyring, work)
