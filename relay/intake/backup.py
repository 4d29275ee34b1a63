"""A sealed copy of all that a relay needs to go on elsewhere, but its envelopes."""

import datetime as dt
import hashlib
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from relay.config import ServerConfig
from relay.errors import ConfigInvalid, Corrupt
from relay.queue.backup import QueueCopy
from relay.queue.copying import copy_queue
from relay.seal import age, archive
from relay.seal.files import sync_folder
from relay.seal.keys import Identity, Recipient
from relay.seal.lists import load_recipients

CONFIG, SERVICE_KEY, RECIPIENTS, STAFF = "relay.toml", "service.key", "recipients.txt", "staff.txt"
PUBLIC, QUEUE = "campaign.toml", "queue.json"
_NAMES = (CONFIG, SERVICE_KEY, RECIPIENTS, STAFF, PUBLIC, QUEUE)
_NEEDED = {*_NAMES} - {PUBLIC}
_MOST_RECIPIENTS = 20
# What a submission leaves in the rows and in the log from its arrival to its post, in JSON. The
# length of a backup is told by the length of a full queue, not by what is in it.
_BYTES_A_SUBMISSION = 3 * 1024


@dataclass(frozen=True, kw_only=True)
class Backup:
    """What a backup holds: files as they were, by the names that they get, and the queue's rows."""

    files: dict[str, bytes] = field(repr=False)
    queue: QueueCopy = field(repr=False)

    def encode(self, max_queued: int) -> bytes:
        """Return the plaintext: as long as what a full queue would make, and a power of two."""
        files = self.files | {QUEUE: self.queue.encode()}
        needed = max(archive.packed_bytes(files), max_queued * _BYTES_A_SUBMISSION)
        return archive.pack(files, 1 << (needed - 1).bit_length())

    @classmethod
    def decode(cls, untrusted_plaintext: bytes) -> "Backup":
        """Read a plaintext.

        Raises:
            Corrupt: not what `encode` makes.
        """
        files = archive.unpack(untrusted_plaintext, _NAMES)
        if missing := _NEEDED - {*files}:
            raise Corrupt(f"There is no {min(missing)} in the backup.")
        return cls(queue=QueueCopy.decode(files.pop(QUEUE)), files=files)


@dataclass(frozen=True, kw_only=True)
class Made:
    """A backup that lies there: of which day, how long (bytes), and its SHA-256 in hex."""

    day: dt.date
    length: int
    digest: str


async def make_backup(path: Path, to: Path, recipients: Path, *, today: dt.date) -> Made:
    """Seal what the relay of the relay.toml at `path` has, and put it into a new file `to`.

    The relay goes on meanwhile. In clear, nothing of it touches a disk.

    Raises:
        ConfigInvalid: a file is missing or can't be used, or `to` exists. RelayError: the queue
            can't be read. OSError: `to` can't be written; nothing is left of it.
    """
    config = ServerConfig.load(path)
    operators = _load_operators(recipients, today)
    refuse_taken(to)
    backup = Backup(
        files=_read_files(config, path),
        queue=await copy_queue(config.queue, today=today),
    )
    sealed = age.seal(backup.encode(config.max_queued), operators)
    write_new(to, sealed)
    return Made(day=today, length=len(sealed), digest=hashlib.sha256(sealed).hexdigest())


def open_backup(file: Path, identities: tuple[Identity, ...]) -> Backup:
    """Open a backup.

    Raises:
        WrongIdentity: sealed to others. Corrupt: damaged, cut short, or not a backup.
        OSError: it can't be read.
    """
    return Backup.decode(age.unseal(file.read_bytes(), identities))


def refuse_taken(to: Path) -> None:
    """Return where nothing lies at `to`.

    Raises:
        ConfigInvalid: something does. A backup is never overwritten.
    """
    if os.path.lexists(to):
        raise ConfigInvalid(f"{to} exists. A backup is never overwritten: choose another name")


def write_new(to: Path, content: bytes) -> None:
    """Put `content` into a new file `to` with mode 0600, whole or not at all.

    Raises:
        ConfigInvalid: somebody else has put something there. OSError: it can't be written.
    """
    draft = to.with_name(f".{to.name}.{secrets.token_hex(4)}.part")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _put_in_place(draft, to)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(to.parent)


def _put_in_place(draft: Path, to: Path) -> None:
    """Give a file the name `to`, which nothing may have: of two at once, one gets it."""
    try:
        to.hardlink_to(draft)
    except FileExistsError:
        refuse_taken(to)
        raise
    except OSError:  # a file system without links, such as that of a stick
        refuse_taken(to)
        draft.rename(to)


def _load_operators(path: Path, today: dt.date) -> tuple[Recipient, ...]:
    """Return whom to seal to.

    Raises:
        ConfigInvalid: as for the campaign's list: nobody, a secret key, classic ones.
    """
    listed = load_recipients(path)
    operators = listed.current(today, slots=_MOST_RECIPIENTS)
    listed.require_sealing()
    return operators


def _read_files(config: ServerConfig, path: Path) -> dict[str, bytes]:
    places = {
        CONFIG: path,
        SERVICE_KEY: config.service_key,
        RECIPIENTS: config.recipients,
        STAFF: config.staff,
    }
    if config.campaign_file is not None:
        places[PUBLIC] = config.campaign_file
    files = {}
    for name, place in places.items():
        try:
            files[name] = place.read_bytes()
        except OSError as error:
            raise ConfigInvalid(f"{place}: {error.strerror}. Nothing was copied") from error
    return files
