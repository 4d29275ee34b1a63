"""The box that a configuration asks for."""

from relay import memory
from relay.config import ServerConfig
from relay.scrub.supervisor import Scrubber, accept
from relay.seal.envelope import photo_budget


def make_scrubber(config: ServerConfig) -> Scrubber:
    """Return the box that a configuration asks for, not started yet."""
    return Scrubber(
        max_jpeg_bytes=photo_budget(config.envelope_bytes),
        accepted=accept(name for name in config.accept_missing if name != memory.NAME),
        heic=config.heic,
    )
