"""The campaign's two public lists: recipients (who can open) and staff (who may ask and decide).

One key a line, `#` begins a comment. A recipient may be valid for a time: `from DAY`, `until DAY`,
both days included, in UTC. The list of recipients carries the campaign's name and a number that
only grows, and ends in a signature, so that it can be neither changed nor rolled back unnoticed.
"""

import datetime as dt
import enum
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from relay.errors import ConfigInvalid, Corrupt, NoRecipient
from relay.seal import signing
from relay.seal.keys import FILE_KEY_BYTES, ClassicRecipient, HybridRecipient, parse_recipient
from relay.seal.signing import Signer, SigningIdentity

_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_NEWEST = "Ask whoever signs the campaign's list for the newest one (keys/rotation.md)"
_ASIDE = "#"


class Role(enum.StrEnum):
    """What a colleague may do at the relay; each view of its API asks for one."""

    PULL = "pull"
    RELEASE = "release"
    ADMINISTER = "administer"


# Of a line without a role: everything but what touches other colleagues.
_USUAL_ROLES = frozenset({Role.PULL, Role.RELEASE})


@dataclass(frozen=True, kw_only=True)
class Colleague:
    """A line of the staff file."""

    signer: Signer
    roles: frozenset[Role]


@dataclass(frozen=True, kw_only=True)
class Period:
    """The UTC days on which a recipient is sealed to, both ends included; None: no end."""

    first: dt.date | None = None
    last: dt.date | None = None

    def covers(self, day: dt.date) -> bool:
        """Whether it is valid on that day."""
        return (self.first is None or self.first <= day) and not self.is_over(day)

    def is_over(self, day: dt.date) -> bool:
        """Whether it has ended before that day."""
        return self.last is not None and self.last < day

    def __str__(self) -> str:
        """As it stands behind a recipient, with a space before it; empty for always."""
        first = f" from {self.first}" if self.first else ""
        return first + (f" until {self.last}" if self.last else "")

    @classmethod
    def parse(cls, words: list[str]) -> "Period":
        """Read `from DAY`, `until DAY`, both, or nothing.

        Raises:
            ValueError: says what is wrong.
        """
        days: dict[str, dt.date] = {}
        for name, text in zip(words[::2], [*words[1::2], ""], strict=False):
            if name not in {"from", "until"} or name in days:
                raise ValueError("after the key stands nothing but: from DAY until DAY")
            try:
                days[name] = dt.date.fromisoformat(text)
            except ValueError:
                raise ValueError(f"after {name} stands a day, such as 2026-11-25") from None
        period = cls(first=days.get("from"), last=days.get("until"))
        if period.first and period.is_over(period.first):
            raise ValueError("it ends before it begins")
        return period


@dataclass(frozen=True, kw_only=True)
class ListedRecipient:
    """A line of the recipients file, and its number."""

    line: int
    recipient: HybridRecipient | ClassicRecipient
    period: Period

    def __str__(self) -> str:
        """As it stands in the file."""
        return f"{self.recipient.encoded}{self.period}"


