"""The walls of the box, one by one, from the standard library and the kernel alone.

Each wall is tried; what could not be put up is missing from the answer, and who runs the box
decides. Only Linux has them.
Source: linux/{prctl,sched,mount,capability,landlock,seccomp,filter,audit}.h; namespaces(7),
landlock(7), seccomp(2), pivot_root(2).
"""

import ctypes
import errno
import os
import resource
import signal
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

CPU_S = 10
WALL_S = 22  # supervisor._JOB_S is longer: who waits there is answered once a child has gone
ADDRESS_SPACE_BYTES = 1 << 30
_MOST_THREADS = 256  # of all that run as nobody; the decoder of HEIC has one or two at a time
JOB = 0  # the one descriptor of a child: its photo comes in and its answer goes out there
_NOBODY = 65534
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP = 1, 4, 22
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
_MOST_CAPABILITIES = 64
_CAPABILITY_VERSION_3 = 0x20080522
_CLONE_NEWNS, _CLONE_NEWCGROUP, _CLONE_NEWUTS, _CLONE_NEWIPC = 1 << 17, 1 << 25, 1 << 26, 1 << 27
_CLONE_NEWUSER, _CLONE_NEWPID, _CLONE_NEWNET = 1 << 28, 1 << 29, 1 << 30
_NAMESPACES = (
    _CLONE_NEWNS | _CLONE_NEWCGROUP | _CLONE_NEWUTS | _CLONE_NEWIPC | _CLONE_NEWPID | _CLONE_NEWNET
)
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MS_REC, _MS_PRIVATE = 1 << 14, 1 << 18
_MNT_DETACH = 2
_LANDLOCK_CREATE, _LANDLOCK_RESTRICT = 444, 446  # the same number on every architecture
_LANDLOCK_VERSION = 1
_IS_64_BIT = sys.maxsize > 1 << 32

if sys.platform == "linux":
    _LIBC = ctypes.CDLL(None, use_errno=True)
    _LIBC.syscall.restype = ctypes.c_long


def _must(done: int) -> None:
    """Raise OSError where a call of libc failed."""
    if done < 0:
        raise OSError(ctypes.get_errno(), "refused by the kernel")


def _prctl(option: int, value: int) -> None:
    _must(_LIBC.prctl(option, ctypes.c_ulong(value), 0, 0, 0))


# -- the box itself, before it has seen a photo ---------------------------------------------------


def give_back_memory() -> None:
    """Give the kernel back what is free, where the C library knows how."""
    if trim := getattr(_LIBC, "malloc_trim", None):
        trim(0)


def forbid_dumps() -> None:
    """Leave no core, let nobody of the same user look in, gain no rights, die with the parent.

    Where the machine runs out of memory, the kernel is to take us first.
    """
    with suppress(OSError):  # first: what can't be dumped has files in /proc that are root's
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(_PR_SET_DUMPABLE, 0)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def leave_namespaces(*, by_user: bool) -> bool:
    """Leave the host's network, processes, mounts, IPC and names. The next fork is process 1.

    by_user: by way of a user namespace, in which nobody has a name; needs no rights.
    """
    return bool(_LIBC.unshare(_NAMESPACES | (_CLONE_NEWUSER if by_user else 0)) == 0)


def empty_root() -> None:
    """Make an empty, read-only folder the root of all paths. Needs a mount namespace of its own.

    Raises:
        OSError: the kernel refuses.
    """
    flags = _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    _must(_LIBC.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None))
    _must(_LIBC.mount(b"none", b"/tmp", b"tmpfs", flags, b"size=4k"))
    os.chdir("/tmp")  # noqa: S108 - the empty folder just mounted
    if _LIBC.pivot_root(b".", b".") == 0:
        _must(_LIBC.umount2(b".", _MNT_DETACH))
    elif ctypes.get_errno() == errno.EINVAL:
        os.chroot(".")  # some roots can't be pivoted: an initramfs, or a chroot
    else:
        _must(-1)
    os.chdir("/")


