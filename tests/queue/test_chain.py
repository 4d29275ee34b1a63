import dataclasses
import datetime as dt

import pytest

from relay.errors import Corrupt
from relay.queue.chain import Head, LogEntry, next_hash, verify_chain
from relay.queue.states import Reason, Verdict
from relay.queue.verdicts import Decision

DAY = dt.date(2026, 3, 19)


def chain(count: int) -> list[LogEntry]:
    entries: list[LogEntry] = []
    head = Head().hash
    for seq in range(1, count + 1):
        entry = LogEntry(
            seq=seq,
            day=DAY,
            action="arrived",
            submission_id=bytes([seq]) * 16,
            envelope_sha256=bytes(32),
            signer=None,
            statement=None,
            signature=None,
            hash=b"",
        )
        head = next_hash(head, entry)
        entries.append(dataclasses.replace(entry, hash=head))
    return entries


def test_a_whole_log_is_accepted_from_any_head() -> None:
    entries = chain(5)
    heads = verify_chain(entries, Head())
    assert [head.seq for head in heads] == [0, 1, 2, 3, 4, 5]
    assert verify_chain(entries[3:], heads[3])[-1] == heads[-1]


@pytest.mark.parametrize("place", range(5))
def test_a_deleted_altered_or_swapped_entry_is_found(place: int) -> None:
    entries = chain(6)
    deleted = entries[:place] + entries[place + 1 :]
    altered = list(entries)
    altered[place] = dataclasses.replace(entries[place], action="released")
    swapped = list(entries)
    swapped[place], swapped[place + 1] = swapped[place + 1], swapped[place]
    renumbered = [dataclasses.replace(entry, seq=i) for i, entry in enumerate(deleted, 1)]
    for tampered in (deleted, altered, swapped, renumbered):
        with pytest.raises(Corrupt):
            verify_chain(tampered, Head())


def test_an_entry_survives_its_journey_as_json() -> None:
    entry = chain(1)[0]
    assert LogEntry.from_json(entry.to_json()) == entry
    for field in entry.to_json():
        broken = {**entry.to_json(), field: object()}
        if field in {"signer", "statement", "signature", "action"}:
            continue  # any text is text; the hash then differs
        with pytest.raises(Corrupt):
            LogEntry.from_json(broken)


def test_a_decision_has_one_text() -> None:
    decision = Decision(
        campaign="demo",
        id=bytes(16),
        envelope_sha256=bytes(32),
        verdict=Verdict.RETURN,
        reason=Reason.OTHER,
    )
    text = decision.statement()
    assert Decision.parse(text) == decision
    without_reason = dataclasses.replace(decision, reason=None).statement()
    for other in (text + " ", text.replace("return", "release"), without_reason, "[]", "", "{}"):
        with pytest.raises(Corrupt):
            Decision.parse(other)
