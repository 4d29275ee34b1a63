"""Check the relay's log against what this desk remembers."""

from dataclasses import dataclass
from typing import Any

from relay.desk.client import DeskClient
from relay.desk.journal import Journal
from relay.errors import Corrupt
from relay.queue.chain import LogEntry, verify_chain
from relay.queue.verdicts import Decision
from relay.seal import signing
from relay.seal.signing import Signer

_DECIDED = {"release": "released", "return": "returned"}


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What was read and found in order."""

    entries: list[LogEntry]
    seq: int


async def fetch_log(client: DeskClient, after: int) -> list[LogEntry]:
    """Return every entry after number `after`.

    Raises:
        Corrupt: the answer can't be read.
    """
    entries: list[LogEntry] = []
    while True:
        answer = await client.ask("GET", f"/desk/v1/log?after={after}")
        page = _read_page(answer)
        entries += page
        if not page:
            return entries
        if page[-1].seq <= after:
            raise Corrupt("The relay's log does not go forward.")
        after = page[-1].seq


def _read_page(answer: Any) -> list[LogEntry]:  # noqa: ANN401 - JSON
    try:
        return [LogEntry.from_json(entry) for entry in answer["entries"]]
    except (KeyError, TypeError):
        raise Corrupt("The relay's log can't be read.") from None


async def audit(client: DeskClient, journal: Journal) -> Audit:
    """Verify what was added since this desk last looked, and remember the new head.

    Raises:
        Corrupt: an entry deleted, altered, reordered, rolled back or forged, a verdict of this
            desk missing, or an envelope that is not the one this desk was given.
    """
    head = bytes.fromhex(journal.log_hash)
    if journal.log_seq:
        entries = await fetch_log(client, journal.log_seq - 1)
        if not entries:
            raise Corrupt(f"The relay's log was rolled back: entry {journal.log_seq} is gone.")
        if entries[0].seq != journal.log_seq or entries[0].hash != head:
            raise Corrupt(f"The relay's log was altered at entry {journal.log_seq} or before.")
        entries = entries[1:]
    else:
        entries = await fetch_log(client, 0)
    head = verify_chain(entries, seq=journal.log_seq, head=head)
    for entry in entries:
        _check_entry(entry, journal)
    decided = {e.submission_id.hex() for e in entries if e.action in _DECIDED.values()}
    journal.awaited = [name for name in journal.awaited if name not in decided]
    if journal.awaited:
        raise Corrupt(f"The relay's log lacks your verdict about {journal.awaited[0]}.")
    journal.log_seq += len(entries)
    journal.log_hash = head.hex()
    return Audit(entries=entries, seq=journal.log_seq)


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
