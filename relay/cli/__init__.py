"""The command line: parse, call, print, exit.

Results go to stdout, words for people to stderr. Nothing is asked when stdin is not a terminal.
"""

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import relay
from relay.cli.printing import complain
from relay.errors import ConfigInvalid, RelayError

INTERRUPTED = 130
# Only what was asked for is loaded: the desk's half takes as long as a whole start of the relay,
# which starts itself twice (relay.memory).
_COMMANDS = {
    "relay.cli.server": ("init", "serve", "demo", "check", "stats", "purge"),
    "relay.cli.backup": ("backup", "restore"),
    "relay.cli.keys": ("keys",),
    "relay.cli.desk": ("desk",),
    "relay.cli.migrate": ("migrate",),
    "relay.cli.poster": ("poster",),
}


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of `command` and its like; where it is none, that of every command."""
    parser = argparse.ArgumentParser(
        prog="relay", description="The safe way to send a campaign photo.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"relay {relay.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    found = [module for module, names in _COMMANDS.items() if command in names]
    for module in found or _COMMANDS:
        importlib.import_module(module).add_commands(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (DESIGN: 0, 1, 2, 3, 10 to 14, 130)."""
    argv = sys.argv[1:] if argv is None else argv
    arguments = build_parser(argv[0] if argv else None).parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our results has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return RelayError.exit_code
    except Exception as error:  # noqa: BLE001 - a person gets a line; a trace may quote a secret
        named = _named(error)
        complain(named)
        return named.exit_code


def _named(error: Exception) -> RelayError:
    """Return what went wrong as an error of ours, with words for a person."""
    match error:
        case RelayError():
            return error
        case ModuleNotFoundError():
            need = "A relay needs: pip install 'poster-relay[server]'"
            return ConfigInvalid(f"{error.name} is not installed. {need}")
        case OSError():
            return RelayError(f"{error.filename or 'The system'}: {error.strerror}")
        case _:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(frame.filename).name}:{frame.lineno}"
            name = type(error).__name__
            return RelayError(f"Unexpected {name} at {place}. Please report this.")


if __name__ == "__main__":
    sys.exit(main())
