"""The words of `relay stats`."""

from collections.abc import Iterator, Sequence
from typing import Any


def tell(report: dict[str, Any]) -> Iterator[str]:
    """Return a report of relay.intake.stats as lines for a person."""
    if report["turned"] is None:
        yield "Nothing to count: no day has been turned here yet."
        return
    yield f"As it stood when the day was last turned: {report['turned']}{_late(report)}."
    yield ""
    yield from _table(report["by_day"])
    yield ""
    held, most = report["held"], report["max_queued"]
    yield f"Held: {held} of {most} ({report['full_percent']} %)."
    yield f"The oldest that waits: {_age(report['oldest_waiting_days'], 'none waits')}."
    fetched = _age(report["days_since_pull"], "never, as far as the log goes")
    yield f"A desk last fetched something: {fetched}."
    entries, unvouched = report["log_entries"], report["log_unvouched"]
    oldest = f", the oldest {_age(report['oldest_unvouched_days'])}" if unvouched else ""
    yield f"Entries of the log: {entries}; not vouched for: {unvouched}{oldest}."


def _late(report: dict[str, Any]) -> str:
    days = report["days_since_turned"]
    return "" if days == 0 else f", {_age(days)}"


def _age(days: int | None, otherwise: str = "") -> str:
    if days is None:
        return otherwise
    return f"{days} {'day' if days == 1 else 'days'} ago"


def _table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Return a line for each day, without the columns in which there is nothing."""
    if not rows:
        yield "Nothing came on a day before."
        return
    names = [name for name in rows[0] if any(row[name] for row in rows)]
    yield "  ".join(f"{name:<10}" if name == "day" else name for name in names)
    for row in rows:
        yield "  ".join(f"{row[name]:>{len(name)}}" for name in names)
