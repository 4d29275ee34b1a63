"""Check the relay's log against what this desk remembers."""

from dataclasses import dataclass, replace
from typing import Any

from relay.desk.client import DeskClient
from relay.desk.journal import Journal
from relay.errors import Corrupt
from relay.queue.chain import Checkpoint, Head, LogEntry, head_from_json, verify_chain
from relay.queue.verdicts import Decision
from relay.seal import signing
from relay.seal.signing import Signer, SigningIdentity

_DECIDED = {"release": "released", "return": "returned"}


@dataclass(frozen=True, kw_only=True)
class Log:
    """The log as the relay tells it: where it begins, who vouched for it, the entries."""

    campaign: str
    base: Head
    checkpoint: Checkpoint | None
    entries: list[LogEntry]


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What was found in order: new entries, the head now, and who vouched for what is gone."""

    entries: list[LogEntry]
    head: Head
    vouched_by: str | None


async def fetch_log(client: DeskClient) -> Log:
    """Return the whole log that the relay keeps.

    Raises:
        Corrupt: the answer can't be read.
    """
    entries: list[LogEntry] = []
    after = 0
    while True:
        page = _read_page(await client.ask("GET", f"/desk/v1/log?after={after}"))
        entries += page.entries
        if not page.entries:
            return replace(page, entries=entries)
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


async def audit(client: DeskClient, journal: Journal, identity: SigningIdentity) -> Audit:
    """Verify the log, see that it goes on from where this desk last looked, vouch for it.

    Raises:
        Corrupt: an entry deleted, altered, reordered, rolled back or forged, a verdict of this
            desk missing, or an envelope that is not the one this desk was given.
    """
    seen = Head(seq=journal.log_seq, hash=bytes.fromhex(journal.log_hash))
    log = await fetch_log(client)
    journal.campaign = log.campaign
    heads = verify_chain(log.entries, log.base)
    vouched_by = None
    if log.base.seq > seen.seq:
        vouched_by = _vouched_by(log, heads)
    elif seen not in heads:
        raise Corrupt(f"The relay's log was rolled back or altered: entry {seen.seq} is not there.")
    entries = [entry for entry in log.entries if entry.seq > seen.seq]
    for entry in entries:
        _check_entry(entry, journal)
    decided = {entry.submission_id.hex() for entry in entries if entry.action in _DECIDED.values()}
    awaited = [name for name in journal.awaited if name not in decided]
    if awaited:
        raise Corrupt(f"The relay's log lacks your verdict about {awaited[0]}.")
    head = heads[-1]
    if entries:
        await _vouch(client, identity, head, log.campaign)
    journal.awaited, journal.log_seq, journal.log_hash = [], head.seq, head.hash.hex()
    return Audit(entries=entries, head=head, vouched_by=vouched_by)


def _vouched_by(log: Log, heads: list[Head]) -> str:
    """Return who signed for the entries that are no longer kept."""
    checkpoint = log.checkpoint
    if checkpoint is None or checkpoint.head not in heads:
        raise Corrupt("The relay's log begins in the middle, and nobody vouches for it.")
    try:
        signer = Signer.parse(checkpoint.signer)
    except ValueError:
        raise Corrupt("The relay's log begins in the middle, and nobody vouches for it.") from None
    statement = checkpoint.head.statement(log.campaign).encode()
    signer.verify(signing.CHECKPOINT, statement, checkpoint.signature)
    return signer.encoded


async def _vouch(client: DeskClient, identity: SigningIdentity, head: Head, campaign: str) -> None:
    signature = identity.sign(signing.CHECKPOINT, head.statement(campaign).encode())
    checkpoint = Checkpoint(head=head, signer=identity.signer().encoded, signature=signature)
    await client.ask("POST", "/desk/v1/checkpoint", checkpoint.to_json())


def _check_entry(entry: LogEntry, journal: Journal) -> None:
    known = journal.envelopes.get(entry.submission_id.hex())
    if known is not None and known != entry.envelope_sha256.hex():
        raise Corrupt(f"Log entry {entry.seq} names another envelope than this desk was given.")
    if entry.action not in _DECIDED.values():
        return
    if entry.signer is None or entry.statement is None or entry.signature is None:
        raise Corrupt(f"Log entry {entry.seq}: a verdict that nobody signed.")
    try:
        signer = Signer.parse(entry.signer)
    except ValueError:
        raise Corrupt(f"Log entry {entry.seq}: a verdict of nobody.") from None
    signer.verify(signing.VERDICT, entry.statement.encode(), entry.signature)
    decision = Decision.parse(entry.statement)
    if (
        decision.id != entry.submission_id
        or decision.envelope_sha256 != entry.envelope_sha256
        or _DECIDED[decision.verdict] != entry.action
    ):
        raise Corrupt(f"Log entry {entry.seq}: the signed verdict says something else.")
