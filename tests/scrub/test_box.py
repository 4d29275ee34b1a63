"""The box outlives what is done to it, and its owner believes nothing that it says."""

import asyncio
import inspect
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pillow_heif
import pytest
import pytest_asyncio

from relay.errors import (
    BoxBroken,
    ConfigInvalid,
    PhotoDamaged,
    PhotoUnsupported,
    ScrubFailed,
    WeightsAmiss,
)
from relay.scrub import box, confine, faces, jpeg, supervisor
from relay.scrub.canonical import SIZES_OF
from relay.scrub.supervisor import Order, Scrubber, accept
from relay.scrub.wire import ALL_LAYERS, Layer, Removed, View
from tests import photos
from tests.conftest import wait_until

BUDGET = 512 * 1024


@pytest_asyncio.fixture
async def odd_scrubber(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scrubber]:
    program = (str(Path(__file__).with_name("odd_box.py")),)
    monkeypatch.setattr(supervisor, "_PROGRAM", program)
    monkeypatch.setattr(supervisor, "_JOB_S", 5)
    async with Scrubber(max_jpeg_bytes=BUDGET) as running:
        yield running


@pytest.mark.parametrize(
    "oddity",
    [
        "crash", "eat", "hang", "leave", "escape", "babble", "promise", "promise_more", "boast",
        "smuggle", "shrink",
    ],
)  # fmt: skip
async def test_whatever_a_decoder_does_one_photo_is_lost_and_the_next_is_scrubbed(
    odd_scrubber: Scrubber, oddity: str
) -> None:
    process = odd_scrubber._box.process  # noqa: SLF001 - the process is what is tested
    assert process is not None
    with pytest.raises(ScrubFailed):
        await odd_scrubber.scrub(oddity.encode())
    assert (await odd_scrubber.scrub(photos.dirty_jpeg())).jpeg
    wait_until(lambda: len(tree(process.pid)) == 2)  # the box and its first process, no child
    assert odd_scrubber._box.process is process, "the box itself went on"  # noqa: SLF001


