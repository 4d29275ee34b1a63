"""What is PostgreSQL's own: several relays on one database, what commits mean, what it tells."""

import asyncio
import dataclasses
import hashlib
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from relay.config import PostgresServer, ServerConfig
from relay.errors import ConfigInvalid, NothingThere, NotKept, QueueFull
from relay.intake.box import make_scrubber
from relay.intake.finding import State as Judgement
from relay.intake.runtime import open_runtime
from relay.intake.storage import check_server, open_queue
from relay.queue import migrations, schema
from relay.queue.chain import Head, verify_chain
from relay.queue.database import Access
from relay.queue.states import State, Verdict
from relay.queue.store import SealedQueue
from relay.receipt import ServiceKeys
from tests.conftest import configure
from tests.doors import write_pair
from tests.places import OnServer, Place, lay
from tests.postgres import OWNER, Postgres, server
from tests.queue.scene import ALICE, BERTA, DAY, ONE, leased, receipt, turn, verdict

MOST = 40


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return lay("postgresql", request, tmp_path)


@pytest_asyncio.fixture
async def relays(place: Place) -> AsyncIterator[list[SealedQueue]]:
    """Two relays on one database, which both of them found empty."""
    async with AsyncExitStack() as stack:
        opened = [SealedQueue.open(place.address, max_queued=MOST) for _ in range(2)]
        yield list(await asyncio.gather(*map(stack.enter_async_context, opened)))


# -- the schema ------------------------------------------------------------------------------------


def test_the_newest_revision_is_the_one_we_ask_for() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    script = ScriptDirectory.from_config(config)
    assert script.get_current_head() == schema.REVISION
    steps = [step.revision for step in script.walk_revisions()]
    assert sorted(steps) == list(schema.REVISIONS.values())


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_the_steps_lead_to_the_schema_that_is_written_down(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    place = lay(kind, request, tmp_path)
    async with (
        SealedQueue.open(place.address, max_queued=5) as queue,
        queue.begin(Access.READ) as connection,
    ):
        found = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync), schema.metadata)
        )
    assert not found
    if kind == "postgresql":
        query = "SELECT attstorage::text FROM pg_attribute WHERE attname = 'sealed'"
        assert await place.rows(query) == [[{"attstorage": "e"}]]
    with pytest.raises(Exception, match="state"):
        await place.execute(
            "INSERT INTO submission VALUES ('a', '2026-03-19', 'odd', '2026-03-19', 'b', 'c', "
            "NULL, NULL, NULL, false, false, false)"
        )


async def test_a_database_of_something_else_is_refused(place: Place) -> None:
    await place.execute("CREATE TABLE other (id int)")
    with pytest.raises(ConfigInvalid, match="not a queue"):
        async with SealedQueue.open(place.address, max_queued=5):
            pass


async def test_a_database_of_another_version_is_refused(place: Place) -> None:
    async with SealedQueue.open(place.address, max_queued=5):
        pass
    await place.execute("UPDATE alembic_version SET version_num = '0099'")
    with pytest.raises(ConfigInvalid, match="a queue of version 0099, not 0003"):
        async with SealedQueue.open(place.address, max_queued=5):
            pass


# -- durable ---------------------------------------------------------------------------------------


async def test_every_commit_waits_for_the_disk_whatever_the_server_says(
    relays: list[SealedQueue], place: Place
) -> None:
    assert isinstance(place, OnServer)
    await place.execute(f"ALTER DATABASE {place.name} SET synchronous_commit = off")
    async with SealedQueue.open(place.address, max_queued=5) as third:
        for queue in (third, *relays):
            async with queue.begin() as connection:
                found = await connection.exec_driver_sql("SHOW synchronous_commit")
                assert found.scalar_one() == "on"


@pytest.mark.parametrize("name", ["fsync", "full_page_writes"])
async def test_a_server_that_may_lose_what_it_acknowledged_is_refused(name: str) -> None:
    with server(**{name: "off"}) as careless:
        address = careless.address(careless.create())
        with pytest.raises(ConfigInvalid, match=f"{name} = off: set it to on"):
            await SealedQueue.open(address, max_queued=5).__aenter__()


async def test_a_server_that_was_restarted_is_found_again() -> None:
    with server() as own:
        async with SealedQueue.open(own.address(own.create()), max_queued=5) as queue:
            assert await queue.enqueue(b"one", receipt(1), today=DAY)
            own.kill()
            for _ in range(2):
                with pytest.raises(NotKept):
                    await queue.enqueue(b"two", receipt(2), today=DAY)
                with pytest.raises(NotKept):
                    await queue.find(receipt(1))
            own.start()
            assert await queue.enqueue(b"two", receipt(2), today=DAY)
            assert await queue.find(receipt(1)) is not None
            assert await queue.count() == 2


