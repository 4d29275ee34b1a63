"""What a hostile photo could try once it runs code: a box with attempts for work.

Run as `python -I tests/scrub/escape.py`, standard input a control socket as for the real box. Each
job is the number of an attempt; the answer is whether the kernel allowed it. How the child ended
goes to standard output. WALLS names which walls are put up: all of the real ones by default.
x86_64 only: the numbers are its own.
"""

import ctypes
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from relay.scrub import box, confine

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
AT_FDCWD = -100
PORT = struct.pack("!H", int(os.environ.get("PORT", "0")))
LOOPBACK = struct.pack("=H", socket.AF_INET) + PORT + bytes([127, 0, 0, 1]) + bytes(8)
UNIX_PATH = struct.pack("=H", socket.AF_UNIX) + os.environ.get("UNIX_PATH", "").encode() + b"\0"
UNIX_ABSTRACT = struct.pack("=H", socket.AF_UNIX) + b"\0" + os.environ.get("ABSTRACT", "").encode()
PASSWD, SCRATCH = b"/etc/passwd", os.environ.get("SCRATCH", "/nowhere").encode()
BUFFER = ctypes.create_string_buffer(4096)
IO_VECTOR = ctypes.create_string_buffer(struct.pack("@PQ", ctypes.addressof(BUFFER), 16))
SPARE, NAMESPACE, SINK = 200, 201, 202  # above every descriptor that the box closes
os.dup2(os.open("/dev/null", os.O_WRONLY), SINK)
os.dup2(os.open("/etc/passwd", os.O_RDONLY), SPARE)
os.dup2(os.open("/proc/self/ns/uts", os.O_RDONLY), NAMESPACE)


WALLS = os.environ.get("WALLS", "all").split()
IS_WHOLE = WALLS in (["all"], ["heic"])  # the second: with what the decoder of HEIC needs
OUTSIDER = ITS_MEMORY = 0
if __name__ == "__main__":  # a process of the same user, outside of the box
    OUTSIDER = subprocess.Popen(["/bin/sleep", "600"], stdout=subprocess.DEVNULL).pid
    place = int(Path(f"/proc/{OUTSIDER}/maps").read_text().partition("-")[0], 16)
    ITS_MEMORY = struct.pack("@PQ", place, 16)


def call(number: int, *arguments: object) -> int:
    whole = (ctypes.c_long(one) if isinstance(one, int) else one for one in arguments)
    return int(LIBC.syscall(ctypes.c_long(number), *whole))


def send_to(family: int, kind: int, address: bytes) -> int:
    descriptor = call(41, family, kind, 0)
    if descriptor < 0:
        return descriptor
    return call(44, descriptor, b"x", 1, 0, address, len(address))


def connect_to(family: int, address: bytes) -> int:
    descriptor = call(41, family, socket.SOCK_STREAM, 0)
    return call(42, descriptor, address, len(address)) if descriptor >= 0 else descriptor


def listen() -> int:
    descriptor = call(41, socket.AF_INET, socket.SOCK_STREAM, 0)
    address = LOOPBACK[:2] + bytes(2) + LOOPBACK[4:]
    return call(49, descriptor, address, len(address)) if descriptor >= 0 else descriptor


def fork(number: int, *arguments: object) -> int:
    child = call(number, *arguments)
    if child == 0:
        os._exit(0)
    return child


def map_memory(protection: int, flags: int, descriptor: int) -> int:
    return call(9, None, 4096, protection, flags, descriptor, 0)


def old_table() -> int:
    """getpid by way of the 32-bit table: `mov eax, 20; int 0x80; ret`."""
    return int(OLD_CALL())


def make_old_call() -> Callable[[], int]:
    code = b"\xb8\x14\x00\x00\x00\xcd\x80\xc3"
    LIBC.mmap.restype = ctypes.c_void_p
    place = LIBC.mmap(None, ctypes.c_size_t(4096), 7, 0x22, -1, ctypes.c_long(0))
    ctypes.memmove(place, code, len(code))
    return ctypes.CFUNCTYPE(ctypes.c_int)(place)


