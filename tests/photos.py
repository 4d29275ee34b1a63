"""Photos that carry everything: made here, so that nobody's picture has to be kept."""

import io
import math
import random
import struct
import subprocess
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import piexif
import zxingcpp
from PIL import Image, ImageCms, PngImagePlugin

from relay.scrub.wire import Removed

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


def picture(width: int = 640, height: int = 480, *, seed: int = 1) -> Image.Image:
    """A busy picture: coarse colour noise, the same for the same seed.

    Its contrast is low: where it is high, a detector sees faces in it, as people do in clouds.
    """
    rng = random.Random(seed)
    coarse = Image.frombytes(
        "RGB", (16, 12), bytes(96 + b // 4 for b in rng.randbytes(16 * 12 * 3))
    )
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def noise(width: int, height: int, *, seed: int = 1) -> Image.Image:
    """The picture that compresses worst."""
    rng = random.Random(seed)
    return Image.frombytes("RGB", (width, height), rng.randbytes(width * height * 3))


def with_code(
    size: tuple[int, int] = (1600, 1200), at: tuple[int, int] = (1200, 900), *, scale: int = 10
) -> Image.Image:
    """A grey wall with a QR code on it, 29 times `scale` px large."""
    wall = Image.new("RGB", size, (150, 150, 140))
    code = zxingcpp.create_barcode("her address", zxingcpp.BarcodeFormat.QRCode)
    wall.paste(Image.fromarray(code.to_image(scale=scale)).convert("RGB"), at)
    return wall


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


# -- one photo for each channel of THREATS.md section 1 ------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Channel:
    """A photo, what it hides as bytes or as pixels, and what the report must say of it."""

    photo: bytes
    canaries: tuple[bytes, ...] = ()
    found: Removed = Removed.NOTHING
    is_gone: Callable[[Image.Image], bool] = field(default=lambda _: True)


def canary(name: str) -> bytes:
    return b"CANARY-" + name.upper().encode().replace(b" ", b"-") + b"-7319"


def core(jpeg: bytes) -> bytes:
    """Bytes from the middle of the coded pixels of a picture: nothing else has them."""
    return jpeg[-120:-60]


RED, WHITE = (220, 0, 0), (255, 255, 255)
PLAIN = encode(picture(), quality=92)
SECOND = encode(picture(160, 120, seed=99), quality=70)
PROGRESSIVE = encode(picture(), quality=92, progressive=True)
START, END = 20, len(PLAIN) - 2  # after JFIF; before the end marker


def inserted(content: bytes, at: int = START, photo: bytes = PLAIN) -> bytes:
    return photo[:at] + content + photo[at:]


def tiff(tags: dict[int, bytes], order: str = "<", next_at: int = 0) -> bytes:
    """EXIF with text tags in its main directory, in either byte order."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    values, at = b"", 8 + 2 + 12 * len(tags) + 4
    entries = b""
    for tag, value in sorted(tags.items()):
        entries += struct.pack(order + "HHII", tag, 2, len(value), at + len(values))
        values += value
    head = mark + struct.pack(order + "IH", 8, len(tags))
    return head + entries + struct.pack(order + "I", next_at) + values


def resource(code: int, content: bytes) -> bytes:
    """One of Photoshop's image resources, with an empty name."""
    return (
        b"8BIM" + struct.pack("!HHI", code, 0, len(content)) + content + b"\0" * (len(content) % 2)
    )


def photoshop(*resources: bytes) -> bytes:
    return segment(0xED, b"Photoshop 3.0\0" + b"".join(resources))


def iptc(field_: int, value: bytes) -> bytes:
    return b"\x1c\x02" + struct.pack("!BH", field_, len(value)) + value


def xmp(content: bytes) -> bytes:
    return segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>" + content)


def chunk(name: bytes, content: bytes) -> bytes:
    crc = zlib.crc32(name + content)
    return struct.pack("!I", len(content)) + name + content + struct.pack("!I", crc)


def stored(content: bytes) -> bytes:
    """A zlib stream in which the content can be read with the naked eye."""
    return zlib.compress(content, 0)


def png(
    header: tuple[int, int, int, int] = (320, 240, 8, 2),
    *,
    rows: bytes | None = None,
    before: bytes = b"",
    after: bytes = b"",
) -> bytes:
    """A PNG written by hand. header: width, height, depth, colour type. rows: with filter bytes."""
    if rows is None:
        rows = (b"\0" + b"\x20\x60\xa0" * header[0]) * header[1]
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack("!IIBBBBB", *header, 0, 0, 0)),
            before,
            chunk(b"IDAT", stored(rows)),
            after,
            chunk(b"IEND", b""),
        ]
    )


