"""Memory that grows for one upload alone, is wiped when it is done with, and goes back whole."""

import mmap

_FIRST_BYTES = 256 * 1024
_ZEROS = bytes(64 * 1024)


class Buffer:
    """Bytes as they arrive, in a mapping of their own.

    In the allocator's heap, buffers that grow side by side leave holes: a third more memory than
    200 uploads have brought. A mapping has none, and only pages that were written count.
    """

    def __init__(self) -> None:
        """Hold nothing."""
        self._map: mmap.mmap | None = None
        self._length = 0

    def __len__(self) -> int:
        """Return how many bytes have come."""
        return self._length

    def add(self, chunk: bytes | bytearray) -> None:
        """Append `chunk`. Not while somebody has a view."""
        end = self._length + len(chunk)
        if self._map is None:
            self._map = mmap.mmap(-1, _room_for(end), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            self._map.madvise(mmap.MADV_NOHUGEPAGE)  # a huge page would be counted whole
        elif end > len(self._map):
            self._map.resize(_room_for(end))
        self._map[self._length : end] = chunk
        self._length = end

    def view(self) -> memoryview:
        """Return the bytes where they lie: a view that a wipe leaves full of zeros."""
        return memoryview(b"" if self._map is None else self._map)[: self._length]

    def wipe(self) -> None:
        """Overwrite what has come and let go of it."""
        if self._map is not None:
            for start in range(0, self._length, len(_ZEROS)):
                stop = min(start + len(_ZEROS), self._length)
                self._map[start:stop] = _ZEROS[: stop - start]
        self._map, self._length = None, 0  # unmapped with the last view


def _room_for(length: int) -> int:
    """Return the next of 256 KiB, 512 KiB, 1 MiB: few moves, and pages that nothing touches."""
    room = _FIRST_BYTES
    while room < length:
        room *= 2
    return room
