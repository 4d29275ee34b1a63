"""Say what a photo carried besides its picture, in a closed vocabulary. Runs inside the box only.

This is for the submitter's eyes: what it overlooks is removed all the same, since nothing but
pixels goes on.
"""

import re
from collections.abc import Callable

from PIL import ExifTags, Image

from relay.scrub.jpeg import EOI, walk
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
_INFO_KEYS = {"icc_profile": Removed.COLOUR_PROFILE}
_ALPHA_MODES = {"RGBA", "LA", "PA"}
_COM, _APP0, _APP14 = 0xFE, 0xE0, 0xEE
_APPS = range(0xE0, 0xF0)
_EXIF, _ICC, _MPF = b"Exif\0", b"ICC_PROFILE\0", b"MPF\0"
_XMP, _PHOTOSHOP = b"http://ns.adobe.com/", b"Photoshop "
_PLAIN_JFIF_BYTES = 16
_TRAILER_HEAD_BYTES = 4096


def find_removed(untrusted_photo: bytes, picture: Image.Image) -> Removed:
    """Return what was found; a file too damaged to tell gives less, never an error."""
    if picture.format == "JPEG":
        return _in_jpeg(untrusted_photo)
    found = _in_exif(picture.getexif) | _in_xmp(_text(picture.info.get("xmp", b"")))
    for key, flag in _INFO_KEYS.items():
        if picture.info.get(key):
            found |= flag
    if getattr(picture, "text", None):
        found |= Removed.COMMENT
    if picture.mode in _ALPHA_MODES or "transparency" in picture.info:
        found |= Removed.HIDDEN_PIXELS
    if getattr(picture, "n_frames", 1) > 1:
        found |= Removed.SECOND_PICTURE
    return found


def _text(value: object) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value) if value else b""  # type: ignore[call-overload]


def _in_exif(load: Callable[[], Image.Exif]) -> Removed:
    try:
        exif = load()
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
    except Exception:  # noqa: BLE001 - a damaged block must not cost anyone her photo
        return Removed.COMMENT
    return found


def _in_xmp(xmp: bytes) -> Removed:
    found = Removed.NOTHING
    for flag, words in _XMP_WORDS.items():
        if words.search(xmp):
            found |= flag
    return found


def _in_jpeg(untrusted_jpeg: bytes) -> Removed:
    found = Removed.NOTHING
    end = len(untrusted_jpeg)
    for marker, start, stop in walk(untrusted_jpeg):
        if marker == EOI:
            end = stop
        elif marker == _COM or marker in _APPS:
            found |= _in_segment(marker, untrusted_jpeg[start + 2 : stop])
    return found | _in_trailer(untrusted_jpeg[end:])


def _in_segment(marker: int, body: bytes) -> Removed:
    if marker == _APP14 or (marker == _APP0 and len(body) + 2 == _PLAIN_JFIF_BYTES):
        return Removed.NOTHING
    if marker == _APP0:
        return Removed.THUMBNAIL
    if body.startswith(_EXIF):
        return _in_exif(lambda: _load_exif(body))
    if body.startswith(_XMP):
        return _in_xmp(body) or Removed.EDIT_HISTORY
    for head, flag in (
        (_PHOTOSHOP, Removed.EDIT_HISTORY),
        (_ICC, Removed.COLOUR_PROFILE),
        (_MPF, Removed.SECOND_PICTURE),
    ):
        if body.startswith(head):
            return flag
    return Removed.CONTENT_CREDENTIALS if b"c2pa" in body else Removed.COMMENT


def _load_exif(body: bytes) -> Image.Exif:
    exif = Image.Exif()
    exif.load(body)
    return exif


def _in_trailer(trailer: bytes) -> Removed:
    found = Removed.NOTHING
    if b"ftyp" in trailer[:_TRAILER_HEAD_BYTES]:
        found |= Removed.VIDEO
    if b"\xff\xd8\xff" in trailer:
        found |= Removed.SECOND_PICTURE
    return found or (Removed.COMMENT if trailer else Removed.NOTHING)
