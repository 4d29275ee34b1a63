"""A relay set up again from a backup: nothing serves from its folder before all of it is there."""

import datetime as dt
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay.config import ServerConfig
from relay.errors import ConfigInvalid, Corrupt, NotKept, RelayError
from relay.intake.backup import CONFIG, PUBLIC, RECIPIENTS, SERVICE_KEY, STAFF, Backup
from relay.queue.store import SealedQueue
from relay.receipt import ServiceKeys
from relay.seal.files import sync_folder, write_secret

QUEUE_NAME = "queue.sqlite"
BEFORE = f"{CONFIG}.before"
_DRAFT = ".part"
_PUBLIC_MODE, _SECRET_MODE = 0o644, 0o600
_MODES = {RECIPIENTS: _PUBLIC_MODE, STAFF: _PUBLIC_MODE, PUBLIC: _PUBLIC_MODE}
# Where these lay on the old machine says nothing of the folder in which they lie now.
_PLACES = (
    *("database", "postgresql", "postgresql_password", "postgresql_ca"),
    *("service_key", "recipients", "staff", "campaign_file"),
)
_PLACE_LINE = re.compile(rf"^[ \t]*(?:{'|'.join(_PLACES)})[ \t]*=.*\n?", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What a restore made, or would make.

    copied: the day of the copy. head: number of the last entry in its log. submissions, lost:
    how many are known, and of how many the envelope was not in the copy.
    """

    copied: dt.date
    files: tuple[str, ...]
    submissions: int
    lost: int
    head: int


def foresee_restore(backup: Backup, to: Path) -> Restored:
    """Return what `restore` would make, and make nothing.

    Raises:
        ConfigInvalid: `to` is not empty. Corrupt: something in the backup can't be used.
    """
    _refuse_filled(to)
    return _report(backup, _settings(backup))


async def restore(backup: Backup, to: Path, *, today: dt.date) -> Restored:
    """Lay out a relay in `to`. relay.toml comes last: cut short, nothing there can be served.

    Raises:
        ConfigInvalid: `to` is not empty, or can't be written.
        Corrupt: something in the backup can't be used.
    """
    _refuse_filled(to)
    settings = _settings(backup)
    try:
        _make_folder(to)
        for name in (SERVICE_KEY, RECIPIENTS, STAFF, PUBLIC):
            if name in backup.files:
                _write(to / name, backup.files[name], _MODES.get(name, _SECRET_MODE))
        ServiceKeys.load(to / SERVICE_KEY)
        await _make_queue(backup, to / QUEUE_NAME, today=today)
        for name, text in settings.items():
            _write(to / f"{name}{_DRAFT}", text.encode(), _SECRET_MODE)
        ServerConfig.load(to / f"{CONFIG}{_DRAFT}")
        sync_folder(to)
        for name in reversed(settings):  # relay.toml last
            (to / f"{name}{_DRAFT}").rename(to / name)
        sync_folder(to)
        sync_folder(to.parent)
    except (OSError, NotKept) as error:
        why = error.strerror if isinstance(error, OSError) else "the queue can't be written"
        raise RelayError(f"{to}: {why}. Nothing can be served from it: delete it") from error
    return _report(backup, settings)


def _make_folder(to: Path) -> None:
    to.mkdir(mode=0o700, parents=True, exist_ok=True)
    to.chmod(0o700)


def _report(backup: Backup, settings: dict[str, str]) -> Restored:
    return Restored(
        copied=backup.queue.day,
        files=tuple(sorted({*backup.files, *settings, QUEUE_NAME})),
        submissions=len(backup.queue.submissions),
        lost=len(backup.queue.lost),
        head=backup.queue.head.seq,
    )


def _refuse_filled(to: Path) -> None:
    """Return where there is nothing at `to`, or an empty folder.

    Raises:
        ConfigInvalid: something is in it, or it is none.
    """
    if not os.path.lexists(to):
        return
    if not to.is_dir():
        raise ConfigInvalid(f"{to} is in the way. Name a folder that is not there yet")
    if any(to.iterdir()):
        words = "Name another, or empty it where a restore was cut short"
        raise ConfigInvalid(f"{to} is not empty. {words}")


async def _make_queue(backup: Backup, path: Path, *, today: dt.date) -> None:
    """Make the queue under another name: half of one must not be taken for it."""
    draft = path.with_name(f"{path.name}{_DRAFT}")
    async with SealedQueue.open(draft, max_queued=1) as queue:
        await queue.fill(backup.queue, today=today)
    draft.rename(path)


def _write(path: Path, content: bytes, mode: int) -> None:
    write_secret(path, content)
    path.chmod(mode)


def _settings(backup: Backup) -> dict[str, str]:
    """Return relay.toml as it is right in its new folder, and as it was where that differs.

    Raises:
        Corrupt: it can't be read.
    """
    try:
        text = backup.files[CONFIG].decode("utf-8")
        old = tomllib.loads(text)
        settled = _PLACE_LINE.sub("", text)
        if PUBLIC in backup.files:
            settled = f'{settled.rstrip()}\ncampaign_file = "{PUBLIC}"\n'
        new = tomllib.loads(settled)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        raise Corrupt(f"{CONFIG} in the backup can't be read.") from None
    if new != _expected(old, backup):
        raise Corrupt(f"{CONFIG} in the backup is written in a way that can't be changed by us.")
    return {CONFIG: text} if new == old else {CONFIG: settled, BEFORE: text}


def _expected(old: dict[str, Any], backup: Backup) -> dict[str, Any]:
    kept = {name: value for name, value in old.items() if name not in _PLACES}
    return kept | ({"campaign_file": PUBLIC} if PUBLIC in backup.files else {})
