import io
import math
import random
import re
import resource
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageChops, WebPImagePlugin

from relay.errors import HeicUnsafe
from relay.scrub import canonical, heic, jpeg, pixels
from relay.scrub.formats import Kind, kind_of
from relay.scrub.pixels import Wish, redraw
from relay.scrub.wire import Code
from tests import photos
from tests.conftest import SHARED

BUDGET = 512 * 1024
ADDRESS_SPACE = 1 << 30


def run(untrusted: bytes, quality: int = 85) -> pixels.Redrawn:
    return redraw(untrusted, Wish(max_bytes=BUDGET, quality=quality))


def shown(redrawn: pixels.Redrawn) -> Image.Image:
    return Image.open(io.BytesIO(redrawn.jpeg))


# -- what a file is -------------------------------------------------------------------------------


def brands(*names: bytes) -> bytes:
    return photos.box(b"ftyp", names[0] + bytes(4) + b"".join(names[1:])) + bytes(40)


@pytest.mark.parametrize(
    ("untrusted", "kind"),
    [
        (photos.PLAIN, Kind.JPEG),
        (photos.png(), Kind.PNG),
        (photos.encode(photos.picture(), "WEBP"), Kind.WEBP),
        (photos.avif(), Kind.AVIF),
        (brands(b"avis", b"avif"), Kind.AVIF),
        (brands(b"mif1", b"miaf", b"avif"), Kind.AVIF),
        (brands(b"mif1", b"miaf", b"heic"), Kind.HEIC),
        (brands(b"heic", b"mif1"), Kind.HEIC),
        (brands(b"heix"), Kind.HEIC),
        (brands(b"mif1"), None),
        (brands(b"mp42", b"isom"), None),
        (b"\0\0\0\x10ftypmif1" + bytes(4) + b"avif", None),  # behind the end of its box
        (b"RIFF" + bytes(4) + b"WAVE", None),
        (b"GIF89a" + bytes(40), None),
        (b"II*\0" + bytes(40), None),
        (b"", None),
        (b"\xff\xd8", None),
        (b"\0\0\0\0ftyp", None),
    ],
)
def test_the_first_bytes_alone_say_what_a_file_is(untrusted: bytes, kind: Kind | None) -> None:
    assert kind_of(untrusted) is kind
    assert kind_of(untrusted[:8]) in {kind, None}


def test_what_is_no_photo_and_heic_are_unsupported() -> None:
    for untrusted in (b"", b"GIF89a" + bytes(99), brands(b"heic"), b"%PDF-1.7"):
        assert run(untrusted) == pixels.Redrawn(code=Code.UNSUPPORTED)


