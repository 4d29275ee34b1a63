"""`relay desk cover`: cover what is visible in a photo that was opened here."""

import argparse
import asyncio
import re
from dataclasses import astuple
from typing import Any

from relay.cli.printing import (
    PARTLY,
    printable,
    result,
    result_json,
    say,
    say_destroyed,
    say_undestroyed,
)
from relay.config import DeskConfig
from relay.desk.copies import destroy_copies
from relay.desk.cover import Covered, Wanted, cover
from relay.desk.journal import JournalFile
from relay.desk.visible import count_of, words_for
from relay.errors import RelayError
from relay.scrub.found import Box

_BOX = re.compile(r"(\d{1,5}),(\d{1,5}),(\d{1,5}),(\d{1,5})", re.ASCII)


def add_command(actions: Any) -> None:
    """Add `desk cover`."""
    parser = actions.add_parser("cover", help="cover what can be seen in a photo that was opened")
    parser.add_argument("id", metavar="ID", help="a number; its first 8 digits will do")
    parser.add_argument(
        "--box",
        type=_box,
        action="append",
        default=[],
        metavar="X,Y,WIDTH,HEIGHT",
        help="this too, in pixels of the photo from its upper left corner; several times",
    )
    parser.add_argument("--only", action="store_true", help="nothing but these boxes")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=_cover)


def _box(text: str) -> Box:
    match = _BOX.fullmatch(text)
    box = Box(*map(int, match.groups())) if match else None
    if box is None or min(box.width, box.height) == 0:
        raise argparse.ArgumentTypeError(
            "a box is four numbers of pixels, x,y,width,height, such as 320,208,160,192"
        )
    return box


def _cover(arguments: argparse.Namespace) -> int:
    config = DeskConfig.load(arguments.config)
    journal_file = JournalFile(config.folder)
    with journal_file.update() as journal:
        destruction = destroy_copies(journal.unwanted(), journal)
    say_destroyed(destruction.destroyed)
    say_undestroyed(destruction.failed)
    wanted = Wanted(boxes=tuple(arguments.box), is_all=not arguments.only)
    done = asyncio.run(cover(arguments.id, wanted, journal_file, config.accept_missing))
    if arguments.json:
        result_json(_report(done))
    else:
        for folder in done.folders:
            result(str(folder))
    _say(done)
    if done.failed and not done.folders:
        return RelayError.exit_code
    return PARTLY if done.failed or done.away or done.visible else 0


def _report(done: Covered) -> dict[str, Any]:
    return {
        "id": done.id,
        "folders": [str(folder) for folder in done.folders],
        "covered": [{"what": name, "box": astuple(box)} for name, box in done.covers],
        "visible_unmarked": len(done.visible),
        "away": [str(folder) for folder in done.away],
        "sheets_destroyed": done.sheets,
        "failed": done.failed,
    }


def _say(done: Covered) -> None:
    for number, (name, box) in enumerate(done.covers, 1):
        say(f"    {number}: {name}, covered at {','.join(map(str, astuple(box)))}")
    for place, why in done.failed.items():
        say(f"{printable(place)}: {printable(why)}. Run it again.")
    for sheet in done.sheets:
        say(f"{printable(sheet)} showed it uncovered and is destroyed. Make it again: review")
    for folder in done.away:
        say(f"{printable(str(folder))}: not there now. Plug in its drive, and run it again.")
    if done.visible:
        say(f"{done.id}: ALARM, after a second look: {words_for(done.visible)}")
    elif done.folders and not done.failed:
        places = count_of(len(done.covers), "place")
        say(f"{done.id}: {places} covered, nothing found by a second look. Look yourself.")
