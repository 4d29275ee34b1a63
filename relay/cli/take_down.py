"""`relay desk take-down`: delete the posts that their senders want gone."""

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from relay.cli.caption import load_networks
from relay.cli.keyring import Keyring, connected
from relay.cli.printing import PARTLY, printable, result, result_json, say, say_undestroyed
from relay.config import DeskConfig
from relay.desk.client import DeskClient
from relay.desk.decide import find_id
from relay.desk.journal import Journal, JournalFile
from relay.desk.networks import Network
from relay.desk.posting import Relay, alone
from relay.desk.pull import ask_again
from relay.desk.take_down import TakenDown, take_down
from relay.errors import ConfigInvalid, NothingThere, RelayError
from relay.queue.states import Verdict
from relay.seal.signing import SigningIdentity


def add_command(actions: Any) -> None:
    """Add `desk take-down`."""
    parser = actions.add_parser("take-down", help="delete the posts that senders want gone")
    parser.add_argument("ids", nargs="*", metavar="ID", help="default: all that are asked for")
    parser.add_argument(
        "--deleted", action="store_true", help="you have looked, and deleted the rest by hand"
    )
    parser.add_argument("--dry-run", action="store_true", help="show where they stand")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=_take_down)


def _take_down(arguments: argparse.Namespace) -> int:
    config = DeskConfig.load(arguments.config)
    networks = load_networks(config) if config.accounts else {}
    if arguments.deleted and not arguments.ids:
        raise ConfigInvalid("--deleted: type the numbers of those that you have looked for.")

    async def work(client: DeskClient, journal_file: JournalFile, identity: SigningIdentity) -> int:
        relay = Relay(client=client, journal_file=journal_file, identity=identity)
        with alone(config.folder):
            await ask_again(client, journal_file)
            journal = journal_file.read()
            ids = [find_id(journal, given, opened=True) for given in arguments.ids]
            ids = ids or journal.take_down
            if not ids:
                raise NothingThere("Nobody asks to take a post down.")
            if arguments.dry_run:
                return _show(ids, journal, arguments)
            done = [await _one(relay, networks, one, arguments) for one in ids]
        if arguments.json:
            result_json({"taken_down": [_json(one) for one in done]})
        left = [one for one in done if one.left]
        return 0 if not left else PARTLY if len(left) < len(done) else RelayError.exit_code

    return connected(config, Keyring(config), work)


async def _one(
    relay: Relay, networks: Mapping[str, Network], submission_id: str, arguments: argparse.Namespace
) -> TakenDown:
    done = await asyncio.to_thread(
        take_down, relay.journal_file, networks, submission_id, is_deleted=arguments.deleted
    )
    if not arguments.json:
        for account in done.deleted:
            result(f"{submission_id} {account}: deleted")
    for account, (url, why) in done.left.items():
        say(f"{submission_id}: {account}: NOT DELETED: {printable(f'{why} {url}'.strip())}")
    if done.left:
        say("    When you have looked, and deleted what stands there by hand:")
        say(f"    relay desk take-down {submission_id} --deleted")
        return done
    say_undestroyed(done.destruction.failed)
    with suppress(NothingThere):  # nobody asks for it any more: the relay has forgotten it
        await relay.declare(submission_id, Verdict.REMOVE)
    say(f"{submission_id}: nothing of it is left at your accounts or on this desk.")
    return done


def _show(ids: Sequence[str], journal: Journal, arguments: argparse.Namespace) -> int:
    rows = [
        {"id": one, "account": account, "stage": record.stage, "url": record.url}
        for one in ids
        for account, record in journal.posts.get(one, {}).items()
    ]
    if arguments.json:
        result_json({"posts": rows})
        return 0
    for row in rows:
        result(f"{row['id']} {row['account']} {row['stage']} {printable(row['url'])}".rstrip())
    say("Nothing is deleted yet." if rows else "This desk knows of no post of it.")
    return 0


def _json(done: TakenDown) -> dict[str, Any]:
    left = [
        {"account": account, "url": url, "why": why} for account, (url, why) in done.left.items()
    ]
    return {"id": done.id, "deleted": done.deleted, "left": left}
