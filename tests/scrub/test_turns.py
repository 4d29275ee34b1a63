"""A crowd waits behind itself."""

import asyncio

import pytest

from relay.scrub.turns import Lane, Turns

ALONE: Lane = ("clearnet", 0)


async def order_of(lanes: list[Lane]) -> list[Lane]:
    """Let them all wait behind one who is in; return in which order they get in."""
    turns, order = Turns(1), []

    async def visit(lane: Lane) -> None:
        async with turns.take(lane, seconds=5):
            order.append(lane)

    async with asyncio.TaskGroup() as group, turns.take(("first", 0), seconds=5):
        for lane in lanes:
            group.create_task(visit(lane))
        await asyncio.sleep(0)
    return order


async def test_a_crowd_at_one_door_keeps_nobody_at_the_other_waiting() -> None:
    crowd: list[Lane] = [("onion", circuit) for circuit in range(50)]
    assert (await order_of([*crowd, ALONE])).index(ALONE) <= 1


async def test_a_crowd_on_one_circuit_keeps_no_other_circuit_waiting() -> None:
    crowd: list[Lane] = [("onion", 7)] * 50
    assert (await order_of([*crowd, ("onion", 8)])).index(("onion", 8)) <= 1


async def test_everybody_gets_in_once_and_in_line_with_her_own() -> None:
    lanes: list[Lane] = [("a", 1), ("a", 2), ("b", 1), ("a", 1), ("b", 1), ("a", 1)]
    order = await order_of(lanes)
    assert sorted(order) == sorted(lanes)
    assert order == [("a", 1), ("b", 1), ("a", 2), ("b", 1), ("a", 1), ("a", 1)]


async def test_whoever_has_begun_goes_before_a_crowd_that_has_just_come() -> None:
    turns, order = Turns(1), []

    async def visit(number: int) -> None:
        async with turns.take(ALONE, seconds=5):
            order.append(f"{number} begins")
        async with turns.take(ALONE, seconds=5, is_begun=True):
            order.append(f"{number} ends")

    async with asyncio.TaskGroup() as group, turns.take(ALONE, seconds=5):
        for number in range(3):
            group.create_task(visit(number))
        await asyncio.sleep(0)
    assert order.index("0 ends") <= 2  # one may be in before who has begun asks again
    assert order.index("1 ends") <= 4
    assert len(order) == 6


@pytest.mark.parametrize("leaves_at", ["waiting", "its turn"])
async def test_whoever_leaves_the_line_takes_no_place_along(leaves_at: str) -> None:
    turns = Turns(1)
    first = turns.take(ALONE, seconds=5)
    await first.__aenter__()
    leaver = asyncio.create_task(turns.take(ALONE, seconds=5).__aenter__())
    await asyncio.sleep(0)
    if leaves_at == "waiting":
        leaver.cancel()
        await first.__aexit__(None, None, None)
    else:
        await first.__aexit__(None, None, None)
        leaver.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaver
    async with turns.take(ALONE, seconds=1):
        pass


async def test_a_wait_ends() -> None:
    turns = Turns(1)
    async with turns.take(ALONE, seconds=1):
        with pytest.raises(TimeoutError):
            await turns.take(ALONE, seconds=0.01).__aenter__()
    async with turns.take(ALONE, seconds=1):
        pass
