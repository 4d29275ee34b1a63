"""Photos that carry everything: made here, so that nobody's picture has to be kept."""

import io
import random

import piexif
from PIL import Image, ImageCms, PngImagePlugin

CANARIES = {
    "make": b"CANARYMAKE",
    "model": b"CANARYMODEL",
    "serial": b"CANARYSERIAL9731",
    "maker_note": b"CANARYMAKERNOTE",
    "gps": b"CANARYGPSAREA",
    "comment": b"CANARYCOMMENT",
    "user_comment": b"CANARYUSERCOMMENT",
    "xmp": b"CANARYXMP",
    "iptc": b"CANARYIPTC",
    "second_exif": b"CANARYSECONDEXIF",
    "unknown_app": b"CANARYAPPNINE",
    "icc": b"CANARYICC",
    "video": b"CANARYVIDEO",
}
FILE_NAME = "CANARYFILENAME.jpg"


def picture(width: int = 400, height: int = 300, *, seed: int = 1) -> Image.Image:
    """A busy picture: colour noise under coarse blocks, the same for the same seed."""
    rng = random.Random(seed)
    coarse = Image.frombytes("RGB", (16, 12), rng.randbytes(16 * 12 * 3))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def noise(width: int, height: int, *, seed: int = 1) -> Image.Image:
    """The picture that compresses worst."""
    rng = random.Random(seed)
    return Image.frombytes("RGB", (width, height), rng.randbytes(width * height * 3))


def encode(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body


def dirty_exif(thumbnail: bytes) -> bytes:
    zeroth = {
        piexif.ImageIFD.Make: CANARIES["make"],
        piexif.ImageIFD.Model: CANARIES["model"],
        piexif.ImageIFD.DateTime: b"2026:03:19 08:00:00",
    }
    exif = {
        piexif.ExifIFD.BodySerialNumber: CANARIES["serial"],
        piexif.ExifIFD.MakerNote: CANARIES["maker_note"],
        piexif.ExifIFD.UserComment: CANARIES["user_comment"],
    }
    gps = {
        piexif.GPSIFD.GPSLatitudeRef: b"N",
        piexif.GPSIFD.GPSLatitude: ((34, 1), (31, 1), (4242, 100)),
        piexif.GPSIFD.GPSLongitudeRef: b"E",
        piexif.GPSIFD.GPSLongitude: ((69, 1), (10, 1), (2424, 100)),
        piexif.GPSIFD.GPSAreaInformation: CANARIES["gps"],
    }
    return piexif.dump({"0th": zeroth, "Exif": exif, "GPS": gps, "1st": {}, "thumbnail": thumbnail})


def dirty_jpeg(image: Image.Image | None = None) -> bytes:
    """A JPEG with GPS, serial number, thumbnail, comment, XMP, IPTC, ICC and a trailing video."""
    image = image or picture()
    thumbnail = encode(image.resize((160, 120)), quality=70)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    clean = encode(
        image, quality=92, exif=dirty_exif(thumbnail), icc_profile=profile + CANARIES["icc"]
    )
    extra = b"".join(
        [
            segment(0xE1, b"Exif\0\0" + CANARIES["second_exif"]),
            segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>" + CANARIES["xmp"]),
            segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x0a" + CANARIES["iptc"]),
            segment(0xE9, CANARIES["unknown_app"]),
            segment(0xFE, CANARIES["comment"]),
        ]
    )
    after_exif = 2 + 2 + int.from_bytes(clean[4:6], "big")
    video = b"\0\0\0\x18ftypmp42" + CANARIES["video"] + bytes(5000)
    return clean[:after_exif] + extra + clean[after_exif:] + video


def dirty_png() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", CANARIES["comment"].decode())
    info.add_itxt("XML:com.adobe.xmp", CANARIES["xmp"].decode())
    return encode(picture(), "PNG", pnginfo=info, exif=dirty_exif(encode(picture(160, 120))))


def dirty_webp() -> bytes:
    exif = dirty_exif(encode(picture(160, 120)))
    return encode(picture(), "WEBP", exif=exif, xmp=CANARIES["xmp"])
