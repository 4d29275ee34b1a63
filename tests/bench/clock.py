"""How things are timed: CPU of a process and all below it, wall time, ways that take turns."""

import inspect
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from relay.cli.campaign import make_campaign
from tests.conftest import ROOT, Service, configure, free_port, wait_until

_TICKS = os.sysconf("SC_CLK_TCK")
Way = Callable[[], float | Awaitable[float]]


def spent(pid: int) -> float:
    """CPU seconds of a process, its children that ended, and what lives below it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(map(int, fields[11:15])) / _TICKS + sum(spent(int(child)) for child in children)


def below(pid: int) -> list[int]:
    """The processes below one."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [one for child in found for one in (int(child), *below(int(child)))]


def high_water_kb(pid: int) -> int:
    """The most resident memory that a process has had; 0 where it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(lines[0].split()[1]) if lines else 0


async def take_turns(ways: Mapping[str, Way], rounds: int) -> dict[str, list[float]]:
    """Call each way once a round, so that noise hits all alike. Returns what each call returned."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            cost = way()
            taken[name].append(await cost if inspect.isawaitable(cost) else cost)
    return taken


def medians(taken: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(costs) for name, costs in taken.items()}


def means(taken: Mapping[str, list[float]]) -> dict[str, float]:
    """Of CPU time: the kernel gives it in steps of 10 ms, which a median would not even out."""
    return {name: statistics.mean(costs) for name, costs in taken.items()}


def wall_ms(work: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    before = time.perf_counter()
    work()
    return (time.perf_counter() - before) * 1000


async def awaited_ms(work: Awaitable[object]) -> float:
    """Milliseconds until it is done."""
    before = time.perf_counter()
    await work
    return (time.perf_counter() - before) * 1000


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder on the disk of this checkout: what lies in memory syncs for nothing."""
    (ROOT / "bench").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "bench", prefix="scratch-") as folder:
        yield Path(folder)


@contextmanager
def relay(
    folder: Path,
    *,
    change: str = "",
    prepare: Callable[[Path], None] = lambda _: None,
    **settings: object,
) -> Iterator[Service]:
    """The real relay on a demo campaign in `folder`.

    change: Python that runs first in it. prepare: done to the campaign's folder before the start.
    """
    demo = folder / "demo"
    make_campaign(demo, campaign="demo", listen="127.0.0.1:8080", is_demo=True)
    configure(demo, **settings)
    prepare(demo)
    running = Service(demo, free_port())
    program = f"{change}\nimport sys\nfrom relay.cli import main, server\nsys.exit(main())"
    listen = f"127.0.0.1:{running.port}"
    command = [sys.executable, "-c", program, "demo", "--dir", str(demo), "--listen", listen]
    with running.log_file.open("ab") as log:
        running.process = subprocess.Popen(command, stderr=log, stdout=log, cwd=folder)
    try:
        wait_until(running.answers, seconds=60)
        yield running
    finally:
        running.kill()


@contextmanager
def bare(folder: Path, answer: bytes) -> Iterator[tuple[int, int]]:
    """The least of web servers in another process, answering these bytes. Yields port and pid."""
    path = folder / "answer"
    path.write_bytes(answer)
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.bare", str(path), str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()  # it listens
            yield port, process.pid
        finally:
            process.kill()
