"""`relay desk caption`: read, and change, the exact words of posts before a photo is released."""

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from relay.campaign import PublicTexts
from relay.cli.ids import add_ids, read_ids
from relay.cli.printing import PARTLY, printable, result, result_json, say
from relay.config import DeskConfig
from relay.desk.captions import CaptionFiles, Captions, draw_up
from relay.desk.copies import destroy_file
from relay.desk.decide import find_id
from relay.desk.eligible import find_faults, find_folder, refuse_never
from relay.desk.journal import JournalFile, read_file
from relay.desk.networks import Network, accounts
from relay.desk.opening import read_submission
from relay.errors import ConfigInvalid, PostFailed, RelayError

_MAX_BYTES = 1 << 16
_EDITOR = "nano"


def add_command(actions: Any) -> None:
    """Add `desk caption`."""
    parser = actions.add_parser("caption", help="read the exact words of posts, and change them")
    add_ids(parser)
    change = parser.add_mutually_exclusive_group()
    change.add_argument("--edit", action="store_true", help="change them in an editor")
    words = "take them from this file, written as --edit shows it; - reads stdin"
    change.add_argument("--from", dest="source", type=Path, metavar="FILE", help=words)
    change.add_argument("--anew", action="store_true", help="from the templates, as they are now")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=_caption)


def load_networks(config: DeskConfig) -> dict[str, Network]:
    """Return the campaign's accounts, by name.

    Raises:
        ConfigInvalid: desk.toml names none, or they can't be used.
    """
    if config.accounts is None:
        raise ConfigInvalid(
            'desk.toml names no accounts. Add: accounts = "accounts.toml" (docs/staff.md)'
        )
    return accounts.load(config.accounts, proxy=config.proxy)


def _caption(arguments: argparse.Namespace) -> int:
    config = DeskConfig.load(arguments.config)
    networks, journal_file = load_networks(config), JournalFile(config.folder)
    texts = PublicTexts.load(config.campaign_file) if config.campaign_file else PublicTexts()
    done, failed = [], {}
    for given in read_ids(arguments):
        try:
            submission_id = find_id(journal_file.read(), given, opened=True)
            captions = _change(arguments, submission_id, journal_file, networks, texts)
            faults = _faults(captions, networks)
        except RelayError as error:
            failed[given] = error
            say(f"{printable(given)}: {printable(error.message)}")
            continue
        done.append({"id": submission_id, **vars(captions), "faults": faults})
        if not arguments.json:
            _print(submission_id, captions, networks)
        for fault in faults:
            say(f"{submission_id}: {fault}")
    if arguments.json:
        result_json({"captions": done, "failed": {k: type(e).__name__ for k, e in failed.items()}})
    if failed and not done:
        return next(iter(failed.values())).exit_code
    return PARTLY if failed or any(one["faults"] for one in done) else 0


def _change(
    arguments: argparse.Namespace,
    submission_id: str,
    journal_file: JournalFile,
    networks: Mapping[str, Network],
    texts: PublicTexts,
) -> Captions:
    """Return the words of a photo's posts, kept as somebody has read them now."""
    submission = read_submission(find_folder(journal_file.read(), submission_id))
    refuse_never(submission)
    files = CaptionFiles(journal_file)
    drawn = draw_up(submission, texts, dict.fromkeys(one.name for one in networks.values()))
    kept = None if arguments.anew else files.read(submission_id)
    captions = drawn
    if kept is not None:  # an account may be newer than they are
        captions = Captions(texts={**drawn.texts, **kept.texts}, alt=kept.alt)
    if arguments.source is not None:
        captions = _read(arguments.source)
    files.keep(submission_id, captions)
    if arguments.edit:
        files.keep(submission_id, _edit(files, submission_id))
    return _as_kept(files, submission_id)


def _read(source: Path) -> Captions:
    try:
        if source == Path("-"):
            return Captions.decode(sys.stdin.read(_MAX_BYTES))
        return Captions.decode(read_file(source, max_bytes=_MAX_BYTES).decode("utf-8"))
    except OSError as error:
        raise ConfigInvalid(f"{source}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigInvalid(f"{source}: not a text file") from None


def _edit(files: CaptionFiles, submission_id: str) -> Captions:
    """Have a person change them in her editor; what it leaves beside the file is destroyed."""
    if not sys.stdin.isatty():
        raise ConfigInvalid("There is no terminal to edit at. Give the words with --from FILE.")
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or _EDITOR
    path = files.path(submission_id)
    try:
        code = subprocess.run([*shlex.split(editor), path], check=False).returncode  # noqa: S603 - hers
    except OSError as error:
        raise ConfigInvalid(f"{editor}: {error.strerror}. Set EDITOR to yours.") from None
    finally:
        for other in path.parent.glob(f"*{submission_id}*"):
            if other != path:
                destroy_file(other)
    if code:
        raise ConfigInvalid(f"{editor} ended with an error: nothing was changed.")
    return _as_kept(files, submission_id)


def _as_kept(files: CaptionFiles, submission_id: str) -> Captions:
    """Return what will be posted: what lies there, and not what was meant."""
    captions = files.read(submission_id)
    if captions is None:
        raise ConfigInvalid(f"{files.path(submission_id)} is gone. Run it again.")
    return captions


def _faults(captions: Captions, networks: Mapping[str, Network]) -> list[str]:
    try:
        return find_faults(captions, networks)
    except PostFailed as error:
        return [f"How long a post may be is not known now: {error.message}"]


def _print(submission_id: str, captions: Captions, networks: Mapping[str, Network]) -> None:
    counts = {network.name: network.count for network in networks.values()}
    for name, text in captions.texts.items():
        length = f", {counts[name](text)} long" if name in counts else ""
        result(f"{submission_id}: {name}{length}")
        _print_indented(text)
    result(f"{submission_id}: alt, {len(captions.alt)} long")
    _print_indented(captions.alt)


def _print_indented(text: str) -> None:
    for line in text.splitlines():
        result(f"    {printable(line)}")
