"""The trusted side of the box: hand a photo over, check what comes back, outlive what happens."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Self

from relay.errors import (
    BoxBroken,
    Busy,
    ConfigInvalid,
    HeicUnsafe,
    PhotoDamaged,
    PhotoTooComplex,
    PhotoUnsupported,
    ScrubFailed,
    WeightsAmiss,
)
from relay.scrub import formats, jpeg
from relay.scrub.canonical import SIZES_OF, Size
from relay.scrub.formats import kind_of
from relay.scrub.found import MOST_FOUND, Box, Found, Kind, Mark
from relay.scrub.turns import ONE_LANE, Lane, Turns
from relay.scrub.wire import (
    ALL_LAYERS,
    ANSWER,
    FOUND,
    HEIC,
    JOB,
    MARK,
    NO_LAYERS,
    QUALITY,
    READY,
    REQUEST,
    Code,
    Layer,
    Removed,
    Start,
    View,
)

_PROGRAM = ("-m", "relay.scrub.box")
_START_S = 15
_FIRST_PAUSE_S = 1.0  # after a start that failed; each further one doubles it, up to a minute
_MOST_DOUBLINGS = 6
_MOST_FAILURES = 3  # starts in a row that fail; then the box counts as broken
_TURN_S = 30  # whoever waits longer is told to come back
# For the box alone: large pages, and memory that is kept until the child ends. Page faults are a
# fifth of its time otherwise.
_MALLOC = (
    "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=268435456:"
    "glibc.malloc.trim_threshold=1073741824:glibc.malloc.top_pad=33554432"
)
_HEIC_MALLOC = "glibc.malloc.arena_max=1"  # its threads would reserve the whole address space
# One thread each, since the box may start none; no word to anybody.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}
# The box ends a child by itself before that: then nothing of a photo is left when its sender is
# answered, and the next has the turn alone.
_JOB_S = 25
_MOST_AT_ONCE = 2  # each may take 1 GiB; deploy/systemd gives us three, and uploads take the rest
_NO_START = "The box does not start."
_REFUSALS = {
    Code.UNSUPPORTED: PhotoUnsupported,
    Code.DAMAGED: PhotoDamaged,
    Code.TOO_COMPLEX: PhotoTooComplex,
}


@dataclass(frozen=True, kw_only=True)
class ScrubbedPhoto:
    """A JPEG that passed the check, its size in px, its quality, and what was left behind.

    found: faces and codes in it, in its px, where they were looked for. preview: a JPEG of its own.
    """

    jpeg: bytes
    width_px: int
    height_px: int
    quality: int
    removed: Removed
    found: tuple[Found, ...] = ()
    preview: bytes = b""

    @property
    def size(self) -> Size:
        """Width and height in px."""
        return self.width_px, self.height_px


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is asked of the box. The ordinary: clean a stranger's photo and look for faces in it.

    is_ours: it has been redrawn before and passed `jpeg.check`; its pixels stay in their place.
    marks: drawn over it, in its px. has_preview: one is wanted beside the photo.
    """

    quality: int = QUALITY
    view: View = View.PHOTO
    is_ours: bool = False
    is_looked_at: bool = True
    marks: Sequence[Mark] = ()
    has_preview: bool = False

    @property
    def highest_quality(self) -> int:
        """What the answer may have at most."""
        return min(self.quality, self.view.quality)


ORDINARY = Order()


