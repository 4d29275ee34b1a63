import asyncio
import contextlib
import io
import os
import random
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from PIL import Image

from relay.errors import (
    Busy,
    PhotoDamaged,
    PhotoUnsupported,
    RelayError,
    ScrubFailed,
)
from relay.scrub import supervisor
from relay.scrub.canonical import SIZES
from relay.scrub.supervisor import Order, ScrubbedPhoto, Scrubber
from relay.scrub.wire import ALL_LAYERS
from tests import photos
from tests.conftest import SHARED, tenth, wait_until
from tests.judge import judge

BUDGET = 512 * 1024
SAMPLES = sorted((SHARED / "samples").glob("[0-9]*"))


@pytest_asyncio.fixture
async def scrubber() -> AsyncIterator[Scrubber]:
    async with Scrubber(max_jpeg_bytes=BUDGET) as running:
        yield running


async def test_the_report_names_what_was_found_and_no_value(scrubber: Scrubber) -> None:
    scrubbed = await scrubber.scrub(photos.dirty_jpeg())
    assert scrubbed.removed.words() == [
        "position",
        "time",
        "device",
        "serial number",
        "thumbnail",
        "edit history",
        "video",
        "comment",
        "colour profile",
    ]
    clean = await scrubber.scrub(scrubbed.jpeg)
    assert clean.removed.words() == []


@pytest.mark.parametrize("orientation", range(1, 9))
async def test_the_picture_comes_out_upright(scrubber: Scrubber, orientation: int) -> None:
    upright = Image.new("RGB", (400, 200), (255, 255, 255))
    upright.paste((200, 0, 0), (0, 0, 100, 100))  # red in the upper left corner
    undo = {1: [], 2: [0], 3: [3], 4: [1], 5: [5], 6: [2], 7: [6], 8: [4]}[orientation]
    stored = upright
    for step in undo:
        stored = stored.transpose(Image.Transpose(step))
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = photos.encode(stored, quality=95, exif=exif)
    scrubbed = await scrubber.scrub(photo)
    assert (scrubbed.width_px, scrubbed.height_px) == (320, 144)
    shown = Image.open(io.BytesIO(scrubbed.jpeg))
    red, green, _ = shown.getpixel((40, 40))
    assert red > 150
    assert green < 60
    assert min(shown.getpixel((290, 40))) > 200
    assert min(shown.getpixel((40, 130))) > 200


async def test_the_long_side_is_at_most_1600_px(scrubber: Scrubber) -> None:
    for size, expected in {
        (4000, 3000): (1600, 1200),
        (3000, 4000): (1200, 1600),
        (1601, 1600): (1600, 1600),
        (1600, 900): (1600, 900),
        (9000, 3): (1600, 720),
    }.items():
        scrubbed = await scrubber.scrub(photos.encode(photos.picture(*size)))
        assert (scrubbed.width_px, scrubbed.height_px) == expected


async def test_whatever_its_size_was_it_leaves_in_one_of_45(scrubber: Scrubber) -> None:
    assert len(SIZES) == 45
    rng = random.Random(6)
    came = [(int(1.3 ** rng.uniform(0, 32)), int(1.3 ** rng.uniform(0, 32))) for _ in range(30)]
    left = set()
    for size in came:
        scrubbed = await scrubber.scrub(photos.encode(photos.picture(*size)))
        left.add(Image.open(io.BytesIO(scrubbed.jpeg)).size)
    assert left <= SIZES
    assert len(left) > 10


async def test_a_large_photo_of_a_phone_is_taken(scrubber: Scrubber) -> None:
    large = photos.encode(photos.picture(8000, 6000), quality=80)
    assert (await scrubber.scrub(large)).width_px == 1600
    assert (await scrubber.scrub(photos.encode(photos.picture(7000, 7000), "PNG"))).quality


async def test_a_long_trailing_video_does_not_matter(scrubber: Scrubber) -> None:
    trailer = b"\0\0\0\x18ftypmp42" + b"\xff\xda" * 5000 + random.Random(1).randbytes(16 << 20)
    scrubbed = await scrubber.scrub(photos.encode(photos.picture()) + trailer)
    assert "video" in scrubbed.removed.words()


async def test_whoever_has_gone_takes_nobodys_turn(
    scrubber: Scrubber, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Busy):
        await scrubber.scrub(photos.dirty_jpeg(), is_wanted=lambda: False)
    monkeypatch.setattr(supervisor, "_TURN_S", 0.05)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(os.cpu_count() or 1):
            await stack.enter_async_context(scrubber._turn())  # noqa: SLF001 - takes every turn
        with pytest.raises(Busy):
            await scrubber.scrub(photos.dirty_jpeg())
    assert (await scrubber.scrub(photos.dirty_jpeg())).jpeg, "given back"


async def test_many_at_once_outlive_a_box_that_is_killed(scrubber: Scrubber) -> None:
    os.kill(box_pid(scrubber), signal.SIGKILL)
    jobs = [scrubber.scrub(photos.dirty_jpeg()) for _ in range(12)]
    done = await asyncio.gather(*jobs, return_exceptions=True)
    assert all(isinstance(one, ScrubbedPhoto | ScrubFailed) for one in done)
    assert sum(isinstance(one, ScrubbedPhoto) for one in done) >= 10


