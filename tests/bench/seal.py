"""What sealing and opening 1 MiB costs, against the least that a program costs: to start `age`.

Ours seals to three hybrid recipients. Beside it: PyNaCl's SealedBox, which knows one recipient,
three times; pyrage, `age` and `gpg`, each for three classic recipients. Wall time, medians over
rounds in which the ways take turns; a program's time has its start in it, as for whoever calls it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyrage
from nacl.public import PrivateKey, SealedBox

from relay.seal import age
from relay.seal.keys import ClassicIdentity, HybridIdentity

PLAINTEXT = os.urandom(1 << 20)
RECIPIENTS = 3
BOUND = "age --version"
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


@contextmanager
def timed(times: list[float]) -> Iterator[None]:
    before = time.perf_counter()
    yield
    times.append((time.perf_counter() - before) * 1000)


def measure(rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Milliseconds, and how many times the bound that is, of each way's steps."""
    with tempfile.TemporaryDirectory() as name, gpg(Path(name)) as gpg_way:
        ways = {
            OURS: ours(),
            f"SealedBox, {RECIPIENTS} times": sealed_box(),
            "pyrage, X25519": rage(),
            "age -r, X25519": age_command(Path(name)),
            "gpg, RSA-4096": gpg_way,
        }
        taken: dict[str, dict[str, list[float]]] = {BOUND: {"start": []}}
        taken |= {way: {"seal": [], "open": []} for way in ways}
        for _ in range(rounds):
            with timed(taken[BOUND]["start"]):
                run("age", "--version")
            for way, one in ways.items():
                with timed(taken[way]["seal"]):
                    sealed = one.seal()
                with timed(taken[way]["open"]):
                    opened = one.open(sealed)
                assert opened == PLAINTEXT, way
    base = statistics.median(taken[BOUND]["start"])
    return {
        way: {
            step: {"ms": statistics.median(times), "ratio": statistics.median(times) / base}
            for step, times in steps.items()
        }
        for way, steps in taken.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench seal")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--json", action="store_true", help="results on stdout as JSON")
    arguments = parser.parse_args()
    table = measure(arguments.rounds)
    if arguments.json:
        print(json.dumps(table, indent=1))  # noqa: T201 - a program
    else:
        for way, row in table.items():
            cells = [
                f"{what} {one['ms']:6.2f} ms  {one['ratio']:5.2f}" for what, one in row.items()
            ]
            print(f"{way:<20} " + "    ".join(cells))  # noqa: T201 - a program
        print(f"1 MiB, medians of {arguments.rounds} rounds; in units of one start of age")  # noqa: T201
    return 1 if any(one["ratio"] > 1 for one in table[OURS].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
