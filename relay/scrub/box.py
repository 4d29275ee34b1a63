"""The box: one warm process that forks a child for each photo, behind walls that nothing leaves.

Run as `python -I -m relay.scrub.box [heic]`. Standard input is the control socket. Each message on
it carries the socket of one job; a child reads one photo from that socket, answers with numbers and
one JPEG, and is gone. Persistent workers would be faster by milliseconds, and a decoder's
uninitialised memory would then show one submitter's pixels in another's picture.
"""

import gc
import os
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import BinaryIO

from relay.errors import HeicUnsafe, WeightsAmiss
from relay.scrub import confine, heic, pixels
from relay.scrub.faces import Detector
from relay.scrub.found import Box as Place
from relay.scrub.found import Mark
from relay.scrub.pixels import Finder, Redrawn, Wish, redraw
from relay.scrub.wire import (
    ANSWER,
    FOUND,
    HEIC,
    JOB,
    MARK,
    MAX_UPLOAD_BYTES,
    NO_LAYERS,
    READY,
    REQUEST,
    Layer,
    Start,
    View,
)

_CHUNK_BYTES = 1 << 18
_LOOK_S = 1.0  # between two looks for children that are late
_WORKS, _ESCAPED = b"w", b"!"


def main() -> None:
    """Put up the walls, say which stand, then fork for each job until the control socket closes."""
    is_heic = sys.argv[1:] == [HEIC]
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # whoever started the service may have set some
    for number, action in (
        (signal.SIGINT, signal.SIG_IGN),
        (signal.SIGALRM, signal.SIG_DFL),
        (signal.SIGCHLD, signal.SIG_DFL),
    ):
        signal.signal(number, action)
    warnings.simplefilter("ignore")  # showing one would look up its line of source, in a file
    confine.forbid_dumps()
    try:
        find, samples = _warm_up(is_heic=is_heic)  # first: nobody may not be allowed to read files
    except (HeicUnsafe, WeightsAmiss) as error:
        is_heic_amiss = isinstance(error, HeicUnsafe)
        start = Start.HEIC_UNSAFE if is_heic_amiss else Start.WEIGHTS_AMISS
        os.write(0, READY.pack(start, NO_LAYERS))
        return
    is_root = os.getuid() == 0
    is_alone = confine.leave_namespaces(by_user=False)
    if not is_alone:  # as for most: only root can do it directly
        if is_root:
            with suppress(OSError):
                confine.become_nobody()
        is_root = os.getuid() == 0  # asked now: in a user namespace nobody has a number
        is_alone = confine.leave_namespaces(by_user=True)
    if is_alone and os.fork() != 0:  # process 1 of the new namespace does the work
        os.close(0)
        os.wait()
        return
    with socket.socket(fileno=os.dup(0)) as control:
        layers = _put_up_walls(is_alone=is_alone, is_root=is_root)
        box = Box(layers=layers, is_heic=is_heic, find=find, samples=samples)
        control.sendall(READY.pack(Start.WARM, box.try_out()))
        signal.signal(signal.SIGCHLD, box.reap)
        box.serve(control)


def _warm_up(*, is_heic: bool) -> tuple[Finder, list[bytes]]:
    """Load everything that a child uses, for it can open no file.

    Returns what finds faces, and a picture of each kind.

    Raises:
        HeicUnsafe: no decoder of HEIC, or one that must not be used.
        WeightsAmiss: the detector's files are missing, or not the ones that were measured.
    """
    samples = pixels.warm_up()
    if is_heic:
        samples.append(heic.load())
    find = Detector.load().find
    redraw(samples[0], replace(pixels.SAMPLE, find=find))
    gc.collect()
    confine.give_back_memory()  # what is free here would be copied, page by page, in each child
    gc.freeze()
    gc.disable()  # a collection would copy the pages that a child shares with us
    return find, samples


def _put_up_walls(*, is_alone: bool, is_root: bool) -> Layer:
    layers = NO_LAYERS
    walls: list[tuple[Layer, Callable[[], object]]] = [
        (Layer.USER, partial(confine.drop_rights, is_root=is_root)),
        (Layer.LANDLOCK, confine.landlock),
    ]
    if is_alone:
        walls.insert(0, (Layer.NAMESPACES, confine.empty_root))
    for layer, put_up in walls:
        with suppress(OSError):
            put_up()
            layers |= layer
    confine.forbid_dumps()  # a change of user takes it back
    return layers


