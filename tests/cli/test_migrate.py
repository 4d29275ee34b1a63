"""`relay migrate`: from a file to PostgreSQL and back, and nothing is lost on the way."""

import datetime as dt
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from relay.config import ServerConfig
from relay.errors import ConfigInvalid
from relay.intake.storage import open_queue
from relay.queue.states import Reason, Verdict
from relay.queue.store import SealedQueue
from relay.queue.verdicts import Decision, SignedVerdict
from tests.conftest import RELAY, Result, Starter, configure, relay
from tests.places import OneFile, OnServer, Place, days
from tests.postgres import Postgres

DAY = dt.date(2026, 3, 19)
TABLES = (
    "SELECT * FROM submission ORDER BY id",
    "SELECT * FROM envelope ORDER BY id",
    "SELECT * FROM log ORDER BY seq",
    "SELECT * FROM marker ORDER BY name",
)
Ways = tuple[Path, Path, Place, Place]


@pytest.fixture
def ways(campaign: Path, postgres: Postgres) -> Ways:
    """relay.toml with a file, new.toml with PostgreSQL, and the two places."""
    name = postgres.create()
    new = campaign / "new.toml"
    shutil.copy(campaign / "relay.toml", new)
    configure(campaign, name="new.toml", **postgres.configuration(name))
    file = OneFile(campaign / "queue.sqlite")
    return campaign / "relay.toml", new, file, OnServer(postgres, name)


