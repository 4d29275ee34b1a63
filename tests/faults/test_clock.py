"""A clock that jumps, under a relay that runs and between two starts: libfaketime sets it."""

import datetime as dt
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from relay.intake.calendar import Calendar, find_fault
from relay.queue.look import read_turned
from tests.conftest import FULL, RELAY, Result, Service, Starter, wait_until

DAY_S = 86_400
TODAY = dt.date(2027, 3, 8)


@dataclass
class Clock:
    """What the relay takes for the time; the test's own goes on."""

    file: Path

    @property
    def wrapper(self) -> list[str]:
        library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        settings = {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": self.file,
            "FAKETIME_CACHE_DURATION": 1,
            "FAKETIME_DONT_FAKE_MONOTONIC": 1,  # a clock that is set is no time that passes
        }
        return ["env", *(f"{name}={value}" for name, value in settings.items())]

    def set(self, days: int, service: Service | None = None) -> None:
        """Set it that many days ahead; a running relay has noticed when this returns."""
        draft = self.file.with_suffix(".new")
        draft.write_text(f"{days:+}d\n")
        draft.rename(self.file)
        if service is not None:
            shown = f"{today() + dt.timedelta(days=days):%d %b %Y}"
            wait_until(lambda: shown in service.get("/").headers["Date"])

    def relay(self, *arguments: str | Path) -> Result:
        """Run a command at that time."""
        done = subprocess.run(
            [*self.wrapper, RELAY, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    clock = Clock(tmp_path / "clock")
    clock.set(0)
    return clock


def is_here(service: Service, receipt: str) -> bool:
    return "is here, locked" in service.post_receipt("receipt", receipt).text


def is_open(service: Service) -> bool:
    return service.get("/en/").status == 200


def turned(service: Service) -> dt.date | None:
    return read_turned(service.folder / "queue.sqlite")


def today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()


def fetched(service: Service) -> int:
    found = service.desk("pull", "--to", "sealed", "--json").json["fetched"]
    assert isinstance(found, list)
    return len(found)


def test_a_clock_a_month_ahead_destroys_nothing_and_closes_the_form_until_it_is_right(
    start_service: Starter, clock: Clock, dirty: bytes
) -> None:
    service = start_service(
        clock.wrapper, cover_write_s=1, demo="false", desk_listen='"unix:desk.sock"'
    )
    wait_until(lambda: turned(service) == today())
    config = service.folder / "relay.toml"
    kept, hers = (service.send(dirty, message=text).receipt for text in ("kept", "hers"))
    clock.set(40, service)
    wait_until(lambda: not is_open(service))
    log = service.log_file.read_text()
    assert f"closed: the clock says {today() + dt.timedelta(days=40)}, long after" in log
    assert "relay purge --config" in log
    assert is_here(service, kept)
    assert "destroyed" in service.post_receipt("withdraw", hers).text, "that goes on"
    checked = clock.relay("check", "--config", config)
    assert "refused   clock        the clock says" in checked.out
    service.kill()
    service.start()
    wait_until(lambda: not is_open(service))
    assert is_here(service, kept), "a restart says nothing of the clock"
    clock.set(0, service)
    wait_until(lambda: is_open(service))
    assert is_here(service, kept)
    assert service.send(dirty, message="new").status == 200


def test_whoever_says_that_a_clock_is_right_has_the_day_turned(
    start_service: Starter, clock: Clock, dirty: bytes
) -> None:
    service = start_service(clock.wrapper, cover_write_s=1)
    wait_until(lambda: turned(service) == today())
    config = service.folder / "relay.toml"
    receipt = service.send(dirty).receipt
    clock.set(40, service)
    wait_until(lambda: not is_open(service))
    assert "1 envelopes were destroyed" in clock.relay("purge", "--config", config).out
    wait_until(lambda: is_open(service))
    assert not is_here(service, receipt)
    late = service.send(dirty).receipt
    clock.set(0, service)  # they were wrong, and say so
    wait_until(lambda: "before" in service.log_file.read_text())
    assert clock.relay("purge", "--config", config).code == 0
    assert is_here(service, late)
    assert fetched(service) == 1, "it does not wait for the day that the clock had shown"


def test_a_day_forward_and_back_costs_nobody_a_photo_a_receipt_or_a_lease(
    start_service: Starter, clock: Clock, dirty: bytes
) -> None:
    service = start_service(clock.wrapper, cover_write_s=1, retain_days=1, lease_days=1)
    tomorrow = today() + dt.timedelta(days=1)
    receipt = service.send(dirty, message="before").receipt
    assert fetched(service) == 1
    clock.set(1, service)
    wait_until(lambda: turned(service) == tomorrow)
    assert is_here(service, receipt)
    token = service.token()
    clock.set(0, service)
    refused = service.send(dirty, token=token, message="kept")
    assert refused.status == 403
    assert "This page was open for too long." in refused.text
    assert "kept" in refused.text
    assert service.send(dirty, message="after").status == 200
    clock.set(1, service)
    assert service.send(dirty, message="once more", token=token).status == 200
    assert turned(service) == tomorrow
    opened = service.desk("open", "sealed", "--to", "opened", "--json").json["opened"]
    assert isinstance(opened, list)
    assert service.desk("release", opened[0]["id"]).code == 0, "the lease has not run out"
    assert fetched(service) == 2
    assert service.desk("log", "--verify").code == 0
    assert "checked and accepted" in service.post_receipt("receipt", receipt).text


@pytest.mark.parametrize("is_restarted", [False, True] if FULL else [True])
def test_what_comes_while_the_clock_is_a_month_behind_does_not_expire_when_it_is_right(
    start_service: Starter, clock: Clock, dirty: bytes, *, is_restarted: bool
) -> None:
    service = start_service(clock.wrapper, cover_write_s=1)
    wait_until(lambda: turned(service) == today())
    before = service.send(dirty, message="before").receipt
    clock.set(-40, service)
    if is_restarted:
        service.kill()
        service.start()
    wait_until(lambda: "nothing expires" in service.log_file.read_text())
    behind = service.send(dirty, message="behind").receipt
    clock.set(1, service)
    wait_until(lambda: turned(service) == today() + dt.timedelta(days=1))
    assert is_here(service, before)
    assert is_here(service, behind)
    assert fetched(service) == 2
    assert service.desk("log", "--verify").code == 0


# -- what is believed -----------------------------------------------------------------------------


@dataclass
class Time:
    """A clock and the time that passes."""

    day: dt.date = TODAY
    up_s: float = 0.0

    def calendar(self, turned: dt.date | None) -> Calendar:
        calendar = Calendar(clock=lambda: self.day, uptime_s=lambda: self.up_s)
        calendar.learn(turned)
        return calendar

    def pass_days(self, days: int) -> None:
        self.up_s += days * DAY_S
        self.set(days)

    def set(self, days: int) -> None:
        self.day += dt.timedelta(days=days)


def test_each_day_that_passes_is_believed() -> None:
    time = Time()
    calendar = time.calendar(TODAY)
    for _ in range(100):
        assert calendar.find_jump() is None
        assert calendar.today() == time.day
        calendar.advance(time.day)
        time.pass_days(1)


def test_steps_of_a_day_that_come_without_time_are_not_believed() -> None:
    time = Time()
    calendar = time.calendar(TODAY)
    calendar.advance(TODAY)
    time.set(1)
    assert calendar.find_jump() is None
    calendar.advance(time.day)
    time.set(1)
    assert calendar.find_jump() is not None
    assert calendar.today() == TODAY + dt.timedelta(days=1)
    time.up_s += DAY_S
    assert calendar.find_jump() is None


@pytest.mark.parametrize(("days", "is_believed"), [(0, True), (3, True), (4, False), (400, False)])
def test_a_relay_that_was_off_for_more_than_three_days_asks(
    *, days: int, is_believed: bool
) -> None:
    calendar = Time(day=TODAY + dt.timedelta(days=days)).calendar(TODAY)
    assert (calendar.find_jump() is None) == is_believed
    assert (find_fault(TODAY + dt.timedelta(days=days), TODAY) is None) == is_believed
    if not is_believed:
        calendar.learn(TODAY + dt.timedelta(days=days))  # somebody has turned it by hand
        assert calendar.find_jump() is None


def test_a_clock_that_is_behind_stops_the_days_and_no_more() -> None:
    time = Time()
    calendar = time.calendar(TODAY)
    time.set(-1)
    assert calendar.find_lag() is None, "around midnight a clock may be set by seconds"
    time.set(-300)
    assert calendar.today() == TODAY
    assert calendar.find_jump() is None
    assert "What comes counts as of that day" in (calendar.find_lag() or "")
    assert find_fault(time.day, TODAY) == calendar.find_lag()
    time.set(301)
    assert calendar.find_lag() is None