class Box:
    """The warm process, and what it does to each of its children."""

    def __init__(
        self, *, layers: Layer, is_heic: bool, find: Finder, samples: Sequence[bytes]
    ) -> None:
        """Know which walls stand; take the filter of system calls along where there is one."""
        self.layers = layers
        self._find = find
        self._samples = samples
        self._is_heic = is_heic
        self._deadlines: dict[int, float] = {}
        self._job: BinaryIO
        self._filter: confine.Filter | None = None
        with suppress(OSError):
            self._filter = confine.Filter(threads=is_heic)

    def serve(self, control: socket.socket) -> None:
        """Fork for each job until the control socket closes."""
        control.settimeout(_LOOK_S)
        while True:
            self._end_the_late()
            try:
                message, descriptors, _, _ = socket.recv_fds(control, len(JOB), 1)
            except TimeoutError:
                continue
            if message != JOB or len(descriptors) != 1:
                return
            child = os.fork()
            if child == 0:
                control.close()
                self.run_child(descriptors[0], self._work)
            self._deadlines[child] = time.monotonic() + confine.WALL_S
            os.close(descriptors[0])

    def reap(self, *_: object) -> None:
        """Take note of children that have ended."""
        with suppress(ChildProcessError):
            while child := os.waitpid(-1, os.WNOHANG)[0]:
                self._deadlines.pop(child, None)

    def _end_the_late(self) -> None:
        """Kill what sleeps through its alarm: a child with threads may block signals."""
        now = time.monotonic()
        for child in [pid for pid, until in list(self._deadlines.items()) if until < now]:
            with suppress(ChildProcessError):  # it ended before its deadline was noted
                if os.waitpid(child, os.WNOHANG) == (0, 0):
                    os.kill(child, signal.SIGKILL)
                    continue
            self._deadlines.pop(child, None)

    def run_child(self, job: int, work: Callable[[], None]) -> None:
        """Put the last walls around this process, do `work`, end."""
        try:
            os.dup2(job, confine.JOB)
            os.closerange(confine.JOB + 1, job + 1)
            self._job = open(confine.JOB, "rb", buffering=_CHUNK_BYTES, closefd=False)  # noqa: SIM115 - it ends with us
            confine.limit(threads=self._is_heic)
            if self._filter is not None:
                self._filter.put_on()
            work()
        finally:
            os._exit(0)

    def try_out(self) -> Layer:
        """Return the walls that stand: a child redraws a picture, then does what it may not.

        Raises:
            OSError: no picture can be redrawn here at all.
        """
        for chosen in (self._filter, None):
            self._filter = chosen
            said, status = self._try_child()
            if said == _WORKS and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGSYS:
                return self.layers | Layer.SECCOMP
            if said == _WORKS + _ESCAPED:
                return self.layers
        raise OSError("the box can't redraw a picture")

    def _try_child(self) -> tuple[bytes, int]:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            child = os.fork()
            if child == 0:
                self.run_child(theirs.fileno(), self._attempt)
            _, status = os.waitpid(child, 0)
            theirs.close()
            return ours.recv(2), status

    def _attempt(self) -> None:
        first = redraw(self._samples[0], replace(pixels.SAMPLE, find=self._find))
        if first.jpeg and all(redraw(sample, pixels.SAMPLE).jpeg for sample in self._samples):
            os.write(confine.JOB, _WORKS)
        os.getppid()
        os.write(confine.JOB, _ESCAPED)

    def _work(self) -> None:
        max_bytes, quality, view, is_ours, is_looked_at, has_preview, count, length = (
            REQUEST.unpack(self._receive(REQUEST.size))
        )
        marks = [self._read_mark() for _ in range(count)]
        if length > MAX_UPLOAD_BYTES:
            return
        wish = Wish(
            max_bytes=max_bytes,
            quality=quality,
            view=View(view),
            is_ours=is_ours,
            find=self._find if is_looked_at else None,
            marks=marks,
            has_preview=has_preview,
        )
        _answer(redraw(self._receive(length), wish))

    def _read_mark(self) -> Mark:
        number, is_solid, *sides = MARK.unpack(self._receive(MARK.size))
        return Mark(box=Place(*sides), is_solid=is_solid, number=number)

    def _receive(self, length: int) -> bytes:
        """Return so many bytes of the job; they come straight into what is returned."""
        received = self._job.read(length)
        if len(received) < length:
            os._exit(0)
        return received


def _answer(redrawn: Redrawn) -> None:
    answer = ANSWER.pack(
        redrawn.code,
        redrawn.width_px,
        redrawn.height_px,
        redrawn.quality,
        redrawn.removed,
        redrawn.preview_quality,
        len(redrawn.found),
        len(redrawn.jpeg),
        len(redrawn.preview),
    )
    for one in redrawn.found:
        answer += FOUND.pack(one.kind, one.box.x, one.box.y, one.box.width, one.box.height)
    unsent = memoryview(answer + redrawn.jpeg + redrawn.preview)
    while unsent:
        unsent = unsent[os.write(confine.JOB, unsent) :]


if __name__ == "__main__":
    main()
