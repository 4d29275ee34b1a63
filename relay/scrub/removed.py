"""Say what a photo carried besides its picture, in a closed vocabulary. Runs inside the box only.

This is for the submitter's eyes: what it overlooks is removed all the same, since nothing but
pixels goes on.
"""

import re
from collections.abc import Iterator

from PIL import ExifTags, Image

from relay.scrub.wire import Removed

_TIME_TAGS = {0x0132, 0x9003, 0x9004, 0xC71B}
_DEVICE_TAGS = {0x010F, 0x0110, 0x0131, 0x927C, 0xA433, 0xA434}
_SERIAL_TAGS = {0xA431, 0xA435, 0xC62F, 0xA420}
_COMMENT_TAGS = {0x010E, 0x013B, 0x8298, 0x9286, 0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F}
_XMP_WORDS = {
    Removed.POSITION: re.compile(rb"GPSL|photoshop:City|Iptc4xmpCore:Location"),
    Removed.TIME: re.compile(rb"CreateDate|ModifyDate|DateCreated"),
    Removed.DEVICE: re.compile(rb"tiff:Model|tiff:Make|CreatorTool"),
    Removed.SERIAL_NUMBER: re.compile(rb"SerialNumber|DocumentID|InstanceID"),
    Removed.THUMBNAIL: re.compile(rb"xmp:Thumbnails|xmpGImg"),
    Removed.EDIT_HISTORY: re.compile(rb"xmpMM:History|DerivedFrom|photoshop:History"),
    Removed.COMMENT: re.compile(rb"dc:description|dc:title|dc:creator|UserComment"),
}
_INFO_KEYS = {
    "icc_profile": Removed.COLOUR_PROFILE,
    "comment": Removed.COMMENT,
    "mp": Removed.SECOND_PICTURE,
    "photoshop": Removed.EDIT_HISTORY,
}
_NEXT_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_APP11, _SOS, _EOI = 0xEB, 0xDA, 0xD9
_JFIF_THUMBNAIL_AT = 12


def find_removed(untrusted_photo: bytes, picture: Image.Image) -> Removed:
    """Return what was found; a file too damaged to tell gives less, never an error."""
    found = Removed.NOTHING
    for finder in (_in_exif, _in_info, _in_frames):
        try:
            found |= finder(picture)
        except Exception:  # noqa: BLE001, S112 - a report must not cost anyone her photo
            continue
    if picture.format == "JPEG":
        found |= _in_segments(untrusted_photo)
    return found


def _in_exif(picture: Image.Image) -> Removed:
    exif = picture.getexif()
    tags = set(exif) | set(exif.get_ifd(ExifTags.IFD.Exif))
    found = Removed.NOTHING
    for flag, wanted in (
        (Removed.TIME, _TIME_TAGS),
        (Removed.DEVICE, _DEVICE_TAGS),
        (Removed.SERIAL_NUMBER, _SERIAL_TAGS),
        (Removed.COMMENT, _COMMENT_TAGS),
    ):
        if tags & wanted:
            found |= flag
    if exif.get_ifd(ExifTags.IFD.GPSInfo):
        found |= Removed.POSITION
    if exif.get_ifd(ExifTags.IFD.IFD1):
        found |= Removed.THUMBNAIL
    return found


def _in_info(picture: Image.Image) -> Removed:
    found = Removed.NOTHING
    for key, flag in _INFO_KEYS.items():
        if picture.info.get(key):
            found |= flag
    if getattr(picture, "text", None):
        found |= Removed.COMMENT
    if picture.mode in {"RGBA", "LA", "PA"} or "transparency" in picture.info:
        found |= Removed.HIDDEN_PIXELS
    xmp = picture.info.get("xmp", b"")
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    for flag, words in _XMP_WORDS.items():
        if words.search(xmp):
            found |= flag
    return found


def _in_frames(picture: Image.Image) -> Removed:
    return Removed.SECOND_PICTURE if getattr(picture, "n_frames", 1) > 1 else Removed.NOTHING


def _in_segments(untrusted_jpeg: bytes) -> Removed:
    found = Removed.NOTHING
    end = len(untrusted_jpeg)
    for marker, start, stop in _walk(untrusted_jpeg):
        if marker == _APP11 and b"c2pa" in untrusted_jpeg[start:stop]:
            found |= Removed.CONTENT_CREDENTIALS
        if marker == _EOI:
            end = stop
    trailer = untrusted_jpeg[end:]
    if b"ftyp" in trailer[:4096]:
        found |= Removed.VIDEO
    if b"\xff\xd8\xff" in trailer:
        found |= Removed.SECOND_PICTURE
    if trailer and not found & (Removed.VIDEO | Removed.SECOND_PICTURE):
        found |= Removed.COMMENT
    return found


def _walk(untrusted_jpeg: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and stop of each segment's body, up to the first end of image."""
    position = 2
    while match := _NEXT_MARKER.search(untrusted_jpeg, position):
        marker, start = match.group()[1], match.end()
        if marker == _EOI:
            yield marker, start, start
            return
        length = int.from_bytes(untrusted_jpeg[start : start + 2], "big")
        yield marker, start, start + length
        position = start + max(length, 2)