def become_nobody() -> None:
    """Give up root.

    Raises:
        OSError: the kernel refuses.
    """
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)


def drop_rights(*, is_root: bool) -> None:
    """Become nobody where we are root; keep no capability in any case.

    Raises:
        OSError: the kernel refuses.
    """
    for capability in range(_MOST_CAPABILITIES):
        _LIBC.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    try:
        if is_root:
            become_nobody()
    finally:
        _must(_LIBC.capset(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), bytes(24)))


def landlock() -> int:
    """Give up every path, and with newer kernels TCP and signals. Returns the kernel's version.

    Raises:
        OSError: the kernel has no Landlock (before 5.13), or it is off.
    """
    version = _LIBC.syscall(_LANDLOCK_CREATE, None, 0, _LANDLOCK_VERSION)
    _must(version)
    files = {1: 1 << 13, 2: 1 << 14, 3: 1 << 15, 4: 1 << 15}.get(version, 1 << 16) - 1
    handled = struct.pack("=QQQ", files, 0b11, 0b11)
    size = 8 if version < 4 else 16 if version < 6 else 24  # noqa: PLR2004 - ABI 4: TCP; 6: scopes
    ruleset = _LIBC.syscall(_LANDLOCK_CREATE, handled, size, 0)
    _must(ruleset)
    try:
        _must(_LIBC.syscall(_LANDLOCK_RESTRICT, ruleset, 0))
    finally:
        os.close(ruleset)
    return int(version)


# -- a child, before it reads its photo ------------------------------------------------------------


def limit(*, threads: bool) -> None:
    """Bound memory, CPU and wall time; allow no file, no descriptor and no process.

    threads: some, since the kernel counts them as processes; a process is not let through by the
    filter in any case.
    """
    signal.alarm(WALL_S)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # neither a fork nor a change of user keeps it
    for name, value in (
        (resource.RLIMIT_AS, ADDRESS_SPACE_BYTES),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 0),
    ):
        resource.setrlimit(name, (value, value))
    processes = _MOST_THREADS if threads else 0
    resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))


