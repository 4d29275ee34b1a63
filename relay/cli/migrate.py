"""`relay migrate`: move the queue between a file and PostgreSQL."""

import argparse
import asyncio
from pathlib import Path
from typing import Any

from relay.cli.printing import PARTLY, result, result_json, say
from relay.config import ServerConfig
from relay.errors import ConfigInvalid, NotKept, RelayError


def add_commands(commands: Any) -> None:
    """Add the command."""
    migrate = commands.add_parser("migrate", help="move the queue to another database")
    migrate.add_argument("--config", type=Path, required=True, help="relay.toml, as it is")
    migrate.add_argument(
        "--to", type=Path, required=True, help="relay.toml as it will be, with the new place"
    )
    migrate.add_argument("--dry-run", action="store_true", help="look whether it could be moved")
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
    if arguments.dry_run:
        asyncio.run(_look(source, target))
        result("Both places can be read. Nothing was moved.")
        return 0
    is_clean = asyncio.run(_move(source, target))
    if arguments.json:
        result_json({"moved": True, "destroyed": is_clean})
    else:
        result(f"Everything was moved. Next: relay serve --config {arguments.to}")
    if not is_clean:
        say("What was there is still in its files: another program reads them.")
        say("Close it, and call this again.")
        return PARTLY
    return 0


async def _look(source: ServerConfig, target: ServerConfig) -> None:
    """Read what is there, and say no number: that of today's submissions is nobody's."""
    from relay.intake.storage import check_server  # noqa: PLC0415 - a desk has no server packages
    from relay.queue.reading import open_for_reading  # noqa: PLC0415 - the same

    async with open_for_reading(source.queue):
        pass
    for finding in await check_server(target):
        if finding.blocks:
            raise ConfigInvalid(finding.words)


async def _move(source: ServerConfig, target: ServerConfig) -> bool:
    from relay.intake.storage import require_queue  # noqa: PLC0415 - a desk has no server packages
    from relay.queue.moving import move  # noqa: PLC0415 - the same
    from relay.queue.store import SealedQueue  # noqa: PLC0415 - the same

    require_queue(source)
    most = target.max_queued
    try:
        async with (
            SealedQueue.open(source.queue, max_queued=most, is_moving=True) as ours,
            SealedQueue.open(target.queue, max_queued=most, is_moving=True) as theirs,
        ):
            return await move(ours, theirs)
    except NotKept as error:
        why = "one of the two can't be read or written"
        raise RelayError(f"{why}. Nothing is lost: call this again") from error
