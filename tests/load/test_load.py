"""The load is real, its sums are right, and it sees what is lost."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import photos
from tests.conftest import ROOT, Service
from tests.load import report
from tests.load.book import percentile
from tests.load.client import OK, visit
from tests.load.hold import hold
from tests.load.lines import FAST
from tests.load.relays import Relay, running
from tests.load.visits import CHECK, READ, SEND, WITHDRAW, Crowd, Day, Plan
from tests.postgres import Postgres

PHOTO = photos.encode(photos.picture(320, 240))
DAY = Day(rate=8, seconds=3, seed=7, slow_share=0.2, slow_bytes_per_s=100_000, tor_share=0.2)


@pytest.fixture
def relay(shared_service: Service) -> Relay:
    return Relay(shared_service.url, process=shared_service.process)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """A relay with an onion and 5.5 MB for the uploads of each listener."""
    settings = {"onion_listen": '"unix:onion.sock"', "max_inflight_bytes": 11_000_000}
    with running(tmp_path_factory.mktemp("small"), 1, settings) as relays:
        yield relays[0]


def test_every_arrival_is_accounted_for_and_every_receipt_found(tmp_path: Path) -> None:
    words = "--rate 8 --seconds 3 --seed 7 --made 320x240 --slow 0.2 --slow-rate 100000 --tor 0.2"
    command = [sys.executable, "-m", "tests.load", *words.split(), "--to", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads((tmp_path / "load.json").read_text())
    visits, sends, after = found["visits"], found["sends"], found["afterwards"]
    assert visits["arrived"] == len(DAY.plan(1)) > 10
    for sums in (visits, sends):
        parts = sums["done"] + sums["come back"] + sums["refused"] + sums["errors"]
        assert sums["arrived"] == parts
    assert found["acknowledged"] == sends["done"] > 0
    warm_ups = 2
    assert after["receipts"] == found["acknowledged"] + warm_ups
    assert after["envelopes"] == after["held"] > 0
    assert after["wrong"] == {}
    assert after["is_sound"]
    assert found["memory_mib"]["relay"]["peak"] > 100
    assert found["cpu_s"]["relay"] > 0
    assert {"form", "form, slow", "form, tor", "submit"} <= set(found["seconds"])
    assert (tmp_path / "load.txt").read_text() == done.stdout
    assert "<polyline" in (tmp_path / "load.svg").read_text()


def test_the_same_seed_gives_the_same_arrivals_and_another_seed_others() -> None:
    other = Day(rate=8, seconds=3, seed=8)
    assert DAY.plan(2) == DAY.plan(2) != other.plan(2)
    long = Day(rate=50, seconds=100, seed=1).plan(1)
    assert 4700 < len(long) < 5300
    assert [plan.at_s for plan in long] == sorted(plan.at_s for plan in long)


def test_a_percentile_is_one_of_the_times() -> None:
    times = [float(number) for number in range(1, 101)]
    assert [percentile(times, percent) for percent in (50, 90, 99, 100)] == [50, 90, 99, 100]
    assert percentile([3.0], 50) == percentile([3.0], 99) == 3.0


async def test_a_relay_that_is_gone_makes_an_error_of_each_visit(service: Service) -> None:
    crowd = Crowd([Relay(service.url)], [PHOTO], seed=1)
    await crowd.come([Plan(0, SEND, FAST, 0), Plan(0, READ, FAST, 0)])
    assert crowd.book.sums()["done"] == 2
    service.kill()
    await crowd.come([Plan(0, SEND, FAST, 0), Plan(0, READ, FAST, 0), Plan(0, CHECK, FAST, 0)])
    assert crowd.book.sums() == {
        "arrived": 5, "done": 2, "come back": 0, "refused": 0, "errors": 3,
    }  # fmt: skip
    assert set(crowd.book.errors()) == {"no answer: ClientConnectorError"}
    wrong = await crowd.ask_for_all()
    assert not report.check(crowd.book, wrong, None)["is_sound"]


async def test_what_is_lost_or_there_twice_is_noticed(
    shared_service: Service, relay: Relay
) -> None:
    crowd = Crowd([relay], [PHOTO], seed=1)
    await crowd.come([Plan(0, SEND, FAST, 0) for _ in range(3)])
    await crowd.come([Plan(0, WITHDRAW, FAST, 0)])
    assert await crowd.ask_for_all() == {}
    assert len(crowd.book.held()) == 2
    assert report.check(crowd.book, await crowd.ask_for_all(), 2)["is_sound"]
    assert not report.check(crowd.book, await crowd.ask_for_all(), 3)["is_sound"]
    shared_service.post_receipt("withdraw", crowd.book.held()[0])
    wrong = await crowd.ask_for_all()
    assert wrong == {"lost": 1}
    assert not report.check(crowd.book, wrong, 2)["is_sound"]
    crowd.book.acknowledge(crowd.book.held()[0], 0.0)
    assert not report.check(crowd.book, await crowd.ask_for_all(), None)["is_sound"]


async def test_a_cover_page_is_answered(relay: Relay) -> None:
    crowd = Crowd([relay], [photos.encode(photos.with_code())], seed=1)
    await crowd.come([Plan(0, SEND, FAST, 0)])
    assert crowd.book.covers == len(crowd.book.receipts) == 1
    assert await crowd.ask_for_all() == {}


async def test_who_comes_by_tor_comes_by_its_socket(small: Relay) -> None:
    plans = [plan for plan in DAY.plan(1) if plan.line.circuit]
    async with visit(small, plans[0].line) as visitor:
        form = await visitor.ask("/en/")
    assert form.outcome == OK
    assert "You came by Tor" in form.text


async def test_uploads_are_held_in_flight_until_all_are_there(relay: Relay) -> None:
    photo = PHOTO + bytes(3_000_000)
    held = await hold(relay, photo, 12)
    assert held.in_flight == 12 * len(photo)
    assert held.ended_early == 0
    assert held.relay.held - held.relay.before > 0.9 * held.in_flight
    assert held.tree.peak > held.relay.peak > held.in_flight
    assert held.answers == {OK: 12}
    assert len(set(held.receipts)) == 12


async def test_uploads_for_which_there_is_no_memory_are_told_and_come_back(small: Relay) -> None:
    photo = PHOTO + bytes(1_000_000)
    held = await hold(small, photo, 8)
    assert held.ended_early == 3
    assert held.in_flight == 5 * len(photo)
    assert held.come_back >= 3
    assert len(set(held.receipts)) == 8


async def test_of_two_relays_one_is_killed_and_nothing_is_lost(
    postgres: Postgres, tmp_path: Path
) -> None:
    day = Day(rate=10, seconds=3, seed=3, mix={SEND: 1})
    with running(tmp_path, 2, postgres.configuration(postgres.create())) as relays:
        crowd = Crowd(relays, [PHOTO], day.seed)
        coming = asyncio.create_task(crowd.come(day.plan(1)))
        while len(crowd.book.receipts) < 5:  # noqa: ASYNC110 - of a crowd, not of one
            await asyncio.sleep(0.01)
        relays[1].kill()
        await coming
        crowd.gone.add(relays[1].url)
        wrong = await crowd.ask_for_all()
        held = relays[0].count_held(tmp_path)
    sums = crowd.book.sums()
    assert sums["done"] == sums["arrived"] == len(day.plan(1)) == held
    assert crowd.book.second_tries
    assert wrong == {}
    assert report.check(crowd.book, wrong, held)["is_sound"]
