"""The queue where it lies: how it is opened, looked at, and how much room there must be for it."""

import os
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from relay.config import ServerConfig
from relay.errors import ConfigInvalid
from relay.intake.finding import Finding, advice, ok, refused
from relay.queue.look import QueueLook, look_at_queue
from relay.queue.schema import MOVED, REVISIONS
from relay.queue.store import SealedQueue

_OVERHEAD_BYTES = 16 * 1024  # of an envelope: header, tags and what SQLite keeps of each
# A full queue, twice more while it is compacted. Source: sqlite.org/lang_vacuum.html.
_TIMES_ON_DISK = 3
_LOOK_S = 2.0
_MARGIN = 20  # a twentieth more than min_free_bytes opens again: no door flaps at the limit


def open_queue(config: ServerConfig) -> AbstractAsyncContextManager[SealedQueue]:
    """Open the queue of a campaign, wherever it is: see `SealedQueue.open`."""
    return SealedQueue.open(config.queue, max_queued=config.max_queued)


def require_queue(config: ServerConfig) -> None:
    """Return where a queue may be: none is to be made where there is no file.

    Raises:
        ConfigInvalid: there is none.
    """
    if not config.postgresql and not config.database.is_file():
        raise ConfigInvalid(f"{config.database}: there is no queue here yet")


def least_free_bytes(config: ServerConfig, *, is_closed: bool) -> int:
    """Return how much must be free for the form to stay open, or to open where it is closed."""
    least = config.min_free_bytes
    return least + least // _MARGIN if is_closed else least


def check_room(config: ServerConfig) -> Finding:
    """Look whether the disk has room for a full queue, and for the form to be open at all."""
    folder = config.database.parent
    try:
        disk = os.statvfs(folder)
        taken = config.database.stat().st_size if config.database.exists() else 0
    except OSError as error:
        words = f"{folder}: {error.strerror}. Make it, or mend database in relay.toml"
        return refused("disk room", words, blocks=True)
    free = disk.f_bavail * disk.f_frsize
    if free < least_free_bytes(config, is_closed=False):
        words = f"{folder}: {_about(free)} free, less than min_free_bytes: the form is closed."
        return refused("disk room", f"{words} Make room, or lower min_free_bytes")
    again = least_free_bytes(config, is_closed=True)
    if free < again:
        words = (
            f"{folder}: {_about(free)} free: a form that has closed opens again at {_mib(again)}."
        )
        return advice("disk room", f"{words} Make room, or lower min_free_bytes")
    full = config.max_queued * (config.envelope_bytes + _OVERHEAD_BYTES) * _TIMES_ON_DISK
    if free + taken < full + config.min_free_bytes:
        words = (
            f"{folder}: {_about(free)} free; a full queue takes {_mib(full)} while it is compacted."
        )
        return advice("disk room", f"{words} Make room, or lower max_queued")
    return ok("disk room", f"a full queue fits: {_about(free)} free")


def check_queue(config: ServerConfig) -> Finding:
    """Look into the queue's file, without holding up a service that has it."""
    path = config.database
    found = look_at_queue(path, seconds=_LOOK_S) if path.exists() else QueueLook(is_empty=True)
    if found.is_empty:
        return ok("queue", "none yet: made at the first start")
    if found.is_busy:
        return advice("queue", f"{path}: another program has it. Try again")
    if found.is_unreadable:
        return advice("queue", f"{path}: not readable for this account. Run the check as its owner")
    return _judge(path, found)


async def check_server(config: ServerConfig) -> list[Finding]:
    """Look at the server of a queue in PostgreSQL; nothing is changed there."""
    if isinstance(server := config.queue, Path):
        return []
    from relay.queue.postgres import DISCREET, look_at_server  # noqa: PLC0415 - one file needs no driver

    found = await look_at_server(server)
    if found.fault is not None:
        return [refused("queue", f"{server.where}: {found.fault}", blocks=True)]
    if found.revision == MOVED:
        words = f"{server.where}: the queue was moved from here (relay migrate)"
        return [refused("queue", words, blocks=True)]
    if found.revision not in (None, *REVISIONS.values()):
        words = f"{server.where}: a queue of version {found.revision}, which is another release's."
        return [refused("queue", f"{words} Run that release again", blocks=True)]
    mend = "Set it in postgresql.conf, and start PostgreSQL again"
    findings = [
        refused(
            "queue", f"{server.where}: {name} is off: a commit may be lost. {mend}", blocks=True
        )
        for name in found.careless
    ]
    for name in found.telling:
        best, why = DISCREET[name]
        words = f"{server.where}: {name} is not {best or 'empty'}: it leaves {why}. {mend}"
        findings.append(advice("queue", words))
    if found.hidden:
        grant = f'GRANT pg_read_all_settings TO "{server.user}"'
        words = f"{server.where}: {', '.join(found.hidden)}: not to be seen. Say there: {grant}"
        findings.append(advice("queue", words))
    return findings or [ok("queue", f"{server.where}: reached, synced, and tells least")]


def _judge(path: Path, found: QueueLook) -> Finding:
    if found.other_version is not None:
        words = f"{path}: a queue of version {found.other_version}, which is another release's."
        return refused("queue", f"{words} Run that release again", blocks=True)
    if found.fault is not None:
        # An older copy would bring back what was withdrawn since.
        words = (
            f"{path}: {found.fault}. Stop the relay, move the file away and keep it, start again "
            "with an empty queue. Tell staff and senders: receipts of what lay there are void"
        )
        return refused("queue", words, blocks=found.is_foreign)
    if found.disobeyed:
        settings = ", ".join(found.disobeyed)
        return refused(
            "queue", f"SQLite here does not obey {settings}: use Debian's or Python's own"
        )
    if not found.is_wal:
        words = f"{path}: journal_mode is not WAL: it was changed. Start the relay again"
        return refused("queue", words)
    how = "whole" if found.is_looked_through else "no fault in its first part"
    return ok("queue", f"{how}; synced, and overwritten where it is deleted")


def _mib(count: int) -> str:
    return f"{count // 2**20} MiB"


def _about(count: int) -> str:
    """Return it in whole GiB: in smaller steps, who asks each minute could count submissions."""
    return f"{count // 2**30} GiB" if count >= 2**30 else "less than 1 GiB"
