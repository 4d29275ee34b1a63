"""Load a real relay as a crowd would: scripts/load."""

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench.scrub import photo as make_photo
from tests.load import report, scaling
from tests.load.book import Book
from tests.load.hold import hold
from tests.load.relays import ONION, Relay, running
from tests.load.report import say
from tests.load.visits import ASK, CAMPAIGN_DAY, SEND, Crowd, Day
from tests.load.watch import watching

_MIB = 1 << 20
# As they come: screenshots and what a messenger has shrunk, some straight from the camera.
PHONES = "1200x1600,1200x1600,4000x3000"


def main() -> int:
    arguments = read_arguments()
    os.nice(arguments.nice)
    if arguments.hold:
        return measure_hold(arguments)
    if arguments.relays > 1 and not arguments.url:
        return scaling.measure(arguments, read_photos(arguments), read_day(arguments))
    return measure_load(arguments)


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/load", description=__doc__)
    add = parser.add_argument
    add("--url", help="a relay that runs already, else one is started")
    add("--rate", type=float, default=2.0, help="arrivals a second (2)")
    add("--seconds", type=float, default=60.0, help="for so long they come (60)")
    add("--seed", type=int, default=1, help="the same arrivals for the same seed (1)")
    add("--photo", type=Path, action="append", help="a file to send; may be repeated")
    add("--made", default=PHONES, help=f"sizes of photos that are made, in px ({PHONES})")
    add("--bytes", type=int, default=0, help="pad photos to so many bytes, as a video behind does")
    add("--mix", help="shares, such as read=0.5,send=0.5; ask: a question; also check, withdraw")
    add("--slow", type=float, default=0.0, help="share of visitors on a slow line")
    add("--slow-rate", type=float, default=15_000, help="its bytes a second, as of 2G (15000)")
    add("--tor", type=float, nargs="?", const=1.0, default=0.0, help="share who come by tor")
    add("--hold", type=int, default=0, help="hold so many uploads in flight, and weigh the relay")
    add("--inflight", type=int, default=0, help="max_inflight_bytes of the relay")
    add("--relays", type=int, default=1, help="compare one relay with so many on one PostgreSQL")
    add("--kill", action="store_true", help="with --relays: end one in the middle of the load")
    add("--pin", action="store_true", help="with --relays: each on a core of its own")
    add("--nice", type=int, default=0, help="of this client")
    add("--to", type=Path, default=Path("bench"), help="where tables and plots go (bench)")
    return parser.parse_args()


def read_day(arguments: argparse.Namespace) -> Day:
    mix = dict(CAMPAIGN_DAY)
    if arguments.mix:
        shares = dict(pair.split("=") for pair in arguments.mix.split(","))
        if unknown := set(shares) - set(mix):
            sys.exit(f"scripts/load: --mix: {', '.join(unknown)} is none of {', '.join(mix)}")
        mix = {purpose: float(share) for purpose, share in shares.items()}
    return Day(
        rate=arguments.rate,
        seconds=arguments.seconds,
        seed=arguments.seed,
        mix=mix,
        slow_share=arguments.slow,
        slow_bytes_per_s=arguments.slow_rate,
        tor_share=arguments.tor,
    )


def read_photos(arguments: argparse.Namespace) -> list[bytes]:
    """Photos of files, or made ones; there is nobody in those."""
    if arguments.photo:
        start = Path(os.environ.get("LOAD_FROM", "."))
        photos = [(start / path).read_bytes() for path in arguments.photo]
    else:
        sizes = arguments.made.split(",")
        made = {size: make_photo(*map(int, size.split("x"))) for size in dict.fromkeys(sizes)}
        photos = [made[size] for size in sizes]
    return [one + bytes(max(0, arguments.bytes - len(one))) for one in photos]


def read_settings(arguments: argparse.Namespace) -> dict[str, object]:
    settings: dict[str, object] = {"max_queued": 100_000}
    if arguments.tor:
        settings |= {"onion_listen": '"unix:onion.sock"', "onion_address": f'"{ONION}"'}
    if arguments.inflight:
        settings["max_inflight_bytes"] = arguments.inflight
    return settings


@contextlib.contextmanager
def find_relay(arguments: argparse.Namespace, settings: dict[str, object]) -> Iterator[Relay]:
    if arguments.url:
        yield Relay(arguments.url.rstrip("/"))
        return
    arguments.to.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=arguments.to) as folder,
        running(Path(folder).absolute(), 1, settings) as relays,
    ):
        yield relays[0]


def measure_load(arguments: argparse.Namespace) -> int:
    day, photos = read_day(arguments), read_photos(arguments)
    found: dict[str, object] = {"machine": report.machine(), "day": vars(day)}
    found["photos"] = [len(photo) for photo in photos]
    with find_relay(arguments, read_settings(arguments)) as relay:
        crowd = Crowd([relay], photos, day.seed)
        pids = {} if relay.process is None else {"relay": relay.process.pid}
        asyncio.run(crowd.warm_up(is_photo=day.mix.get(SEND, 0) >= day.mix.get(ASK, 0)))
        say(f"{day.rate:g} arrivals a second for {day.seconds:g} s …")
        with watching(pids) as watch:
            asyncio.run(crowd.come(day.plan(len(photos))))
        wrong = asyncio.run(crowd.ask_for_all())
        found |= report.describe(crowd.book, watch, window_s=day.seconds)
        after = report.check(crowd.book, wrong, relay.count_held(arguments.to))
        found["afterwards"] = after
    report.write(arguments.to, "load", found, report.table(found))
    report.draw(arguments.to, "load", crowd.book, watch)
    return 0 if after["is_sound"] else 1


def measure_hold(arguments: argparse.Namespace) -> int:
    photo = read_photos(arguments)[-1]
    settings = read_settings(arguments)
    settings.setdefault("max_inflight_bytes", int(arguments.hold * len(photo) * 1.05) + _MIB)
    with find_relay(arguments, settings) as relay:
        if relay.process is None:
            sys.exit("scripts/load: --hold weighs a relay that it starts itself")
        asyncio.run(hold(relay, photo, min(8, arguments.hold)))  # it has worked before
        held = asyncio.run(hold(relay, photo, arguments.hold))
        book = Book()
        for receipt in held.receipts:
            book.acknowledge(receipt, 0.0)
        crowd = Crowd([relay], [photo], arguments.seed)
        crowd.book = book
        wrong = asyncio.run(crowd.ask_for_all())
    is_wrong = bool(wrong) or book.twice > 0
    return report.hold(arguments.to, held, len(book.held()), is_wrong=is_wrong)


if __name__ == "__main__":
    sys.exit(main())
