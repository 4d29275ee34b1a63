"""See a file being written, at the moment when it is: Linux' inotify."""

import ctypes
import os
import select
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MODIFY = 0x00000002  # Source: linux/inotify.h
_EVENT_BYTES = 16  # without a name: a file is watched, not a folder
_WAL_HEADER, _FRAME_HEADER = struct.Struct(">8I"), struct.Struct(">6I")


@contextmanager
def watched(path: Path) -> Iterator[int]:
    """Yield a descriptor that tells each write to the file."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_CLOEXEC)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "inotify")
    try:
        if libc.inotify_add_watch(descriptor, os.fsencode(path), _MODIFY) < 0:
            raise OSError(ctypes.get_errno(), "inotify", str(path))
        yield descriptor
    finally:
        os.close(descriptor)


def wait_for_writes(descriptor: int, count: int, *, seconds: float) -> bool:
    """Return after `count` writes, or False after that time. Writes while nobody reads are one."""
    until = time.monotonic() + seconds
    while count > 0:
        left = until - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            return False
        count -= len(os.read(descriptor, 64 * _EVENT_BYTES)) // _EVENT_BYTES
    return True


def pages_without_commit(content: bytes) -> int:
    """How many pages of a transaction a write-ahead log ends in, whose commit is not in it.

    Source: sqlite.org/fileformat2.html, "WAL File Format".
    """
    if len(content) < _WAL_HEADER.size:
        return 0
    _, _, page_bytes, _, *salts = _WAL_HEADER.unpack_from(content)[:6]
    pages, at = 0, _WAL_HEADER.size
    while at + _FRAME_HEADER.size <= len(content):
        _, pages_after, *frame_salts = _FRAME_HEADER.unpack_from(content, at)[:4]
        if frame_salts != salts:
            break  # left over from before the last checkpoint
        pages = 0 if pages_after else pages + 1
        at += _FRAME_HEADER.size + page_bytes
    return pages
