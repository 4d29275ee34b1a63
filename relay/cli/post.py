"""`relay desk post`: what is released, in a random order or all at one moment."""

import argparse
import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from relay.cli.caption import load_networks
from relay.cli.keyring import Keyring, connected
from relay.cli.printing import (
    PARTLY,
    printable,
    result,
    result_json,
    say,
    say_destroyed,
    say_take_down,
    say_undestroyed,
)
from relay.config import DeskConfig
from relay.desk.captions import CaptionFiles
from relay.desk.client import DeskClient
from relay.desk.decide import find_id
from relay.desk.eligible import Held, Ready, Rules, Sorter, find_few
from relay.desk.instant import read_instant
from relay.desk.journal import Journal, JournalFile
from relay.desk.networks import Network
from relay.desk.opening import make_scrubber
from relay.desk.posting import Outcome, Poster, Relay, Told, alone
from relay.desk.posts import Stage
from relay.desk.pull import ask_again
from relay.desk.timetable import LATE, draw, now, said, shuffled
from relay.errors import ConfigInvalid, NothingThere, PostRefused
from relay.queue.states import Verdict
from relay.seal.signing import SigningIdentity

_RISK = (
    "A few posts tell much: who watches a woman's line, and saw something large go out, looks for "
    "the post that follows it. Among many posts, hers is one of many."
)


def add_command(actions: Any) -> None:
    """Add `desk post`."""
    poster = actions.add_parser("post", help="post what is released, at random or at one moment")
    poster.add_argument("ids", nargs="*", metavar="ID", help="default: all that is released")
    poster.add_argument(
        "--at", type=_instant, metavar="INSTANT", help="all at one moment: 2026-12-10T08:00-05:00"
    )
    poster.add_argument("--late", action="store_true", help="with --at: now, although it is past")
    poster.add_argument("--force", action="store_true", help="even fewer than min_batch")
    unknown = poster.add_mutually_exclusive_group()
    unknown.add_argument("--again", action="store_true", help="you have looked: it is not there")
    unknown.add_argument("--posted", action="store_true", help="you have looked: it stands there")
    unknown.add_argument("--cancel", action="store_true", help="give up what is only planned")
    poster.add_argument("--account", default="", metavar="NAME", help="this one alone")
    words = "also what was lost with the relay, and may have been taken back since"
    poster.add_argument("--after-restore", action="store_true", help=words)
    poster.add_argument("--dry-run", action="store_true", help="show the timetable, post nothing")
    poster.add_argument("--json", action="store_true")
    poster.set_defaults(run=_post)


def _instant(text: str) -> dt.datetime:
    try:
        return read_instant(text)
    except ConfigInvalid as error:
        raise argparse.ArgumentTypeError(error.message) from None


@dataclass
class _Report:
    """What became of each; said as it happens."""

    is_json: bool
    outcomes: list[Outcome] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)

    def told(self) -> Told:
        """Return whom the run tells."""
        return Told(outcome=self.end, say=lambda words: say(printable(words)))

    def end(self, outcome: Outcome) -> None:
        """Say what became of one post, or why a photo was held back."""
        if not outcome.account:
            self.hold([Held(id=outcome.id, why=outcome.why)])
            return
        self.outcomes.append(outcome)
        if outcome.stage is not Stage.PLACED:
            say(f"{outcome.id}: {outcome.account}: NOT POSTED: {printable(outcome.why)}")
        elif not self.is_json:
            result(f"{outcome.id} {outcome.account} {printable(outcome.url)}{_lateness(outcome)}")

    def hold(self, held: Sequence[Held]) -> None:
        """Say what is not posted now."""
        self.held += held
        for one in held:
            say(f"{one.id}: held: {printable(one.why)}")

    def code(self) -> int:
        """Return the exit code, and print the report for programs."""
        placed = [one for one in self.outcomes if one.stage is Stage.PLACED]
        if self.is_json:
            result_json(
                {
                    "posted": [
                        {
                            "id": one.id,
                            "account": one.account,
                            "url": one.url,
                            "late_s": round(one.late.total_seconds(), 2),
                        }
                        for one in placed
                    ],
                    "not_posted": [
                        {"id": one.id, "account": one.account, "stage": one.stage, "why": one.why}
                        for one in self.outcomes
                        if one.stage is not Stage.PLACED
                    ],
                    "held": [vars(one) for one in self.held],
                }
            )
        if len(placed) < len(self.outcomes):
            return PARTLY if placed else PostRefused.exit_code
        return 0 if placed else NothingThere.exit_code


