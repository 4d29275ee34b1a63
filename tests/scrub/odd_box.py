"""The real box with a decoder that misbehaves when the photo says so.

Run as `python -I tests/scrub/odd_box.py` in place of the box; the photo is the name of what to do.
"""

import ctypes
import os
from collections.abc import Callable
from dataclasses import replace

from relay.scrub import box, confine
from relay.scrub.pixels import Redrawn, Wish, redraw
from relay.scrub.wire import ANSWER, Code, View

MARK = b"another woman's picture"
SIZES = (64, 1 << 10, 1 << 14, 1 << 17, 1 << 20, 1 << 24)
LIBC = ctypes.CDLL(None)
LIBC.malloc.restype = ctypes.c_void_p
confine.CPU_S = 1


def plant() -> Redrawn:
    """Leave freed memory of many sizes full of MARK."""
    places = []
    for size in SIZES:
        place = LIBC.malloc(ctypes.c_size_t(size))
        ctypes.memmove(place, (MARK * (size // len(MARK) + 1))[:size], size)
        places.append(place)
    for place in places:
        LIBC.free(ctypes.c_void_p(place))
    return Redrawn(code=Code.UNSUPPORTED)


def look() -> Redrawn:
    """Say DAMAGED where memory that was never written to holds MARK."""
    for size in SIZES:
        if MARK in ctypes.string_at(LIBC.malloc(ctypes.c_size_t(size)), size):
            return Redrawn(code=Code.DAMAGED)
    return Redrawn(code=Code.UNSUPPORTED)


def plant_and_look() -> Redrawn:
    plant()
    return look()


def hang() -> Redrawn:
    while True:
        pass


def crash() -> Redrawn:
    ctypes.string_at(0)
    raise AssertionError


def eat() -> Redrawn:
    """Ask for memory without end, in a way that no exception of Python stops."""
    while place := LIBC.malloc(ctypes.c_size_t(1 << 20)):
        ctypes.memset(ctypes.c_void_p(place), 1, 1 << 20)
    ctypes.memset(None, 1, 1)
    raise AssertionError


def leave() -> Redrawn:
    os._exit(0)


def escape() -> Redrawn:
    os.getppid()
    raise AssertionError


def babble() -> Redrawn:
    os.write(confine.JOB, os.urandom(0) + bytes(range(256)) * 64)
    os._exit(0)


def promise() -> Redrawn:
    """Announce four gigabytes."""
    os.write(confine.JOB, bytes(ANSWER.size - 8) + b"\xff" * 4 + bytes(4))
    return hang()


def promise_more() -> Redrawn:
    """Announce a preview of four gigabytes."""
    os.write(confine.JOB, bytes(ANSWER.size - 4) + b"\xff" * 4)
    return hang()


def show_whole() -> Redrawn:
    """A good picture, and in the place of its preview the picture again."""
    picture = redraw(SAMPLE, Wish(max_bytes=1 << 20, quality=60))
    return replace(picture, preview=picture.jpeg, preview_quality=picture.quality)


def show_worse() -> Redrawn:
    """A good picture, and a preview that calls itself better than any is."""
    picture = redraw(SAMPLE, Wish(max_bytes=1 << 20, quality=60, has_preview=True))
    return replace(picture, preview_quality=picture.preview_quality + 1)


def show_dirty() -> Redrawn:
    """A good picture, and a preview with a comment in it."""
    picture = redraw(SAMPLE, Wish(max_bytes=1 << 20, quality=60, has_preview=True))
    return replace(picture, preview=picture.preview[:20] + COMMENT + picture.preview[20:])


def boast() -> Redrawn:
    """A picture with other numbers than it has."""
    picture = redraw(SAMPLE, Wish(max_bytes=1 << 20, quality=85))
    return Redrawn(code=Code.CLEAN, jpeg=picture.jpeg, width_px=1, height_px=1, quality=85)


def smuggle() -> Redrawn:
    """A picture with a comment in it."""
    picture = redraw(SAMPLE, Wish(max_bytes=1 << 20, quality=85))
    dirty = picture.jpeg[:20] + COMMENT + picture.jpeg[20:]
    return Redrawn(
        code=Code.CLEAN,
        jpeg=dirty,
        width_px=picture.width_px,
        height_px=picture.height_px,
        quality=picture.quality,
    )


def shrink() -> Redrawn:
    """A thumbnail, whatever was asked for."""
    return redraw(SAMPLE, Wish(max_bytes=1 << 20, quality=60, view=View.THUMBNAIL))


def enlarge() -> Redrawn:
    """A whole picture, whatever was asked for."""
    return redraw(SAMPLE, Wish(max_bytes=1 << 20, quality=60))


ODD: dict[str, Callable[[], Redrawn]] = {
    one.__name__: one
    for one in (
        plant, look, plant_and_look, hang, crash, eat, leave, escape, babble, promise,
        promise_more, boast, smuggle, shrink, enlarge, show_whole, show_worse, show_dirty,
    )
}  # fmt: skip
SAMPLE = b""
COMMENT = b"\xff\xfe\x00\x05abc"


def odd_redraw(untrusted_photo: bytes, wish: Wish) -> Redrawn:
    odd = ODD.get(untrusted_photo[:32].rstrip(b"\0").decode("ascii", "replace"))
    if odd is not None:
        return odd()
    return redraw(untrusted_photo, wish)


def main() -> None:
    warm_up = box.pixels.warm_up

    def warm_up_and_keep() -> list[bytes]:
        global SAMPLE  # noqa: PLW0603 - made while files may still be opened
        samples = warm_up()
        SAMPLE = samples[0]
        return samples

    box.pixels.warm_up = warm_up_and_keep
    box.redraw = odd_redraw
    box.main()


if __name__ == "__main__":
    main()
