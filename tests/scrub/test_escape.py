"""Nothing leaves the box: what a hostile photo could try, tried from inside."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from relay.scrub.wire import JOB, READY, Layer, Start
from tests.scrub.escape import ATTEMPTS

KILLED_BY_THE_FILTER = 31  # SIGSYS
pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="shared numbers: x86_64")


@dataclass
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
    with hostile_box("landlock", tmp_path / "x") as box:
        for name in FILES | OTHERS - {"signal another"}:
            assert box.attempt(name).answer == b"d", name


@pytest.mark.skipif(os.getuid() != 0, reason="shared with nobody: only root has a user to drop")
def test_root_is_given_up(tmp_path: Path) -> None:
    with hostile_box("user", tmp_path / "x") as box:
        for name in OTHERS | {"become root", "write a file", "mount", "change the root"}:
            assert box.attempt(name).answer == b"d", name
