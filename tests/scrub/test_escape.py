"""Nothing leaves the box: what a hostile photo could try, tried from inside."""

import ctypes
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from relay.scrub import confine
from relay.scrub.wire import JOB, READY, Layer, Start
from tests.scrub.escape import ATTEMPTS

KILLED_BY_THE_FILTER = 31  # SIGSYS
pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="only x86-64's numbers")


@dataclass(frozen=True)
class Outcome:
    answer: bytes  # a: allowed, d: denied, empty: did not live to say
    signal: int


class HostileBox:
    def __init__(self, walls: str, folder: Path) -> None:
        folder.mkdir()
        for name in ("gone", "old"):
            (folder / name).touch()
        (folder / "mount").mkdir()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.by_path, self.abstract = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        self.by_path.bind(str(folder / "socket"))
        self.abstract.bind(f"\0relay-{folder}"[:100])
        self.by_path.listen()
        self.abstract.listen()
        self.control, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                # Without walls an attempt to mount succeeds: in a world of its own.
                [
                    *(["unshare", "--map-root-user", "--mount"] if walls == "none" else []),
                    sys.executable,
                    "-I",
                    Path(__file__).with_name("escape.py"),
                ],
                stdin=theirs.fileno(),
                stdout=subprocess.PIPE,
                start_new_session=True,
                env={
                    "WALLS": walls,
                    "PORT": str(self.listener.getsockname()[1]),
                    "UNIX_PATH": str(folder / "socket"),
                    "ABSTRACT": f"relay-{folder}"[:99],
                    "SCRATCH": str(folder),
                },
            )
        self.control.settimeout(20)
        start, layers = READY.unpack(self.control.recv(READY.size))
        assert start == Start.WARM
        self.layers = Layer(layers)

    def attempt(self, name: str) -> Outcome:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            socket.send_fds(self.control, [JOB], [theirs.fileno()])
            theirs.close()
            ours.settimeout(20)
            ours.send(bytes([list(ATTEMPTS).index(name)]))
            answer = b""
            with suppress(ConnectionResetError):
                answer = ours.recv(1)
            assert self.process.stdout is not None
            return Outcome(answer, int(self.process.stdout.readline()))

    def close(self) -> None:
        self.control.close()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # the outsider too
        for one in (self.listener, self.by_path, self.abstract):
            one.close()


@contextmanager
def hostile_box(walls: str, folder: Path) -> Iterator[HostileBox]:
    box = HostileBox(walls, folder)
    try:
        yield box
    finally:
        box.close()


# Attempts that fail outside of the box too, as tried here; with the filter they end a child as all
# others do.
FAIL_ANYWHERE = {
    "receive a descriptor",  # none was sent
    "run a program from a descriptor",  # it is no program
    "load a BPF program",  # it is no program
    "count events",  # of no kind
    "ask a device",  # it is none
    "call by the x32 table",  # most kernels are built without it
}
FILES = {
    "read a file",
    "read a file, the old call",
    "read a file, the new call",
    "climb out of its root",
    "look into its own memory as a file",
    "look into another's memory as a file",
    "list the root folder",
    "write a file",
    "write a file without a name",
    "make a folder",
    "make a link",
    "make a device",
    "rename a file",
    "remove a file",
}
PLACES = {
    "ask whether a file exists",
    "follow a link",
    "change a file's mode",
    "change its folder",
    "connect to a socket by path",
}
OTHERS = {"trace another", "read another's memory", "signal another"}
NETWORK = {"connect by TCP", "connect to an abstract socket"}


@pytest.fixture(scope="module")
def whole_box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostileBox]:
    with hostile_box("all", tmp_path_factory.mktemp("whole") / "x") as box:
        yield box


@pytest.mark.parametrize("name", ATTEMPTS)
def test_no_attempt_from_inside_the_box_is_allowed(whole_box: HostileBox, name: str) -> None:
    assert whole_box.attempt(name) == Outcome(b"", KILLED_BY_THE_FILTER)


def test_nor_from_inside_the_box_for_heic_which_may_have_threads(tmp_path: Path) -> None:
    with hostile_box("heic", tmp_path / "x") as box:
        outcomes = {name: box.attempt(name) for name in ATTEMPTS}
    assert outcomes.pop("clone, the new call").answer == b"d"  # libc tries it first
    assert set(outcomes.values()) == {Outcome(b"", KILLED_BY_THE_FILTER)}


def test_the_same_attempts_are_allowed_without_walls(tmp_path: Path) -> None:
    """Else the test above would prove nothing. Some depend on the kernel: most must work."""
    with hostile_box("none", tmp_path / "x") as box:
        allowed = {
            name
            for name in ATTEMPTS
            if box.attempt(name).answer == (b"" if name == "run a program" else b"a")
        }
    assert len(ATTEMPTS) >= 60
    assert allowed | FAIL_ANYWHERE >= FILES | PLACES | OTHERS | NETWORK
    assert len(allowed) >= 50, set(ATTEMPTS) - allowed


