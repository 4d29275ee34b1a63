"""Decode, redraw at a canonical size, turn upright, encode. Runs inside the box only.

Nothing of the input goes on but pixels: what was decoded is drawn on a canvas that was made here
and never saw the file, so no `info` that a saver might write back exists any more.
"""

import io
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from PIL import AvifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from relay.scrub import canonical, colour, paint
from relay.scrub.blocks import orientation_in_exif
from relay.scrub.canonical import Plan, Size
from relay.scrub.containers import (
    META_BYTES,
    MOST_PARTS,
    Part,
    TooComplexError,
    count_scans,
    find_parts,
    find_primaries,
    find_profile,
    hide_exif,
    is_arithmetic,
    is_cropped,
    strip,
)
from relay.scrub.formats import Kind, kind_of
from relay.scrub.found import MOST_FOUND, Found, Mark
from relay.scrub.removed import find_removed
from relay.scrub.wire import QUALITY, Code, Removed, View

MAX_PIXELS, MAX_COSTLY_PIXELS = 64_000_000, 32_000_000
_PNG_DEPTH_AT, _PNG_COLOUR_AT = 24, 25
_PNG_WITH_ALPHA = (b"\4", b"\6")  # Source: PNG (W3C) table 11.1
# A progressive photo has 10 scans, each a pass over all its pixels; a file of 244 kB can ask for
# thousands and burn seconds of CPU.
MAX_SCANS = 100
MAX_SCANNED_PIXELS = 1_000_000_000
_QUALITY_STEP = 5
_LOWEST_QUALITY = 30
_LOWEST_VIEW_QUALITY = 5  # of a view: ugly, but there is one of every photo
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # Source: Exif 2.32, tag 0x0112
_ORIENTATION_TAG = 0x0112
_WHITE = (255, 255, 255)
_SPATIAL_EXTENTS = re.compile(rb"ispe\0{4}(.{8})", re.DOTALL)  # Source: ISO/IEC 23008-12 6.5.3
_DRAFT_FACTORS = (8, 4, 2)
# Factors by which Pillow widens grey of fewer bits, by its name for the pixels in the file.
_WIDENED = {"L;2": 85, "L;4": 17, "L": 1}
_OPAQUE = 255


Opener = Callable[[io.BytesIO], Image.Image]
Finder = Callable[[Image.Image], Sequence[Found]]
# The one decoder of each kind. `heic.load` adds the one that is missing.
OPENERS: dict[Kind, Opener] = {
    Kind.JPEG: JpegImagePlugin.JpegImageFile,
    Kind.PNG: PngImagePlugin.PngImageFile,
    Kind.WEBP: WebPImagePlugin.WebPImageFile,
    Kind.AVIF: AvifImagePlugin.AvifImageFile,
}

AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # the box can start no thread
# Above twice its value the WebP plug-in refuses before it makes room for a canvas.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2


