"""Whose photo is next: by listener, and there by circuit, one from each in turn.

A crowd at one door, or on one circuit, waits behind itself and not in front of others. Whoever had
a turn and needs one more for the same photo goes before those who have just come: else, in a crowd,
everybody's photo would be cleaned and hardly anybody's kept.
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
        self._begun: deque[asyncio.Future[None]] = deque()
        self._doors: OrderedDict[str, OrderedDict[int, deque[asyncio.Future[None]]]] = OrderedDict()

    @asynccontextmanager
    async def take(
        self, lane: Lane, *, seconds: float, is_begun: bool = False
    ) -> AsyncIterator[None]:
        """Wait for a place, and hold it inside.

        is_begun: there was a turn before, for the same photo.

        Raises:
            TimeoutError: none was free for so long.
        """
        async with asyncio.timeout(seconds):
            await self._wait(lane, is_begun=is_begun)
        try:
            yield
        finally:
            self._give_back()

    async def _wait(self, lane: Lane, *, is_begun: bool) -> None:
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._line(lane, is_begun=is_begun).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # its turn came as it left
                self._give_back()
            raise

    def _line(self, lane: Lane, *, is_begun: bool) -> "deque[asyncio.Future[None]]":
        if is_begun:
            return self._begun
        door, circuit = lane
        return self._doors.setdefault(door, OrderedDict()).setdefault(circuit, deque())

    def _give_back(self) -> None:
        while self._begun or self._doors:
            turn = self._next()
            if not turn.done():  # else whoever waited has gone
                turn.set_result(None)
                return
        self._free += 1

    def _next(self) -> "asyncio.Future[None]":
        """Take the next who waits out of line, and put her door and her circuit last."""
        if self._begun:
            return self._begun.popleft()
        door, circuits = self._doors.popitem(last=False)
        circuit, line = circuits.popitem(last=False)
        turn = line.popleft()
        if line:
            circuits[circuit] = line
        if circuits:
            self._doors[door] = circuits
        return turn