async def test_without_the_files_of_the_detector_nothing_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As they are, a copy of them does; one byte less, or none, does not."""
    folder = tmp_path / "weights"
    shutil.copytree(faces.WEIGHTS, folder)
    code = (
        "from pathlib import Path; from relay.scrub import box; load = box.Detector.load; "
        f"box.Detector.load = lambda: load(Path({str(folder)!r})); box.main()"
    )
    monkeypatch.setattr(supervisor, "_PROGRAM", ("-c", code))
    async with Scrubber(max_jpeg_bytes=BUDGET) as scrubber:
        assert (await scrubber.scrub(photos.dirty_jpeg())).jpeg
    whole = (folder / "yunet.onnx").read_bytes()
    for left in (whole[:-1], None):
        (folder / "yunet.onnx").unlink()
        if left is not None:
            (folder / "yunet.onnx").write_bytes(left)
        with pytest.raises(WeightsAmiss, match="scripts/weights"):
            async with Scrubber(max_jpeg_bytes=BUDGET):
                pass


async def test_a_thumbnail_is_small_and_nothing_else_comes_for_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = (str(Path(__file__).with_name("odd_box.py")),)
    monkeypatch.setattr(supervisor, "_PROGRAM", program)
    clean = photos.encode(photos.picture(1600, 1067), quality=85, subsampling="4:2:0")
    order = Order(view=View.THUMBNAIL, is_looked_at=False)
    async with Scrubber(max_jpeg_bytes=BUDGET) as scrubber:
        small = await scrubber.scrub(clean, replace(order, is_ours=True))
        assert (*small.size, small.quality) == (240, 160, View.THUMBNAIL.quality)
        assert jpeg.check(small.jpeg, sizes=SIZES_OF[View.THUMBNAIL])[:2] == (240, 160)
        assert small.removed == Removed.NOTHING
        dirty = await scrubber.scrub(photos.dirty_jpeg(photos.picture(3000, 4000)), order)
        assert dirty.size == (180, 240)
        assert Removed.POSITION in dirty.removed, "it still says what the photo carried"
        noise = await scrubber.scrub(photos.encode(photos.noise(240, 240), "PNG"), order)
        assert len(noise.jpeg) <= View.THUMBNAIL.max_bytes
        with pytest.raises(ScrubFailed):
            await scrubber.scrub(b"enlarge", order)
        assert (await scrubber.scrub(b"shrink", order)).width_px == 240


async def test_a_preview_comes_beside_the_photo_and_is_believed_no_more_than_it(
    odd_scrubber: Scrubber,
) -> None:
    order = Order(has_preview=True)
    photo = await odd_scrubber.scrub(photos.dirty_jpeg(), order)
    assert jpeg.check(photo.preview, sizes=SIZES_OF[View.PREVIEW]) == (600, 450, 60)
    assert (await odd_scrubber.scrub(photos.dirty_jpeg())) == replace(photo, preview=b"")
    for oddity in (b"show_whole", b"show_worse", b"show_dirty", b"promise_more"):
        with pytest.raises(ScrubFailed):
            await odd_scrubber.scrub(oddity, order)
    with pytest.raises(ScrubFailed):  # nobody asked for one
        await odd_scrubber.scrub(b"show_dirty")


async def test_a_child_has_one_descriptor_no_rights_a_world_of_its_own_and_limits(
    odd_scrubber: Scrubber,
) -> None:
    process = odd_scrubber._box.process  # noqa: SLF001 - the process is what is tested
    assert process is not None
    hung = asyncio.create_task(odd_scrubber.scrub(b"hang"))
    child = await asyncio.to_thread(filtered_child, process.pid)
    status, limits = (child / "status").read_text(), (child / "limits").read_text()
    assert set(re.findall(r"Cap\w+:\t(\w+)", status)) == {"0" * 16}
    assert "NoNewPrivs:\t1" in status
    if os.getuid() == 0:
        assert "\nUid:\t65534\t65534\t65534\t65534\n" in status
        assert "\nGid:\t65534\t65534\t65534\t65534\n" in status
        assert re.search(r"\nGroups:\t *\n", status)
    for name, most in (
        ("address space", 1 << 30), ("cpu time", 1), ("file size", 0), ("processes", 0),
        ("open files", 0), ("core file size", 0),
    ):  # fmt: skip
        assert re.search(rf"Max {name} +{most} +{most} ", limits), name
    assert [one.name for one in (child / "fd").iterdir()] == ["0"]
    for world in ("net", "pid", "mnt", "ipc", "uts", "cgroup"):
        assert (child / "ns" / world).readlink() != Path(f"/proc/self/ns/{world}").readlink()
    assert not list((child / "root").iterdir())
    with pytest.raises(ScrubFailed):
        await hung


def filtered_child(box: int) -> Path:
    """The box's child once its filter is on."""

    def is_filtered() -> bool:
        try:
            return "\nSeccomp:\t2" in (Path(f"/proc/{tree(box)[2]}") / "status").read_text()
        except (IndexError, OSError):
            return False

    wait_until(is_filtered)
    return Path(f"/proc/{tree(box)[2]}")


async def test_who_waits_for_a_hung_decoder_is_answered_when_it_has_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else the photo would stay in memory behind the answer, and the turn be given away twice."""
    assert confine.WALL_S + box._LOOK_S < supervisor._JOB_S  # noqa: SLF001 - what holds it
    code = (
        "from relay.scrub import box, confine; confine.WALL_S = 1; redraw = box.redraw\n"
        "def hang(photo, wish):\n"
        "    while photo == b'hang': pass\n"
        "    return redraw(photo, wish)\n"
        "box.redraw = hang; box.main()"
    )
    monkeypatch.setattr(supervisor, "_PROGRAM", ("-c", code))
    async with Scrubber(max_jpeg_bytes=BUDGET) as scrubber:
        process = scrubber._box.process  # noqa: SLF001 - the process is what is tested
        assert process is not None
        with pytest.raises(ScrubFailed):
            await scrubber.scrub(b"hang")
        wait_until(lambda: len(tree(process.pid)) == 2, seconds=0.5)
        assert scrubber._box.process is process, "the box itself went on"  # noqa: SLF001


async def test_a_box_that_hangs_as_a_whole_is_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "_JOB_S", 1)
    async with Scrubber(max_jpeg_bytes=BUDGET) as scrubber:
        process = scrubber._box.process  # noqa: SLF001 - the process is what is tested
        assert process is not None
        for pid in tree(process.pid):
            os.kill(pid, signal.SIGSTOP)
        with pytest.raises(ScrubFailed):
            await scrubber.scrub(photos.dirty_jpeg())
        assert process.poll() is not None, "and nothing of hers is left in it"
        monkeypatch.setattr(supervisor, "_JOB_S", 20)
        assert (await scrubber.scrub(photos.dirty_jpeg())).jpeg


async def test_a_child_that_sleeps_through_its_alarm_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As code in the box for HEIC could: it may block signals, and sleeping costs no CPU."""
    code = (
        "import signal, time; from relay.scrub import box, confine; confine.WALL_S = 1; "
        "box._LOOK_S = 0.2; confine.Filter.put_on = lambda _: None; redraw = box.redraw\n"
        "def sleep(photo, wish):\n"
        "    if photo != b'sleep': return redraw(photo, wish)\n"
        "    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 30)); time.sleep(600)\n"
        "box.redraw = sleep; box.main()"
    )
    monkeypatch.setattr(supervisor, "_PROGRAM", ("-c", code))
    async with Scrubber(max_jpeg_bytes=BUDGET, accepted=ALL_LAYERS) as scrubber:
        with pytest.raises(ScrubFailed):
            await scrubber.scrub(b"sleep")
        assert (await scrubber.scrub(photos.dirty_jpeg())).jpeg


