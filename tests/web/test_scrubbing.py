"""Every channel and every real sample, through the real form, as the relay seals it."""

import io
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from relay.config import DeskConfig
from relay.scrub.wire import Removed
from relay.seal.envelope import open_envelope
from relay.seal.files import load_identities
from tests import photos
from tests.conftest import SHARED, Service, Starter, wait_until
from tests.judge import judge

SAMPLES = sorted((SHARED / "samples").glob("[0-9]*"))
NOT_TAKEN = {".heic", ".tif", ".gif"}
MIB = 1 << 20
BOMB = "049.avif"  # 17000 x 17000 px in 1,340 bytes


def sealed_photos(service: Service) -> dict[str, tuple[bytes, dict[str, object]]]:
    """Pull and open by hand, since the desk would scrub again: message -> photo, scrub report."""
    folder = service.folder.parent / "sealed"
    assert service.desk("pull", "--to", folder).code == 0
    desk = DeskConfig.load(service.folder / "desk.toml")
    assert desk.passphrase_file is not None
    identities = load_identities(desk.identity, desk.passphrase_file.read_text().strip())
    opened = [open_envelope(path.read_bytes(), identities) for path in folder.glob("*.age")]
    return {submission.message: (photo, submission.scrub) for submission, photo in opened}


def judge_all(photos_by_name: Iterable[tuple[str, bytes]], folder: Path) -> None:
    paths = []
    for name, photo in photos_by_name:
        paths.append(folder / f"{name.replace('/', '-')}.jpg")
        paths[-1].write_bytes(photo)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(judge, paths))


def test_nothing_of_any_channel_is_sealed(start_service: Starter, tmp_path: Path) -> None:
    service = start_service()
    channels = {name: make() for name, make in photos.CHANNELS.items()}
    for name, channel in channels.items():
        planted = channel.canaries
        assert all(canary in channel.photo for canary in planted), name
        answer = service.send(channel.photo, message=name)
        assert answer.status == 200, (name, answer.text)
    sealed = sealed_photos(service)
    assert set(sealed) == set(channels)
    for name, channel in channels.items():
        photo, report = sealed[name]
        assert not [canary for canary in channel.canaries if canary in photo], name
        assert channel.is_gone(Image.open(io.BytesIO(photo))), name
        assert set(channel.found.words()) <= set(report["removed"]), name
        counted = {name for name in report if name.endswith(("_covered", "_visible"))}
        assert set(report) == {"removed", "quality"} | counted
        assert {report[name] for name in counted} == {0}
    judge_all(((name, photo) for name, (photo, _) in sealed.items()), tmp_path)


def test_the_page_and_the_envelope_name_what_was_removed_in_the_same_words(
    service: Service,
) -> None:
    answer = service.send(photos.dirty_jpeg(), message="report")
    report = sealed_photos(service)["report"][1]
    assert set(report["removed"]) <= set(Removed(-1).words())
    for word in ("position", "serial number", "video"):
        assert word in report["removed"]
    for words in (
        "where it was taken",
        "a number that belongs to that one phone",
        "a hidden video",
    ):
        assert words in answer.text


@pytest.mark.skipif(not SAMPLES, reason="needs ../shared")
def test_every_real_sample_is_sealed_clean_or_refused(
    start_service: Starter, tmp_path: Path
) -> None:
    service = start_service()
    taken = 0
    for sample in SAMPLES:
        answer = service.send_on(sample.read_bytes(), message=sample.stem)
        if sample.suffix in NOT_TAKEN:
            assert answer.status == 415, sample.name
        elif sample.name == BOMB:
            assert answer.status == 413
        else:
            assert answer.status == 200, (sample.name, answer.text)
            taken += 1
    sealed = sealed_photos(service)
    assert len(sealed) == taken
    judge_all(((name, photo) for name, (photo, _) in sealed.items()), tmp_path)


def used_by(pid: int) -> tuple[float, int]:
    """CPU seconds of a process and all below it, and the most memory (kB) that it alone had."""
    root = Path(f"/proc/{pid}")
    fields = (root / "stat").read_text().rpartition(")")[2].split()
    seconds = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    below = (root / f"task/{pid}/children").read_text().split()
    seconds += sum(used_by(int(child))[0] for child in below)
    status = (root / "status").read_text()
    return seconds, int(status.partition("VmHWM:")[2].split()[0])


def forget_peak(pid: int) -> None:
    """Have the most memory counted anew, where we may. Source: proc(5), clear_refs."""
    with suppress(PermissionError):
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def descendants(pid: int) -> list[int]:
    below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [one for child in below for one in (int(child), *descendants(int(child)))]


@pytest.fixture(scope="module")
def kb_at_first() -> dict[int, int]:
    """The memory that a service has after its first photo, by its process."""
    return {}


@pytest.mark.parametrize("name", photos.BOMBS)
def test_a_bomb_is_refused_within_a_second_of_work_and_the_service_stays_small(
    lasting: Starter, start_service: Starter, kb_at_first: dict[int, int], name: str
) -> None:
    """Work, not wall time: the machine may be busy.

    One relay for all that are small, so that what grows adds up; of the others each has its own,
    since the heap keeps room for the largest upload that there was.
    """
    bomb = photos.BOMBS[name]()
    service = lasting() if len(bomb) < 2 * MIB else start_service()
    assert service.process is not None
    pid = service.process.pid
    if pid not in kb_at_first:
        assert service.send(photos.dirty_jpeg()).status == 200
        kb_at_first[pid] = used_by(pid)[1]
    wait_until(lambda: len(descendants(pid)) == 2)
    forget_peak(pid)
    seconds, _ = used_by(pid)
    assert service.send(bomb).status == (200 if name in photos.HARMLESS else 413)
    wait_until(lambda: len(descendants(pid)) == 2)
    seconds_after, kb_after = used_by(pid)
    assert seconds_after - seconds < 1
    assert kb_after - kb_at_first[pid] < 3 * len(bomb) / 1000 + 8_000
    assert service.send(photos.dirty_jpeg()).status == 200
