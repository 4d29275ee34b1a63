"""Fetch what waits, and destroy what was taken back."""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relay.desk.client import DeskClient
from relay.desk.journal import Journal, replace_file
from relay.errors import Corrupt

ID = re.compile(r"[0-9a-f]{32}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_PHOTO_NAMES = ("photo.jpg", "submission.json")


@dataclass
class Pulled:
    """Ids: fetched now, there already, destroyed here, and to be taken down."""

    fetched: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    destroyed: list[str] = field(default_factory=list)
    take_down: list[str] = field(default_factory=list)


async def pull(client: DeskClient, journal: Journal, to: Path) -> Pulled:
    """Lease what waits and write each envelope to `to/<id>.age`.

    Cut short at any point, it is repeated by calling it again: what is there is not fetched.

    Raises:
        Corrupt: the relay sent other bytes than it announced.
    """
    answer = await client.ask("POST", "/desk/v1/lease")
    leases, gone, take_down, journal.campaign = _read_handout(answer)
    to.mkdir(mode=0o700, parents=True, exist_ok=True)
    pulled = Pulled(take_down=[wanted for wanted in take_down if wanted in journal.verdicts])
    for submission_id in gone:
        if destroy_copies(submission_id, journal, to):
            pulled.destroyed.append(submission_id)
    for submission_id, digest in leases.items():
        path = to / f"{submission_id}.age"
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest:
            pulled.present.append(submission_id)
        else:
            envelope = await client.fetch("GET", f"/desk/v1/envelope/{submission_id}")
            if hashlib.sha256(envelope).hexdigest() != digest:
                raise Corrupt(f"The relay sent a damaged envelope: {submission_id}. Pull again.")
            replace_file(path, envelope)
            pulled.fetched.append(submission_id)
        journal.envelopes[submission_id] = digest
    return pulled


def destroy_copies(submission_id: str, journal: Journal, sealed: Path) -> bool:
    """Overwrite and remove the envelope and every opened copy. Returns whether there was one."""
    files = [sealed / f"{submission_id}.age"]
    folders = [Path(folder) for folder in journal.opened.get(submission_id, [])]
    files += [folder / name for folder in folders for name in _PHOTO_NAMES]
    there = [path for path in files if path.is_file() and not path.is_symlink()]
    for path in there:
        with path.open("r+b") as file:
            file.write(bytes(path.stat().st_size))
        path.unlink()
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    journal.forget(submission_id)
    return bool(there)


def _read_handout(answer: Any) -> tuple[dict[str, str], list[str], list[str], str]:
    try:
        leases = {str(lease["id"]): str(lease["envelope"]) for lease in answer["leases"]}
        gone = [str(submission_id) for submission_id in answer["gone"]]
        take_down = [str(submission_id) for submission_id in answer["take_down"]]
        campaign = str(answer["campaign"])
    except (KeyError, TypeError):
        raise Corrupt("The relay's answer can't be read.") from None
    if not all(ID.fullmatch(name) for name in (*leases, *gone, *take_down)) or not all(
        _DIGEST.fullmatch(digest) for digest in leases.values()
    ):
        raise Corrupt("The relay's answer can't be read.")
    return leases, gone, take_down, campaign
