"""What the machine itself does to a relay: dumps, swap, clock, and the libraries it has."""

import ctypes
import datetime as dt
from contextlib import suppress
from pathlib import Path

from relay import memory
from relay.errors import RelayError
from relay.intake.calendar import find_fault
from relay.intake.finding import Finding, State, advice, ok, refused
from relay.scrub.decoders import find_known_bad, find_unreadable, find_versions

# Nobody has run this version before that day, so no clock may say that it is earlier.
_WRITTEN = dt.date(2026, 11, 24)
_STA_UNSYNC, _TIME_ERROR = 0x40, 5  # Source: linux/timex.h, adjtimex(2)
_CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")
_DUMPS_MEND = "Start the relay outside of the sandbox or container that forbids it prctl(2)"
_DECODERS_MEND = "Install the locked wheels again (scripts/setup run)"
_REST_BYTES = 512  # of struct timex; more than any kernel writes


class _Timex(ctypes.Structure):
    """The beginning of struct timex. Source: linux/timex.h."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * _REST_BYTES),
    )


def check_dumps() -> Finding:
    """Try whether this system lets a relay forbid that a crash writes its memory anywhere.

    `relay serve` does the same at its start. What the kernel does with other programs is no matter.
    """
    with suppress(RelayError, OSError, ValueError):  # what counts is how it is then
        memory.forbid_dumps()
    if memory.can_be_dumped():
        words = f"a crash may write memory to {_find_collector()}, and this system won't forbid it."
        return refused("dumps", f"{words} {_DUMPS_MEND}", blocks=True)
    return ok("dumps", "a crash of the relay writes no memory anywhere: tried here")


def _find_collector() -> str:
    """Return where the kernel leaves a crashed program's memory. Source: core(5)."""
    try:
        pattern = _CORE_PATTERN.read_text("utf-8", "replace").strip()
    except OSError:
        pattern = ""
    collector = pattern[1:].split() or ["another program"]
    return collector[0] if pattern.startswith("|") else "the disk"


def check_swap() -> Finding:
    """Look whether memory may be written to a disk, and whether that is encrypted."""
    swaps = memory.find_swaps()
    if not swaps:
        return ok("swap", "off")
    bare = [name for name, is_safe in swaps.items() if not is_safe]
    if not bare:
        return ok("swap", "encrypted, or in memory alone")
    words = f"memory may be written to {', '.join(bare)}, not known to be encrypted."
    return advice("swap", f"{words} Turn it off (swapoff -a), or encrypt it")


def check_clock(today: dt.date, *, turned: dt.date | None = None) -> Finding:
    """Look whether the clock can be right: days of leases, and of keys, hang on it.

    turned: the last day that the relay has turned.
    """
    if today < _WRITTEN:
        words = f"the clock says {today}, before this version was written. Set it, then start again"
        return refused("clock", words)
    if (fault := find_fault(today, turned)) is not None:
        return refused("clock", fault)
    now = _Timex()
    state = ctypes.CDLL(None).adjtimex(ctypes.byref(now))
    if state < 0 or state == _TIME_ERROR or now.status & _STA_UNSYNC:
        words = "nothing keeps the clock right: install chrony or systemd-timesyncd"
        return advice("clock", words)
    return ok("clock", "kept right")


def check_decoders(*, heic: bool) -> list[Finding]:
    """Hold the decoders against the versions that are known to be dangerous."""
    versions = find_versions(heic=heic)
    findings = [
        Finding(
            name="decoders",
            state=State.REFUSED if known.is_reached else State.ADVICE,
            words=f"{known.decoder} {version}: {known.why} ({known.source}). {known.mend}",
        )
        for version, known in find_known_bad(versions)
    ]
    findings += [
        advice("decoders", f"{name} {versions[name]}: no version to compare. {_DECODERS_MEND}")
        for name in find_unreadable(versions)
    ]
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return findings or [ok("decoders", listed)]
