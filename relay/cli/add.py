"""`relay desk add`: what still comes by e-mail."""

import argparse
import datetime as dt
from pathlib import Path
from typing import Any

from relay.cli.keyring import Keyring, connected
from relay.cli.printing import PARTLY, printable, result, result_json, say
from relay.cli.progress import over
from relay.config import DeskConfig
from relay.desk.add import Added, Choices, add_all, add_questions, fetch_campaign
from relay.desk.client import DeskClient
from relay.desk.journal import JournalFile
from relay.errors import ConfigInvalid, RelayUnreachable
from relay.seal.envelope import MESSAGE_CHARACTERS
from relay.seal.signing import SigningIdentity

_POSTERS = ("general", "write-in", "handwritten")


def add_command(actions: Any) -> None:
    """Add `desk add`."""
    words = "put a photo or question that came by e-mail into the queue, cleaned and sealed"
    parser = actions.add_parser("add", help=words, description=words)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="photos")
    parser.add_argument("--question", action="store_true", help="text files, a question in each")
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
    if not (config.campaign_signer or config.passphrase_file):  # a demo has the second
        raise ConfigInvalid(
            "Nobody vouches for the keys that the relay would have it sealed to. Put the key that "
            'signs your campaign\'s list into desk.toml: campaign_signer = "relaysigner1…"'
        )

    async def work(client: DeskClient, journal_file: JournalFile, _: SigningIdentity) -> int:
        campaign = await fetch_campaign(client, journal_file, config.campaign_signer)
        outcomes = []
        speaking = None if arguments.dry_run else client
        files = over(arguments.files, "Sending", quiet=arguments.json)
        adding = (
            add_questions(speaking, campaign, files, choices.language)
            if arguments.question
            else add_all(speaking, campaign, files, choices, accept_missing=config.accept_missing)
        )
        async for outcome in adding:
            if not arguments.json:
                _print(outcome, dry_run=arguments.dry_run)
            outcomes.append(outcome)
        return _report(outcomes, arguments)

    return connected(config, Keyring(config), work)


def _report(outcomes: list[Added], arguments: argparse.Namespace) -> int:
    if arguments.json:
        result_json({"dry_run": arguments.dry_run, "added": [_json(one) for one in outcomes]})
    elif any(one.error is None for one in outcomes) and not arguments.dry_run:
        say("What is sealed still lies in its file, with all that it carried. Delete these files,")
        say("and the e-mails, everywhere.")
    errors = [one.error for one in outcomes if one.error is not None]
    if not errors:
        return 0
    return PARTLY if len(errors) < len(outcomes) else errors[0].exit_code


def _read_choices(arguments: argparse.Namespace) -> Choices:
    message = ""
    of_photos = (arguments.message, arguments.poster, arguments.not_before)
    if arguments.question and (any(of_photos) or arguments.may_quote):
        raise ConfigInvalid("--question: there is only its text and its language to say.")
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


def _print(outcome: Added, *, dry_run: bool) -> None:
    name = printable(str(outcome.source))
    if outcome.error is not None:
        say(f"{name}: {printable(outcome.error.message)}")
        if isinstance(outcome.error, RelayUnreachable):
            say("    It may be there all the same: pull and look before you add it again.")
        return
    state = "would be sealed" if dry_run else "sealed in the queue"
    left = f"; it carried: {', '.join(outcome.removed)}" if outcome.removed else ""
    result(f"{name}: {state}{left}")


def _json(one: Added) -> dict[str, object]:
    return {
        "source": str(one.source),
        "removed": list(one.removed),
        "error": type(one.error).__name__ if one.error else None,
    }
