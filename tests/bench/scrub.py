"""What scrubbing costs, against the least that it could: `djpeg -scale M/8 | cjpeg -quality 85`.

M is the smallest that leaves a long side of 1600 px or more. CPU is user and system time of all
processes that take part, a mean over rounds in which the ways take turns. Source of the bound:
facts of November 2026.
"""

import argparse
import asyncio
import json
import math
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from PIL import Image, ImageChops

from relay.scrub import canonical, jpeg, pixels, supervisor
from relay.scrub.supervisor import Order, Scrubber
from relay.scrub.wire import LONG_SIDE_PX, View
from tests import photos

BUDGET = 512 * 1024
SIZES = {"12 MP": (4000, 3000), "48 MP": (8000, 6000)}
# The most that the whole pipeline in the box may cost, in units of the bound.
LIMITS = {
    ("12 MP", "in the box, size kept"): 1.30,
    ("48 MP", "in the box, size kept"): 1.20,
    ("12 MP", "in the box"): 1.7,
    ("48 MP", "in the box"): 1.3,
}
# A box that leaves the size as the decoder gives it: what a standard size costs by itself.
_KEEP_SIZE = (
    "from relay.scrub import canonical, pixels; "
    "canonical.plan = lambda w, h, is_ours: "
    "canonical.Plan(canvas=(w, h), drawn=(w, h), box=(0, 0, w, h)); "
    "canonical.smaller = lambda size: []; "
)
_TICKS = os.sysconf("SC_CLK_TCK")
Way = Callable[[], Awaitable[float]]


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


def spent(pid: int) -> float:
    """CPU seconds of a process, its children that ended, and what lives below it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(map(int, fields[11:15])) / _TICKS + sum(spent(int(child)) for child in below)


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


def below(pid: int) -> list[int]:
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [one for child in found for one in (int(child), *below(int(child)))]


def high_water_kb(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(lines[0].split()[1]) if lines else 0


async def measure(rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    pixels.warm_up()
    results = {}
    async with AsyncExitStack() as stack:
        scrubber = await stack.enter_async_context(Scrubber(max_jpeg_bytes=4 * BUDGET))
        standard = InBox(scrubber)
        looked_at = InBox(scrubber, is_looked_at=True)
        kept = InBox(await stack.enter_async_context(size_keeper()))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name, size in SIZES.items():
            made = photo(*size)
            path = folder / "photo.jpg"
            path.write_bytes(made)
            print(f"{name}: {len(made) / 1e6:.1f} MB", file=sys.stderr)  # noqa: T201 - a program
            results[name] = await one_size(rounds, path, made, size[0], standard, kept, looked_at)
    return results


def size_keeper() -> Scrubber:
    """A scrubber whose box keeps sizes, and whose check takes any."""
    supervisor.SIZES_OF = {View.PHOTO: canonical.SIZES | {(2000, 1500)}}
    supervisor._PROGRAM = ("-c", _KEEP_SIZE + "from relay.scrub import box; box.main()")  # noqa: SLF001
    return Scrubber(max_jpeg_bytes=4 * BUDGET)


async def one_size(  # noqa: PLR0913, PLR0917 - one row of the table
    rounds: int,
    path: Path,
    made: bytes,
    long_px: int,
    standard: InBox,
    kept: InBox,
    looked_at: InBox,
) -> dict[str, dict[str, float]]:
    taken: dict[str, list[float]] = {
        "bound": [], "without the box": [], "in the box": [], "in the box, size kept": [],
        "in the box, looked at": [],
    }  # fmt: skip
    for _ in range(rounds):
        taken["bound"].append(bound(path, long_px))
        taken["without the box"].append(without_box(made))
        taken["in the box"].append(await standard.scrub(made, 5))
        taken["in the box, size kept"].append(await kept.scrub(made, 5))
        taken["in the box, looked at"].append(await looked_at.scrub(made, 5))
    base = statistics.mean(taken["bound"])
    table = {
        way: {"cpu_ms": statistics.mean(times) * 1000, "ratio": statistics.mean(times) / base}
        for way, times in taken.items()
    }
    for name, box in (("in the box", standard), ("in the box, looked at", looked_at)):
        table[name]["peak_mb"] = max([await box.watch_memory(made) for _ in range(3)]) / 1e3
    return table


def draw(results: dict[str, dict[str, dict[str, float]]], path: Path) -> None:
    """Write the ratios as bars, the limits as lines, in an SVG that any browser shows."""
    bars = [
        (size, way, row["ratio"]) for size, ways in results.items() for way, row in ways.items()
    ]
    unit, left, height = 300, 250, 26
    marks = [
        f'<rect x="{left}" y="{30 + height * i}" width="{unit * ratio:.0f}" height="18" '
        f'fill="{"#999" if way == "bound" else "#36c"}"/>'
        f'<text x="{left - 8}" y="{44 + height * i}" text-anchor="end">{size}, {way}</text>'
        f'<text x="{left + unit * ratio + 6:.0f}" y="{44 + height * i}">{ratio:.2f}</text>'
        for i, (size, way, ratio) in enumerate(bars)
    ]
    marks += [
        f'<path d="M{left + unit * LIMITS[size, way]:.0f} {26 + height * i}v26" stroke="#c00"/>'
        for i, (size, way, _) in enumerate(bars)
        if (size, way) in LIMITS
    ]
    path.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="900" '
        f'height="{40 + height * len(bars)}" font-family="sans-serif" font-size="13">'
        '<rect width="100%" height="100%" fill="#fff"/>'
        '<text x="8" y="18">CPU for each photo, in units of djpeg | cjpeg; red: the limit</text>'
        + "".join(marks)
        + "</svg>\n"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench scrub")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--to", type=Path, default=Path("bench"), help="default: bench")
    arguments = parser.parse_args()
    results = asyncio.run(measure(arguments.rounds))
    over = []
    for size, ways in results.items():
        for way, row in ways.items():
            limit = LIMITS.get((size, way))
            words = [f"{size}  {way:<24} {row['cpu_ms']:7.1f} ms  {row['ratio']:.2f}"]
            words += [f"limit {limit:.2f}"] if limit else []
            words += [f"peak {row['peak_mb']:.0f} MB"] if "peak_mb" in row else []
            print("  ".join(words))  # noqa: T201 - a program
            over += [(size, way)] if limit and row["ratio"] > limit else []
    arguments.to.mkdir(exist_ok=True)
    (arguments.to / "scrub.json").write_text(json.dumps(results, indent=1) + "\n")
    draw(results, arguments.to / "scrub.svg")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
