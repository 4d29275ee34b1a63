"""What is kept between the page that shows a photo and the press that sends it, as bytes."""

import base64
import datetime as dt
import json
from dataclasses import asdict, astuple, dataclass, field
from typing import Any, Literal

from relay.intake.choice import Choice, Looked
from relay.scrub.found import Box, Found, Kind

Poster = Literal["general", "write-in", "handwritten"]
POSTERS: tuple[Poster, ...] = ("general", "write-in", "handwritten")
WORDS_BYTES = 24 * 1024  # of a draft beside its photo: 500 characters, 500 boxes, the rest
_LENGTH_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Acknowledgement:
    """What the receipt page shows: the digits, what was taken off the photo, and the photo, small.

    report: how much was covered and left visible. preview: JPEG. is_other: it was sent before, with
    other covers than are chosen now.
    """

    receipt: str = field(repr=False)
    removed: tuple[str, ...]
    report: dict[str, int]
    preview: bytes = field(repr=False)
    is_other: bool = False


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question was acknowledged: the digits are all that the receipt page shows of it."""

    receipt: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Words:
    """What she wrote and chose beside the photo."""

    message: str = field(repr=False)
    language: str
    poster: Poster | None
    may_post: bool
    may_quote: bool
    not_before: dt.date | None


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A submission that was cleaned and looked at, and not sent. jpeg: without any cover."""

    token: bytes = field(repr=False)
    digest: bytes = field(repr=False)
    words: Words
    removed: tuple[str, ...]
    quality: int
    looked: Looked
    jpeg: bytes = field(repr=False)

    def encode(self) -> bytes:
        """Return at most `WORDS_BYTES` more bytes than the photo has."""
        day = self.words.not_before
        fields = {
            "token": base64.b64encode(self.token).decode(),
            "digest": self.digest.hex(),
            "words": asdict(self.words) | {"not_before": day.isoformat() if day else None},
            "removed": self.removed,
            "quality": self.quality,
            "size": self.looked.size,
            "found": [[one.kind, *astuple(one.box)] for one in self.looked.found],
        }
        return _join(fields, self.jpeg)

    @classmethod
    def decode(cls, content: bytes) -> "Draft":
        """Read what `encode` wrote. It was authenticated on its way."""
        fields, jpeg = _split(content)
        words = fields["words"]
        day = words["not_before"]
        found = (Found(kind=Kind(kind), box=Box(*sides)) for kind, *sides in fields["found"])
        return cls(
            token=base64.b64decode(fields["token"]),
            digest=bytes.fromhex(fields["digest"]),
            words=Words(**words | {"not_before": dt.date.fromisoformat(day) if day else None}),
            removed=tuple(fields["removed"]),
            quality=fields["quality"],
            looked=Looked(size=tuple(fields["size"]), found=tuple(found)),
            jpeg=jpeg,
        )


def encode_sent(sent: Acknowledgement, choice: Choice) -> bytes:
    """Return what stays in the place of a draft that was sent, for whoever presses Send again."""
    fields = {
        "receipt": sent.receipt,
        "removed": sent.removed,
        "report": sent.report,
        "choice": choice.encode().decode(),
    }
    return _join(fields, sent.preview)


def find_sent(content: bytes, choice: Choice) -> Acknowledgement | None:
    """Return the acknowledgement that `encode_sent` left there; None where a draft still is."""
    fields, preview = _split(content)
    if "receipt" not in fields:
        return None
    return Acknowledgement(
        receipt=fields["receipt"],
        removed=tuple(fields["removed"]),
        report=fields["report"],
        preview=preview,
        is_other=fields["choice"] != choice.encode().decode(),
    )


def _join(fields: dict[str, Any], jpeg: bytes) -> bytes:
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    return len(text).to_bytes(_LENGTH_BYTES, "big") + text + jpeg


def _split(content: bytes) -> tuple[dict[str, Any], bytes]:
    end = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "big")
    fields: dict[str, Any] = json.loads(content[_LENGTH_BYTES:end])
    return fields, content[end:]
