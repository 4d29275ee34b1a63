"""What the service does so that its memory gives nothing away.

Freed memory is overwritten, memory can't be dumped, and whether it may be swapped can be asked.
"""

import ctypes
import os
import resource
import stat
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from relay.errors import ConfigInvalid

NAME = "memory"  # in accept_missing
# What is freed is overwritten with this byte, and nothing freed waits, unwritten, in a thread's
# cache. Source: the GNU C Library manual, "Memory Allocation Tunables"; its malloc/malloc.c:
# free_perturb comes after the cache (tcache) has taken what it wants.
_TUNABLES = {"glibc.malloc.perturb": "165", "glibc.malloc.tcache_count": "0"}
# Python's own allocator keeps small pieces, with what they held. Source: its manual, PYTHONMALLOC.
_ALLOCATOR = "malloc"
_TOLD = "RELAY_TOLD"
_PR_GET_DUMPABLE, _PR_SET_DUMPABLE = 3, 4  # Source: linux/prctl.h

# What is written to find out: pieces that are small, more than Python's own allocator takes (512),
# more than a thread's cache takes (1,032), and large but not yet mapped alone (128 kB).
_MARK = bytes.fromhex("5ac3e10f96b42d78d2871be94c06f5a3")
_PROBES = tuple(_MARK * marks for marks in (6, 19, 50, 188, 2500))
_PIECES = 64  # a cache holds 7 of one size, from glibc 2.42 on 16, and would leave the others
_BYTES_HEADER = bytes.__basicsize__ - 1

_Piece = tuple[int, Callable[[], object]]  # where it lies, and how it is freed


def overwrite_freed() -> None:
    """Start this program again, unless its allocators were told to overwrite what they free.

    They are told by the environment, before a program begins. Returns where they were told;
    whether they obey is what `is_freed_overwritten` looks at.
    """
    told = _tell(os.environ)
    if told == os.environ or _TOLD in os.environ:  # libc takes some away from privileged programs
        return
    told[_TOLD] = "1"
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], told)  # noqa: S606 - the same program


def _tell(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with our settings; the operator's other tunables stay."""
    others = [
        tunable
        for tunable in environment.get("GLIBC_TUNABLES", "").split(":")
        if tunable and tunable.partition("=")[0] not in _TUNABLES
    ]
    ours = [f"{name}={value}" for name, value in _TUNABLES.items()]
    return {
        **environment,
        "GLIBC_TUNABLES": ":".join(others + ours),
        "PYTHONMALLOC": _ALLOCATOR,
    }


def is_freed_overwritten() -> bool:
    """Return whether libc and Python overwrite what is freed: writes, frees, and looks.

    The settings alone would say nothing of a libc that does not know them (musl), of a program
    that may not heed them (setuid, `python -I`), or of another allocator loaded before libc's.
    """
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.restype, libc.free.argtypes = None, [ctypes.c_void_p]

    def take_of_libc(written: bytes) -> _Piece:
        address = libc.malloc(len(written))
        ctypes.memmove(address, written, len(written))
        return address, lambda: libc.free(address)

    def take_of_python(written: bytes) -> _Piece:
        copy = [bytes(memoryview(written))]
        return id(copy[0]) + _BYTES_HEADER, copy.clear

    return not any(
        _is_left(take, written) for take in (take_of_libc, take_of_python) for written in _PROBES
    )


def _is_left(take: Callable[[bytes], _Piece], written: bytes) -> bool:
    """Return whether any of many freed pieces still holds what was written to it.

    Every second one is freed, so that its memory lies between pieces in use and stays ours. Where
    it does not, reading it through the kernel is an error and not a crash.
    """
    pieces = [take(written) for _ in range(2 * _PIECES)]
    contents = [(ctypes.c_char * len(written)).from_address(address) for address, _ in pieces[::2]]
    for _, free in pieces[::2]:
        free()
    left = [_MARK in _read(content) for content in contents]
    for _, free in pieces[1::2]:
        free()
    return any(left)


def _read(content: "ctypes.Array[ctypes.c_char]") -> bytes:
    reader, writer = os.pipe()
    try:
        os.set_blocking(writer, False)
        return os.read(reader, os.write(writer, content))
    except OSError:
        return b""  # given back to the system
    finally:
        os.close(reader)
        os.close(writer)


def forbid_dumps() -> None:
    """Make sure that no crash writes memory to a disk, and that only root may look into it.

    Raises:
        ConfigInvalid: the system refuses.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise ConfigInvalid("this system can't forbid core dumps")


def can_be_dumped() -> bool:
    """Return whether a crash of this process would write its memory to a disk or to a program.

    A program that collects crashes gets them whatever the limit is. Source: core(5), prctl(2).
    """
    is_dumpable = ctypes.CDLL(None).prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0) != 0
    return is_dumpable or resource.getrlimit(resource.RLIMIT_CORE) != (0, 0)


def find_swaps(proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> dict[str, bool]:
    """Return where the system may write memory to, and whether nobody could read it there later.

    True: in memory alone (zram without a disk behind it), or on dm-crypt as far down as the kernel
    tells. False: neither, or not to be found out.
    """
    try:
        lines = (proc / "swaps").read_text("utf-8", "replace").splitlines()[1:]  # after headings
    except FileNotFoundError:
        return {}  # a kernel without swap
    names = [
        line.split()[0].encode("latin-1", "replace").decode("unicode_escape") for line in lines
    ]
    return {name: _is_unreadable_later(Path(name), sys) for name in names}


def _is_unreadable_later(swap: Path, sys: Path) -> bool:
    try:
        found = swap.stat()
    except OSError:
        return False
    number = found.st_rdev if stat.S_ISBLK(found.st_mode) else found.st_dev
    device = sys / "dev/block" / f"{os.major(number)}:{os.minor(number)}"
    try:
        return _is_safe_device(device.resolve(strict=True))
    except OSError:
        return False  # a file system without one device below it


def _is_safe_device(device: Path) -> bool:
    """Whether what is written to a device can't be read from a disk. Source: sysfs, dm-crypt."""
    if device.name.startswith("zram"):
        return (device / "backing_dev").read_text("ascii").strip() == "none"
    uuid = device / "dm/uuid"
    if uuid.exists() and uuid.read_text("ascii", "replace").startswith("CRYPT-"):
        return True
    below = sorted((device / "slaves").iterdir()) if (device / "slaves").is_dir() else []
    return bool(below) and all(_is_safe_device(one.resolve()) for one in below)
