"""The manifest: what a colleague has pulled into a folder, signed, so that a stick can't lie."""

import datetime as dt
import json
import os
from dataclasses import dataclass
from pathlib import Path

from relay.desk.journal import DIGEST, ID, Journal
from relay.desk.signed import Knows, canonical, read_signed, write_signed
from relay.errors import Corrupt
from relay.seal import signing
from relay.seal.signing import SigningIdentity

NAME = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One envelope: the day it came (UTC) and its SHA-256."""

    id: str
    day: dt.date
    envelope: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What lies in one folder, what was taken back, which posts are to be deleted.

    number: counts up with each pull of a desk. day: of that pull, in UTC, and no finer clock.
    envelopes: by id. gone: ids whose copies a desk must destroy.
    """

    campaign: str
    number: int
    day: dt.date
    envelopes: tuple[Listed, ...]
    gone: tuple[str, ...]
    take_down: tuple[str, ...]

    def statement(self) -> str:
        """Return the one text of this manifest: what is signed."""
        return canonical(
            {
                "version": 1,
                "campaign": self.campaign,
                "number": self.number,
                "day": self.day.isoformat(),
                "envelopes": [
                    {"id": one.id, "day": one.day.isoformat(), "envelope": one.envelope}
                    for one in self.envelopes
                ],
                "gone": list(self.gone),
                "take_down": list(self.take_down),
            }
        )

    @classmethod
    def parse(cls, statement: str) -> "Manifest":
        """Read a statement that a colleague has signed.

        Raises:
            Corrupt: anything but the one text of a manifest.
        """
        try:
            fields = json.loads(statement)
            manifest = cls(
                campaign=fields["campaign"],
                number=fields["number"],
                day=dt.date.fromisoformat(fields["day"]),
                envelopes=tuple(
                    Listed(
                        id=one["id"],
                        day=dt.date.fromisoformat(one["day"]),
                        envelope=one["envelope"],
                    )
                    for one in fields["envelopes"]
                ),
                gone=tuple(fields["gone"]),
                take_down=tuple(fields["take_down"]),
            )
            is_sound = manifest.statement() == statement and manifest._is_sound()
        except (AttributeError, LookupError, TypeError, ValueError, RecursionError):
            is_sound = False
        if not is_sound:
            raise Corrupt("Not a manifest.")
        return manifest

    def _is_sound(self) -> bool:
        listed = [one.id for one in self.envelopes]
        digests = [one.envelope for one in self.envelopes]
        campaign: object = self.campaign  # it came from outside
        return (
            isinstance(campaign, str)
            and type(self.number) is int
            and self.number > 0
            and listed == sorted({*listed})
            and not {*listed} & {*self.gone}
            and all(map(ID.fullmatch, (*listed, *self.gone, *self.take_down)))
            and all(map(DIGEST.fullmatch, digests))
        )


@dataclass(frozen=True, kw_only=True)
class SignedManifest:
    """A manifest and the known colleague who signed it (relaysigner1…)."""

    manifest: Manifest
    signer: str


def write_manifest(folder: Path, manifest: Manifest, identity: SigningIdentity) -> None:
    """Put a signed manifest into `folder`, whole, in the place of the one before."""
    write_signed(folder / NAME, signing.MANIFEST, manifest.statement(), identity)


def read_manifest(folder: Path, knows: Knows) -> SignedManifest | None:
    """Return the manifest in `folder`; None where there is none.

    Raises:
        Corrupt: not to be read, forged, or signed by somebody whom this desk does not know.
    """
    path = folder / NAME
    if not os.path.lexists(path):
        return None
    signed = read_signed(path, signing.MANIFEST, knows)
    try:
        return SignedManifest(manifest=Manifest.parse(signed.statement), signer=signed.signer)
    except Corrupt as error:
        raise Corrupt(f"{path}: {error.message}") from None


def learn(journal: Journal, signed: SignedManifest) -> bool:
    """Take into `journal` what a manifest says; return whether it is as new as any of its signer.

    Digests are pinned, so that this desk may decide about what is listed; where it knows another
    one, that one stays. What is gone stays gone, whatever an older manifest lists. Requests to
    take down a post are only added, since a colleague's stick may know of fewer; a pull of this
    desk's own says which are over.

    Raises:
        Corrupt: of another campaign than this desk's.
    """
    manifest = signed.manifest
    if journal.campaign not in ("", manifest.campaign):
        raise Corrupt(f"The manifest is of another campaign: {manifest.campaign}.")
    journal.campaign = manifest.campaign
    seen = journal.manifests.get(signed.signer, 0)
    is_new = manifest.number >= seen
    journal.manifests[signed.signer] = max(seen, manifest.number)
    for one in manifest.envelopes:
        journal.envelopes.setdefault(one.id, one.envelope)
    journal.lose(manifest.gone)
    questions = journal.hear_take_down(manifest.take_down)
    wanted = {one for one in manifest.take_down if journal.is_mine(one)} - {*questions}
    journal.take_down = sorted({*journal.take_down, *wanted})
    return is_new