OLD_CALL = make_old_call()
SCM_RIGHTS = struct.pack("=QII", 20, socket.SOL_SOCKET, socket.SCM_RIGHTS) + struct.pack(
    "=Ixxxx", 0
)
CONTROL = ctypes.create_string_buffer(SCM_RIGHTS)
MESSAGE = struct.pack(
    "@PIPQPQI",
    0, 0, ctypes.addressof(IO_VECTOR), 1, ctypes.addressof(CONTROL), len(SCM_RIGHTS), 0,
)  # fmt: skip

ATTEMPTS: dict[str, Callable[[], int]] = {
    # files
    "read a file": lambda: call(257, AT_FDCWD, PASSWD, 0),
    "read a file, the old call": lambda: call(2, PASSWD, 0, 0),
    "read a file, the new call": lambda: call(437, AT_FDCWD, PASSWD, bytes(24), 24),
    "climb out of its root": lambda: call(257, AT_FDCWD, b"/../../etc/passwd", 0),
    "look into its own memory as a file": lambda: call(257, AT_FDCWD, b"/proc/self/mem", 0),
    "look into another's memory as a file": lambda: call(
        257, AT_FDCWD, b"/proc/%d/mem" % OUTSIDER, 0
    ),
    "list the root folder": lambda: call(257, AT_FDCWD, b"/etc", os.O_DIRECTORY),
    "write a file": lambda: call(257, AT_FDCWD, SCRATCH + b"/new", os.O_CREAT | os.O_RDWR, 0o600),
    "write a file without a name": lambda: call(
        257, AT_FDCWD, SCRATCH, os.O_TMPFILE | os.O_RDWR, 0o600
    ),
    "ask whether a file exists": lambda: call(262, AT_FDCWD, PASSWD, BUFFER, 0),
    "follow a link": lambda: call(89, b"/proc/self/exe", BUFFER, 4096),
    "make a folder": lambda: call(83, SCRATCH + b"/folder", 0o700),
    "make a link": lambda: call(88, PASSWD, SCRATCH + b"/link"),
    "make a device": lambda: call(133, SCRATCH + b"/fifo", 0o010600, 0),
    "rename a file": lambda: call(82, SCRATCH + b"/old", SCRATCH + b"/renamed"),
    "change a file's mode": lambda: call(90, SCRATCH, 0o700),
    "remove a file": lambda: call(87, SCRATCH + b"/gone"),
    "change its folder": lambda: call(80, b"/etc"),
    "watch files": lambda: call(294, 0),
    # mounts and namespaces
    "mount": lambda: call(165, b"none", SCRATCH + b"/mount", b"tmpfs", 0, None),
    "change the root": lambda: call(161, b"/"),
    "make a user namespace": lambda: call(272, 1 << 28),
    "enter a namespace": lambda: call(308, NAMESPACE, 0),
    # network
    "connect by TCP": lambda: connect_to(socket.AF_INET, LOOPBACK),
    "send by UDP": lambda: send_to(socket.AF_INET, socket.SOCK_DGRAM, LOOPBACK),
    "listen": listen,
    "open an IPv6 socket": lambda: call(41, socket.AF_INET6, socket.SOCK_STREAM, 0),
    "connect to a socket by path": lambda: connect_to(socket.AF_UNIX, UNIX_PATH),
    "connect to an abstract socket": lambda: connect_to(socket.AF_UNIX, UNIX_ABSTRACT),
    "talk to the kernel's network": lambda: call(41, socket.AF_NETLINK, socket.SOCK_RAW, 0),
    "make a pair of sockets": lambda: call(53, socket.AF_UNIX, 1, 0, BUFFER),
    "send a descriptor out": lambda: call(46, 0, MESSAGE, 0),
    "receive a descriptor": lambda: call(47, 0, MESSAGE, 0x40),
    "use another descriptor": lambda: call(0, SPARE, BUFFER, 1),
    "write to another descriptor": lambda: call(1, SINK, b"x", 1),
    "copy its descriptor": lambda: call(32, 0),
    # processes
    "fork": lambda: fork(57),
    "clone": lambda: fork(56, 17, None, None, None, None),
    "clone, the new call": lambda: fork(435, struct.pack("=QQQQQQQQ", *[0] * 4, 17, *[0] * 3), 64),
    "run a program": lambda: call(59, b"/bin/true", None, None),
    "run a program from a descriptor": lambda: call(322, SPARE, b"", None, None, 0x1000),
    "trace another": lambda: call(101, 16, OUTSIDER, None, None),
    "be traced": lambda: call(101, 0, 0, None, None),
    "read another's memory": lambda: call(310, OUTSIDER, IO_VECTOR, 1, ITS_MEMORY, 1, 0),
    "signal another": lambda: call(62, OUTSIDER, 0),
    "hold another": lambda: call(434, OUTSIDER, 0),
    "ask who its parent is": lambda: call(110),
    "change its limits": lambda: call(302, 0, 7, struct.pack("=QQ", 0, 0), None),
    "become root": lambda: call(105, 0),
    "take capabilities": lambda: call(126, struct.pack("=Ii", 0x20080522, 0), bytes(24)),
    "allow core dumps": lambda: call(157, 4, 1, 0, 0, 0),
    "change its filter": lambda: call(317, 0, 0, None),
    # memory
    "make memory that is code": lambda: map_memory(7, 0x22, -1),
    "turn memory into code": lambda: call(
        10, ctypes.c_void_p(ctypes.addressof(BUFFER) & ~4095), 4096, 7
    ),
    "map a file": lambda: map_memory(1, 2, SPARE),
    "make a file in memory": lambda: call(319, b"x", 0),
    "catch page faults": lambda: call(323, 0),
    "share memory": lambda: call(29, 0, 4096, 0o1600),
    "send through a queue": lambda: call(68, 0, 0o1600),
    # the kernel's larger doors
    "use io_uring": lambda: call(425, 1, ctypes.create_string_buffer(120)),
    "load a BPF program": lambda: call(321, 0, bytes(64), 64),
    "count events": lambda: call(298, bytes(128), 0, -1, -1, 0),
    "keep a key": lambda: call(248, b"user", b"x", b"y", 1, -3),
    "ask a device": lambda: call(16, 0, 0x5401, BUFFER),
    "take the time": lambda: call(228, 0, BUFFER),
    "sleep": lambda: call(35, struct.pack("=QQ", 0, 1), None),
    "take random bytes": lambda: call(318, BUFFER, 16, 0),
    "call by the x32 table": lambda: call(0x40000000 | 39),
    "call by the 32-bit table": old_table,
}


