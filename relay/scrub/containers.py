"""Walk over the parts of a photo's file, and give a decoder those that make the picture, no others.

Nothing of the parts is read but names and lengths.

Source: ITU-T T.81 annex B; PNG (W3C) section 5.3; RFC 9649 section 2.3 (RIFF); ISO/IEC 14496-12
section 4.2 (boxes).
"""

import itertools
import re
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from relay.scrub.formats import Kind

# A PNG of 64 MiB in the chunks of 8 KiB that libpng writes has 8,192 parts, a JPEG with a depth
# map in XMP has hundreds. Millions would keep the plug-ins of Pillow busy for a minute.
MOST_PARTS = 50_000
META_BYTES = 1 << 18  # where AVIF and HEIC describe themselves
_MOST_PROFILE_PARTS, _MOST_PROFILE_BYTES = 16, 1 << 16
SOS, EOI = b"\xda", b"\xd9"
_NEXT_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
# Markers that a length follows and that decoders pass over, or read, as a whole.
_SEGMENTS = {bytes([marker]) for marker in (*range(0xC0, 0xD0), *range(0xDA, 0xF0), 0xFE)} - {
    b"\xc8"
}
# What decodes a JPEG: frames, Huffman and quantisation tables, height, restarts.
_DECODED_SEGMENTS = {b"%c" % at for at in (*range(0xC0, 0xD0), 0xDB, 0xDC, 0xDD)} - {b"\xc8"}
_CLEAN_APERTURE = re.compile(rb"\0\0\0\x28clap")  # Source: ISO/IEC 14496-12 section 12.1.4
_EXIF_ITEM = re.compile(rb"(infe.{8})Exif", re.DOTALL)  # Source: the same, section 8.11.6
_COLOUR_MARKS = {b"\xe0": b"JFIF\0", b"\xee": b"Adobe"}  # the first of each
# Coded by arithmetic: no phone, camera or browser does it, and a file of 40 kB keeps a decoder busy
# for seconds. Source: ITU-T T.81 table B.1.
_ARITHMETIC = {b"%c" % at for at in (0xC9, 0xCA, 0xCB, 0xCC, 0xCD, 0xCE, 0xCF)}
_DECODED_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}


class TooComplexError(Exception):
    """The file asks for more work than a photo is worth."""


class Part(NamedTuple):
    """A segment, chunk or box: its name, where its content starts, and where it stops.

    The name of a segment is its marker; its content begins after its length.
    """

    name: bytes
    start: int
    stop: int


def find_parts(untrusted_photo: bytes, kind: Kind) -> list[Part]:
    """Return the parts of the file up to its own end, or the first `MOST_PARTS` of them."""
    return list(itertools.islice(_WALKS[kind](untrusted_photo), MOST_PARTS))


def find_boxes(untrusted_photo: bytes, start: int, stop: int) -> list[Part]:
    """Return the boxes inside a box, or the first `MOST_PARTS` of them."""
    return list(itertools.islice(_walk_boxes(untrusted_photo, start, stop), MOST_PARTS))


def count_scans(segments: list[Part]) -> int:
    """Return how many scans a JPEG decoder would go through."""
    return sum(segment.name == SOS for segment in segments)


def is_arithmetic(segments: list[Part]) -> bool:
    """Whether a JPEG is coded by arithmetic."""
    return any(segment.name in _ARITHMETIC for segment in segments)


def is_cropped(untrusted_photo: bytes, boxes: list[Part]) -> bool:
    """Whether an AVIF asks for a part of its picture to be shown: its decoder shows the whole."""
    return any(
        _CLEAN_APERTURE.search(untrusted_photo, box.start, box.stop)
        for box in boxes
        if box.name in {b"meta", b"moov"}
    )


def hide_exif(untrusted_photo: bytes, boxes: list[Part]) -> bytes:
    """Return an AVIF whose EXIF its decoder does not find: where it is damaged, nothing opens."""
    hidden = bytearray(untrusted_photo)
    for start, stop in [(box.start, box.stop) for box in boxes if box.name == b"meta"]:
        hidden[start:stop] = _EXIF_ITEM.sub(rb"\1skip", untrusted_photo[start:stop])
    return bytes(hidden)


