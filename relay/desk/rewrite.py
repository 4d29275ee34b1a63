"""Replace the photo that `open` wrote, so that nothing of the one before stays on the disk."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from relay.desk.copies import before, destroy_file
from relay.desk.journal import replace_file
from relay.errors import RelayError
from relay.seal.files import overwrite, sync_folder


def rewrite_opened(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put these files, in their order, into the place of those in `folder`, which are overwritten.

    Killed at any point, each is whole, the old one or the new one; calling it again finishes.

    Raises:
        RelayError: a link is in the way. OSError: it can't be written.
    """
    for path in (folder, *(folder / name for name in files)):
        if path.is_symlink():
            raise RelayError(f"{path}: a link is in the way. Move it away.")
    for name, content in files.items():
        _rewrite(folder / name, content)


def _rewrite(path: Path, content: bytes) -> None:
    """Keep a second name for the old bytes until they are overwritten."""
    old = before(path)
    finish(path)
    if not path.exists():
        replace_file(path, content)
        return
    with path.open("r+b") as file:
        with suppress(OSError):  # a drive without hard links: what is open can be overwritten, too
            os.link(path, old)
        replace_file(path, content)
        overwrite(file.fileno())
    old.unlink(missing_ok=True)
    sync_folder(path.parent)


def finish(path: Path) -> None:
    """Destroy the old bytes of what was replaced at `path` by a command that was killed."""
    old = before(path)
    if path.exists() and old.exists() and path.samefile(old):
        old.unlink()  # killed before it was replaced
    destroy_file(old)
