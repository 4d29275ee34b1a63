"""`relay desk free`: what a lost laptop had leased waits for the others again."""

import argparse
from typing import Any

from relay.cli.keyring import Keyring, connected
from relay.cli.printing import result, result_json, say
from relay.config import DeskConfig
from relay.desk.client import DeskClient
from relay.desk.free import free
from relay.desk.journal import JournalFile
from relay.seal.signing import Signer, SigningIdentity

NOTHING = 10


def add_command(actions: Any) -> None:
    """Add the command."""
    parser = actions.add_parser("free", help="end the leases of a colleague whose laptop is lost")
    parser.add_argument("signer", metavar="SIGNER", type=_signer, help="relaysigner1…")
    parser.add_argument("--dry-run", action="store_true", help="sign and send nothing")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=_free)


def _signer(text: str) -> str:
    try:
        return Signer.parse(text).encoded
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None  # its words never quote a key


def _free(arguments: argparse.Namespace) -> int:
    async def work(client: DeskClient, _: JournalFile, __: SigningIdentity) -> int:
        freed = [] if arguments.dry_run else await free(client, arguments.signer)
        if arguments.json:
            result_json({"freed": freed, "dry_run": arguments.dry_run})
        else:
            for submission_id in freed:
                result(f"{submission_id}: free")
        if arguments.dry_run:
            say(f"Would end every lease of {arguments.signer}.")
            return 0
        if not freed:
            say("She holds no lease.")
            return NOTHING
        say(f"{len(freed)} wait for the next pull.")
        return 0

    config = DeskConfig.load(arguments.config)
    return connected(config, Keyring(config), work)
