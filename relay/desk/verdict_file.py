"""Verdicts on a stick: one file, signed as a whole, so that none can be left out unnoticed."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay.desk.copies import Destruction
from relay.desk.decide import check_before, destroy_returned, refuse_another, sign
from relay.desk.journal import JournalFile, Verdicts
from relay.desk.signed import Knows, canonical, read_signed, write_signed
from relay.errors import Corrupt, LockedByColleague, NothingThere, RelayError
from relay.queue.states import FIRST
from relay.queue.verdicts import Decision, SignedVerdict
from relay.seal import signing
from relay.seal.signing import Signer, SigningIdentity


@dataclass(frozen=True, kw_only=True)
class VerdictFile:
    """The verdicts that one colleague (relaysigner1…) has signed for one campaign, by id."""

    campaign: str
    signer: str
    verdicts: dict[str, SignedVerdict]

    def statement(self) -> str:
        """Return the one text of this file: what is signed."""
        verdicts = [
            {"statement": verdict.decision.statement(), "signature": verdict.signature}
            for _, verdict in sorted(self.verdicts.items())
        ]
        return canonical({"version": 1, "campaign": self.campaign, "verdicts": verdicts})

    @classmethod
    def parse(cls, statement: str, signer: str) -> "VerdictFile":
        """Read a statement that `signer` has signed, and check each verdict in it.

        Raises:
            Corrupt: anything but the one text of a file whose verdicts she has signed too.
        """
        try:
            fields = json.loads(statement)
            verdicts = [_read_verdict(one, signer) for one in fields["verdicts"]]
            file = cls(
                campaign=fields["campaign"],
                signer=signer,
                verdicts={verdict.decision.id.hex(): verdict for verdict in verdicts},
            )
            is_sound = file.statement() == statement
        except (AttributeError, LookupError, TypeError, ValueError, RecursionError):
            is_sound = False
        if not is_sound or {one.decision.campaign for one in verdicts} - {file.campaign}:
            raise Corrupt("Not a file of verdicts.")
        return file


def _read_verdict(fields: dict[str, Any], signer: str) -> SignedVerdict:
    statement, signature = str(fields["statement"]), str(fields["signature"])
    Signer.parse(signer).verify(signing.VERDICT, statement.encode(), signature)
    decision = Decision.parse(statement)
    if decision.verdict not in FIRST:
        raise Corrupt("What became of a released one is said by the laptop that posts it.")
    return SignedVerdict(decision=decision, signer=signer, signature=signature)


def read_verdicts(path: Path, knows: Knows) -> VerdictFile:
    """Read a file that came on a stick.

    Raises:
        NothingThere: no such file.
        Corrupt: not to be read, forged, or signed by somebody whom this desk does not know.
    """
    if not os.path.lexists(path):
        raise NothingThere(f"{path}: no such file.")
    signed = read_signed(path, signing.VERDICTS, knows)
    try:
        return VerdictFile.parse(signed.statement, signed.signer)
    except Corrupt as error:
        raise Corrupt(f"{path}: {error.message}") from None


@dataclass(frozen=True, kw_only=True)
class Added:
    """Ids: added now, there already, and refused; and how many verdicts the file has now.

    destruction: of the copies here of what is returned.
    """

    added: list[str]
    already: list[str]
    refused: dict[str, RelayError]
    count: int
    destruction: Destruction


def add_verdicts(
    path: Path, journal_file: JournalFile, identity: SigningIdentity, decisions: Sequence[Decision]
) -> Added:
    """Sign `decisions` and add them to the file at `path`, without a network.

    Remembered before the file is written: what is signed can't be called back, and a second file
    gets the same verdicts and no others. Then the copies here of what is returned are destroyed.
    Killed at any point, it is repeated by calling it again.

    Raises:
        LockedByColleague: the file is somebody else's.
        Corrupt: something else lies there, or a file of another campaign.
        OSError: it can't be written; nothing was changed in it.
    """
    wanted = {decision.id.hex(): decision for decision in decisions}
    refused: dict[str, RelayError] = {}
    with journal_file.update() as journal:
        before = _read_own(path, journal.campaign, identity).verdicts
        for submission_id, decision in wanted.items():
            try:
                _check_sent(journal.verdicts, decision)
                check_before(journal, decision)
                if submission_id in before:
                    refuse_another(before[submission_id].decision.statement(), decision)
            except NothingThere as error:
                refused[submission_id] = error
            else:
                journal.verdicts.signed[submission_id] = decision.statement()
    with journal_file.update() as journal:
        file = _read_own(path, journal.campaign, identity)
        accepted = [submission_id for submission_id in wanted if submission_id not in refused]
        fresh = [submission_id for submission_id in accepted if submission_id not in file.verdicts]
        file.verdicts.update({one: sign(identity, wanted[one]) for one in fresh})
        if fresh:
            write_signed(path, signing.VERDICTS, file.statement(), identity)
        destruction = destroy_returned(accepted, journal)
    return Added(
        added=fresh,
        already=[submission_id for submission_id in accepted if submission_id not in fresh],
        refused=refused,
        count=len(file.verdicts),
        destruction=destruction,
    )


def _read_own(path: Path, campaign: str, identity: SigningIdentity) -> VerdictFile:
    """Return what we have put into the file so far."""
    me = identity.signer().encoded
    if not os.path.lexists(path):
        return VerdictFile(campaign=campaign, signer=me, verdicts={})
    file = read_verdicts(path, lambda _: True)
    if file.signer != me:
        raise LockedByColleague(f"{path}: somebody else has signed it. Choose another file.")
    if file.campaign != campaign:
        raise Corrupt(f"{path}: of another campaign. Choose another file.")
    return file


def _check_sent(verdicts: Verdicts, decision: Decision) -> None:
    submission_id = decision.id.hex()
    for sent in (verdicts.confirmed, verdicts.sent):
        verdict = sent.get(submission_id, decision.verdict)
        if verdict != decision.verdict:
            raise NothingThere(f"You have sent another verdict before ({verdict}). It stands.")