def _lateness(outcome: Outcome) -> str:
    return f" ({said(outcome.late)} late)" if outcome.late > LATE else ""


def _post(arguments: argparse.Namespace) -> int:
    if arguments.late and not arguments.at:
        raise ConfigInvalid("--late goes with --at.")
    if (arguments.posted or arguments.again) and not arguments.ids:
        raise ConfigInvalid("Type the numbers of those that you have looked for.")
    if arguments.after_restore and not arguments.ids:
        raise ConfigInvalid("--after-restore: type the numbers of those that you have asked about.")
    config = DeskConfig.load(arguments.config)
    networks, journal_file = load_networks(config), JournalFile(config.folder)
    if arguments.account and arguments.account not in networks:
        raise ConfigInvalid(f"There is no account of this name. There are: {', '.join(networks)}")
    if arguments.cancel or arguments.posted:
        with alone(config.folder):
            return _set_stages(arguments, journal_file)
    report = _Report(arguments.json)

    async def work(client: DeskClient, journal_file: JournalFile, identity: SigningIdentity) -> int:
        with alone(config.folder):
            heard = await ask_again(client, journal_file)
            say_take_down(heard.take_down)
            say_destroyed(heard.destroyed)
            say_undestroyed(heard.undestroyed)
            relay = Relay(
                client=client,
                journal_file=journal_file,
                identity=identity,
                after_restore=arguments.after_restore,
            )
            async with make_scrubber(config.accept_missing) as scrubber:
                poster = Poster(relay, networks, scrubber, report.told())
                poster.settle()
                await poster.report()
                ready = await asyncio.to_thread(_choose, arguments, config, networks, report)
                if not (ready or report.held):
                    say("Nothing to post.")
                await _run(poster, ready, arguments, config)
        return report.code()

    if arguments.dry_run:
        return _foresee(arguments, config, networks, report)
    return connected(config, Keyring(config), work)


def _choose(
    arguments: argparse.Namespace,
    config: DeskConfig,
    networks: Mapping[str, Network],
    report: _Report,
) -> list[Ready]:
    """Return what may be posted; say what may not, and whether the batch is too small."""
    journal_file = JournalFile(config.folder)
    journal = journal_file.read()
    rules = Rules(
        at=arguments.at,
        same_day=config.same_day_post,
        again=arguments.again,
        account=arguments.account,
        is_named=bool(arguments.ids),
        after_restore=arguments.after_restore,
    )
    sorter = Sorter(journal, CaptionFiles(journal_file), networks, rules)
    when = max(arguments.at or now(), now())
    ready, held = sorter.sort(_ids(arguments, journal), when)
    report.hold(held)
    few = find_few(ready, journal, config.min_batch)
    if not few:
        return ready
    words = f"{len(few)} ready, and min_batch is {config.min_batch}."
    if arguments.force:
        say(f"{words} {_RISK}")
        return ready
    report.hold([Held(id=one.id, why=f"{words} Wait for more, or --force.") for one in few])
    say(_RISK)
    return [one for one in ready if one not in few]


