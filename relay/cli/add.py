"""`relay desk add`: what still comes by e-mail."""

import argparse
import datetime as dt
from pathlib import Path
from typing import Any

from relay.cli.keyring import Keyring, connected
from relay.cli.printing import PARTLY, printable, result, result_json, say
from relay.config import DeskConfig
from relay.desk.add import Added, Choices, add_all, fetch_campaign
from relay.desk.client import DeskClient
from relay.desk.journal import JournalFile
from relay.errors import ConfigInvalid
from relay.seal.envelope import MESSAGE_CHARACTERS
from relay.seal.signing import SigningIdentity

_POSTERS = ("general", "write-in", "handwritten")


def add_command(actions: Any) -> None:
    """Add `desk add`."""
    words = "put a photo that came by e-mail into the queue, cleaned and sealed"
    parser = actions.add_parser("add", help=words, description=words)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="photos")
    parser.add_argument("--language", default="en", help="of her message; default: en")
    parser.add_argument("--message", type=Path, help="a text file with her message")
    parser.add_argument("--poster", choices=_POSTERS, help="what she holds")
    parser.add_argument("--not-before", type=dt.date.fromisoformat, help="day, YYYY-MM-DD")
    parser.add_argument("--may-quote", action="store_true", help="her message may be posted too")
    parser.add_argument("--not-to-be-posted", action="store_true", help="for the team's eyes only")
    parser.add_argument("--dry-run", action="store_true", help="clean it, send nothing")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=_add)


def _add(arguments: argparse.Namespace) -> int:
    config = DeskConfig.load(arguments.config)
    choices = _read_choices(arguments)

    async def work(client: DeskClient, journal_file: JournalFile, _: SigningIdentity) -> int:
        campaign = await fetch_campaign(client, journal_file, config.campaign_signer)
        outcomes = await add_all(
            None if arguments.dry_run else client,
            campaign,
            arguments.files,
            choices,
            accept_missing=config.accept_missing,
        )
        return _report(outcomes, arguments, is_vouched_for=bool(config.campaign_signer))

    return connected(config, Keyring(config), work)


def _report(outcomes: list[Added], arguments: argparse.Namespace, *, is_vouched_for: bool) -> int:
    if arguments.json:
        result_json({"dry_run": arguments.dry_run, "added": [_json(one) for one in outcomes]})
    else:
        _print(outcomes, arguments)
        if not is_vouched_for and any(one.error is None for one in outcomes):
            say("Nobody vouches for the keys it is sealed to: set campaign_signer in desk.toml.")
    errors = [one.error for one in outcomes if one.error is not None]
    if not errors:
        return 0
    return PARTLY if len(errors) < len(outcomes) else errors[0].exit_code


def _read_choices(arguments: argparse.Namespace) -> Choices:
    message = ""
    if arguments.message is not None:
        try:
            message = arguments.message.read_text("utf-8").strip()
        except OSError as error:
            raise ConfigInvalid(f"--message {arguments.message}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigInvalid(f"--message {arguments.message}: not a text file") from None
    if len(message) > MESSAGE_CHARACTERS:
        raise ConfigInvalid(f"--message: {MESSAGE_CHARACTERS} characters at most")
    return Choices(
        language=arguments.language,
        message=message,
        poster=arguments.poster,
        may_post=not arguments.not_to_be_posted,
        may_quote=arguments.may_quote,
        not_before=arguments.not_before,
    )


def _print(outcomes: list[Added], arguments: argparse.Namespace) -> None:
    state = "would be sealed" if arguments.dry_run else "sealed in the queue"
    for one in outcomes:
        name = printable(str(one.source))
        if one.error is not None:
            say(f"{name}: {printable(one.error.message)}")
            continue
        left = f"; it carried: {', '.join(one.removed)}" if one.removed else ""
        result(f"{name}: {state}{left}")
    if any(one.error is None for one in outcomes) and not arguments.dry_run:
        say("The files themselves still carry all that. Delete them, and the e-mails, everywhere.")


def _json(one: Added) -> dict[str, object]:
    return {
        "source": str(one.source),
        "removed": list(one.removed),
        "error": type(one.error).__name__ if one.error else None,
    }
