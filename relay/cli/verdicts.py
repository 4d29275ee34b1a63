"""`relay desk release`, `return`, `send`, `answer`: verdicts, sent at once or on a stick."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relay.cli.ids import add_ids, read_ids
from relay.cli.keyring import Keyring, connected
from relay.cli.printing import (
    PARTLY,
    printable,
    result,
    result_json,
    say,
    say_take_down,
    say_undestroyed,
)
from relay.cli.progress import over
from relay.config import DeskConfig
from relay.desk.captions import CaptionFiles
from relay.desk.client import DeskClient
from relay.desk.copies import Destruction
from relay.desk.decide import Decided, find_id, hand_over, make_decision, refuse_lost, sign
from relay.desk.eligible import refuse_unread
from relay.desk.journal import MOST_REASON_CHARACTERS, Journal, JournalFile, is_reason
from relay.desk.verdict_file import VerdictFile, add_verdicts, read_verdicts
from relay.desk.visible import needs_reason, refuse_visible, was_looked_at
from relay.errors import Corrupt, DeskRefused, NothingThere, RelayError, RelayUnreachable
from relay.queue.states import ACTIONS, Reason, Verdict
from relay.queue.verdicts import Decision, SignedVerdict
from relay.seal.signing import SigningIdentity


def add_commands(actions: Any) -> None:
    """Add `release`, `return`, `send` and `answer`."""
    releaser = actions.add_parser("release", help="decide that photos may be posted")
    returner = actions.add_parser("return", help="decide against photos; the relay destroys them")
    for parser, verdict in ((releaser, Verdict.RELEASE), (returner, Verdict.RETURN)):
        add_ids(parser)
        words = "without a network: sign, and add it to this file"
        parser.add_argument("--to", type=Path, metavar="FILE", help=words)
        parser.add_argument("--dry-run", action="store_true", help="sign and send nothing")
        parser.add_argument("--json", action="store_true")
        parser.set_defaults(run=_decide, verdict=verdict, reason=None)
    returner.set_defaults(visible_because=None, after_restore=True)
    returner.add_argument("--reason", required=True, choices=[str(reason) for reason in Reason])

    sender = actions.add_parser("send", help="send verdicts that came on a stick")
    sender.add_argument("file", type=Path, metavar="FILE", help="from: release or return --to FILE")
    words = "release what can be seen and is not marked as printed; why"
    for parser in (releaser, sender):
        parser.add_argument("--visible-because", type=_reason, metavar="TEXT", help=words)
        because = "also what was lost with the relay, and may have been taken back since"
        parser.add_argument("--after-restore", action="store_true", help=because)
    sender.add_argument("--dry-run", action="store_true", help="check the file and send nothing")
    sender.add_argument("--json", action="store_true")
    sender.set_defaults(run=_send)

    words = "say that released questions are answered; the relay destroys them"
    answerer = actions.add_parser("answer", help=words, description=words)
    add_ids(answerer)
    answerer.add_argument(
        "--taken-back",
        dest="verdict",
        action="store_const",
        const=Verdict.REMOVE,
        help="not answered: taken back, and off every list",
    )
    answerer.add_argument("--dry-run", action="store_true", help="sign and send nothing")
    answerer.add_argument("--json", action="store_true")
    answerer.set_defaults(
        run=_decide,
        verdict=Verdict.ANSWER,
        reason=None,
        to=None,
        visible_because=None,
        after_restore=True,
    )


def _reason(text: str) -> str:
    if not is_reason(text):
        raise argparse.ArgumentTypeError(
            f"write why, in 1 to {MOST_REASON_CHARACTERS} characters on one line"
        )
    return text


@dataclass
class _Report:
    """What became of each verdict."""

    arguments: argparse.Namespace
    decided: list[dict[str, Any]] = field(default_factory=list)
    failed: dict[str, RelayError] = field(default_factory=dict)
    destruction: Destruction = field(default_factory=Destruction)

    def succeed(self, submission_id: str, verdict: Verdict, how: str, *, already: bool) -> None:
        """Say it; how: such as "already", or nothing."""
        self.decided.append({"id": submission_id, "verdict": verdict, "already": already})
        if not self.arguments.json:
            result(f"{submission_id}: {f'{how} {ACTIONS[verdict]}'.strip()}")

    def destroy(self, destruction: Destruction) -> None:
        """Say that the copies of what was returned are destroyed, and which could not be."""
        if destruction.destroyed and not self.arguments.json:
            say("    Your copies are destroyed.")
        say_undestroyed(destruction.failed)
        self.destruction.destroyed += destruction.destroyed
        self.destruction.failed |= destruction.failed

    def fail(self, submission_id: str, error: RelayError) -> None:
        """Say why."""
        self.failed[submission_id] = error
        say(f"{printable(submission_id)}: {printable(error.message)}")

    def end(self, **about: object) -> int:
        """Print the report for programs and return the exit code."""
        if self.arguments.json:
            failed = {name: type(error).__name__ for name, error in self.failed.items()}
            about |= {"dry_run": self.arguments.dry_run}
            about |= {"destroyed": self.destruction.destroyed}
            about |= {"undestroyed": self.destruction.failed}
            result_json(about | {"decided": self.decided, "failed": failed})
        if not self.failed:
            return PARTLY if self.destruction.failed else 0
        return PARTLY if self.decided else next(iter(self.failed.values())).exit_code


def _decide(arguments: argparse.Namespace) -> int:
    config = DeskConfig.load(arguments.config)
    keyring = Keyring(config)
    report = _Report(arguments)
    arguments.reads_words = config.accounts is not None
    about, ids = {"verdict": arguments.verdict}, read_ids(arguments)
    if arguments.to is not None:
        journal_file = JournalFile(config.folder)
        decisions = _decisions(arguments, ids, journal_file, report)
        if not arguments.dry_run:
            _add(arguments, journal_file, keyring.signing_identity(), decisions, report)
        return report.end(**about, file=str(arguments.to))

    async def work(client: DeskClient, journal_file: JournalFile, identity: SigningIdentity) -> int:
        decisions = _decisions(arguments, ids, journal_file, report)
        wanted = [] if arguments.dry_run else decisions
        for decision in over(wanted, "Sending", quiet=arguments.json):
            try:
                decided = await hand_over(
                    client,
                    journal_file,
                    sign(identity, decision),
                    after_restore=arguments.after_restore,
                )
            except RelayError as error:
                report.fail(decision.id.hex(), error)
            else:
                _say_decided(report, decision.verdict, decided)
        return report.end(**about)

    return connected(config, keyring, work)


def _decisions(
    arguments: argparse.Namespace, ids: Sequence[str], journal_file: JournalFile, report: _Report
) -> list[Decision]:
    """Return what may be decided here; in a dry run that is all.

    Why something may be seen is remembered before anything is signed.
    """
    journal = journal_file.read()
    reason = Reason(arguments.reason) if arguments.reason else None
    say_take_down(journal.take_down)
    decisions = []
    for given in ids:
        try:
            submission_id = find_id(journal, given)
            decision = make_decision(journal, submission_id, arguments.verdict, reason)
            if not arguments.after_restore:
                refuse_lost(journal, submission_id)
            refuse_visible(journal, decision, arguments.visible_because)
            if arguments.reads_words and decision.verdict is Verdict.RELEASE:
                refuse_unread(journal, CaptionFiles(journal_file), submission_id)
        except RelayError as error:
            report.fail(given, error)
            continue
        decisions.append(decision)
        if not was_looked_at(journal, decision):
            words = "not opened on this desk: nobody here has looked for faces."
            say(f"{submission_id}: {words}")
        if arguments.dry_run:
            report.succeed(submission_id, decision.verdict, "would be", already=False)
    if not arguments.dry_run and arguments.visible_because:
        _remember_reason(journal_file, decisions, arguments.visible_because)
    return decisions


def _remember_reason(
    journal_file: JournalFile, decisions: Sequence[Decision], because: str
) -> None:
    with journal_file.update() as journal:
        for decision in decisions:
            submission_id = decision.id.hex()
            if decision.verdict is Verdict.RELEASE and needs_reason(journal, submission_id):
                journal.reasons[submission_id] = because


def _add(
    arguments: argparse.Namespace,
    journal_file: JournalFile,
    identity: SigningIdentity,
    decisions: Sequence[Decision],
    report: _Report,
) -> None:
    added = add_verdicts(arguments.to, journal_file, identity, decisions)
    for submission_id, error in added.refused.items():
        report.fail(submission_id, error)
    for submission_id in added.added:
        report.succeed(submission_id, arguments.verdict, "to be", already=False)
    for submission_id in added.already:
        report.succeed(submission_id, arguments.verdict, "already to be", already=True)
    report.destroy(added.destruction)
    say(f"{added.count} in {arguments.to}. Nothing is sent yet: carry it to the online laptop.")


def _say_decided(report: _Report, verdict: Verdict, decided: Decided) -> None:
    how = "already" if decided.already else ""
    report.succeed(decided.id, verdict, how, already=decided.already)
    report.destroy(decided.destruction)


def _send(arguments: argparse.Namespace) -> int:
    config = DeskConfig.load(arguments.config)
    keyring = Keyring(config)
    journal = JournalFile(config.folder).read()
    file = read_verdicts(arguments.file, keyring.knows)
    if journal.campaign not in ("", file.campaign):
        raise Corrupt(f"{arguments.file}: of another campaign.")
    if not file.verdicts:
        raise NothingThere(f"{arguments.file}: no verdict in it.")
    report = _Report(arguments)
    say_take_down(journal.take_down)
    signer = file.signer if file.signer in keyring.staff() else "you"  # else it was refused
    origin = f"{len(file.verdicts)} in {arguments.file}, signed by {signer}."
    because = arguments.visible_because
    sound = _find_sound(file, journal, because, report)
    if arguments.dry_run:
        say(origin)
        for verdict in sound:
            decision = verdict.decision
            report.succeed(decision.id.hex(), decision.verdict, "would be", already=False)
        return report.end(signer=file.signer)

    async def work(client: DeskClient, journal_file: JournalFile, _: SigningIdentity) -> int:
        say(origin)
        if because:
            _remember_reason(journal_file, [one.decision for one in sound], because)
        await _hand_over_all(client, journal_file, sound, report)
        if not report.failed:
            say(f"The relay has them all. Delete {arguments.file}.")
        return report.end(signer=file.signer)

    return connected(config, keyring, work)


def _find_sound(
    file: VerdictFile, journal: Journal, because: str | None, report: _Report
) -> list[SignedVerdict]:
    """Return the verdicts about envelopes that this desk knows no other bytes of.

    A release must not go out either where something is visible here: whoever signed it may not
    have looked.
    """
    sound = []
    for submission_id, verdict in file.verdicts.items():
        digest = verdict.decision.envelope_sha256.hex()
        try:
            if journal.envelopes.get(submission_id, digest) != digest:
                raise Corrupt("About another envelope than this desk has pulled.")
            if not report.arguments.after_restore and verdict.decision.verdict is Verdict.RELEASE:
                refuse_lost(journal, submission_id)
            refuse_visible(journal, verdict.decision, because)
        except RelayError as error:
            report.fail(submission_id, error)
        else:
            sound.append(verdict)
    return sound


async def _hand_over_all(
    client: DeskClient,
    journal_file: JournalFile,
    verdicts: Sequence[SignedVerdict],
    report: _Report,
) -> None:
    """Send one after the other; where the relay can't be spoken to, the rest would fail too."""
    silent: RelayError | None = None
    for verdict in verdicts:
        decision = verdict.decision
        try:
            if silent is not None:
                raise silent
            decided = await hand_over(
                client, journal_file, verdict, after_restore=report.arguments.after_restore
            )
        except (RelayUnreachable, DeskRefused) as error:
            silent = error
            report.fail(decision.id.hex(), error)
        except RelayError as error:
            report.fail(decision.id.hex(), error)
        else:
            _say_decided(report, decision.verdict, decided)
