"""The page of posters and event, and the posters themselves, as a service gives them out."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from relay.campaign import PublicTexts
from relay.posters.pdf import make_pdf
from relay.posters.poster import Paper, poster_of
from tests.conftest import ROOT, Service, Starter, relay

DEMO = PublicTexts.load(ROOT / "relay/cli/demo-campaign.toml")


def test_a_poster_comes_as_the_command_makes_it_on_the_paper_that_is_asked_for(
    shared_service: Service,
) -> None:
    for path, paper in (("", Paper.A4), ("?paper=a4", Paper.A4), ("?paper=letter", Paper.LETTER)):
        answer = shared_service.get(f"/poster/ar-write-in.pdf{path}")
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/pdf"
        assert answer.headers["Content-Disposition"] == 'inline; filename="poster.pdf"'
        assert answer.body == make_pdf(poster_of(DEMO, "ar", "write-in", paper))


def test_what_is_no_poster_is_the_page_that_says_so(shared_service: Service) -> None:
    for path in ("en-handwritten.pdf", "xx-general.pdf", "en-general.pdf?paper=a3", "../x.pdf"):
        answer = shared_service.get(f"/poster/{path}")
        assert answer.status == 404
        assert "There is no such page." in answer.text
    assert shared_service.get("/xx/poster").status == 404


def test_the_form_leads_to_a_page_with_the_words_the_advice_and_the_event(
    shared_service: Service,
) -> None:
    assert 'href="/en/poster"' in shared_service.get("/en/").text
    page = shared_service.get("/en/poster").text
    assert "I stand with women who defend human rights.<br>" in page
    assert "To the government of<br>\n____________<br>\nProtect" in page
    assert "A colour laser printer may leave tiny dots" in page
    assert "10 December 2026, 8 am in New York" in page
    assert page.index("Before you print") < page.index(".pdf"), "advice first"
    links = re.findall(r'href="([^"]*)"', page)
    posters = [link for link in links if ".pdf" in link]
    assert len(posters) == 4
    for link in posters:
        assert shared_service.get(link).body.startswith(b"%PDF")
    assert "https://live.example.org/" in page
    assert not [link for link in links if "example.org" in link], "the stream is text, no link"


def test_a_flood_of_requests_holds_up_no_form(service: Service) -> None:
    paths = [
        f"/poster/{code}-{kind}.pdf"
        for code in ("zh", "my", "am")
        for kind in DEMO.texts(code).poster
    ]
    with ThreadPoolExecutor(24) as crowd:
        answers = [crowd.submit(service.get, path) for path in paths * 8]
        assert service.get("/en/").status == 200
        assert {answer.result().status for answer in answers} == {200}
    assert len({answer.result().body for answer in answers}) == len(paths)


def test_a_campaign_that_says_nothing_has_no_such_page(
    start_service: Starter, campaign: Path
) -> None:
    config = campaign / "relay.toml"
    lines = config.read_text().splitlines()
    config.write_text("\n".join(one for one in lines if "campaign_file" not in one) + "\n")
    (campaign / "campaign.toml").unlink()
    running = start_service()
    assert "/en/poster" not in running.get("/en/").text
    assert running.get("/en/poster").status == 404
    assert running.get("/poster/en-general.pdf").status == 404


def test_a_language_without_posters_shows_the_event_alone(
    start_service: Starter, campaign: Path
) -> None:
    (campaign / "campaign.toml").write_text(
        'event = "Tomorrow"\n[en.poster]\ngeneral = "No \N{DOVE OF PEACE}"\n', "utf-8"
    )
    running = start_service()
    page = running.get("/fa/poster").text
    assert "<h1>" in page
    assert "Tomorrow" in page
    assert ".pdf" not in page
    failed = running.get("/poster/en-general.pdf")
    assert failed.status == 503
    assert "Copy its words by hand." in failed.text
    assert "DOVE" not in running.log_file.read_text()


def test_a_campaign_file_that_cant_be_read_keeps_the_relay_from_starting(campaign: Path) -> None:
    (campaign / "campaign.toml").write_text("colour = 'red'\n")
    refused = relay("demo", "--dir", campaign, "--listen", "127.0.0.1:1")
    assert refused.code == 2
    assert "campaign.toml: unknown setting 'colour'" in refused.err
