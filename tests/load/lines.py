"""The lines that visitors have, emulated at their end.

A slow line: no more bytes a second than that, in both directions. tor: a round trip before a
connection is open and before each answer, and the throughput for which tor was found to be good.
What the relay sees of it: uploads that arrive slowly, and connections that stay for long. Not
emulated: loss and jitter, the growth of a congestion window, circuits that break or take seconds to
build, tor's cells and its own load on the machine.
"""

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

_PIECE = 64 * 1024
_PIECE_S = 0.25  # what a slow line carries at once
TOR_ROUND_TRIP_S = (0.3, 0.9)
TOR_BYTES_PER_S = (20_000, 100_000)


@dataclass(frozen=True)
class Line:
    """One visitor's line."""

    name: str
    bytes_per_s: float = math.inf
    round_trip_s: float = 0.0
    circuit: int = 0  # as tor numbers it

    async def wait_round_trip(self) -> None:
        if self.round_trip_s:
            await asyncio.sleep(self.round_trip_s)

    async def carry(self, content: bytes) -> AsyncIterator[bytes]:
        """Yield the content no faster than the line is."""
        if math.isinf(self.bytes_per_s):
            for start in range(0, len(content), _PIECE):
                yield content[start : start + _PIECE]
            return
        piece = max(256, int(self.bytes_per_s * _PIECE_S))
        began = time.monotonic()
        for start in range(0, len(content), piece):
            await asyncio.sleep(began + start / self.bytes_per_s - time.monotonic())
            yield content[start : start + piece]

    async def wait_for(self, count: int) -> None:
        """Wait as long as so many bytes take to come."""
        if not math.isinf(self.bytes_per_s):
            await asyncio.sleep(count / self.bytes_per_s)


FAST = Line("fast")


def slow(bytes_per_s: float) -> Line:
    return Line("slow", bytes_per_s)


def by_tor(rng: random.Random, circuit: int) -> Line:
    return Line("tor", rng.uniform(*TOR_BYTES_PER_S), rng.uniform(*TOR_ROUND_TRIP_S), circuit)
