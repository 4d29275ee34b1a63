"""`relay desk add`: what still comes by e-mail goes through the same box into the same queue."""

import json
from pathlib import Path
from typing import Any

import pytest

from relay.desk.add import fetch_campaign
from relay.desk.journal import JournalFile
from relay.errors import Corrupt
from relay.seal.files import load_signing_identity
from relay.seal.keys import HybridIdentity
from relay.seal.lists import load_recipients, parse_recipients
from relay.seal.signing import SigningIdentity
from tests import photos
from tests.conftest import Service, Starter, configure
from tests.judge import judge

SIGNING = SigningIdentity.generate()
KEY = HybridIdentity.generate().recipient().encoded


@pytest.fixture
def mailed(service: Service) -> Path:
    """A photo as it lay in a mailbox, with her words beside it."""
    folder = service.folder.parent / "mail"
    folder.mkdir()
    (folder / "photo.jpg").write_bytes(photos.dirty_jpeg())
    (folder / "words.txt").write_text("Learn, \N{SNOWMAN}\n")
    return folder


def pull_and_open(service: Service) -> list[tuple[dict[str, Any], Path]]:
    assert service.desk("pull", "--to", "sealed").code == 0
    assert service.desk("open", "sealed", "--to", "opened").code == 0
    folders = (service.folder.parent / "opened").iterdir()
    return [
        (json.loads((folder / "submission.json").read_text()), folder / "photo.jpg")
        for folder in folders
    ]


def test_a_mailed_photo_comes_out_of_the_queue_like_any_other(
    service: Service, mailed: Path, dirty: bytes
) -> None:
    done = service.desk(
        "add", "mail/photo.jpg", "--message", "mail/words.txt", "--language", "fr",
        "--poster", "write-in", "--not-before", "2026-12-01",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert done.out.startswith("mail/photo.jpg: sealed in the queue; it carried: position")
    assert "Delete these files" in done.err
    assert (mailed / "photo.jpg").read_bytes() == dirty, "what becomes of it is for a person"
    ((submission, photo),) = pull_and_open(service)
    judge(photo)
    assert submission["message"] == "Learn, \N{SNOWMAN}"
    assert (submission["language"], submission["poster"]) == ("fr", "write-in")
    assert (submission["may_post"], submission["may_quote"]) == (True, False)
    assert submission["not_before"] == "2026-12-01"
    assert "position" in submission["scrub"]["removed"]


def test_from_outside_nothing_tells_it_from_one_that_came_by_the_form(
    service: Service, mailed: Path, dirty: bytes
) -> None:
    service.send(dirty)
    assert service.desk("add", str(mailed / "photo.jpg")).code == 0
    assert service.desk("pull", "--to", "sealed").code == 0
    one, two = (service.folder.parent / "sealed").glob("*.age")
    assert one.stat().st_size == two.stat().st_size
    heads = [path.read_bytes().partition(b"\n--- ")[0] for path in (one, two)]
    assert [head.count(b"-> mlkem768x25519 ") for head in heads] == [4, 4]


def test_what_is_no_photo_is_named_and_the_others_go_in(service: Service, mailed: Path) -> None:
    (mailed / "note.txt").write_text("not a photo")
    done = service.desk("add", "mail/note.txt", "mail/none.jpg", "mail/photo.jpg", "--json")
    assert done.code == 3
    report = {one["source"]: one["error"] for one in done.json["added"]}  # type: ignore[attr-defined]
    assert report == {
        "mail/note.txt": "PhotoUnsupported", "mail/none.jpg": "RelayError", "mail/photo.jpg": None,
    }  # fmt: skip
    assert len(pull_and_open(service)) == 1
    assert service.desk("add", "mail/note.txt").code == 1
    long = mailed / "long.txt"
    long.write_text("x" * 501)
    assert service.desk("add", "mail/photo.jpg", "--message", long).code == 2


def test_a_dry_run_sends_nothing(service: Service, mailed: Path) -> None:
    done = service.desk("add", str(mailed / "photo.jpg"), "--dry-run")
    assert (done.code, "would be sealed; it carried" in done.out) == (0, True)
    assert service.desk("pull", "--to", "sealed").code == 10


def test_with_a_campaign_signer_it_is_sealed_to_her_list_alone(
    start_service: Starter, campaign: Path, dirty: bytes
) -> None:
    passphrase = (campaign / "passphrase").read_text().strip()
    hers = load_signing_identity(campaign / "signer.age", passphrase)
    path = campaign / "recipients.txt"
    plain = load_recipients(path)
    path.write_text(plain.signed(hers, campaign="demo", number=3).encode())
    service = start_service(campaign_signer=f'"{hers.signer().encoded}"')
    (campaign.parent / "photo.jpg").write_bytes(dirty)
    desk = campaign / "desk.toml"
    desk.write_text(desk.read_text() + f'campaign_signer = "{hers.signer().encoded}"\n')
    assert service.desk("add", "photo.jpg").code == 0
    desk.write_text(desk.read_text().replace(hers.signer().encoded, SIGNING.signer().encoded))
    refused = service.desk("add", "photo.jpg")
    assert (refused.code, "signed by another key" in refused.err) == (13, True)
    left_out = ("campaign_signer", "passphrase_file")
    lines = [line for line in desk.read_text().splitlines() if not line.startswith(left_out)]
    (campaign / "bare.toml").write_text("\n".join(lines) + "\n")
    bare = service.desk("add", "photo.jpg", config=campaign / "bare.toml")
    assert (bare.code, "Nobody vouches" in bare.err) == (2, True)
    configure(campaign, campaign_signer='""')
    assert len(pull_and_open(service)) == 1


class LyingRelay:
    """Says of the campaign what a test wants it to."""

    def __init__(self, **change: object) -> None:
        listed = parse_recipients(Path("r"), KEY).signed(SIGNING, campaign="demo", number=5)
        self.answer: Any = {
            "campaign": "demo", "envelope_bytes": 512 * 1024, "recipient_slots": 4,
            "recipients": listed.encode(),
        } | change  # fmt: skip

    async def ask(self, _: str, __: str) -> Any:
        return self.answer


async def told(relay: Any, desk: JournalFile) -> str:
    campaign = await fetch_campaign(relay, desk, SIGNING.signer().encoded)
    return str(campaign.listed.number)


@pytest.mark.parametrize(
    "change",
    [
        {"recipients": f"{KEY}\n"},
        {"recipients": "age1pq1garbage"},
        {"recipients": 7},
        {"envelope_bytes": 1},
        {"envelope_bytes": 1 << 40},
        {"envelope_bytes": "x"},
        {"recipient_slots": 0},
        {"recipient_slots": 10**6},
        {"campaign": "summer"},
    ],
)
async def test_a_relay_that_lies_about_the_campaign_gets_nothing(
    tmp_path: Path, change: dict[str, object]
) -> None:
    with pytest.raises(Corrupt):
        await told(LyingRelay(**change), JournalFile(tmp_path))


async def test_a_list_older_than_one_seen_before_is_refused(tmp_path: Path) -> None:
    relay, desk = LyingRelay(), JournalFile(tmp_path)
    assert await told(relay, desk) == "5"
    listed = parse_recipients(Path("r"), KEY)
    for number, is_taken in ((6, True), (5, False), (6, True)):
        signed = listed.signed(SIGNING, campaign="demo", number=number)
        relay.answer["recipients"] = signed.encode()
        if is_taken:
            assert await told(relay, desk) == str(number)
            continue
        with pytest.raises(Corrupt, match="older than one"):
            await told(relay, desk)
    assert desk.read().lists == {SIGNING.signer().encoded: 6}
