"""The form is closed where a photo could not be kept, and opens by itself when that is mended."""

import os
import signal
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from relay.errors import WrongIdentity
from relay.seal.envelope import open_envelope
from relay.seal.keys import HybridIdentity
from tests.conftest import Service, Starter, wait_until
from tests.grounds import FILL, Ground, Layer, lay
from tests.web.test_service import MIB, processes_below


@pytest.fixture
def lay_ground(start_service: Starter, campaign: Path) -> Layer:
    return partial(lay, start_service, campaign)


@pytest.mark.parametrize(
    ("settings", "spoil", "mend", "why"),  # the commands run among the relay's mounts
    [
        pytest.param(
            {"min_free_bytes": 12 * MIB},
            'head -c 16000000 /dev/zero >"$D/filler"',
            'rm "$D/filler"',
            "less than min_free_bytes is free",
            id="disk nearly full",
        ),
        pytest.param(
            {},
            'mount --bind "$D" "$D" && mount -o remount,bind,ro "$D"',
            'umount "$D"',
            "disk that is read-only",
            id="disk read-only",
        ),
        pytest.param(
            {},
            'mv "$D/queue.sqlite" "$D/away" && touch "$D/queue.sqlite"',
            'mv "$D/away" "$D/queue.sqlite"',
            "moved, deleted or replaced",
            id="file replaced",
        ),
        pytest.param(
            {},
            'mv "$D/queue.sqlite" "$D/away"',
            'mv "$D/away" "$D/queue.sqlite"',
            "moved, deleted or replaced",
            id="file gone",
        ),
    ],
)
def test_a_queue_that_can_not_take_a_photo_closes_the_form_until_it_can(  # noqa: PLR0913, PLR0917 - one case
    lay_ground: Layer, dirty: bytes, settings: dict[str, object], spoil: str, mend: str, why: str
) -> None:
    ground = lay_ground(**settings)
    service = ground.service
    token, receipt = service.token(), service.send(dirty).receipt
    ground.run(spoil)
    wait_until(ground.is_closed)
    refused = service.send(dirty, token=token, message="kept")
    assert refused.status == 503
    assert "We are closed for the moment. Nothing was sent." in refused.text
    assert "kept" in refused.text
    assert "is here, locked" in service.post_receipt("receipt", receipt).text
    closed = [line for line in ground.log if "closed: " in line]
    ground.run(mend)
    wait_until(ground.is_open)
    assert len(closed) == 1
    assert why in closed[0]
    assert ground.log[-2:] == [closed[0], "relay: open again"], "and not a line for each request"
    assert service.send(dirty, token=token).status == 200
    assert "destroyed" in service.post_receipt("withdraw", receipt).text
    assert len(service.desk("pull", "--to", "sealed", "--json").json["fetched"]) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["queue.sqlite", "."])
def test_without_the_right_to_write_the_form_is_closed_and_receipts_still_work(
    start_service: Starter, campaign: Path, dirty: bytes, name: str
) -> None:
    by_no_right = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]  # of root's own
    service = start_service(wrapper=by_no_right if os.geteuid() == 0 else [], cover_write_s=1)
    ground = Ground(service, campaign)
    receipt = service.send(dirty).receipt
    mode = (campaign / name).stat().st_mode & 0o777
    (campaign / name).chmod(mode & 0o500)
    wait_until(ground.is_closed)
    assert "can't be written: no right to" in ground.log[-1]
    assert "destroyed" in service.post_receipt("withdraw", receipt).text
    (campaign / name).chmod(mode)
    wait_until(ground.is_open)
    assert service.send(dirty).status == 200


def test_a_full_disk_closes_the_form_with_the_first_photo_that_was_not_kept(
    lay_ground: Layer, dirty: bytes
) -> None:
    ground = lay_ground(cover_write_s=3600)  # the next look is ten seconds away
    service = ground.service
    token, receipt = service.token(), service.send(dirty).receipt
    # The first cover write has been made, so that none of the service's own meets the full disk.
    wait_until(lambda: ground.run('grep -ac cover "$D/queue.sqlite" || :').strip() != "0")
    ground.run(FILL)
    refused = service.send(dirty, token=token, message="another")
    assert refused.status == 503
    assert "so we kept nothing" in refused.text
    assert "closed: the queue can't be written" in ground.log[-2]
    assert "turned away: NotKept" in ground.log[-1]
    assert ground.is_closed()
    ground.run('rm "$D/filler"')
    wait_until(ground.is_open)
    assert ground.log[-1] == "relay: open again"
    assert service.send(dirty, token=token, message="another").status == 200
    assert "destroyed" in service.post_receipt("withdraw", receipt).text


