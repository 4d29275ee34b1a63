"""Release or return: sign a verdict, hand it to the relay, remember it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from relay.desk.client import DeskClient
from relay.desk.copies import Destruction, destroy_copies
from relay.desk.journal import CONFIRMED, ID, SENT, Journal, JournalFile
from relay.errors import (
    ConfigInvalid,
    HeldAfterRestore,
    NothingThere,
    RelayError,
    RelayUnreachable,
)
from relay.queue.states import LATER, Reason, Verdict
from relay.queue.verdicts import Decision, SignedVerdict
from relay.seal import signing
from relay.seal.signing import SigningIdentity

# The rest speak of a photo.
QUESTION_REASONS = (Reason.OTHER, Reason.DESTROYED_UNSEEN)
SHORTEST_ID = 8  # digits of an id that may stand for it
_BEGINNING = re.compile(rf"[0-9a-f]{{{SHORTEST_ID},32}}")


@dataclass(frozen=True, kw_only=True)
class Decided:
    """The outcome for one submission; destruction: of the copies here, where it is returned."""

    id: str
    already: bool
    destruction: Destruction


def find_id(journal: Journal, text: str, *, opened: bool = False) -> str:
    """Return the id that `text` is, or is the beginning of, among those this desk was told of.

    opened: among those that it has opened, too.

    Raises:
        NothingThere: it is of none. ConfigInvalid: too short, or of several; they are named.
    """
    beginning = text.lower()
    if beginning.isalnum() and len(beginning) < SHORTEST_ID:
        raise ConfigInvalid(f"Type at least the first {SHORTEST_ID} digits of the number.")
    found: list[str] = []
    if _BEGINNING.fullmatch(beginning):
        known = [*journal.envelopes, *(journal.opened.keys() - journal.envelopes if opened else ())]
        found = sorted(one for one in known if one.startswith(beginning))
    if not found:
        raise NothingThere("This desk has not pulled a submission of this number.")
    if len(found) > 1:
        raise ConfigInvalid(f"Several numbers begin so: {', '.join(found)}. Type more of yours.")
    return found[0]


def make_decision(
    journal: Journal, submission_id: str, verdict: Verdict, reason: Reason | None
) -> Decision:
    """Return the decision about a submission that this desk has pulled, or a manifest listed.

    Raises:
        NothingThere: it did not; it was taken back; or another verdict was signed before.
        ConfigInvalid: what is decided does not fit a question, or a photo.
    """
    digest = journal.envelopes.get(submission_id)
    if not ID.fullmatch(submission_id) or digest is None:
        raise NothingThere("This desk has not pulled a submission of this number.")
    decision = Decision(
        campaign=journal.campaign,
        id=bytes.fromhex(submission_id),
        envelope_sha256=bytes.fromhex(digest),
        verdict=verdict,
        reason=reason,
    )
    check_before(journal, decision)
    _check_kind(journal, decision)
    return decision


def refuse_lost(journal: Journal, submission_id: str) -> None:
    """Return where the relay still knows whether its sender has taken it back.

    Raises:
        HeldAfterRestore: it was set up again from a copy. A colleague may decide all the same.
    """
    if submission_id in journal.lost:
        raise HeldAfterRestore(
            f"the relay was set up again from a copy of {journal.copied}, and she may have "
            "taken this back since. To go on all the same: --after-restore"
        )


def _check_kind(journal: Journal, decision: Decision) -> None:
    """Return where the verdict fits what was opened here; what was not may be either."""
    submission_id, verdict = decision.id.hex(), decision.verdict
    is_question = submission_id in journal.questions
    if verdict is Verdict.POST and is_question:
        raise ConfigInvalid("It is a question. Questions are answered, not posted.")
    if verdict is Verdict.ANSWER and submission_id in journal.opened and not is_question:
        raise ConfigInvalid("It is a photo. Photos are posted, not answered.")
    if is_question and decision.reason not in (None, *QUESTION_REASONS):
        words = " or ".join(QUESTION_REASONS)
        raise ConfigInvalid(f"It is a question. The reason can be {words}.")


def check_before(journal: Journal, decision: Decision) -> None:
    """Return where nothing that this desk remembers speaks against signing `decision`.

    Raises:
        NothingThere: it was taken back, or another verdict was signed before.
    """
    submission_id = decision.id.hex()
    if decision.verdict in journal.verdicts.said_later(submission_id):
        return  # to say it again changes nothing
    if submission_id in journal.gone and decision.verdict is not Verdict.REMOVE:
        raise NothingThere("She has taken it back, or it has expired. Destroy your copy.")
    if decision.verdict in LATER:
        _refuse_unreleased(journal, submission_id)
        return
    signed = journal.verdicts.signed.get(submission_id)
    if signed is not None:
        refuse_another(signed, decision)


def _refuse_unreleased(journal: Journal, submission_id: str) -> None:
    """Return where it may be released: a colleague may have done it, so the relay decides."""
    if journal.is_returned(submission_id):
        raise NothingThere("You have returned it.")


def refuse_another(signed: str, decision: Decision) -> None:
    """Return where the statement `signed` says the same as `decision`.

    Raises:
        NothingThere: it does not. What is signed can't be called back.
    """
    if signed != decision.statement():
        before = Decision.parse(signed)
        words = f"{before.verdict}, {before.reason}" if before.reason else str(before.verdict)
        raise NothingThere(f"You have signed another verdict before ({words}). It stands.")


def sign(identity: SigningIdentity, decision: Decision) -> SignedVerdict:
    """Return `decision`, signed."""
    signature = identity.sign(signing.VERDICT, decision.statement().encode())
    signer = identity.signer().encoded
    return SignedVerdict(decision=decision, signer=signer, signature=signature)


async def hand_over(
    client: DeskClient,
    journal_file: JournalFile,
    verdict: SignedVerdict,
    *,
    after_restore: bool = False,
) -> Decided:
    """Have the relay carry out a verdict, one's own or a colleague's.

    Remembered before it is sent: where the answer is lost, the relay may have acted. Copies here
    of what is returned, or was taken down, are destroyed when the relay has confirmed it.

    after_restore: also where the relay has lost it, and does not know whether it was taken back.
    What became of one already is said of that too.

    Raises:
        LockedByColleague, NothingThere, Corrupt, HeldAfterRestore, RelayUnreachable: the relay's
            answer, or none.
    """
    decision = verdict.decision
    if decision.verdict in LATER:
        return await _hand_over_later(client, journal_file, verdict)
    submission_id = decision.id.hex()
    with journal_file.update() as journal:
        seen, before = journal.log_seq, journal.verdicts.sent.get(submission_id)
        if before != Verdict.RELEASE:  # which the relay may have carried out
            journal.verdicts.sent[submission_id] = str(decision.verdict)
    try:
        already = await _ask(client, verdict, after_restore=after_restore)
    except RelayUnreachable:
        raise
    except RelayError:
        # A refusal says nothing of a release sent before: the relay may have forgotten it since.
        with journal_file.update() as journal:
            sent = journal.verdicts.sent
            if before != Verdict.RELEASE and sent.get(submission_id) == decision.verdict:
                del sent[submission_id]
        raise
    with journal_file.update() as journal:
        verdicts = journal.verdicts
        verdicts.sent.pop(submission_id, None)
        is_news = verdicts.confirmed.get(submission_id) != decision.verdict
        if is_news or not already:
            verdicts.awaited[submission_id] = str(decision.verdict)
            verdicts.after[submission_id] = 0 if already else seen
        verdicts.confirmed[submission_id] = str(decision.verdict)
        journal.settle(submission_id)
        destruction = destroy_returned([submission_id], journal)
    return Decided(id=submission_id, already=already, destruction=destruction)


async def _ask(client: DeskClient, verdict: SignedVerdict, *, after_restore: bool) -> bool:
    """Send a verdict to the relay and return whether it stood before.

    Raises:
        RelayUnreachable: no answer, or one that can't be read: it may have acted.
    """
    fields: dict[str, Any] = {
        "statement": verdict.decision.statement(),
        "signer": verdict.signer,
        "signature": verdict.signature,
    }
    fields |= {"after_restore": True} if after_restore else {}
    answer = await client.ask("POST", "/desk/v1/verdict", fields)
    if not isinstance(answer, dict) or not isinstance(answer.get("already"), bool):
        raise RelayUnreachable("The relay's answer can't be read. Verify the log.")
    return bool(answer["already"])


async def _hand_over_later(
    client: DeskClient, journal_file: JournalFile, verdict: SignedVerdict
) -> Decided:
    """As `hand_over`, for what is said of a released one: its release stays remembered."""
    said, submission_id = str(verdict.decision.verdict), verdict.decision.id.hex()
    with journal_file.update() as journal:
        seen = journal.log_seq
        known = journal.verdicts.later.setdefault(submission_id, {})
        before = known.get(said)
        known.setdefault(said, SENT)
    try:
        already = await _ask(client, verdict, after_restore=True)
    except RelayUnreachable:
        raise
    except RelayError:
        # As above: a refusal says nothing of what was sent before.
        with journal_file.update() as journal:
            if before is None:
                _forget_sent(journal, submission_id, said)
        raise
    with journal_file.update() as journal:
        journal.verdicts.later.setdefault(submission_id, {})[said] = CONFIRMED
        journal.settle(submission_id)
        if before != CONFIRMED or not already:
            expected = journal.verdicts.expected.setdefault(submission_id, {})
            expected[said] = 0 if already else seen
        destruction = Destruction()
        if verdict.decision.verdict is Verdict.REMOVE:
            journal.lose([submission_id])
            destruction = destroy_copies([submission_id], journal)
    return Decided(id=submission_id, already=already, destruction=destruction)


def _forget_sent(journal: Journal, submission_id: str, said: str) -> None:
    """Forget what the relay has refused, unless it had confirmed it before."""
    known = journal.verdicts.later.get(submission_id, {})
    if known.get(said) == SENT:
        del known[said]
    if not known:
        journal.verdicts.later.pop(submission_id, None)


def destroy_returned(ids: Iterable[str], journal: Journal) -> Destruction:
    """Destroy the copies of those whose return stands: their senders read that nothing is left."""
    return destroy_copies(filter(journal.is_returned, ids), journal)