@dataclass(frozen=True, kw_only=True)
class RecipientList:
    """The recipients file as it stands; the signature is believed after `require_signature`."""

    path: Path
    entries: tuple[ListedRecipient, ...]
    campaign: str = ""
    number: int = 0
    untrusted_signer: str = ""
    untrusted_signature: str = ""

    def statement(self) -> str:
        """Return the text that is signed: neither comments nor line ends change it."""
        fields = {
            "version": 1,
            "campaign": self.campaign,
            "number": self.number,
            "recipients": [str(entry) for entry in self.entries],
        }
        return json.dumps(fields, sort_keys=True, separators=(",", ":"))

    def require_signature(self, signer: Signer, campaign: str) -> None:
        """Return where `signer` has signed this very list for `campaign`.

        Raises:
            ConfigInvalid: names the file, and whether it is unsigned, foreign or changed.
        """
        if not self.untrusted_signature:
            raise ConfigInvalid(f"{self.path}: nobody has signed it. {_NEWEST}")
        if self.untrusted_signer != signer.encoded:
            words = "signed by another key than campaign_signer: swapped?"
            raise ConfigInvalid(f"{self.path}: {words} {_NEWEST}")
        try:
            signer.verify(signing.RECIPIENTS, self.statement().encode(), self.untrusted_signature)
        except Corrupt:
            words = "changed since it was signed."
            raise ConfigInvalid(f"{self.path}: {words} {_NEWEST}") from None
        if self.campaign != campaign:
            words = f"signed for another campaign than {campaign}."
            raise ConfigInvalid(f"{self.path}: {words} {_NEWEST}")

    def current(
        self, today: dt.date, *, slots: int
    ) -> tuple[HybridRecipient | ClassicRecipient, ...]:
        """Return whom to seal to today.

        Raises:
            ConfigInvalid: nobody, with the lines and their days; or more than `slots`.
        """
        valid = tuple(entry.recipient for entry in self.entries if entry.period.covers(today))
        if not valid:
            lines = ", ".join(f"line {entry.line} is valid{entry.period}" for entry in self.entries)
            raise ConfigInvalid(f"{self.path}: no recipient is valid today: {lines}. {_NEWEST}")
        if len(valid) > slots:
            raise ConfigInvalid(f"{self.path}: more recipients than recipient_slots = {slots}")
        return valid

    def require_sealing(self) -> None:
        """Return where each key can be sealed to: some that read well can't.

        Raises:
            ConfigInvalid: names the file and the line.
        """
        for entry in self.entries:
            try:
                entry.recipient.wrap(bytes(FILE_KEY_BYTES))
            except (Corrupt, ValueError):
                words = "nothing can be sealed to this key. Its owner makes new ones"
                raise ConfigInvalid(f"{self.path}, line {entry.line}: {words}") from None

    def count(self, day: dt.date) -> int:
        """Return how many are valid on that day."""
        return sum(entry.period.covers(day) for entry in self.entries)

    def closes_on(self, today: dt.date) -> dt.date | None:
        """Return the first day from `today` on which nobody is valid; None: there is none."""
        day = today
        while covering := [entry.period for entry in self.entries if entry.period.covers(day)]:
            lasts = [period.last or dt.date.max for period in covering]
            if max(lasts) == dt.date.max:
                return None
            day = max(lasts) + dt.timedelta(days=1)
        return day

    def thins_on(self, today: dt.date, *, days: int) -> dt.date | None:
        """Return the first of the next `days` days on which fewer are valid than today."""
        ahead = (today + dt.timedelta(days=number) for number in range(1, days + 1))
        return next((day for day in ahead if self.count(day) < self.count(today)), None)

    def ended(self, today: dt.date) -> list[ListedRecipient]:
        """Return the lines that are over."""
        return [entry for entry in self.entries if entry.period.is_over(today)]

    def signed(self, identity: SigningIdentity, *, campaign: str, number: int) -> "RecipientList":
        """Return the same recipients, signed for `campaign` under `number`."""
        fresh = replace(self, campaign=campaign, number=number)
        return replace(
            fresh,
            untrusted_signer=identity.signer().encoded,
            untrusted_signature=identity.sign(signing.RECIPIENTS, fresh.statement().encode()),
        )

    def encode(self) -> str:
        """Return the file's text."""
        lines = [str(entry) for entry in self.entries]
        if self.untrusted_signature:
            lines = [f"campaign {self.campaign}", f"number {self.number}", *lines]
            lines.append(f"signed {self.untrusted_signer} {self.untrusted_signature}")
        return "\n".join([*lines, ""])


