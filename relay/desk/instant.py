"""One instant, as a person writes it: a time of day, and whose clock shows it."""

import datetime as dt
import re
import zoneinfo

from relay.errors import ConfigInvalid

_WRITTEN = re.compile(
    r"(?P<local>\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?)"
    r"((?P<offset>Z|[+-]\d\d:[0-5]\d)|\s+(?P<zone>UTC|[A-Z][A-Za-z_-]+(/[A-Za-z0-9_+-]+)+))?",
    re.ASCII,
)
# In Etc/GMT+5 the sign is turned round; source: the file `etcetera` of the time zone database.
_MISLEADING = "Etc/"
_LARGEST_OFFSET = dt.timedelta(hours=14)  # Kiribati's
_HOW = "write it as 2026-12-10T08:00-05:00 or as '2026-12-10T08:00 America/New_York'"


def read_instant(text: str) -> dt.datetime:
    """Return the instant, in UTC.

    text: ISO 8601 with the offset from UTC, or with a place of the time zone database behind it.

    Raises:
        ConfigInvalid: it is no time, names no clock, or its clock never or twice shows it.
    """
    written = _WRITTEN.fullmatch(text.strip())
    if written is None:
        raise ConfigInvalid(f"{text!r} is not an instant; {_HOW}")
    try:
        local = dt.datetime.fromisoformat(written["local"])
        if written["offset"]:
            return _at_offset(local, written["offset"], text)
        if written["zone"]:
            return _in_zone(local, _load_zone(written["zone"]), text)
    except (ValueError, OverflowError) as error:
        raise ConfigInvalid(f"{text!r}: there is no such time: {error}") from None
    raise ConfigInvalid(f"{text!r} does not say whose clock: {_HOW}")


def _at_offset(local: dt.datetime, offset: str, text: str) -> dt.datetime:
    instant = dt.datetime.fromisoformat(f"{local.isoformat()}{offset}")
    if abs(instant.utcoffset() or dt.timedelta()) > _LARGEST_OFFSET:
        raise ConfigInvalid(f"{text!r}: no clock is {offset} from UTC; {_HOW}")
    return instant.astimezone(dt.UTC)


def _load_zone(name: str) -> zoneinfo.ZoneInfo:
    if name.startswith(_MISLEADING):
        raise ConfigInvalid(f"{name}: such names mean the opposite of their sign; {_HOW}")
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigInvalid(f"{name}: this machine knows no such place; {_HOW}") from None


def _in_zone(local: dt.datetime, zone: zoneinfo.ZoneInfo, text: str) -> dt.datetime:
    """Return the one instant at which the clocks of `zone` show `local`.

    Source: PEP 495: fold tells the two apart, where a clock is turned back or forward.
    """
    first, second = (local.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first.astimezone(dt.UTC)
    is_twice = first.astimezone(dt.UTC).astimezone(zone).replace(tzinfo=None) == local
    what = "comes twice, since" if is_twice else "never comes, since"
    ways = f"{first.isoformat()} or {second.isoformat()}"
    turned = "back" if is_twice else "forward"
    raise ConfigInvalid(f"{text!r} {what} clocks are turned {turned} there; write {ways}")
