"""Questions without a photo, from the form to whoever moderates, and back to her receipt."""

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.desk.decide import make_decision
from relay.desk.journal import JournalFile
from relay.desk.questions import find_questions
from relay.desk.spreadsheet import defused, encode_rows
from relay.errors import ConfigInvalid
from relay.queue.states import Verdict
from tests.conftest import Service, Starter, wait_until
from tests.desk.laptops import make_laptop
from tests.web.test_questions import ANSWERS, QUESTION, ask, take_questions


@pytest.fixture
def service(lasting: Starter) -> Service:
    return lasting(prepare=take_questions, campaign_file='"campaign.toml"')


def home(service: Service) -> Path:
    return service.folder.parent


def receive(service: Service) -> list[str]:
    """Pull and open everything; the ids."""
    service.desk("pull", "--to", "sealed")
    assert service.desk("open", "sealed", "--to", "opened").code == 0
    return sorted(folder.name for folder in (home(service) / "opened").iterdir())


def rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def standing(service: Service, receipt: str) -> str:
    return service.post_receipt("receipt", receipt).text


# -- the whole way ---------------------------------------------------------------------------------


def test_a_question_goes_to_the_moderator_and_her_receipt_says_answered(service: Service) -> None:
    receipt = ask(service, QUESTION).receipt
    assert service.desk("pull", "--to", "sealed").code == 0
    opened = service.desk("open", "sealed", "--to", "opened")
    assert opened.code == 0
    assert "a question, without a photo." in opened.err
    (one,) = receive(service)
    folder = home(service) / "opened" / one
    assert [file.name for file in folder.iterdir()] == ["submission.json"]
    assert json.loads((folder / "submission.json").read_text()) == {
        "version": 1, "kind": "question", "campaign": "demo", "language": "en",
        "message": QUESTION, "may_quote": False, "poster": None, "may_post": False,
        "not_before": None, "covers": 0, "visible": [], "scrub": {},
    }  # fmt: skip
    assert service.desk("questions").out == f"{one[:8]} waiting en: {QUESTION}\n"
    assert service.desk("answer", one[:8]).code == 10, "it is not released"
    assert service.desk("questions", "--to", "questions.csv").code == 10
    assert not (home(service) / "questions.csv").exists()
    released = service.desk("release", one[:8])
    assert (released.code, released.out) == (0, f"{one}: released\n")
    assert "looked for faces" not in released.err
    assert "accepted what you sent" in standing(service, receipt)
    assert service.desk("questions", "--to", "questions.csv").out == "questions.csv\n"
    file = home(service) / "questions.csv"
    assert file.stat().st_mode & 0o777 == 0o600
    assert rows(file)[1:] == [[f"no. {one[:8]}", "en", QUESTION]]
    assert service.desk("answer", one[:8]).out == f"{one}: answered\n"
    again = service.desk("answer", one[:8])
    assert (again.code, again.out) == (0, f"{one}: already answered\n")
    assert service.desk("questions").out == f"{one[:8]} answered en: {QUESTION}\n"
    page = standing(service, receipt)
    assert "Your question has been answered." in page
    assert ANSWERS in page
    log = service.desk("log", "--verify")
    assert (log.code, [line.split()[2] for line in log.out.splitlines()][-2:]) == (
        0,
        ["released", "answered"],
    )


# -- taken back ------------------------------------------------------------------------------------


def test_a_question_is_taken_back_at_each_state(service: Service) -> None:
    receipts = {}
    for state in ("sealed", "leased", "released", "answered"):
        receipt = ask(service, f"{QUESTION} {state}").receipt
        receipts[state] = receipt
    service.post_receipt("withdraw", receipts["sealed"])
    receive(service)
    asked = find_questions(JournalFile(service.folder).read()).questions
    ids = {one.text.split()[-1]: one.id for one in asked}
    assert sorted(ids) == ["answered", "leased", "released"]
    assert service.desk("release", ids["released"], ids["answered"]).code == 0
    assert service.desk("questions", "--to", "list.csv").code == 0
    assert service.desk("answer", ids["answered"]).code == 0
    for state in ("leased", "released", "answered"):
        service.post_receipt("withdraw", receipts[state])
    nothing = standing(service, receipts["sealed"])
    assert standing(service, receipts["leased"]) == nothing
    assert "You have asked for it to be taken down." in standing(service, receipts["released"])
    pulled = service.desk("pull", "--to", "sealed")
    assert pulled.code == 10
    assert "TAKE DOWN" not in pulled.err, "there is no post"
    for state in ("released", "answered"):
        assert f"relay desk answer --taken-back {ids[state]}" in pulled.err
    assert not list((home(service) / "opened").iterdir()), "no copy is left"
    assert not list((home(service) / "sealed").glob("*.age"))
    assert not (home(service) / "list.csv").exists(), "the list goes as a whole"
    assert service.desk("questions").code == 10
    done = service.desk("answer", "--taken-back", ids["released"], ids["answered"])
    assert done.code == 0, done.err
    assert f"{ids['released']}: removed" in done.out
    for state in ("released", "answered"):
        assert standing(service, receipts[state]) == nothing
    assert service.desk("log", "--verify").code == 0
    assert "taken back" not in service.desk("pull", "--to", "sealed").err
    assert service.desk("answer", "--taken-back", ids["released"]).out.endswith("already removed\n")


