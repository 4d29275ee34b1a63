"""The trusted side of the box: hand a photo over, check what comes back, outlive what happens."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Self

from relay.errors import Busy, PhotoDamaged, PhotoTooComplex, PhotoUnsupported, ScrubFailed
from relay.scrub import jpeg
from relay.scrub.wire import ANSWER, JOB, QUALITY, READY, REQUEST, Code, Removed

_START_S = 30
_TURN_S = 30  # whoever waits longer is told to come back
_JOB_S = 25  # the box's own wall clock is 30 s: whoever waits here is answered first
_REFUSALS = {
    Code.UNSUPPORTED: PhotoUnsupported,
    Code.DAMAGED: PhotoDamaged,
    Code.TOO_COMPLEX: PhotoTooComplex,
}


@dataclass(frozen=True, kw_only=True)
class ScrubbedPhoto:
    """A JPEG that passed the check, its size in px, its quality, and what was left behind."""

    jpeg: bytes
    width_px: int
    height_px: int
    quality: int
    removed: Removed


class Scrubber:
    """Owns the box. `async with Scrubber(…) as scrubber`: started on entry, gone on exit."""

    def __init__(self, *, max_jpeg_bytes: int) -> None:
        """Prepare a box whose pictures have at most `max_jpeg_bytes`."""
        self._max_jpeg_bytes = max_jpeg_bytes
        self._slots = asyncio.Semaphore(os.cpu_count() or 1)
        self._starting = asyncio.Lock()
        self._box: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    async def __aenter__(self) -> Self:
        """Start the box and wait until it is warm."""
        await self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the box and whatever it still works on."""
        await self._stop()

    async def scrub(
        self,
        untrusted_photo: bytes | bytearray,
        *,
        quality: int = QUALITY,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> ScrubbedPhoto:
        """Return the picture in `untrusted_photo`, redrawn and checked.

        is_wanted: asked when its turn has come; whoever has gone takes nobody's turn.

        Raises:
            PhotoUnsupported, PhotoDamaged, PhotoTooComplex: the file is at fault.
            ScrubFailed: the box died, hung, or gave back something that is not clean.
            Busy: its turn did not come in time, or nobody wants it any more.
        """
        async with self._turn():
            if not is_wanted():
                raise Busy
            try:
                async with asyncio.timeout(_JOB_S):
                    code, numbers, untrusted_jpeg = await self._run(untrusted_photo, quality)
            except (OSError, EOFError, TimeoutError):
                raise ScrubFailed from None
        if code in _REFUSALS:
            raise _REFUSALS[Code(code)]
        if code != Code.CLEAN:
            raise ScrubFailed
        checked = jpeg.check(untrusted_jpeg)
        width_px, height_px, used_quality, removed = numbers
        if checked != (width_px, height_px, used_quality) or used_quality > quality:
            raise ScrubFailed
        return ScrubbedPhoto(
            jpeg=untrusted_jpeg,
            width_px=width_px,
            height_px=height_px,
            quality=used_quality,
            removed=Removed(removed & (2 * max(Removed) - 1)),
        )

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(_TURN_S):
                await self._slots.acquire()
        except TimeoutError:
            raise Busy from None
        try:
            yield
        finally:
            self._slots.release()

    async def _run(
        self, untrusted_photo: bytes | bytearray, quality: int
    ) -> tuple[int, tuple[int, int, int, int], bytes]:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with ours:
            ours.setblocking(False)  # noqa: FBT003 - the standard library's own
            with theirs:
                await self._hand_over(theirs)
            header = REQUEST.pack(self._max_jpeg_bytes, quality, len(untrusted_photo))
            await loop.sock_sendall(ours, header)
            await loop.sock_sendall(ours, untrusted_photo)
            answer = await _receive(loop, ours, ANSWER.size)
            code, *numbers, length = ANSWER.unpack(answer)
            if length > self._max_jpeg_bytes:
                raise ScrubFailed
            width_px, height_px, used_quality, removed = numbers
            untrusted_jpeg = await _receive(loop, ours, length)
            return code, (width_px, height_px, used_quality, removed), untrusted_jpeg

    async def _hand_over(self, job: socket.socket) -> None:
        async with self._starting:
            if self._box is None or self._box.poll() is not None:
                await self._stop()
                await self._start()
        if self._control is None:
            raise ScrubFailed
        socket.send_fds(self._control, [JOB], [job.fileno()])

    async def _start(self) -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)  # noqa: FBT003 - the standard library's own
        with theirs:
            self._box = subprocess.Popen(  # noqa: ASYNC220 - fork and exec of a constant; returns at once
                [sys.executable, "-I", "-m", "relay.scrub.box"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # a decoder's last words may hold the photo's bytes
                env={},
                start_new_session=True,
            )
        self._control = ours
        try:
            async with asyncio.timeout(_START_S):
                ready = await loop.sock_recv(ours, len(READY))
        except (OSError, TimeoutError):
            ready = b""
        if ready != READY:
            await self._stop()
            raise ScrubFailed("The box does not start.")

    async def _stop(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._box is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._box.pid, signal.SIGKILL)  # its children too: it leads a session
            await asyncio.to_thread(self._box.wait)
            self._box = None


async def _receive(loop: asyncio.AbstractEventLoop, source: socket.socket, length: int) -> bytes:
    received = bytearray()
    while len(received) < length:
        chunk = await loop.sock_recv(source, min(1 << 18, length - len(received)))
        if not chunk:
            raise EOFError
        received += chunk
    return bytes(received)
