"""Which of the report's words a block of metadata deserves: EXIF, XMP, IPTC, Photoshop.

Tags and names are read, never a value. A damaged block gives fewer words.
Source: Exif 2.32 section 4.6; XMP parts 1 to 3; IPTC IIM 4.2; Adobe Photoshop File Formats
(image resources).
"""

import struct
from collections.abc import Callable, Iterable, Mapping

from relay.scrub.wire import Removed

_ORIENTATION, _EXIF_POINTER, _GPS_POINTER = 0x0112, 0x8769, 0x8825
_ORIENTATIONS = range(1, 9)
_EXIF_TAGS = {
    Removed.TIME: (
        *(0x0132, 0x9003, 0x9004, 0x9010, 0x9011, 0x9012, 0x9290, 0x9291, 0x9292, 0xC71B),
    ),
    Removed.DEVICE: (0x010F, 0x0110, 0x0131, 0x013C, 0x927C, 0xA433, 0xA434, 0xC614),
    Removed.SERIAL_NUMBER: (0xA420, 0xA431, 0xA435, 0xC62F),
    Removed.THUMBNAIL: (0x014A,),
    Removed.EDIT_HISTORY: (0x000B,),
    Removed.COMMENT: (
        *(0x010E, 0x013B, 0x8298, 0x9286, 0xA430),
        *(0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F),
    ),
}
# What says how the file is made, and nothing of anybody: sizes, resolution, colours, versions,
# pointers. Anything that stands nowhere here is called a comment.
_EXIF_HARMLESS = {
    *(0x0100, 0x0101, 0x0102, 0x0103, 0x0106, 0x0112, 0x0115, 0x011A, 0x011B, 0x011C, 0x0128),
    *(0x0201, 0x0202, 0x0211, 0x0212, 0x0213, _EXIF_POINTER, _GPS_POINTER, 0x9000, 0x9101),
    *(0xA000, 0xA001, 0xA002, 0xA003, 0xA005),
}
_EXIF_KNOWN = _EXIF_HARMLESS | {tag for tags in _EXIF_TAGS.values() for tag in tags}
_GPS_VERSION = 0x0000
_GPS_TIMES = {Removed.TIME: (0x0007, 0x001D)}
_THUMBNAIL_TAGS = {Removed.THUMBNAIL: (0x0111, 0x0201)}
_XMP_WORDS = {
    Removed.POSITION: (
        *(b"GPSL", b"photoshop:City", b"photoshop:State", b"photoshop:Country"),
        *(b"Iptc4xmpCore:Location", b"LocationCreated", b"LocationShown"),
    ),
    Removed.TIME: (b"CreateDate", b"ModifyDate", b"DateCreated", b"DateTimeOriginal"),
    Removed.DEVICE: (b"tiff:Model", b"tiff:Make", b"CreatorTool", b"aux:Lens"),
    Removed.SERIAL_NUMBER: (b"SerialNumber", b"DocumentID", b"InstanceID"),
    Removed.THUMBNAIL: (b"xmp:Thumbnails", b"xmpGImg"),
    Removed.EDIT_HISTORY: (b"xmpMM:History", b"DerivedFrom", b"photoshop:History", b"crs:"),
    Removed.CONTENT_CREDENTIALS: (b"dcterms:provenance",),
    Removed.SECOND_PICTURE: (b"GDepth:Data", b"GImage:Data", b"hdrgm:"),
    Removed.VIDEO: (b"MotionPhoto", b"MicroVideo"),
    Removed.COMMENT: (b"dc:description", b"dc:title", b"dc:creator", b"UserComment"),
}
MOST_XMP_BYTES = 1 << 20
_IPTC, _ICC, _XMP, _EXIF_BLOCKS = 0x0404, 0x040F, 0x0424, (0x0422, 0x0423)
_THUMBNAIL_BLOCKS = (0x0409, 0x040C)
_IPTC_APPLICATION_RECORD = 2
_IPTC_FIELDS = {
    Removed.POSITION: (26, 27, 90, 92, 95, 100, 101),
    Removed.TIME: (30, 35, 55, 60, 62, 63),
    Removed.DEVICE: (65, 70),
}
_IPTC_NAMED = {field for fields in _IPTC_FIELDS.values() for field in fields}
_MOST_RESOURCES = 1000  # in one block; an editor writes some thirty


def orientation_in_exif(block: bytes) -> int:
    """Return the orientation, 1 to 8; 1 where nothing says otherwise."""
    tiff, order = _open_tiff(block)
    value = _directory(tiff, order, _long(tiff, order, 4))[0].get(_ORIENTATION, 0)
    # A SHORT stands in the first two of four bytes; some write a LONG, or a single byte.
    read = (value >> 16, value, value >> 24) if order == ">" else (value & 0xFFFF,)
    return next((one for one in read if one in _ORIENTATIONS), 1)


