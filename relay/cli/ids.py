"""The numbers that a command is about: typed, or one a line in a file."""

import argparse
import sys
from pathlib import Path

from relay.errors import ConfigInvalid

_STDIN = Path("-")


def add_ids(parser: argparse.ArgumentParser) -> None:
    """Add ids as arguments, and `--list`."""
    parser.add_argument("ids", nargs="*", metavar="ID", help="a number; its first 8 digits will do")
    parser.add_argument(
        "--list", type=Path, metavar="FILE", help="more numbers, one a line; - reads stdin"
    )


def read_ids(arguments: argparse.Namespace) -> list[str]:
    """Return what was typed and what stands in the list, each once, in that order.

    Raises:
        ConfigInvalid: no number at all, or the list can't be read.
    """
    ids = [*arguments.ids, *(_read_list(arguments.list) if arguments.list else [])]
    if not ids:
        raise ConfigInvalid("Type the numbers, or give a list of them: --list FILE")
    return list(dict.fromkeys(ids))


def _read_list(path: Path) -> list[str]:
    """Return the numbers in a list; what follows a # is a comment."""
    try:
        raw = sys.stdin.buffer.read() if path == _STDIN else path.read_bytes()
        lines = raw.decode("utf-8-sig").splitlines()
    except OSError as error:
        raise ConfigInvalid(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigInvalid(f"{path}: not a text file") from None
    ids = []
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if len(words) > 1:
            raise ConfigInvalid(f"{path}, line {number}: one number a line, then perhaps # and why")
        ids += words
    return ids
