import dataclasses
import datetime as dt
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.errors import Corrupt
from relay.seal import age, envelope
from relay.seal.envelope import Submission, open_envelope, pack, photo_budget, seal_envelope, unpack
from relay.seal.keys import ClassicIdentity, HybridIdentity
from relay.seal.stanza import parse_header
from tests.conftest import ROOT

SIZE = 64 * 1024
IDENTITIES = [HybridIdentity.generate() for _ in range(3)]
PLAIN = Submission(
    campaign="demo",
    language="en",
    message="",
    may_quote=False,
    poster=None,
    may_post=True,
    not_before=None,
    scrub={},
)


def sealed_to(count: int, photo: bytes | None, submission: Submission = PLAIN) -> bytes:
    recipients = [identity.recipient() for identity in IDENTITIES[:count]]
    return seal_envelope(submission, photo, recipients, envelope_bytes=SIZE, recipient_slots=4)


QUESTION = dataclasses.replace(PLAIN, kind="question", message="Who protects them?", may_post=False)


def test_every_envelope_has_one_length_and_one_shape_of_header() -> None:
    long = dataclasses.replace(PLAIN, message="\N{GRINNING FACE}" * 500)
    sealed = [
        sealed_to(1, b""),
        sealed_to(1, os.urandom(photo_budget(SIZE))),
        sealed_to(3, b"x", long),
        sealed_to(2, b"x" * 1000),
        sealed_to(2, None, QUESTION),
    ]
    assert len({len(one) for one in sealed}) == 1
    shapes = {
        tuple((s.type, len(s.arguments[0]), len(s.body)) for s in parse_header(one).stanzas)
        for one in sealed
    }
    assert len(shapes) == 1
    assert [stanza[0] for stanza in shapes.pop()] == ["mlkem768x25519"] * 4


def test_the_place_of_a_recipient_in_the_header_tells_nothing() -> None:
    places = set()
    for _ in range(60):
        stanzas = parse_header(sealed_to(1, b"")).stanzas
        places |= {i for i, s in enumerate(stanzas) if IDENTITIES[0].unwrap([s]) is not None}
    assert places == {0, 1, 2, 3}


def test_the_largest_photo_and_the_longest_message_fit_together() -> None:
    message = '"' * 500
    submission = dataclasses.replace(
        PLAIN, message=message, campaign="x" * 64, scrub={"removed": ["content credentials"] * 12}
    )
    assert len(submission.encode()) < envelope.MAX_SUBMISSION_BYTES
    photo = os.urandom(photo_budget(SIZE))
    opened, opened_photo = open_envelope(sealed_to(3, photo, submission), [IDENTITIES[2]])
    assert (opened, opened_photo) == (submission, photo)


def test_the_archive_is_what_the_contract_says() -> None:
    plaintext = age.unseal(sealed_to(1, b"jpeg"), [IDENTITIES[0]])
    assert len(plaintext) == SIZE
    with tarfile.open(fileobj=io.BytesIO(plaintext)) as archive:
        members = archive.getmembers()
    assert [member.name for member in members] == ["submission.json", "photo.jpg"]
    for member in members:
        assert (member.mode, member.uid, member.gid, member.mtime) == (0o600, 0, 0, 0)
        assert (member.uname, member.gname, member.type) == ("", "", tarfile.REGTYPE)
    assert plaintext[257:265] == b"ustar\x0000"


def test_submission_json_holds_the_fields_of_the_contract_and_no_others() -> None:
    day = dataclasses.replace(PLAIN, not_before=dt.date(2026, 3, 19))
    assert day.encode().decode() == (
        '{"version":1,"kind":"photo","campaign":"demo","language":"en","message":"",'
        '"may_quote":false,"poster":null,"may_post":true,"not_before":"2026-03-19","covers":0,'
        '"visible":[],"scrub":{}}'
    )


def test_a_stock_opener_and_tar_list_both_members(tmp_path: Path) -> None:
    (tmp_path / "identity").write_text(IDENTITIES[0].encode_secret() + "\n")
    (tmp_path / "submission.age").write_bytes(sealed_to(2, b"jpeg"))
    command = ["node", str(ROOT / "tests/node/open.mjs"), "identity", "submission.age"]
    opened = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout
    listed = subprocess.run(["tar", "t"], input=opened, capture_output=True, check=True).stdout
    assert listed.split() == [b"submission.json", b"photo.jpg"]


def test_a_stock_opener_and_tar_read_a_question(tmp_path: Path) -> None:
    (tmp_path / "identity").write_text(IDENTITIES[0].encode_secret() + "\n")
    (tmp_path / "submission.age").write_bytes(sealed_to(2, None, QUESTION))
    command = ["node", str(ROOT / "tests/node/open.mjs"), "identity", "submission.age"]
    opened = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout
    subprocess.run(["tar", "x"], input=opened, cwd=tmp_path, check=True)
    assert (tmp_path / "submission.json").read_bytes() == QUESTION.encode()
    assert not (tmp_path / "photo.jpg").exists()
    assert len(opened) == SIZE


