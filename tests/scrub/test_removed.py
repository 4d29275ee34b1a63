import csv
import random

import pytest
from PIL import Image

from relay.scrub import blocks
from relay.scrub.containers import find_parts
from relay.scrub.formats import Kind, kind_of
from relay.scrub.pixels import Wish, redraw
from relay.scrub.removed import find_removed
from relay.scrub.wire import Code, Removed
from tests import photos
from tests.conftest import SHARED, tenth

INDEX = SHARED / "samples" / "index.csv"


def report(untrusted: bytes) -> Removed:
    return redraw(untrusted, Wish(max_bytes=1 << 20, quality=85)).removed


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("tag", "word"),
    [
        (0x0132, Removed.TIME),
        (0x9003, Removed.TIME),
        (0x010F, Removed.DEVICE),
        (0x927C, Removed.DEVICE),
        (0xA431, Removed.SERIAL_NUMBER),
        (0xA420, Removed.SERIAL_NUMBER),
        (0x010E, Removed.COMMENT),
        (0x000B, Removed.EDIT_HISTORY),
        (0x9011, Removed.TIME),
        (0x014A, Removed.THUMBNAIL),
        (0xFEED, Removed.COMMENT),
        (0x0112, Removed.NOTHING),
    ],
)
def test_exif_is_understood_in_both_byte_orders(order: str, tag: int, word: Removed) -> None:
    block = photos.tiff({tag: b"value"}, order)
    assert blocks.in_exif(block) == blocks.in_exif(b"Exif\0\0" + block) == word


def test_a_position_is_one_only_where_there_is_more_than_a_version() -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8825)[0] = b"\2\3\0\0"
    assert blocks.in_exif(exif.tobytes()) == Removed.NOTHING
    exif.get_ifd(0x8825)[29] = "2026:03:19"
    assert blocks.in_exif(exif.tobytes()) == Removed.POSITION | Removed.TIME


@pytest.mark.parametrize(
    ("xmp", "word"),
    [
        (b'exif:GPSLatitude="1"', Removed.POSITION),
        ('exif:GPSLatitude="1"'.encode("utf-16-le"), Removed.POSITION),
        (b'photoshop:Country="1"', Removed.POSITION),
        (b"<Iptc4xmpExt:LocationShown>", Removed.POSITION),
        (b'xmp:CreateDate="1"', Removed.TIME),
        (b'tiff:Model="1"', Removed.DEVICE),
        (b'aux:SerialNumber="1"', Removed.SERIAL_NUMBER),
        (b"<xmp:Thumbnails>", Removed.THUMBNAIL),
        (b"<xmpMM:History>", Removed.EDIT_HISTORY),
        (b'dcterms:provenance="https://"', Removed.CONTENT_CREDENTIALS),
        (b'hdrgm:Version="1.0"', Removed.SECOND_PICTURE),
        (b'GCamera:MotionPhoto="1"', Removed.VIDEO),
        (b"<dc:description>", Removed.COMMENT),
        (b"something else", Removed.COMMENT),
    ],
)
def test_xmp_is_understood_wherever_it_is(xmp: bytes, word: Removed) -> None:
    assert report(photos.inserted(photos.xmp(xmp))) == word
    extended = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 40 + xmp
    assert report(photos.inserted(photos.segment(0xE1, extended))) == word
    resources = photos.photoshop(photos.resource(0x0424, xmp))
    assert report(photos.inserted(resources)) == word | Removed.EDIT_HISTORY
    chunk = photos.chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    assert report(photos.png(before=chunk)) == word
    assert report(photos.webp(photos.riff(b"XMP ", xmp), flags=4)) == word
    assert report(photos.avif(xmp=xmp)) == word


@pytest.mark.parametrize(
    ("field", "word"),
    [(90, Removed.POSITION), (55, Removed.TIME), (65, Removed.DEVICE), (80, Removed.COMMENT)],
)
def test_iptc_is_understood(field: int, word: Removed) -> None:
    odd = photos.resource(0x03ED, b"odd")
    block = photos.photoshop(odd, photos.resource(0x0404, photos.iptc(field, b"value")))
    assert report(photos.inserted(block)) == word | Removed.EDIT_HISTORY


