"""Memory and CPU of processes with everything below them, as the kernel counts it."""

import contextlib
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)
_EVERY_S = 0.25


def tree(pid: int) -> list[int]:
    """The process and all that live below it."""
    try:
        below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(one for child in below for one in tree(int(child)))]


def memory_bytes(pid: int) -> int:
    """What a process holds: shared pages by their share (PSS), or whole where that is secret."""
    try:
        if match := _PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_text()):
            return int(match[1]) * 1024
    except PermissionError:  # another account's, or one that can't be looked into
        with contextlib.suppress(OSError):
            return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except OSError:
        pass
    return 0


def cpu_s(pid: int) -> float:
    """User and system time of a process and of its children that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS


@dataclass
class Track:
    """What was seen of one tree: (seconds, bytes) at each look, and its CPU seconds.

    own: of its first process alone.
    """

    pid: int
    memory: list[tuple[float, int]] = field(default_factory=list)
    own: list[tuple[float, int]] = field(default_factory=list)
    cpu_before: float = 0.0
    cpu: float = 0.0

    @property
    def peak(self) -> int:
        return max((size for _, size in self.memory), default=0)

    @property
    def cpu_spent(self) -> float:
        return self.cpu - self.cpu_before

    def look(self, at_s: float) -> None:
        pids = tree(self.pid)
        if pids and (own := memory_bytes(self.pid)):
            self.own.append((at_s, own))
            self.memory.append((at_s, own + sum(map(memory_bytes, pids[1:]))))
        self.cpu = max(self.cpu, sum(map(cpu_s, pids)))  # what was killed has spent it all the same


class Watch:
    """Looks at trees all the time, from a thread of its own: the client is busy."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self.tracks = {name: Track(pid) for name, pid in pids.items()}
        self.began = time.monotonic()

    def look(self) -> None:
        for track in self.tracks.values():
            track.look(time.monotonic() - self.began)

    @property
    def peak(self) -> int:
        """The most that all held together."""
        looks = zip(*(track.memory for track in self.tracks.values()), strict=False)
        return max((sum(size for _, size in look) for look in looks), default=0)


@contextlib.contextmanager
def watching(pids: Mapping[str, int]) -> Iterator[Watch]:
    """Watch the trees below these processes while inside."""
    watch = Watch(pids)
    watch.look()
    for track in watch.tracks.values():
        track.cpu_before = track.cpu
    is_over = threading.Event()

    def work() -> None:
        while not is_over.wait(_EVERY_S):
            watch.look()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield watch
    finally:
        is_over.set()
        thread.join()
        watch.look()
