"""`relay migrate`: move the queue between a file and PostgreSQL."""

import argparse
import asyncio
from pathlib import Path
from typing import Any

from relay.cli.printing import result, result_json
from relay.config import ServerConfig
from relay.errors import ConfigInvalid, NotKept, RelayError


def add_commands(commands: Any) -> None:
    """Add the command."""
    migrate = commands.add_parser("migrate", help="move the queue to another database")
    migrate.add_argument("--config", type=Path, required=True, help="relay.toml, as it is")
    migrate.add_argument(
        "--to", type=Path, required=True, help="relay.toml as it will be, with the new place"
    )
    migrate.add_argument("--dry-run", action="store_true", help="say what would be moved")
    migrate.add_argument("--json", action="store_true")
    migrate.set_defaults(run=_migrate)


def _migrate(arguments: argparse.Namespace) -> int:
    source, target = (ServerConfig.load(path) for path in (arguments.config, arguments.to))
    if source.queue == target.queue:
        raise ConfigInvalid(f"{arguments.to}: names the place where the queue is already")
    if source.campaign != target.campaign:
        raise ConfigInvalid(f"{arguments.to}: another campaign")
    if source.service_key.resolve() != target.service_key.resolve():
        # With another key, every receipt would be void.
        raise ConfigInvalid(f"{arguments.to}: service_key is another file: receipts need the same")
    report = asyncio.run(_move(source, target, is_dry_run=arguments.dry_run))
    if arguments.json:
        result_json(report | {"dry_run": arguments.dry_run})
        return 0
    verb = "would be" if arguments.dry_run else "were"
    counted = ", ".join(f"{count} {what}" for what, count in report.items())
    result(f"{counted} {verb} moved.")
    if not arguments.dry_run:
        result(f"Next: relay serve --config {arguments.to}")
    return 0


async def _move(source: ServerConfig, target: ServerConfig, *, is_dry_run: bool) -> dict[str, int]:
    from relay.queue import moving  # noqa: PLC0415 - a desk has no server packages
    from relay.queue.store import SealedQueue  # noqa: PLC0415 - the same

    if not source.postgresql and not source.database.is_file():
        raise ConfigInvalid(f"{source.database}: there is no queue here yet")
    most = target.max_queued
    try:
        async with SealedQueue.open(source.queue, max_queued=most) as ours:
            if is_dry_run:
                return vars(await moving.foresee(ours))
            async with SealedQueue.open(target.queue, max_queued=most, is_target=True) as theirs:
                return vars(await moving.move(ours, theirs))
    except NotKept as error:
        why = (
            error.message if error.__cause__ is None else "one of the two can't be read or written"
        )
        raise RelayError(f"{why}. The queue is where it was; try again") from error