def test_a_damaged_file_of_each_kind_is_called_damaged() -> None:
    for kind in ("JPEG", "PNG", "WEBP", "AVIF"):
        whole = photos.encode(photos.picture(), kind)
        for part in (20, len(whole) // 2, len(whole) * 9 // 10):
            assert run(whole[:part]).code == Code.DAMAGED, kind


# -- what comes out -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_each_kind_comes_out_as_what_it_shows(kind: str) -> None:
    picture = photos.picture()
    redrawn = run(photos.encode(picture, kind), quality=95)
    assert shown(redrawn).size == picture.size
    off = zip(shown(redrawn).tobytes(), picture.tobytes(), strict=True)
    assert sum(abs(a - b) for a, b in off) / len(picture.tobytes()) < 3
    assert redrawn.removed.words() == []


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_each_mode_comes_out_in_its_colour(mode: str) -> None:
    grey = Image.new("RGB", (320, 240), (255, 255, 255) if mode == "1" else (90, 90, 90))
    kind = {"CMYK": "JPEG", "YCbCr": "JPEG"}.get(mode, "PNG")
    image = grey.quantize(4) if mode == "P" else grey.convert(mode)
    redrawn = run(photos.encode(image, kind), quality=95)
    assert shown(redrawn).mode == "RGB"
    expected = 255 if mode == "1" else 90
    assert all(abs(low - expected) < 4 for low, _ in shown(redrawn).getextrema())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_kind_comes_out_upright(kind: str, orientation: int) -> None:
    upright = Image.new("RGB", (320, 240), (255, 255, 255))
    upright.paste((200, 0, 0), (0, 0, 160, 80))
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert_upright(shown(run(photos.encode(turned(upright, orientation), kind, exif=exif))))


def turned(upright: Image.Image, orientation: int) -> Image.Image:
    """As a camera stores it that was held so."""
    steps = {1: [], 2: [0], 3: [3], 4: [1], 5: [5], 6: [2], 7: [6], 8: [4]}[orientation]
    for step in steps:
        upright = upright.transpose(Image.Transpose(step))
    return upright


def assert_upright(image: Image.Image) -> None:
    assert image.size == (320, 240)
    assert image.getpixel((80, 40))[1] < 60
    assert min(image.getpixel((240, 40))) > 200
    assert min(image.getpixel((80, 180))) > 200


def test_an_animation_gives_its_first_picture() -> None:
    first, second = Image.new("RGB", (320, 240), (0, 0, 220)), Image.new("RGB", (320, 240))
    for kind in ("PNG", "WEBP", "AVIF"):
        both = photos.encode(first, kind, save_all=True, append_images=[second])
        assert shown(run(both)).getpixel((100, 100))[2] > 180, kind


def test_a_panorama_is_shown_whole_on_white() -> None:
    wide = Image.new("RGB", (4000, 600), (0, 90, 0))
    image = shown(run(photos.encode(wide)))
    assert image.size == (1600, 720)
    assert min(image.getpixel((800, 100))) > 250
    assert [image.getpixel((at, 360))[1] for at in (2, 1597)] == pytest.approx([90, 90], abs=6)


def test_a_picture_of_one_pixel_and_a_thin_line_are_pictures() -> None:
    for size in ((1, 1), (9000, 3), (3, 9000)):
        redrawn = run(photos.encode(Image.new("RGB", size)))
        assert (redrawn.width_px, redrawn.height_px) in canonical.SIZES


@pytest.mark.parametrize("size", sorted(canonical.SIZES))
def test_a_clean_picture_keeps_its_size_when_it_is_scrubbed_again(size: tuple[int, int]) -> None:
    once = run(photos.encode(photos.picture(*size)))
    again = run(once.jpeg)
    assert (once.width_px, once.height_px) == (again.width_px, again.height_px) == size
    assert again.removed.words() == []


def test_the_ladder_goes_down_in_quality_and_then_in_canonical_sizes() -> None:
    noise = photos.encode(photos.noise(1600, 1067), quality=95)
    seen = set()
    for max_bytes in (1_200_000, 500_000, 250_000, 120_000, 50_000, 10_000):
        redrawn = redraw(noise, Wish(max_bytes=max_bytes, quality=85))
        assert len(redrawn.jpeg) <= max_bytes
        size = jpeg.check(redrawn.jpeg)[:2]
        seen.add(size)
        assert size[0] / size[1] == pytest.approx(1.5, rel=0.01)
    assert len(seen) >= 3
    assert redraw(noise, Wish(max_bytes=900, quality=85)).code == Code.TOO_COMPLEX


def test_no_info_of_a_photo_reaches_the_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    dirty = [photos.dirty_jpeg(), photos.dirty_png(), photos.dirty_webp()]
    infos = []
    save = Image.Image.save

    def spy(image: Image.Image, *args: object, **options: object) -> None:
        infos.append(image.info)
        save(image, *args, **options)

    monkeypatch.setattr(Image.Image, "save", spy)
    assert all(run(photo).code == Code.CLEAN for photo in dirty)
    assert infos == [{}] * 3


def test_damaged_exif_costs_nobody_her_photo() -> None:
    rng = random.Random(11)
    whole = photos.dirty_exif(photos.SECOND)
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(8):
            damaged[rng.randrange(6, 300)] = rng.randrange(256)
        photo = photos.inserted(photos.segment(0xE1, bytes(damaged)))
        assert run(photo).code == Code.CLEAN


def test_damaged_exif_that_keeps_a_decoder_from_opening_the_file_is_hidden_from_it() -> None:
    whole = photos.avif(exif=photos.tiff({0x010F: b"SOMEMAKE"}))
    damaged = whole.replace(b"II*\0", b"XXXX")
    with pytest.raises(ValueError, match="Exif"):
        Image.open(io.BytesIO(damaged))
    redrawn = run(damaged)
    assert redrawn.code == Code.CLEAN
    assert redrawn.removed.words() == ["comment"]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("kind", "shape"), [(1, "B3x"), (3, "H2x"), (4, "I")])
def test_an_orientation_is_read_in_whatever_width_it_stands(
    order: str, kind: int, shape: str
) -> None:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(order + "HHI", 0x0112, kind, 1) + struct.pack(order + shape, 6)
    block = mark + struct.pack(order + "IH", 8, 1) + entry + bytes(4)
    photo = photos.inserted(photos.segment(0xE1, b"Exif\0\0" + block))
    assert (run(photo).width_px, run(photo).height_px) == (480, 640)


def test_what_was_cut_away_of_an_avif_does_not_come_back() -> None:
    """Its decoder shows the whole; she is asked for a screenshot, which shows what she means."""
    photo = photos.cropped_avif()
    whole = Image.open(io.BytesIO(photo)).convert("RGB")
    assert whole.getpixel((300, 100))[1] < 60, "there it is"
    assert run(photo).code == Code.TOO_COMPLEX


