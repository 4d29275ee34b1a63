"""What reaches the terminal. Every string that came from outside passes `printable`."""

import getpass
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from relay.errors import ConfigInvalid, Corrupt, RelayError

PARTLY = 3


def printable(untrusted_text: str) -> str:
    """Return text with control, bidirectional and other invisible characters spelt out."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in untrusted_text)


def result(line: str) -> None:
    """Print one line of the result on stdout, in its place among the words on stderr."""
    print(line, flush=True)


def say(line: str) -> None:
    """Print one line for a person on stderr."""
    print(line, file=sys.stderr)


def say_take_down(ids: Sequence[str]) -> None:
    """Print, before anything else, which posts the senders want deleted."""
    for submission_id in ids:
        say(f"TAKE DOWN: {submission_id}. The sender asks you to delete the post.")


def say_destroyed(ids: Sequence[str], verb: str = "are") -> None:
    """Print of which submissions the copies here are destroyed."""
    for submission_id in ids:
        say(f"Withdrawn, expired or returned, your copies {verb} destroyed: {submission_id}")


def say_undestroyed(failed: Mapping[str, str]) -> None:
    """Print which files could not be destroyed, and why."""
    for place, why in failed.items():
        say(f"{printable(place)}: could not be destroyed: {why}")


def result_json(report: dict[str, Any]) -> None:
    """Print a report for a program on stdout."""
    print(json.dumps(report, indent=1), flush=True)


def complain(error: RelayError) -> None:
    """Say what went wrong; the message says what to do where somebody can."""
    say(f"relay: {printable(error.message)}")


def outcome_code(errors: Sequence[RelayError], count: int) -> int:
    """Return the exit code where `errors` came of opening `count`; say how many."""
    if not errors:
        return 0
    if len(errors) < count:
        say(f"{len(errors)} of {count} could not be opened.")
        return PARTLY
    codes = {error.exit_code for error in errors}
    return codes.pop() if len(codes) == 1 else Corrupt.exit_code


def ask_passphrase(what: str, *, twice: bool = False) -> str:
    """Return a passphrase typed at the terminal.

    Raises:
        ConfigInvalid: there is no terminal, or the two differ.
    """
    if not sys.stdin.isatty():
        raise ConfigInvalid(f"{what}: a passphrase is needed and there is no terminal to ask at")
    try:
        passphrase = getpass.getpass(f"{what}: passphrase: ")
        if twice and getpass.getpass("The same again: ") != passphrase:
            raise ConfigInvalid("The two passphrases differ.")
    except EOFError:
        raise ConfigInvalid("No passphrase was typed.") from None
    if not passphrase:
        raise ConfigInvalid("An empty passphrase protects nothing.")
    return passphrase


def get_passphrase(file: Path | None, what: str, *, twice: bool = False) -> str:
    """Return the first line of a passphrase file, or where there is none what a person types.

    Raises:
        ConfigInvalid: the file is missing or empty, or there is no terminal to ask at.
    """
    if file is None:
        return ask_passphrase(what, twice=twice)
    try:
        passphrase = file.read_text("utf-8").partition("\n")[0]
    except OSError as error:
        raise ConfigInvalid(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigInvalid(f"{file}: not a text file") from None
    if not passphrase:
        raise ConfigInvalid(f"{file}: the first line is the passphrase, and it is empty")
    return passphrase


def shorten(key: str) -> str:
    """Return a public key short enough for a line: how it begins and ends."""
    return f"{key.rpartition('1')[0]}1…{key[-6:]}"
