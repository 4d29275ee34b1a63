"""Take stock of what somebody brings: what may be opened, and what is wrong with the rest.

No network. A folder with a manifest holds what a known colleague has signed for, or is refused.
"""

import enum
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from relay.desk.copies import Destruction, destroy_copies, destroy_file
from relay.desk.journal import Journal, JournalFile
from relay.desk.manifest import NAME, SignedManifest, learn, read_manifest
from relay.desk.opening import list_envelopes, read_envelope
from relay.desk.signed import Knows
from relay.errors import Corrupt, NothingThere, RelayError


class Fault(enum.StrEnum):
    """Why an envelope is not opened, or is not there."""

    MISSING = "missing"
    SWAPPED = "swapped"
    DAMAGED = "damaged"
    EXTRA = "extra"
    REPLAYED = "replayed"
    TAKEN_BACK = "taken-back"
    RETURNED = "returned"


@dataclass(frozen=True, kw_only=True)
class Amiss:
    """One that is not opened: what it is called, the fault, and words for a person."""

    source: Path
    id: str
    fault: Fault
    error: RelayError


@dataclass(kw_only=True)
class Stock:
    """What may be opened, what may not, and what the manifests had to say.

    destroyed: ids whose copies here are destroyed, since they were taken back or returned.
    take_down: ids of this desk's posts that are to be deleted. warnings: sentences for a person.
    """

    envelopes: list[Path] = field(default_factory=list)
    amiss: list[Amiss] = field(default_factory=list)
    destroyed: list[str] = field(default_factory=list)
    take_down: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def warn(self, destruction: Destruction) -> None:
        """Name the files that could not be destroyed."""
        for place, why in destruction.failed.items():
            self.warnings.append(f"{place}: could not be destroyed: {why}")


def take_stock(sources: Sequence[Path], journal_file: JournalFile, knows: Knows) -> Stock:
    """Look at the `.age` files among and inside `sources`, and at the manifests beside them.

    knows: whether a signer (relaysigner1…) is a colleague or oneself. What the manifests say is
    remembered in the journal; copies of what was taken back are destroyed.

    Raises:
        NothingThere: a source does not exist.
        Corrupt: a manifest is not to be read, forged, by a stranger, or of another campaign.
            Nothing of it is believed, and nothing may be opened.
    """
    brought = {source: list_envelopes(source) for source in sources}
    folders = {source: source if source.is_dir() else source.parent for source in sources}
    manifests = {folder: read_manifest(folder, knows) for folder in folders.values()}
    stock = Stock()
    with journal_file.update() as journal:
        for folder, signed in manifests.items():
            if signed is not None:
                _learn(journal, folder, signed, stock)
    with journal_file.update() as journal:
        stock.take_down = journal.take_down
        destruction = destroy_copies(journal.unwanted(), journal)
    stock.destroyed = destruction.destroyed
    stock.warn(destruction)
    for source, files in brought.items():
        signed = manifests[folders[source]]
        shelf = Shelf(journal, signed)
        if source.is_dir() and files and signed is None:
            stock.warnings.append(f"{source}: no manifest, so nothing shows what is missing here.")
        if source.is_dir():
            stock.amiss += shelf.find_missing(source, files)
        for file in files:
            amiss = shelf.find_fault(file)
            if amiss is None:
                stock.envelopes.append(file)
                continue
            stock.amiss.append(amiss)
            if amiss.fault is Fault.TAKEN_BACK and _destroy(file):
                stock.destroyed.append(amiss.id)
    stock.destroyed = sorted({*stock.destroyed})
    return stock


def _learn(journal: Journal, folder: Path, signed: SignedManifest, stock: Stock) -> None:
    path = folder / NAME
    seen = journal.manifests.get(signed.signer, 0)
    try:
        is_new = learn(journal, signed)
    except Corrupt as error:
        raise Corrupt(f"{path}: {error.message}") from None
    if not is_new:
        stock.warnings.append(
            f"{path}: older than one that this desk has seen (number {signed.manifest.number}, "
            f"and {seen} before). Is it the right stick?"
        )


def _destroy(file: Path) -> bool:
    """Destroy a copy that was brought, where the stick can be written."""
    with suppress(OSError):
        return destroy_file(file)
    return False


class Shelf:
    """One folder, as a manifest lists it, before a desk that remembers."""

    def __init__(self, journal: Journal, signed: SignedManifest | None) -> None:
        """Compare with `journal`, which has learnt from `signed`; None: there is no manifest."""
        self._gone = {*journal.gone}
        self._unwanted = {*journal.unwanted()}
        self._known = journal.envelopes
        self._owners = {digest: owner for owner, digest in journal.envelopes.items()}
        self._listed: dict[str, str] | None = None
        if signed is not None:
            self._listed = {one.id: one.envelope for one in signed.manifest.envelopes}

    def find_missing(self, folder: Path, files: Sequence[Path]) -> list[Amiss]:
        """Return what is listed and not there; what was destroyed need not be there."""
        names = {file.stem for file in files} | self._unwanted
        return [
            Amiss(
                source=folder / f"{submission_id}.age",
                id=submission_id,
                fault=Fault.MISSING,
                error=Corrupt("Missing: the manifest lists it, and it is not there."),
            )
            for submission_id in self._listed or {}
            if submission_id not in names
        ]

    def find_fault(self, file: Path) -> Amiss | None:
        """Return what is wrong with `file`; None: it may be opened."""
        digest, unreadable = "", ""
        try:
            digest = hashlib.sha256(read_envelope(file)).hexdigest()
        except Corrupt as error:
            unreadable = f" {error.message}"
        except OSError as error:
            unreadable = f" {error.strerror}."
        name, owner = file.stem, self._owners.get(digest)
        fault = self._judge(name, digest, owner)
        reason: RelayError
        match fault:
            case None:
                return None
            case Fault.TAKEN_BACK:
                name = owner or name
                reason = NothingThere("Taken back or expired: not opened.")
            case Fault.RETURNED:
                name = owner or name
                reason = NothingThere("You have returned it: not opened.")
            case Fault.REPLAYED:
                reason = Corrupt("Replayed: this desk knows another envelope of this number.")
            case Fault.SWAPPED:
                reason = Corrupt(f"Swapped: it has the bytes of {owner}.")
            case Fault.EXTRA:
                bytes_of = f" It has the bytes of {owner}." if owner else ""
                reason = Corrupt(f"Extra: not in the manifest, so not opened.{bytes_of}")
            case _:
                reason = Corrupt(f"Damaged: not the bytes that the manifest lists.{unreadable}")
        return Amiss(source=file, id=name, fault=fault, error=reason)

    def _judge(self, name: str, digest: str, owner: str | None) -> Fault | None:
        """Judge the file `name`.age; owner: the id that these bytes are known by."""
        known = self._known.get(name)
        if (owner or name) in self._unwanted:
            return Fault.TAKEN_BACK if (owner or name) in self._gone else Fault.RETURNED
        if self._listed is None:
            return None  # opening compares it with what this desk knows
        if known is None:
            return Fault.EXTRA
        if self._listed.get(name, known) != known:
            return Fault.REPLAYED
        if digest == known:
            return None  # listed here, or by an earlier manifest
        return self._judge_other_bytes(name, digest, owner)

    def _judge_other_bytes(self, name: str, digest: str, owner: str | None) -> Fault:
        if owner is not None:
            return Fault.SWAPPED
        is_replayed = bool(digest) and name not in (self._listed or {})
        return Fault.REPLAYED if is_replayed else Fault.DAMAGED