def _ids(arguments: argparse.Namespace, journal: Journal) -> list[str]:
    """Return the ids that were typed, or all that this desk has released.

    Raises:
        NothingThere: one of them was not released here.
    """
    confirmed = journal.verdicts.confirmed
    released = [one for one, verdict in confirmed.items() if verdict == Verdict.RELEASE]
    ids = [find_id(journal, given, opened=True) for given in arguments.ids]
    for submission_id in ids:
        if submission_id not in released:
            raise NothingThere(f"{submission_id} was not released, or its release was not sent.")
    return ids or [one for one in released if one not in journal.gone]


async def _run(
    poster: Poster, ready: Sequence[Ready], arguments: argparse.Namespace, config: DeskConfig
) -> None:
    if not ready:
        return
    photos = "1 photo" if len(ready) == 1 else f"{len(ready)} photos"
    stay = "Keep this window open and the computer awake."
    if arguments.at:
        say(f"{photos} at {_clocks(arguments.at)}. {stay}")
        await poster.post_together(ready, arguments.at, may_be_late=arguments.late)
        return
    least, most = config.min_pause_minutes, config.max_pause_minutes
    say(f"{photos}, in a random order, after pauses of {least} to {most} minutes. {stay}")
    await poster.post_slowly(ready, _pause_s(config))


def _pause_s(config: DeskConfig) -> tuple[float, float]:
    return 60.0 * config.min_pause_minutes, 60.0 * config.max_pause_minutes


def _clocks(instant: dt.datetime) -> str:
    """Return an instant by the clock in Greenwich and by the one on the wall."""
    local = instant.astimezone()
    return (
        f"{instant:%Y-%m-%d %H:%M:%S} UTC, {local:%H:%M} on {local:%d %B} by this computer's clock"
    )


def _foresee(
    arguments: argparse.Namespace,
    config: DeskConfig,
    networks: Mapping[str, Network],
    report: _Report,
) -> int:
    """Show the timetable; at random times it is drawn anew when they are posted."""
    ready = _choose(arguments, config, networks, report)
    if arguments.at:
        times = [arguments.at] * len(ready)
    else:
        ready, times = shuffled(ready), draw(len(ready), now(), _pause_s(config))
    rows = [
        {"at": at.isoformat(timespec="seconds"), "id": one.id, "accounts": one.accounts}
        for one, at in zip(ready, times, strict=True)
    ]
    if arguments.json:
        result_json({"timetable": rows, "held": [vars(one) for one in report.held]})
        return 0 if rows else NothingThere.exit_code
    for row in rows:
        result(f"{row['at']} {row['id']} {', '.join(row['accounts'])}")
    if rows and arguments.at:
        say(f"That is {_clocks(arguments.at)}.")
        if arguments.at < now():
            say(f"It is past since {said(now() - arguments.at)}.")
    elif rows:
        say("Random times are drawn anew when you post.")
    say("Nothing is posted. Senders may take theirs back until then.")
    return 0 if rows else NothingThere.exit_code


def _set_stages(arguments: argparse.Namespace, journal_file: JournalFile) -> int:
    """Give up what is planned, or note that what nobody knew of stands there.

    Raises:
        NothingThere: there is no such post.
    """
    before = Stage.UNKNOWN if arguments.posted else Stage.PLANNED
    with journal_file.update() as journal:
        ids = [find_id(journal, given, opened=True) for given in arguments.ids]
        changed = [
            (submission_id, account)
            for submission_id in ids or journal.posts
            for account, record in journal.posts.get(submission_id, {}).items()
            if record.stage is before and arguments.account in ("", account)
        ]
        for submission_id, account in changed:
            if arguments.posted:
                journal.posts[submission_id][account].stage = Stage.PLACED
            else:
                del journal.posts[submission_id][account]
    if not changed:
        raise NothingThere(
            "None of these is unknown." if arguments.posted else "Nothing is planned."
        )
    words = "noted as posted" if arguments.posted else "no longer planned"
    for submission_id, account in [] if arguments.json else changed:
        result(f"{submission_id} {account}: {words}")
    if arguments.json:
        result_json({"changed": [{"id": one, "account": account} for one, account in changed]})
    return 0
