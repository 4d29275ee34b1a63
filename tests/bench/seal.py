"""What sealing and opening 1 MiB costs, against the least that a program costs: to start `age`.

Ours seals to three hybrid recipients. Beside it: PyNaCl's SealedBox, which knows one recipient,
three times; pyrage, `age` and `gpg`, each for three classic recipients. Wall time, medians over
rounds in which the ways take turns; a program's time has its start in it, as for whoever calls it.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyrage
from nacl.public import PrivateKey, SealedBox

from relay.seal import age
from relay.seal.keys import ClassicIdentity, HybridIdentity
from tests.bench import clock, report
from tests.bench.report import Report, Row

PLAINTEXT = os.urandom(1 << 20)
RECIPIENTS = 3
BOUND = "age --version"
LIMIT = 1.0
OURS = "ours, hybrid"


@dataclass(frozen=True, kw_only=True)
class Way:
    """Something to time. open: what seal returned to PLAINTEXT."""

    seal: Callable[[], list[bytes]]
    open: Callable[[list[bytes]], bytes]


def run(*command: str | Path, stdin: bytes = b"") -> bytes:
    return subprocess.run(command, input=stdin, capture_output=True, check=True).stdout


def ours() -> Way:
    identities = [HybridIdentity.generate() for _ in range(RECIPIENTS)]
    recipients = [identity.recipient() for identity in identities]
    return Way(
        seal=lambda: [age.seal(PLAINTEXT, recipients)],
        open=lambda sealed: age.unseal(sealed[0], identities[:1]),
    )


def sealed_box() -> Way:
    keys = [PrivateKey.generate() for _ in range(RECIPIENTS)]
    return Way(
        seal=lambda: [SealedBox(key.public_key).encrypt(PLAINTEXT) for key in keys],
        open=lambda sealed: SealedBox(keys[0]).decrypt(sealed[0]),
    )


def rage() -> Way:
    identities = [pyrage.x25519.Identity.generate() for _ in range(RECIPIENTS)]
    recipients = [identity.to_public() for identity in identities]
    return Way(
        seal=lambda: [pyrage.encrypt(PLAINTEXT, recipients)],
        open=lambda sealed: pyrage.decrypt(sealed[0], identities[:1]),
    )


def age_command(folder: Path) -> Way:
    identities = [ClassicIdentity.generate() for _ in range(RECIPIENTS)]
    (folder / "identity").write_text(identities[0].encode_secret() + "\n")
    named = [part for one in identities for part in ("-r", one.recipient().encoded)]
    return Way(
        seal=lambda: [run("age", *named, stdin=PLAINTEXT)],
        open=lambda sealed: run("age", "-d", "-i", folder / "identity", stdin=sealed[0]),
    )


@contextmanager
def gpg(folder: Path) -> Iterator[Way]:
    """RSA-4096, AES-256, no compression, keys in a home of their own."""
    home = folder / "gnupg"
    home.mkdir(mode=0o700)
    command = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--trust-model", "always"]
    unlocked = ["--passphrase", "", "--pinentry-mode", "loopback"]
    names = [f"{number}@example.org" for number in range(RECIPIENTS)]
    options = ["--compress-algo", "none", "--cipher-algo", "AES256"]
    options += [part for name in names for part in ("--recipient", name)]
    try:
        for name in names:
            run(*command, *unlocked, "--quick-generate-key", name, "rsa4096", "encrypt", "never")
        yield Way(
            seal=lambda: [run(*command, *options, "--encrypt", stdin=PLAINTEXT)],
            open=lambda sealed: run(*command, *unlocked, "--decrypt", stdin=sealed[0]),
        )
    finally:
        run("gpgconf", "--homedir", home, "--kill", "all")


async def measure(given: argparse.Namespace) -> Report:
    with tempfile.TemporaryDirectory() as name, gpg(Path(name)) as gpg_way:
        ways = {
            OURS: ours(),
            f"SealedBox, {RECIPIENTS} times": sealed_box(),
            "pyrage, X25519": rage(),
            "age -r, X25519": age_command(Path(name)),
            "gpg, RSA-4096": gpg_way,
        }
        steps: dict[str, clock.Way] = {
            BOUND: lambda: clock.wall_ms(lambda: run("age", "--version"))
        }
        for way, one in ways.items():
            steps |= _steps(way, one)
        taken = clock.medians(await clock.take_turns(steps, given.rounds))
    rows = [
        Row(
            name=step,
            cost=cost,
            unit="ms",
            bound=taken[BOUND],
            to=BOUND,
            limit=LIMIT if step.startswith(OURS) else None,
        )
        for step, cost in taken.items()
    ]
    notes = [f"Medians of {given.rounds} rounds."]
    return Report(name="seal", title="Sealing and opening 1 MiB", rows=rows, notes=notes)


def _steps(name: str, way: Way) -> dict[str, clock.Way]:
    kept: list[list[bytes]] = [way.seal()]

    def seal() -> None:
        kept[0] = way.seal()

    def open_again() -> None:
        kept.append([way.open(kept[0])])

    def opened() -> float:
        cost = clock.wall_ms(open_again)
        assert kept.pop() == [PLAINTEXT], name
        return cost

    return {f"{name}, seal": lambda: clock.wall_ms(seal), f"{name}, open": opened}


def main(arguments: list[str] | None = None) -> int:
    return report.run(lambda given: asyncio.run(measure(given)), "seal", arguments, rounds=(60, 2))


if __name__ == "__main__":
    sys.exit(main())
