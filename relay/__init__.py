"""The safe way to send a campaign photo: scrubbed, sealed, released by staff."""

__version__ = "0.1.0"
