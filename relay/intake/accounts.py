"""The account that the service runs as, and what it may read."""

import grp
import os
import pwd
import subprocess
from pathlib import Path

from relay.config import ServerConfig

_TEST = "/usr/bin/test"  # of coreutils


def find_account(config: ServerConfig) -> int | None:
    """Return whom the queue belongs to; None where numbers are not those of the host."""
    try:
        if Path("/proc/self/uid_map").read_text("ascii").split() != ["0", "0", str(2**32 - 1)]:
            return None
        known = config.database if config.database.exists() else config.database.parent
        return known.stat().st_uid
    except OSError:
        return None


def can_read(path: Path, account: int | None) -> bool:
    """Return whether the service can read a file; root, who can read all, asks as that account."""
    if os.geteuid() != 0 or not account:
        return os.access(path, os.R_OK)
    name, group = name_account(account), _group_of(account)
    asked = subprocess.run(  # noqa: S603 - a program of the system's, and a path of the operator's
        [_TEST, "-r", path],
        check=False,
        user=account,
        group=group,
        extra_groups=os.getgrouplist(name, group),
    )
    return asked.returncode == 0


def name_account(uid: int) -> str:
    """Return an account's name, or its number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def name_group(gid: int) -> str:
    """Return a group's name, or its number where it has none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _group_of(uid: int) -> int:
    try:
        return pwd.getpwuid(uid).pw_gid
    except KeyError:
        return uid