@dataclass(frozen=True, kw_only=True)
class Redrawn:
    """A clean JPEG (bytes) and what the box says of it. `code` other than CLEAN: all else is 0.

    found: in px of the photo, also where a smaller view of it comes back. preview: another JPEG.
    """

    code: Code
    jpeg: bytes = b""
    width_px: int = 0
    height_px: int = 0
    quality: int = 0
    removed: Removed = Removed.NOTHING
    found: tuple[Found, ...] = ()
    preview: bytes = b""
    preview_quality: int = 0


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is to become of a picture: a baseline JPEG of at most `max_bytes`.

    view: in which of `canonical.SIZES_OF`. is_ours: it has been redrawn before and passed
    `jpeg.check`; it keeps every pixel in its place. find: what looks for faces and codes. marks:
    drawn over it, in px of the photo. has_preview: a preview of what comes back is wanted as well.
    """

    max_bytes: int
    quality: int
    view: View = View.PHOTO
    is_ours: bool = False
    find: Finder | None = None
    marks: Sequence[Mark] = ()
    has_preview: bool = False


def redraw(untrusted_photo: bytes, wish: Wish) -> Redrawn:
    """Return the picture as `wish` has it."""
    kind = kind_of(untrusted_photo)
    if kind not in OPENERS:
        return Redrawn(code=Code.UNSUPPORTED)
    try:
        return _redraw(untrusted_photo, kind, wish)
    except (TooComplexError, Image.DecompressionBombError, MemoryError):
        return Redrawn(code=Code.TOO_COMPLEX)
    except Exception:  # noqa: BLE001 - whatever a decoder raises, the file is at fault
        return Redrawn(code=Code.DAMAGED)


SAMPLE = Wish(max_bytes=1 << 20, quality=QUALITY)


def warm_up() -> list[bytes]:
    """Load and run every decoder, the encoder and the tables now: the box can open no file later.

    Returns a small picture of each kind.

    Raises:
        RuntimeError: this installation can't redraw one of the kinds.
    """
    for space in colour.Space:
        colour.table(space)
    exif = Image.Exif()
    exif[_ORIENTATION_TAG] = 6
    samples = []
    for kind, mode, options in (
        ("JPEG", "RGB", {"exif": exif, "icc_profile": b"Display P3"}),
        ("JPEG", "CMYK", {"progressive": True}),
        ("PNG", "RGBA", {"exif": exif}),
        ("PNG", "I;16", {}),
        ("WEBP", "RGBA", {"exif": exif}),
        ("AVIF", "RGBA", {"exif": exif, "speed": 10, "max_threads": 1}),
    ):
        file = io.BytesIO()
        Image.new(mode, (16, 16)).save(file, kind, **options)
        if redraw(file.getvalue(), SAMPLE).code != Code.CLEAN:
            raise RuntimeError(kind)
        samples.append(file.getvalue())
    paint.warm_up()
    if redraw(b"\xff\xd8\xff", SAMPLE).code != Code.DAMAGED:
        raise RuntimeError
    return samples


def _redraw(untrusted_photo: bytes, kind: Kind, wish: Wish) -> Redrawn:
    parts = _find_parts(untrusted_photo, kind)
    picture, is_exif_damaged = _open(untrusted_photo, kind, parts)
    _check_size(picture.size, _most_pixels(untrusted_photo, kind, parts))
    removed = find_removed(untrusted_photo, kind, picture, parts)
    if is_exif_damaged:
        removed |= Removed.COMMENT
    profile = picture.info.get("icc_profile") or find_profile(untrusted_photo, kind, parts)
    space = colour.space_of(profile, primaries=find_primaries(untrusted_photo, kind, parts))
    if kind is Kind.JPEG:
        _draft(picture, max(canonical.plan(*picture.size, is_ours=wish.is_ours).canvas))
    visible, is_hiding = _show(picture)
    canvas = _draw(visible, canonical.plan(*picture.size, is_ours=wish.is_ours), space)
    orientation = _find_orientation(untrusted_photo, kind, parts, picture)
    if orientation in _UPRIGHT:
        canvas = canvas.transpose(_UPRIGHT[orientation])
    paint.cover(canvas, wish.marks, before=canvas.size)  # first: what is covered is not found
    found = tuple(wish.find(canvas)) if wish.find else ()
    if len(found) > MOST_FOUND:  # to leave some out would be to leave them visible
        raise TooComplexError
    encoded, size, used = _encode_to_fit(canvas, wish)
    preview, preview_quality = b"", 0
    if wish.has_preview:  # from here, since another job would decode what was just coded
        shown = replace(wish, view=View.PREVIEW, marks=())
        preview, _, preview_quality = _encode_to_fit(canvas, shown)
    photo_size = size if wish.view is View.PHOTO else canvas.size
    return Redrawn(
        code=Code.CLEAN,
        jpeg=encoded,
        width_px=size[0],
        height_px=size[1],
        quality=used,
        removed=removed | (Removed.HIDDEN_PIXELS if is_hiding else Removed.NOTHING),
        found=tuple(one.scaled(canvas.size, photo_size) for one in found),
        preview=preview,
        preview_quality=preview_quality,
    )


def _open(untrusted_photo: bytes, kind: Kind, parts: list[Part]) -> tuple[Image.Image, bool]:
    """Let the decoder read the head of the file; say whether its EXIF had to be hidden for that."""
    stripped = strip(untrusted_photo, kind, parts)
    try:
        return OPENERS[kind](io.BytesIO(stripped)), False
    except Exception:
        if kind is not Kind.AVIF:
            raise
    return OPENERS[kind](io.BytesIO(hide_exif(stripped, parts))), True


def _find_parts(untrusted_photo: bytes, kind: Kind) -> list[Part]:
    """Return the parts of the file. Refuse what keeps a plug-in busy before it tells a size."""
    parts = find_parts(untrusted_photo, kind)
    scans = count_scans(parts) if kind is Kind.JPEG else 1
    if len(parts) == MOST_PARTS or scans > MAX_SCANS:
        raise TooComplexError
    if kind is Kind.JPEG and is_arithmetic(parts):
        raise TooComplexError
    if kind is Kind.AVIF and is_cropped(untrusted_photo, parts):
        raise TooComplexError  # what she cut away would come back
    if kind in {Kind.AVIF, Kind.HEIC}:
        for match in _SPATIAL_EXTENTS.finditer(untrusted_photo, 0, META_BYTES):
            _check_size(struct.unpack("!II", match[1]), MAX_PIXELS)
    return parts


def _check_size(size: Size, most_pixels: int) -> None:
    if size[0] * size[1] > most_pixels:
        raise TooComplexError


def _most_pixels(untrusted_photo: bytes, kind: Kind, parts: list[Part]) -> int:
    """Return how large this picture may be: some cost more than others, in time or in memory."""
    if kind is Kind.JPEG:
        return min(MAX_PIXELS, MAX_SCANNED_PIXELS // max(1, count_scans(parts)))
    if kind is Kind.PNG and not _is_costly_png(untrusted_photo, parts):
        return MAX_PIXELS
    return MAX_PIXELS if kind is Kind.HEIC else MAX_COSTLY_PIXELS


def _is_costly_png(untrusted_png: bytes, parts: list[Part]) -> bool:
    """Whether it has 16 bits, or an alpha: each pixel then takes up to 12 bytes on its way."""
    is_deep = untrusted_png.startswith(b"\x10", _PNG_DEPTH_AT)
    has_alpha = untrusted_png.startswith(_PNG_WITH_ALPHA, _PNG_COLOUR_AT)
    return is_deep or has_alpha or any(part.name == b"tRNS" for part in parts)


def _find_orientation(
    untrusted_photo: bytes, kind: Kind, parts: list[Part], picture: Image.Image
) -> int:
    """Return the orientation that EXIF gives; 1 where it is damaged or XMP alone says something."""
    try:
        if kind in {Kind.WEBP, Kind.AVIF, Kind.HEIC}:
            return orientation_in_exif(picture.info.get("exif") or b"")
        for name, start, stop in parts:
            if (name, untrusted_photo[start : start + 5]) == (
                b"\xe1",
                b"Exif\0",
            ) or name == b"eXIf":
                return orientation_in_exif(untrusted_photo[start:stop])
    except Exception:  # noqa: BLE001 - damaged EXIF must not cost anyone her photo
        return 1
    return 1


def _draft(picture: Image.Image, long_px: int) -> None:
    """Let the JPEG decoder shrink by a whole factor, to no less than the long side that leaves."""
    width, height = picture.size
    for factor in _DRAFT_FACTORS:
        if max(width, height) // factor >= long_px:
            picture.draft(None, (width // factor or 1, height // factor or 1))
            return


def _show(picture: Image.Image) -> tuple[Image.Image, bool]:
    """Decode to 8-bit L, RGB, RGBA or CMYK; say whether anything in it is transparent."""
    _load(picture)
    if picture.mode == "I;16":
        picture = _narrow(picture)
    elif "transparency" in picture.info or picture.mode in ("LA", "PA", "RGBa"):
        picture = picture.convert("RGBA")
    elif picture.mode in ("1", "P"):
        picture = picture.convert("RGB")
    if "A" not in picture.mode:
        return picture, False
    is_hiding = picture.getchannel("A").getextrema() != (_OPAQUE, _OPAQUE)
    return picture.convert("RGBA" if is_hiding else "RGB"), is_hiding


def _load(picture: Image.Image) -> None:
    """Decode, and bring the colour of a PNG that means "transparent" to the depth of its pixels.

    Pillow compares it with pixels that it has widened or narrowed to 8 bits.
    """
    key = picture.info.get("transparency")
    raw = picture.tile[0].args if isinstance(picture, PngImagePlugin.PngImageFile) else ""
    picture.load()
    if isinstance(key, int) and raw in _WIDENED:
        picture.info["transparency"] = key * _WIDENED[raw] & 0xFF
    elif isinstance(key, tuple):
        shift = 8 if raw == "RGB;16B" else 0
        picture.info["transparency"] = tuple(value >> shift & 0xFF for value in key)


def _narrow(picture: Image.Image) -> Image.Image:
    """Return 16-bit grey as L, or as LA where one grey means "transparent"."""
    wide = picture.convert("I")
    grey = wide.point([round(value / 257) for value in range(1 << 16)], "L")
    key = picture.info.get("transparency")
    if key is None:
        return grey
    alpha = wide.point([_OPAQUE * (value != key) for value in range(1 << 16)], "L")
    return Image.merge("LA", (grey, alpha))


def _draw(visible: Image.Image, plan: Plan, space: colour.Space | None) -> Image.Image:
    """Return a white canvas with the picture on it; what was transparent stays white.

    Shrinking goes first: it is cheaper, and Pillow weighs colours by their alpha as it shrinks.
    """
    drawn = visible.resize(plan.drawn, Image.Resampling.HAMMING, plan.box)
    mask = drawn.getchannel("A") if drawn.mode == "RGBA" else None
    if drawn.mode != "RGB":
        drawn = drawn.convert("RGB")
    if space:
        drawn = colour.to_srgb(drawn, space)
    is_covered = plan.drawn == plan.canvas and mask is None
    canvas = Image.new("RGB", plan.canvas, None if is_covered else _WHITE)  # filling takes time
    corner = ((canvas.width - drawn.width) // 2, (canvas.height - drawn.height) // 2)
    canvas.paste(drawn, corner, mask)
    return canvas


def _encode_to_fit(canvas: Image.Image, wish: Wish) -> tuple[bytes, Size, int]:
    """Lower the quality, then the size, until it fits. Returns JPEG, size, quality.

    Its covers are drawn already. Those of a photo are drawn at each size anew, since they keep to
    its blocks; a view shows neither more nor less of them than the photo will.
    """
    quality = min(wish.quality, wish.view.quality)
    most_bytes = min(wish.max_bytes, wish.view.max_bytes)
    is_photo = wish.view is View.PHOTO
    smaller = canonical.smaller(canvas.size) if is_photo else []
    lowest = _LOWEST_QUALITY if is_photo else _LOWEST_VIEW_QUALITY
    for size in (canonical.view_size(canvas.size, wish.view), *smaller):
        fresh = canvas if size == canvas.size else _shrink(canvas, size, is_quick=not is_photo)
        draw = paint.cover if is_photo else paint.number
        draw(fresh, wish.marks, before=canvas.size)
        for lower in range(quality, min(quality, lowest) - 1, -_QUALITY_STEP):
            encoded = _encode(fresh, lower)
            if len(encoded) <= most_bytes:
                return encoded, size, lower
    raise TooComplexError


def _shrink(canvas: Image.Image, size: Size, *, is_quick: bool) -> Image.Image:
    """Return it smaller; quickly where nobody minds a trace of coarseness, as in a view."""
    gap = 1.0 if is_quick else None
    return canvas.resize(size, Image.Resampling.HAMMING, reducing_gap=gap)


def _encode(fresh: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    fresh.save(file, "JPEG", quality=quality, subsampling="4:2:0", optimize=False)
    return file.getvalue()
