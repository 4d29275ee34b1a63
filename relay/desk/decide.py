"""Release or return: sign a verdict, send it, remember it."""

from dataclasses import dataclass

from relay.desk.client import DeskClient
from relay.desk.journal import Journal
from relay.desk.pull import ID
from relay.errors import NothingThere
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
    client: DeskClient, journal: Journal, identity: SigningIdentity, decision: Decision
) -> Decided:
    """Sign `decision` and have the relay carry it out.

    Raises:
        LockedByColleague, NothingThere, Corrupt: the relay's answer.
    """
    statement = decision.statement()
    signature = identity.sign(signing.VERDICT, statement.encode())
    answer = await client.ask(
        "POST", "/desk/v1/verdict", {"statement": statement, "signature": signature}
    )
    submission_id = decision.id.hex()
    already = bool(answer.get("already"))
    journal.verdicts[submission_id] = str(decision.verdict)
    if not already and submission_id not in journal.awaited:
        journal.awaited.append(submission_id)
    return Decided(id=submission_id, already=already)
