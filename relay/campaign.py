"""What a campaign says in public: campaign.toml (docs/campaign.md). Nothing in it is secret."""

import re
import string
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relay.errors import ConfigInvalid

PRINTED = ("general", "write-in")
KINDS = (*PRINTED, "handwritten")
NETWORKS = ("mastodon", "bluesky", "facebook", "x", "folder")
DEFAULT = "default"
PLACEHOLDERS = ("message", "poster", "handle", "hashtag")
_LANGUAGE = re.compile(r"[a-z]{2,3}")
_MOST_CHARACTERS = 2000
_KEYS = {
    "poster": PRINTED,
    "kind": KINDS,
    "caption": (*NETWORKS, DEFAULT),
    "alt": (*KINDS, DEFAULT),
}


@dataclass(frozen=True, kw_only=True)
class Texts:
    """In one language. poster: by kind, what is printed. kind: by kind, a word for it.

    caption: by network, a template. alt: by kind of poster, what the picture shows, for people who
    can't see it.
    """

    poster: Mapping[str, str] = field(default_factory=dict)
    kind: Mapping[str, str] = field(default_factory=dict)
    caption: Mapping[str, str] = field(default_factory=dict)
    alt: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PublicTexts:
    """campaign.toml. answers: where the answers to questions stand; without it none are taken."""

    hashtag: str = ""
    event: str = ""
    stream: str = ""
    answers: str = ""
    handles: Mapping[str, str] = field(default_factory=dict)
    languages: Mapping[str, Texts] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> "PublicTexts":
        """Read campaign.toml.

        Raises:
            ConfigInvalid: names the file and what is wrong in it.
        """
        try:
            fields = tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise ConfigInvalid(f"{path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigInvalid(f"{path}: {error}") from None
        try:
            return _read(fields)
        except ConfigInvalid as error:
            raise ConfigInvalid(f"{path}: {error.message}") from None

    def texts(self, language: str) -> Texts:
        """Return what there is in a language; nothing where the campaign does not speak it."""
        return self.languages.get(language, Texts())

    def handle(self, network: str) -> str:
        """Return the campaign's name in a network."""
        return self.handles.get(network, self.handles.get(DEFAULT, ""))


def _read(fields: dict[str, Any]) -> PublicTexts:
    lines = {name: _line(fields.pop(name, ""), name) for name in ("hashtag", "event")}
    lines |= {name: _address(fields.pop(name, ""), name) for name in ("stream", "answers")}
    handles = _table(fields.pop("handles", {}), "handles", (*NETWORKS, DEFAULT))
    for name, handle in handles.items():
        _line(handle, f"handles.{name}")
    languages = {}
    for code, tables in fields.items():
        if not _LANGUAGE.fullmatch(code) or not isinstance(tables, dict):
            raise ConfigInvalid(f"unknown setting {code!r}")
        languages[code] = _read_texts(code, tables)
    return PublicTexts(**lines, handles=handles, languages=languages)


def _read_texts(code: str, tables: dict[str, Any]) -> Texts:
    texts = {}
    for name, table in tables.items():
        if name not in _KEYS:
            raise ConfigInvalid(f"unknown setting '{code}.{name}'")
        texts[name] = _table(table, f"{code}.{name}", _KEYS[name])
    for network, template in texts.get("caption", {}).items():
        _check_template(template, f"{code}.caption.{network}")
    return Texts(**texts)


def _table(table: object, name: str, keys: tuple[str, ...]) -> dict[str, str]:
    if not isinstance(table, dict):
        raise ConfigInvalid(f"{name} is a table")
    for key, text in table.items():
        if key not in keys:
            raise ConfigInvalid(f"unknown setting '{name}.{key}'; there are {', '.join(keys)}")
        if not isinstance(text, str) or not 0 < len(text.strip()) <= len(text) <= _MOST_CHARACTERS:
            raise ConfigInvalid(f"{name}.{key} is a text of 1 to {_MOST_CHARACTERS} characters")
    return table


def _line(text: object, name: str) -> str:
    if not isinstance(text, str) or not (text.isprintable() and len(text) <= _MOST_CHARACTERS):
        raise ConfigInvalid(f"{name} is one line of text")
    return text.strip()


def _address(text: object, name: str) -> str:
    address = _line(text, name)
    if address and not re.fullmatch(r"https?://[!-~]+", address):
        raise ConfigInvalid(f"{name} is an address such as https://example.org/")
    return address


def _check_template(template: str, name: str) -> None:
    try:
        found = [part[1:] for part in string.Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise ConfigInvalid(f"{name}: {error}") from None
    for placeholder, form, conversion in found:
        if placeholder not in PLACEHOLDERS or form or conversion:
            known = ", ".join(f"{{{one}}}" for one in PLACEHOLDERS)
            raise ConfigInvalid(f"{name}: only {known} may stand in braces")