@dataclass(frozen=True, kw_only=True)
class Call:
    """One system call that a child may make: `number`, with its arguments as said.

    equal: argument -> value; zero: argument -> bits that are off. Low 32 bits: the calls that
    stand here look at no others.
    """

    number: int
    equal: tuple[tuple[int, int], ...] = ()
    zero: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The numbers of one architecture. Source: asm/unistd_64.h, asm-generic/unistd.h, audit.h."""

    audit: int
    read: int
    write: int
    mmap: int
    munmap: int
    mremap: int
    mprotect: int
    madvise: int
    brk: int
    clone: int
    clone3: int
    futex: int
    set_robust_list: int
    rseq: int
    rt_sigprocmask: int
    exit: int
    exit_group: int


_MACHINES = {
    "x86_64": Machine(
        audit=0xC000003E,
        read=0,
        write=1,
        mmap=9,
        munmap=11,
        mremap=25,
        mprotect=10,
        madvise=28,
        brk=12,
        clone=56,
        clone3=435,
        futex=202,
        set_robust_list=273,
        rseq=334,
        rt_sigprocmask=14,
        exit=60,
        exit_group=231,
    ),
    "aarch64": Machine(
        audit=0xC00000B7,
        read=63,
        write=64,
        mmap=222,
        munmap=215,
        mremap=216,
        mprotect=226,
        madvise=233,
        brk=214,
        clone=220,
        clone3=435,
        futex=98,
        set_robust_list=99,
        rseq=293,
        rt_sigprocmask=135,
        exit=93,
        exit_group=94,
    ),
}
_NO_FILE = 0xFFFFFFFF
_PROT_EXEC, _MADV_HUGEPAGE = 4, 14
# VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS, PARENT_SETTID, CHILD_CLEARTID: a thread, nothing
# else. Source: pthread_create of glibc.
_THREAD = 0x3D0F00


def allowed_calls(machine: Machine, *, threads: bool) -> list[Call]:
    """Return what a child may ask the kernel for. Measured with strace; all else kills it.

    It may read and write its one socket, take and give back memory that is no file and never
    becomes code, and end. threads: the decoder of HEIC can't do without.
    """
    calls = [
        Call(number=machine.read, equal=((0, JOB),)),
        Call(number=machine.write, equal=((0, JOB),)),
        Call(number=machine.mmap, equal=((4, _NO_FILE),), zero=((2, _PROT_EXEC),)),
        Call(number=machine.munmap),
        Call(number=machine.mremap),
        Call(number=machine.brk),
        Call(number=machine.exit_group),
    ]
    if not threads:
        return [*calls, Call(number=machine.madvise, equal=((2, _MADV_HUGEPAGE),))]
    return [
        *calls,
        Call(number=machine.madvise),
        Call(number=machine.mprotect, zero=((2, _PROT_EXEC),)),
        Call(number=machine.clone, equal=((0, _THREAD),)),
        Call(number=machine.futex),
        Call(number=machine.set_robust_list),
        Call(number=machine.rseq),
        Call(number=machine.rt_sigprocmask),
        Call(number=machine.exit),
    ]


_LOAD, _EQUALS, _HAS_BITS, _ANSWER = 0x20, 0x15, 0x45, 0x06  # Source: linux/bpf_common.h
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_ENOSYS = 38
_AT_NUMBER, _AT_AUDIT, _AT_ARGUMENTS = 0, 4, 16  # struct seccomp_data, little-endian


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _rule(call: Call) -> bytes:
    """Allow `call` where every condition holds, kill where one fails, go on at other calls."""
    checks = [(_EQUALS, argument, value) for argument, value in call.equal]
    checks += [(_HAS_BITS, argument, bits) for argument, bits in call.zero]
    body = b""
    for left, (test, argument, value) in zip(range(len(checks), 0, -1), checks, strict=True):
        to_kill = 2 * left - 1  # over the checks that are left and the answer "allow"
        jumps = (0, to_kill) if test == _EQUALS else (to_kill, 0)
        body += _instruction(_LOAD, _AT_ARGUMENTS + 8 * argument)
        body += _instruction(test, value, *jumps)
    body += _instruction(_ANSWER, _ALLOW) + _instruction(_ANSWER, _KILL)
    return _instruction(_EQUALS, call.number, 0, len(body) // 8) + body


def compile_filter(machine: Machine, *, threads: bool) -> bytes:
    """Return the seccomp program: an allow-list for one architecture, death for all else."""
    program = [
        _instruction(_LOAD, _AT_AUDIT),
        _instruction(_EQUALS, machine.audit, 1, 0),
        _instruction(_ANSWER, _KILL),
        _instruction(_LOAD, _AT_NUMBER),
    ]
    if threads:  # its flags lie in memory, out of a filter's sight; libc then falls back to clone
        program += [
            _instruction(_EQUALS, machine.clone3, 0, 1),
            _instruction(_ANSWER, _ERRNO | _ENOSYS),
        ]
    program += [_rule(call) for call in allowed_calls(machine, threads=threads)]
    return b"".join([*program, _instruction(_ANSWER, _KILL)])


class Filter:
    """A compiled filter that waits to be put on.

    Raises:
        OSError: no numbers are known for this machine.
    """

    def __init__(self, *, threads: bool) -> None:
        """Compile for the machine that we run on."""
        machine = _MACHINES.get(os.uname().machine) if _IS_64_BIT else None
        if machine is None:
            raise OSError("no list of system calls for this machine")
        self._program = ctypes.create_string_buffer(compile_filter(machine, threads=threads))
        length = (len(self._program) - 1) // 8
        self._head = struct.pack("@HP", length, ctypes.addressof(self._program))

    def put_on(self) -> None:
        """Allow this process what the list allows, for good.

        Raises:
            OSError: the kernel has no seccomp filters.
        """
        _must(_LIBC.prctl(_PR_SET_SECCOMP, 2, self._head, 0, 0))
