"""Kill a relay that people send to, again and again, and count what became of it.

`python -m tests.faults.kills --times 300`: a throwaway campaign, senders in another process, and a
relay that is killed (SIGKILL) at a random moment and started again. At the end everything that was
acknowledged is looked up, pulled and opened. Prints a table; exit code 1 where anything
acknowledged is lost or there twice, or where what was taken back came back. `halves` counts kills
that left a transaction half written. `--two`: two relays on one PostgreSQL, one of them killed
each time.
"""

import argparse
import enum
import itertools
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from relay.cli.campaign import make_campaign
from tests.conftest import ROOT, Service, configure, free_port, postgresql, wait_until
from tests.faults.account import Account, is_sound, settle
from tests.faults.ledger import read_ledgers
from tests.faults.watch import pages_without_commit, wait_for_writes, watched

# Small envelopes, so that the pages of one are written and compacted in little time; a cover write
# and with it a checkpoint each second, and no limit that a long run would meet.
_SETTINGS = {"envelope_bytes": 256 * 1024, "cover_write_s": 1, "max_queued": 100_000}
_MOST_WRITES = 40  # as they are seen: several at once count as one
_MOST_S = 3.0


class Moment(enum.StrEnum):
    """When it is killed: after a random while, or at a random one of the writes to a file."""

    START = "start"
    SERVING = "serving"
    LOG = "log"  # in a commit, mostly
    DATABASE = "database"  # in a checkpoint
    DAY = "day"  # as the day is turned
    STOP = "stop"  # no kill: it is told to end, and must do so well


KILLS = [moment for moment in Moment if moment is not Moment.STOP]


@dataclass
class Killer:
    """A relay, and how often it was killed at which moment."""

    service: Service
    rng: random.Random
    moments: Counter[Moment] = field(default_factory=Counter)
    halves: int = 0  # kills that left a transaction half written

    @property
    def database(self) -> Path:
        return self.service.folder / "queue.sqlite"

    @property
    def log(self) -> Path:
        return self.service.folder / "queue.sqlite-wal"

    def kill(self, times: int, moments: list[Moment]) -> None:
        """Start the relay and kill it, at each of the moments as often, in a random order."""
        chosen = list(itertools.islice(itertools.cycle(moments), times))
        for moment in self.rng.sample(chosen, times):
            self._kill_at(moment)

    def _kill_at(self, moment: Moment) -> None:
        if moment is Moment.DAY:
            self._let_a_day_pass()
        self.service.launch()
        if moment is Moment.START:
            run_on(self.service, self.rng.uniform(0, 2))
        elif moment is Moment.DAY:
            wait_until(self._has_log)
            self._wait_for_write(self.log, 3 * _MOST_WRITES)
        else:
            wait_until(self.service.answers, seconds=60)
            self._wait(moment)
        if moment is Moment.STOP:
            assert self.service.stop() == 0, self.service.log_file.read_text()
        else:
            self.service.kill()
        self.moments[moment] += 1
        self.halves += self.log.exists() and pages_without_commit(self.log.read_bytes()) > 0

    def _wait(self, moment: Moment) -> None:
        match moment:
            case Moment.LOG:
                self._wait_for_write(self.log, _MOST_WRITES)
            case Moment.DATABASE:
                self._wait_for_write(self.database, _MOST_WRITES)
            case _:
                run_on(self.service, self.rng.uniform(0, _MOST_S))

    def _wait_for_write(self, path: Path, most: int) -> None:
        with watched(path) as writes:
            wait_for_writes(writes, self.rng.randint(1, most), seconds=_MOST_S)

    def _has_log(self) -> bool:
        assert self.service.process is not None
        assert self.service.process.poll() is None, self.service.log_file.read_text()
        return self.log.exists()

    def _let_a_day_pass(self) -> None:
        """Make it yesterday that today's came: the relay turns the day at its start."""
        if not self.database.exists():
            return
        with closing(sqlite3.connect(self.database)) as connection, connection:
            tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
            if ("marker",) not in tables:
                return
            for column in ("day", "changed_day"):
                connection.execute(
                    f"UPDATE submission SET {column} = date({column}, '-1 day')"  # noqa: S608 - ours
                    f" WHERE {column} = date('now')"
                )
            connection.execute("DELETE FROM marker WHERE name = 'turned'")


