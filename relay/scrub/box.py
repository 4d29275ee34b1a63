"""The box: one warm process that forks a child for each photo.

Run as `python -I -m relay.scrub.box`. Standard input is the control socket. Each message on it
carries the socket of one job; a child reads one photo from that socket, answers with numbers and
one JPEG, and is gone. Persistent workers would be faster by milliseconds, and a decoder's
uninitialised memory would then show one submitter's pixels in another's picture.
"""

import ctypes
import io
import os
import resource
import signal
import socket
import sys

from PIL import Image

from relay.scrub.pixels import FORMATS, redraw
from relay.scrub.wire import ANSWER, JOB, MAX_UPLOAD_BYTES, QUALITY, READY, REQUEST

CPU_S = 10
WALL_S = 30
ADDRESS_SPACE_BYTES = 1 << 30
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38  # Source: linux/prctl.h
_LIBC = ctypes.CDLL(None, use_errno=True)
_CHUNK_BYTES = 1 << 16


def main() -> None:
    """Warm up, say so, then fork for each job until the control socket closes."""
    for option, value in (
        (_PR_SET_PDEATHSIG, signal.SIGKILL),
        (_PR_SET_DUMPABLE, 0),
        (_PR_SET_NO_NEW_PRIVS, 1),
    ):
        _prctl(option, value)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    _warm_up()
    with socket.socket(fileno=os.dup(0)) as control:
        control.sendall(READY)
        box = os.getpid()
        while True:
            message, descriptors, _, _ = socket.recv_fds(control, len(JOB), 1)
            if message != JOB or len(descriptors) != 1:
                return
            if os.fork() == 0:
                try:
                    control.close()
                    os.close(0)
                    _confine(box)
                    _work(socket.socket(fileno=descriptors[0]))
                finally:
                    os._exit(0)
            os.close(descriptors[0])


def _prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, value, 0, 0, 0) != 0:
        sys.exit("prctl failed")


def _warm_up() -> None:
    """Load every decoder and the encoder now: a child can open no file."""
    for name in FORMATS:
        file = io.BytesIO()
        Image.new("RGB", (16, 16)).save(file, name)
        redraw(file.getvalue(), max_bytes=1 << 20, quality=QUALITY)


def _confine(box: int) -> None:
    signal.alarm(WALL_S)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # a fork does not inherit it
    if os.getppid() != box:
        os._exit(0)
    for limit, value in (
        (resource.RLIMIT_AS, ADDRESS_SPACE_BYTES),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 0),
    ):
        resource.setrlimit(limit, (value, value))


def _work(job: socket.socket) -> None:
    max_bytes, quality, length = REQUEST.unpack(_receive(job, REQUEST.size))
    if length > MAX_UPLOAD_BYTES:
        return
    redrawn = redraw(_receive(job, length), max_bytes=max_bytes, quality=quality)
    job.sendall(
        ANSWER.pack(
            redrawn.code,
            redrawn.width_px,
            redrawn.height_px,
            redrawn.quality,
            redrawn.removed,
            len(redrawn.jpeg),
        )
        + redrawn.jpeg
    )


def _receive(job: socket.socket, length: int) -> bytes:
    received = bytearray()
    while len(received) < length:
        chunk = job.recv(min(_CHUNK_BYTES, length - len(received)))
        if not chunk:
            os._exit(0)
        received += chunk
    return bytes(received)


if __name__ == "__main__":
    main()
