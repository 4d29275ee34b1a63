"""What opening and reviewing costs, beside as many `age -d` processes that open and do no more.

The same plaintexts, once sealed to a hybrid recipient for the desk, once to an X25519 one for age
(Debian's opens no hybrid ones). Wall time of whole processes, box started included; the passphrase
costs nothing here, elsewhere 0.6 s and 256 MiB once a command.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from relay.cli.keys import make_keys
from relay.desk.opening import make_scrubber
from relay.seal import age
from relay.seal.envelope import Submission, pack, photo_budget, seal_envelope
from relay.seal.files import load_identities
from relay.seal.keys import ClassicIdentity
from tests import photos
from tests.bench import report
from tests.bench.clock import high_water_kb
from tests.bench.report import Report, Row
from tests.conftest import RELAY

ENVELOPE_BYTES = 512 * 1024
FLAT = 1.2  # memory at the full number, in units of that at a tenth of it
PASSPHRASE = "five words that nobody else knows"
PICTURES = 12


@dataclass(frozen=True)
class Run:
    """One command over all envelopes."""

    name: str
    envelopes: int
    seconds: float
    peak_mib: float

    @property
    def each_s(self) -> float:
        return self.envelopes / self.seconds


async def make_envelopes(folder: Path, count: int) -> tuple[Path, Path, str]:
    """Lay out a desk, its sealed envelopes and the same ones for age; return the folders."""
    make_keys(folder / "keys", PASSPHRASE, log_n=10)  # 256 MiB would hide what grows
    recipient = load_identities(folder / "keys" / "identity.age", PASSPHRASE)[0].recipient()
    (folder / "passphrase").write_text(f"{PASSPHRASE}\n")
    (folder / "desk.toml").write_text(
        'relay = "http://127.0.0.1:1"\nsigner = "keys/signer.age"\n'
        'identity = "keys/identity.age"\npassphrase_file = "passphrase"\n'
    )
    classic = ClassicIdentity.generate()
    (folder / "classic").write_text(classic.encode_secret() + "\n")
    sealed, for_age = folder / "sealed", folder / "for-age"
    sealed.mkdir()
    for_age.mkdir()
    budget = photo_budget(ENVELOPE_BYTES)
    async with make_scrubber(max_jpeg_bytes=budget) as scrubber:
        clean = [
            (await scrubber.scrub(photos.dirty_jpeg(photos.picture(1600, 1200, seed=seed)))).jpeg
            for seed in range(PICTURES)
        ]
    for number in range(count):
        submission = Submission(
            campaign="bench",
            language="en",
            message=f"This is message {number}.",
            may_quote=True,
            poster="general",
            may_post=True,
            not_before=None,
            scrub={"removed": ["position"], "quality": 85},
        )
        photo, name = clean[number % PICTURES], os.urandom(16).hex()
        envelope = seal_envelope(
            submission, photo, [recipient], envelope_bytes=ENVELOPE_BYTES, recipient_slots=4
        )
        (sealed / f"{name}.age").write_bytes(envelope)
        plaintext = pack(submission.encode(), photo, ENVELOPE_BYTES)
        (for_age / f"{name}.age").write_bytes(age.seal(plaintext, [classic.recipient()]))
    return sealed, for_age, str(folder / "classic")


def run(command: list[str], cwd: Path) -> tuple[float, float]:
    """Seconds of one command, and the most resident memory of its first process in MiB.

    Not by wait4(2): its figure counts what we held ourselves when the process was made.
    """
    before, peak = time.monotonic(), 0
    with subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while process.poll() is None:
            peak = max(peak, high_water_kb(process.pid))
            time.sleep(0.002)
    if process.returncode:
        sys.exit(f"{' '.join(command)}: status {process.returncode}")
    return time.monotonic() - before, peak / 1024


def measure(folder: Path, count: int) -> list[Run]:
    """Open, review and `age -d` the same number of envelopes, one after the other."""
    sealed, for_age, identity = asyncio.run(make_envelopes(folder, count))
    desk = [RELAY, "desk", "--config", "desk.toml"]
    runs = []
    for name in ("open", "review"):
        seconds, mib = run([*desk, name, str(sealed), "--to", f"{name}ed"], folder)
        runs.append(Run(f"relay desk {name}", count, seconds, mib))
    seconds = 0.0
    peak = 0.0
    for path in for_age.iterdir():
        taken, mib = run(["age", "-d", "-i", identity, str(path)], folder)
        seconds, peak = seconds + taken, max(peak, mib)
    return [*runs, Run("age -d, a process each", count, seconds, peak)]


def compare(given: argparse.Namespace) -> Report:
    few, many = max(2, given.envelopes // 10), given.envelopes
    runs = []
    for count in (few, many):
        with tempfile.TemporaryDirectory() as folder:
            runs.append(measure(Path(folder), count))
    to = runs[1][-1].name
    rows = [
        Row(
            name=f"{one.name}, {one.envelopes:,}",
            cost=1000 / one.each_s,
            unit="ms",
            bound=1000 / runs[1][-1].each_s,
            to=to,
        )
        for one in [*runs[0], *runs[1]]
    ]
    rows += [
        Row(
            name=f"{large.name}, memory at {many:,}",
            cost=large.peak_mib,
            unit="MiB",
            bound=small.peak_mib,
            to=f"at {few:,}",
            limit=FLAT,
        )
        for small, large in zip(*runs, strict=True)
        if large.name.startswith("relay")
    ]
    notes = ["For each envelope; whole commands, their start and their box included."]
    return Report(name="desk", title="Opening and reviewing at the desk", rows=rows, notes=notes)


def main(arguments: list[str] | None = None) -> int:
    return report.run(compare, "desk", arguments, envelopes=(200, 3))


if __name__ == "__main__":
    sys.exit(main())
