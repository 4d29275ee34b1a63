"""Say what kind of file a photo is, by its first bytes alone.

The box opens each kind with the one decoder that belongs to it; the trusted side asks only to
choose a worker. Names, extensions and media types that a browser sends count for nothing.
Source: ITU-T T.81; PNG (W3C) section 5.2; RFC 9649 (WebP); ISO/IEC 14496-12 section 4.3 (`ftyp`)
with the brands of ISO/IEC 23008-12 (HEIC) and AVIF v1.1.
"""

import enum

_JPEG_START, _PNG_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_MOST_FTYP_BYTES = 128  # real ones list at most a dozen brands of 4 bytes


class Kind(enum.Enum):
    """A kind of file that a photo may come in."""

    JPEG = enum.auto()
    PNG = enum.auto()
    WEBP = enum.auto()
    AVIF = enum.auto()
    HEIC = enum.auto()


def kind_of(untrusted_photo: bytes | memoryview) -> Kind | None:
    """Return the kind that the first bytes name, or None. Never raises, reads a bounded head."""
    head = bytes(untrusted_photo[:_MOST_FTYP_BYTES])
    if head.startswith(_JPEG_START):
        return Kind.JPEG
    if head.startswith(_PNG_START):
        return Kind.PNG
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return Kind.WEBP
    return _kind_of_brands(head) if head[4:8] == b"ftyp" else None


def _kind_of_brands(head: bytes) -> Kind | None:
    """Return the kind of the first brand that names a codec; `mif1` alone names none."""
    stop = min(int.from_bytes(head[:4], "big"), len(head))
    for at in (8, *range(16, stop - 3, 4)):
        if head[at : at + 4] in _AVIF_BRANDS:
            return Kind.AVIF
        if head[at : at + 4] in _HEIC_BRANDS:
            return Kind.HEIC
    return None
