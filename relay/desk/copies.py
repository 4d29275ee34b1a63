"""Destroy what lies on this laptop of a submission: overwritten, synced, removed."""

import os
from pathlib import Path

from relay.desk.journal import ID, Journal
from relay.seal.envelope import PHOTO_NAME, SUBMISSION_NAME

_PART = ".part"


def destroy_copies(submission_id: str, journal: Journal) -> bool:
    """Destroy every sealed and opened copy that the journal knows. Returns whether one was there.

    Links are not followed: what they point at is somebody else's.
    """
    folders = [Path(folder) for folder in journal.opened.get(submission_id, {})]
    folders = [folder for folder in folders if folder.is_dir() and not folder.is_symlink()]
    files = [Path(path) for path in journal.sealed.get(submission_id, [])]
    files += [folder / name for folder in folders for name in (PHOTO_NAME, SUBMISSION_NAME)]
    there = [path for path in files if _destroy_file(path)]
    for folder in folders:
        if not any(folder.iterdir()):
            folder.rmdir()
    journal.forget(submission_id)
    return bool(there)


def sweep_parts(folder: Path) -> None:
    """Destroy what an `open` that was killed had not finished in `folder`."""
    for part in folder.glob(f".*{_PART}"):
        is_ours = ID.fullmatch(part.name.removeprefix(".").removesuffix(_PART))
        if is_ours and part.is_dir() and not part.is_symlink():
            for file in part.iterdir():
                _destroy_file(file)
            part.rmdir()


def part_of(folder: Path) -> Path:
    """Return where `folder` is prepared."""
    return folder.with_name(f".{folder.name}{_PART}")


def _destroy_file(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
        file.flush()
        os.fsync(file.fileno())
    path.unlink()
    return True
