"""Fetch what waits, destroy what was taken back, and sign for what lies in the folder."""

import datetime as dt
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from relay.desk.client import DeskClient
from relay.desk.copies import destroy_copies, has_copies
from relay.desk.journal import (
    DIGEST,
    ID,
    Journal,
    JournalFile,
    make_private,
    place_of,
    replace_file,
)
from relay.desk.manifest import NAME, Listed, Manifest, write_manifest
from relay.desk.opening import read_envelope
from relay.desk.signed import read_signed
from relay.errors import Corrupt, LockedByColleague, NothingThere, RelayError
from relay.queue.states import Verdict
from relay.seal import signing
from relay.seal.signing import SigningIdentity


@dataclass
class Pulled:
    """Ids: fetched now, there already, destroyed here, to be taken down; and what failed, why.

    of_colleagues: to be taken down, and released by others: their laptop may be lost.
    questions: taken back after their release; nothing was posted, so their copies are destroyed.
    posted_elsewhere: by colleagues.
    disputed: the relay says they are gone, but it confirmed their release to this desk.
    undestroyed: files that should be destroyed and could not be, and why.
    lost: known to this desk, and not held by the relay any more, which was set up again from a copy
    of the day copied (ISO 8601, UTC): held here until somebody decides all the same.
    """

    fetched: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    destroyed: list[str] = field(default_factory=list)
    take_down: list[str] = field(default_factory=list)
    of_colleagues: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    posted_elsewhere: list[str] = field(default_factory=list)
    disputed: list[str] = field(default_factory=list)
    failed: dict[str, RelayError] = field(default_factory=dict)
    undestroyed: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    copied: str = ""


@dataclass(frozen=True, kw_only=True)
class _Handout:
    campaign: str
    leases: dict[str, Listed]
    gone: list[str]
    take_down: list[str]
    posted: list[str]
    lost: list[str]
    copied: str


def _watch_nothing(_done: int, _total: int) -> None:
    pass


async def pull(
    client: DeskClient,
    journal_file: JournalFile,
    identity: SigningIdentity,
    to: Path,
    watch: Callable[[int, int], None] = _watch_nothing,
) -> Pulled:
    """Lease what waits, write each envelope to `to/<id>.age`, and sign for all that lies there.

    watch: told how many envelopes are done, of how many.

    Cut short at any point, it is repeated by calling it again: what is there is not fetched, and
    no manifest names what is not there. One submission that fails does not keep back the others.

    Raises:
        Corrupt: the relay's answer can't be read, or it speaks for another campaign than before.
        LockedByColleague: another colleague has pulled into `to`. Nothing was leased.
    """
    _check_owner(to, identity)
    handout = _read_handout(await client.ask("POST", "/desk/v1/lease"))
    pulled = Pulled()
    with journal_file.update() as journal:
        journal.pin_campaign(handout.campaign)
        _hear(journal, handout, pulled)
        handout = _without_returned(handout, journal)
        journal.pulls += 1
        journal.manifests[identity.signer().encoded] = journal.pulls
    folder = _Folder(to, handout, journal, identity)
    folder.leave_out_gone()
    with journal_file.update() as journal:
        _record(journal, to)
        destruction = destroy_copies(journal.unwanted(), journal)
    pulled.destroyed, pulled.undestroyed = destruction.destroyed, destruction.failed
    if handout.leases:
        make_private(to)
    for done, (submission_id, lease) in enumerate(handout.leases.items()):
        watch(done, len(handout.leases))
        try:
            is_new = await _fetch(client, journal_file, to, submission_id, lease.envelope)
        except NothingThere:
            continue  # taken back since; the next pull says so
        except Corrupt as error:
            pulled.failed[submission_id] = error
        except IsADirectoryError:
            in_the_way = f"{to / submission_id}.age: a folder is in the way. Move it away."
            pulled.failed[submission_id] = RelayError(in_the_way)
        except OSError as error:
            pulled.failed[submission_id] = RelayError(f"{to}: {error.strerror}")
            break
        except RelayError as error:
            pulled.failed[submission_id] = error
            break  # the rest would fail the same way; a second pull goes on here
        else:
            (pulled.fetched if is_new else pulled.present).append(submission_id)
    try:
        folder.sign()
    except OSError as error:
        pulled.failed[NAME] = RelayError(f"{to}: {error.strerror}")
    return pulled