def riff(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def webp(*chunks: bytes, flags: int = 0) -> bytes:
    """An extended WebP with a still picture and more chunks behind it."""
    still = encode(picture(320, 240), "WEBP")[12:]
    size = struct.pack("<I", flags) + struct.pack("<I", 319)[:3] + struct.pack("<I", 239)[:3]
    return riff_file(riff(b"VP8X", size) + still + b"".join(chunks))


def riff_file(body: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack("!I", 8 + len(content)) + name + content


def avif(image: Image.Image | None = None, **options: object) -> bytes:
    return encode(image or picture(320, 240), "AVIF", speed=10, max_threads=1, **options)


def boxes_in(data: bytes, start: int, stop: int) -> dict[bytes, tuple[int, int]]:
    """Where the content of each box starts and stops, by name."""
    found = {}
    while start < stop:
        length = int.from_bytes(data[start : start + 4], "big")
        found[data[start + 4 : start + 8]] = (start + 8, start + length)
        start += length
    return found


def cropped_avif() -> bytes:
    """White in its left half, which it asks to be shown; red in the right one, cut away."""
    whole = avif(hidden("RGBA").convert("RGB"), quality=100)
    meta = boxes_in(whole, 0, len(whole))[b"meta"]
    iprp = boxes_in(whole, meta[0] + 4, meta[1])[b"iprp"]
    parts = boxes_in(whole, *iprp)
    (ipco, ipco_end), (ipma, ipma_end) = parts[b"ipco"], parts[b"ipma"]
    left_half = box(b"clap", struct.pack("!8i", 160, 1, 240, 1, -80, 1, 0, 1))
    number, at = 1, ipco
    while at < ipco_end:
        number, at = number + 1, at + int.from_bytes(whole[at : at + 4], "big")
    links = bytearray(whole[ipma:ipma_end] + bytes([0x80 | number]))
    links[10] += 1  # behind version, flags, how many items, the first item's number
    properties = box(b"ipco", whole[ipco:ipco_end] + left_half) + box(b"ipma", bytes(links))
    grown = len(properties) - (iprp[1] - iprp[0])
    head = whole[meta[0] : iprp[0] - 8] + box(b"iprp", properties) + whole[iprp[1] : meta[1]]
    cropped = whole[: meta[0] - 8] + box(b"meta", head) + whole[meta[1] :]
    place = boxes_in(whole, 0, len(whole))[b"mdat"][0]
    return cropped.replace(struct.pack("!I", place), struct.pack("!I", place + grown), 1)


def hidden(mode: str) -> Image.Image:
    """White where it shows, red where it is transparent: the right half."""
    image = Image.new("RGBA", (320, 240), (*WHITE, 255))
    image.paste((*RED, 0), (160, 0, 320, 240))
    return image.convert(mode)


def is_white(image: Image.Image) -> bool:
    return all(low >= 250 for low, _ in image.convert("RGB").getextrema())


def has_no_red(image: Image.Image) -> bool:
    red, green, _ = image.convert("RGB").split()
    return max(r - g for r, g in zip(red.tobytes(), green.tobytes(), strict=True)) < 60


MARK = random.Random(7319).randbytes(640 * 480)


def marked() -> bytes:
    """A picture whose least significant bits hold a message."""
    grey = picture().convert("L").tobytes()
    return bytes(pixel & 0xFE | bit & 1 for pixel, bit in zip(grey, MARK, strict=True))


def has_no_mark(image: Image.Image) -> bool:
    pixels = image.convert("L").tobytes()
    same = sum((pixel ^ bit) & 1 == 0 for pixel, bit in zip(pixels, MARK, strict=True))
    return 0.45 < same / len(MARK) < 0.55


def _jpeg_app(name: str, marker: int, head: bytes, found: Removed) -> Channel:
    word = canary(name)
    return Channel(photo=inserted(segment(marker, head + word)), canaries=(word,), found=found)


def _exif(_: str) -> Channel:
    """Everything that a camera writes, GPS and serial numbers and thumbnail."""
    words = [CANARIES[key] for key in ("make", "model", "serial", "maker_note", "gps")]
    return Channel(
        photo=encode(picture(), exif=dirty_exif(SECOND)),
        canaries=(*words, b"2026:03:19 08:00:00", core(SECOND)),
        found=Removed.POSITION
        | Removed.TIME
        | Removed.DEVICE
        | Removed.SERIAL_NUMBER
        | Removed.THUMBNAIL
        | Removed.COMMENT,
    )


def _second_exif(name: str) -> Channel:
    word = canary(name)
    both = [
        segment(0xE1, b"Exif\0\0" + tiff({0x010E: b"harmless"})),
        segment(0xE1, b"Exif\0\0" + tiff({0xA431: word}, ">")),
    ]
    return Channel(photo=inserted(b"".join(both)), canaries=(word,), found=Removed.SERIAL_NUMBER)


def _odd_exif(name: str) -> Channel:
    word = canary(name)
    odd = segment(0xE1, b"exif\x01" + tiff({0x010F: word}))
    return Channel(photo=inserted(odd), canaries=(word,), found=Removed.COMMENT)


def _fill_bytes(_: str) -> Channel:
    return Channel(photo=inserted(b"\xff" * 40), canaries=(b"\xff" * 8,))


def _xmp(name: str) -> Channel:
    word = canary(name)
    content = b'<x exif:GPSLatitude="' + word + b'" xmpMM:History="" MotionPhoto="1"/>'
    return Channel(
        photo=inserted(xmp(content)),
        canaries=(word,),
        found=Removed.POSITION | Removed.EDIT_HISTORY | Removed.VIDEO,
    )


def _extended_xmp(name: str) -> Channel:
    word = canary(name)
    head = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 40
    halves = (b"<x GDepth:Da", b'ta="' + word + b'" aux:SerialNumber=""/>')
    extended = b"".join(segment(0xE1, head + half) for half in halves)
    return Channel(
        photo=inserted(xmp(b'xmpNote:HasExtendedXMP=""') + extended),
        canaries=(word,),
        found=Removed.SERIAL_NUMBER | Removed.SECOND_PICTURE,
    )


def _iptc(name: str) -> Channel:
    word = canary(name)
    fields = iptc(90, word) + iptc(55, b"20260319") + iptc(80, word + b"B")
    return Channel(
        photo=inserted(photoshop(resource(0x0404, fields))),
        canaries=(word, b"20260319"),
        found=Removed.POSITION | Removed.TIME | Removed.COMMENT,
    )


def _photoshop_thumbnail(name: str) -> Channel:
    word = canary(name)
    thumbnail = resource(0x040C, bytes(28) + SECOND)
    return Channel(
        photo=inserted(photoshop(resource(0x0421, word), thumbnail)),
        canaries=(word, core(SECOND)),
        found=Removed.THUMBNAIL | Removed.EDIT_HISTORY,
    )


def _jfif_thumbnail(name: str) -> Channel:
    word = (canary(name) + bytes(48))[:48]
    jfif = segment(0xE0, PLAIN[6:18] + b"\x04\x04" + word)
    return Channel(
        photo=PLAIN[:2] + jfif + PLAIN[20:], canaries=(canary(name),), found=Removed.THUMBNAIL
    )


def _jfif_density(_: str) -> Channel:
    word = b"JFIF\0\x01\x01\x01\x43\x41\x4e\x41"
    return Channel(photo=PLAIN[:6] + word + PLAIN[18:], canaries=(word,), found=Removed.DEVICE)


def _mpf(_: str) -> Channel:
    index = segment(0xE2, b"MPF\0" + tiff({0xB001: b"2\0\0\0"}))
    return Channel(
        photo=inserted(index) + SECOND, canaries=(core(SECOND),), found=Removed.SECOND_PICTURE
    )


def _motion_photo(name: str) -> Channel:
    word = canary(name)
    video = b"MotionPhoto_Data" + box(b"ftyp", b"mp42") + box(b"mdat", word)
    return Channel(photo=PLAIN + video, canaries=(word,), found=Removed.VIDEO)


def _trailer(name: str) -> Channel:
    word = canary(name)
    return Channel(photo=PLAIN + b"SEFH" + word + b"SEFT", canaries=(word,), found=Removed.COMMENT)


def _between_scans(name: str) -> Channel:
    word = canary(name)
    at = PROGRESSIVE.rindex(b"\xff\xda")
    return Channel(
        photo=inserted(segment(0xFE, word), at, PROGRESSIVE),
        canaries=(word,),
        found=Removed.COMMENT,
    )


def _in_entropy(name: str) -> Channel:
    word = canary(name)
    return Channel(photo=inserted(word, END), canaries=(word,))


def _unused_tables(name: str) -> Channel:
    word = canary(name)
    quantisation = segment(0xDB, b"\x03" + (word + b"Q" * 64)[:64])
    huffman = segment(0xC4, b"\x13" + bytes(15) + bytes([len(word)]) + word[::-1])
    return Channel(photo=inserted(quantisation + huffman), canaries=(word, word[::-1]))


def _rows_beyond_jpeg(_: str) -> Channel:
    tall = Image.new("RGB", (640, 640), RED)
    tall.paste(picture().convert("L").convert("RGB"))
    photo = encode(tall, quality=92)
    at = photo.index(b"\xff\xc0") + 5
    short = photo[:at] + struct.pack("!H", 480) + photo[at + 2 :]
    return Channel(photo=short, canaries=(short[-40:-2],), is_gone=has_no_red)


def _encoder_habits(_: str) -> Channel:
    tables = [[1 + at % 7 for at in range(64)], [2 + at % 5 for at in range(64)]]
    photo = encode(picture(), qtables=tables, subsampling="4:4:4")
    at = photo.index(b"\xff\xdb") + 5
    return Channel(photo=photo, canaries=(photo[at : at + 64],))


def _png_chunk(name: str, chunk_name: bytes, head: bytes, found: Removed) -> Channel:
    word = canary(name)
    return Channel(photo=png(before=chunk(chunk_name, head + word)), canaries=(word,), found=found)


def _png_text(name: str) -> Channel:
    words = [canary(f"{name} {at}") for at in range(3)]
    text = [
        chunk(b"tEXt", b"Comment\0" + words[0]),
        chunk(b"zTXt", b"Comment\0\0" + stored(words[1])),
        chunk(b"iTXt", b"Comment\0\0\0\0\0" + words[2]),
    ]
    return Channel(
        photo=png(before=text[0], after=text[1] + text[2]),
        canaries=tuple(words),
        found=Removed.COMMENT,
    )


def _png_raw_profile(name: str) -> Channel:
    """What ImageMagick makes of EXIF in a PNG."""
    word = canary(name)
    exif = b"Exif\0\0" + tiff({0xA431: word})
    text = b"\nexif\n%8d\n" % len(exif) + exif.hex().encode() + b"\n"
    return Channel(
        photo=png(before=chunk(b"zTXt", b"Raw profile type exif\0\0" + stored(text))),
        canaries=(word.hex().encode(),),
        found=Removed.SERIAL_NUMBER,
    )


def _png_xmp(name: str) -> Channel:
    word = canary(name)
    packet = stored(b'<x photoshop:City="' + word + b'"/>')
    return Channel(
        photo=png(before=chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + packet)),
        canaries=(word,),
        found=Removed.POSITION,
    )


def _png_time(_: str) -> Channel:
    words = struct.pack("!H5B", 2026, 3, 19, 8, 31, 47), b"CANAPHYS\x01"
    chunks = chunk(b"tIME", words[0]) + chunk(b"pHYs", words[1])
    return Channel(photo=png(before=chunks), canaries=words, found=Removed.TIME | Removed.DEVICE)


def _png_exif(name: str) -> Channel:
    return _png_chunk(name, b"eXIf", tiff({0x010F: b"Make", 0x0132: b"2026"}), Removed.DEVICE)


def _png_profile(name: str) -> Channel:
    word = canary(name)
    profile = chunk(b"iCCP", b"profile\0\0" + stored(word * 4))
    return Channel(photo=png(before=profile), canaries=(word,), found=Removed.COLOUR_PROFILE)


def _rows_beyond_png(name: str) -> Channel:
    word = canary(name)
    row = b"\0" + b"\xc0" * 960
    return Channel(photo=png(rows=row * 240 + word + row * 50), canaries=(word,))


def _after_png(name: str) -> Channel:
    words = canary(name), canary(name + " idat")
    photo = png(after=chunk(b"IDAT", words[1])) + words[0]
    return Channel(photo=photo, canaries=words, found=Removed.COMMENT)


def _unused_palette(name: str) -> Channel:
    word = (canary(name) + b"PADDING")[:27]
    rows = (b"\0" + b"\0" * 320) * 240
    palette = chunk(b"PLTE", b"\x20\x60\xa0" + word)
    return Channel(photo=png((320, 240, 8, 3), rows=rows, before=palette), canaries=(word,))


def _apng(name: str) -> Channel:
    word = canary(name)
    control = chunk(b"acTL", struct.pack("!II", 2, 0))
    frames = [
        chunk(b"fcTL", struct.pack("!IIIIIHHBB", at, 320, 240, 0, 0, 1, 10, 0, 0)) for at in (0, 1)
    ]
    second = chunk(b"fdAT", struct.pack("!I", 2) + stored(word + (b"\0" + b"\xff" * 960) * 240))
    return Channel(
        photo=png(before=control + frames[0], after=frames[1] + second),
        canaries=(word,),
        found=Removed.SECOND_PICTURE,
    )


def _webp(name: str) -> Channel:
    word = canary(name)
    packet = b'<x photoshop:City="' + word + b'X"/>'
    chunks = [
        riff(b"ICCP", word + b"P"),
        riff(b"EXIF", tiff({0xA431: word + b"E"})),
        riff(b"XMP ", packet),
        riff(b"CNRY", word + b"U"),
    ]
    return Channel(
        photo=webp(*chunks, flags=0x2C),
        canaries=tuple(word + end for end in (b"P", b"E", b"X", b"U")),
        found=Removed.POSITION | Removed.SERIAL_NUMBER | Removed.COLOUR_PROFILE | Removed.COMMENT,
    )


def _after_webp(name: str) -> Channel:
    word = canary(name)
    photo = encode(picture(), "WEBP") + word
    return Channel(photo=photo, canaries=(word,), found=Removed.COMMENT)


def _webp_frames(_: str) -> Channel:
    frames = [picture(320, 240), hidden("RGBA").convert("RGB"), noise(320, 240)]
    photo = encode(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=100)
    return Channel(photo=photo, canaries=(photo[-200:-100],), found=Removed.SECOND_PICTURE)


def _avif_blocks(name: str) -> Channel:
    word = canary(name)
    photo = avif(
        exif=tiff({0xA431: word + b"E"}),
        xmp=b'<x photoshop:City="' + word + b'X"/>',
        icc_profile=word + b"P" + bytes(200),
    )
    return Channel(
        photo=photo,
        canaries=tuple(word + end for end in (b"E", b"X", b"P")),
        found=Removed.POSITION | Removed.SERIAL_NUMBER | Removed.COLOUR_PROFILE,
    )


def _avif_frames(_: str) -> Channel:
    photo = avif(save_all=True, append_images=[noise(320, 240)])
    return Channel(photo=photo, canaries=(photo[-200:-100],), found=Removed.SECOND_PICTURE)


def _avif_boxes(name: str) -> Channel:
    word = canary(name)
    return Channel(
        photo=avif() + box(b"free", word) + box(b"uuid", bytes(16) + word[::-1]),
        canaries=(word, word[::-1]),
        found=Removed.COMMENT,
    )


def _avif_credentials(name: str) -> Channel:
    word = canary(name)
    c2pa = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
    return Channel(
        photo=avif() + box(b"uuid", c2pa + word),
        canaries=(word,),
        found=Removed.CONTENT_CREDENTIALS,
    )


def _transparent(photo: bytes) -> Channel:
    return Channel(photo=photo, found=Removed.HIDDEN_PIXELS, is_gone=is_white)


def _transparent_key(depth: int, colour: int, visible: bytes, secret: bytes, key: bytes) -> Channel:
    """Half of each row in the one colour that means "transparent"."""
    half = 160 * min(depth, 8) // 8
    row = b"\0" + visible * half + secret * half
    before = chunk(b"tRNS", key)
    return _transparent(png((320, 240, depth, colour), rows=row * 240, before=before))


def _marks(_: str) -> Channel:
    rows = marked()
    lines = b"".join(b"\0" + rows[at : at + 640] for at in range(0, len(rows), 640))
    return Channel(photo=png((640, 480, 8, 0), rows=lines), is_gone=has_no_mark)


def _odd_size(_: str) -> Channel:
    odd = encode(picture(1432, 1075), quality=92)
    at = odd.index(b"\xff\xc0") + 5
    return Channel(
        photo=odd,
        canaries=(odd[at : at + 4],),
        is_gone=lambda image: 1432 not in image.size and 1075 not in image.size,
    )


CHANNELS: dict[str, Callable[[], Channel]] = {
    name: (lambda name=name, make=make: make(name))
    for name, make in {
        "exif": _exif,
        "second exif": _second_exif,
        "exif with an odd header": _odd_exif,
        "fill bytes": _fill_bytes,
        "xmp": _xmp,
        "extended xmp": _extended_xmp,
        "iptc": _iptc,
        "photoshop thumbnail": _photoshop_thumbnail,
        "icc": lambda name: _jpeg_app(name, 0xE2, b"ICC_PROFILE\0\1\1", Removed.COLOUR_PROFILE),
        "comment": lambda name: _jpeg_app(name, 0xFE, b"", Removed.COMMENT),
        "unknown app": lambda name: _jpeg_app(name, 0xE9, b"", Removed.COMMENT),
        "jfxx thumbnail": lambda name: _jpeg_app(name, 0xE0, b"JFXX\0\x10", Removed.THUMBNAIL),
        "jfif thumbnail": _jfif_thumbnail,
        "jfif density": _jfif_density,
        "adobe": lambda name: _jpeg_app(name, 0xEE, b"Adobe\0\x64\0\0\0\0\x01", Removed.COMMENT),
        "mpf": _mpf,
        "motion photo": _motion_photo,
        "trailer": _trailer,
        "comment between scans": _between_scans,
        "entropy": _in_entropy,
        "unused tables": _unused_tables,
        "rows beyond the height": _rows_beyond_jpeg,
        "encoder habits": _encoder_habits,
        "c2pa": lambda name: _jpeg_app(
            name, 0xEB, b"JP\0\1\0\0\0\1\0\0\0\x40jumbc2pa", Removed.CONTENT_CREDENTIALS
        ),
        "png text": _png_text,
        "png raw profile": _png_raw_profile,
        "png xmp": _png_xmp,
        "png time and size": _png_time,
        "png exif": _png_exif,
        "png profile": _png_profile,
        "png private chunk": lambda name: _png_chunk(name, b"prVt", b"", Removed.COMMENT),
        "png c2pa": lambda name: _png_chunk(name, b"caBX", b"", Removed.CONTENT_CREDENTIALS),
        "png rows beyond the height": _rows_beyond_png,
        "png after its end": _after_png,
        "png unused palette": _unused_palette,
        "apng": _apng,
        "webp blocks": _webp,
        "webp after its end": _after_webp,
        "webp frames": _webp_frames,
        "avif blocks": _avif_blocks,
        "avif frames": _avif_frames,
        "avif boxes": _avif_boxes,
        "avif c2pa": _avif_credentials,
        "under transparency, rgba": lambda _: _transparent(encode(hidden("RGBA"), "PNG")),
        "under transparency, la": lambda _: _transparent(encode(hidden("LA"), "PNG")),
        "under transparency, palette": lambda _: _transparent(
            png(
                (320, 240, 8, 3),
                rows=(b"\0" + b"\0" * 160 + b"\1" * 160) * 240,
                before=chunk(b"PLTE", bytes((*WHITE, *RED))) + chunk(b"tRNS", b"\xff\0"),
            )
        ),
        "under transparency, webp": lambda _: _transparent(
            encode(hidden("RGBA"), "WEBP", lossless=True, exact=True)
        ),
        "under transparency, avif": lambda _: _transparent(
            avif(hidden("RGBA"), quality=100, subsampling="4:4:4")
        ),
        "colour key, 1 bit": lambda _: _transparent_key(1, 0, b"\xff", b"\0", b"\0\0"),
        "colour key, 2 bit": lambda _: _transparent_key(2, 0, b"\xff", b"\x55", b"\0\1"),
        "colour key, 4 bit": lambda _: _transparent_key(4, 0, b"\xff", b"\x33", b"\0\3"),
        "colour key, grey": lambda _: _transparent_key(8, 0, b"\xff", b"\x33", b"\0\x33"),
        "colour key, 16 bit grey": lambda _: _transparent_key(
            16, 0, b"\xff\xff", b"\x33\x44", b"\x33\x44"
        ),
        "colour key, rgb": lambda _: _transparent_key(
            8, 2, b"\xff\xff\xff", b"\xdc\0\0", b"\0\xdc\0\0\0\0"
        ),
        "colour key, 16 bit rgb": lambda _: _transparent_key(
            16, 2, b"\xff" * 6, b"\xdc\x11\0\0\0\0", b"\xdc\x11\0\0\0\0"
        ),
        "least significant bits": _marks,
        "width and height": _odd_size,
    }.items()
}


# -- what costs too much --------------------------------------------------------------------------


def scans(count: int) -> bytes:
    last = PROGRESSIVE[PROGRESSIVE.rindex(b"\xff\xda") : -2]
    return PROGRESSIVE[:-2] + last * count + b"\xff\xd9"


def hidden_scans() -> bytes:
    """Thousands of scans behind a TEM: a decoder passes over it, and reads no length after it."""
    last = PROGRESSIVE[PROGRESSIVE.rindex(b"\xff\xda") : -2]
    return PROGRESSIVE[:-2] + (b"\xff\x01\xff\xff" + last * 15) * 40 + b"\xff\xd9"


def crowded_exif() -> bytes:
    """A directory of 5,400 entries that every pointer points to."""
    entries = struct.pack("<HHII", 0x8769, 4, 1, 8) + struct.pack("<HHII", 0x8825, 4, 1, 8)
    entries += b"".join(struct.pack("<HHII", 0x9000 + at % 99, 4, 1, 8) for at in range(5_398))
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 5_400) + entries + struct.pack("<I", 8)


