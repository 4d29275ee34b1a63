"""A change to which states a submission may have: the same on both databases."""

from alembic import op
from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Index,
    LargeBinary,
    MetaData,
    String,
    Table,
)

_NAME = "submission_state_check"


def table(states: str) -> Table:
    """Return the table as it was from revision 0001 on, but for its states."""
    return Table(
        "submission",
        MetaData(),
        Column("id", LargeBinary(16), primary_key=True),
        Column("day", Date, nullable=False),
        Column("state", String(9), nullable=False),
        Column("changed_day", Date, nullable=False),
        Column("receipt_hash", LargeBinary(32), nullable=False),
        Column("envelope_sha256", LargeBinary(32), nullable=False),
        Column("holder", String(80)),
        Column("lease_day", Date),
        Column("return_reason", String(24)),
        Column("take_down", Boolean, nullable=False),
        Column("arrival_logged", Boolean, nullable=False),
        Column("end_logged", Boolean, nullable=False),
        CheckConstraint(condition(states), name=_NAME),
        Index("submission_by_receipt", "receipt_hash", unique=True),
        Index("submission_by_state", "state", "day"),
        sqlite_with_rowid=False,
    )


def condition(states: str) -> str:
    """Return the condition on a state; `states`: words with spaces between them."""
    quoted = ", ".join(f"'{state}'" for state in states.split())
    return f"state IN ({quoted})"


def allow(states: str) -> None:
    """Let these be the states."""
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        op.drop_constraint(_NAME, "submission")
        op.create_check_constraint(_NAME, "submission", condition(states))
        return
    # SQLite can't change a condition: the table is made anew.
    wanted = table(states)
    columns = ", ".join(wanted.columns.keys())
    for index in wanted.indexes:
        op.execute(f"DROP INDEX {index.name}")
    op.execute("ALTER TABLE submission RENAME TO submission_before")
    wanted.create(connection)
    op.execute(f"INSERT INTO submission ({columns}) SELECT {columns} FROM submission_before")  # noqa: S608 - our own names
    op.execute("DROP TABLE submission_before")