async def foresee(client: DeskClient, journal_file: JournalFile, to: Path) -> Pulled:
    """Return what `pull` would fetch and destroy; nothing is leased, fetched or changed.

    Raises:
        Corrupt: as for `pull`.
    """
    handout = _read_handout(await client.ask("GET", "/desk/v1/waiting"))
    pulled, journal = Pulled(), journal_file.read()
    journal.pin_campaign(handout.campaign)
    _hear(journal, handout, pulled)
    handout = _without_returned(handout, journal)
    for one in journal.unwanted():
        is_here = has_copies(one, journal) or (to / f"{one}.age").is_file()
        pulled.destroyed += [one] if is_here else []
    for submission_id, lease in handout.leases.items():
        try:
            _check_lease(journal, submission_id, lease.envelope)
        except Corrupt as error:
            pulled.failed[submission_id] = error
        else:
            is_there = _is_there(to / f"{submission_id}.age", lease.envelope)
            (pulled.present if is_there else pulled.fetched).append(submission_id)
    return pulled


async def ask_again(client: DeskClient, journal_file: JournalFile) -> Pulled:
    """Hear what was taken back, is to be taken down, was posted; nothing is leased or fetched.

    Copies here of what was taken back are destroyed.

    Raises:
        Corrupt: as for `pull`.
    """
    handout, pulled = _read_handout(await client.ask("GET", "/desk/v1/waiting")), Pulled()
    with journal_file.update() as journal:
        journal.pin_campaign(handout.campaign)
        _hear(journal, handout, pulled)
    with journal_file.update() as journal:
        destruction = destroy_copies(journal.unwanted(), journal)
    pulled.destroyed, pulled.undestroyed = destruction.destroyed, destruction.failed
    said = journal.verdicts.later
    pulled.posted_elsewhere = [
        one for one in handout.posted if Verdict.POST not in said.get(one, {})
    ]
    return pulled


def _hear(journal: Journal, handout: _Handout, pulled: Pulled) -> None:
    """Remember what came and what was taken back, and which posts of this desk must go."""
    pulled.questions = journal.hear_take_down(handout.take_down)
    posts = [wanted for wanted in handout.take_down if wanted not in pulled.questions]
    lost = {*handout.lost}
    # She took it back after the relay had forgotten that it was out: its posts must go.
    begun = {one for one in handout.gone if one in lost and journal.is_begun(one)}
    posts += sorted(begun - {*posts})
    pulled.take_down = [wanted for wanted in posts if journal.is_mine(wanted)]
    pulled.of_colleagues = [wanted for wanted in posts if not journal.is_mine(wanted)]
    confirmed = journal.verdicts.confirmed
    # What was released can only be taken down; that it was, the log has to show first.
    pulled.disputed = [
        one
        for one in handout.gone
        if confirmed.get(one) == Verdict.RELEASE
        and one not in (*journal.gone, *begun)
        and not (one in lost and one in journal.lapsed)
    ]
    journal.lose({*handout.gone} - {*pulled.disputed, *begun})
    journal.hear_lost(lost - {*handout.gone}, handout.copied)
    pulled.copied = journal.copied
    pulled.lost = [one for one in journal.lost if one in {*journal.envelopes, *journal.opened}]
    # What was asked for once stays so until it is done: a relay forgets, and may lie.
    journal.take_down = sorted({*journal.take_down, *pulled.take_down} - {*journal.gone})
    pulled.take_down = list(journal.take_down)
    for lease in handout.leases.values():
        journal.pin_day(lease.id, lease.day)


def _check_owner(to: Path, identity: SigningIdentity) -> None:
    """Return where the manifest in `to` is ours, or none that anybody has signed."""
    try:
        signed = read_signed(to / NAME, signing.MANIFEST, lambda _: True)
    except Corrupt:
        return  # it is replaced by one that is sound
    if signed.signer != identity.signer().encoded:
        raise LockedByColleague(
            f"{to}: this is another colleague's stick ({signed.signer} has pulled into it). "
            "Choose another folder."
        )


def _without_returned(handout: _Handout, journal: Journal) -> _Handout:
    """Leave out what this desk has returned, though the relay may not have heard of it yet."""
    leases = handout.leases.items()
    return replace(handout, leases={i: one for i, one in leases if not journal.is_returned(i)})


def _record(journal: Journal, to: Path) -> None:
    """Remember as copies what lies in `to` under the names of what must not stay."""
    for one in journal.unwanted():
        place = place_of(to / f"{one}.age")
        if os.path.lexists(place) and place not in journal.sealed.get(one, []):
            journal.sealed.setdefault(one, []).append(place)