def test_what_nobody_has_taken_back_can_not_be_said_to_be_gone(service: Service) -> None:
    ask(service)
    (one,) = receive(service)
    assert service.desk("release", one).code == 0
    done = service.desk("answer", "--taken-back", one)
    assert (done.code, "Nobody has asked" in done.err) == (10, True)


def test_the_laptop_that_opens_and_is_never_online_destroys_it_too(
    start_service: Starter, campaign: Path, tmp_path: Path
) -> None:
    old, online = make_laptop(tmp_path / "old", campaign), make_laptop(tmp_path / "on", campaign)
    old.knows(online.signer)
    online.knows(old.signer)
    service = start_service(**take_questions(campaign))
    text = online.config.read_text()
    online.config.write_text(f'relay = "{service.url}"\n{text}')
    receipt = ask(service).receipt
    stick, verdicts = tmp_path / "stick", tmp_path / "stick" / "verdicts"
    assert online.desk("pull", "--to", stick).code == 0
    assert old.desk("open", stick, "--to", "opened").code == 0
    (one,) = (folder.name for folder in (old.folder / "opened").iterdir())
    assert old.desk("release", one, "--to", verdicts).code == 0
    assert old.desk("questions", "--to", "list.csv").code == 0, "the only text lies here"
    assert online.desk("send", verdicts).code == 0
    service.post_receipt("withdraw", receipt)
    assert "TAKE DOWN" in online.desk("pull", "--to", stick).err, "it has never opened it"
    assert old.desk("open", stick, "--to", "opened").code == 10
    assert not list((old.folder / "opened").iterdir())
    assert not (old.folder / "list.csv").exists()
    assert online.desk("answer", "--taken-back", one).code == 0
    assert "Nothing is kept" in standing(service, receipt)


# -- what is done with photos ----------------------------------------------------------------------


def test_the_desk_copes_with_a_question_wherever_it_expects_a_photo(
    service: Service, dirty: bytes
) -> None:
    ask(service, "<b>Who?</b>")
    service.send(dirty, may_post="yes")
    ids = receive(service)
    opened = home(service) / "opened"
    (question,) = [one for one in ids if not (opened / one / "photo.jpg").exists()]
    (photo,) = {*ids} - {question}
    for sources in (["sealed"], ["opened"], ["sealed", "opened"]):
        assert service.desk("review", *sources, "--to", "sheet").code == 0
        sheet = (home(service) / "sheet" / "review.html").read_text()
        assert "A question, without a photo" in sheet
        assert "&lt;b&gt;Who?&lt;/b&gt;" in sheet
        assert sheet.count("<img") == 1
    cover = service.desk("cover", question, "--box", "1,1,20,20")
    assert (cover.code, "There is no photo to cover" in cover.err) == (10, True)
    again = service.desk("open", "sealed", "--to", "opened")
    assert (again.code, again.err.count("was open already")) == (0, 2)
    wrong = service.desk("return", question, "--reason", "face-visible")
    assert (wrong.code, "The reason can be other" in wrong.err) == (2, True)
    wrong = service.desk("answer", photo)
    assert (wrong.code, "Photos are posted" in wrong.err) == (2, True)
    journal = JournalFile(service.folder).read()
    with pytest.raises(ConfigInvalid, match="not posted"):
        make_decision(journal, question, Verdict.POST, None)
    assert make_decision(journal, photo, Verdict.POST, None)
    assert service.desk("return", question, "--reason", "other").code == 0
    assert not (opened / question).exists()
    assert service.desk("questions").code == 10