async def test_a_start_that_is_cut_short_leaves_no_box_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else the next photo would go into a box whose walls nobody has asked for."""
    async with Scrubber(max_jpeg_bytes=BUDGET) as scrubber:
        process = scrubber._box.process  # noqa: SLF001 - the process is what is tested
        assert process is not None
        slow = f"import time; time.sleep(3); {without('seccomp')}"
        monkeypatch.setattr(supervisor, "_PROGRAM", ("-c", slow))
        process.kill()
        process.wait()
        waiting = asyncio.create_task(scrubber.scrub(photos.dirty_jpeg()))
        while scrubber._box.process in {None, process}:  # noqa: ASYNC110, SLF001 - the same
            await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert scrubber._box.process is None  # noqa: SLF001 - the same
        with pytest.raises(ScrubFailed):
            await scrubber.scrub(photos.dirty_jpeg())


async def test_a_hung_photo_holds_up_nobody_else(odd_scrubber: Scrubber) -> None:
    hung = asyncio.create_task(odd_scrubber.scrub(b"hang"))
    began = time.monotonic()
    assert (await odd_scrubber.scrub(photos.dirty_jpeg())).jpeg
    assert not hung.done() or time.monotonic() - began > 0.5
    with pytest.raises(ScrubFailed):
        await hung


async def test_no_photo_finds_what_another_left_in_memory(odd_scrubber: Scrubber) -> None:
    """Memory that a decoder forgets to write shows what was there before it."""
    with pytest.raises(PhotoDamaged):
        await odd_scrubber.scrub(b"plant_and_look")  # else the rest would prove nothing
    for _ in range(20):
        with pytest.raises(PhotoUnsupported):
            await odd_scrubber.scrub(b"plant")
        with pytest.raises(PhotoUnsupported):
            await odd_scrubber.scrub(b"look")


def tree(pid: int) -> list[int]:
    below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in below for one in tree(int(child)))]


# -- walls that are missing ------------------------------------------------------------------------


def without(*names: str) -> str:
    """A program that is the box on a machine that lacks some walls."""
    lines = {
        "namespaces": "confine.leave_namespaces = lambda **_: False",
        "landlock": "confine._LANDLOCK_CREATE = 9999",
        "seccomp": "confine._MACHINES.clear()",
        "user": "confine.drop_rights = lambda **_: confine._must(-1)",
    }
    patches = "; ".join(lines[name] for name in names)
    return f"from relay.scrub import box, confine; {patches}; box.main()"


@pytest.mark.parametrize("layer", Layer)
async def test_a_missing_wall_is_refused_by_name_unless_accepted_by_name(
    monkeypatch: pytest.MonkeyPatch, layer: Layer
) -> None:
    monkeypatch.setattr(supervisor, "_PROGRAM", ("-c", without(layer.word)))
    with pytest.raises(ConfigInvalid, match=layer.word):
        async with Scrubber(max_jpeg_bytes=BUDGET, accepted=ALL_LAYERS & ~layer):
            pass
    async with Scrubber(max_jpeg_bytes=BUDGET, accepted=layer) as scrubber:
        assert scrubber.missing == [layer.word]
        assert (await scrubber.scrub(photos.dirty_jpeg())).jpeg


async def test_a_box_that_comes_back_with_a_wall_less_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Scrubber(max_jpeg_bytes=BUDGET) as scrubber:
        process = scrubber._box.process  # noqa: SLF001 - the process is what is tested
        assert process is not None
        monkeypatch.setattr(supervisor, "_PROGRAM", ("-c", without("seccomp")))
        process.kill()
        process.wait()
        with pytest.raises(ScrubFailed) as refusal:
            await scrubber.scrub(photos.dirty_jpeg())
        assert "seccomp" in str(refusal.value.__cause__)


async def test_a_box_that_does_not_start_is_tried_again_after_growing_pauses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    works = supervisor._PROGRAM  # noqa: SLF001 - what is started is what is exchanged
    monkeypatch.setattr(supervisor, "_FIRST_PAUSE_S", 0.3)
    async with Scrubber(max_jpeg_bytes=BUDGET) as scrubber:
        box = scrubber._box  # noqa: SLF001 - the process is what is tested
        assert box.process is not None
        box.process.kill()
        box.process.wait()
        monkeypatch.setattr(supervisor, "_PROGRAM", ("-c", "raise SystemExit(1)"))
        failed_at = []
        while scrubber.why_broken is None:
            before = box.failures
            with pytest.raises(BoxBroken):
                await scrubber.scrub(photos.dirty_jpeg())
            if box.failures > before:
                failed_at.append(time.monotonic())
        assert scrubber.why_broken == "The box does not start."
        first, second, third = failed_at
        assert second - first >= 0.3
        assert third - second >= 0.6
        box.failures = 5000  # as after months: the pause stays one that ends
        await asyncio.to_thread(wait_until, lambda: time.monotonic() > third + 1.2)
        await scrubber.revive()
        assert 0 < box._not_before_s - time.monotonic() < 60  # noqa: SLF001 - the same
        monkeypatch.setattr(supervisor, "_PROGRAM", works)
        box._not_before_s = 0  # noqa: SLF001 - as if it were over
        await scrubber.revive()
        assert scrubber.why_broken is None
        assert (await scrubber.scrub(photos.dirty_jpeg())).jpeg


def test_a_name_that_is_no_wall_is_refused() -> None:
    assert accept(["landlock", "user"]) == Layer.LANDLOCK | Layer.USER
    with pytest.raises(ConfigInvalid, match="landlok"):
        accept(["landlok"])


# -- HEIC -----------------------------------------------------------------------------------------


def heic_box(safe_libheif: str) -> tuple[str, str]:
    code = f"from relay.scrub import box, heic; heic.SAFE_LIBHEIF = {safe_libheif}; box.main()"
    return "-c", code


async def test_heic_is_opened_in_a_box_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    pillow_heif.from_pillow(photos.picture(1600, 1200)).save(file)
    async with Scrubber(max_jpeg_bytes=BUDGET) as scrubber:
        with pytest.raises(PhotoUnsupported):  # off by default
            await scrubber.scrub(file.getvalue())
    monkeypatch.setattr(supervisor, "_PROGRAM", heic_box("(1, 0)"))
    async with Scrubber(max_jpeg_bytes=BUDGET, heic=True) as scrubber:
        assert not scrubber.missing
        assert (await scrubber.scrub(file.getvalue())).width_px == 1600
        await scrubber._box.stop()  # noqa: SLF001 - the other one
        assert (await scrubber.scrub(file.getvalue())).width_px == 1600
        with pytest.raises(PhotoDamaged):
            await scrubber.scrub(file.getvalue()[:900])


async def test_a_libheif_known_to_be_vulnerable_is_not_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "_PROGRAM", heic_box("(99, 0)"))
    with pytest.raises(ConfigInvalid, match="vulnerable"):
        async with Scrubber(max_jpeg_bytes=BUDGET, heic=True):
            pass


# -- anywhere -------------------------------------------------------------------------------------


def test_where_memory_runs_out_the_kernel_is_told_to_take_the_box_first() -> None:
    """As nobody: root may write to any file in /proc, so it would prove nothing."""
    program = f"{inspect.getsource(confine)}\nforbid_dumps()\n"
    program += "print(os.getuid(), open('/proc/self/oom_score_adj').read())"
    command = ["/usr/bin/python3", "-c", program]
    if os.getuid() == 0:
        command = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [done.stdout.split()[0], "1000"], done.stderr
    assert done.stdout.split()[0] != "0"


UNPRIVILEGED = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]


def test_every_wall_stands_without_root() -> None:
    code = (
        "import asyncio, os; from relay.scrub.supervisor import Order, Scrubber\n"
        "async def main():\n"
        "    async with Scrubber(max_jpeg_bytes=524288) as scrubber:\n"
        "        print(os.getuid(), scrubber.missing)\n"
        "asyncio.run(main())"
    )
    command = [*UNPRIVILEGED, sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "1000 []\n", done.stderr
