"""Bring the colours of phones and cameras to sRGB without parsing a profile that was uploaded.

A profile is recognised by its name alone, and then a table that was computed here is applied.
Wrong where a profile lies about its name, which costs colours and nothing else.
Source: IEC 61966-2-1 (sRGB); SMPTE EG 432-1 (P3 primaries, D65); Adobe RGB (1998) Color Image
Encoding, section 4.3; ITU-T H.273 table 2 (primaries 12 is P3 with D65).
"""

import enum
import functools
from collections.abc import Callable

from PIL import Image, ImageFilter

Triple = tuple[float, float, float]
_HEAD_BYTES = 1 << 16
# What Apple, Android and Samsung call the same primaries; in newer profiles in UTF-16.
_P3_NAMES = ("Display P3", "DCI-P3 D65")
_ADOBE_NAMES = ("Adobe RGB (1998)",)
_P3_PRIMARIES = 12
# Linear light to linear sRGB: both have the white of D65, so two matrices to XYZ make one.
_P3_TO_SRGB = (
    (1.2249401763, -0.2249401763, 0.0),
    (-0.0420569547, 1.0420569547, 0.0),
    (-0.0196375546, -0.0786360456, 1.0982736001),
)
_ADOBE_TO_SRGB = (
    (1.3983557440, -0.3983557440, 0.0),
    (0.0, 1.0, 0.0),
    (0.0, -0.0429289893, 1.0429289893),
)
_ADOBE_GAMMA = 563 / 256
_TABLE_SIDE = 33  # off by at most 4 of 255 in photos; 17 was off by 9, and 37 gains nothing


class Space(enum.Enum):
    """A colour space that pictures come in and that is not sRGB."""

    DISPLAY_P3 = enum.auto()
    ADOBE_RGB = enum.auto()


def space_of(untrusted_profile: bytes, *, primaries: int | None = None) -> Space | None:
    """Return the space that a profile names; without a profile, what the code of primaries names.

    primaries: as of ITU-T H.273, from AVIF, HEIC or PNG.
    """
    profile = untrusted_profile[:_HEAD_BYTES]
    if _names(profile, _P3_NAMES) or (not profile and primaries == _P3_PRIMARIES):
        return Space.DISPLAY_P3
    if _names(profile, _ADOBE_NAMES):
        return Space.ADOBE_RGB
    return None


def _names(profile: bytes, names: tuple[str, ...]) -> bool:
    return any(
        name.encode(coding) in profile for name in names for coding in ("ascii", "utf-16-be")
    )


def to_srgb(picture: Image.Image, space: Space) -> Image.Image:
    """Return an RGB picture in sRGB; what sRGB can't show becomes its nearest edge."""
    return picture.filter(table(space))


@functools.cache
def table(space: Space) -> ImageFilter.Color3DLUT:
    """Return the table of a space; the first call for each computes it."""
    if space is Space.DISPLAY_P3:
        return _table(_P3_TO_SRGB, _srgb_to_light)
    return _table(_ADOBE_TO_SRGB, lambda value: value**_ADOBE_GAMMA)


def _table(
    matrix: tuple[Triple, ...], to_light: Callable[[float], float]
) -> ImageFilter.Color3DLUT:
    steps = [to_light(step / (_TABLE_SIDE - 1)) for step in range(_TABLE_SIDE)]
    return ImageFilter.Color3DLUT(
        _TABLE_SIDE,
        [
            _light_to_srgb(row[0] * red + row[1] * green + row[2] * blue)
            for blue in steps
            for green in steps
            for red in steps
            for row in matrix
        ],
    )


def _srgb_to_light(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4  # noqa: PLR2004


def _light_to_srgb(light: float) -> float:
    """Return the value for linear light; what sRGB can't show goes on below 0 and above 1.

    Cut off only after the table is applied: between two of its entries the error is half as large.
    """
    if light < 0:
        return -_light_to_srgb(-light)
    return light * 12.92 if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055  # noqa: PLR2004