class _Folder:
    """The folder of a pull and its manifest."""

    def __init__(
        self, to: Path, handout: _Handout, journal: Journal, identity: SigningIdentity
    ) -> None:
        self._to = to
        self._leases = handout.leases
        self._unwanted = journal.unwanted()
        self._identity = identity
        self._manifest = Manifest(
            campaign=journal.campaign,
            number=journal.pulls,
            day=dt.datetime.now(dt.UTC).date(),
            envelopes=(),
            gone=tuple(journal.gone),
            take_down=tuple(sorted({*handout.take_down})),
        )

    def leave_out_gone(self) -> None:
        """Sign anew for what stays, before what may be listed is destroyed."""
        if any((self._to / f"{one}.age").exists() for one in self._unwanted):
            try:
                self.sign()
            except OSError:  # a full disk: rather no manifest than one that is wrong
                (self._to / NAME).unlink(missing_ok=True)

    def sign(self) -> None:
        """Sign for what is there, unless there is nothing to say."""
        manifest, leases = self._manifest, self._leases.values()
        if not (leases or manifest.gone or manifest.take_down or (self._to / NAME).exists()):
            return
        make_private(self._to)
        there = [
            lease
            for lease in sorted(leases, key=lambda lease: lease.id)
            if lease.id not in manifest.gone
            and _is_there(self._to / f"{lease.id}.age", lease.envelope)
        ]
        write_manifest(self._to, replace(manifest, envelopes=tuple(there)), self._identity)


async def _fetch(
    client: DeskClient, journal_file: JournalFile, to: Path, submission_id: str, digest: str
) -> bool:
    """Write one envelope. Returns False where it lay there already."""
    path = to / f"{submission_id}.age"
    with journal_file.update() as journal:
        _check_lease(journal, submission_id, digest)
        places = journal.sealed.setdefault(submission_id, [])
        if place_of(path) not in places:
            places.append(place_of(path))
    if _is_there(path, digest):
        return False
    envelope = await client.fetch("GET", f"/desk/v1/envelope/{submission_id}")
    if hashlib.sha256(envelope).hexdigest() != digest:
        raise Corrupt("The relay sent a damaged envelope.")
    replace_file(path, envelope)
    return True


def _check_lease(journal: Journal, submission_id: str, digest: str) -> None:
    journal.pin_envelope(submission_id, digest)
    if submission_id in journal.gone:
        raise Corrupt("The relay offers again what was taken back or had expired.")


def _is_there(path: Path, digest: str) -> bool:
    try:
        return hashlib.sha256(read_envelope(path)).hexdigest() == digest
    except (Corrupt, OSError):  # nothing, or something else: it may have been anybody's stick
        return False


def _read_handout(answer: Any) -> _Handout:
    try:
        handout = _Handout(
            campaign=str(answer["campaign"]),
            leases={lease.id: lease for lease in map(_read_lease, answer["leases"])},
            gone=[str(submission_id) for submission_id in answer["gone"]],
            take_down=[str(submission_id) for submission_id in answer["take_down"]],
            posted=[str(submission_id) for submission_id in answer.get("posted", [])],
            lost=[str(submission_id) for submission_id in answer.get("lost", [])],
            copied=max(map(_read_copied, answer.get("restored", [])), default=""),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        raise Corrupt("The relay's answer can't be read.") from None
    if set(handout.leases) & set(handout.gone):
        raise Corrupt("The relay says of one submission that it waits and that it is gone.")
    if set(handout.leases) & set(handout.lost):
        raise Corrupt("The relay says of one submission that it waits and that it is lost.")
    ids = (*handout.leases, *handout.gone, *handout.take_down, *handout.posted, *handout.lost)
    digests = [lease.envelope for lease in handout.leases.values()]
    if not (all(map(ID.fullmatch, ids)) and all(map(DIGEST.fullmatch, digests))):
        raise Corrupt("The relay's answer can't be read.")
    return handout


def _read_copied(fields: Any) -> str:
    return dt.date.fromisoformat(str(fields["copied"])).isoformat()


def _read_lease(fields: Any) -> Listed:
    day = dt.date.fromisoformat(str(fields["day"]))
    return Listed(id=str(fields["id"]), day=day, envelope=str(fields["envelope"]))
