"""The header of an age file: stanzas, canonical base64, and the lines they stand on.

Pure codec: it knows no key and no policy. Source: C2SP age.md, "Header".
"""

import base64
import binascii
import re
from dataclasses import dataclass

from relay.errors import Corrupt

VERSION_LINE = b"age-encryption.org/v1"
MAC_PREFIX = b"---"
_LINE_CHARACTERS = 64  # a body line is full at 64; the last one is always shorter
MAC_CHARACTERS = 43
_ARGUMENT = re.compile(rb"[!-~]+")
_MAX_HEADER_BYTES = 1 << 20  # a header of ours has 8 kB; refuse to hunt for its end forever


@dataclass(frozen=True, kw_only=True)
class Stanza:
    """One wrapped file key: a type, its arguments (printable ASCII), and a body."""

    type: str
    arguments: tuple[str, ...]
    body: bytes

    def encode(self) -> bytes:
        """Return the stanza as it stands in a header, newline included."""
        text = to_base64(self.body)
        lines = [text[i : i + _LINE_CHARACTERS] for i in range(0, len(text), _LINE_CHARACTERS)]
        if not lines or len(lines[-1]) == _LINE_CHARACTERS:
            lines.append(b"")
        first = b" ".join([b"->", *(part.encode("ascii") for part in (self.type, *self.arguments))])
        return b"\n".join([first, *lines]) + b"\n"


@dataclass(frozen=True, kw_only=True)
class Header:
    """The stanzas of a file, the bytes that its MAC covers, the MAC, and where it ends."""

    stanzas: tuple[Stanza, ...]
    covered: bytes
    mac: bytes
    length: int


def header_damaged(why: str) -> Corrupt:
    """Return the error for a header, or a stanza in it, that no correct writer makes."""
    return Corrupt(f"The header is damaged: {why}.")


def to_base64(raw: bytes) -> bytes:
    """Return canonical base64 without padding."""
    return base64.b64encode(raw).rstrip(b"=")


def from_base64(text: bytes) -> bytes:
    """Return the bytes of canonical unpadded base64.

    Raises:
        Corrupt: padding, a character outside the alphabet, or bits that do not belong.
    """
    try:
        raw = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise header_damaged("not base64") from None
    if to_base64(raw) != text:
        raise header_damaged("not canonical base64")
    return raw


def encode_header(stanzas: tuple[Stanza, ...]) -> bytes:
    """Return the header up to and including `---`: the bytes that the MAC covers."""
    return b"".join([VERSION_LINE, b"\n", *(s.encode() for s in stanzas), MAC_PREFIX])


def parse_header(untrusted_file: bytes) -> Header:
    """Return the header at the start of `untrusted_file`.

    Raises:
        Corrupt: not an age v1 file, or a header that no correct writer makes.
    """
    reader = _Lines(untrusted_file)
    if reader.next() != VERSION_LINE:
        raise header_damaged("not an age v1 file")
    stanzas = []
    while True:
        start = reader.position
        line = reader.next()
        if not line.startswith(b"-> "):
            break
        stanzas.append(_parse_stanza(line, reader))
    if not stanzas or not line.startswith(MAC_PREFIX + b" "):
        raise header_damaged("no stanza, or no MAC")
    encoded_mac = line[len(MAC_PREFIX) + 1 :]
    if len(encoded_mac) != MAC_CHARACTERS:
        raise header_damaged("a MAC of another length")
    return Header(
        stanzas=tuple(stanzas),
        covered=untrusted_file[: start + len(MAC_PREFIX)],
        mac=from_base64(encoded_mac),
        length=reader.position,
    )


def _parse_stanza(first_line: bytes, reader: "_Lines") -> Stanza:
    words = first_line.split(b" ")[1:]
    if not all(_ARGUMENT.fullmatch(word) for word in words):
        raise header_damaged("an argument that is empty or not printable")
    body = b""
    while True:
        line = reader.next()
        if len(line) > _LINE_CHARACTERS:
            raise header_damaged("a line is too long")
        body += line
        if len(line) < _LINE_CHARACTERS:
            break
    stanza_type, *arguments = (word.decode("ascii") for word in words)
    return Stanza(type=stanza_type, arguments=tuple(arguments), body=from_base64(body))


class _Lines:
    """Newline-ended lines from the start of a file, at most 1 MiB of them."""

    def __init__(self, untrusted_file: bytes) -> None:
        self._bytes = untrusted_file
        self.position = 0

    def next(self) -> bytes:
        end = self._bytes.find(b"\n", self.position, _MAX_HEADER_BYTES)
        if end < 0:
            raise header_damaged("cut short")
        line = self._bytes[self.position : end]
        self.position = end + 1
        return line
