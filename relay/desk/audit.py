"""Check the relay's log against what this desk remembers and whom it knows."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from relay.desk.client import DeskClient
from relay.desk.journal import Journal
from relay.desk.signed import stranger
from relay.errors import Corrupt
from relay.queue.chain import Checkpoint, Head, LogEntry, head_from_json, verify_chain
from relay.queue.states import ACTIONS, FIRST, LATER, Verdict
from relay.queue.verdicts import Decision
from relay.seal import signing
from relay.seal.signing import Signer, SigningIdentity

# What may stand before each of these in the log; nothing may stand before a first verdict.
_BEFORE = {
    Verdict.POST: {Verdict.RELEASE},
    Verdict.ANSWER: {Verdict.RELEASE},
    Verdict.REMOVE: {Verdict.RELEASE, Verdict.POST, Verdict.ANSWER},
}


@dataclass(frozen=True, kw_only=True)
class Log:
    """The log as the relay tells it: where it begins, who vouched for it, the entries."""

    campaign: str
    base: Head
    checkpoint: Checkpoint | None
    entries: list[LogEntry]


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What was found in order: new entries, the head now, and who vouched for what is gone.

    settled: ids whose verdicts were looked for and found. settled_later: with what was said later.
    removed: ids whose senders wanted them gone, and that a colleague has signed to be gone.
    """

    campaign: str
    settled: list[str]
    settled_later: list[tuple[str, str]]
    removed: list[str]
    entries: list[LogEntry]
    head: Head
    vouched_by: str | None


async def fetch_log(client: DeskClient) -> Log:
    """Return the whole log that the relay keeps.

    Raises:
        Corrupt: the answer can't be read.
    """
    first: Log | None = None
    entries: list[LogEntry] = []
    after = 0
    while True:
        page = _read_page(await client.ask("GET", f"/desk/v1/log?after={after}"))
        entries += page.entries
        first = first or page  # where the log began: it may be cut while it is read
        if not page.entries:
            return replace(first, entries=entries)
        if page.entries[-1].seq <= after:
            raise Corrupt("The relay's log does not go forward.")
        after = page.entries[-1].seq


def _read_page(answer: Any) -> Log:
    try:
        checkpoint = answer["checkpoint"]
        return Log(
            campaign=str(answer["campaign"]),
            base=head_from_json(answer["base"]),
            checkpoint=None if checkpoint is None else Checkpoint.from_json(checkpoint),
            entries=[LogEntry.from_json(entry) for entry in answer["entries"]],
        )
    except (AttributeError, KeyError, TypeError):
        raise Corrupt("The relay's log can't be read.") from None


async def audit(
    client: DeskClient, journal: Journal, identity: SigningIdentity, known: Collection[str]
) -> Audit:
    """Verify the log, see that it goes on from where this desk last looked, vouch for it.

    The journal is not changed: see `remember`.
    known: the signers (relaysigner1…) whose verdicts and checkpoints count. A relay can invent a
    signer; it can't invent one of these.

    Raises:
        Corrupt: an entry deleted, altered, reordered, rolled back or forged, a verdict of this
            desk missing or reversed, an unknown signer, or an envelope that is not the one this
            desk was given.
    """
    seen = journal.head
    log = await fetch_log(client)
    journal.pin_campaign(log.campaign)
    heads = verify_chain(log.entries, log.base)
    vouched_by = None
    if log.base.seq > seen.seq:
        vouched_by = _vouched_by(log, heads, known)
    elif seen not in heads:
        raise Corrupt(f"The relay's log was rolled back or altered: entry {seen.seq} is not there.")
    _check_verdicts(log, journal, known)
    _check_awaited(log, journal)
    _check_expected(log, journal)
    entries = [entry for entry in log.entries if entry.seq > seen.seq]
    head = heads[-1]
    if entries:
        await _vouch(client, identity, head, log.campaign)
    return Audit(
        campaign=log.campaign,
        settled=list(journal.verdicts.awaited),
        settled_later=[
            (submission_id, verdict)
            for submission_id, verdicts in journal.verdicts.expected.items()
            for verdict in verdicts
        ],
        removed=[
            entry.submission_id.hex()
            for entry in log.entries
            if entry.action == ACTIONS[Verdict.REMOVE]
        ],
        entries=entries,
        head=head,
        vouched_by=vouched_by,
    )


