"""Several relays on one PostgreSQL: beside one of them, or while one of them is killed."""

import argparse
import asyncio
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench import plot
from tests.conftest import free_port
from tests.load import report
from tests.load.relays import Relay, running
from tests.load.report import say
from tests.load.visits import ASK, SEND, Crowd, Day
from tests.load.watch import watching
from tests.postgres import Postgres

_MOST_QUEUED = 100_000


@contextmanager
def postgres(folder: Path) -> Iterator[Postgres]:
    """A private server whose files lie on the disk under `folder`, so that a commit is one."""
    own = folder / "postgres"
    own.mkdir()
    folder.chmod(0o755)  # PostgreSQL runs as another account than root
    server = Postgres(own, free_port())
    server.make()
    server.start()
    try:
        yield server
    finally:
        server.stop(signal.SIGINT)


def measure(arguments: argparse.Namespace, photos: Sequence[bytes], day: Day) -> int:
    """Load one relay, then several with the same arrivals; or several, and kill one."""
    arguments.to.mkdir(parents=True, exist_ok=True)
    counts = [arguments.relays] if arguments.kill else [1, arguments.relays]
    found: dict[str, Any] = {"machine": report.machine(), "day": vars(day)}
    found |= {"pinned": arguments.pin, "killed": arguments.kill, "relays": {}}
    name = "kill" if arguments.kill else "relays"
    words = []
    with (
        tempfile.TemporaryDirectory(dir=arguments.to) as made,
        postgres(Path(made).absolute()) as server,
    ):
        folder = Path(made).absolute()
        for count in counts:
            say(f"{count} at {day.rate:g} arrivals a second for {day.seconds:g} s …")
            one = measure_some(arguments, photos, day, server, folder / str(count), count)
            shutil.rmtree(folder / str(count))
            found["relays"][str(count)] = one
            words.append(f"{count} on one PostgreSQL\n{report.table(one)}")
    if not arguments.kill:
        rates = [(f"{count} at once", one["submissions_per_s"]) for count, one in rows(found)]
        found["ratio"] = round(rates[1][1] / rates[0][1], 2)
        words.append(f"{counts[1]} against one: {found['ratio']:.2f} times the submissions\n")
        plot.bars(arguments.to / f"{name}.svg", "submissions a second", rates)
    report.write(arguments.to, name, found, "\n".join(words))
    return 0 if all(one["afterwards"]["is_sound"] for _, one in rows(found)) else 1


def rows(found: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return list(found["relays"].items())


def measure_some(  # noqa: PLR0913, PLR0917 - one row of the table
    arguments: argparse.Namespace,
    photos: Sequence[bytes],
    day: Day,
    server: Postgres,
    folder: Path,
    count: int,
) -> dict[str, Any]:
    """What so many relays do under the same load, on a database of their own."""
    settings = {"max_queued": _MOST_QUEUED, **server.configuration(server.create())}
    cores = list(range(count)) if arguments.pin else []
    with running(folder, count, settings, cores=cores) as relays:
        crowd = Crowd(relays, photos, day.seed)
        asyncio.run(crowd.warm_up(is_photo=day.mix.get(SEND, 0) >= day.mix.get(ASK, 0)))
        assert server.process is not None
        pids = {f"relay {number + 1}": _pid(relay) for number, relay in enumerate(relays)}
        with watching({**pids, "PostgreSQL": server.process.pid}) as watch:
            killed = asyncio.run(_come(crowd, day, relays, photos, is_one_killed=arguments.kill))
        wrong = asyncio.run(crowd.ask_for_all())
        one = report.describe(crowd.book, watch, window_s=day.seconds)
        one["killed_at_s"] = killed
        one["afterwards"] = report.check(
            crowd.book, wrong, relays[0].count_held(arguments.to.absolute())
        )
        if arguments.kill:
            report.draw(arguments.to, "kill", crowd.book, watch)
    return one


async def _come(
    crowd: Crowd, day: Day, relays: Sequence[Relay], photos: Sequence[bytes], *, is_one_killed: bool
) -> float | None:
    """Let the crowd come. Half way, kill the last relay; it stays in the name's addresses."""
    coming = asyncio.create_task(crowd.come(day.plan(len(photos))))
    killed = None
    if is_one_killed:
        killed = day.seconds / 2
        await asyncio.sleep(killed)
        relays[-1].kill()
    await coming
    if is_one_killed:
        crowd.gone.add(relays[-1].url)
    return killed


def _pid(relay: Relay) -> int:
    assert relay.process is not None
    return relay.process.pid
