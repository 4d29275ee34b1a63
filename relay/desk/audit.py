"""Check the relay's log against what this desk remembers and whom it knows."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from relay.desk.client import DeskClient
from relay.desk.journal import CONFIRMED, SENT, Journal
from relay.desk.signed import stranger
from relay.errors import Corrupt
from relay.queue.chain import Checkpoint, Head, LogEntry, head_from_json, verify_chain
from relay.queue.states import ACTIONS, FIRST, LATER, RESTORED, Verdict
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
    is_restored: the relay was set up again from a copy, which was accepted now. missing: what this
    desk has said before and that relay has lost: ids and verdicts. there: the heads that this desk
    remembers, or shall remember, and the log has.
    """

    campaign: str
    settled: list[str]
    settled_later: list[tuple[str, str]]
    removed: list[str]
    entries: list[LogEntry]
    head: Head
    vouched_by: str | None
    is_restored: bool
    missing: list[tuple[str, str]]
    there: list[Head]


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
    client: DeskClient,
    journal: Journal,
    identity: SigningIdentity,
    known: Collection[str],
    *,
    after_restore: bool = False,
) -> Audit:
    """Verify the log, see that it goes on from where this desk last looked, vouch for it.

    The journal is not changed: see `remember`.
    known: the signers (relaysigner1…) whose verdicts and checkpoints count. A relay can invent a
    signer; it can't invent one of these.
    after_restore: the operator has told a colleague that the relay was set up again from a copy.
    Then the log may lack what came after the copy, up to its entry that says so, and nothing else.

    Raises:
        Corrupt: an entry deleted, altered, reordered, rolled back or forged, a verdict of this
            desk missing or reversed, an unknown signer, or an envelope that is not the one this
            desk was given.
    """
    seen = journal.head
    log = await fetch_log(client)
    journal.pin_campaign(log.campaign)
    heads = verify_chain(log.entries, log.base)
    there = [head for head in journal.known_heads if head in heads]
    restored = _find_restored(log, journal, there)
    if restored is not None and not after_restore:
        raise Corrupt(_words_for(restored))
    vouched_by = _vouched_by(log, heads, known) if log.base.seq > seen.seq else None
    after = there[-1].seq if there else log.base.seq
    _check_verdicts(log, journal, known, after=after)
    missing = []
    if restored is None:
        _check_awaited(log, journal)
        _check_expected(log, journal)
    else:
        missing = _find_missing(log, journal)
    entries = [entry for entry in log.entries if entry.seq > after]
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
        is_restored=restored is not None,
        missing=missing,
        there=_worth_remembering(log, heads, there),
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
    journal.remember_head(checked.head, checked.there)
    if checked.is_restored:
        _remember_restored(journal, checked)


def _remember_restored(journal: Journal, checked: Audit) -> None:
    """Let what was lost be said again; what became of a released one, the next command says."""
    for submission_id, verdict in checked.missing:
        if verdict in LATER:
            journal.verdicts.later.setdefault(submission_id, {})[verdict] = SENT
    confirmed = journal.verdicts.confirmed
    released = {one for one, verdict in confirmed.items() if verdict == Verdict.RELEASE}
    journal.lapsed = sorted(released - {*journal.gone})


def _find_restored(log: Log, journal: Journal, there: list[Head]) -> LogEntry | None:
    """Return the newest entry that says that the relay was restored, new to this desk.

    Raises:
        Corrupt: something that this desk has seen is not there, and no such entry explains it.
    """
    pinned = there[-1].seq if there else log.base.seq
    lacking = [
        head
        for head in journal.known_heads
        if head.seq >= max(log.base.seq, pinned) and head not in there
    ]
    restored = [entry for entry in log.entries if entry.action == RESTORED and entry.seq > pinned]
    if lacking and not (restored and restored[0].seq <= lacking[0].seq):
        seq = journal.log_seq
        raise Corrupt(f"The relay's log was rolled back or altered: entry {seq} is not there.")
    return restored[-1] if restored else None


def _worth_remembering(log: Log, heads: list[Head], there: list[Head]) -> list[Head]:
    """Return the heads that the log must have again: that it was restored explains a gap once."""
    restored = {entry.seq for entry in log.entries if entry.action == RESTORED}
    return [head for head in heads if head in there or head.seq in restored]


def _words_for(restored: LogEntry) -> str:
    return (
        f"The relay's log says (entry {restored.seq}) that the relay was set up again from a copy "
        f"of {restored.statement}, and may lack what came after. A relay that lies can say so too. "
        "Ask the operator, by telephone. If it is so: relay desk log --verify --after-restore"
    )


def _find_missing(log: Log, journal: Journal) -> list[tuple[str, str]]:
    """Return what this desk has said, and the relay had confirmed, and its log has not."""
    shown = {(entry.submission_id.hex(), entry.action) for entry in log.entries}
    said = [*journal.verdicts.confirmed.items()]
    for submission_id, later in journal.verdicts.later.items():
        said += [(submission_id, verdict) for verdict, how in later.items() if how == CONFIRMED]
    first_day = log.entries[0].day.isoformat() if log.base.seq else ""
    return [
        (submission_id, verdict)
        for submission_id, verdict in said
        if (submission_id, ACTIONS[Verdict(verdict)]) not in shown
        # What came before the log that is kept may have been decided before it, too.
        and journal.days.get(submission_id, "") >= first_day
    ]


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


def _check_verdicts(log: Log, journal: Journal, known: Collection[str], *, after: int) -> None:
    """See that each verdict was signed, by somebody known, for this campaign, and only once.

    The hashes pin what was verified here before, up to entry `after`: its signer was known then,
    and may have left.
    """
    decided: dict[bytes, Verdict] = {}
    is_whole = log.base.seq == 0
    for entry in log.entries:
        if entry.action == RESTORED:  # with it, releases were lost; some before this log knows them
            decided = {one: said for one, said in decided.items() if said is not Verdict.RELEASE}
            is_whole = False
        what = f"Log entry {entry.seq}"
        announced = journal.envelopes.get(entry.submission_id.hex())
        if announced not in (None, entry.envelope_sha256.hex()):
            raise Corrupt(f"{what} names another envelope than this desk was given.")
        if entry.action not in ACTIONS.values():
            continue
        trusted = known if entry.seq > after else {*known, entry.signer}
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
        if before is None and decision.verdict in LATER and is_whole:
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
        entry, after = shown.get(submission_id), journal.verdicts.after.get(submission_id, 0)
        if entry is not None and entry.seq <= after:
            entry = None  # said before the relay was restored, and once more
        if entry is None and log.base.seq > after:
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
