"""Release or return: sign a verdict, send it, remember it."""

from dataclasses import dataclass

from relay.desk.client import DeskClient
from relay.desk.journal import ID, Journal, JournalFile
from relay.errors import NothingThere, RelayError, RelayUnreachable
from relay.queue.states import Reason, Verdict
from relay.queue.verdicts import Decision
from relay.seal import signing
from relay.seal.signing import SigningIdentity


@dataclass(frozen=True, kw_only=True)
class Decided:
    """The outcome for one submission."""

    id: str
    already: bool


def make_decision(
    journal: Journal, submission_id: str, verdict: Verdict, reason: Reason | None
) -> Decision:
    """Return the decision about a submission that this desk has pulled.

    Raises:
        NothingThere: this desk has not pulled it.
    """
    digest = journal.envelopes.get(submission_id)
    if not ID.fullmatch(submission_id) or digest is None:
        raise NothingThere("This desk has not pulled a submission of this number.")
    return Decision(
        campaign=journal.campaign,
        id=bytes.fromhex(submission_id),
        envelope_sha256=bytes.fromhex(digest),
        verdict=verdict,
        reason=reason,
    )


async def decide(
    client: DeskClient, journal_file: JournalFile, identity: SigningIdentity, decision: Decision
) -> Decided:
    """Sign `decision` and have the relay carry it out.

    Remembered before it is sent: where the answer is lost, the relay may have acted.

    Raises:
        LockedByColleague, NothingThere, Corrupt, RelayUnreachable: the relay's answer, or none.
    """
    submission_id, statement = decision.id.hex(), decision.statement()
    signature = identity.sign(signing.VERDICT, statement.encode())
    with journal_file.update() as journal:
        journal.verdicts.sent[submission_id] = str(decision.verdict)
    try:
        answer = await client.ask(
            "POST", "/desk/v1/verdict", {"statement": statement, "signature": signature}
        )
    except RelayUnreachable:
        raise
    except RelayError:
        with journal_file.update() as journal:
            journal.verdicts.sent.pop(submission_id, None)
        raise
    if not isinstance(answer, dict) or not isinstance(answer.get("already"), bool):
        raise RelayUnreachable("The relay's answer can't be read. Verify the log.")
    with journal_file.update() as journal:
        verdicts = journal.verdicts
        verdicts.sent.pop(submission_id, None)
        is_news = verdicts.confirmed.get(submission_id) != decision.verdict
        if is_news or not answer["already"]:
            verdicts.awaited[submission_id] = str(decision.verdict)
        verdicts.confirmed[submission_id] = str(decision.verdict)
    return Decided(id=submission_id, already=answer["already"])
