"""The report of a load: a table in text, the same as JSON, a plot."""

import datetime as dt
import json
import os
import platform
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tests.bench import plot
from tests.load.book import PERCENTS, Book
from tests.load.hold import Held
from tests.load.watch import Watch

_MIB = 1 << 20
_STEP_S = 1.0


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)  # noqa: T201 - a program


def machine() -> dict[str, Any]:
    """On which day and what it was measured, without a name."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "day": dt.datetime.now(dt.UTC).date().isoformat(),
        "processor": model,
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def describe(book: Book, watch: Watch | None, *, window_s: float) -> dict[str, Any]:
    """What a load has shown. window_s: the time in which visitors came."""
    in_time = sum(at_s <= window_s for at_s in book.acknowledged_s)
    found: dict[str, Any] = {
        "visits": book.sums(),
        "sends": book.sums("send") if book.sums("send")["arrived"] else book.sums("ask"),
        "acknowledged": len(book.acknowledged_s),
        "submissions_per_s": round(in_time / window_s, 3),
        "last_acknowledged_s": round(max(book.acknowledged_s, default=0), 2),
        "covers": book.covers,
        "second_tries": dict(book.second_tries),
        "answers_but_pages": book.errors(),
        "client_late_s": round(book.late_s, 3),
        "seconds": book.times(),
    }
    if watch is not None:
        found["memory_mib"] = {
            name: {"at_first": track.memory[0][1] // _MIB, "peak": track.peak // _MIB}
            for name, track in watch.tracks.items()
            if track.memory
        }
        found["cpu_s"] = {name: round(one.cpu_spent, 2) for name, one in watch.tracks.items()}
    return found


def check(book: Book, wrong: Counter[str], held: int | None) -> dict[str, Any]:
    """What was asked for afterwards. held: envelopes that a colleague would be handed.

    More of them than receipts: those whose sender never read her answer, or some twice.
    """
    acknowledged = len(book.held())
    unknown = sum(count for (_, outcome), count in book.visits.items() if outcome[:2] == "no")
    is_twice = book.twice > 0
    if held is not None:
        is_twice |= not acknowledged <= held <= acknowledged + unknown
    return {
        "receipts": len(book.receipts),
        "held": acknowledged,
        "envelopes": held,
        "unanswered": unknown,
        "wrong": dict(wrong),
        "is_sound": not wrong and not is_twice,
    }


def table(found: dict[str, Any]) -> str:
    """The figures as they are read by a person."""
    sums, sends = found["visits"], found["sends"]
    rows = [
        f"{'':<10}" + "".join(f"{name:>11}" for name in sums),
        *(
            f"{of:<10}" + "".join(f"{count:>11}" for count in row.values())
            for of, row in (("visits", sums), ("sends", sends))
        ),
        f"submissions a second, while they came: {found['submissions_per_s']:.2f}",
        f"cover pages: {found['covers']}; second tries: {found['second_tries'] or 'none'}",
        f"answers but pages: {found['answers_but_pages'] or 'none'}",
        f"this client was late by at most {found['client_late_s']} s",
        "",
        f"{'seconds':<34}{'count':>7}" + "".join(f"{f'{p} %':>9}" for p in PERCENTS) + "    worst",
    ]
    for name, times in found["seconds"].items():
        shown = "".join(f"{times[f'p{p}']:>9.3f}" for p in PERCENTS)
        rows.append(f"{name:<34}{times['count']:>7}{shown}{times['worst']:>9.3f}")
    for name, memory in found.get("memory_mib", {}).items():
        cpu = found["cpu_s"][name]
        words = f"{memory['at_first']} MiB at first, {memory['peak']} MiB at most"
        rows.append(f"{name}, with all below it: {words}, {cpu:.1f} s of CPU")
    if after := found.get("afterwards"):
        rows.append(
            f"afterwards: {after['receipts']} receipts, {after['held']} to be found, "
            f"{after['envelopes']} envelopes, wrong: {after['wrong'] or 'none'}"
        )
    return "\n".join(rows) + "\n"


def write(to: Path, name: str, found: dict[str, Any], words: str) -> None:
    to.mkdir(parents=True, exist_ok=True)
    (to / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    (to / f"{name}.txt").write_text(words)
    print(words, end="")  # noqa: T201 - a program


def draw(to: Path, name: str, book: Book, watch: Watch | None) -> None:
    """Draw how long each request took when it was due, and memory beside it."""
    kinds: dict[str, list[tuple[float, float]]] = {}
    for one in sorted(book.asked, key=lambda asked: asked.due_s):
        label = one.kind if one.line == "fast" else f"{one.kind}, {one.line}"
        kinds.setdefault(label, []).append((one.due_s, one.seconds))
    plot.lines(to / f"{name}.svg", "how long each took", kinds, x="due, seconds", y="seconds")
    if watch is not None:
        memory = {
            one: [(at_s, size / _MIB) for at_s, size in track.memory]
            for one, track in watch.tracks.items()
        }
        title = "memory of each, with all below it"
        plot.lines(to / f"{name}-memory.svg", title, memory, x="seconds", y="MiB")


def hold(to: Path, held: Held, receipts: int, *, is_wrong: bool) -> int:
    """Report what a relay weighed while uploads were in flight. Returns the exit code."""
    found: dict[str, Any] = {
        "machine": machine(),
        "uploads": held.uploads,
        "bytes_in_flight": held.in_flight,
        "limit_mib": held.limit // _MIB,
        "relay_mib": held.relay.in_mib(),
        "with_its_box_mib": held.tree.in_mib(),
        "ended_before_all_were_there": held.ended_early,
        "told_to_come_back": held.come_back,
        "seconds": round(held.seconds, 1),
        "answers": dict(held.answers),
        "receipts": receipts,
    }
    is_sound = not is_wrong and receipts == held.uploads and not held.ended_early
    is_light = held.relay.peak <= held.limit
    limit_words = f"limit: 1.3 times that and 150 MiB = {held.limit // _MIB} MiB"
    words = [
        f"{held.uploads} uploads, {held.in_flight / 1e6:.0f} MB in flight at once; {limit_words}",
        f"{'MiB':<24}{'before':>8}{'held':>8}{'peak':>8}",
    ]
    for name, weight in (("relay", held.relay), ("with its box", held.tree)):
        words.append(f"{name:<24}" + "".join(f"{mib:>8}" for mib in weight.in_mib().values()))
    words += [
        f"ended before all were there: {held.ended_early}; told to come back: {held.come_back}",
        f"all answered after {held.seconds:.0f} s: {dict(held.answers)}, {receipts} receipts found",
    ]
    write(to, "hold", found, "\n".join(words) + "\n")
    series = {
        name: [(at_s, size / _MIB) for at_s, size in weight.series]
        for name, weight in (("relay", held.relay), ("with its box", held.tree))
    }
    title = f"memory with {held.uploads} uploads in flight; red: the limit"
    limit = held.limit / _MIB
    plot.lines(to / "hold.svg", title, series, x="seconds", y="MiB", limit=limit)
    return 0 if is_sound and is_light else 1