def test_a_photo_beside_a_question_is_an_alarm(service: Service, dirty: bytes) -> None:
    ask(service)
    (one,) = receive(service)
    (home(service) / "opened" / one / "photo.jpg").write_bytes(dirty)
    done = service.desk("review", "opened", "--to", "sheet")
    assert (done.code, "beside a question" in done.err) == (13, True)


def test_a_question_that_came_by_mail_is_one_like_any_other(service: Service) -> None:
    mail = home(service) / "mail.txt"
    mail.write_text(f"{QUESTION}\n")
    assert service.desk("add", "--question", "mail.txt", "--poster", "general").code == 2
    assert service.desk("add", "--question", "mail.txt", "--dry-run").code == 0
    assert service.desk("pull", "--to", "sealed").code == 10
    done = service.desk("add", "--question", "mail.txt", "--language", "fr")
    assert (done.code, done.out) == (0, "mail.txt: sealed in the queue\n")
    (one,) = receive(service)
    assert service.desk("questions").out == f"{one[:8]} waiting fr: {QUESTION}\n"
    for text, code in (("", 1), ("x" * 501, 1)):
        mail.write_text(text)
        assert service.desk("add", "--question", "mail.txt").code == code
    (line,) = (file.stat().st_size for file in (home(service) / "sealed").glob("*.age"))
    assert line > 512 * 1024


# -- the list --------------------------------------------------------------------------------------


def test_the_list_tells_nothing_by_its_order_and_replaces_only_itself(service: Service) -> None:
    texts = [f"{QUESTION} {number}" for number in range(6)]
    for text in texts:
        ask(service, text)
    ids = receive(service)
    assert service.desk("release", *ids).code == 0
    file = home(service) / "list.csv"
    file.write_text("mine")
    refused = service.desk("questions", "--to", "list.csv")
    assert (refused.code, "in the way" in refused.err) == (1, True)
    assert file.read_text() == "mine"
    file.unlink()
    orders = set()

    def is_shuffled() -> bool:
        assert service.desk("questions", "--to", "list.csv").code == 0
        orders.add(tuple(row[2] for row in rows(file)[1:]))
        return len(orders) > 1

    wait_until(is_shuffled)
    assert {tuple(sorted(order)) for order in orders} == {tuple(texts)}
    assert service.desk("answer", *ids[:5]).code == 0
    report = service.desk("questions", "--to", "list.csv", "--json").json
    (left,) = report["questions"]  # type: ignore[misc]
    assert (left["id"], left["state"], report["file"]) == (ids[5], "released", "list.csv")
    shown = JournalFile(service.folder).read().shown
    assert list(shown) == [ids[5]], "what is no longer on it destroys it no more"


def test_a_list_is_not_written_where_others_get_it(service: Service) -> None:
    ask(service)
    (one,) = receive(service)
    assert service.desk("release", one).code == 0
    assert service.desk("questions", "--to", "Dropbox/list.csv").code == 14
    assert not (home(service) / "Dropbox").exists()
    assert service.desk("questions", "--to", "Dropbox/list.csv", "--force").code == 0


def test_a_question_that_was_changed_after_it_was_opened_is_named(service: Service) -> None:
    for number in range(2):
        ask(service, f"{QUESTION} {number}")
    one, two = receive(service)
    (home(service) / "opened" / one / "submission.json").write_text("{}")
    done = service.desk("questions")
    assert (done.code, one in done.err, two[:8] in done.out) == (3, True, True)
    (home(service) / "opened" / two / "submission.json").write_text("{}")
    assert service.desk("questions").code == 13


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_no_cell_begins_a_formula_or_breaks_its_line(text: str) -> None:
    cell = defused(text)
    assert not cell.startswith(tuple("=+-@\t\r\n "))
    assert len(cell.splitlines()) <= 1
    line = encode_rows([[text, "x"]]).decode("utf-8-sig")
    assert list(csv.reader([line])) == [[cell, "x"]]


@pytest.mark.parametrize(
    "text",
    [
        *("=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", " =1"),
        *("\N{FULLWIDTH EQUALS SIGN}1", "\N{SMALL PLUS SIGN}1", "\N{ZERO WIDTH JOINER}=1"),
    ],
)
def test_what_would_be_carried_out_is_text(text: str) -> None:
    assert defused(text).startswith("'")
    assert defused("Who = she?") == "Who = she?"
