"""A question without a photo: by the same form, into the same envelopes."""

import re
import subprocess
from pathlib import Path

import pytest

from relay.errors import ConfigInvalid
from tests import photos
from tests.conftest import RELAY, Answer, Service, Starter, configure, multipart

ANSWERS = "https://campaign.example.org/answers"
QUESTION = "Who protects the women who defend our rights?"


def take_questions(campaign: Path) -> dict[str, str]:
    """Write campaign.toml, and return the setting that names it."""
    (campaign / "campaign.toml").write_text(f'answers = "{ANSWERS}"\n')
    return {"campaign_file": '"campaign.toml"'}


@pytest.fixture
def service(lasting: Starter) -> Service:
    return lasting(prepare=take_questions, campaign_file='"campaign.toml"')


def ask(
    service: Service,
    message: str = QUESTION,
    *,
    photo: bytes = b"",
    token: str | None = None,
    **fields: str,
) -> Answer:
    """Send what a browser sends: a part for the photo, though none was chosen."""
    fields = {"token": token or service.token(), "kind": "question", "message": message} | fields
    parts: list[tuple[str, bytes, str | None]] = [
        (name, value.encode(), None) for name, value in fields.items()
    ]
    body, kind = multipart([*parts, ("photo", photo, photos.FILE_NAME)])
    return service.request("POST", "/en/", body, {"Content-Type": kind})


def test_the_form_offers_a_question_and_names_the_page_of_answers(service: Service) -> None:
    form = service.get("/en/").text
    assert re.search(r'name="kind" value="photo" checked', form)
    assert re.search(r'name="kind" value="question">', form)
    assert ANSWERS in form
    assert f'href="{ANSWERS}' not in form, "as text"
    assert re.search(r'type="file"[^>]* name="photo"[^>]*>', form)
    assert " required" not in form


def test_without_a_page_of_answers_no_question_is_taken(
    start_service: Starter, campaign: Path
) -> None:
    (campaign / "campaign.toml").write_text('hashtag = "#HerVoice"\n')
    service = start_service()
    form = service.get("/en/").text
    assert 'name="kind"' not in form
    assert " required" in form
    answer = ask(service)
    assert (answer.status, "No photo was chosen." in answer.text) == (400, True)
    assert QUESTION in answer.text


def test_a_question_gets_a_receipt_and_twice_the_same_is_one(service: Service) -> None:
    token = service.token()
    answer = ask(service, token=token)
    assert answer.status == 200
    assert "Your question has arrived" in answer.text
    assert ANSWERS in answer.text
    assert "<img" not in answer.text.partition("<footer>")[0], "there is no picture to show"
    assert ask(service, token=token).receipt == answer.receipt
    assert ask(service, QUESTION + "?", token=token).receipt != answer.receipt
    standing = service.post_receipt("receipt", answer.receipt).text
    assert "What you sent is here, locked." in standing


def test_a_question_and_a_photo_of_the_same_words_are_two(service: Service, dirty: bytes) -> None:
    token = service.token()
    assert ask(service, token=token).receipt != (
        service.send(dirty, token=token, kind="photo", message=QUESTION).receipt
    )


def test_a_question_with_a_photo_is_refused_with_what_to_do(service: Service) -> None:
    answer = ask(service, photo=photos.dirty_jpeg())
    assert answer.status == 400
    assert "You ticked a question and chose a photo too." in answer.text
    assert "Your question was not sent." in answer.text
    assert QUESTION in answer.text
    assert re.search(r'value="question" checked', answer.text)
    assert service.desk("pull", "--to", "sealed").code == 10, "nothing was sent"


@pytest.mark.parametrize("empty", ["", "  \n", "\x00"])
def test_an_empty_question_is_refused_and_what_was_chosen_stays(
    service: Service, empty: str
) -> None:
    answer = ask(service, empty)
    assert (answer.status, "There is no question yet." in answer.text) == (400, True)
    assert re.search(r'value="question" checked', answer.text)


def test_the_same_limits_hold_for_a_question(service: Service) -> None:
    for changed, words in (
        ({"message": "x" * 501}, "too long"),
        ({"website": "x"}, "must stay empty"),
        ({"token": "x"}, "open for too long"),
        ({"kind": "other"}, "did not arrive whole"),
    ):
        answer = ask(service, **{"message": QUESTION, **changed})  # type: ignore[arg-type]
        assert answer.status >= 400
        assert words in answer.text
    assert "Press Send again: your question still stands below." in ask(service, token="x").text


def test_a_photo_is_still_asked_for_where_questions_are_taken(service: Service) -> None:
    parts = [("token", service.token().encode(), None), ("kind", b"photo", None)]
    body, kind = multipart([*parts, ("photo", b"", photos.FILE_NAME)])
    answer = service.request("POST", "/en/", body, {"Content-Type": kind})
    assert (answer.status, "No photo was chosen." in answer.text) == (400, True)


def test_a_question_lies_in_an_envelope_of_the_same_length(service: Service, dirty: bytes) -> None:
    ask(service)
    service.send(dirty)
    assert service.desk("pull", "--to", "sealed").code == 0
    sealed = list((service.folder.parent / "sealed").glob("*.age"))
    assert len(sealed) == 2
    assert len({file.stat().st_size for file in sealed}) == 1


def test_a_campaign_file_that_can_not_be_read_keeps_the_relay_from_starting(
    campaign: Path,
) -> None:
    configure(campaign, **take_questions(campaign))
    (campaign / "campaign.toml").write_text("answers = 7\n")
    done = subprocess.run(
        [RELAY, "serve", "--config", campaign / "relay.toml"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == ConfigInvalid.exit_code
    assert "campaign.toml" in done.stderr
