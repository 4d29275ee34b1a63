"""What `relay check` finds out: whether this machine protects a relay as it promises.

Most is found by trying, on this machine and in this process, not by reading a version. Nothing is
changed by it, and a service that runs goes on meanwhile.
"""

import datetime as dt
from dataclasses import dataclass, replace
from pathlib import Path

from relay import memory
from relay.config import ServerConfig
from relay.errors import RelayError, ScrubFailed
from relay.intake.box import make_scrubber
from relay.intake.certificate import check_certificate
from relay.intake.exposure import check_listeners
from relay.intake.finding import Finding, State, advice, ok, refused
from relay.intake.keyfiles import check_key_files
from relay.intake.machine import check_clock, check_decoders, check_dumps, check_swap
from relay.intake.onion import check_tor
from relay.intake.places import check_places
from relay.intake.storage import check_queue, check_room, check_server
from relay.queue.look import read_turned
from relay.scrub.wire import ALL_LAYERS, Layer


@dataclass(frozen=True, kw_only=True)
class Protection:
    """What is said where it stands, where it is missing, and the first step to mend that."""

    good: str
    bad: str
    mend: str


WALLS = {
    Layer.USER: Protection(
        good="photos are opened without rights, and not by root",
        bad="photos are opened by root",
        mend="Run the relay as an account of its own: User= in its unit",
    ),
    Layer.NAMESPACES: Protection(
        good="photos are opened without a network, files or other processes in sight",
        bad="photos are opened with the network and other processes in sight",
        mend="Run, as root: sysctl -w user.max_user_namespaces=10000 (on Ubuntu load "
        "deploy/apparmor/poster-relay, and leave containers)",
    ),
    Layer.LANDLOCK: Protection(
        good="who opens photos may reach no file",
        bad="no second lock on the files",
        mend="Use Linux 5.13 or newer, add landlock to lsm= on its command line, and restart it",
    ),
    Layer.SECCOMP: Protection(
        good="who opens photos may ask the kernel for nothing else",
        bad="who opens photos may ask the kernel for anything",
        mend="Move to a machine with x86-64 or ARM64 and Debian's own kernel",
    ),
}
MEMORY = Protection(
    good="freed memory is overwritten",
    bad="freed memory keeps what was in it",
    mend="Use Debian's own python3, which has glibc, and set no LD_PRELOAD",
)
_BOX_MEND = "See that 2 GiB of memory are free (free -h), and install the locked wheels again"
_COSTS = {
    "same_day_pull": "whoever gets at a desk learns in which order people sent, within a day. Set "
    "it to false",
    "allow_classic": "what is kept today can be opened by a later quantum computer. Replace each "
    "age1… recipient (relay keys generate), then set it to false",
}


async def check(config: ServerConfig, path: Path) -> list[Finding]:
    """Try out what a relay relies on, in an order for reading; path: that of relay.toml."""
    now = dt.datetime.now(dt.UTC)
    turned = None if config.demo or config.postgresql else read_turned(config.database)
    return [
        *await _check_box(config),
        _check_protection(config, memory.NAME, MEMORY, stands=memory.is_freed_overwritten()),
        check_dumps(),
        check_swap(),
        check_clock(now.date(), turned=turned),
        *check_decoders(heic=config.heic),
        *check_campaign(config, path, now=now),
        *await check_server(config),
    ]


def check_campaign(config: ServerConfig, path: Path, *, now: dt.datetime) -> list[Finding]:
    """Look at what belongs to the campaign and not to the machine: its files, settings, ways in."""
    places = check_places(config, path)
    return [
        *places,
        *_leave_out(check_key_files(config, today=now.date()), places),
        *([] if config.postgresql else [check_queue(config), check_room(config)]),
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
    except ScrubFailed as error:
        return [refused("box", f"{error.message} {_BOX_MEND}", blocks=True)]
    except RelayError as error:
        return [refused("box", error.message, blocks=True)]
    return [
        _check_protection(config, layer.word, WALLS[layer], stands=layer in layers)
        for layer in ALL_LAYERS
    ]


def _check_protection(
    config: ServerConfig, name: str, protection: Protection, *, stands: bool
) -> Finding:
    if stands:
        return ok(name, protection.good)
    if name in config.accept_missing:
        return Finding(name=name, state=State.ACCEPTED, words=protection.bad)
    words = f"{protection.bad}. {protection.mend}. Or go without: accept_missing"
    return refused(name, words, blocks=True)


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
