"""A disk that is full half way through a commit, and one that takes no write at all."""

import base64
import json
import sqlite3
import subprocess
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from relay.queue.look import read_turned
from tests.conftest import FULL, Answer, Result, Service, Starter, wait_until
from tests.faults.watch import pages_without_commit
from tests.grounds import FILL, Ground, Layer, lay
from tests.web.test_questions import ask

_ENVELOPE_KIB = 512
_LESS_THAN_A_PAGE = "4096"  # of the log, with its head; the relay's own words fit in


@pytest.fixture
def lay_ground(start_service: Starter, campaign: Path) -> Layer:
    return partial(lay, start_service, campaign)


def is_here(service: Service, receipt: str) -> bool:
    return "is here, locked" in service.post_receipt("receipt", receipt).text


def half_written(ground: Ground) -> int:
    """Pages of a transaction without its end in the write-ahead log."""
    return pages_without_commit(base64.b64decode(ground.run('base64 -w0 "$D/queue.sqlite-wal"')))


def ask_with_room_for(ground: Ground, kib: int, token: str, message: str) -> Answer:
    """Ask while the disk has room for so much; again where a look at the disk came first."""
    while True:
        # What the log has is moved first: emptied later, it would make room.
        wait_until(lambda: ground.run('stat -c %s "$D/queue.sqlite-wal"').strip() == "0")
        ground.run(f'{FILL}; truncate -s -{kib}K "$D/filler"')
        answer = ask(ground.service, message, token=token)
        if "closed for the moment" not in answer.text:
            return answer
        make_room(ground)


def open_all(service: Service) -> dict[str, str]:
    """Pull and open; the ids by what was written."""
    assert service.desk("pull", "--to", "sealed").code == 0
    assert service.desk("open", "sealed", "--to", "opened").code == 0
    opened = (service.folder.parent / "opened").glob("*/submission.json")
    return {json.loads(path.read_text())["message"]: path.parent.name for path in opened}


def allow_files(service: Service, most: str) -> None:
    """Let a running relay write no further into any file; it has them open, as on a bad day."""
    assert service.process is not None
    pid = str(service.process.pid)
    subprocess.run(["prlimit", "--pid", pid, f"--fsize={most}:unlimited"], check=True)


def let_the_day_turn(service: Service) -> None:
    with closing(sqlite3.connect(service.folder / "queue.sqlite")) as connection, connection:
        connection.execute("DELETE FROM marker WHERE name = 'turned'")


def make_room(ground: Ground) -> None:
    ground.run('rm "$D/filler"')
    wait_until(ground.is_open)


def test_a_disk_that_is_full_in_the_middle_of_a_commit_loses_and_invents_nothing(
    lay_ground: Layer,
) -> None:
    ground = lay_ground(cover_write_s=2)
    service = ground.service
    earlier = ask(service, "earlier").receipt
    receipts, halves = [earlier], []
    for kib in range(0, _ENVELOPE_KIB, 96 if FULL else 160):
        token = service.token()
        refused = ask_with_room_for(ground, kib, token, f"with {kib}")
        assert refused.status == 503
        assert "so we kept nothing" in refused.text
        halves.append(half_written(ground))
        assert is_here(service, earlier)
        withdrawn = service.post_receipt("withdraw", earlier)
        assert withdrawn.status == 503
        assert "Nothing was changed" in withdrawn.text
        make_room(ground)
        receipts.append(ask(service, f"with {kib}", token=token).receipt)
    assert len({half for half in halves if half}) >= 3, halves
    for receipt in receipts:
        assert is_here(service, receipt)
    assert "destroyed" in service.post_receipt("withdraw", earlier).text
    fetched = service.desk("pull", "--to", "sealed", "--json").json["fetched"]
    assert len(fetched) == len(set(receipts)) - 1  # type: ignore[arg-type]
    opened = service.desk("open", "sealed", "--to", "opened")
    assert opened.code == 0, opened.err
    assert service.desk("log", "--verify").code == 0


def test_on_a_disk_that_takes_no_write_nothing_is_said_to_be_done_and_all_is_done_later(
    start_service: Starter, dirty: bytes
) -> None:
    service = start_service(cover_write_s=1)
    receipts = [service.send(dirty, message=text).receipt for text in ("hers", "good", "bad")]
    ids = open_all(service)
    receipts.append(service.send(dirty, message="late").receipt)
    hers, released, returned, late = receipts

    def decide() -> list[Result]:
        return [
            service.desk("release", ids["good"]),
            service.desk("return", ids["bad"], "--reason", "other"),
            service.desk("pull", "--to", "sealed"),
        ]

    allow_files(service, _LESS_THAN_A_PAGE)
    let_the_day_turn(service)
    wait_until(lambda: "the day was not turned" in service.log_file.read_text())
    wait_until(lambda: service.get("/en/").status == 503)
    refused = service.post_receipt("withdraw", hers)
    assert refused.status == 503
    assert "Nothing was changed" in refused.text
    for done in decide():
        assert done.code == 1
        assert "The relay can't at the moment" in done.err
    for receipt in receipts:
        assert is_here(service, receipt)
    allow_files(service, "unlimited")
    wait_until(lambda: service.get("/en/").status == 200)
    assert "destroyed" in service.post_receipt("withdraw", hers).text
    assert [done.code for done in decide()] == [0, 0, 0]
    assert "checked and accepted" in service.post_receipt("receipt", released).text
    assert "can't use what you sent" in service.post_receipt("receipt", returned).text
    assert is_here(service, late)
    wait_until(lambda: read_turned(service.folder / "queue.sqlite") is not None)
    assert service.desk("log", "--verify").code == 0