def test_without_the_filter_an_empty_world_is_left(tmp_path: Path) -> None:
    with hostile_box("namespaces", tmp_path / "x") as box:
        for name in FILES | PLACES | OTHERS | NETWORK | {"send by UDP"}:
            assert box.attempt(name).answer == b"d", name


def test_landlock_alone_holds_files_and_processes(tmp_path: Path) -> None:
    version = landlock_version()
    held = FILES | {"trace another", "read another's memory"}
    held |= {"connect by TCP", "listen"} if version >= 4 else set()
    held |= {"signal another", "connect to an abstract socket"} if version >= 6 else set()
    with hostile_box("landlock", tmp_path / "x") as box:
        for name in held:
            assert box.attempt(name).answer == b"d", name


def landlock_version() -> int:
    libc = ctypes.CDLL(None)
    return int(libc.syscall(444, None, 0, 1))  # landlock_create_ruleset(2), VERSION


# -- the filter, without a kernel -----------------------------------------------------------------

ALLOW, KILL, NO_SUCH_CALL = 0x7FFF0000, 0x80000000, 0x00050026


def verdict(program: bytes, audit: int, number: int, arguments: Sequence[int]) -> int:
    """Run a seccomp program as the kernel does. Source: linux/filter.h, seccomp(2)."""
    seen = struct.pack("<iIQ6Q", number, audit, 0, *arguments)
    instructions = list(struct.iter_unpack("<HBBI", program))
    at = value = 0
    while True:
        code, if_true, if_false, operand = instructions[at]
        at += 1
        match code:
            case 0x20:
                (value,) = struct.unpack_from("<I", seen, operand)
            case 0x15:
                at += if_true if value == operand else if_false
            case 0x45:
                at += if_true if value & operand else if_false
            case 0x06:
                return operand
            case _:
                raise AssertionError(code)


MACHINES = confine._MACHINES  # noqa: SLF001 - the numbers are what is tested


@pytest.mark.parametrize("threads", [False, True])
@pytest.mark.parametrize("machine", MACHINES)
def test_the_filter_allows_its_calls_with_their_arguments_and_no_others(
    machine: str, *, threads: bool
) -> None:
    numbers = MACHINES[machine]
    program = confine.compile_filter(numbers, threads=threads)
    anything = [0, 1, 2, 4, 7, 14, 22, 2**31, 2**32 - 1]
    allowed = {
        numbers.read: (0, lambda value: value == 0),
        numbers.write: (0, lambda value: value == 0),
        numbers.munmap: (0, lambda _: True),
        numbers.mremap: (0, lambda _: True),
        numbers.brk: (0, lambda _: True),
        numbers.exit_group: (0, lambda _: True),
        numbers.madvise: (2, lambda value: threads or value == 14),
    }
    if threads:
        allowed[numbers.mprotect] = (2, lambda value: not value & 4)
        allowed[numbers.clone] = (0, lambda value: value == 0x3D0F00)
        for number in ("futex", "set_robust_list", "rseq", "rt_sigprocmask", "exit"):
            allowed[getattr(numbers, number)] = (0, lambda _: True)
    for number in [*range(-1, 600), 0x40000000, 0x40000001, 0x40000009]:
        place, is_allowed = allowed.get(number, (0, lambda _: False))
        for value in [*anything, 0x3D0F00]:
            arguments = [0] * 6
            arguments[place] = value
            expected = ALLOW if is_allowed(value) else KILL
            if number == numbers.mmap:
                continue
            if threads and number == numbers.clone3:
                expected = NO_SUCH_CALL
            assert verdict(program, numbers.audit, number, arguments) == expected, number
            assert verdict(program, numbers.audit ^ 1, number, arguments) == KILL
    for protection in range(8):
        for descriptor in (0, 3, 2**32 - 1):
            is_allowed_here = not protection & 4 and descriptor == 2**32 - 1
            arguments = [0, 4096, protection, 0x22, descriptor, 0]
            expected = ALLOW if is_allowed_here else KILL
            assert verdict(program, numbers.audit, numbers.mmap, arguments) == expected


@pytest.mark.skipif(os.getuid() != 0, reason="only root has a user to drop")
def test_root_is_given_up(tmp_path: Path) -> None:
    with hostile_box("user", tmp_path / "x") as box:
        for name in OTHERS | {"become root", "write a file", "mount", "change the root"}:
            assert box.attempt(name).answer == b"d", name