COSINES = [
    [math.sqrt((2 if u else 1) / 8) * math.cos((2 * x + 1) * u * math.pi / 16) for x in range(8)]
    for u in range(8)
]


def coefficients(photo: bytes, places: list[tuple[int, int]]) -> list[int]:
    """What a JPEG's encoder kept of some blocks' brightness, all but each mean; from pixels."""
    picture = Image.open(io.BytesIO(photo))
    divisors = picture.quantization[0]
    grey = picture.convert("YCbCr").getchannel("Y")
    found = []
    for left, top in places:
        block = list(grey.crop((8 * left, 8 * top, 8 * left + 8, 8 * top + 8)).tobytes())
        for v, u in [(v, u) for v in range(8) for u in range(8) if u or v]:
            sum_ = sum(
                COSINES[v][y] * COSINES[u][x] * (block[8 * y + x] - 128)
                for y in range(8)
                for x in range(8)
            )
            found.append(round(sum_ / divisors[8 * v + u]))
    return found


def test_what_hides_in_the_coding_of_a_picture_of_our_own_size_and_quality_is_lost() -> None:
    """Redrawn in place, nearly every coefficient would stay: marks in them, and who coded it."""
    picture = photos.picture(640, 480, seed=3)
    picture = ImageChops.add(picture, photos.noise(640, 480).reduce(1), 4)
    photo = photos.encode(picture, quality=85, subsampling="4:2:0")
    rng = random.Random(2)
    places = [(rng.randrange(80), rng.randrange(60)) for _ in range(60)]

    def kept(redrawn: pixels.Redrawn) -> float:
        pairs = zip(coefficients(photo, places), coefficients(redrawn.jpeg, places), strict=True)
        marks = [(one & 1) == (other & 1) for one, other in pairs if abs(one) > 1]
        assert len(marks) > 200
        return sum(marks) / len(marks)

    in_place = redraw(photo, Wish(max_bytes=BUDGET, quality=85, is_ours=True))
    assert kept(in_place) > 0.9, "else this would prove nothing"
    assert kept(run(photo)) < 0.62


# -- what costs too much --------------------------------------------------------------------------


@pytest.mark.parametrize("name", photos.BOMBS)
def test_a_bomb_is_refused_within_a_second(name: str) -> None:
    bomb = photos.BOMBS[name]()
    before = resource.getrusage(resource.RUSAGE_SELF)
    code = run(bomb).code
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert code == (Code.CLEAN if name in photos.HARMLESS else Code.TOO_COMPLEX)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1
    assert after.ru_maxrss - before.ru_maxrss < 200 * 1024, "KiB"


def test_a_giant_webp_is_refused_before_there_is_room_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def decode(_: bytes) -> None:
        raise AssertionError

    monkeypatch.setattr(WebPImagePlugin._webp, "WebPAnimDecoder", decode)  # noqa: SLF001 - it allocates
    assert run(photos.webp_giant()).code == Code.TOO_COMPLEX
    assert run(photos.webp()).code == Code.DAMAGED, "here it was called"


LARGEST = {
    "JPEG of 48 MP": ("JPEG", "RGB", (8000, 6000), {"quality": 80}),
    "progressive JPEG of 48 MP": ("JPEG", "RGB", (8000, 6000), {"progressive": True}),
    "PNG of 24 MP": ("PNG", "RGB", (6000, 4000), {"compress_level": 1}),
    "PNG of 24 MP with alpha": ("PNG", "RGBA", (6000, 4000), {"compress_level": 1}),
    "WebP of 16 MP": ("WEBP", "RGB", (4900, 3270), {"method": 0}),
    "WebP of 16 MP with alpha": ("WEBP", "RGBA", (4900, 3270), {"method": 0}),
    "AVIF of 16 MP": ("AVIF", "RGB", (4900, 3270), {"speed": 10}),
}
IN_LITTLE_SPACE = """
import resource, sys
from relay.scrub.pixels import Wish, redraw, warm_up
warm_up()
untrusted = sys.stdin.buffer.read()
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
print(redraw(untrusted, Wish(max_bytes=1 << 19, quality=85)).code.name)
"""


@pytest.mark.parametrize("name", LARGEST)
def test_large_honest_photos_fit_into_a_gibibyte(name: str) -> None:
    kind, mode, size, options = LARGEST[name]
    picture = photos.picture(*size).convert(mode)
    if mode == "RGBA":
        picture.putalpha(Image.linear_gradient("L").resize(size))
    photo = photos.encode(picture, kind, **options)
    done = subprocess.run(
        [sys.executable, "-c", IN_LITTLE_SPACE], input=photo, capture_output=True, check=True
    )
    assert done.stdout.strip() == b"CLEAN", done.stderr


