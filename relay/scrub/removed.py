"""Say what a photo carried besides its picture, in a closed vocabulary. Runs inside the box only.

This is for the submitter's eyes: what it overlooks is removed all the same, since nothing but
pixels goes on.
Source: JFIF 1.02; CIPA DC-007 (MPF); C2PA 2.1 section 11; PNG (W3C) section 11; RFC 9649;
ISO/IEC 23008-12.
"""

import re
import zlib
from collections import Counter
from typing import assert_never

from PIL import Image

from relay.scrub import blocks
from relay.scrub.containers import EOI, Part, TooComplexError, find_boxes
from relay.scrub.formats import Kind
from relay.scrub.wire import Removed

_APP0, _APP1, _APP2, _APP11, _APP13, _APP14 = (
    b"%c" % at for at in (0xE0, 0xE1, 0xE2, 0xEB, 0xED, 0xEE)
)
_NAMELESS = {b"%c" % at for at in (*range(0xE0, 0xF0), 0xFE)}
_JFIF_BYTES, _ADOBE_BYTES = 14, 12
_COMMON_DENSITIES = {b"\0\0\1\0\1", b"\1\0\x48\0\x48", b"\1\0\x60\0\x60"}
_XMP, _EXTENDED_XMP = b"http://ns.adobe.com/xap/", b"http://ns.adobe.com/xmp/extension/\0"
# At segments or chunks of one name: what is in the next was in one before. Segments are short,
# texts are bounded together, and of the others a file has one.
_MOST_LOOKS, _MOST_TEXTS, _MOST_BLOCKS = 16, 256, 2
_EXTENDED_XMP_HEAD_BYTES = len(_EXTENDED_XMP) + 40  # a digest, a length, an offset
_CHUNKS = {
    b"iCCP": Removed.COLOUR_PROFILE,
    b"tIME": Removed.TIME,
    b"pHYs": Removed.DEVICE,
    b"caBX": Removed.CONTENT_CREDENTIALS,
    b"fdAT": Removed.SECOND_PICTURE,
    **dict.fromkeys(
        (
            *(b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"cICP"),
            *(b"sBIT", b"bKGD", b"hIST", b"acTL", b"fcTL"),
        ),
        Removed.NOTHING,
    ),
}
_TEXT_KEYS = {
    b"Creation Time": Removed.TIME,
    b"Software": Removed.DEVICE,
    b"Source": Removed.DEVICE,
}
_MOST_TEXT_BYTES = 4 << 20  # all texts of a PNG together
_RIFF_CHUNKS = {
    b"ICCP": Removed.COLOUR_PROFILE,
    b"C2PA": Removed.CONTENT_CREDENTIALS,
    **dict.fromkeys((b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF"), Removed.NOTHING),
}
_RIFF_BLOCKS = {b"EXIF": blocks.in_exif, b"XMP ": blocks.in_xmp}
_BOXES = {
    b"moov": Removed.SECOND_PICTURE,
    b"mpvd": Removed.VIDEO,
    **dict.fromkeys((b"ftyp", b"meta", b"mdat"), Removed.NOTHING),
}
_JPEG_WITHIN = re.compile(rb"\xff\xd8\xff[\xe0\xe1\xdb]")  # three bytes alone come up in any video
_C2PA_UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_PICTURE_ITEMS = {b"av01", b"hvc1", b"grid", b"iovl", b"iden", b"jpeg", b"tmap"}


def find_removed(
    untrusted_photo: bytes, kind: Kind, picture: Image.Image, parts: list[Part]
) -> Removed:
    """Return what was found, but for hidden pixels. A damaged block gives less, and no error.

    Raises:
        TooComplexError: more text than any photo has.
    """
    try:
        match kind:
            case Kind.JPEG:
                return _in_jpeg(untrusted_photo, parts)
            case Kind.PNG:
                return _in_png(untrusted_photo, parts)
            case Kind.WEBP:
                return _in_webp(untrusted_photo, parts)
            case Kind.AVIF | Kind.HEIC:
                return _in_boxes(untrusted_photo, parts) | _in_info(picture)
            case _:
                assert_never(kind)
    except TooComplexError:
        raise
    except Exception:  # noqa: BLE001 - a damaged block must not cost anyone her photo
        return Removed.COMMENT


def _in_trailer(untrusted_photo: bytes, start: int) -> Removed:
    """Look at what follows the picture's own end: second pictures, videos, notes of the camera."""
    if start >= len(untrusted_photo):
        return Removed.NOTHING
    found = Removed.NOTHING
    if untrusted_photo.find(b"ftyp", start) >= 0:
        found |= Removed.VIDEO
    if _JPEG_WITHIN.search(untrusted_photo, start):
        found |= Removed.SECOND_PICTURE
    return found or Removed.COMMENT


# -- JPEG -----------------------------------------------------------------------------------------


def _in_jpeg(untrusted_jpeg: bytes, segments: list[Part]) -> Removed:
    found = Removed.NOTHING
    xmp: list[bytes] = []
    looked: Counter[bytes] = Counter()
    for marker, start, stop in segments:
        if marker == EOI:
            found |= _in_trailer(untrusted_jpeg, stop)
        elif marker in _NAMELESS:
            body = untrusted_jpeg[start:stop]
            if marker == _APP1 and body.startswith((_XMP, _EXTENDED_XMP)):
                xmp.append(body[_EXTENDED_XMP_HEAD_BYTES * body.startswith(_EXTENDED_XMP) :])
            elif looked[marker] < _MOST_LOOKS:
                looked[marker] += 1
                found |= _in_segment(marker, body)
    return found | blocks.in_xmp(b"".join(xmp)) if xmp else found


def _in_segment(marker: bytes, body: bytes) -> Removed:
    if marker == _APP0:
        return _in_app0(body)
    if marker == _APP14 and body.startswith(b"Adobe") and len(body) == _ADOBE_BYTES:
        return Removed.NOTHING
    if marker == _APP11 and (b"jumb" in body or b"c2pa" in body):
        has_thumbnail = b"c2pa.thumbnail" in body
        return Removed.CONTENT_CREDENTIALS | (
            Removed.THUMBNAIL if has_thumbnail else Removed.NOTHING
        )
    for app, name, find in (
        (_APP1, b"Exif\0", blocks.in_exif),
        (_APP13, b"Photoshop ", blocks.in_photoshop),
        (_APP2, b"ICC_PROFILE\0", lambda _: Removed.COLOUR_PROFILE),
        (_APP2, b"MPF\0", lambda _: Removed.SECOND_PICTURE),
    ):
        if marker == app and body.startswith(name):
            return find(body)
    return Removed.COMMENT


def _in_app0(body: bytes) -> Removed:
    if body.startswith(b"JFXX\0"):
        return Removed.THUMBNAIL
    if not body.startswith(b"JFIF\0") or len(body) < _JFIF_BYTES:
        return Removed.COMMENT
    found = Removed.NOTHING if body[7:12] in _COMMON_DENSITIES else Removed.DEVICE
    return found | (Removed.THUMBNAIL if len(body) > _JFIF_BYTES else Removed.NOTHING)


# -- PNG ------------------------------------------------------------------------------------------


def _in_png(untrusted_png: bytes, chunks: list[Part]) -> Removed:
    found, texts = Removed.NOTHING, _Texts()
    looked: Counter[bytes] = Counter()
    for name, start, stop in chunks:
        looked[name] += 1
        if name in {b"tEXt", b"zTXt", b"iTXt"}:
            if looked[name] <= _MOST_TEXTS:
                found |= _in_text(name, untrusted_png[start:stop], texts)
        elif name == b"eXIf":
            if looked[name] <= _MOST_BLOCKS:
                found |= blocks.in_exif(untrusted_png[start:stop])
        else:
            found |= _CHUNKS.get(name, Removed.COMMENT)
    return found | _in_trailer(untrusted_png, chunks[-1].stop + 4) if chunks else found


def _in_text(name: bytes, body: bytes, texts: "_Texts") -> Removed:
    key, _, rest = body.partition(b"\0")
    if name == b"iTXt":
        text = texts.read(rest[2:].split(b"\0", 2)[-1], is_deflated=rest[:1] == b"\1")
    else:
        text = texts.read(rest[name == b"zTXt" :], is_deflated=name == b"zTXt")
    if key == b"XML:com.adobe.xmp":
        return blocks.in_xmp(text)
    if key.startswith(b"Raw profile type "):
        return _in_raw_profile(text)
    if key.startswith(b"date:"):
        return Removed.TIME
    return _TEXT_KEYS.get(key, Removed.COMMENT)


def _in_raw_profile(text: bytes) -> Removed:
    """Look into what ImageMagick writes: a line feed, a name, a length, then hexadecimal lines."""
    lines = text.split(b"\n")
    try:
        content = bytes.fromhex(b"".join(lines[3:]).decode("ascii"))
    except ValueError:
        return Removed.COMMENT
    if content.startswith(b"Exif\0"):
        return blocks.in_exif(content)
    if b"8BIM" in content:
        return blocks.in_photoshop(content)
    return Removed.COLOUR_PROFILE if lines[1:2] in ([b"icc"], [b"icm"]) else blocks.in_xmp(content)


class _Texts:
    """Reads the texts of one file, up to what a photo may have of them."""

    def __init__(self) -> None:
        self._left = _MOST_TEXT_BYTES

    def read(self, content: bytes, *, is_deflated: bool) -> bytes:
        """Return a text, inflated where it has to be.

        Raises:
            TooComplexError: it, or all together, is too long.
        """
        if is_deflated:
            try:
                content = zlib.decompressobj().decompress(content, self._left + 1)
            except zlib.error:
                return b""
        self._left -= len(content)
        if self._left < 0:
            raise TooComplexError
        return content


# -- WebP -----------------------------------------------------------------------------------------


def _in_webp(untrusted_webp: bytes, chunks: list[Part]) -> Removed:
    found = Removed.NOTHING
    looked: Counter[bytes] = Counter()
    for name, start, stop in chunks:
        looked[name] += 1
        find = _RIFF_BLOCKS.get(name)
        if find is None:
            found |= _RIFF_CHUNKS.get(name, Removed.COMMENT)
        elif looked[name] <= _MOST_BLOCKS:
            found |= find(untrusted_webp[start:stop])
    if sum(chunk.name == b"ANMF" for chunk in chunks) > 1:
        found |= Removed.SECOND_PICTURE
    return found | _in_trailer(untrusted_webp, 8 + int.from_bytes(untrusted_webp[4:8], "little"))


# -- AVIF and HEIC --------------------------------------------------------------------------------


def _in_boxes(untrusted_photo: bytes, boxes: list[Part]) -> Removed:
    found = Removed.NOTHING
    has_items = False
    for name, start, stop in boxes:
        if name == b"meta" and has_items:
            found |= Removed.SECOND_PICTURE
        elif name == b"meta":
            has_items = True
            found |= _in_items(untrusted_photo, find_boxes(untrusted_photo, start + 4, stop))
        elif name == b"uuid" and untrusted_photo.startswith(_C2PA_UUID, start):
            found |= Removed.CONTENT_CREDENTIALS
        else:
            found |= _BOXES.get(name, Removed.COMMENT)
    return found


def _in_items(untrusted_photo: bytes, boxes: list[Part]) -> Removed:
    """Count pictures that neither another one is made of nor lend it their alpha."""
    found, pictures, parts = Removed.NOTHING, 0, 0
    seen: set[bytes] = set()
    for name, start, stop in boxes:
        if name in seen:
            continue  # a second list is none that a decoder reads
        if name in {b"iinf", b"iref"}:
            seen.add(name)
        if name == b"iinf":
            for item in find_boxes(untrusted_photo, start + 6, stop):
                pictures += untrusted_photo[item.start + 8 : item.start + 12] in _PICTURE_ITEMS
        elif name == b"iref":
            links = find_boxes(untrusted_photo, start + 4, stop)
            id_bytes = 4 if untrusted_photo[start : start + 1] == b"\1" else 2
            parts += sum(_count_parts(untrusted_photo, link, id_bytes) for link in links)
            if any(link.name == b"thmb" for link in links):
                found |= Removed.THUMBNAIL
        elif name in {b"free", b"skip", b"uuid"}:
            found |= Removed.COMMENT
    return found | (Removed.SECOND_PICTURE if pictures - parts > 1 else Removed.NOTHING)


def _count_parts(untrusted_photo: bytes, link: Part, id_bytes: int) -> int:
    """Return how many pictures a reference between items explains."""
    if link.name == b"dimg":
        count = untrusted_photo[link.start + id_bytes : link.start + id_bytes + 2]
        return int.from_bytes(count, "big")
    return link.name in {b"thmb", b"auxl"}


def _in_info(picture: Image.Image) -> Removed:
    """Look at the blocks that the decoder found among the items."""
    found = Removed.NOTHING
    for name, find in (("exif", blocks.in_exif), ("xmp", blocks.in_xmp)):
        if content := picture.info.get(name):
            found |= find(content)
    return found | (Removed.COLOUR_PROFILE if picture.info.get("icc_profile") else Removed.NOTHING)
