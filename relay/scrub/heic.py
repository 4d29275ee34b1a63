"""HEIC, off unless an operator wants it: a second, much attacked decoder, in a worker of its own.

Source: libheif before 1.23.7 has remote code execution (its security advisories of 2026).
"""

import base64
import importlib

from relay.errors import HeicUnsafe
from relay.scrub import pixels
from relay.scrub.formats import Kind
from relay.scrub.wire import Code

SAFE_LIBHEIF = (1, 23, 7)
# 16 x 16 px of grey, to run the decoder once before the box closes.
_SMALLEST = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAXxtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAA"
    "AAAAAAAAACJpbG9jAAAAAERAAAEAAQAAAAABoAABAAAAAAAAACYAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABo"
    "dmMxAAAAAA5waXRtAAAAAAABAAAA/GlwcnAAAADcaXBjbwAAAHVodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEA"
    "GEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQApQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbqrprm4CGgwIAAAAyAAAAD"
    "AIRiAAEABkQBwXPBiQAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAAQAAAAChjbGFwAAAAEAAAAAEA"
    "AAAQAAAAAf///9AAAAAC////0AAAAAIAAAAQcGl4aQAAAAADCAgIAAAAGGlwbWEAAAAAAAAAAQABBYECAwWEAAAALm1k"
    "YXQAAAAiKAGvEyEdlvhbUwmI6yxAuUxYKXlXIJNuwHivMoeOva+aYA=="
)


def load() -> bytes:
    """Let `pixels.redraw` take HEIC; return a small picture that it took. For a box of its own.

    Raises:
        HeicUnsafe: pillow-heif is missing, its libheif is known to be vulnerable, or doesn't work.
    """
    try:
        pillow_heif = importlib.import_module("pillow_heif")
        version = tuple(map(int, pillow_heif.libheif_version().split(".")))
    except (ImportError, ValueError):
        raise HeicUnsafe from None
    if version < SAFE_LIBHEIF:
        raise HeicUnsafe
    pillow_heif.options.DECODE_THREADS = 0  # libde265 starts one for each tile all the same
    for part in ("THUMBNAILS", "DEPTH_IMAGES", "AUX_IMAGES"):
        setattr(pillow_heif.options, part, False)
    pixels.OPENERS[Kind.HEIC] = pillow_heif.HeifImageFile
    if pixels.redraw(_SMALLEST, pixels.SAMPLE).code != Code.CLEAN:
        raise HeicUnsafe
    return _SMALLEST