async def test_a_commit_whose_answer_was_lost_is_acknowledged_all_the_same() -> None:
    """The server commits, waits for a copy elsewhere that never comes, and the connection dies."""
    replicas = {"wal_level": "replica", "max_wal_senders": "1"}
    with server(**replicas) as own:
        name = own.create()
        async with SealedQueue.open(own.address(name), max_queued=5) as queue:
            own.say(
                "ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()"
            )
            sent = asyncio.create_task(queue.enqueue(b"x", receipt(1), today=DAY))
            waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            connection = await own.connect("postgres", OWNER)
            while (pid := await connection.fetchval(waiting)) is None:  # noqa: ASYNC110 - the server's own
                await asyncio.sleep(0.01)
            await connection.execute(f"SELECT pg_terminate_backend({pid})")
            await connection.close()
            assert await sent is True
            assert await queue.find(receipt(1)) is not None
            own.say("ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
            assert await queue.count() == 1


# -- several relays --------------------------------------------------------------------------------


async def test_what_one_relay_takes_another_finds_and_takes_back(relays: list[SealedQueue]) -> None:
    one, two = relays
    assert await one.enqueue(b"x", receipt(1), today=DAY)
    standing = await two.find(receipt(1))
    assert standing is not None
    assert standing.state is State.SEALED
    assert await two.enqueue(b"x, sealed anew", receipt(1), today=DAY)
    assert await one.count() == 1
    assert await two.withdraw(receipt(1), today=DAY) is None
    assert await one.find(receipt(1)) is None
    assert not await one.enqueue(b"x", receipt(1), today=DAY)


async def test_a_double_send_through_two_relays_at_once_is_one(
    relays: list[SealedQueue], place: Place
) -> None:
    for number in range(10):
        sends = [
            queue.enqueue(b"%d" % number, receipt(number), today=DAY)
            for queue in relays
            for _ in range(3)
        ]
        assert await asyncio.gather(*sends) == [True] * 6
    assert [await queue.count() for queue in relays] == [10, 10]
    assert isinstance(place, OnServer)
    said = place.server.log_file.read_bytes()
    assert b"duplicate key" not in said, "and the server's log tells of none"


async def test_two_relays_never_hold_more_than_there_is_room_for(
    relays: list[SealedQueue],
) -> None:
    sends = [
        queue.enqueue(b"x", hashlib.sha256(b"%d %d" % (number, which)).digest(), today=DAY)
        for number in range(MOST)
        for which, queue in enumerate(relays)
    ]
    outcomes = await asyncio.gather(*sends, return_exceptions=True)
    assert outcomes.count(True) == MOST
    assert sum(isinstance(outcome, QueueFull) for outcome in outcomes) == MOST
    assert await relays[0].count() == MOST


async def test_a_queue_is_served_with_one_key_and_for_one_campaign(
    relays: list[SealedQueue], campaign: Path
) -> None:
    keys = [ServiceKeys(token=bytes(32), receipt=bytes([number]) * 32) for number in range(2)]
    owner = keys[0].name_owner("demo")
    first = await asyncio.gather(*(queue.belongs_to(owner) for queue in relays))
    assert first == [True, True]
    for other in (keys[1].name_owner("demo"), keys[0].name_owner("other")):
        assert [await queue.belongs_to(other) for queue in relays] == [False, False]
    config = ServerConfig.load(campaign / "relay.toml")
    async with open_runtime(config, make_scrubber(config)):
        pass
    (campaign / "service.key").write_bytes(ServiceKeys.generate())
    with pytest.raises(ConfigInvalid, match="receipts would be void"):
        await open_runtime(config, make_scrubber(config)).__aenter__()


async def test_the_day_is_turned_by_one_relay(relays: list[SealedQueue], place: Place) -> None:
    await relays[0].enqueue(b"x", receipt(1), today=DAY)
    days = {"today": DAY + ONE, "retain_days": 30, "lease_days": 3}
    files = "SELECT pg_relation_filenode('envelope') AS number"
    (before,) = await place.rows(files)
    await relays[0].turn_day(**days, is_again=False)  # type: ignore[arg-type]
    (after,) = await place.rows(files)
    await asyncio.gather(*(queue.turn_day(**days, is_again=False) for queue in relays))  # type: ignore[arg-type]
    assert await place.rows(files) == [after] != [before]
    await relays[1].turn_day(**days)  # type: ignore[arg-type]
    assert await place.rows(files) != [after], "an operator may ask for it"


async def test_colleagues_who_pull_at_once_each_get_their_own(relays: list[SealedQueue]) -> None:
    one, two = relays
    for number in range(MOST):
        await one.enqueue(b"%d" % number, receipt(number), today=DAY)
    pulls = [
        queue.lease(holder, today=DAY, include_today=True)
        for queue, holder in ((one, ALICE), (two, BERTA)) * 3
    ]
    await asyncio.gather(*pulls)
    hers = [await one.lease(holder, today=DAY, include_today=True) for holder in (ALICE, BERTA)]
    ids = [lease.id for handout in hers for lease in handout.leases]
    assert len(ids) == len(set(ids)) == MOST
    entries = (await two.read_log(after=0, limit=99)).entries
    verify_chain(entries, Head())
    assert sorted(entry.submission_id for entry in entries) == sorted(ids)


async def test_a_row_that_another_relay_works_on_is_left_out_and_not_waited_for(
    relays: list[SealedQueue],
) -> None:
    one, two = relays
    for number in range(3):
        await one.enqueue(b"%d" % number, receipt(number), today=DAY)
    async with one.begin() as connection:
        query = schema.submission.select().where(schema.submission.c.receipt_hash == receipt(1))
        await connection.execute(query.with_for_update())
        async with asyncio.timeout(10):
            handout = await two.lease(BERTA, today=DAY, include_today=True)
        assert len(handout.leases) == 2
    handout = await two.lease(BERTA, today=DAY, include_today=True)
    assert len(handout.leases) == 3


async def test_whatever_two_relays_do_at_once_the_log_is_whole_and_each_decided_once(
    relays: list[SealedQueue],
) -> None:
    one, two = relays
    ids = {number: await leased(one, number, b"%d" % number) for number in range(12)}

    async def decide(queue: SealedQueue, number: int, kind: Verdict) -> object:
        said = verdict(ids[number], b"%d" % number, kind)
        try:
            return await queue.decide(said, bearer=ALICE, today=DAY)
        except NothingThere:
            return None

    work = [
        decide(queue, number, kind)
        for number in ids
        for queue, kind in ((one, Verdict.RELEASE), (two, Verdict.RETURN))
    ]
    work += [queue.withdraw(receipt(number), today=DAY) for number in (3, 7) for queue in relays]
    work += [queue.lease(BERTA, today=DAY, include_today=True) for queue in relays]
    work += [turn(queue, DAY + ONE) for queue in relays]
    work += [
        queue.enqueue(b"new", receipt(100 + which), today=DAY) for which, queue in enumerate(relays)
    ]
    secrets.SystemRandom().shuffle(work)
    await asyncio.gather(*work)
    await turn(one, DAY + 2 * ONE)
    entries = (await two.read_log(after=0, limit=99)).entries
    verify_chain(entries, Head())
    for number, submission_id in ids.items():
        said = [entry.action for entry in entries if entry.submission_id == submission_id]
        decided = [action for action in said if action in ("released", "returned")]
        assert len(decided) == 1 or number in (3, 7), said
        assert said.count("arrived") == 1
    assert [await queue.find(receipt(100 + which)) is not None for which, queue in
            enumerate(relays)] == [True, True]  # fmt: skip
    assert await one.count() == sum(
        [await one.find(receipt(n)) is not None and (await one.find(receipt(n))).state  # type: ignore[union-attr]
         in (State.LEASED, State.SEALED, State.RELEASED) for n in (*ids, 100, 101)]
    )  # fmt: skip


# -- what it tells ---------------------------------------------------------------------------------


async def test_after_the_day_has_turned_the_tables_keep_no_order_of_arrival(
    relays: list[SealedQueue], place: Place
) -> None:
    """Neither where the rows lie, nor which transaction wrote them, nor the numbers of pieces."""
    for number in range(10):
        queue = relays[number % 2]
        await queue.enqueue(os.urandom(20_000), receipt(number), today=DAY)
    await relays[1].withdraw(receipt(4), today=DAY)
    await turn(relays[0], DAY + ONE)
    for table in ("submission", "envelope"):
        query = f"SELECT id, xmin::text AS written FROM {table} ORDER BY ctid"  # noqa: S608 - our own names
        ((*rows,),) = await place.rows(query)
        assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
        assert len({row["written"] for row in rows}) == 1
    assert isinstance(place, OnServer)
    (stored,) = await place.rows("SELECT id FROM envelope")
    connection = await place.server.connect(place.name, OWNER)  # nobody else sees the pieces
    query = "SELECT reltoastrelid::regclass::text FROM pg_class WHERE relname = 'envelope'"
    where = await connection.fetchval(query)
    pieces = await connection.fetch(f"SELECT 1 FROM {where} WHERE chunk_seq = 0")  # noqa: S608 - PostgreSQL's own
    await connection.close()
    assert len(pieces) == len(stored) == 9, "and what was taken back is in no table"


async def test_set_up_as_we_say_the_servers_log_tells_of_nobody() -> None:
    """A write that fails is what PostgreSQL would quote, with the row."""
    sealed, said = b"CANARYSEALED" * 999, []
    for settings in ({}, {"log_error_verbosity": "default", "log_min_error_statement": "error"}):
        with server(**settings) as own:
            place = OnServer(own, own.create())
            async with SealedQueue.open(place.address, max_queued=2) as queue:
                await queue.enqueue(sealed, receipt(1), today=DAY)
                await place.execute(
                    "ALTER TABLE submission ADD CONSTRAINT odd CHECK (day < '2026-01-01') NOT VALID"
                )
                with pytest.raises(NotKept):
                    await queue.enqueue(sealed, receipt(2), today=DAY)
            said.append(own.log_file.read_bytes())
    for trace in (receipt(2).hex()[:40].encode(), b"INSERT"):
        assert trace not in said[0]
        assert trace in said[1], "or this test would see nothing"
    assert b"violates check constraint" in said[0]
    assert sealed.hex().encode() not in said[0]


async def test_set_up_as_we_say_the_servers_log_does_not_count_submissions() -> None:
    def lines(own: Postgres) -> list[bytes]:
        """What was said, without when and by which process."""
        return [line.partition(b"] ")[2] for line in own.log_file.read_bytes().splitlines()]

    for settings, is_told in (({}, False), ({"log_checkpoints": "on"}, True)):
        with server(**settings) as own:
            async with SealedQueue.open(own.address(own.create()), max_queued=9) as queue:
                own.say("CHECKPOINT")
                before = len(lines(own))
                for number in range(3):
                    await queue.enqueue(os.urandom(540_000), receipt(number), today=DAY)
                own.say("CHECKPOINT")
                assert bool(lines(own)[before:]) == is_told


async def test_a_check_says_what_our_account_may_not_see(campaign: Path) -> None:
    with server() as own:
        configure(campaign, **own.configuration(own.create()))
        own.say("REVOKE pg_read_all_settings FROM relay")
        (found,) = await check_server(ServerConfig.load(campaign / "relay.toml"))
    assert "shared_preload_libraries: not to be seen" in found.words
    assert found.state is Judgement.ADVICE


async def test_a_list_of_recipients_is_the_newest_for_one_relay_alone(
    relays: list[SealedQueue],
) -> None:
    for numbers in ((7, 6), (8, 8)):
        told = [
            queue.remember_list("signer", number, f"{number} of {which}")
            for which, (queue, number) in enumerate(zip(relays, numbers, strict=True))
        ]
        kept = await asyncio.gather(*told)
        assert kept.count(True) == 1 or (numbers == (7, 6) and kept == [True, True])
        newest = max(numbers)
        again = [
            await relays[0].remember_list("signer", newest, f"{newest} of {which}")
            for which in range(2)
        ]
        assert again.count(True) == 1


async def test_a_check_names_each_setting_that_tells_or_loses(campaign: Path) -> None:
    settings = {
        "track_commit_timestamp": "on",
        "log_statement": "mod",
        "full_page_writes": "off",
    }
    with server(**settings) as own:
        configure(campaign, **own.configuration(own.create()))
        found = await check_server(ServerConfig.load(campaign / "relay.toml"))
        said = {finding.words.split(": ")[1].split()[0]: finding for finding in found}
        assert said.keys() == settings.keys()
        assert [name for name, finding in said.items() if finding.blocks] == ["full_page_writes"]
        assert "the second of every submission" in said["track_commit_timestamp"].words
    (gone,) = await check_server(ServerConfig.load(campaign / "relay.toml"))
    assert gone.blocks
    assert "PostgreSQL at 127.0.0.1" in gone.words


async def test_a_check_of_a_server_that_tells_least_is_good_and_changes_nothing(
    campaign: Path, postgres: Postgres
) -> None:
    name = postgres.create()
    configure(campaign, **postgres.configuration(name))
    config = ServerConfig.load(campaign / "relay.toml")
    for _ in range(2):
        (found,) = await check_server(config)
        assert found.state is Judgement.OK, found
        tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        made = await OnServer(postgres, name).rows(tables)
        assert made == [[]] or len(made[0]) == 5
        async with open_queue(config):
            pass
    await OnServer(postgres, name).execute("UPDATE alembic_version SET version_num = '0099'")
    (found,) = await check_server(config)
    assert "a queue of version 0099" in found.words
    assert found.blocks


# -- how it is reached -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"postgresql": '"postgresql://relay@127.0.0.1:70000/relay"'}, "an address such as"),
        ({"postgresql": '"postgresql://relay@h.org/r?host=/run"'}, "an address such as"),
        ({"postgresql": '"postgresql://relay:secret@127.0.0.1/relay"'}, "no password in it"),
        ({"postgresql": '"mysql://relay@127.0.0.1/relay"'}, "an address such as"),
        ({"postgresql": '"postgresql://relay@db.example.org/relay"'}, "postgresql_ca: needed"),
    ],
)
def test_an_address_that_will_not_do_is_refused(
    campaign: Path, settings: dict[str, str], why: str
) -> None:
    configure(campaign, **settings)
    with pytest.raises(ConfigInvalid, match=why) as caught:
        ServerConfig.load(campaign / "relay.toml")
    assert "secret" not in str(caught.value)


