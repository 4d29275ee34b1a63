"""Destroy what lies on this laptop of a submission: overwritten, synced, removed."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from relay.desk.journal import ID, Journal, unfinished
from relay.seal.envelope import PHOTO_NAME, SUBMISSION_NAME
from relay.seal.files import overwrite

_PART = ".part"


@dataclass(kw_only=True)
class Destruction:
    """Ids of which a copy was destroyed; and the files that could not be, and why."""

    destroyed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def destroy_copies(ids: Iterable[str], journal: Journal) -> Destruction:
    """Destroy every copy that the journal knows: sealed, opened, on a contact sheet, a caption.

    A sheet goes as a whole, with what it shows of others. One file that can't be destroyed keeps
    no other back. Its place stays in the journal, to be tried again; so does a place that can't be
    seen now, such as a drive that is not plugged in.

    Links are not followed: what they point at is somebody else's.
    """
    done = Destruction()
    for submission_id in ids:
        was_there = False
        for copy in _copies(submission_id, journal):
            is_destroyed, failed = copy.destroy()
            was_there |= is_destroyed
            done.failed |= failed
            if not failed and copy.place.parent.is_dir():
                journal.forget(submission_id, str(copy.place))
        done.destroyed += [submission_id] if was_there else []
    return done


def destroy_opened(folder: Path) -> Destruction:
    """Destroy what `open` wrote to `folder`, which is called by its id."""
    is_destroyed, failed = _opened(folder).destroy()
    return Destruction(destroyed=[folder.name] if is_destroyed else [], failed=failed)


def destroy_sheets(submission_id: str, journal: Journal) -> Destruction:
    """Destroy every contact sheet that shows it, finished or not, with what it shows of others."""
    done = Destruction()
    for place in list(journal.shown.get(submission_id, [])):
        is_destroyed, failed = _single(Path(place)).destroy()
        done.destroyed += [place] if is_destroyed else []
        done.failed |= failed
        if not failed and Path(place).parent.is_dir():
            journal.forget(submission_id, place)
    return done


def has_copies(submission_id: str, journal: Journal) -> bool:
    """Whether there is a copy that `destroy_copies` would destroy."""
    files = [file for copy in _copies(submission_id, journal) for file in copy.files]
    for file in files:
        with suppress(OSError):  # not to be seen
            if file.is_file() and not _is_link(file):
                return True
    return False


@dataclass(frozen=True, kw_only=True)
class _Copy:
    """A place that the journal knows: files of ours there, unfinished ones too, and folders."""

    place: Path
    files: list[Path]
    folders: list[Path] = field(default_factory=list)

    def destroy(self) -> tuple[bool, dict[str, str]]:
        """Return whether a file was destroyed; and what could not be, and why."""
        was_there, failed = False, {}
        for file in self.files:
            try:
                was_there |= not _is_link(file) and destroy_file(file)
            except OSError as error:
                failed[str(file)] = error.strerror or ""
        return was_there, failed or _remove_empty(self.folders)


def _copies(submission_id: str, journal: Journal) -> list[_Copy]:
    sealed, shown = (memory.get(submission_id, []) for memory in (journal.sealed, journal.shown))
    copies = [_single(Path(place)) for place in (*sealed, *shown)]
    copies += [_caption(Path(place)) for place in journal.captions.get(submission_id, [])]
    opened = map(_opened, map(Path, journal.opened.get(submission_id, {})))
    return [*copies, *opened]


def _single(path: Path) -> _Copy:
    """An envelope or a contact sheet."""
    return _Copy(place=path, files=[path, unfinished(path)])


def _caption(path: Path) -> _Copy:
    """The words of a post, and what an editor that was killed has left beside them."""
    return _Copy(place=path, files=[path, *sorted(path.parent.glob(f"*{path.stem}*"))])


def _opened(folder: Path) -> _Copy:
    ours = [folder, part_of(folder)]
    files = [one / name for one in ours for name in (PHOTO_NAME, SUBMISSION_NAME)]
    every = [*files, *map(unfinished, files), *map(before, files)]
    return _Copy(place=folder, files=every, folders=ours)


def _is_link(file: Path) -> bool:
    return file.is_symlink() or file.parent.is_symlink()


def _remove_empty(folders: Iterable[Path]) -> dict[str, str]:
    """Remove those that are there and empty; return the ones that could not be, and why."""
    failed = {}
    for folder in folders:
        try:
            if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
                folder.rmdir()
        except OSError as error:
            failed[str(folder)] = error.strerror or ""
    return failed


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


def before(path: Path) -> Path:
    """Return the second name of what lay at `path`, until it is overwritten."""
    return path.with_name(f".{path.name}.old")


def destroy_file(path: Path) -> bool:
    """Overwrite, sync and remove a file; a link or anything else stays. Returns whether it did."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("r+b") as file:
        overwrite(file.fileno())
    path.unlink()
    return True
