"""The one kind of JPEG that may leave: known to the byte up to its picture.

An allow-list in its strictest form. Of everything before the entropy-coded bytes only the width,
the height and the quality are free; a file that differs anywhere else is refused.
Source: ITU-T T.81 (markers; Annex K.1 and K.3, tables), JFIF 1.01, and the scaling of tables by
quality that libjpeg introduced.
"""

import struct
from collections.abc import Collection

import piexif

from relay.errors import ScrubFailed
from relay.scrub.canonical import SIZES, Size

_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_JFIF = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
_ZIGZAG = (
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
)  # fmt: skip
_LUMINANCE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113,
    92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_CHROMINANCE = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99, *([99] * 32),
)  # fmt: skip
# Annex K.3: for each table, class and slot, codes of each length from 1 to 16, symbols.
_DC_SYMBOLS = "000102030405060708090a0b"
_LUMINANCE_AC_SYMBOLS = """
01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728
292a3435363738393a434445464748494a535455565758595a636465666768696a737475767778797a83848586878889
8a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2
e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa
"""
_CHROMINANCE_AC_SYMBOLS = """
000102031104052131061241510761711322328108144291a1b1c109233352f0156272d10a162434e125f11718191a26
2728292a35363738393a434445464748494a535455565758595a636465666768696a737475767778797a828384858687
88898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9da
e2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa
"""
_HUFFMAN = (
    bytes.fromhex("00 00010501010101010100000000000000" + _DC_SYMBOLS),
    bytes.fromhex("10 0002010303020403050504040000017d" + _LUMINANCE_AC_SYMBOLS),
    bytes.fromhex("01 00030101010101010101010000000000" + _DC_SYMBOLS),
    bytes.fromhex("11 00020102040403040705040400010277" + _CHROMINANCE_AC_SYMBOLS),
)
_COMPONENTS_420 = bytes.fromhex("03 012200 021101 031101")
_SCAN = bytes.fromhex("03 0100 0211 0311 003f00")
_SOF0, _DHT, _DQT, _SOS = 0xC0, 0xC4, 0xDB, 0xDA
_FRAME = struct.pack("!BBHB", 0xFF, _SOF0, 17, 8)  # what precedes height and width
_SIZE_AT = len(_SOI + _JFIF) + 2 * 69 + 5  # where SOF0 gives height and width
_MAX_QUALITY = 100


def _divisors(base: tuple[int, ...], quality: int) -> bytes:
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality  # noqa: PLR2004 - libjpeg's rule
    return bytes(min(255, max(1, (base[i] * scale + 50) // 100)) for i in _ZIGZAG)


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack("!BBH", 0xFF, marker, len(body) + 2) + body


def expected_head(width_px: int, height_px: int, quality: int) -> bytes:
    """Return every byte of our JPEG up to its entropy-coded picture."""
    return b"".join(
        [
            _SOI,
            _JFIF,
            _segment(_DQT, b"\x00" + _divisors(_LUMINANCE, quality)),
            _segment(_DQT, b"\x01" + _divisors(_CHROMINANCE, quality)),
            _segment(_SOF0, struct.pack("!BHH", 8, height_px, width_px) + _COMPONENTS_420),
            *(_segment(_DHT, table) for table in _HUFFMAN),
            _segment(_SOS, _SCAN),
        ]
    )


def size_of(untrusted_jpeg: bytes) -> Size | None:
    """Return width and height (px) where the file begins as ours do; None where it does not."""
    if not untrusted_jpeg.startswith(_FRAME, _SIZE_AT - len(_FRAME)):
        return None
    try:
        height_px, width_px = struct.unpack_from("!HH", untrusted_jpeg, _SIZE_AT)
    except struct.error:
        return None
    return width_px, height_px


def check(
    untrusted_jpeg: bytes, quality: int | None = None, *, sizes: Collection[Size] = SIZES
) -> tuple[int, int, int]:
    """Return width, height (px) and quality of a JPEG that holds a picture and nothing else.

    quality: the only one to accept, where it is known.

    Raises:
        ScrubFailed: anything differs from what our encoder writes, or the size is none of `sizes`.
            There is no fallback.
    """
    size = size_of(untrusted_jpeg)
    if size is None or size not in sizes:
        raise ScrubFailed
    width_px, height_px = size
    for candidate in range(_MAX_QUALITY, 0, -1) if quality is None else (quality,):
        head = expected_head(width_px, height_px, candidate)
        if untrusted_jpeg.startswith(head):
            break
    else:
        raise ScrubFailed
    stop = len(untrusted_jpeg) - len(_EOI)
    if stop < len(head) or not untrusted_jpeg.endswith(_EOI):
        raise ScrubFailed
    # In entropy-coded bytes each FF is followed by a 00.
    if untrusted_jpeg.count(b"\xff", len(head), stop) != untrusted_jpeg.count(
        b"\xff\x00", len(head), stop
    ):
        raise ScrubFailed
    if any(piexif.load(untrusted_jpeg).values()):
        raise ScrubFailed
    return width_px, height_px, candidate