def crowded_8bim() -> bytes:
    return (b"8BIM\x04\x04\0\0" + bytes(4)) * 5_400


def giant(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    return png((width, height, depth, colour), rows=bytes(1 << 20))


def text_bomb(name: bytes, head: bytes) -> bytes:
    return png(before=chunk(name, head + zlib.compress(bytes(200 << 20), 1)))


def webp_giant() -> bytes:
    size = struct.pack("<I", 0x02) + b"\xff\x3f\x00" * 2  # 16384 x 16384, animated
    return riff_file(riff(b"VP8X", size) + riff(b"ANIM", bytes(6)))


def avif_giant() -> bytes:
    whole = avif()
    at = whole.index(b"ispe") + 8
    return whole[:at] + struct.pack("!II", 17000, 17000) + whole[at + 8 :]


def arithmetic() -> bytes:
    """Ten megapixels in 40 kB: a scan of 20 bytes that refines them all, again and again."""
    cosines = [math.cos((2 * at + 1) * 7 * math.pi / 16) for at in range(8)]
    rows = [bytes(round(128 + 110 * x * y) for x in cosines) * 500 for y in cosines]
    ask = ["cjpeg", "-arithmetic", "-quality", "50", "-scans"]
    with tempfile.NamedTemporaryFile("w") as script:
        script.write("0: 0-0, 0, 0;\n0: 1-63, 0, 1;\n0: 1-63, 1, 0;\n")
        script.flush()
        picture_ = b"P5\n4000 2496\n255\n" + b"".join(rows) * 312
        done = subprocess.run(
            [*ask, script.name], input=picture_, stdout=subprocess.PIPE, check=True
        )
    last = done.stdout[done.stdout.rindex(b"\xff\xda") : -2]
    return done.stdout[:-2] + last * 95 + b"\xff\xd9"


def full_exif() -> bytes:
    """As many entries as a directory can have; every pointer points to it."""
    entries = struct.pack("<HHII", 0x8769, 4, 1, 8) + struct.pack("<HHII", 0x8825, 4, 1, 8)
    entries += b"".join(struct.pack("<HHII", 0x9000 + at % 28_000, 4, 1, 8) for at in range(65_533))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", 65_535) + entries + struct.pack("<I", 8)


def crowded_avif() -> bytes:
    """A picture, then descriptions of 49,999 things each, that no decoder reads."""
    things = box(b"iinf", bytes(6) + box(b"infe", b"") * 49_999)
    return avif() + box(b"meta", bytes(4) + things * 4) * 14


# What no decoder is given to read.
HARMLESS = {
    *("exif", "exif directories", "xmp", "photoshop", "iCCP", "stray bytes"),
    *("png exif", "webp exif", "raw profile texts", "avif boxes"),
    "markers that Pillow does not pass over",
}
BOMBS: dict[str, Callable[[], bytes]] = {
    "65536 x 65536": lambda: giant(65536, 65536),
    "just too large": lambda: giant(8001, 8000),
    "16 bit": lambda: giant(30000, 30000, 16, 6),
    "16 bit grey": lambda: giant(60000, 60000, 16, 0),
    "rgba of 33 MP": lambda: giant(5750, 5740, 8, 6),
    "arithmetic": arithmetic,
    "png exif": lambda: png(before=chunk(b"eXIf", full_exif()) * 31),
    "webp exif": lambda: webp(*[riff(b"EXIF", full_exif())] * 31, flags=8),
    "raw profile texts": lambda: png(
        before=chunk(b"tEXt", b"Raw profile type 8bim\0\n\n\n" + b"3842494d0404000000000000" * 5)
        * 30_000
    ),
    "avif boxes": crowded_avif,
    "scans": lambda: scans(92),  # 10 that belong there: two too many
    "exif": lambda: inserted(segment(0xE1, b"Exif\0\0" + b"x" * 80) * 45_000),
    "exif directories": lambda: inserted(segment(0xE1, crowded_exif()) * 380),
    "xmp": lambda: inserted(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0") * 49_000),
    "photoshop": lambda: inserted(segment(0xED, b"Photoshop 3.0\0" + crowded_8bim()) * 380),
    "zTXt after the picture": lambda: png(
        after=chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(1 << 20))) * 300
    ),
    "raw profiles": lambda: png(
        after=chunk(
            b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n9\n" + b"41" * 500_000)
        )
        * 300
    ),
    "webp of 64 MP": lambda: encode(Image.new("RGB", (8000, 8000)), "WEBP", lossless=True),
    "scans behind a marker without a length": hidden_scans,
    "large scans": lambda: encode(picture(11000, 9000), progressive=True, quality=10),
    "zTXt": lambda: text_bomb(b"zTXt", b"Comment\0\0"),
    "iTXt": lambda: text_bomb(b"iTXt", b"Comment\0\1\0\0\0"),
    "iCCP": lambda: text_bomb(b"iCCP", b"profile\0\0"),
    "webp": webp_giant,
    "avif": avif_giant,
    "chunks": lambda: png(before=chunk(b"prVt", b"") * 2_000_000),
    "segments": lambda: inserted(segment(0xE9, b"") * 4_000_000),
    "stray bytes": lambda: inserted(bytes(16 << 20)),
    "markers that Pillow does not pass over": lambda: inserted(segment(0xF0, bytes(65533)) * 200),
}
