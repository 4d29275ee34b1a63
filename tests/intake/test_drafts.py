"""Drafts: what comes back, what does not, how many there are, and how long."""

import base64
import secrets

import pytest

from relay.errors import Busy, DraftGone
from relay.intake import drafts
from relay.intake.drafts import MINUTES, Drafts

SIZE = 4096


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def held(clock: Clock) -> Drafts:
    return Drafts(size=SIZE, most=3, clock=clock)


def raw(held: Drafts) -> list[bytes]:
    return [draft.sealed for draft in held._drafts.values()]  # noqa: SLF001 - what lies in memory


def test_what_was_kept_comes_back_until_its_time_has_run_out(held: Drafts, clock: Clock) -> None:
    contents = [b"", b"x", secrets.token_bytes(SIZE), b"zeros at the end\0\0\0"]
    for content in contents[:3]:
        ticket = held.keep(content)
        assert held.read(ticket) == held.read(ticket) == content
    held.replace(ticket, contents[3])
    assert held.read(ticket) == contents[3]
    clock.now += MINUTES * 60 - 0.1
    assert held.read(ticket) == contents[3]
    clock.now += 0.1
    with pytest.raises(DraftGone):
        held.read(ticket)
    assert len(held) == 0


def test_all_are_of_one_size_and_nothing_of_them_can_be_read(held: Drafts) -> None:
    content = secrets.token_bytes(1000)
    for part in (b"", content, content * 4):
        held.keep(part)
    assert len({len(sealed) for sealed in raw(held)}) == 1
    assert not any(content[at : at + 8] in sealed for sealed in raw(held) for at in (0, 500))
    with pytest.raises(ValueError, match="larger"):
        held.keep(bytes(SIZE + 1), ("elsewhere", 0))


def test_neither_half_of_the_key_opens_it_alone(held: Drafts) -> None:
    ticket = held.keep(b"hers")
    name = base64.urlsafe_b64decode(ticket)[:16]
    other = base64.urlsafe_b64encode(name + secrets.token_bytes(32)).decode()
    with pytest.raises(DraftGone):
        held.read(other)
    (draft,) = held._drafts.values()  # noqa: SLF001 - our half
    ours = bytes(draft.half)
    draft.half[:] = secrets.token_bytes(32)
    with pytest.raises(DraftGone):
        held.read(ticket)
    draft.half[:] = ours
    assert held.read(ticket) == b"hers"
    held.drop(ticket)
    assert bytes(draft.half) == bytes(32), "our half is overwritten"


def test_a_ticket_of_another_relay_or_altered_gives_nothing(held: Drafts) -> None:
    ticket = held.keep(b"hers")
    with pytest.raises(DraftGone):
        Drafts(size=SIZE).read(ticket)
    for at in range(len(ticket)):
        altered = ticket[:at] + ("A" if ticket[at] != "A" else "B") + ticket[at + 1 :]
        for use in (held.read, held.drop, held.lock):
            with pytest.raises(DraftGone):
                use(altered)
    for odd in ("", "x", "é" * 64, ticket + "A", ticket[:-4], "A" * 64, " " + ticket):
        with pytest.raises(DraftGone):
            held.read(odd)
    sealed = held._drafts.copy()  # noqa: SLF001 - bytes flipped in memory
    for draft in sealed.values():
        draft.sealed = draft.sealed[:-1] + bytes([draft.sealed[-1] ^ 1])
    with pytest.raises(DraftGone):
        held.read(ticket)


def test_when_it_is_full_the_oldest_goes_but_none_that_has_just_come(
    held: Drafts, clock: Clock
) -> None:
    first, *others = [held.keep(b"%d" % number, ("clearnet", 0)) for number in range(3)]
    with pytest.raises(Busy):
        held.keep(b"more", ("clearnet", 0))
    onion = held.keep(b"onion", ("onion", 7))
    assert held.read(onion) == b"onion", "another door is another matter"
    clock.now += drafts._SPARED_S  # noqa: SLF001 - time enough to look
    more = held.keep(b"more", ("clearnet", 0))
    with pytest.raises(DraftGone):
        held.read(first)
    assert [held.read(ticket) for ticket in (*others, more)] == [b"1", b"2", b"more"]


def test_a_circuit_that_holds_most_makes_room_for_another(held: Drafts) -> None:
    flood = [held.keep(b"flood", ("onion", 1)) for _ in range(3)]
    hers = held.keep(b"hers", ("onion", 2))
    with pytest.raises(Busy):
        held.keep(b"flood", ("onion", 1))
    assert held.read(hers) == b"hers"
    with pytest.raises(DraftGone):
        held.read(flood[0])
    assert held.read(flood[1]) == held.read(flood[2]) == b"flood"


def test_what_was_sent_goes_first_and_is_kept_as_long_again(held: Drafts, clock: Clock) -> None:
    first, second, third = [held.keep(b"%d" % number) for number in range(3)]
    clock.now += MINUTES * 60 - 1
    held.replace(second, b"sent")
    clock.now += 2
    with pytest.raises(DraftGone):
        held.read(first)
    assert held.read(second) == b"sent"
    clock.now += drafts._SPARED_S  # noqa: SLF001 - time enough to press again
    for number in range(3):
        held.keep(b"new%d" % number)
    with pytest.raises(DraftGone):
        held.read(second)
    with pytest.raises(DraftGone):
        held.read(third)


async def test_what_is_being_sent_neither_expires_nor_makes_room(
    held: Drafts, clock: Clock
) -> None:
    ticket = held.keep(b"hers")
    async with held.lock(ticket):
        clock.now += MINUTES * 60 + 1
        for _ in range(2):
            held.keep(b"x")
        with pytest.raises(Busy):
            held.keep(b"x")
        held.replace(ticket, b"sent")
    assert held.read(ticket) == b"sent"


def test_nothing_is_left_after_the_end(held: Drafts) -> None:
    tickets = [held.keep(b"x") for _ in range(3)]
    halves = [draft.half for draft in held._drafts.values()]  # noqa: SLF001 - our halves
    held.forget_all()
    assert [bytes(half) for half in halves] == [bytes(32)] * 3
    for ticket in tickets:
        with pytest.raises(DraftGone):
            held.read(ticket)
