"""`relay stats` and what else an operator asks: nothing that counts submissions of today."""

import asyncio
import dataclasses
import datetime as dt
import io
import json
import os
import re
import sqlite3
import subprocess
from contextlib import closing, redirect_stdout
from pathlib import Path

import pytest

from relay.cli import main
from relay.config import ServerConfig
from relay.intake.check import check_campaign
from relay.intake.stats import read_stats
from relay.intake.storage import check_room
from tests import photos
from tests.conftest import ROOT as REPOSITORY
from tests.conftest import Service, Starter, relay, wait_until
from tests.doors import Visitor

ROOM = "disk room"


def test_nothing_that_an_operator_asks_changes_with_a_submission_before_the_day_turns(
    start_service: Starter, campaign: Path
) -> None:
    """To the byte, and beside the relay that serves. The next day it is there."""
    service = start_service(health_listen='"unix:health.sock"')
    receipts = [send(service, number).receipt for number in range(2)]
    pass_a_day(service)
    before = everything_asked(campaign)
    late = send(service, 2).receipt
    assert everything_asked(campaign) == before, "sent"
    assert service.post_receipt("withdraw", late).status == 200
    assert everything_asked(campaign) == before, "taken back on its day"
    assert service.post_receipt("withdraw", receipts[0]).status == 200
    assert everything_asked(campaign) == before, "taken back later"
    pass_a_day(service)
    report = relay("stats", "--config", campaign / "relay.toml", "--json").json
    assert [rounded(row) for row in report["by_day"]] == [  # type: ignore[attr-defined]
        {"arrived": 2, "waiting": 1, "withdrawn": 1},
        {"arrived": 1, "withdrawn": 1},
    ]
    assert (report["held"], report["oldest_waiting_days"]) == (1, 2)
    assert report["turned"] == today().isoformat()


def send(service: Service, number: int):  # noqa: ANN201 - an Answer
    return service.send(photos.dirty_jpeg(photos.picture(640, 480, seed=number)))


def today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()


def rounded(row: dict[str, object]) -> dict[str, object]:
    """Leave out the day, and what is none."""
    return {name: number for name, number in row.items() if name != "day" and number}


def pass_a_day(service: Service) -> None:
    """Let everything be a day older, and start the relay, which turns the day."""
    service.stop()
    with closing(sqlite3.connect(service.folder / "queue.sqlite")) as database, database:
        for table, names in {"submission": ("day", "changed_day"), "log": ("day",)}.items():
            changes = ", ".join(f"{name} = date({name}, '-1 day')" for name in names)
            database.execute(f"UPDATE {table} SET {changes}")  # noqa: S608 - our own names
        database.execute("DELETE FROM marker WHERE name = 'turned'")
    service.start()
    path = service.folder / "relay.toml"
    wait_until(lambda: asyncio.run(read_stats(ServerConfig.load(path), today=today()))["turned"])


def everything_asked(campaign: Path) -> list[str]:
    """What each command and the socket say. The room on the disk has a test of its own."""
    path = campaign / "relay.toml"
    with redirect_stdout(io.StringIO()) as said:
        assert main(["stats", "--config", str(path)]) == 0
        assert main(["stats", "--config", str(path), "--json"]) == 0
        assert main(["purge", "--config", str(path), "--dry-run"]) == 0
    # What `relay check` says of a campaign: test_check.py. The rest is of the machine.
    found = check_campaign(ServerConfig.load(path), path, now=dt.datetime.now(dt.UTC))
    health = Visitor(campaign / "health.sock").ask("/healthz").read().decode()
    return [said.getvalue(), health, *(f"{one}" for one in found if one.name != ROOM)]


def test_the_room_on_the_disk_is_said_in_steps_in_which_nobody_counts_photos(
    campaign: Path,
) -> None:
    disk = os.statvfs(campaign)
    free = disk.f_bavail * disk.f_frsize
    for least in (0, free * 40 // 41, 10**16):
        config = ServerConfig.load(campaign / "relay.toml")
        words = check_room(dataclasses.replace(config, min_free_bytes=least)).words
        assert re.search(r"(\d+ GiB|less than 1 GiB) free", words), words
        assert f"{free // 2**20} MiB" not in words


def test_the_line_for_cron_says_one_same_sentence_whatever_is_wrong(
    start_service: Starter, campaign: Path
) -> None:
    """As it stands in the guide, but for the place of the socket."""
    guide = (REPOSITORY / "docs/operator.md").read_text()
    (line,) = re.findall(r"^ {4}17 \* \* \* \* root (.*)$", guide, re.MULTILINE)
    line = line.replace("/run/poster-relay/health.sock", f"{campaign}/health.sock")

    def said() -> str:
        return subprocess.run(
            ["sh", "-c", line], check=False, text=True, capture_output=True
        ).stdout

    service = start_service(health_listen='"unix:health.sock"')
    assert said() == ""
    service.stop()
    down = said()
    (campaign / "recipients.txt").write_text("")
    service.start()
    assert said() == down == "Look at the relay\n"


def test_stats_of_nothing_yet_and_of_a_relay_that_no_day_turned(
    campaign: Path, tmp_path: Path
) -> None:
    config = campaign / "relay.toml"
    done = relay("stats", "--config", config)
    assert (done.code, done.out) == (2, "")
    assert done.err == f"relay: {campaign}/queue.sqlite: there is no queue here yet\n"
    assert not (campaign / "queue.sqlite").exists()
    assert relay("stats", "--config", tmp_path / "none.toml").code == 2


@pytest.mark.parametrize("extra", [[], ["--json"]])
def test_stats_name_no_submission_and_no_colleague(service: Service, extra: list[str]) -> None:
    send(service, 1)
    service.desk("pull", "--to", service.folder.parent / "sealed")
    pass_a_day(service)
    said = relay("stats", "--config", service.folder / "relay.toml", *extra).out
    assert not re.search(r"[0-9a-f]{16}|relaysigner|age1", said)
    if extra:
        row = json.loads(said)["by_day"][0]
        assert (row["arrived"], row["leased"]) == (1, 1)