def in_exif(block: bytes) -> Removed:
    """Return the words for EXIF in either byte order, with or without its `Exif` in front."""
    tiff, order = _open_tiff(block)
    main, thumbnail_at = _directory(tiff, order, _long(tiff, order, 4))
    exif, _ = _directory(tiff, order, main.get(_EXIF_POINTER, 0))
    gps, _ = _directory(tiff, order, main.get(_GPS_POINTER, 0))
    thumbnail, _ = _directory(tiff, order, thumbnail_at)
    return (
        _flags(_EXIF_TAGS, (main | exif).__contains__)
        | (Removed.POSITION if gps.keys() - {_GPS_VERSION} else Removed.NOTHING)
        | _flags(_GPS_TIMES, gps.__contains__)
        | _flags(_THUMBNAIL_TAGS, thumbnail.__contains__)
        | (Removed.NOTHING if main and (main | exif).keys() <= _EXIF_KNOWN else Removed.COMMENT)
    )


def in_xmp(block: bytes) -> Removed:
    """Return the words for an XMP packet; what says nothing we know is a comment."""
    text = block[:MOST_XMP_BYTES].replace(b"\0", b"")  # in UTF-16 every second byte is one
    return _flags(_XMP_WORDS, text.__contains__) or Removed.COMMENT


def in_photoshop(block: bytes) -> Removed:
    """Return the words for Photoshop's image resources: an editor wrote them."""
    found, at = Removed.EDIT_HISTORY, block.find(b"8BIM")
    for _ in range(_MOST_RESOURCES):
        if at < 0 or not block.startswith(b"8BIM", at):
            break
        code = int.from_bytes(block[at + 4 : at + 6], "big")
        name_length = int.from_bytes(block[at + 6 : at + 7], "big")
        start = at + 6 + (name_length + 2) // 2 * 2 + 4
        stop = start + int.from_bytes(block[start - 4 : start], "big")
        found |= _in_resource(code, block[start:stop])
        at = stop + stop % 2 if start % 2 == 0 else stop + (stop - start) % 2
    return found


def in_iptc(block: bytes) -> Removed:
    """Return the words for IPTC: datasets of a tag, record, field, length and value."""
    fields, at = set(), 0
    while block.startswith(b"\x1c", at) and at + 5 <= len(block):
        if block[at + 1] == _IPTC_APPLICATION_RECORD and block[at + 2]:
            fields.add(block[at + 2])
        at += 5 + int.from_bytes(block[at + 3 : at + 5], "big")
    found = _flags(_IPTC_FIELDS, fields.__contains__)
    return found if fields and fields <= _IPTC_NAMED else found | Removed.COMMENT


def _in_resource(code: int, content: bytes) -> Removed:
    if code == _IPTC:
        return in_iptc(content)
    if code == _XMP:
        return in_xmp(content)
    if code in _EXIF_BLOCKS:
        return in_exif(content)
    if code in _THUMBNAIL_BLOCKS:
        return Removed.THUMBNAIL
    return Removed.COLOUR_PROFILE if code == _ICC else Removed.NOTHING


def _flags(words: Mapping[Removed, Iterable[object]], is_there: Callable[..., bool]) -> Removed:
    """Return every flag of which a word is there."""
    found = Removed.NOTHING
    for flag, candidates in words.items():
        if any(is_there(word) for word in candidates):
            found |= flag
    return found


def _open_tiff(block: bytes) -> tuple[bytes, str]:
    tiff = block.removeprefix(b"Exif\0").removeprefix(b"\0")
    return tiff, ">" if tiff.startswith(b"MM") else "<"


def _directory(tiff: bytes, order: str, at: int) -> tuple[dict[int, int], int]:
    """Return each tag with its last four bytes as a number, and where the next directory is."""
    if at <= 0 or at + 2 > len(tiff):
        return {}, 0
    (count,) = struct.unpack_from(order + "H", tiff, at)
    stop = at + 2 + 12 * count
    whole = tiff[at + 2 : stop]
    entries = struct.iter_unpack(order + "HHII", whole[: len(whole) // 12 * 12])
    return {tag: value for tag, _, _, value in entries}, _long(tiff, order, stop)


def _long(tiff: bytes, order: str, at: int) -> int:
    return int(struct.unpack_from(order + "I", tiff, at)[0]) if at + 4 <= len(tiff) else 0
