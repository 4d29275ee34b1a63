"""`relay desk kit`: a folder for supporters, made without a relay and without keys."""

import argparse
import datetime as dt
from pathlib import Path
from typing import Any

from relay.campaign import PublicTexts
from relay.cli.poster import print_posters, say_advice, say_printed
from relay.cli.printing import PARTLY, result, result_json, say
from relay.config import DeskConfig
from relay.desk.instant import read_instant
from relay.errors import ConfigInvalid
from relay.posters.poster import Paper


def add_command(actions: Any) -> None:
    """Add the command."""
    parser = actions.add_parser("kit", help="make a folder for supporters: moment, posts, posters")
    parser.add_argument("--at", required=True, help="the moment, such as 2026-12-10T08:00-05:00")
    parser.add_argument("--to", type=Path, required=True, help="folder to hand out")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=_kit)


def _kit(arguments: argparse.Namespace) -> int:
    from relay.desk.kit import write_kit  # noqa: PLC0415 - calendars take long to load

    instant = read_instant(arguments.at)
    config = DeskConfig.load(arguments.config)
    if config.campaign_file is None:
        raise ConfigInvalid(f"{arguments.config}: campaign_file is missing: the campaign's words")
    texts = PublicTexts.load(config.campaign_file)
    files = write_kit(texts, instant, arguments.to)
    printed = [
        one
        for paper in Paper
        for one in print_posters(texts, texts.languages, paper, arguments.to / f"posters-{paper}")
    ]
    if arguments.json:
        posters = [one.to_json() for one in printed]
        report = {"instant": instant.isoformat(), "files": [str(file) for file in files]}
        result_json(report | {"posters": posters})
    else:
        for file in files:
            result(str(file))
        say_printed(printed)
        say(f"The moment: {instant:%Y-%m-%d %H:%M:%S} UTC; a calendar shows it by its own clock.")
        if instant < dt.datetime.now(dt.UTC):
            say("That moment is over.")
        say_advice()
    return PARTLY if any(one.error for one in printed) else 0