def strip(untrusted_photo: bytes, kind: Kind, parts: list[Part]) -> bytes:
    """Return a JPEG or PNG of the parts that its decoder needs; other kinds as they are.

    Metadata that is not there costs a plug-in no time and finds no flaw in it.
    """
    if kind is Kind.JPEG:
        with memoryview(untrusted_photo) as view:  # joined from where it lies, copied once
            return b"".join([view[:2], *_keep_segments(view, untrusted_photo, parts)])
    if kind is Kind.PNG:
        kept = [part for part in parts if part.name in _DECODED_CHUNKS]
        return untrusted_photo[:8] + b"".join(
            untrusted_photo[part.start - 8 : part.stop + 4] for part in kept
        )
    return untrusted_photo


def find_profile(untrusted_photo: bytes, kind: Kind, parts: list[Part]) -> bytes:
    """Return the start of the colour profile of a JPEG or PNG; empty where there is none."""
    if kind is Kind.JPEG:
        return b"".join(
            untrusted_photo[part.start : part.stop]
            for part in [part for part in parts if part.name == b"\xe2"][:_MOST_PROFILE_PARTS]
            if untrusted_photo.startswith(b"ICC_PROFILE\0", part.start)
        )
    for part in parts:
        if part.name == b"iCCP":
            deflated = untrusted_photo[part.start : part.stop].partition(b"\0")[2][1:]
            try:
                return zlib.decompressobj().decompress(deflated, _MOST_PROFILE_BYTES)
            except zlib.error:
                return b""
    return b""


def find_primaries(untrusted_photo: bytes, kind: Kind, parts: list[Part]) -> int | None:
    """Return the code of primaries that a PNG, AVIF or HEIC gives, as of ITU-T H.273."""
    if kind is Kind.PNG:
        codes = [untrusted_photo[part.start] for part in parts if part.name == b"cICP"]
        return codes[0] if codes else None
    if kind in {Kind.AVIF, Kind.HEIC}:
        at = untrusted_photo.find(b"colrnclx", 0, META_BYTES)
        return int.from_bytes(untrusted_photo[at + 8 : at + 10], "big") if at >= 0 else None
    return None


def _keep_segments(
    view: memoryview, untrusted_jpeg: bytes, segments: list[Part]
) -> Iterator[memoryview]:
    """Yield tables, frame and what tells the colour space, then all from the first scan on.

    They are pieces of `view`, which shows the same bytes.
    """
    colour_marks = dict(_COLOUR_MARKS)
    for name, start, stop in segments:
        if name == SOS:
            yield view[start - 4 :]
            return
        is_colour = name in colour_marks and untrusted_jpeg.startswith(colour_marks[name], start)
        if name in _DECODED_SEGMENTS or is_colour:
            yield view[start - 4 : stop]
            colour_marks.pop(name, None)


def _walk_jpeg(data: bytes) -> Iterator[Part]:
    """Yield each segment; entropy-coded bytes between them are passed over as a decoder does."""
    position = 2
    while match := _NEXT_MARKER.search(data, position):
        at = match.end()
        if match[1] == EOI:
            yield Part(EOI, at, at)
            return
        position = at
        if match[1] in _SEGMENTS:  # of others a decoder reads no length, and must not lose scans
            position += max(2, int.from_bytes(data[at : at + 2], "big"))
        yield Part(match[1], at + 2, position)


def _walk_png(data: bytes) -> Iterator[Part]:
    position = 8
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        name, start = data[position + 4 : position + 8], position + 8
        position = start + length + 4
        yield Part(name, start, start + length)
        if name == b"IEND":
            return


def _walk_riff(data: bytes) -> Iterator[Part]:
    position, end = 12, min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    while position + 8 <= end:
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        name, start = data[position : position + 4], position + 8
        position = start + length + length % 2
        yield Part(name, start, start + length)


def _walk_boxes(data: bytes, position: int = 0, end: int | None = None) -> Iterator[Part]:
    end = len(data) if end is None else min(end, len(data))
    while position + 8 <= end:
        length = int.from_bytes(data[position : position + 4], "big")
        name, start = data[position + 4 : position + 8], position + 8
        if length == 1:
            start += 8
            length = int.from_bytes(data[start - 8 : start], "big")
        position = max(start, position + length) if length else end
        yield Part(name, start, min(position, end))


_WALKS: dict[Kind, Callable[[bytes], Iterator[Part]]] = {
    Kind.JPEG: _walk_jpeg,
    Kind.PNG: _walk_png,
    Kind.WEBP: _walk_riff,
    Kind.AVIF: _walk_boxes,
    Kind.HEIC: _walk_boxes,
}
