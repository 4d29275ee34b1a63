"""What a submission costs, from the post of the form to the durable receipt.

CPU of the relay and its box together, over HTTP, as a ratio to `djpeg -scale M/8 | cjpeg`. The
look for faces is counted apart: one relay takes it, another is the same without.
"""

import argparse
import asyncio
import statistics
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from tests.bench import clock
from tests.bench.report import Report, Row, run
from tests.bench.scrub import bound, photo
from tests.conftest import Service, wait_until

SIZE = (4000, 3000)
LIMIT = 2.1
AT_ONCE = 6  # in a row: the kernel counts in steps of 10 ms
_NOT_LOOKED_AT = """
from dataclasses import replace
from relay.intake import submit
submit.WITH_PREVIEW = replace(submit.WITH_PREVIEW, is_looked_at=False)
"""


@dataclass
class Relay:
    """One relay that submissions are sent to, and how long each took to be answered."""

    service: Service
    idle: int = 0
    waited_ms: list[float] = field(default_factory=list)

    @property
    def pid(self) -> int:
        assert self.service.process is not None
        return self.service.process.pid

    def settle(self) -> None:
        """Wait until no child of the box is left, so that all are counted."""
        wait_until(lambda: len(clock.below(self.pid)) == self.idle)

    def submit(self, untrusted_photo: bytes, times: int) -> float:
        """CPU milliseconds for each submission. Every one gets a token of its own."""
        tokens = [self.service.token() for _ in range(times)]
        before = clock.spent(self.pid)
        for token in tokens:
            begun = time.perf_counter()
            answer = self.service.send(untrusted_photo, token=token, may_post="yes")
            self.waited_ms.append((time.perf_counter() - begun) * 1000)
            assert answer.receipt
        self.settle()
        return (clock.spent(self.pid) - before) / times * 1000


async def measure(given: argparse.Namespace) -> Report:
    made = photo(*SIZE)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(clock.scratch())
        relays = {}
        for name, change in (("apart", _NOT_LOOKED_AT), ("included", "")):
            place = folder / name
            place.mkdir()
            service = stack.enter_context(clock.relay(place, change=change))
            relays[name] = Relay(service)
        for one in relays.values():
            one.idle = len(clock.below(one.pid))
            one.submit(made, 1)  # what is done the first time only
            one.waited_ms.clear()
        path = folder / "photo.jpg"
        path.write_bytes(made)
        times = 1 if given.quick else AT_ONCE
        ways: dict[str, clock.Way] = {
            "bound": lambda: bound(path, SIZE[0]) * 1000,
            "apart": lambda: relays["apart"].submit(made, times),
            "included": lambda: relays["included"].submit(made, times),
        }
        taken = clock.medians(await clock.take_turns(ways, given.rounds))
    return describe(taken, relays, len(made), given.rounds)


def describe(taken: dict[str, float], relays: dict[str, Relay], size: int, rounds: int) -> Report:
    to = "djpeg | cjpeg"
    rows = [Row(name=to, cost=taken["bound"], unit="ms CPU", bound=taken["bound"], to=to)]
    rows += [
        Row(
            name=f"submission, face check {name}",
            cost=taken[name],
            unit="ms CPU",
            bound=taken["bound"],
            to=to,
            limit=LIMIT if name == "apart" else None,
        )
        for name in relays
    ]
    waited = {name: statistics.median(one.waited_ms) for name, one in relays.items()}
    waits = "Until the receipt is there (median): " + ", ".join(
        f"{wait:.0f} ms with the face check {name}" for name, wait in waited.items()
    )
    return Report(
        name="submit",
        title="Submission of 12 MP: form post to durable receipt, relay and box",
        rows=rows,
        notes=[
            f"A photo of {size / 1e6:.1f} MB; medians of {rounds} rounds of {AT_ONCE}.",
            f"{waits}.",
        ],
    )


def main(arguments: list[str] | None = None) -> int:
    return run(lambda given: asyncio.run(measure(given)), "submit", arguments, rounds=(12, 1))


if __name__ == "__main__":
    sys.exit(main())