async def fill(config: Path, count: int = 40) -> None:
    """Let submissions come, be leased, decided, taken back, and the day turn."""
    async with open_queue(ServerConfig.load(config)) as queue:
        for number in range(count):
            await queue.enqueue(os.urandom(3000), os.urandom(31) + bytes([number]), today=DAY)
        handout = await queue.lease("alice", today=DAY, include_today=True)
        for number, lease in enumerate(handout.leases[: count // 2]):
            kind = (Verdict.RELEASE, Verdict.RETURN)[number % 2]
            decision = Decision(
                campaign="demo",
                id=lease.id,
                envelope_sha256=lease.envelope_sha256,
                verdict=kind,
                reason=Reason.OTHER if kind is Verdict.RETURN else None,
            )
            said = SignedVerdict(decision=decision, signer="alice", signature="c2ln")
            await queue.decide(said, bearer="alice", today=DAY)
        await queue.turn_day(today=DAY + dt.timedelta(1), retain_days=30, lease_days=3)
        for number in range(3):
            await queue.enqueue(os.urandom(9), os.urandom(32), today=DAY + dt.timedelta(number))


async def content(place: Place) -> list[list[dict[str, Any]]]:
    return [days(rows) for rows in await place.rows(*TABLES)]


def migrate(config: Path, to: Path, *options: str) -> Result:
    return relay("migrate", "--config", config, "--to", to, *options)


async def test_to_postgresql_and_back_everything_is_as_it_was(ways: Ways) -> None:
    old, new, file, server = ways
    await fill(old)
    before = await content(file)
    assert [len(rows) for rows in before[:3]] == [43, 33, 100]
    foreseen = migrate(old, new, "--dry-run")
    assert (foreseen.code, await content(file)) == (0, before)
    assert not re.search(r"\d", foreseen.out), "today's count is nobody's"
    there = migrate(old, new, "--json")
    assert there.code == 0, there.err
    assert there.json == {"moved": True, "destroyed": True}
    assert await content(server) == before
    back = migrate(new, old)
    assert back.code == 0, back.err
    assert await content(file) == before
    async with open_queue(ServerConfig.load(old)) as queue:
        assert await queue.count() == 33


async def test_where_it_was_nothing_is_left_and_nothing_serves(ways: Ways) -> None:
    old, new, file, server = ways
    await fill(old)
    (sealed,) = await file.rows("SELECT sealed FROM envelope")
    assert migrate(old, new).code == 0
    for path in (file.address, Path(f"{file.address}-wal")):
        kept = path.read_bytes() if path.exists() else b""  # type: ignore[union-attr]
        assert not any(row["sealed"] in kept for row in sealed)
    for command in ("serve", "purge"):
        refused = relay(command, "--config", old)
        assert refused.code == 2
        assert "moved from here to another place" in refused.err
    assert migrate(new, old).code == 0
    with pytest.raises(ConfigInvalid, match="moved from here"):
        await SealedQueue.open(server.address, max_queued=9).__aenter__()
    tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    assert await server.rows(tables) == [[{"table_name": "alembic_version"}]]


async def test_what_another_queue_holds_is_not_overwritten(ways: Ways) -> None:
    old, new, file, server = ways
    await fill(old)
    await fill(new, 3)
    before = await content(file), await content(server)
    refused = migrate(old, new)
    assert refused.code == 2
    assert "holds another queue" in refused.err
    assert (await content(file), await content(server)) == before


async def test_a_damaged_envelope_stops_it_and_nothing_has_changed(ways: Ways) -> None:
    old, new, file, server = ways
    await fill(old)
    await file.execute(
        "UPDATE envelope SET sealed = x'00' WHERE id = (SELECT max(id) FROM envelope)"
    )
    before = await content(file)
    refused = migrate(old, new)
    assert refused.code == 13
    assert "is damaged where it is. Nothing was moved." in refused.err
    assert await content(file) == before
    assert (await server.rows("SELECT * FROM submission")) == [[]]


@pytest.mark.parametrize("messages", [30, 55])
async def test_killed_while_it_copies_it_is_repeated_by_calling_it_again(
    ways: Ways, messages: int
) -> None:
    """By kill -9, at one of the messages to PostgreSQL."""
    old, new, file, server = ways
    await fill(old)
    before = await content(file)
    inject = f"inject=sendto:signal=KILL:when={messages}"
    command = ["strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=sendto", "-e", inject]
    done = subprocess.run(
        [*command, RELAY, "migrate", "--config", old, "--to", new], capture_output=True, check=False
    )
    assert done.returncode in {-signal.SIGKILL, 128 + signal.SIGKILL}
    assert await content(file) == before
    assert migrate(old, new).code == 0
    assert await content(server) == before


async def cut_short(ways: Ways, after: str) -> None:
    """Move, and stop where a kill would: after the copy, or after the old place was emptied."""
    old, new, _, _ = ways
    at = {"copy": "give_up", "emptying": "arrive"}[after]
    code = f"""
import os, sys
from relay.queue.store import SealedQueue
async def kill(*_): os.kill(os.getpid(), 9)
SealedQueue.{at} = kill
from relay.cli import main
main(["migrate", "--config", {str(old)!r}, "--to", {str(new)!r}])
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL


async def test_after_the_copy_only_the_old_place_serves_and_what_happens_there_counts(
    ways: Ways,
) -> None:
    old, new, file, server = ways
    await fill(old)
    await cut_short(ways, "copy")
    refused = relay("serve", "--config", new)
    assert refused.code == 2
    assert "a move to here was cut short" in refused.err
    async with open_queue(ServerConfig.load(old)) as queue:
        ((newest,),) = await file.rows(
            "SELECT receipt_hash FROM submission WHERE state = 'sealed' LIMIT 1"
        )
        assert await queue.withdraw(newest["receipt_hash"], today=DAY) is None
        assert await queue.remember_list("signer", 8, "ab")
    before = await content(file)
    assert migrate(old, new).code == 0
    assert await content(server) == before, "what was taken back meanwhile is not there"


async def test_after_the_old_place_was_emptied_it_is_finished_by_calling_it_again(
    ways: Ways,
) -> None:
    old, new, file, server = ways
    await fill(old)
    before = await content(file)
    await cut_short(ways, "emptying")
    for config in (old, new):
        assert relay("serve", "--config", config).code == 2
    assert migrate(old, new).code == 0
    assert await content(server) == before
    assert "moved from here" in relay("purge", "--config", old).err
    again = migrate(old, new)
    assert again.code == 2
    assert "was moved from here before" in again.err


async def test_what_somebody_reads_meanwhile_is_said_to_be_there_still(ways: Ways) -> None:
    old, new, file, server = ways
    await fill(old)
    before = await content(file)
    with closing(sqlite3.connect(file.address)) as reader:  # type: ignore[arg-type]
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM submission").fetchone()
        partly = migrate(old, new)
    assert partly.code == 3
    assert "still in its files" in partly.err
    assert await content(server) == before
    again = migrate(old, new)
    assert (again.code, "was moved from here before" in again.err) == (2, True)
    kept = b"".join(path.read_bytes() for path in old.parent.glob("queue.sqlite*"))
    assert not any(row["sealed"] in kept for row in before[1]), "destroyed by the second call"


def test_a_relay_that_serves_meanwhile_closes_its_form_and_lies_to_nobody(
    start_service: Starter, ways: Ways, dirty: bytes
) -> None:
    old, new, _, _ = ways
    service = start_service(cover_write_s=1)
    token, receipt = service.token(), service.send(dirty).receipt
    assert migrate(old, new).code == 0
    refused = service.send(dirty, token=token, message="meanwhile")
    assert refused.status == 503
    for page in ("receipt", "withdraw"):
        assert service.post_receipt(page, receipt).status == 503, "not: unknown"
    service.kill()
    shutil.copy(new, old)
    service.start()
    assert "is here, locked" in service.post_receipt("receipt", receipt).text
    assert service.send(dirty, token=token, message="meanwhile").status == 200
    pulled = service.desk("pull", "--to", "sealed", "--json").json
    assert len(pulled["fetched"]) == 2  # type: ignore[arg-type]
    assert service.desk("open", "sealed", "--to", "opened").code == 0
    assert service.desk("log", "--verify").code == 0


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda _: None, "names the place where the queue is already"),
        (lambda folder: configure(folder, name="new.toml", campaign='"other"'), "another campaign"),
        (
            lambda folder: configure(folder, name="new.toml", service_key='"other.key"'),
            "receipts need the same",
        ),
    ],
)
def test_what_would_void_receipts_or_move_nowhere_is_refused(
    campaign: Path, change: Callable[[Path], None], why: str
) -> None:
    shutil.copy(campaign / "relay.toml", campaign / "new.toml")
    change(campaign)
    if "already" not in why:
        configure(campaign, name="new.toml", database='"other.sqlite"')
    refused = migrate(campaign / "relay.toml", campaign / "new.toml")
    assert refused.code == 2
    assert why in refused.err
