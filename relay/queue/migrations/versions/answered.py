"""A question may have been answered."""

from relay.queue.migrations import states

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Allow the state."""
    states.allow("sealed leased released posted answered returned withdrawn expired")
