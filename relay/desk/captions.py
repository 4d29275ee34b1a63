"""The exact words of a photo's posts: drawn up from the campaign's templates, edited by staff.

Until it is posted, what was looked at lies in `captions/<id>.txt` beside desk.toml, so that what is
posted is what was read, whatever becomes of the templates meanwhile.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from relay.campaign import DEFAULT, PublicTexts, Texts
from relay.desk.journal import JournalFile, make_private, place_of, read_file, replace_file
from relay.errors import ConfigInvalid, Corrupt
from relay.seal.envelope import Submission

_FOLDER = "captions"
_ALT = "alt"
_SPOKEN_ELSE = "en"  # where the campaign has no words in her language
_TEMPLATE = "{message}\n\n{poster} {handle} {hashtag}"
_HEAD = re.compile(r"=== ([a-z]+) ===")
_MAX_BYTES = 1 << 16
# Of the characters that can't be seen: what Arabic, Indic and emoji need to be written right.
_JOINERS = {"\N{ZERO WIDTH NON-JOINER}", "\N{ZERO WIDTH JOINER}"}
_HINT = """\
Change the words below as you like and save. Leave the lines with === as they are.
What stands above the first of them is not posted.
"""


@dataclass(frozen=True, kw_only=True)
class Captions:
    """texts: by network, what is posted there. alt: what the picture shows, in words."""

    texts: Mapping[str, str]
    alt: str

    def encode(self) -> str:
        """Return the text of a caption file."""
        parts = [*self.texts.items(), (_ALT, self.alt)]
        return _HINT + "".join(f"\n=== {name} ===\n{text}\n" for name, text in parts)

    @classmethod
    def decode(cls, text: str) -> "Captions":
        """Read a caption file, as an editor may have left it.

        Raises:
            ConfigInvalid: a part is missing or twice.
        """
        parts: dict[str, list[str]] = {}
        lines: list[str] = []
        for line in text.removeprefix("\ufeff").splitlines():
            head = _HEAD.fullmatch(line.strip())
            if head is None:
                lines.append(line)
                continue
            if head[1] in parts:
                raise ConfigInvalid(f"The line === {head[1]} === stands there twice.")
            lines = parts[head[1]] = []
        if _ALT not in parts:
            raise ConfigInvalid("The line === alt === is missing, and what the picture shows.")
        alt = _tidy("\n".join(parts.pop(_ALT)))
        return cls(texts={name: _tidy("\n".join(part)) for name, part in parts.items()}, alt=alt)


def draw_up(submission: Submission, texts: PublicTexts, networks: Collection[str]) -> Captions:
    """Return the words that the campaign's templates make of a submission.

    Her message is in them only where she allowed it. Without a template for her language the
    English one is taken; without words for the picture, `alt` is empty, and has to be written.
    """
    kind, language = submission.poster or DEFAULT, submission.language
    spoken = _spoken(texts, language)
    message = _unmarked(submission.message) if submission.may_quote else ""
    poster = _first(one.kind.get(kind) for one in spoken)
    captions = {
        network: word(texts, language, network, message=message, poster=poster)
        for network in networks
    }
    alts = (one.alt.get(kind) or one.alt.get(DEFAULT) for one in spoken)
    return Captions(texts=captions, alt=_tidy(_first(alts)))


def word(texts: PublicTexts, language: str, network: str, *, message: str, poster: str = "") -> str:
    """Return what the campaign's template for a network makes of a message."""
    spoken = _spoken(texts, language)
    template = _first(_caption(one, network) for one in spoken) or _TEMPLATE
    fields = {"message": message, "poster": poster, "hashtag": texts.hashtag}
    return _fill(template, fields | {"handle": texts.handle(network)})


def _spoken(texts: PublicTexts, language: str) -> list[Texts]:
    return [texts.texts(language), texts.texts(_SPOKEN_ELSE)]


def _first(found: Iterable[str | None]) -> str:
    return next((text for text in found if text), "")


def _unmarked(message: str) -> str:
    """Return a message in which no line can be taken for the head of a part."""
    return re.sub(r"(?m)^[\s=]+", "", message)


def _caption(texts: Texts, network: str) -> str | None:
    return texts.caption.get(network) or texts.caption.get(DEFAULT)


def _fill(template: str, fields: Mapping[str, str]) -> str:
    """Return the template filled in; what stood for nothing leaves no gap and no line."""
    lines = []
    for line in template.strip().splitlines():
        filled = line.format_map(fields)
        if filled == line:
            lines.append(line)
        elif tidied := re.sub(r"[^\S\n]+", " ", filled).strip():
            lines.append(tidied)
    return _tidy("\n".join(lines))


def _tidy(text: str) -> str:
    """Return text without what can't be seen, and with at most one empty line between two others.

    Marks that turn the direction of writing could make a post read as what it is not.
    """
    text = "".join(c for c in text if c in _JOINERS or c == "\n" or _is_seen(c))
    return re.sub(r"\n\s*\n+", "\n\n", text).strip()


def _is_seen(character: str) -> bool:
    return unicodedata.category(character)[0] != "C"


@dataclass(frozen=True)
class CaptionFiles:
    """The caption files of a desk."""

    journal_file: JournalFile

    def path(self, submission_id: str) -> Path:
        """Return where its captions lie."""
        return self.journal_file.folder / _FOLDER / f"{submission_id}.txt"

    def read(self, submission_id: str) -> Captions | None:
        """Return what was looked at; None where nothing was.

        Raises:
            ConfigInvalid: it can't be read as captions.
        """
        path = self.path(submission_id)
        try:
            return Captions.decode(read_file(path, max_bytes=_MAX_BYTES).decode("utf-8"))
        except FileNotFoundError:
            return None
        except (ConfigInvalid, Corrupt) as error:
            raise ConfigInvalid(f"{path}: {error.message}") from None
        except (OSError, UnicodeDecodeError):
            raise ConfigInvalid(f"{path}: can't be read as text.") from None

    def keep(self, submission_id: str, captions: Captions) -> None:
        """Write them whole; remembered first, since they may hold her message."""
        path = self.path(submission_id)
        make_private(path.parent)
        with self.journal_file.update() as journal:
            journal.captions[submission_id] = [place_of(path)]
        replace_file(path, captions.encode().encode())
