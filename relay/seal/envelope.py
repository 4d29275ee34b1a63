"""The constant-size envelope: a fixed tar of submission.json and photo.jpg, sealed with age.

A question has no photo, and its envelope looks the same from outside. The layout is a contract:
`age -d -i identity submission.age | tar x` opens it.
"""

import datetime as dt
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from relay.errors import Corrupt
from relay.seal import age, archive
from relay.seal.keys import (
    FILE_KEY_BYTES,
    ClassicIdentity,
    ClassicRecipient,
    HybridIdentity,
    HybridRecipient,
    Identity,
    Recipient,
)
from relay.seal.stanza import MAC_CHARACTERS, Stanza, encode_header, parse_header

SUBMISSION_NAME = "submission.json"
PHOTO_NAME = "photo.jpg"
_MEMBERS = (SUBMISSION_NAME, PHOTO_NAME)
# 500 characters of up to 4 bytes, each perhaps escaped, and everything else, with room to grow.
MAX_SUBMISSION_BYTES = 8 * 1024
MESSAGE_CHARACTERS = 500
_ANOTHER_SHAPE = "Not of the shape that every envelope of this campaign has."
_POSTERS = ("general", "write-in", "handwritten", None)
_KINDS = ("photo", "question")
# A question is for whoever moderates: nothing of it is posted, so there is nothing to choose.
_NO_CHOICE: dict[str, object] = {
    "may_quote": False,
    "poster": None,
    "may_post": False,
    "not_before": None,
    "covers": 0,
    "visible": [],
    "scrub": {},
}
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "version": int,
    "kind": str,
    "campaign": str,
    "language": str,
    "message": str,
    "may_quote": bool,
    "poster": (str, type(None)),
    "may_post": bool,
    "not_before": (str, type(None)),
    "covers": int,
    "visible": list,
    "scrub": dict,
}


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What travels beside the photo. No clock, no id, no receipt: there is no field for them.

    Of a question, the message is all there is; the rest is as in `_NO_CHOICE`.
    """

    campaign: str
    language: str
    message: str
    may_quote: bool
    poster: Literal["general", "write-in", "handwritten"] | None
    may_post: bool
    not_before: dt.date | None
    scrub: dict[str, Any]
    kind: Literal["photo", "question"] = "photo"
    covers: int = 0
    visible: tuple[tuple[int, int, int, int], ...] = ()
    version: int = 1

    @property
    def is_question(self) -> bool:
        """Whether it comes without a photo."""
        return self.kind == "question"

    @classmethod
    def question(cls, *, campaign: str, language: str, text: str) -> "Submission":
        """Return a question: nothing of it is posted, and there is no photo."""
        return cls(
            kind="question",
            campaign=campaign,
            language=language,
            message=text,
            may_quote=False,
            poster=None,
            may_post=False,
            not_before=None,
            scrub={},
        )

    def encode(self) -> bytes:
        """Return submission.json: UTF-8, keys in the order of the contract."""
        fields = {name: getattr(self, name) for name in _FIELDS}
        fields["not_before"] = self.not_before.isoformat() if self.not_before else None
        text = json.dumps(fields, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        # What can't be seen is spelt out, so that the file can be shown at a terminal.
        return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text).encode()

    @classmethod
    def decode(cls, untrusted_json: bytes) -> "Submission":
        """Read submission.json.

        Raises:
            Corrupt: not JSON, another version, a field missing, unknown or of another type.
        """
        try:
            fields = json.loads(untrusted_json.decode("utf-8"))
        except (ValueError, RecursionError):
            raise Corrupt("submission.json is not JSON.") from None
        if not isinstance(fields, dict) or set(fields) != set(_FIELDS):
            raise Corrupt("submission.json has other fields than it should.")
        for name, kind in _FIELDS.items():
            if not isinstance(fields[name], kind) or (
                kind is int and isinstance(fields[name], bool)
            ):
                raise Corrupt(f"submission.json: {name} is of the wrong type.")
        _check_kind(fields)
        if len(fields["message"]) > MESSAGE_CHARACTERS:
            raise Corrupt("submission.json: the message is too long.")
        try:
            day = fields["not_before"]
            fields["not_before"] = dt.date.fromisoformat(day) if day is not None else None
        except ValueError:
            raise Corrupt("submission.json: not_before is not a day.") from None
        fields["visible"] = tuple(_box(box) for box in fields["visible"])
        _check_report(fields["scrub"])
        submission = cls(**fields)
        try:
            length = len(submission.encode())
        except (ValueError, RecursionError):
            raise Corrupt("submission.json holds what can't be written again.") from None
        if length > MAX_SUBMISSION_BYTES:
            raise Corrupt("submission.json is too long.")
        return submission


def _check_kind(untrusted_fields: dict[str, Any]) -> None:
    """Of each kind there is only what belongs to it: a question says something, and no more."""
    is_known = untrusted_fields["kind"] in _KINDS and untrusted_fields["poster"] in _POSTERS
    if untrusted_fields["version"] != 1 or not is_known:
        raise Corrupt("submission.json was written by a newer or a foreign relay.")
    if untrusted_fields["kind"] != "question":
        return
    chosen = {name: untrusted_fields[name] for name in _NO_CHOICE}
    if chosen != _NO_CHOICE or not untrusted_fields["message"].strip():
        raise Corrupt("submission.json: not what a question looks like.")


def _check_report(untrusted_report: dict[str, Any]) -> None:
    """A scrub report is flat: whole numbers and lists of words."""
    for value in untrusted_report.values():
        is_words = isinstance(value, list) and all(isinstance(word, str) for word in value)
        if not (is_words or isinstance(value, int)):
            raise Corrupt("submission.json: scrub is not a report.")


def _box(untrusted_box: object) -> tuple[int, int, int, int]:
    match untrusted_box:
        case [int(x), int(y), int(width), int(height)]:
            return x, y, width, height
        case _:
            raise Corrupt("submission.json: a visible box is not four numbers.")


def photo_budget(envelope_bytes: int) -> int:
    """Return the size in bytes of the largest photo.jpg that always fits."""
    room = envelope_bytes - 2 * archive.BLOCK - MAX_SUBMISSION_BYTES - archive.END_BYTES
    return room // archive.BLOCK * archive.BLOCK


def pack(submission_json: bytes, photo: bytes | None, envelope_bytes: int) -> bytes:
    """Return the plaintext of an envelope: a ustar archive, zero-padded to `envelope_bytes`.

    photo: None for a question.

    Raises:
        ValueError: it does not fit; callers keep to `photo_budget` and MAX_SUBMISSION_BYTES.
    """
    files = {SUBMISSION_NAME: submission_json}
    if photo is not None:
        files[PHOTO_NAME] = photo
    return archive.pack(files, envelope_bytes)


def unpack(untrusted_plaintext: bytes) -> tuple[bytes, bytes | None]:
    """Return submission.json and photo.jpg, where there is one, out of an envelope's plaintext.

    A file name, a mode, a date, a third member or a byte in the padding can't ride along:
    `archive.unpack` takes nothing but what was packed.

    Raises:
        Corrupt: anything but what `pack` makes.
    """
    files = archive.unpack(untrusted_plaintext, _MEMBERS)
    if tuple(files) not in (_MEMBERS[:1], _MEMBERS):
        raise Corrupt(f"The envelope does not begin with {SUBMISSION_NAME}.")
    return files[SUBMISSION_NAME], files.get(PHOTO_NAME)


def seal_envelope(
    submission: Submission,
    photo: bytes | None,
    recipients: Sequence[HybridRecipient | ClassicRecipient],
    *,
    envelope_bytes: int,
    recipient_slots: int,
) -> bytes:
    """Return an age file whose size and header tell nothing of what is inside or for how many.

    photo: JPEG, at most `photo_budget(envelope_bytes)` bytes; None for a question, and only then.
    """
    if submission.is_question != (photo is None):
        raise ValueError("a question has no photo, and a photo is no question")
    plaintext = pack(submission.encode(), photo, envelope_bytes)
    return age.seal(plaintext, _fill_slots(recipients, recipient_slots))


def _fill_slots(
    recipients: Sequence[HybridRecipient | ClassicRecipient], slots: int
) -> list[HybridRecipient | ClassicRecipient]:
    """Add fresh throw-away recipients of the same kind and shuffle."""
    if not 0 < len(recipients) <= slots:
        raise ValueError("more recipients than slots, or none")
    kind = HybridIdentity if isinstance(recipients[0], HybridRecipient) else ClassicIdentity
    throw_away = [kind.generate().recipient() for _ in range(slots - len(recipients))]
    filled = [*recipients, *throw_away]
    random.SystemRandom().shuffle(filled)
    return filled


def check_shape(
    untrusted_file: bytes, recipient: Recipient, *, envelope_bytes: int, recipient_slots: int
) -> None:
    """Return where an age file looks from outside as every envelope of the campaign does.

    recipient: one of the campaign's; the others are of her kind.

    Raises:
        Corrupt: another number or kind of recipients, or another length.
    """
    model = recipient.wrap(bytes(FILE_KEY_BYTES))
    header_bytes = len(encode_header((model,) * recipient_slots)) + len(" \n") + MAC_CHARACTERS
    if len(untrusted_file) != header_bytes + age.sealed_bytes(envelope_bytes):
        raise Corrupt(_ANOTHER_SHAPE)
    shapes = [_shape(stanza) for stanza in parse_header(untrusted_file).stanzas]
    if shapes != [_shape(model)] * recipient_slots:
        raise Corrupt(_ANOTHER_SHAPE)


def _shape(stanza: Stanza) -> tuple[object, ...]:
    return stanza.type, [len(word) for word in stanza.arguments], len(stanza.body)


def open_envelope(
    untrusted_file: bytes, identities: Sequence[Identity]
) -> tuple[Submission, bytes | None]:
    """Return what was sealed: the submission and the bytes of photo.jpg, still untrusted.

    Of a question there is no photo: None.

    Raises:
        WrongIdentity: sealed to others.
        Corrupt: damaged, cut short, altered, or not an envelope of a relay.
    """
    submission_json, untrusted_photo = unpack(age.unseal(untrusted_file, identities))
    submission = Submission.decode(submission_json)
    if submission.is_question != (untrusted_photo is None):
        raise Corrupt("The envelope holds a question with a photo, or a photo's words without it.")
    return submission, untrusted_photo
