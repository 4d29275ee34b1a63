"""Fetch what waits, and destroy what was taken back."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relay.desk.client import DeskClient
from relay.desk.copies import destroy_copies
from relay.desk.journal import (
    DIGEST,
    ID,
    Journal,
    JournalFile,
    make_private,
    place_of,
    replace_file,
)
from relay.errors import Corrupt, NothingThere, RelayError
from relay.queue.states import Verdict


@dataclass
class Pulled:
    """Ids: fetched now, there already, destroyed here, to be taken down; and what failed, why.

    disputed: the relay says they are gone, but it confirmed their release to this desk.
    """

    fetched: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    destroyed: list[str] = field(default_factory=list)
    take_down: list[str] = field(default_factory=list)
    disputed: list[str] = field(default_factory=list)
    failed: dict[str, RelayError] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Handout:
    campaign: str
    leases: dict[str, str]
    gone: list[str]
    take_down: list[str]


async def pull(client: DeskClient, journal_file: JournalFile, to: Path) -> Pulled:
    """Lease what waits and write each envelope to `to/<id>.age`.

    Cut short at any point, it is repeated by calling it again: what is there is not fetched. One
    submission that fails does not keep back the others.

    Raises:
        Corrupt: the relay's answer can't be read, or it speaks for another campaign than before.
    """
    handout = _read_handout(await client.ask("POST", "/desk/v1/lease"))
    pulled = Pulled()
    with journal_file.update() as journal:
        journal.pin_campaign(handout.campaign)
        _take_back(journal, handout, pulled)
    if handout.leases:
        make_private(to)
    for submission_id, digest in handout.leases.items():
        try:
            is_new = await _fetch(client, journal_file, to, submission_id, digest)
        except NothingThere:
            continue  # taken back since; the next pull says so
        except Corrupt as error:
            pulled.failed[submission_id] = error
        except OSError as error:
            pulled.failed[submission_id] = RelayError(f"{to}: {error.strerror}")
            break
        except RelayError as error:
            pulled.failed[submission_id] = error
            break  # the rest would fail the same way; a second pull goes on here
        else:
            (pulled.fetched if is_new else pulled.present).append(submission_id)
    return pulled


def _take_back(journal: Journal, handout: _Handout, pulled: Pulled) -> None:
    """Destroy what was taken back; name what is to be taken down."""
    verdicts = journal.verdicts
    mine = {**verdicts.sent, **verdicts.confirmed}
    pulled.take_down = [wanted for wanted in handout.take_down if wanted in mine]
    for submission_id in handout.gone:
        if verdicts.confirmed.get(submission_id) == Verdict.RELEASE:
            pulled.disputed.append(submission_id)  # what was released can only be taken down
        elif destroy_copies(submission_id, journal):
            pulled.destroyed.append(submission_id)


async def _fetch(
    client: DeskClient, journal_file: JournalFile, to: Path, submission_id: str, digest: str
) -> bool:
    """Write one envelope. Returns False where it lay there already."""
    path = to / f"{submission_id}.age"
    with journal_file.update() as journal:
        journal.pin_envelope(submission_id, digest)
        places = journal.sealed.setdefault(submission_id, [])
        if place_of(path) not in places:
            places.append(place_of(path))
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest:
        return False
    envelope = await client.fetch("GET", f"/desk/v1/envelope/{submission_id}")
    if hashlib.sha256(envelope).hexdigest() != digest:
        raise Corrupt("The relay sent a damaged envelope.")
    replace_file(path, envelope)
    return True


def _read_handout(answer: Any) -> _Handout:
    try:
        handout = _Handout(
            campaign=str(answer["campaign"]),
            leases={str(lease["id"]): str(lease["envelope"]) for lease in answer["leases"]},
            gone=[str(submission_id) for submission_id in answer["gone"]],
            take_down=[str(submission_id) for submission_id in answer["take_down"]],
        )
    except (KeyError, TypeError):
        raise Corrupt("The relay's answer can't be read.") from None
    if set(handout.leases) & set(handout.gone):
        raise Corrupt("The relay says of one submission that it waits and that it is gone.")
    ids = (*handout.leases, *handout.gone, *handout.take_down)
    if not (all(map(ID.fullmatch, ids)) and all(map(DIGEST.fullmatch, handout.leases.values()))):
        raise Corrupt("The relay's answer can't be read.")
    return handout
