"""What fetching envelopes costs a desk, beside a bare HTTP GET of the same bytes, and beside `age`.

CPU of server and client together, in turns: the desk's own client with its signed requests against
the real relay, then plain aiohttp on both sides. The bare one gives and checks nothing.
"""

import argparse
import asyncio
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from relay.config import DeskConfig
from relay.desk.client import DeskClient
from relay.desk.journal import JournalFile
from relay.desk.pull import pull
from relay.seal import age
from relay.seal.files import load_signing_identity
from relay.seal.keys import ClassicIdentity
from relay.seal.signing import SigningIdentity
from tests.bench import clock, fill
from tests.bench.report import Report, Row, run
from tests.bench.seal import run as run_program
from tests.conftest import Service

ENVELOPE_BYTES = 512 * 1024


@dataclass
class Desk:
    """A colleague who has leased everything."""

    client: DeskClient
    identity: SigningIdentity
    folder: Path
    ids: list[str]
    rounds: int = 0

    async def fetch(self) -> None:
        """Fetch each envelope into memory."""
        for submission_id in self.ids:
            await self.client.fetch("GET", f"/desk/v1/envelope/{submission_id}")

    async def pull(self) -> None:
        """Do what `relay desk pull` does, with a memory of its own each time."""
        self.rounds += 1
        place = self.folder / f"desk{self.rounds}"
        place.mkdir()
        done = await pull(self.client, JournalFile(place), self.identity, place / "sealed")
        assert len(done.fetched) == len(self.ids)


async def measure(given: argparse.Namespace) -> Report:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(clock.scratch())
        classic = ClassicIdentity.generate()
        sealed = age.seal(bytes(ENVELOPE_BYTES), [classic.recipient()])
        (folder / "classic").write_text(classic.encode_secret() + "\n")
        (folder / "sealed.age").write_bytes(sealed)
        filled = folder / "filled.sqlite"
        await fill.fill_sqlite(filled, given.envelopes, len(sealed))
        service = stack.enter_context(
            clock.relay(folder, prepare=lambda demo: filled.rename(demo / "queue.sqlite"))
        )
        assert service.process is not None
        port, bare_pid = stack.enter_context(clock.bare(folder, sealed))
        desk = await open_desk(stack, service, folder)
        assert len(desk.ids) == given.envelopes
        session = await stack.enter_async_context(aiohttp.ClientSession())

        async def get() -> None:
            for _ in desk.ids:
                async with session.get(f"http://127.0.0.1:{port}/") as response:
                    await response.read()

        def each(pid: int, work: Callable[[], Awaitable[None]]) -> clock.Way:
            return lambda: cpu_ms(pid, work, given.envelopes)

        ways: dict[str, clock.Way] = {
            "get": each(bare_pid, get),
            "fetch": each(service.process.pid, desk.fetch),
            "pull": each(service.process.pid, desk.pull),
            "age": lambda: age_ms(folder, given.envelopes),
        }
        taken = clock.means(await clock.take_turns(ways, given.rounds))
    return describe(taken, given)


async def open_desk(stack: AsyncExitStack, service: Service, folder: Path) -> Desk:
    passphrase = (service.folder / "passphrase").read_text().strip()
    identity = load_signing_identity(
        DeskConfig.load(service.folder / "desk.toml").signer, passphrase
    )
    client = await stack.enter_async_context(DeskClient(service.url, identity))
    handed_out = await client.ask("POST", "/desk/v1/lease")
    return Desk(client, identity, folder, [lease["id"] for lease in handed_out["leases"]])


async def cpu_ms(pid: int, work: Callable[[], Awaitable[None]], count: int) -> float:
    """CPU milliseconds of us and of process `pid` for each of `count` pieces."""
    before = time.process_time() + clock.spent(pid)
    await work()
    return (time.process_time() + clock.spent(pid) - before) / count * 1000


def age_ms(folder: Path, count: int) -> float:
    """CPU milliseconds of `age -d` for one envelope."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(count):
        run_program("age", "-d", "-i", folder / "classic", folder / "sealed.age")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return spent / count * 1000


def describe(taken: dict[str, float], given: argparse.Namespace) -> Report:
    bare, opened = "a bare GET", "age -d, a process each"
    rows = [
        Row(name=name, cost=taken[way], unit="ms CPU", bound=taken[bound], to=to)
        for name, way, bound, to in (
            (bare, "get", "get", bare),
            ("signed fetch", "fetch", "get", bare),
            ("pull: lease, fetch, write, sync", "pull", "get", bare),
            (opened, "age", "get", bare),
            ("pull, once more", "pull", "age", opened),
        )
    ]
    return Report(
        name="pull",
        title="Pulling envelopes of 512 KiB, server and client, for each",
        rows=rows,
        notes=[f"Means of {given.rounds} rounds of {given.envelopes} envelopes."],
    )


def main(arguments: list[str] | None = None) -> int:
    return run(
        lambda given: asyncio.run(measure(given)),
        "pull",
        arguments,
        rounds=(8, 1),
        envelopes=(100, 10),
    )


if __name__ == "__main__":
    sys.exit(main())
