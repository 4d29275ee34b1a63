"""A relay may have been restored from a copy, which holds no envelopes."""

from relay.queue.migrations import states

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Allow the state."""
    states.allow("sealed leased released posted answered returned withdrawn expired lost")
