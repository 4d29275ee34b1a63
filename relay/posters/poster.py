"""What is to be printed: words, a hashtag, a size of paper."""

import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from relay.campaign import PRINTED, PublicTexts


class Paper(StrEnum):
    """The two sizes that the world's printers hold."""

    A4 = "a4"
    LETTER = "letter"

    @property
    def size_pt(self) -> tuple[float, float]:
        """Width and height, upright, in points. Source: ISO 216; ANSI/ASME Y14.1."""
        return (595.28, 841.89) if self is Paper.A4 else (612.0, 792.0)


@dataclass(frozen=True, kw_only=True)
class Poster:
    """One sheet. words: lines as the campaign wrote them; a line of underscores is to write on."""

    language: str
    words: str
    hashtag: str = ""
    paper: Paper = Paper.A4


def direction_of(words: str) -> Literal["ltr", "rtl"]:
    """Return where lines begin: as the first letter says. Source: Unicode Annex 9, P2."""
    strong = (unicodedata.bidirectional(character) for character in words)
    first = next((one for one in strong if one in {"L", "R", "AL"}), "L")
    return "ltr" if first == "L" else "rtl"


def kinds_in(texts: PublicTexts, language: str) -> tuple[str, ...]:
    """Return the kinds of poster that the campaign has in a language."""
    printed = texts.texts(language).poster
    return tuple(kind for kind in PRINTED if kind in printed)


def poster_of(texts: PublicTexts, language: str, kind: str, paper: Paper = Paper.A4) -> Poster:
    """Return the poster of a kind that the campaign has in a language."""
    words = texts.texts(language).poster[kind]
    return Poster(language=language, words=words.strip(), hashtag=texts.hashtag, paper=paper)