def load_recipients(path: Path, *, allow_classic: bool = False) -> RecipientList:
    """Read the recipients file, valid now or not, signed or not.

    Raises:
        NoRecipient: there is none in it yet.
        ConfigInvalid: names the file and the line: malformed, a secret key, classic where that
            is not allowed, both kinds mixed, twice the same, or a file that others can write.
    """
    return parse_recipients(path, _read(path), allow_classic=allow_classic)


def parse_recipients(path: Path, text: str, *, allow_classic: bool = False) -> RecipientList:
    """Read the text of a recipients file; `path` is for the words. As `load_recipients`."""
    found = RecipientList(path=path, entries=())
    for number, words in _split_lines(text):
        match words:
            case ["campaign", name]:
                found = replace(found, campaign=name)
            case ["number", count] if _NUMBER.fullmatch(count):
                found = replace(found, number=int(count))
            case ["signed", signer, signature]:
                found = replace(found, untrusted_signer=signer, untrusted_signature=signature)
            case _:
                with _naming(path, number):
                    entry = _parse_entry(number, words)
                found = replace(found, entries=(*found.entries, entry))
    _check_together(found, allow_classic=allow_classic)
    return found


def _parse_entry(line: int, words: list[str]) -> ListedRecipient:
    recipient = parse_recipient(words[0])
    return ListedRecipient(line=line, recipient=recipient, period=Period.parse(words[1:]))


def _check_together(found: RecipientList, *, allow_classic: bool) -> None:
    path, recipients = found.path, [entry.recipient for entry in found.entries]
    if not recipients:
        raise NoRecipient(f"{path}: there is no recipient in it")
    if len({recipient.encoded for recipient in recipients}) < len(recipients):
        raise ConfigInvalid(f"{path}: the same recipient stands there twice")
    kinds = {type(recipient) for recipient in recipients}
    if ClassicRecipient in kinds and not allow_classic:
        raise ConfigInvalid(
            f"{path}: a classic recipient (age1…) is not safe from a later quantum computer. "
            "Make keys with: relay keys generate"
        )
    if len(kinds) > 1:
        raise ConfigInvalid(f"{path}: one classic recipient undoes the quantum safety of the rest")


def load_staff(path: Path) -> dict[str, Colleague]:
    """Read the staff file: a signer and her roles a line; returns them by the encoded signer.

    Raises:
        ConfigInvalid: names the file and the line.
    """
    staff: dict[str, Colleague] = {}
    for number, words in _split_lines(_read(path)):
        with _naming(path, number):
            colleague = _parse_colleague(words)
        if colleague.signer.encoded in staff:
            raise ConfigInvalid(f"{path}, line {number}: this signer stands there twice")
        staff[colleague.signer.encoded] = colleague
    return staff


def _parse_colleague(words: list[str]) -> Colleague:
    signer = Signer.parse(words[0])
    try:
        roles = frozenset(Role(word) for word in words[1:])
    except ValueError:
        raise ValueError(f"after the key stand her roles: {', '.join(Role)}") from None
    return Colleague(signer=signer, roles=roles or _USUAL_ROLES)


def _read(path: Path) -> str:
    try:
        if path.stat().st_mode & 0o022:
            raise ConfigInvalid(f"{path}: others can write it. Run: chmod go-w {path}")
        return path.read_text("utf-8")
    except FileNotFoundError as error:
        mend = "Put it back from your backup, or make an empty one"
        raise ConfigInvalid(f"{path}: {error.strerror}. {mend}") from error
    except OSError as error:
        mend = "The relay's own account must be able to read it"
        raise ConfigInvalid(f"{path}: {error.strerror}. {mend}") from error
    except UnicodeDecodeError:
        raise ConfigInvalid(f"{path}: not a text file of keys") from None


def _split_lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield number and words of each line that is more than a comment."""
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition(_ASIDE)[0].split()
        if words:
            yield number, words


@contextmanager
def _naming(path: Path, number: int) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ConfigInvalid(f"{path}, line {number}: {error}") from None
