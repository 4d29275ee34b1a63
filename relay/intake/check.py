"""What `relay check` finds out: whether this machine protects a relay as it promises.

Most is found by trying, on this machine and in this process, not by reading a version. Nothing is
changed by it, and a service that runs goes on meanwhile.
"""

import datetime as dt
from dataclasses import replace
from pathlib import Path

from relay import memory
from relay.config import ServerConfig
from relay.errors import RelayError
from relay.intake.certificate import check_certificate
from relay.intake.exposure import check_listeners
from relay.intake.finding import Finding, State, advice, ok, refused
from relay.intake.keyfiles import check_key_files
from relay.intake.machine import check_clock, check_decoders, check_dumps, check_swap
from relay.intake.onion import check_tor
from relay.intake.places import check_places
from relay.intake.runtime import make_scrubber
from relay.intake.storage import check_queue, check_room
from relay.scrub.wire import ALL_LAYERS, Layer

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

_COSTS = {
    "same_day_pull": "whoever gets at a desk learns in which order people sent, within a day. Set "
    "it to false",
    "allow_classic": "what is kept today can be opened by a later quantum computer. Replace each "
    "age1… recipient (relay keys generate), then set it to false",
}


async def check(config: ServerConfig, path: Path) -> list[Finding]:
    """Try out what a relay relies on, in an order for reading; path: that of relay.toml."""
    now = dt.datetime.now(dt.UTC)
    places = check_places(config, path)
    return [
        *await _check_box(config),
        _check_memory(config),
        check_dumps(),
        check_swap(),
        check_clock(now.date()),
        *check_decoders(heic=config.heic),
        *places,
        *_leave_out(check_key_files(config), places),
        check_queue(config),
        check_room(config),
        *_check_settings(config),
        *check_listeners(config),
        check_certificate(config, now=now),
        *check_tor(config),
    ]


async def _check_box(config: ServerConfig) -> list[Finding]:
    every = tuple(layer.word for layer in Layer)
    try:
        make_scrubber(config)  # looks at the names in accept_missing
        async with make_scrubber(replace(config, accept_missing=every)) as scrubber:
            layers = scrubber.layers
    except RelayError as error:
        return [refused("box", error.message, blocks=True)]
    return [_wall(config, layer, stands=layer in layers) for layer in ALL_LAYERS]


def _wall(config: ServerConfig, layer: Layer, *, stands: bool) -> Finding:
    good, bad = _WALLS[layer]
    return _protection(config, layer.word, good if stands else bad, stands=stands)


def _protection(config: ServerConfig, name: str, words: str, *, stands: bool) -> Finding:
    if stands:
        return ok(name, words)
    if name in config.accept_missing:
        return Finding(name=name, state=State.ACCEPTED, words=words)
    words = f"{words}. Mend it, or accept it: accept_missing"
    return refused(name, words, blocks=True)


def _check_memory(config: ServerConfig) -> Finding:
    if memory.is_freed_overwritten():
        return _protection(config, memory.NAME, "freed memory is overwritten", stands=True)
    words = "freed memory keeps what was in it: this needs glibc"
    return _protection(config, memory.NAME, words, stands=False)


def _check_settings(config: ServerConfig) -> list[Finding]:
    if config.demo:
        words = "demo = true: a throwaway campaign, its keys beside it. Not for senders"
        return [advice("settings", words)]
    on = [
        advice("settings", f"{name} = true: {cost}")
        for name, cost in _COSTS.items()
        if getattr(config, name)
    ]
    return on or [ok("settings", "none that protects less")]


def _leave_out(findings: list[Finding], said: list[Finding]) -> list[Finding]:
    """Return what adds to that: no praise for a file that was blamed, nothing twice."""
    words, names = {one.words for one in said}, {one.name for one in said}
    return [
        finding
        for finding in findings
        if finding.words not in words and not (finding.state is State.OK and finding.name in names)
    ]
