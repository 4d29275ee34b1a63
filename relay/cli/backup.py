"""`relay backup` and `relay restore`: what the operator does before, and after a machine is lost.

The server's packages are imported where a command runs, so that a desk does without them.
"""

import argparse
import asyncio
import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relay import memory
from relay.cli.printing import get_passphrase, result, result_json, say
from relay.errors import Corrupt, RelayError, WrongIdentity

if TYPE_CHECKING:
    from relay.intake.backup import Backup
    from relay.intake.restore import Restored


def add_commands(commands: Any) -> None:
    """Add `backup` and `restore`."""
    words = "seal a copy of settings, keys, receipts and log, without the envelopes"
    backup = commands.add_parser("backup", help=words, description=words)
    backup.add_argument("--config", type=Path, required=True, help="relay.toml")
    backup.add_argument("--to", type=Path, required=True, metavar="FILE", help="a new file")
    words = "who can open it: the operator's age1pq1…, one a line"
    backup.add_argument("--recipients", type=Path, required=True, metavar="FILE", help=words)
    backup.add_argument("--json", action="store_true")
    backup.set_defaults(run=_backup)

    words = "lay out a relay again from a backup"
    restore = commands.add_parser("restore", help=words, description=words)
    restore.add_argument("file", type=Path, metavar="FILE", help="from: relay backup")
    restore.add_argument("--identity", type=Path, required=True, help="whose recipient it is for")
    restore.add_argument("--passphrase-file", type=Path, help="a file whose first line it is")
    restore.add_argument(
        "--to", type=Path, required=True, metavar="FOLDER", help="absent, or empty"
    )
    restore.add_argument("--dry-run", action="store_true", help="open and check it, make nothing")
    restore.add_argument("--json", action="store_true")
    restore.set_defaults(run=_restore)


def _today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()


def _backup(arguments: argparse.Namespace) -> int:
    memory.forbid_dumps()
    from relay.intake.backup import make_backup  # noqa: PLC0415 - a desk has no server packages

    to = arguments.to
    try:
        made = asyncio.run(make_backup(arguments.config, to, arguments.recipients, today=_today()))
    except OSError as error:
        raise RelayError(f"{to}: {error.strerror}. Nothing is left of it there") from error
    if arguments.json:
        result_json(
            {"file": str(to), "day": str(made.day), "bytes": made.length, "sha256": made.digest}
        )
        return 0
    result(str(to))
    size = f"{made.length >> 20} MiB"
    say(f"The copy of {made.day}, sealed, {size}: without envelopes, TLS keys and onion keys.")
    say("Carry it off this machine. What is sent or taken back from now on is not in it.")
    return 0


def _restore(arguments: argparse.Namespace) -> int:
    memory.forbid_dumps()
    from relay.intake.restore import foresee_restore, restore  # noqa: PLC0415 - the same

    to = arguments.to
    backup = _open(arguments)
    if arguments.dry_run:
        restored = foresee_restore(backup, to)
    else:
        restored = asyncio.run(restore(backup, to, today=_today()))
    if arguments.json:
        counts = {"submissions": restored.submissions, "lost": restored.lost}
        about = {"folder": str(to), "copied": str(restored.copied), "files": restored.files}
        result_json(about | counts | {"head": restored.head, "dry_run": arguments.dry_run})
        return 0
    _print(restored, arguments)
    return 0


def _open(arguments: argparse.Namespace) -> "Backup":
    from relay.intake.backup import open_backup  # noqa: PLC0415 - the same
    from relay.seal.files import load_any_identities  # noqa: PLC0415 - the same

    def ask() -> str:
        return get_passphrase(arguments.passphrase_file, str(arguments.identity))

    file = arguments.file
    identities = load_any_identities(arguments.identity, ask)
    try:
        return open_backup(file, identities)
    except WrongIdentity:
        raise WrongIdentity(f"{file}: sealed to another key than {arguments.identity}.") from None
    except Corrupt as error:
        raise Corrupt(f"{file}: {error.message} Take another copy of it.") from None


def _print(restored: "Restored", arguments: argparse.Namespace) -> None:
    for name in restored.files:
        result(f"{arguments.to / name}{': would be made' if arguments.dry_run else ''}")
    known = f"{restored.submissions} submissions, and the log up to entry {restored.head}"
    say(f"The copy of {restored.copied}: {known}.")
    say(f"{restored.lost} had an envelope, which is not in a copy: they are lost.")
    if arguments.dry_run:
        return
    say("Each receipt now says of which day the copy is, and staff's desks hold what was lost.")
    say("Next: docs/operator.md, Backup and restore. Tell your colleagues before they pull.")
