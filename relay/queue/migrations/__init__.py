"""How a database of an earlier release becomes one of ours, step by step, on both databases."""

from pathlib import Path

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

from relay.queue.schema import metadata


def bring_up(connection: Connection, revision: str | None) -> None:
    """Bring the schema from that revision to the newest, in the transaction that is open.

    revision: None where there is nothing yet.
    """
    from alembic import command  # noqa: PLC0415 - half of a start's time, and seldom needed
    from alembic.config import Config  # noqa: PLC0415 - the same

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    if revision is not None:
        command.stamp(config, revision)  # SQLite files had numbers before there were revisions
    command.upgrade(config, "head")


async def drop_all(connection: AsyncConnection) -> None:
    """Drop every table, that of the revisions too."""
    await connection.run_sync(metadata.drop_all)
    await connection.execute(text("DROP TABLE IF EXISTS alembic_version"))
