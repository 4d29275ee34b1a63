"""Decode, turn upright, redraw, encode. Runs inside the box only.

Nothing of the input goes on but pixels: the picture is rebuilt from its raw bytes, so no `info`
that a saver might write back exists any more.
"""

import io
import warnings
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from relay.scrub import jpeg
from relay.scrub.removed import find_removed
from relay.scrub.wire import LONG_SIDE_PX, Code, Removed

FORMATS = ("JPEG", "PNG", "WEBP")
MAX_PIXELS = 64_000_000
# A progressive photo has 10 scans, each a pass over all its pixels; a file of 244 kB can ask for
# thousands and burn seconds of CPU.
MAX_SCANS = 100
MAX_SCANNED_PIXELS = 1_000_000_000
_QUALITY_STEP = 5
_LOWEST_QUALITY = 30
_SMALLER_SIDES_PX = (1280, 1024, 800, 640)
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
_ALPHA_MODES = {"RGBA", "RGBa", "LA", "La", "PA"}

Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # above it Pillow warns, and a warning is an error below


@dataclass(frozen=True, kw_only=True)
class Redrawn:
    """A clean JPEG (bytes) and what the box says of it. `code` other than CLEAN: all else is 0."""

    code: Code
    jpeg: bytes = b""
    width_px: int = 0
    height_px: int = 0
    quality: int = 0
    removed: Removed = Removed.NOTHING


def redraw(untrusted_photo: bytes, *, max_bytes: int, quality: int) -> Redrawn:
    """Return the picture as a baseline JPEG of at most `max_bytes`, long side at most 1600 px."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _redraw(untrusted_photo, max_bytes, quality)
    except UnidentifiedImageError:
        return Redrawn(code=Code.UNSUPPORTED)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError):
        return Redrawn(code=Code.TOO_COMPLEX)
    except Exception:  # noqa: BLE001 - whatever a decoder raises, the file is at fault
        return Redrawn(code=Code.DAMAGED)


def _redraw(untrusted_photo: bytes, max_bytes: int, quality: int) -> Redrawn:
    picture = Image.open(io.BytesIO(untrusted_photo), formats=FORMATS)
    width, height = picture.size
    is_jpeg = picture.format == "JPEG"
    scans = jpeg.count_scans(untrusted_photo) if is_jpeg else 1
    if scans > MAX_SCANS or scans * width * height > MAX_SCANNED_PIXELS:
        return Redrawn(code=Code.TOO_COMPLEX)
    removed = find_removed(untrusted_photo, picture)
    orientation = _read_orientation(picture)
    if is_jpeg:
        factor = next(k for k in (8, 4, 2, 1) if max(width, height) // k >= LONG_SIDE_PX or k == 1)
        picture.draft(picture.mode, (max(1, width // factor), max(1, height // factor)))
    upright = _shrink(_flatten(picture), LONG_SIDE_PX)
    if orientation in _UPRIGHT:
        upright = upright.transpose(_UPRIGHT[orientation])
    encoded, fresh, used = _encode_to_fit(upright, max_bytes, quality)
    return Redrawn(
        code=Code.CLEAN,
        jpeg=encoded,
        width_px=fresh.width,
        height_px=fresh.height,
        quality=used,
        removed=removed,
    )


def _read_orientation(picture: Image.Image) -> int:
    try:
        return int(picture.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # noqa: BLE001 - damaged EXIF must not cost anyone her photo
        return 1


def _flatten(picture: Image.Image) -> Image.Image:
    """Return 8-bit RGB; what was transparent is white, whatever colour lay beneath."""
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        return picture.convert("I").point(lambda value: value * (1 / 257)).convert("RGB")
    if picture.mode in _ALPHA_MODES or "transparency" in picture.info:
        layered = picture.convert("RGBA")
        white = Image.new("RGB", layered.size, _WHITE)
        white.paste(layered, mask=layered.getchannel("A"))
        return white
    return picture.convert("RGB")


def _shrink(picture: Image.Image, long_side_px: int) -> Image.Image:
    width, height = picture.size
    scale = long_side_px / max(width, height)
    if scale >= 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return picture.resize(size, Image.Resampling.HAMMING)


def _encode_to_fit(
    picture: Image.Image, max_bytes: int, quality: int
) -> tuple[bytes, Image.Image, int]:
    """Lower the quality, then the size, until it fits. Returns JPEG, picture, quality."""
    for side_px in (LONG_SIDE_PX, *_SMALLER_SIDES_PX):
        smaller = _shrink(picture, side_px)
        fresh = Image.frombytes("RGB", smaller.size, smaller.tobytes())
        for lower in range(quality, min(quality, _LOWEST_QUALITY) - 1, -_QUALITY_STEP):
            encoded = _encode(fresh, lower)
            if len(encoded) <= max_bytes:
                return encoded, fresh, lower
    raise MemoryError


def _encode(fresh: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    fresh.save(file, "JPEG", quality=quality, subsampling="4:2:0", optimize=False)
    return file.getvalue()