class Scrubber:
    """Owns the boxes. `async with Scrubber(…) as scrubber`: started on entry, gone on exit."""

    def __init__(
        self,
        *,
        max_jpeg_bytes: int,
        accepted: Layer = NO_LAYERS,
        heic: bool = False,
    ) -> None:
        """Prepare a box whose pictures have at most `max_jpeg_bytes`.

        accepted: walls that it may lack. heic: a second box, for HEIC alone.
        """
        self._max_jpeg_bytes = max_jpeg_bytes
        self.layers = ALL_LAYERS  # the walls that stand, once it has started
        self._turns = Turns(min(_MOST_AT_ONCE, os.cpu_count() or 1))
        self._box = _BoxProcess(accepted=accepted)
        self._heic_box = _BoxProcess(accepted=accepted, is_heic=True) if heic else None

    def launch(self) -> None:
        """Start the boxes and don't wait: they get warm while somebody else loads something.

        Raises:
            ScrubFailed: a box does not start.
        """
        for box in self._boxes():
            box.launch()

    async def __aenter__(self) -> Self:
        """Start the boxes and wait until they are warm.

        Raises:
            ConfigInvalid: this machine lacks a wall that nobody accepted to be without, has no
                decoder of HEIC that may be used, or not the files by which faces are found.
            ScrubFailed: the box does not start.
        """
        try:
            for box in self._boxes():
                self.layers &= await box.start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the boxes and whatever they still work on."""
        for box in self._boxes():
            await box.stop()

    @property
    def missing(self) -> list[str]:
        """The names of the walls that this machine lacks."""
        return [layer.word for layer in ALL_LAYERS & ~self.layers]

    async def revive(self) -> None:
        """Start again what has died, where its last failure is long enough ago."""
        for box in self._boxes():
            with suppress(BoxBroken):
                await box.revive()

    @property
    def why_broken(self) -> str | None:
        """Why a box does not start any more; None where none has failed several times."""
        broken = (box.why for box in self._boxes() if box.failures >= _MOST_FAILURES)
        return next(broken, None)

    def _boxes(self) -> list["_BoxProcess"]:
        return [box for box in (self._box, self._heic_box) if box is not None]

    async def scrub(
        self,
        untrusted_photo: bytes | memoryview,
        order: Order = ORDINARY,
        *,
        is_wanted: Callable[[], bool] = lambda: True,
        lane: Lane = ONE_LANE,
        is_begun: bool = False,
    ) -> ScrubbedPhoto:
        """Return the picture in `untrusted_photo`, redrawn as ordered and checked.

        is_wanted: asked when its turn has come; whoever has gone takes nobody's turn.
        lane: where it came from; those who wait are served one from each in turn, behind those
        who have begun: this is not the first that is asked for the same photo.

        Raises:
            PhotoUnsupported, PhotoDamaged, PhotoTooComplex: the file is at fault.
            ScrubFailed: the box died, hung, or gave back something that is not clean.
            BoxBroken: it has died and does not start again; a ScrubFailed too.
            Busy: its turn did not come in time, or nobody wants it any more.
        """
        async with self._turn(lane, is_begun=is_begun):
            if not is_wanted():
                raise Busy
            box = self._choose_box(untrusted_photo)
            try:
                async with asyncio.timeout(_JOB_S):
                    untrusted_answer = await self._run(box, untrusted_photo, order)
            except TimeoutError:  # it would have ended a child itself: it hangs as a whole
                await box.end()
                raise ScrubFailed from None
            except (OSError, EOFError):
                raise ScrubFailed from None
        return _believe(untrusted_answer, order)

    @asynccontextmanager
    async def _turn(self, lane: Lane = ONE_LANE, *, is_begun: bool = False) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(
                    self._turns.take(lane, seconds=_TURN_S, is_begun=is_begun)
                )
            except TimeoutError:
                raise Busy from None
            yield

    async def _run(
        self, box: "_BoxProcess", untrusted_photo: bytes | memoryview, order: Order
    ) -> "_Answer":
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with ours:
            ours.setblocking(False)  # noqa: FBT003 - the standard library's own
            with theirs:
                await box.hand_over(theirs)
            await loop.sock_sendall(ours, self._request(order, len(untrusted_photo)))
            await loop.sock_sendall(ours, untrusted_photo)
            *numbers, preview_quality, count, length, preview_length = ANSWER.unpack(
                await _receive(loop, ours, ANSWER.size)
            )
            if count > MOST_FOUND or length > self._max_jpeg_bytes:
                raise ScrubFailed
            if preview_length > (View.PREVIEW.max_bytes if order.has_preview else 0):
                raise ScrubFailed
            found = await _receive(loop, ours, count * FOUND.size)
            return _Answer(
                numbers,
                list(FOUND.iter_unpack(found)),
                await _receive(loop, ours, length),
                preview_quality,
                await _receive(loop, ours, preview_length),
            )

    def _request(self, order: Order, length: int) -> bytes:
        head = REQUEST.pack(
            self._max_jpeg_bytes,
            order.quality,
            order.view,
            order.is_ours,
            order.is_looked_at,
            order.has_preview,
            len(order.marks),
            length,
        )
        boxes = ((mark, mark.box) for mark in order.marks)
        return head + b"".join(
            MARK.pack(mark.number, mark.is_solid, box.x, box.y, box.width, box.height)
            for mark, box in boxes
        )

    def _choose_box(self, untrusted_photo: bytes | memoryview) -> "_BoxProcess":
        if kind_of(untrusted_photo) is formats.Kind.HEIC and self._heic_box is not None:
            return self._heic_box
        return self._box


class _BoxProcess:
    """One box: its process, its control socket, and the walls that it says it has."""

    def __init__(self, *, accepted: Layer, is_heic: bool = False) -> None:
        self._accepted = accepted
        self._is_heic = is_heic
        self._starting = asyncio.Lock()
        self._control: socket.socket | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.failures = 0  # starts in a row that failed
        self.why = ""  # the last of them
        self._not_before_s = 0.0  # on the monotonic clock

    async def hand_over(self, job: socket.socket) -> None:
        """Give the box a job; start it again where it has died."""
        await self.revive()
        try:
            self._send(job)
        except OSError:  # who forks has died, and its parent takes a moment to notice
            await self.end()
            await self.revive()
            self._send(job)

    def _send(self, job: socket.socket) -> None:
        if self._control is None:
            raise ScrubFailed
        socket.send_fds(self._control, [JOB], [job.fileno()])

    async def end(self) -> None:
        """End the box, so that it is started again."""
        async with self._starting:
            await self.stop()

    async def revive(self) -> None:
        """Start the box again where it has died.

        Raises:
            BoxBroken: it does not start, or failed to so short a while ago that it isn't tried.
        """
        async with self._starting:
            if self.process is not None and self.process.poll() is None:
                return
            await self.stop()
            if time.monotonic() < self._not_before_s:
                raise BoxBroken
            try:
                await self.start()
            except (ConfigInvalid, ScrubFailed) as error:
                pause_s = _FIRST_PAUSE_S * 2 ** min(self.failures, _MOST_DOUBLINGS)
                self._not_before_s = time.monotonic() + pause_s
                self.failures += 1
                self.why = error.message
                raise BoxBroken from error
            self.failures = 0

    async def start(self) -> Layer:
        """Start the box and wait until it is warm. Returns the walls that stand.

        Raises: see Scrubber.__aenter__.
        """
        try:
            if self.process is None:
                self.launch()
            return await self._read_layers()
        except BaseException:  # cancelled too: nobody is to find a box whose walls nobody knows
            await self.stop()
            raise

    def launch(self) -> None:
        """Start the box; `start` waits for it."""
        with _as_failed_start():
            self._launch()

    def _launch(self) -> None:
        self._control, theirs = socket.socketpair()
        self._control.setblocking(False)  # noqa: FBT003 - the standard library's own
        with theirs:
            self.process = subprocess.Popen(  # noqa: S603 - a constant
                [sys.executable, "-I", *_PROGRAM, *([HEIC] if self._is_heic else [])],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # a decoder's last words may hold the photo's bytes
                env=_ENVIRONMENT | {"GLIBC_TUNABLES": _HEIC_MALLOC if self._is_heic else _MALLOC},
                start_new_session=True,
            )

    async def _read_layers(self) -> Layer:
        if self._control is None:
            raise ScrubFailed
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_START_S):
                start, layers = READY.unpack(await _receive(loop, self._control, READY.size))
        except (OSError, EOFError, TimeoutError):
            raise ScrubFailed(_NO_START) from None
        if start == Start.HEIC_UNSAFE:
            raise HeicUnsafe
        if start == Start.WEIGHTS_AMISS:
            raise WeightsAmiss
        if missing := ~Layer(layers) & ALL_LAYERS & ~self._accepted:
            raise ConfigInvalid(_lacks(missing))
        return Layer(layers)

    async def stop(self) -> None:
        """End the box and its children."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self.process is not None:
            if self.process.returncode is None:  # else its number may be somebody else's by now
                with suppress(ProcessLookupError):
                    os.killpg(self.process.pid, signal.SIGKILL)  # children too: it leads a session
            await asyncio.to_thread(self.process.wait)
            self.process = None