def work() -> None:
    if not IS_WHOLE:  # with the filter it may not be asked for
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a traced process reports to its tracer
    attempt = list(ATTEMPTS.values())[os.read(0, 1)[0]]
    os.write(0, b"a" if attempt() >= 0 else b"d")


def report(*_: object) -> None:
    with suppress(ChildProcessError):
        while True:
            child, status = os.waitpid(-1, os.WNOHANG)
            if not child:
                return
            number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            os.write(1, b"%d\n" % number)


def allow_threads() -> None:
    narrow_filter, limit = confine.Filter, confine.limit
    confine.Filter = lambda **_: narrow_filter(threads=True)
    confine.limit = lambda **_: limit(threads=True)


def main() -> None:
    if WALLS == ["heic"]:
        allow_threads()
    if not IS_WHOLE:
        confine.Filter.put_on = lambda _: None
        confine.limit = lambda **_: None
        if "namespaces" not in WALLS:
            confine.leave_namespaces = lambda **_: False
        if "landlock" not in WALLS:
            confine.landlock = lambda: 0
        if "user" not in WALLS:
            confine.drop_rights = lambda **_: None
            confine.become_nobody = lambda: None
            # All of it that Landlock asks of a process without rights.
            confine.forbid_dumps = lambda: confine._prctl(confine._PR_SET_NO_NEW_PRIVS, 1)  # noqa: SLF001
    box.Box._work = lambda _: work()  # noqa: SLF001 - the one thing that differs from the real box
    box.Box.reap = report  # says how a child ended
    sys.argv = sys.argv[:1]
    box.main()


if __name__ == "__main__":
    main()
