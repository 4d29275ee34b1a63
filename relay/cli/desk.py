"""`relay desk`: pull, open, release, return, log."""

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from relay.cli import add
from relay.cli.printing import get_passphrase, printable, result, result_json, say
from relay.config import DeskConfig
from relay.desk.audit import audit, fetch_log, remember
from relay.desk.client import DeskClient
from relay.desk.decide import decide, make_decision
from relay.desk.journal import JournalFile
from relay.desk.opening import Opened, find_envelopes, open_all, prepare_folder
from relay.desk.pull import Pulled, pull
from relay.errors import Corrupt, RelayError
from relay.queue.chain import LogEntry
from relay.queue.states import Reason, Verdict
from relay.seal.files import load_identities, load_signing_identity
from relay.seal.lists import load_staff
from relay.seal.signing import SigningIdentity

PARTLY = 3
NOTHING = 10
_Work = Callable[[DeskClient, JournalFile, SigningIdentity], Coroutine[Any, Any, int]]


def add_commands(commands: Any) -> None:
    """Add the staff's commands."""
    desk = commands.add_parser("desk", help="the staff side")
    desk.add_argument("--config", type=Path, default=Path("desk.toml"), help="default: desk.toml")
    actions = desk.add_subparsers(required=True, metavar="COMMAND")

    puller = actions.add_parser("pull", help="fetch sealed submissions; destroy withdrawn ones")
    puller.add_argument("--to", type=Path, required=True, help="folder for <id>.age")
    puller.add_argument("--json", action="store_true")
    puller.set_defaults(run=_pull)

    opener = actions.add_parser("open", help="open sealed submissions, without a network")
    opener.add_argument("sources", type=Path, nargs="+", help="folders or .age files")
    opener.add_argument("--to", type=Path, required=True, help="folder for <id>/photo.jpg")
    opener.add_argument("--force", action="store_true", help="even where others can read it")
    opener.add_argument("--json", action="store_true")
    opener.set_defaults(run=_open)

    releaser = actions.add_parser("release", help="decide that photos may be posted")
    returner = actions.add_parser("return", help="decide against photos; the relay destroys them")
    for parser, verdict in ((releaser, Verdict.RELEASE), (returner, Verdict.RETURN)):
        parser.add_argument("ids", nargs="+", metavar="ID")
        parser.add_argument("--dry-run", action="store_true", help="sign and send nothing")
        parser.add_argument("--json", action="store_true")
        parser.set_defaults(run=_decide, verdict=verdict, reason=None)
    returner.add_argument("--reason", required=True, choices=[str(reason) for reason in Reason])

    add.add_command(actions)

    logger = actions.add_parser("log", help="show the relay's log")
    logger.add_argument("--verify", action="store_true", help="check it since you last looked")
    logger.add_argument("--json", action="store_true")
    logger.set_defaults(run=_log)


def _connected(config: DeskConfig, work: _Work) -> int:
    """Run `work` with a signed connection; a journal that can't be read ends it before."""
    journal_file = JournalFile(config.folder)
    journal_file.read()
    identity = load_signing_identity(config.signer, _passphrase(config, config.signer))

    async def run() -> int:
        async with DeskClient(config.relay, identity, config.proxy) as client:
            return await work(client, journal_file, identity)

    return asyncio.run(run())


def _passphrase(config: DeskConfig, what: Path) -> str:
    return get_passphrase(config.passphrase_file, str(what))


def _pull(arguments: argparse.Namespace) -> int:
    async def work(client: DeskClient, journal_file: JournalFile, _: SigningIdentity) -> int:
        pulled = await pull(client, journal_file, arguments.to)
        if arguments.json:
            failed = {name: type(error).__name__ for name, error in pulled.failed.items()}
            result_json(vars(pulled) | {"failed": failed})
        else:
            _print_pulled(pulled, arguments)
        if pulled.failed and not (pulled.fetched or pulled.present):
            return next(iter(pulled.failed.values())).exit_code
        return PARTLY if pulled.failed else 0 if pulled.fetched else NOTHING

    return _connected(DeskConfig.load(arguments.config), work)


def _print_pulled(pulled: Pulled, arguments: argparse.Namespace) -> None:
    to = arguments.to
    for submission_id in pulled.take_down:
        say(f"TAKE DOWN: {submission_id}. The sender asks you to delete the post.")
    for submission_id in pulled.destroyed:
        say(f"Withdrawn or expired, your copies are destroyed: {submission_id}")
    for submission_id in pulled.fetched:
        result(str(to / f"{submission_id}.age"))
    for submission_id in pulled.disputed:
        say(
            f"{submission_id}: the relay says it was taken back, but it had confirmed your release."
        )
        say("    Your copies stay. Verify the log.")
    for submission_id, error in pulled.failed.items():
        say(f"{submission_id}: {printable(error.message)}")
    if pulled.failed:
        say(f"{len(pulled.failed)} could not be fetched. Pull again.")
    if pulled.fetched:
        desk = f"{Path(sys.argv[0])} desk --config {arguments.config}"
        say(f"{len(pulled.fetched)} new. Open: {desk} open {to}/ --to opened/")
    elif not pulled.failed:
        say("No new submission.")