def test_room_for_less_than_a_photo_opens_nothing(lay_ground: Layer, dirty: bytes) -> None:
    ground = lay_ground(cover_write_s=1)
    token = ground.service.token()  # before a look at the disk has closed the form
    ground.run(f'{FILL}; truncate -s -64K "$D/filler"')
    assert ground.service.send(dirty, token=token).status == 503
    looks: set[str] = set()  # one comes with each cover write, for which there is room
    wait_until(lambda: looks.add(ground.run('stat -c %y "$D/queue.sqlite"')) or len(looks) > 4)  # type: ignore[func-returns-value]
    assert ground.is_closed()
    assert "relay: open again" not in ground.log
    ground.run('rm "$D/filler"')
    wait_until(ground.is_open)
    assert ground.service.send(dirty).status == 200


def test_recipients_are_read_again_when_they_change(
    start_service: Starter, campaign: Path, dirty: bytes
) -> None:
    service = start_service(cover_write_s=1)
    ground = Ground(service, campaign)
    token, receipt = service.token(), service.send(dirty).receipt
    path = campaign / "recipients.txt"
    good = path.read_text()
    for spoil, why in (
        (lambda: path.write_text("age1pq1garbage\n"), "line 1"),
        (lambda: path.write_text("# nobody\n"), "no recipient in it"),
        (path.unlink, "No such file"),
    ):
        spoil()
        wait_until(lambda why=why: why in ground.log[-1])  # type: ignore[misc]
        assert "closed: " in ground.log[-1]
        assert ground.is_closed()
        assert service.send(dirty, token=token).status == 503
    path.write_text(good)
    path.chmod(0o666)
    wait_until(lambda: "others can write it" in ground.log[-1])
    assert ground.is_closed()
    path.chmod(0o644)
    wait_until(ground.is_open)
    assert [line for line in ground.log if "open again" in line] == ["relay: open again"]
    assert len([line for line in ground.log if "closed: " in line]) == 4
    assert "destroyed" in service.post_receipt("withdraw", receipt).text


def test_a_recipient_who_joins_can_open_what_comes_next(
    start_service: Starter, campaign: Path, dirty: bytes, tmp_path: Path
) -> None:
    service = start_service(cover_write_s=1)
    hers = HybridIdentity.generate()
    with (campaign / "recipients.txt").open("a") as recipients:
        recipients.write(hers.recipient().encoded + "\n")

    def opens_one() -> bool:
        sealed = tmp_path / str(time.monotonic_ns())
        assert service.send(dirty, message=sealed.name).status == 200
        assert service.desk("pull", "--to", sealed).code == 0
        for path in sealed.glob("*.age"):
            with suppress(WrongIdentity):
                return bool(open_envelope(path.read_bytes(), [hers]))
        return False

    wait_until(opens_one)


def test_a_box_that_does_not_start_again_closes_the_form_until_it_does(
    lay_ground: Layer, dirty: bytes, tmp_path: Path
) -> None:
    ground = lay_ground()
    service = ground.service
    token, receipt = service.token(), service.send(dirty).receipt
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit(1)\n")
    ground.run(f'mount --bind {broken} "$BOX"')
    assert service.process is not None
    box = processes_below(service.process.pid)
    for pid in box:
        os.kill(pid, signal.SIGKILL)
    # A photo that meets it dying is lost by itself; this is about those after it.
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in box))
    refused = service.send(dirty, token=token, message="kept")
    assert refused.status == 503, "before the door closes, too"
    assert "Nothing was sent." in refused.text
    wait_until(ground.is_closed)
    assert "We are closed for the moment. Nothing was sent." in service.get("/en/").text
    assert ground.log[-1] == "relay: closed: The box does not start."
    assert "is here, locked" in service.post_receipt("receipt", receipt).text
    ground.run('umount "$BOX"')
    wait_until(ground.is_open)
    assert ground.log[-1] == "relay: open again"
    assert service.send(dirty, token=token).status == 200
    assert "destroyed" in service.post_receipt("withdraw", receipt).text


def test_a_box_that_has_died_is_there_again_before_anybody_sends(service: Service) -> None:
    assert service.process is not None
    before = processes_below(service.process.pid)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(processes_below(service.process.pid) - before) >= len(before))  # type: ignore[union-attr]
    assert service.get("/en/").status == 200
