"""The same photos into OnionShare's receive mode, and into the relay.

`onionshare-cli --receive --local-only`, pinned with its hashes, in a virtual environment that is
made for this and thrown away. It writes what comes to the disk as it is; it neither looks into a
photo, nor encrypts, nor syncs. So ours costs more: this says how much.
"""

import argparse
import asyncio
import html
import os
import re
import statistics
import subprocess
import sys
import urllib.request
import venv
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import clock
from tests.bench.report import Report, Row, run
from tests.bench.scrub import photo
from tests.bench.submit import SIZE
from tests.conftest import Service, multipart, wait_until

LISTS = Path(__file__).parent / "onionshare.txt", Path(__file__).parent / "onionshare-stem.txt"
DIFFERENT = (
    "OnionShare writes the file to its disk as it came: with its metadata, unencrypted, not synced "
    "when it answers. The relay redraws it in a sandbox, looks for faces and codes, seals it to "
    "the campaign's keys, syncs it, and only then answers."
)
THEIRS = "OnionShare, receive mode"
_ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)")


@dataclass
class Receiver:
    """Something that takes photos. pid: of the process whose CPU, with all below it, counts."""

    pid: int
    send: Callable[[bytes], object]
    idle: int = field(init=False)
    waited_ms: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.idle = len(clock.below(self.pid))

    def take(self, untrusted_photo: bytes, times: int) -> float:
        """CPU milliseconds for each photo."""
        before = clock.spent(self.pid)
        for _ in range(times):
            self.waited_ms.append(clock.wall_ms(lambda: self.send(untrusted_photo)))
        wait_until(lambda: len(clock.below(self.pid)) == self.idle)
        return (clock.spent(self.pid) - before) / times * 1000


def install(folder: Path) -> Path:
    """Make the environment. Returns the program. Every file is checked against its hash."""
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin" / "pip"), "--disable-pip-version-check", "--quiet", "install"]
    pinned = ["--require-hashes", "--no-deps", "--no-compile"]
    wheels, source = (str(path) for path in LISTS)
    subprocess.run([*pip, *pinned, "--only-binary", ":all:", "-r", wheels], check=True)
    # Of this one there is no wheel; what builds it is in the first list.
    subprocess.run([*pip, *pinned, "--no-build-isolation", "-r", source], check=True)
    return folder / "bin" / "onionshare-cli"


@contextmanager
def onionshare(program: Path, home: Path) -> Iterator[Receiver]:
    """Receive mode on loopback, without Tor; public, so that no private key is asked for."""
    home.mkdir()
    (home / "got").mkdir()
    command = [program, "--receive", "--local-only", "--public", "--data-dir", home / "got"]
    log = home / "log"
    environment = {**os.environ, "HOME": str(home), "PYTHONUNBUFFERED": "1"}
    environment.pop("PYTHONPATH", None)
    with (
        log.open("wb") as out,
        subprocess.Popen(command, stdout=out, stderr=out, cwd=home, env=environment) as process,
    ):
        try:
            wait_until(lambda: _ADDRESS.search(log.read_text()), seconds=60)
            match = _ADDRESS.search(log.read_text())
            assert match
            url = f"http://127.0.0.1:{match[1]}"
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            wait_until(lambda: _answers(opener, url), seconds=30)
            yield Receiver(process.pid, lambda made: _upload(opener, url, made))
        finally:
            process.terminate()
    assert list((home / "got").rglob("*.jpg")), "it has kept the photos"


def _answers(opener: urllib.request.OpenerDirector, url: str) -> bool:
    try:
        with opener.open(url, timeout=10) as page:
            return bool(page.status == 200)
    except OSError:
        return False


def _upload(opener: urllib.request.OpenerDirector, url: str, made: bytes) -> None:
    body, kind = multipart([("file[]", made, "photo.jpg"), ("text", b"", None)])
    request = urllib.request.Request(  # noqa: S310 - loopback
        f"{url}/upload", data=body, headers={"Content-Type": kind}, method="POST"
    )
    with opener.open(request, timeout=60) as answer:
        shown = html.unescape(answer.read().decode())
    assert "error" not in shown.lower()


def ours(service: Service) -> Receiver:
    assert service.process is not None
    tokens = iter(service.token, None)
    return Receiver(
        service.process.pid, lambda made: service.send(made, token=next(tokens)).receipt
    )


async def measure(given: argparse.Namespace) -> Report:
    made = photo(*SIZE)
    with ExitStack() as stack:
        folder = stack.enter_context(clock.scratch())
        program = install(folder / "environment")
        theirs = stack.enter_context(onionshare(program, folder / "home"))
        relay = ours(stack.enter_context(clock.relay(folder)))
        for one in (theirs, relay):
            one.take(made, 1)
            one.waited_ms.clear()
        ways: dict[str, clock.Way] = {
            "theirs": lambda: theirs.take(made, given.photos),
            "ours": lambda: relay.take(made, given.photos),
        }
        taken = clock.means(await clock.take_turns(ways, given.rounds))
        waits = {
            name: statistics.median(one.waited_ms)
            for name, one in (("theirs", theirs), ("ours", relay))
        }
    return describe(taken, waits, len(made), given)


def describe(
    taken: dict[str, float], waits: dict[str, float], size: int, given: argparse.Namespace
) -> Report:
    rows = [
        Row(name=f"{name}, {what}", cost=costs[way], unit=unit, bound=costs["theirs"], to=THEIRS)
        for what, unit, costs in (("CPU", "ms CPU", taken), ("until answered", "ms", waits))
        for name, way in ((THEIRS, "theirs"), ("Poster Relay", "ours"))
    ]
    rounds = f"{given.rounds} rounds of {given.photos} photos"
    return Report(
        name="onionshare",
        title=f"The same photo of {size / 1e6:.1f} MB, to OnionShare and to the relay",
        rows=rows,
        notes=[f"{_version()}, means (CPU) and medians of {rounds}.", DIFFERENT],
    )


def _version() -> str:
    pinned = next(line for line in LISTS[0].read_text().splitlines() if "onionshare-cli" in line)
    return f"onionshare-cli {pinned.partition('==')[2].split()[0]}"


def main(arguments: list[str] | None = None) -> int:
    return run(
        lambda given: asyncio.run(measure(given)),
        "onionshare",
        arguments,
        rounds=(8, 1),
        photos=(4, 1),
    )


if __name__ == "__main__":
    sys.exit(main())