def test_a_password_that_others_can_read_is_refused(campaign: Path, postgres: Postgres) -> None:
    configure(campaign, **postgres.configuration("relay"))
    assert ServerConfig.load(campaign / "relay.toml").queue == postgres.address("relay")
    loose = campaign / "password"
    loose.write_text("x")
    loose.chmod(0o644)
    configure(campaign, postgresql_password='"password"')
    with pytest.raises(ConfigInvalid, match="chmod 600"):
        ServerConfig.load(campaign / "relay.toml")


@pytest.mark.parametrize("wrong", ["password", "database", "port"])
async def test_who_is_not_let_in_is_told_where(
    postgres: Postgres, tmp_path: Path, wrong: str
) -> None:
    password = tmp_path / "password"
    password.write_text("CANARY")
    right = postgres.address(postgres.create())
    address = PostgresServer(
        user=right.user,
        host=right.host,
        port=1 if wrong == "port" else right.port,
        name="elsewhere" if wrong == "database" else right.name,
        password_file=password if wrong == "password" else right.password_file,
        ca=None,
    )
    with pytest.raises(ConfigInvalid, match=r"PostgreSQL at 127\.0\.0\.1") as caught:
        async with SealedQueue.open(address, max_queued=5):
            pass
    assert "CANARY" not in str(caught.value)