def _open(arguments: argparse.Namespace) -> int:
    config = DeskConfig.load(arguments.config)
    journal_file = JournalFile(config.folder)
    journal_file.read()
    envelopes = find_envelopes(arguments.sources)
    identities = load_identities(config.identity, _passphrase(config, config.identity))
    prepare_folder(arguments.to, journal_file, force=arguments.force)

    async def run() -> list[Opened]:
        outcomes = []
        async for outcome in open_all(
            envelopes, identities, arguments.to, journal_file, config.accept_missing
        ):
            if not arguments.json:
                _print_opened(outcome)
            outcomes.append(outcome)
        return outcomes

    outcomes = asyncio.run(run())
    if arguments.json:
        result_json({"opened": [_opened_json(outcome) for outcome in outcomes]})
    strangers = [outcome for outcome in outcomes if not outcome.was_pulled_here]
    if strangers:
        say(f"{len(strangers)} not pulled by this desk: nothing shows where they come from.")
    return _open_code(outcomes)


def _print_opened(outcome: Opened) -> None:
    if outcome.error is not None:
        say(f"{printable(outcome.source.name)}: {printable(outcome.error.message)}")
        return
    result(str(outcome.folder))
    if outcome.was_dirty:
        say(f"{outcome.id}: ALARM: the relay had not cleaned this photo. It is clean now.")
    if not outcome.is_new:
        say(f"{outcome.id}: was open already, left as it is.")


def _opened_json(outcome: Opened) -> dict[str, Any]:
    return {
        "source": str(outcome.source),
        "id": outcome.id,
        "folder": str(outcome.folder) if outcome.folder else None,
        "error": type(outcome.error).__name__ if outcome.error else None,
        "is_new": outcome.is_new,
        "was_dirty": outcome.was_dirty,
        "was_pulled_here": outcome.was_pulled_here,
    }


def _open_code(outcomes: list[Opened]) -> int:
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    if not errors:
        return 0
    if len(errors) < len(outcomes):
        say(f"{len(errors)} of {len(outcomes)} could not be opened.")
        return PARTLY
    codes = {error.exit_code for error in errors}
    return codes.pop() if len(codes) == 1 else Corrupt.exit_code


def _decide(arguments: argparse.Namespace) -> int:
    reason = Reason(arguments.reason) if arguments.reason else None

    async def work(client: DeskClient, journal_file: JournalFile, identity: SigningIdentity) -> int:
        errors: dict[str, RelayError] = {}
        report = []
        journal = journal_file.read()
        for submission_id in arguments.ids:
            try:
                decision = make_decision(journal, submission_id, arguments.verdict, reason)
                if arguments.dry_run:
                    _say_decided(arguments, submission_id, "would be")
                    report.append({"id": submission_id, "already": False})
                    continue
                decided = await decide(client, journal_file, identity, decision)
            except RelayError as error:
                errors[submission_id] = error
                say(f"{printable(submission_id)}: {printable(error.message)}")
                continue
            _say_decided(arguments, submission_id, "already" if decided.already else "")
            report.append(vars(decided))
        if arguments.json:
            failed = {name: type(error).__name__ for name, error in errors.items()}
            about = {"verdict": arguments.verdict, "dry_run": arguments.dry_run}
            result_json(about | {"decided": report, "failed": failed})
        if not errors:
            return 0
        if len(errors) < len(arguments.ids):
            return PARTLY
        return next(iter(errors.values())).exit_code

    return _connected(DeskConfig.load(arguments.config), work)


def _say_decided(arguments: argparse.Namespace, submission_id: str, how: str) -> None:
    if not arguments.json:
        state = "released" if arguments.verdict is Verdict.RELEASE else "returned"
        result(f"{submission_id}: {f'{how} {state}'.strip()}")


def _log_line(entry: LogEntry, mine: str) -> str:
    line = f"{entry.seq} {entry.day} {printable(entry.action)} {entry.submission_id.hex()}"
    if entry.signer is None:
        return line
    return f"{line} by {'you' if entry.signer == mine else printable(entry.signer)}"


def _log(arguments: argparse.Namespace) -> int:
    config = DeskConfig.load(arguments.config)

    async def work(client: DeskClient, journal_file: JournalFile, identity: SigningIdentity) -> int:
        head = ""
        if arguments.verify:
            known = {identity.signer().encoded}
            if config.staff is not None:
                known |= set(load_staff(config.staff))
            checked = await audit(client, journal_file.read(), identity, known)
            with journal_file.update() as journal:
                remember(journal, checked)
            head = checked.head.hash.hex()[:16]
            entries, seq = checked.entries, checked.head.seq
            if checked.vouched_by is not None:
                say(f"Older entries are gone; {printable(checked.vouched_by)} had checked them.")
        else:
            entries = (await fetch_log(client)).entries
            seq = entries[-1].seq if entries else 0
        if arguments.json:
            report = {"verified": arguments.verify, "seq": seq, "head": head}
            result_json(report | {"entries": [entry.to_json() for entry in entries]})
            return 0
        mine = identity.signer().encoded
        for entry in entries:
            result(_log_line(entry, mine))
        if arguments.verify:
            say(f"The log is whole up to entry {seq}; {len(entries)} new since you last looked.")
            say(f"A colleague who verifies it now reads the same: {seq} {head}")
        return 0

    return _connected(config, work)
