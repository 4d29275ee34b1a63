"""What `relay check` finds out: whether this machine protects a relay as it promises.

Each finding is found by trying, on this machine and in this process, not by reading a version.
"""

import enum
import resource
from dataclasses import dataclass, replace

from relay import memory
from relay.config import ServerConfig
from relay.errors import RelayError
from relay.intake.runtime import make_scrubber
from relay.receipt import ServiceKeys
from relay.scrub.wire import ALL_LAYERS, Layer
from relay.seal.files import check_primitives, load_recipients, load_staff

_WALLS = {
    Layer.USER: ("photos are opened without rights, and not by root", "photos are opened by root"),
    Layer.NAMESPACES: (
        "photos are opened without a network, files or other processes in sight",
        "photos are opened with the network and other processes in sight",
    ),
    Layer.LANDLOCK: ("who opens photos may reach no file", "no second lock on the files"),
    Layer.SECCOMP: (
        "who opens photos may ask the kernel for nothing else",
        "who opens photos may ask the kernel for anything",
    ),
}


class State(enum.StrEnum):
    """What a finding means for `relay serve`."""

    OK = "ok"
    ADVICE = "advice"  # it serves; better mended
    ACCEPTED = "accepted"  # missing, and the configuration says so
    REFUSED = "refused"  # it does not serve


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the check."""

    name: str
    state: State
    words: str


async def check(config: ServerConfig) -> list[Finding]:
    """Try out what a relay relies on, in an order for reading."""
    return [
        *await _check_box(config),
        _check_memory(config),
        _check_dumps(),
        _check_swap(),
        *_check_files(config),
    ]


async def _check_box(config: ServerConfig) -> list[Finding]:
    every = tuple(layer.word for layer in Layer)
    try:
        make_scrubber(config)  # looks at the names in accept_missing
        async with make_scrubber(replace(config, accept_missing=every)) as scrubber:
            layers = scrubber.layers
    except RelayError as error:
        return [Finding(name="box", state=State.REFUSED, words=error.message)]
    return [_wall(config, layer, stands=layer in layers) for layer in ALL_LAYERS]


def _wall(config: ServerConfig, layer: Layer, *, stands: bool) -> Finding:
    good, bad = _WALLS[layer]
    return _protection(config, layer.word, good if stands else bad, stands=stands)


def _protection(config: ServerConfig, name: str, words: str, *, stands: bool) -> Finding:
    missing = State.ACCEPTED if name in config.accept_missing else State.REFUSED
    return Finding(name=name, state=State.OK if stands else missing, words=words)


def _check_memory(config: ServerConfig) -> Finding:
    if memory.is_freed_overwritten():
        return _protection(config, memory.NAME, "freed memory is overwritten", stands=True)
    words = "freed memory keeps what was in it: this needs glibc"
    return _protection(config, memory.NAME, words, stands=False)


def _check_dumps() -> Finding:
    try:
        memory.forbid_dumps()
    except RelayError as error:
        return Finding(name="dumps", state=State.REFUSED, words=error.message)
    is_off = resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
    state = State.OK if is_off else State.REFUSED
    return Finding(name="dumps", state=state, words="a crash writes no memory to the disk")


def _check_swap() -> Finding:
    if memory.has_swap():
        words = "memory may be written to swap: turn it off (swapoff -a), or encrypt it"
        return Finding(name="swap", state=State.ADVICE, words=words)
    return Finding(name="swap", state=State.OK, words="off")


def _check_files(config: ServerConfig) -> list[Finding]:
    findings = []
    for name, load, state in (
        ("service key", lambda: ServiceKeys.load(config.service_key), State.REFUSED),
        ("staff", lambda: load_staff(config.staff), State.REFUSED),
        ("recipients", lambda: _load_recipients(config), State.ADVICE),
    ):
        try:
            load()
        except RelayError as error:
            findings.append(Finding(name=name, state=state, words=error.message))
        else:
            findings.append(Finding(name=name, state=State.OK, words="can be used"))
    return findings


def _load_recipients(config: ServerConfig) -> None:
    check_primitives()
    load_recipients(
        config.recipients, slots=config.recipient_slots, allow_classic=config.allow_classic
    )
