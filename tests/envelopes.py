"""Envelopes made by hand, as a relay seals them or as nobody should, and a desk that was told."""

import datetime as dt
import hashlib
import json
import secrets
from dataclasses import replace
from pathlib import Path

from relay.desk.journal import JournalFile
from relay.seal.envelope import Submission, seal_envelope
from relay.seal.lists import load_recipients
from tests import photos

PLAIN = Submission(
    campaign="demo",
    language="en",
    message="Girls in my village want to learn.",
    may_quote=True,
    poster="general",
    may_post=True,
    not_before=None,
    scrub={"removed": ["position", "time"], "quality": 85},
)
FULL = replace(
    PLAIN,
    message="Let us learn.\nAll of us.",
    may_quote=False,
    poster="write-in",
    may_post=False,
    not_before=dt.date(2027, 3, 19),
    covers=3,
    visible=((1, 2, 30, 40), (5, 6, 70, 80)),
)


def clean_photo(seed: int = 4, size: tuple[int, int] = (1600, 1200)) -> bytes:
    """What a relay would have made of a photo, in which no face and no code is found."""
    return photos.encode(photos.picture(*size, seed=seed), quality=85, subsampling="4:2:0")


def seal(campaign: Path, submission: Submission = PLAIN, photo: bytes | None = None) -> bytes:
    """An envelope to the recipients of that campaign."""
    photo = clean_photo() if photo is None else photo
    listed = load_recipients(campaign / "recipients.txt")
    recipients = [entry.recipient for entry in listed.entries]
    return seal_envelope(submission, photo, recipients, envelope_bytes=1 << 19, recipient_slots=4)


def announce(campaign: Path, envelope: bytes, submission_id: str = "") -> Path:
    """Lay an envelope into sealed/ as `pull` does, and let the desk know of it."""
    submission_id = submission_id or secrets.token_hex(16)
    path = campaign.parent / "sealed" / f"{submission_id}.age"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_bytes(envelope)
    with JournalFile(campaign).update() as journal:
        journal.campaign = "demo"
        journal.envelopes[submission_id] = hashlib.sha256(envelope).hexdigest()
        journal.sealed[submission_id] = [str(path)]
    return path


def read_journal(campaign: Path) -> dict[str, dict[str, object]]:
    loaded = json.loads((campaign / "desk-journal.json").read_text())
    assert isinstance(loaded, dict)
    return loaded