async def test_on_the_same_machine_it_is_reached_by_its_socket(campaign: Path) -> None:
    with server(unix_socket_directories=".") as own:
        name, folder = own.create(), own.folder / "data"
        settings = own.configuration(name)
        settings["postgresql"] = f'"postgresql://relay@:{own.port}/{name}?host={folder}"'
        configure(campaign, **settings)
        async with open_queue(ServerConfig.load(campaign / "relay.toml")) as queue:
            assert await queue.enqueue(b"x", receipt(1), today=DAY)


async def test_a_server_elsewhere_must_be_certified(tmp_path: Path) -> None:
    """By the authority that we were given, and for the name by which we reach it."""
    pairs = {}
    for name in ("localhost", "another.example.org"):
        (tmp_path / name).mkdir()
        pairs[name] = write_pair(tmp_path / name, name)
    right, wrong = pairs.values()
    with server() as own:
        database = own.create()
        own.settings["ssl"] = "on"
        for pair, ca, is_trusted in (
            (right, right[0], True),
            (right, wrong[0], False),
            (wrong, wrong[0], False),
        ):
            own.stop()
            own.give("server.crt", pair[0].read_text())
            own.give("server.key", pair[1].read_text())
            own.start()
            address = dataclasses.replace(own.address(database), host="localhost", ca=ca)
            assert (await is_let_in(address)) == is_trusted


async def is_let_in(address: PostgresServer) -> bool:
    """Whether a queue is opened there, over TLS."""
    try:
        async with SealedQueue.open(address, max_queued=5) as queue, queue.begin() as connection:
            query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            return bool((await connection.exec_driver_sql(query)).scalar_one())
    except ConfigInvalid:
        return False
