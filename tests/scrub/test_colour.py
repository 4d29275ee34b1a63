import io
import random
import struct
import subprocess
from collections.abc import Callable

import pytest
from PIL import Image, ImageCms, ImageStat

from relay.scrub import colour
from relay.scrub.colour import Space, space_of
from relay.scrub.pixels import Wish, redraw
from relay.scrub.wire import Removed
from tests import photos

# Source: the profiles that Apple and Adobe publish: primaries brought to the white of D50.
P3_XYZ = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
ADOBE_XYZ = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
SRGB_CURVE = struct.pack("!4sIHH5i", b"para", 0, 3, 0, *(
    round(value * 65536) for value in (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
))  # fmt: skip
ADOBE_CURVE = struct.pack("!4sIIH", b"curv", 0, 1, 563)


def profile(name: str, xyz: tuple[tuple[float, ...], ...], curve: bytes) -> bytes:
    """A small ICC profile of version 4, written here: matrix and curves. Source: ICC.1:2010."""
    text = name.encode("utf-16-be")
    tags = {
        b"desc": struct.pack("!4sIII2s2sII", b"mluc", 0, 1, 12, b"en", b"US", len(text), 28) + text,
        b"wtpt": _xyz(0.9642, 1.0, 0.82491),
        **{key: _xyz(*one) for key, one in zip((b"rXYZ", b"gXYZ", b"bXYZ"), xyz, strict=True)},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    at, table, content = 128 + 4 + 12 * len(tags), struct.pack("!I", len(tags)), b""
    for key, value in tags.items():
        table += struct.pack("!4sII", key, at + len(content), len(value))
        content += value + bytes(-len(value) % 4)
    head = struct.pack(
        "!I4sI4s4s4s12s4s4sIIIIIiii",
        *(at + len(content), b"", 0x04000000, b"mntr", b"RGB ", b"XYZ ", bytes(12), b"acsp"),
        *(b"", 0, 0, 0, 0, 0, 63190, 65536, 54061),
    )
    return head.ljust(128, b"\0") + table + content


def _xyz(*values: float) -> bytes:
    return struct.pack("!4sI3i", b"XYZ ", 0, *(round(value * 65536) for value in values))


MOST = {Space.DISPLAY_P3: 3, Space.ADOBE_RGB: 6}  # of 255, in colours that are not near an edge
PROFILES = {
    Space.DISPLAY_P3: profile("Display P3", P3_XYZ, SRGB_CURVE),
    Space.ADOBE_RGB: profile("Adobe RGB (1998)", ADOBE_XYZ, ADOBE_CURVE),
}


def reference(picture: Image.Image, space: Space) -> Image.Image:
    """What LittleCMS makes of it."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(PROFILES[space]))
    shown = ImageCms.profileToProfile(
        picture,
        source,
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
    assert shown is not None
    return shown


def off_by(one: bytes, other: bytes) -> list[int]:
    return sorted(abs(a - b) for a, b in zip(one, other, strict=True))


def colours() -> Image.Image:
    return Image.frombytes("RGB", (200, 200), random.Random(3).randbytes(200 * 200 * 3))


@pytest.mark.parametrize("space", Space)
def test_the_table_agrees_with_littlecms(space: Space) -> None:
    wanted = reference(colours(), space).tobytes()
    assert off_by(colours().tobytes(), wanted)[-1] > 60, "the space makes a difference"
    ours = colour.to_srgb(colours(), space).tobytes()
    errors = off_by(ours, wanted)
    assert errors[len(errors) * 99 // 100] <= 3
    assert sum(errors) / len(errors) < 0.15
    shown = [at for at in range(0, len(wanted), 3) if min(wanted[at : at + 3]) > 60]
    assert len(shown) > 10_000
    assert max(off_by(ours[at : at + 3], wanted[at : at + 3])[-1] for at in shown) <= MOST[space]


@pytest.mark.parametrize("space", Space)
def test_white_black_and_greys_stay(space: Space) -> None:
    greys = Image.frombytes("RGB", (256, 1), bytes(at for at in range(256) for _ in range(3)))
    assert (
        off_by(colour.to_srgb(greys, space).tobytes(), reference(greys, space).tobytes())[-1] <= 2
    )
    assert colour.to_srgb(Image.new("RGB", (2, 2), (255, 255, 255)), space).getextrema() == (
        ((255, 255),) * 3
    )


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("space", Space)
def test_photos_in_every_kind_of_file_look_right(kind: str, space: Space) -> None:
    orange = Image.new("RGB", (320, 240), (200, 120, 60))
    options = {"quality": 95} | ({"speed": 10, "max_threads": 1} if kind == "AVIF" else {})
    photo = photos.encode(orange, kind, icc_profile=PROFILES[space], **options)
    redrawn = redraw(photo, Wish(max_bytes=1 << 20, quality=95))
    shown = Image.open(io.BytesIO(redrawn.jpeg)).getpixel((100, 100))
    wanted = reference(orange, space).getpixel((0, 0))
    assert max(abs(a - b) for a, b in zip(shown, wanted, strict=True)) <= 4
    assert redrawn.removed == Removed.COLOUR_PROFILE


def test_codes_without_a_profile_name_p3() -> None:
    wide = photos.png(before=photos.chunk(b"cICP", b"\x0c\x0d\x00\x01"))
    plain = photos.png(before=photos.chunk(b"cICP", b"\x01\x0d\x00\x01"))
    assert space_of(b"", primaries=12) is Space.DISPLAY_P3
    assert space_of(b"", primaries=1) is None
    assert space_of(b"sRGB", primaries=12) is None, "a profile goes first"
    assert redraw(wide, Wish(max_bytes=1 << 20, quality=85)) != redraw(
        plain, Wish(max_bytes=1 << 20, quality=85)
    )


@pytest.mark.parametrize(
    "untrusted", [b"", b"Display P2", bytes(1 << 20) + b"Display P3", b"\xff" * 99]
)
def test_no_other_profile_changes_a_colour(untrusted: bytes) -> None:
    assert space_of(untrusted) is None


def djpeg(photo: bytes) -> Image.Image:
    done = subprocess.run(["djpeg"], input=photo, capture_output=True, check=True)
    return Image.open(io.BytesIO(done.stdout))


def plain_cmyk(photo: bytes) -> bytes:
    """The same without Adobe's segment."""
    at = photo.index(b"\xff\xee")
    return photo[:at] + photo[at + 2 + int.from_bytes(photo[at + 2 : at + 4], "big") :]


@pytest.mark.parametrize("change", [bytes, plain_cmyk])
def test_cmyk_looks_as_browsers_and_libjpeg_show_it(change: Callable[[bytes], bytes]) -> None:
    inks = Image.merge("CMYK", [*photos.picture().split(), Image.new("L", (640, 480), 40)])
    photo = change(photos.encode(inks, quality=95))
    redrawn = redraw(photo, Wish(max_bytes=1 << 20, quality=95))
    errors = off_by(Image.open(io.BytesIO(redrawn.jpeg)).tobytes(), djpeg(photo).tobytes())
    assert sum(errors) / len(errors) < 2


def grey_rows(values: list[int]) -> bytes:
    return (b"\0" + b"".join(struct.pack("!H", value) for value in values)) * 240


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_is_brought_to_8_by_its_upper_half(channels: int) -> None:
    """Greys from black to white, in grey, grey with alpha, RGB and RGBA."""
    ramp = [at * 65535 // 319 for at in range(320)]
    alpha = {2, 4} & {channels}
    pixel = [[value] * (channels - len(alpha)) + [65535] * len(alpha) for value in ramp]
    rows = grey_rows([part for parts in pixel for part in parts])
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    redrawn = redraw(
        photos.png((320, 240, 16, colour_type), rows=rows), Wish(max_bytes=1 << 20, quality=95)
    )
    shown = Image.open(io.BytesIO(redrawn.jpeg))
    for at in range(0, 320, 13):
        assert max(abs(part - ramp[at] / 257) for part in shown.getpixel((at, 100))) <= 3
    assert redrawn.removed == Removed.NOTHING


def test_half_transparent_is_half_white() -> None:
    glass = Image.new("RGBA", (320, 240), (200, 0, 0, 128))
    redrawn = redraw(photos.encode(glass, "PNG"), Wish(max_bytes=1 << 20, quality=95))
    shown = ImageStat.Stat(Image.open(io.BytesIO(redrawn.jpeg))).mean
    assert shown == pytest.approx([227, 127, 127], abs=3)