@contextmanager
def _as_failed_start() -> Iterator[None]:
    try:
        yield
    except OSError as error:  # no memory, no descriptor, no program
        raise ScrubFailed(f"{_NO_START} {error.strerror}.") from error


@dataclass(frozen=True)
class _Answer:
    """What the box said, not believed yet: code, width, height, quality, removed; found; JPEGs."""

    untrusted_numbers: list[int]
    untrusted_found: list[tuple[int, ...]]
    untrusted_jpeg: bytes
    untrusted_preview_quality: int
    untrusted_preview: bytes


def _believe(answer: _Answer, order: Order) -> ScrubbedPhoto:
    """Return what the box said where our own look at the JPEG agrees with it."""
    untrusted_code, *untrusted_size, untrusted_quality, untrusted_removed = answer.untrusted_numbers
    if untrusted_code in _REFUSALS:
        raise _REFUSALS[Code(untrusted_code)]
    if untrusted_code != Code.CLEAN:
        raise ScrubFailed
    if not 0 < untrusted_quality <= order.highest_quality:
        raise ScrubFailed
    width_px, height_px, quality = jpeg.check(
        answer.untrusted_jpeg, untrusted_quality, sizes=SIZES_OF[order.view]
    )
    if untrusted_size != [width_px, height_px]:
        raise ScrubFailed
    if order.has_preview:
        _believe_preview(answer)
    size = (width_px, height_px) if order.is_looked_at else (0, 0)
    return ScrubbedPhoto(
        jpeg=answer.untrusted_jpeg,
        width_px=width_px,
        height_px=height_px,
        quality=quality,
        removed=Removed(untrusted_removed & (2 * max(Removed) - 1)),
        found=tuple(_believe_found(one, size) for one in answer.untrusted_found),
        preview=answer.untrusted_preview,
    )


