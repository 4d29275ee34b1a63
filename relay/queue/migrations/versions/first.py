"""The queue as it was first."""

from alembic import op
from sqlalchemy import Column, Date, Integer, LargeBinary, String, Text

from relay.queue.migrations import states

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    words = "sealed leased released posted returned withdrawn expired"
    states.table(words).create(op.get_bind())
    op.create_table(
        "envelope",
        Column("id", LargeBinary(16), primary_key=True),
        Column("sealed", LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE envelope ALTER COLUMN sealed SET STORAGE EXTERNAL")
    op.create_table(
        "log",
        Column("seq", Integer, primary_key=True, autoincrement=False),
        Column("day", Date, nullable=False),
        Column("action", String(9), nullable=False),
        Column("submission_id", LargeBinary(16), nullable=False),
        Column("envelope_sha256", LargeBinary(32), nullable=False),
        Column("signer", String(80)),
        Column("statement", Text),
        Column("signature", String(88)),
        Column("hash", LargeBinary(32), nullable=False),
    )
    op.create_table(
        "marker",
        Column("name", String(16), primary_key=True),
        Column("value", LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
