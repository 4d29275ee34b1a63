"""What a desk remembers: a JSON file beside desk.toml, replaced whole or not at all."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from relay.errors import Corrupt

FILE_NAME = "desk-journal.json"
_GENESIS = "00" * 32


@dataclass
class Journal:
    """What was pulled (id to SHA-256), opened (id to folders), decided (id to verdict).

    awaited: verdicts that the log has not shown yet. log_seq, log_hash: where it ended last.
    """

    envelopes: dict[str, str] = field(default_factory=dict)
    opened: dict[str, list[str]] = field(default_factory=dict)
    verdicts: dict[str, str] = field(default_factory=dict)
    awaited: list[str] = field(default_factory=list)
    campaign: str = ""
    log_seq: int = 0
    log_hash: str = _GENESIS

    @classmethod
    def load(cls, folder: Path) -> "Journal":
        """Read the journal of the desk in `folder`; an empty one where there is none.

        Raises:
            Corrupt: it can't be read. Never guessed at, since it guards against rollback.
        """
        path = folder / FILE_NAME
        try:
            return cls(**json.loads(path.read_text("utf-8")))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, TypeError):
            raise Corrupt(f"{path}: can't be read. Move it away to begin afresh.") from None

    def save(self, folder: Path) -> None:
        """Put the journal on the disk."""
        replace_file(folder / FILE_NAME, json.dumps(asdict(self), indent=1).encode())

    def forget(self, submission_id: str) -> None:
        """Remember nothing of a submission whose copies were destroyed."""
        self.envelopes.pop(submission_id, None)
        self.opened.pop(submission_id, None)


@contextmanager
def journal_of(folder: Path) -> Iterator[Journal]:
    """Yield the journal and save it afterwards, whatever happened inside."""
    journal = Journal.load(folder)
    try:
        yield journal
    finally:
        journal.save(folder)


def replace_file(path: Path, content: bytes) -> None:
    """Write `content` beside `path`, mode 0600, sync it, and put it in the place of `path`."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
