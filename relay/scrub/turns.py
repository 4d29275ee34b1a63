"""Whose photo is next: by listener, and there by circuit, one from each in turn.

A crowd at one door, or on one circuit, waits behind itself and not in front of others.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

Lane = tuple[str, int]  # a listener's name, and a circuit's number there
ONE_LANE: Lane = ("", 0)


class Turns:
    """So many at once. Nobody waits while a place is free."""

    def __init__(self, places: int) -> None:
        """Let `places` in at once."""
        self._free = places
        self._doors: OrderedDict[str, OrderedDict[int, deque[asyncio.Future[None]]]] = OrderedDict()

    @asynccontextmanager
    async def take(self, lane: Lane, *, seconds: float) -> AsyncIterator[None]:
        """Wait for a place, and hold it inside.

        Raises:
            TimeoutError: none was free for so long.
        """
        async with asyncio.timeout(seconds):
            await self._wait(lane)
        try:
            yield
        finally:
            self._give_back()

    async def _wait(self, lane: Lane) -> None:
        if self._free:
            self._free -= 1
            return
        door, circuit = lane
        turn = asyncio.get_running_loop().create_future()
        self._doors.setdefault(door, OrderedDict()).setdefault(circuit, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # its turn came as it left
                self._give_back()
            raise

    def _give_back(self) -> None:
        while self._doors:
            turn = self._next()
            if not turn.done():  # else whoever waited has gone
                turn.set_result(None)
                return
        self._free += 1

    def _next(self) -> "asyncio.Future[None]":
        """Take the next who waits out of line, and put her door and her circuit last."""
        door, circuits = self._doors.popitem(last=False)
        circuit, line = circuits.popitem(last=False)
        turn = line.popleft()
        if line:
            circuits[circuit] = line
        if circuits:
            self._doors[door] = circuits
        return turn
