import random

import pytest

from relay.errors import ScrubFailed
from relay.scrub import jpeg
from relay.scrub.canonical import SIZES, SIZES_OF
from relay.scrub.wire import View
from tests import photos

CLEAN = photos.encode(photos.picture(), quality=85, subsampling="4:2:0")


@pytest.mark.parametrize("quality", [30, 49, 50, 85, 100])
def test_what_our_encoder_writes_passes(quality: int) -> None:
    clean = photos.encode(photos.picture(320, 213), quality=quality, subsampling="4:2:0")
    assert jpeg.check(clean) == jpeg.check(clean, quality) == (320, 213, quality)
    with pytest.raises(ScrubFailed):
        jpeg.check(clean, quality - 1)


SMALL_SIZES = SIZES_OF[View.THUMBNAIL]


def test_a_size_is_one_of_those_that_are_wanted() -> None:
    small = photos.encode(photos.picture(240, 180), quality=60, subsampling="4:2:0")
    assert jpeg.check(small, sizes=SMALL_SIZES) == (240, 180, 60)
    for one, sizes in ((small, SIZES), (CLEAN, SMALL_SIZES)):
        with pytest.raises(ScrubFailed):
            jpeg.check(one, sizes=sizes)


def insert(segment: bytes) -> bytes:
    return CLEAN[:20] + segment + CLEAN[20:]


@pytest.mark.parametrize(
    "dirty",
    [
        b"",
        CLEAN[:500],
        CLEAN[:-2],
        CLEAN + b"x",
        CLEAN + CLEAN,
        insert(photos.segment(0xFE, b"comment")),
        insert(photos.segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0")),
        insert(photos.segment(0xE9, b"x")),
        insert(b"\xff"),
        CLEAN[:13] + b"\x01\x00\x48\x00\x48" + CLEAN[18:],
        CLEAN[:-2] + b"\xff\xfe\x00\x03x\xff\xd9",
        CLEAN[:-2] + b"\xff\xd0\xff\xd9",
        CLEAN[:-2] + b"\xff\xff\xd9",
        CLEAN[:-2] + b"\xff\xff\x00\xff\xd9",
        photos.encode(photos.picture(), quality=85, subsampling="4:4:4"),
        photos.encode(photos.picture(), quality=85, subsampling="4:2:0", progressive=True),
        photos.encode(photos.picture(), quality=85, subsampling="4:2:0", optimize=True),
        photos.encode(photos.picture(1601, 10), quality=85, subsampling="4:2:0"),
        photos.encode(photos.picture(640, 481), quality=85, subsampling="4:2:0"),
        photos.encode(photos.picture().convert("L"), quality=85),
        photos.encode(photos.picture(), "PNG"),
    ],
)
def test_anything_else_is_refused(dirty: bytes) -> None:
    with pytest.raises(ScrubFailed):
        jpeg.check(dirty)


def test_no_changed_byte_of_the_head_passes() -> None:
    head = len(jpeg.expected_head(640, 480, 85))
    rng = random.Random(7)
    size_at = {*range(163, 167)}  # height and width: free by design
    for place in range(head):
        if place in size_at:
            continue
        changed = bytearray(CLEAN)
        changed[place] ^= rng.randrange(1, 256)
        with pytest.raises(ScrubFailed):
            jpeg.check(bytes(changed))