def run_on(service: Service, seconds: float) -> None:
    """Let a relay run on for so long; it may not end by itself."""
    assert service.process is not None
    with suppress(subprocess.TimeoutExpired):
        service.process.wait(timeout=seconds)
        raise AssertionError(service.log_file.read_text())


@contextmanager
def senders(ports: list[int], ledger: Path, *, seed: int) -> Iterator[subprocess.Popen[bytes]]:
    """Send to these relays until told to stop; nobody is left in the middle unless they fail."""
    command = [sys.executable, "-m", "tests.faults.senders", "--ledger", str(ledger)]
    command += ["--seed", str(seed), "--ports", *map(str, ports)]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def on_postgres(folder: Path, **settings: object) -> Iterator[postgresql.Postgres]:
    """Have the campaign's queue in a PostgreSQL of its own while inside."""
    with postgresql.server() as server:
        name = server.create()
        configure(folder, **server.configuration(name), **settings)
        yield server


def run_two(folder: Path, *, times: int, seed: int) -> Account:
    """Kill one of two relays that share a PostgreSQL that often, while people send to both."""
    rng, ledger = random.Random(seed), folder.parent / "ledger"
    relays = [Service(folder, free_port()) for _ in range(2)]
    with on_postgres(folder, **_SETTINGS), ExitStack() as stack:
        for relay in relays:
            relay.start()
            stack.callback(relay.kill)
        with senders([relay.port for relay in relays], ledger, seed=seed) as sending:
            for victim in rng.choices(relays, k=times):
                run_on(victim, rng.uniform(0, _MOST_S))
                victim.kill()
                victim.launch()  # it may be killed again before it serves
            for relay in relays:
                wait_until(relay.answers, seconds=60)
            sending.send_signal(signal.SIGTERM)
            assert sending.wait(timeout=180) == 0
        return settle(relays[0], read_ledgers([ledger]))


def run(
    folder: Path, *, times: int, seed: int, moments: list[Moment] = KILLS
) -> tuple[Account, Killer]:
    """Kill the relay of the campaign in `folder` that often, under load."""
    configure(folder, **_SETTINGS)
    killer = Killer(Service(folder, free_port()), random.Random(seed))
    service, ledger = killer.service, folder.parent / "ledger"
    try:
        with senders([service.port], ledger, seed=seed) as sending:
            killer.kill(times, moments)
            service.start()
            sending.send_signal(signal.SIGTERM)
            sending.wait(timeout=180)
        account = settle(service, read_ledgers([ledger]))
    finally:
        if service.process is not None:
            service.kill()
    if not is_sound(killer.database):
        account.faults.append("the database is damaged")
    return account, killer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dir", type=Path, help="where the campaign is made; default: for a while")
    parser.add_argument("--two", action="store_true", help="two relays that share a PostgreSQL")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.dir) as name:
        folder = Path(name) / "demo"
        make_campaign(folder, campaign="demo", listen="127.0.0.1:8080", is_demo=True)
        if arguments.two:
            account = run_two(folder, times=arguments.times, seed=arguments.seed)
            table = account.table(kills=arguments.times)
        else:
            account, killer = run(folder, times=arguments.times, seed=arguments.seed)
            table = account.table(kills=arguments.times, halves=killer.halves)
            counts = sorted(killer.moments.items())
            table += "\n" + ", ".join(f"{moment} {count}" for moment, count in counts)
    print(table)  # noqa: T201 - the report
    return 0 if account.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
