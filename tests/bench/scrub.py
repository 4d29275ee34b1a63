"""What scrubbing costs, against the least that it could: `djpeg -scale M/8 | cjpeg -quality 85`.

M is the smallest that leaves a long side of 1600 px or more. CPU is user and system time of all
processes that take part, a mean over rounds in which the ways take turns. Source of the bound:
facts of November 2026.
"""

import argparse
import asyncio
import math
import random
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

from PIL import Image, ImageChops

from relay.scrub import canonical, jpeg, pixels, supervisor
from relay.scrub.supervisor import Order, Scrubber
from relay.scrub.wire import LONG_SIDE_PX, View
from tests import photos
from tests.bench.clock import Way, below, high_water_kb, means, spent, take_turns
from tests.bench.report import Report, Row, run

BUDGET = 512 * 1024
SIZES = {"12 MP": (4000, 3000), "48 MP": (8000, 6000)}
# The most that the whole pipeline in the box may cost, in units of the bound.
LIMITS = {
    ("12 MP", "in the box, size kept"): 1.30,
    ("48 MP", "in the box, size kept"): 1.20,
    ("12 MP", "in the box"): 1.7,
    ("48 MP", "in the box"): 1.3,
}
# A box that leaves the size as the decoder gives it: what a standard size costs by itself. Asked
# with the size of the file, it answers with ours, so that the decoder shrinks as it does for us.
_KEEP_SIZE = """
from relay.scrub import box, canonical
def keep(w, h, is_ours):
    size = (w, h) if w <= 2000 else (1600, 1200)
    return canonical.Plan(canvas=size, drawn=size, box=(0, 0, w, h))
canonical.plan, canonical.smaller = keep, lambda size: []
box.main()
"""
TO = "djpeg | cjpeg"


def photo(width: int, height: int) -> bytes:
    """A JPEG with detail at every scale, about 0.4 bytes a pixel as from a phone."""
    rng = random.Random(width)
    picture = Image.new("RGB", (width, height), (128, 128, 128))
    for side, strength in ((8, 1.0), (64, 0.6), (400, 0.35), (1600, 0.25), (width, 0.06)):
        small = side, max(1, side * height // width)
        layer = Image.frombytes("RGB", small, rng.randbytes(small[0] * small[1] * 3))
        layer = layer.resize((width, height), Image.Resampling.BICUBIC)
        grey = Image.new("RGB", (width, height), (128, 128, 128))
        picture = ImageChops.add(picture, Image.blend(grey, layer, strength), 1, -128)
    return photos.encode(picture, quality=88, subsampling="4:2:0")


def bound(path: Path, long_px: int) -> float:
    """CPU seconds of the two programs of libjpeg-turbo."""
    eighths = next(m for m in range(1, 9) if math.ceil(long_px * m / 8) >= LONG_SIDE_PX)
    command = f"djpeg -scale {eighths}/8 {path} | cjpeg -quality 85 >/dev/null"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(["sh", "-c", command], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def without_box(untrusted_photo: bytes) -> float:
    """CPU seconds of redrawing and checking in this process."""
    before = time.process_time()
    jpeg.check(pixels.redraw(untrusted_photo, pixels.Wish(max_bytes=BUDGET, quality=85)).jpeg)
    return time.process_time() - before


class InBox:
    """The whole pipeline of the service: hand over, redraw in a child, take back, check."""

    def __init__(self, scrubber: Scrubber, *, is_looked_at: bool = False) -> None:
        self._scrubber = scrubber
        self._order = Order(is_looked_at=is_looked_at)

    async def scrub(self, untrusted_photo: bytes, times: int) -> float:
        """CPU seconds for each photo; `times` at once, since the kernel counts in 10 ms."""
        process = self._scrubber._box.process  # noqa: SLF001 - its cost is what is measured
        assert process is not None
        before = time.process_time() + spent(process.pid)
        for _ in range(times):
            await self._scrubber.scrub(untrusted_photo, self._order)
        while len(below(process.pid)) > 1:  # noqa: ASYNC110 - until its children are counted
            await asyncio.sleep(0.001)
        return (time.process_time() + spent(process.pid) - before) / times

    async def watch_memory(self, untrusted_photo: bytes) -> int:
        """The most resident memory (kB) of the child, as seen by looking all the time."""
        process = self._scrubber._box.process  # noqa: SLF001 - its child is what is measured
        assert process is not None
        job = asyncio.create_task(self._scrubber.scrub(untrusted_photo, self._order))
        peak = 0
        while not job.done():
            await asyncio.sleep(0.001)
            for pid in below(process.pid)[1:]:
                peak = max(peak, high_water_kb(pid))
        await job
        return peak


async def measure(given: argparse.Namespace) -> Report:
    pixels.warm_up()
    rows, notes = [], []
    async with AsyncExitStack() as stack:
        scrubber = await stack.enter_async_context(Scrubber(max_jpeg_bytes=4 * BUDGET))
        boxes = {
            "in the box": InBox(scrubber),
            "in the box, size kept": InBox(await stack.enter_async_context(size_keeper())),
            "in the box, looked at": InBox(scrubber, is_looked_at=True),
        }
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name, size in list(SIZES.items())[: 1 if given.quick else None]:
            made = photo(*size)
            path = folder / "photo.jpg"
            path.write_bytes(made)
            costs = await one_size(given, path, made, size[0], boxes)
            rows += [
                Row(
                    name=f"{name}, {way}",
                    cost=cost * 1000,
                    unit="ms CPU",
                    bound=costs[TO] * 1000,
                    to=TO,
                    limit=LIMITS.get((name, way)),
                )
                for way, cost in costs.items()
            ]
            peaks = [
                f"{await peak_mb(boxes[way], made, given.rounds):.0f} MB {way}"
                for way in ("in the box", "in the box, looked at")
            ]
            notes.append(
                f"{name}: {len(made) / 1e6:.1f} MB; memory of a child: {', '.join(peaks)}."
            )
    notes.insert(0, f"Means of {given.rounds} rounds.")
    return Report(name="scrub", title="Scrubbing a photo", rows=rows, notes=notes)


def size_keeper() -> Scrubber:
    """A scrubber whose box keeps sizes, and whose check takes any."""
    supervisor.SIZES_OF = {View.PHOTO: canonical.SIZES | {(2000, 1500)}}
    supervisor._PROGRAM = ("-c", _KEEP_SIZE)  # noqa: SLF001
    return Scrubber(max_jpeg_bytes=4 * BUDGET)


async def one_size(
    given: argparse.Namespace, path: Path, made: bytes, long_px: int, boxes: dict[str, InBox]
) -> dict[str, float]:
    """CPU seconds of each way with one photo."""

    def in_box(box: InBox) -> Way:
        return lambda: box.scrub(made, 1 if given.quick else 5)

    ways: dict[str, Way] = {
        TO: lambda: bound(path, long_px),
        "without the box": lambda: without_box(made),
        **{name: in_box(box) for name, box in boxes.items()},
    }
    return means(await take_turns(ways, given.rounds))


async def peak_mb(box: InBox, made: bytes, rounds: int) -> float:
    return max([await box.watch_memory(made) for _ in range(min(3, rounds))]) / 1e3


def main(arguments: list[str] | None = None) -> int:
    return run(lambda given: asyncio.run(measure(given)), "scrub", arguments, rounds=(12, 1))


if __name__ == "__main__":
    sys.exit(main())
