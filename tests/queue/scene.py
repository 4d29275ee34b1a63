"""What happens in the tests of the queue: days, colleagues, receipts, verdicts."""

import datetime as dt
import hashlib

from relay.queue.states import Reason, Verdict
from relay.queue.store import SealedQueue
from relay.queue.verdicts import Decision, SignedVerdict

DAY = dt.date(2026, 3, 19)
ONE = dt.timedelta(days=1)
RETAIN, LEASE = 30, 3
ALICE, BERTA, CLARA = "relaysigner1alice", "relaysigner1berta", "relaysigner1clara"


def receipt(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


async def turn(queue: SealedQueue, today: dt.date) -> None:
    await queue.turn_day(today=today, retain_days=RETAIN, lease_days=LEASE)


async def leased(queue: SealedQueue, number: int, sealed: bytes) -> bytes:
    """Enqueue, lease to Alice the same day, return the id."""
    await queue.enqueue(sealed, receipt(number), today=DAY)
    handout = await queue.lease(ALICE, today=DAY, include_today=True)
    digest = hashlib.sha256(sealed).digest()
    return next(lease.id for lease in handout.leases if lease.envelope_sha256 == digest)


def verdict(
    submission_id: bytes,
    sealed: bytes,
    kind: Verdict = Verdict.RELEASE,
    signer: str = ALICE,
) -> SignedVerdict:
    decision = Decision(
        campaign="demo",
        id=submission_id,
        envelope_sha256=hashlib.sha256(sealed).digest(),
        verdict=kind,
        reason=Reason.FACE_VISIBLE if kind is Verdict.RETURN else None,
    )
    return SignedVerdict(decision=decision, signer=signer, signature="c2ln")