async def test_a_busy_picture_is_lowered_until_it_fits(scrubber: Scrubber) -> None:
    scrubbed = await scrubber.scrub(photos.encode(photos.noise(2000, 2000), quality=95))
    assert len(scrubbed.jpeg) <= BUDGET
    assert scrubbed.quality < 85


async def test_what_is_not_a_photo_is_refused(scrubber: Scrubber) -> None:
    for untrusted in (b"", b"hello, I am a text file\n" * 99, b"GIF89a" + bytes(99), b"%PDF-1.7"):
        with pytest.raises(PhotoUnsupported):
            await scrubber.scrub(untrusted)


async def test_a_photo_cut_short_is_called_damaged(scrubber: Scrubber) -> None:
    whole = photos.encode(photos.picture(2000, 1500), quality=90)
    for part in (0.2, 0.5, 0.99):
        with pytest.raises(PhotoDamaged):
            await scrubber.scrub(whole[: int(len(whole) * part)])


async def test_the_photo_is_opened_in_another_process_that_ends(scrubber: Scrubber) -> None:
    box = inner_pid(scrubber)
    seen = set()
    for _ in range(2):
        job = asyncio.create_task(scrubber.scrub(photos.encode(photos.noise(3000, 3000))))
        while not job.done():
            seen |= set(children(box))
            await asyncio.sleep(0)
        await job
        wait_until(lambda: not children(box))
    assert len(seen) == 2, "each photo had a process of its own"


def box_pid(scrubber: Scrubber) -> int:
    process = scrubber._box.process  # noqa: SLF001 - the process is what is tested
    assert process is not None
    return process.pid


def inner_pid(scrubber: Scrubber) -> int:
    """Process 1 of the box's own world: the one that forks for each photo."""
    return int(children(box_pid(scrubber))[0])


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


async def test_a_box_that_was_killed_is_started_again(scrubber: Scrubber) -> None:
    os.kill(box_pid(scrubber), signal.SIGKILL)
    for _ in range(2):
        try:
            await scrubber.scrub(photos.dirty_jpeg())
        except ScrubFailed:
            continue  # the one photo that was on its way
        break
    assert (await scrubber.scrub(photos.dirty_jpeg())).jpeg


async def test_the_box_ends_with_its_owner() -> None:
    async with Scrubber(max_jpeg_bytes=BUDGET) as running:
        pid = box_pid(running)
    assert not Path(f"/proc/{pid}").exists()


async def test_the_box_can_not_dump_core_or_gain_rights(scrubber: Scrubber) -> None:
    for pid in (box_pid(scrubber), inner_pid(scrubber)):
        status = Path(f"/proc/{pid}/status").read_text()
        assert "NoNewPrivs:\t1" in status
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert re.search(r"Max core file size +0 +0 ", limits)
    inner = Path(f"/proc/{inner_pid(scrubber)}")
    assert set(re.findall(r"Cap\w+:\t(\w+)", (inner / "status").read_text())) == {"0" * 16}
    assert scrubber.layers == ALL_LAYERS


MUTABLE = [sample for sample in SAMPLES if sample.stat().st_size < 1_500_000]


LOOKED_AT = 0.1


def mutate(rng: random.Random, photo: bytes) -> bytes:
    mutated = bytearray(photo)
    for _ in range(rng.randint(1, 12)):
        place = rng.randrange(len(mutated))
        match rng.randrange(4):
            case 0:
                mutated[place] = rng.randrange(256)
            case 1:
                del mutated[place : place + rng.randint(1, 40)]
            case 2:
                mutated[place:place] = rng.randbytes(rng.randint(1, 9))
            case _:  # a length or a count at its limits
                mutated[place : place + 2] = rng.choice((b"\0\0", b"\xff\xff", b"\x7f\xff"))
        mutated = mutated or bytearray(1)
    return bytes(mutated)


async def test_ten_thousand_mutated_photos_never_break_the_box_or_leave_dirt(
    scrubber: Scrubber, tmp_path: Path
) -> None:
    """A seeded fuzzer over every channel and every real sample; what is accepted is clean."""
    rng = random.Random(20260319)
    sources = [make().photo for make in photos.CHANNELS.values()]
    sources += [sample.read_bytes() for sample in MUTABLE]
    pid, accepted = box_pid(scrubber), 0

    async def try_some(count: int) -> None:
        nonlocal accepted
        for _ in range(count):
            try:
                # What a decoder made of it is what counts: looking for faces costs ten times that.
                order = Order(is_looked_at=rng.random() < LOOKED_AT)
                scrubbed = await scrubber.scrub(mutate(rng, rng.choice(sources)), order)
            except ScrubFailed:
                raise
            except RelayError:
                continue
            accepted += 1
            assert b"CANARY" not in scrubbed.jpeg
            (tmp_path / "last.jpg").write_bytes(scrubbed.jpeg)

    await asyncio.gather(*(try_some(tenth(10_000) // 2) for _ in range(2)))
    assert accepted > tenth(10_000) // 10
    judge(tmp_path / "last.jpg")
    assert box_pid(scrubber) == pid, "the box died on the way"
