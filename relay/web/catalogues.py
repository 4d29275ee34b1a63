"""Catalogues: the sentences of the pages in other languages, and who has vouched for each.

English is the source. A wrong safety sentence endangers people, so that a catalogue that nobody who
grew up with the language has reviewed is offered in a demo only, or where the operator accepts it
by name. A review holds for the sentences that were reviewed: changed ones end it.
"""

import hashlib
import io
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from gettext import GNUTranslations, NullTranslations
from importlib import resources

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from relay.config import ServerConfig
from relay.errors import ConfigInvalid
from relay.intake.finding import Finding, State, ok, refused

SOURCE = "en"
# Code in the path and in <html lang>; the language's own name.
LANGUAGES = {
    "am": "አማርኛ",
    "ar": "العربية",
    "bn": "বাংলা",
    "ckb": "کوردیی ناوەندی",
    "en": "English",
    "es": "Español",
    "fa": "فارسی",
    "fr": "Français",
    "hi": "हिन्दी",
    "my": "မြန်မာ",
    "prs": "دری",
    "ps": "پښتو",
    "pt": "Português",
    "ru": "Русский",
    "sw": "Kiswahili",
    "tr": "Türkçe",
    "ur": "اردو",
    "zh": "中文",
}
_RIGHT_TO_LEFT = {"ar", "ckb", "fa", "prs", "ps", "ur"}
_FOLDER, _REVIEWS = "catalogues", "reviews.toml"


@dataclass(frozen=True, kw_only=True)
class Language:
    """A language that is offered. direction: `ltr` or `rtl`."""

    code: str
    name: str
    direction: str
    is_reviewed: bool
    translations: NullTranslations


def read_catalogue(code: str) -> Catalog:
    """Return the catalogue of a language other than English."""
    with resources.files("relay.web").joinpath(_FOLDER, f"{code}.po").open("rb") as file:
        return read_po(file)


def digest(catalogue: Catalog) -> str:
    """Return what stands for every sentence of a catalogue with its translation."""
    lines = sorted(
        f"{message.id}\0{message.string}\0{message.fuzzy}" for message in catalogue if message.id
    )
    return hashlib.sha256("\0".join(lines).encode()).hexdigest()


@cache
def read_reviews() -> dict[str, dict[str, str]]:
    """Return who has reviewed what: for a code, `by` and the `digest` of what she has read."""
    place = resources.files("relay.web").joinpath(_FOLDER, _REVIEWS)
    return tomllib.loads(place.read_text("utf-8"))


def offer(*, accepted: Collection[str], is_demo: bool) -> Mapping[str, Language]:
    """Return the languages that a relay offers, by their codes.

    accepted: unreviewed ones that the operator accepts by name. is_demo: all are offered.

    Raises:
        ConfigInvalid: one of the accepted is none that we have.
    """
    for code in accepted:
        if code not in LANGUAGES:
            known = ", ".join(LANGUAGES)
            raise ConfigInvalid(f"accept_unreviewed: {code!r} is none of {known}")
    every = {code: _load(code) for code in LANGUAGES}
    return {
        code: language
        for code, language in every.items()
        if language.is_reviewed or is_demo or code in accepted
    }


def check_languages(config: ServerConfig) -> Finding:
    """Say which languages are offered, and which of them nobody has vouched for."""
    try:
        offered = offer(accepted=config.accept_unreviewed, is_demo=config.demo)
    except ConfigInvalid as error:
        return refused("languages", error.message, blocks=True)
    if config.demo:
        words = f"all {len(offered)}, reviewed or not, as in every demo"
        return Finding(name="languages", state=State.ACCEPTED, words=words)
    unreviewed = [code for code, language in offered.items() if not language.is_reviewed]
    if unreviewed:
        words = f"reviewed by nobody who grew up with them: {', '.join(unreviewed)}"
        return Finding(name="languages", state=State.ACCEPTED, words=words)
    return ok("languages", f"{', '.join(offered)}: reviewed, and no other is offered")


@cache
def _load(code: str) -> Language:
    direction = "rtl" if code in _RIGHT_TO_LEFT else "ltr"
    translations, is_reviewed = NullTranslations(), True
    if code != SOURCE:
        catalogue = read_catalogue(code)
        compiled = io.BytesIO()
        write_mo(compiled, catalogue)
        compiled.seek(0)
        translations = GNUTranslations(compiled)
        review = read_reviews().get(code, {})
        is_reviewed = bool(review.get("by")) and review.get("digest") == digest(catalogue)
    return Language(
        code=code,
        name=LANGUAGES[code],
        direction=direction,
        is_reviewed=is_reviewed,
        translations=translations,
    )
