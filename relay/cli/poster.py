"""`relay poster`: the campaign's posters as PDF, for whoever prints or sends them."""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay.campaign import PublicTexts
from relay.cli.printing import PARTLY, printable, result, result_json, say
from relay.errors import ConfigInvalid, NothingThere, RelayError
from relay.posters.poster import Paper, kinds_in, poster_of

_ADVICE = """\
Before you print: a colour laser printer may leave tiny dots that lead to it. Writing the words by
hand is safest; an ink-jet, or a laser printer that has only black, is better than one with colours.
Nobody can promise that a printer leaves no trace, and a printed poster can be found on whoever
carries it."""


def add_commands(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("poster", help="make the campaign's posters as PDF")
    parser.add_argument("--campaign", type=Path, required=True, help="campaign.toml")
    parser.add_argument("--to", type=Path, required=True, help="folder for <language>-<kind>.pdf")
    parser.add_argument("--language", nargs="+", metavar="xx", help="default: every one it has")
    papers = [paper.value for paper in Paper]
    parser.add_argument("--paper", choices=papers, default=papers[0], help=f"default: {papers[0]}")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=_poster)


@dataclass(frozen=True, kw_only=True)
class Printed:
    """What became of one poster. error: why there is none."""

    language: str
    kind: str
    paper: Paper
    file: Path
    error: RelayError | None

    def to_json(self) -> dict[str, str | None]:
        """Return it for a program."""
        return {
            "language": self.language,
            "kind": self.kind,
            "paper": self.paper,
            "file": None if self.error else str(self.file),
            "error": self.error.message if self.error else None,
        }


def print_posters(
    texts: PublicTexts, languages: Iterable[str], paper: Paper, folder: Path
) -> list[Printed]:
    """Write every poster of the campaign in these languages; one that fails stops no other."""
    from relay.posters.pdf import make_pdf  # noqa: PLC0415 - what draws takes long to load

    folder.mkdir(parents=True, exist_ok=True)
    printed = []
    for language in languages:
        for kind in kinds_in(texts, language):
            file, error = folder / f"{language}-{kind}.pdf", None
            try:
                file.write_bytes(make_pdf(poster_of(texts, language, kind, paper)))
            except ConfigInvalid as refusal:
                error = refusal
            printed.append(
                Printed(language=language, kind=kind, paper=paper, file=file, error=error)
            )
    return printed


def say_printed(printed: Iterable[Printed]) -> None:
    """Print where each poster is; where there is none, why."""
    for one in printed:
        if one.error is None:
            result(str(one.file))
        else:
            say(f"{one.language}-{one.kind}: {printable(one.error.message)}")


def say_advice() -> None:
    """Print what to know before printing."""
    say(_ADVICE)


def _poster(arguments: argparse.Namespace) -> int:
    texts = PublicTexts.load(arguments.campaign)
    spoken = [code for code in texts.languages if kinds_in(texts, code)]
    if not spoken:
        raise NothingThere(f"{arguments.campaign}: no posters in it; docs/campaign.md says how")
    languages = arguments.language or spoken
    for code in languages:
        if code not in spoken:
            raise ConfigInvalid(f"no poster in {code!r}; there are {', '.join(spoken)}")
    printed = print_posters(texts, languages, Paper(arguments.paper), arguments.to)
    if arguments.json:
        result_json({"posters": [one.to_json() for one in printed]})
    else:
        say_printed(printed)
    errors = [one.error for one in printed if one.error is not None]
    if len(errors) < len(printed) and not arguments.json:
        say_advice()
    if not errors:
        return 0
    return PARTLY if len(errors) < len(printed) else errors[0].exit_code