def test_a_question_with_a_photo_and_a_photo_without_one_are_refused() -> None:
    recipient = IDENTITIES[0].recipient()
    for submission, photo in ((QUESTION, b"jpeg"), (PLAIN, None)):
        with pytest.raises(ValueError, match="no photo"):
            sealed_to(1, photo, submission)
        plaintext = pack(submission.encode(), photo, SIZE)
        with pytest.raises(Corrupt, match="question"):
            open_envelope(age.seal(plaintext, [recipient]), [IDENTITIES[0]])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("message", ""),
        ("message", " \n"),
        ("may_quote", True),
        ("may_post", True),
        ("poster", "general"),
        ("not_before", "2026-03-19"),
        ("covers", 1),
        ("visible", [[1, 2, 3, 4]]),
        ("scrub", {"quality": 80}),
    ],
)
def test_a_question_that_says_more_than_a_question_is_refused(field: str, value: object) -> None:
    fields = json.loads(QUESTION.encode()) | {field: value}
    with pytest.raises(Corrupt):
        Submission.decode(json.dumps(fields).encode())
    assert Submission.decode(QUESTION.encode()) == QUESTION


@settings(max_examples=30)
@given(st.text(max_size=500).filter(str.strip))
def test_any_question_comes_back(message: str) -> None:
    try:
        message.encode()
    except UnicodeEncodeError:
        return  # the form refuses these before
    submission = dataclasses.replace(QUESTION, message=message)
    assert open_envelope(sealed_to(1, None, submission), [IDENTITIES[0]]) == (submission, None)


def forged(*members: tuple[str, bytes], mode: int = 0o600, mtime: int = 0) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = len(content), mode, mtime
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue().ljust(SIZE, b"\0")


GOOD = (("submission.json", PLAIN.encode()), ("photo.jpg", b"jpeg"))


@pytest.mark.parametrize(
    "plaintext",
    [
        b"",
        bytes(SIZE),
        forged(*GOOD[::-1]),
        forged(*GOOD, ("third", b"")),
        forged(GOOD[0], ("../photo.jpg", b"jpeg")),
        forged(*GOOD, mode=0o777),
        forged(*GOOD, mtime=1),
        pack(*(content for _, content in GOOD), SIZE)[:-1] + b"x",
        pack(QUESTION.encode(), None, SIZE)[:-1] + b"x",
        pack(QUESTION.encode(), None, SIZE)[:1024],
        forged(("submission.json", QUESTION.encode()), ("photo.jpg", b"jpeg"))[:-1] + b"x",
    ],
    ids=[
        "empty",
        "zeros",
        "order",
        "third",
        "path",
        "mode",
        "time",
        "padding",
        "after",
        "cut",
        "p",
    ],
)
def test_an_archive_that_differs_in_anything_is_refused(plaintext: bytes) -> None:
    with pytest.raises(Corrupt):
        unpack(plaintext)


def test_an_archive_as_the_contract_says_is_read() -> None:
    assert unpack(forged(*GOOD)) == (PLAIN.encode(), b"jpeg")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 2),
        ("version", True),
        ("kind", "answer"),
        ("message", None),
        ("message", "x" * 501),
        ("poster", "other"),
        ("not_before", "tomorrow"),
        ("visible", [[1, 2, 3]]),
        ("visible", ["abcd"]),
        ("received_at", "2026-03-19T08:00"),
    ],
)
def test_submission_json_of_another_form_is_refused(field: str, value: object) -> None:
    fields = json.loads(PLAIN.encode()) | {field: value}
    with pytest.raises(Corrupt):
        Submission.decode(json.dumps(fields).encode())


@given(st.binary(max_size=300))
def test_any_bytes_for_submission_json_are_refused(raw: bytes) -> None:
    with pytest.raises(Corrupt):
        Submission.decode(raw)


@settings(max_examples=30)
@given(st.text(max_size=500), st.binary(max_size=2000))
def test_any_message_and_photo_come_back(message: str, photo: bytes) -> None:
    try:
        message.encode()
    except UnicodeEncodeError:
        return  # the form refuses these before
    submission = dataclasses.replace(PLAIN, message=message)
    opened = open_envelope(sealed_to(1, photo, submission), [IDENTITIES[0]])
    assert opened == (submission, photo)


def test_throw_away_recipients_of_a_classic_campaign_are_classic() -> None:
    recipients = [ClassicIdentity.generate().recipient()]
    sealed = seal_envelope(PLAIN, b"", recipients, envelope_bytes=SIZE, recipient_slots=4)
    assert {stanza.type for stanza in parse_header(sealed).stanzas} == {"X25519"}


def test_more_recipients_than_slots_is_refused() -> None:
    with pytest.raises(ValueError, match="slots"):
        seal_envelope(
            PLAIN,
            b"",
            [identity.recipient() for identity in IDENTITIES],
            envelope_bytes=SIZE,
            recipient_slots=2,
        )