def _believe_preview(answer: _Answer) -> None:
    """Return where the preview is a JPEG of ours, of a preview's size and quality."""
    untrusted_quality, view = answer.untrusted_preview_quality, View.PREVIEW
    if not 0 < untrusted_quality <= view.quality:
        raise ScrubFailed
    jpeg.check(answer.untrusted_preview, untrusted_quality, sizes=SIZES_OF[view])


def _believe_found(untrusted_found: tuple[int, ...], size: Size) -> Found:
    untrusted_kind, *untrusted_sides = untrusted_found
    box = Box(*untrusted_sides)
    if untrusted_kind not in list(Kind) or not box.lies_in(size):
        raise ScrubFailed
    return Found(kind=Kind(untrusted_kind), box=box)


def accept(names: Iterable[str]) -> Layer:
    """Return the walls that somebody accepts to be without.

    Raises:
        ConfigInvalid: no wall has such a name.
    """
    known = {layer.word: layer for layer in Layer}
    accepted = Layer(0)
    for name in names:
        if name not in known:
            raise ConfigInvalid(f"accept_missing: {name!r} is none of {', '.join(known)}")
        accepted |= known[name]
    return accepted


def _lacks(missing: Layer) -> str:
    words = [layer.word for layer in missing]
    return (
        f"this machine lacks {', '.join(words)} for the box in which photos are opened. To go on "
        f"with less protection (docs/operator.md), set accept_missing = {words}"
    )


async def _receive(loop: asyncio.AbstractEventLoop, source: socket.socket, length: int) -> bytes:
    received = bytearray()
    while len(received) < length:
        chunk = await loop.sock_recv(source, min(1 << 18, length - len(received)))
        if not chunk:
            raise EOFError
        received += chunk
    return bytes(received)