def test_photoshop_blocks_are_understood() -> None:
    for code, word in {
        0x0409: Removed.THUMBNAIL,
        0x040C: Removed.THUMBNAIL,
        0x040F: Removed.COLOUR_PROFILE,
        0x0422: Removed.SERIAL_NUMBER,
    }.items():
        content = photos.tiff({0xA431: b"value"})
        block = photos.photoshop(photos.resource(0x0421, b"x"), photos.resource(code, content))
        assert report(photos.inserted(block)) == word | Removed.EDIT_HISTORY


def test_a_trailing_video_and_a_trailing_picture_are_told_apart() -> None:
    assert report(photos.PLAIN + photos.SECOND) == Removed.SECOND_PICTURE
    assert report(photos.PLAIN + photos.box(b"ftyp", b"mp42")) == Removed.VIDEO
    assert report(photos.PLAIN + b"notes of the camera") == Removed.COMMENT
    both = photos.SECOND + photos.box(b"ftyp", b"isom")
    assert report(photos.png() + both) == Removed.VIDEO | Removed.SECOND_PICTURE


def test_a_clean_photo_of_each_kind_has_an_empty_report() -> None:
    for kind in ("JPEG", "PNG", "WEBP", "AVIF"):
        assert report(photos.encode(photos.picture(), kind)) == Removed.NOTHING
    opaque = photos.picture().convert("RGBA")
    for kind in ("PNG", "WEBP"):
        assert report(photos.encode(opaque, kind)) == Removed.NOTHING, "nothing is transparent"


def test_a_thumbnail_in_exif_is_found_in_each_kind() -> None:
    exif = photos.dirty_exif(photos.SECOND)
    for kind in ("JPEG", "PNG", "WEBP", "AVIF"):
        found = report(photos.encode(photos.picture(), kind, exif=exif))
        assert Removed.THUMBNAIL | Removed.POSITION | Removed.SERIAL_NUMBER in found


def test_the_report_never_raises_and_never_leaves_its_vocabulary() -> None:
    rng = random.Random(20260320)
    sources = [make().photo for make in photos.CHANNELS.values()]
    every = Removed(2 * max(Removed) - 1)
    kinds = set()
    for _ in range(tenth(20_000)):
        mutated = bytearray(rng.choice(sources))
        for _ in range(rng.randint(1, 6)):
            place = rng.randrange(8, min(len(mutated), 600))
            if rng.random() < 0.5:
                mutated[place] = rng.randrange(256)
            else:
                del mutated[place : place + rng.randint(1, 30)]
        untrusted = bytes(mutated)
        kind = kind_of(untrusted)
        if kind is not None:
            found = find_removed(
                untrusted, kind, Image.new("L", (1, 1)), find_parts(untrusted, kind)
            )
            assert found in every
            kinds.add(kind)
    assert kinds == set(Kind) - {Kind.HEIC}


@pytest.mark.skipif(not INDEX.is_file(), reason="needs ../shared")
def test_the_report_finds_in_real_photos_what_exiftool_finds() -> None:
    columns = {
        "gps": Removed.POSITION,
        "make": Removed.DEVICE,
        "serial": Removed.SERIAL_NUMBER,
        "thumb": Removed.THUMBNAIL,
        "icc": Removed.COLOUR_PROFILE,
        "mpf": Removed.SECOND_PICTURE,
        "c2pa": Removed.CONTENT_CREDENTIALS,
    }
    missed, compared = [], 0
    with INDEX.open(newline="") as file:
        for row in csv.DictReader(file):
            redrawn = redraw(
                (INDEX.parent / row["file"]).read_bytes(), Wish(max_bytes=1 << 19, quality=85)
            )
            if redrawn.code != Code.CLEAN:
                continue
            wanted = [word for name, word in columns.items() if row[name] not in {"", "0"}]
            compared += len(wanted)
            missed += [(row["file"], word) for word in wanted if word not in redrawn.removed]
    assert compared > 45
    assert missed == []
