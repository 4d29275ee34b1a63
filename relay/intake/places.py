"""Who can read and change the files that matter, and what leads to them."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from relay.config import LISTENERS, ServerConfig
from relay.intake.accounts import find_account, name_account, name_group
from relay.intake.finding import Finding, advice, ok, refused

_GROUP_AND_OTHERS, _OTHERS = 0o077, 0o007
_CHANGED_BY_OTHERS = 0o022
_UNTOLD = (
    "who owns the files can't be told here: in a user namespace, or without the queue's folder. "
    "Run the check on the machine itself"
)


@dataclass(frozen=True, kw_only=True)
class _Place:
    """A file or folder, the bits of its mode that are wrong, and what takes them away."""

    name: str
    path: Path
    forbidden: int
    mend: str
    blocks: bool = False  # `relay serve` does not start while it is so


def check_places(config: ServerConfig, path: Path) -> list[Finding]:
    """Look at the mode and the owner of everything that matters; path: relay.toml."""
    places = [
        _changeable("relay.toml", path),
        _changeable("recipients", config.recipients),
        _changeable("staff", config.staff, blocks=True),
        *_secrets(config),
        _Place(
            name="folder",
            path=config.database.parent,
            forbidden=_OTHERS | _CHANGED_BY_OTHERS,
            mend="chmod go-w,o-rwx",
        ),
    ]
    if config.tls_certificate is not None:
        places.append(_changeable("certificate", config.tls_certificate))
    account = find_account(config)
    trusted = None if account is None else {0, account}
    findings = [wrong for place in places for wrong in _look(place, trusted)]
    findings += _look_above([place.path for place in places] + _sockets(config), trusted)
    if config.tor_control is not None:
        findings += _look_above_control(config.tor_control, trusted)
    findings = list(dict.fromkeys(findings))
    if trusted is None:
        return [*findings, advice("permissions", _UNTOLD)]
    return findings or [ok("permissions", "nobody else can read or change what matters")]


def find_exposed(config: ServerConfig) -> list[Finding]:
    """Return the secrets that others can read: with one of them, nothing is served."""
    return [wrong for place in _secrets(config) for wrong in _look_at_mode(place)]


def _changeable(name: str, path: Path, *, blocks: bool = False) -> _Place:
    return _Place(
        name=name, path=path, forbidden=_CHANGED_BY_OTHERS, mend="chmod go-w", blocks=blocks
    )


def _secrets(config: ServerConfig) -> Iterator[_Place]:
    own = [("service key", config.service_key), ("database", config.database)]
    own += [("database", Path(f"{config.database}-{end}")) for end in ("wal", "shm")]
    if config.postgresql_password is not None:
        own.append(("password", config.postgresql_password))
    for name, path in own:
        if path.exists() or name != "database":
            yield _Place(
                name=name,
                path=path,
                forbidden=_GROUP_AND_OTHERS,
                mend="chmod 600",
                blocks=True,
            )
    if config.tls_key is not None:  # a group of its own may read it: that of an ACME client
        yield _Place(
            name="tls key",
            path=config.tls_key,
            forbidden=_OTHERS | _CHANGED_BY_OTHERS,
            mend="chmod go-w,o-rwx",
            blocks=True,
        )


def _look(place: _Place, trusted: set[int] | None) -> Iterator[Finding]:
    yield from _look_at_mode(place)
    try:
        owner = place.path.stat().st_uid
    except OSError:
        return  # whoever needs the file says so
    if trusted is None:
        return
    service = name_account(max(trusted))
    if place.name == "service key" and owner != max(trusted):
        words = f"{place.path}: belongs to {name_account(owner)}, the queue to {service}."
        yield refused(place.name, f"{words} Run: chown {service} {place.path}")
        return
    if owner in trusted:
        return
    words = f"{place.path}: belongs to {name_account(owner)}, who can change it. Run: chown"
    yield refused(place.name, f"{words} {service} {place.path}")


def _look_at_mode(place: _Place) -> Iterator[Finding]:
    try:
        mode = place.path.stat().st_mode
    except OSError:
        return  # whoever needs the file says so
    wrong = mode & place.forbidden
    if wrong:
        can = "write" if place.forbidden == _CHANGED_BY_OTHERS else "read or write"
        words = f"{place.path}: others can {can} it. Run: {place.mend} {place.path}"
        yield refused(place.name, words, blocks=place.blocks)


def _look_above(paths: list[Path], trusted: set[int] | None) -> Iterator[Finding]:
    """Look at every folder on the way: who can write to one can put another below it."""
    ways = {path.absolute() for path in paths} | {path.resolve() for path in paths}
    for folder in sorted({above for way in ways for above in way.parents} - ways):
        try:
            found = folder.stat()
        except OSError:
            continue
        yield from _look_at_folder(folder, found, trusted)


def _look_at_folder(
    folder: Path, found: os.stat_result, trusted: set[int] | None
) -> Iterator[Finding]:
    is_sticky = bool(found.st_mode & stat.S_ISVTX)  # there, nobody moves another's files
    if found.st_mode & stat.S_IWOTH and not is_sticky:
        yield refused("folders", f"{folder}: everybody can change it. Run: chmod o-w {folder}")
    if trusted is None:
        return
    if found.st_mode & stat.S_IWGRP and found.st_gid != 0 and not is_sticky:
        words = f"{folder}: the group {name_group(found.st_gid)} can change it."
        yield refused("folders", f"{words} Run: chmod g-w {folder}")
    if found.st_uid not in trusted:
        owner = name_account(found.st_uid)
        words = f"{folder}: belongs to {owner}, who can exchange what is in it."
        yield refused("folders", f"{words} Run: chown root {folder}")


def _sockets(config: ServerConfig) -> list[Path]:
    endpoints = [config.endpoint(name) for name in LISTENERS]
    return [endpoint for endpoint in endpoints if isinstance(endpoint, Path)]


def _look_above_control(control: Path, trusted: set[int] | None) -> Iterator[Finding]:
    """Look at the way to tor's socket, whose folder may be tor's own."""
    try:
        tor = {control.stat().st_uid}
    except OSError:
        tor = set()
    yield from _look_above([control], None if trusted is None else trusted | tor)