IN_A_BOX = """
import os, sys
from relay.scrub.pixels import Wish, redraw, warm_up
warm_up()
untrusted = [open(path, "rb").read() for path in sys.argv[1:]]
before = set(sys.modules)
os.write(2, b"BOX")
for photo in untrusted:
    redraw(photo, Wish(max_bytes=1 << 19, quality=85))
os.write(2, b"END")
print(sorted(set(sys.modules) - before))
"""


def test_after_the_warm_up_no_file_is_opened_nothing_imported_and_no_thread_started(
    tmp_path: Path,
) -> None:
    paths = []
    for at, make in enumerate(photos.CHANNELS.values()):
        paths.append(tmp_path / str(at))
        paths[-1].write_bytes(make().photo)
    paths.append(tmp_path / "large.avif")
    paths[-1].write_bytes(photos.avif(photos.picture(2500, 2000)))
    trace = tmp_path / "trace"
    done = subprocess.run(
        ["strace", "-f", "-o", trace, sys.executable, "-c", IN_A_BOX, *paths],
        capture_output=True,
        check=True,
    )
    assert done.stdout.strip() == b"[]"
    inside = trace.read_text().split('"BOX"')[1].split('"END"')[0]
    calls = set(re.findall(r"^\d+ +(\w+)\(", inside, re.MULTILINE))
    assert calls <= {"write", "brk", "mmap", "munmap", "mremap"}, calls


# -- HEIC -----------------------------------------------------------------------------------------


@pytest.fixture
def with_heic(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pillow_heif")
    monkeypatch.setattr(heic, "SAFE_LIBHEIF", (1, 17))
    monkeypatch.setattr(pixels, "OPENERS", dict(pixels.OPENERS))
    heic.load()


def heif(image: Image.Image, **options: object) -> bytes:
    import pillow_heif  # noqa: PLC0415 - an option

    file = io.BytesIO()
    whole = pillow_heif.from_pillow(image)
    for other in options.pop("more", []):
        whole.add_from_pillow(other)
    whole.save(file, quality=90, **options)
    return file.getvalue()


def test_a_libheif_known_to_be_vulnerable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    monkeypatch.setattr(pixels, "OPENERS", dict(pixels.OPENERS))
    for version in ("1.23.6", "1.9.9", "0.1", "unknown"):
        monkeypatch.setattr(pillow_heif, "libheif_version", lambda version=version: version)
        with pytest.raises(HeicUnsafe):
            heic.load()
        assert Kind.HEIC not in pixels.OPENERS
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(HeicUnsafe):
        heic.load()


@pytest.mark.usefixtures("with_heic")
def test_heic_comes_out_clean_and_the_report_names_what_it_held() -> None:
    words = [photos.canary(f"heic {at}") for at in range(3)]
    second = photos.noise(64, 64)
    photo = heif(
        photos.picture(),
        exif=photos.tiff({0xA431: words[0]}),
        xmp=b'<x photoshop:City="' + words[1] + b'"/>',
        more=[second],
    ) + photos.box(b"free", words[2])  # fmt: skip
    assert kind_of(photo) is Kind.HEIC
    assert not [word for word in words if word not in photo]
    redrawn = run(photo)
    assert redrawn.code == Code.CLEAN
    assert not [word for word in words if word in redrawn.jpeg]
    jpeg.check(redrawn.jpeg, redrawn.quality)
    assert {"position", "serial number", "second picture", "comment"} <= set(
        redrawn.removed.words()
    )


@pytest.mark.usefixtures("with_heic")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic_comes_out_upright(orientation: int) -> None:
    upright = Image.new("RGB", (320, 240), (255, 255, 255))
    upright.paste((200, 0, 0), (0, 0, 160, 80))
    stored = turned(upright, orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = shown(run(heif(stored, exif=exif.tobytes())))
    assert_upright(image)


@pytest.mark.usefixtures("with_heic")
def test_heic_is_flattened_on_white() -> None:
    redrawn = run(heif(photos.hidden("RGBA")))
    image = shown(redrawn)
    assert min(image.getpixel((300, 100))) > 240
    assert "hidden pixels" in redrawn.removed.words()


@pytest.mark.usefixtures("with_heic")
def test_a_giant_heic_is_refused() -> None:
    whole = heif(photos.picture())
    at = whole.index(b"ispe") + 8
    assert (
        run(whole[:at] + struct.pack("!II", 16000, 16000) + whole[at + 8 :]).code
        == Code.TOO_COMPLEX
    )


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared")
@pytest.mark.usefixtures("with_heic")
def test_a_real_heic_comes_out_clean() -> None:
    redrawn = run((SHARED / "samples" / "025.heic").read_bytes())
    assert (redrawn.width_px, redrawn.height_px) == (1600, 1200)
    assert {"position", "time", "device"} <= set(redrawn.removed.words())
