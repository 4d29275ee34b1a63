"""Destroy what lies on this laptop of a submission: overwritten, synced, removed."""

import os
from pathlib import Path

from relay.desk.journal import ID, Journal, unfinished
from relay.seal.envelope import PHOTO_NAME, SUBMISSION_NAME

_PART = ".part"
_CHUNK_BYTES = 1 << 20


def destroy_copies(submission_id: str, journal: Journal) -> bool:
    """Destroy every copy that the journal knows: sealed, opened, or on a contact sheet.

    Returns whether one was there. A sheet goes as a whole, with what it shows of others.

    Links are not followed: what they point at is somebody else's.
    """
    there = [path for path in _copies(submission_id, journal) if destroy_file(path)]
    for folder in _folders(submission_id, journal):
        if not any(folder.iterdir()):
            folder.rmdir()
    journal.forget(submission_id)
    return bool(there)


def has_copies(submission_id: str, journal: Journal) -> bool:
    """Whether there is a copy that `destroy_copies` would destroy."""
    copies = _copies(submission_id, journal)
    return any(path.is_file() and not path.is_symlink() for path in copies)


def _folders(submission_id: str, journal: Journal) -> list[Path]:
    folders = [Path(folder) for folder in journal.opened.get(submission_id, {})]
    return [folder for folder in folders if folder.is_dir() and not folder.is_symlink()]


def _copies(submission_id: str, journal: Journal) -> list[Path]:
    sealed = [Path(path) for path in journal.sealed.get(submission_id, [])]
    sealed += [unfinished(path) for path in sealed]  # of a pull that was killed
    sheets = [Path(path) for path in journal.shown.get(submission_id, [])]
    sheets += [part_of(sheet) for sheet in sheets]
    folders = _folders(submission_id, journal)
    opened = [folder / name for folder in folders for name in (PHOTO_NAME, SUBMISSION_NAME)]
    return [*sealed, *sheets, *opened]


def sweep_parts(folder: Path) -> None:
    """Destroy what an `open` that was killed had not finished in `folder`."""
    for part in folder.glob(f".*{_PART}"):
        is_ours = ID.fullmatch(part.name.removeprefix(".").removesuffix(_PART))
        if is_ours and part.is_dir() and not part.is_symlink():
            for file in part.iterdir():
                destroy_file(file)
            part.rmdir()


def part_of(path: Path) -> Path:
    """Return where a folder or file is prepared."""
    return path.with_name(f".{path.name}{_PART}")


def destroy_file(path: Path) -> bool:
    """Overwrite, sync and remove a file; a link or anything else stays. Returns whether it did."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("r+b") as file:
        overwrite(file.fileno())
    path.unlink()
    return True


def overwrite(descriptor: int) -> None:
    """Write zeros over all of an open file, on the disk too."""
    length, at = os.fstat(descriptor).st_size, 0
    while at < length:
        at += os.pwrite(descriptor, bytes(min(_CHUNK_BYTES, length - at)), at)
    os.fsync(descriptor)