def remember(journal: Journal, checked: Audit) -> None:
    """Take what was checked into a journal that may have gone on meanwhile."""
    journal.pin_campaign(checked.campaign)
    for submission_id in checked.settled:
        journal.verdicts.awaited.pop(submission_id, None)
        journal.verdicts.after.pop(submission_id, None)
    for submission_id, verdict in checked.settled_later:
        left = journal.verdicts.expected.get(submission_id, {})
        left.pop(verdict, None)
        if not left:
            journal.verdicts.expected.pop(submission_id, None)
    journal.lose(checked.removed)
    journal.log_seq, journal.log_hash = checked.head.seq, checked.head.hash.hex()


def _known_signer(encoded: str | None, known: Collection[str | None], what: str) -> Signer:
    if encoded is None:
        raise Corrupt(f"{what}: nobody signed it.")
    if encoded not in known:
        raise stranger(what, encoded)
    return Signer.parse(encoded)


def _vouched_by(log: Log, heads: list[Head], known: Collection[str]) -> str:
    """Return who signed for the entries that are no longer kept."""
    checkpoint = log.checkpoint
    if checkpoint is None or checkpoint.head not in heads:
        raise Corrupt("The relay's log begins in the middle, and nobody vouches for it.")
    signer = _known_signer(checkpoint.signer, known, "The beginning of the relay's log")
    statement = checkpoint.head.statement(log.campaign).encode()
    signer.verify(signing.CHECKPOINT, statement, checkpoint.signature)
    return signer.encoded


async def _vouch(client: DeskClient, identity: SigningIdentity, head: Head, campaign: str) -> None:
    signature = identity.sign(signing.CHECKPOINT, head.statement(campaign).encode())
    checkpoint = Checkpoint(head=head, signer=identity.signer().encoded, signature=signature)
    await client.ask("POST", "/desk/v1/checkpoint", checkpoint.to_json())


def _check_verdicts(log: Log, journal: Journal, known: Collection[str]) -> None:
    """See that each verdict was signed, by somebody known, for this campaign, and only once.

    The hashes pin what was verified here before: its signer was known then, and may have left.
    """
    decided: dict[bytes, Verdict] = {}
    for entry in log.entries:
        what = f"Log entry {entry.seq}"
        announced = journal.envelopes.get(entry.submission_id.hex())
        if announced not in (None, entry.envelope_sha256.hex()):
            raise Corrupt(f"{what} names another envelope than this desk was given.")
        if entry.action not in ACTIONS.values():
            continue
        trusted = known if entry.seq > journal.log_seq else {*known, entry.signer}
        signer = _known_signer(entry.signer, trusted, what)
        statement = entry.statement or ""
        signer.verify(signing.VERDICT, statement.encode("utf-8", "replace"), entry.signature or "")
        decision = Decision.parse(statement)
        if (
            decision.campaign != log.campaign
            or decision.id != entry.submission_id
            or decision.envelope_sha256 != entry.envelope_sha256
            or ACTIONS[decision.verdict] != entry.action
        ):
            raise Corrupt(f"{what}: the signed verdict says something else.")
        before = decided.get(entry.submission_id)
        if before is None and decision.verdict in LATER and log.base.seq == 0:
            raise Corrupt(f"{what} is about a submission that nobody released.")
        if before is not None and before not in _BEFORE.get(decision.verdict, ()):
            raise Corrupt(f"{what} decides about a submission for the second time.")
        decided[entry.submission_id] = decision.verdict


def _check_awaited(log: Log, journal: Journal) -> None:
    """See that what the relay confirmed to this desk stands in the log."""
    actions = [ACTIONS[verdict] for verdict in FIRST]
    verdicts = [entry for entry in log.entries if entry.action in actions]
    shown = {entry.submission_id.hex(): entry for entry in verdicts}
    for submission_id, verdict in journal.verdicts.awaited.items():
        entry = shown.get(submission_id)
        if entry is None and log.base.seq > journal.verdicts.after.get(submission_id, 0):
            continue  # older than the log that is kept; a colleague has vouched for it
        if entry is None or entry.action != ACTIONS[Verdict(verdict)]:
            raise Corrupt(f"The relay's log lacks the verdict about {submission_id}.")


def _check_expected(log: Log, journal: Journal) -> None:
    """See that what this desk has said of released ones stands in the log, once confirmed."""
    shown = {(entry.submission_id.hex(), entry.action) for entry in log.entries}
    for submission_id, verdicts in journal.verdicts.expected.items():
        for verdict, after in verdicts.items():
            action = ACTIONS[Verdict(verdict)]
            if (submission_id, action) not in shown and log.base.seq <= after:
                raise Corrupt(f"The relay's log lacks that {submission_id} was {action}.")
