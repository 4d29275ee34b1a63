"""From the browser to the networks: three photos and one question, on real parts."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests import networks, photos
from tests.browser.test_chromium import page as page  # noqa: PLC0414 - the fixture
from tests.conftest import Service
from tests.desk.campaigns import Campaign
from tests.desk.networks.conftest import mastodon as mastodon  # noqa: PLC0414 - the fixture
from tests.desk.networks.mastodon_server import MastodonServer
from tests.judge import judge

pytestmark = pytest.mark.browser

QUESTION = "Who protects the women who defend our rights?"
PHOTOS = 3


@pytest.fixture
def pds() -> Iterator[networks.Pds]:
    with networks.pds() as here:
        yield here


def send_all(page: Page, service: Service, folder: Path) -> dict[str, str]:
    """Send three photos and a question; return the receipts by what was written."""
    sent = {}
    for number in range(PHOTOS):
        photo = folder / photos.FILE_NAME
        photo.write_bytes(photos.dirty_jpeg(photos.picture(1600, 1200, seed=number)))
        message = f"These are the words of number {number}."
        page.goto(f"{service.url}/en/")
        page.set_input_files("[name=photo]", photo)
        page.fill("[name=message]", message)
        page.check("text=My message may be posted too.")
        page.check("text=general")
        page.click("#send")
        sent[message] = page.inner_text("output#receipt")
    page.goto(f"{service.url}/en/")
    page.check("text=A question to the speakers")
    page.fill("[name=message]", QUESTION)
    page.click("#send")
    return {**sent, QUESTION: page.inner_text("output#receipt")}


def test_from_the_browser_to_the_networks(
    service: Service,
    page: Page,
    mastodon: MastodonServer,
    pds: networks.Pds,
    tmp_path: Path,
) -> None:
    campaign = Campaign(service)
    sent = send_all(page, service, tmp_path)
    campaign.receive(sent)
    campaign.has_accounts(campaign.mastodon(mastodon), campaign.bluesky(pds))
    asked = next(one for one in campaign.ids if campaign.receipts[one] == sent[QUESTION])
    shown = [one for one in campaign.ids if one != asked]
    campaign.release(*shown)
    assert campaign.desk("release", asked).code == 0

    done = campaign.desk("post", "--json")
    assert done.code == 0, done.err
    assert f"{asked}: held: a question" in done.err
    assert {one["id"] for one in json.loads(done.out)["posted"]} == {*shown}
    words = [
        f"{text}\n\nA poster for all. @campaign #HerVoice" for text in sent if text != QUESTION
    ]
    assert sorted(post.text for post in mastodon.posts()) == words
    assert sorted(post["value"]["text"] for post in pds.posts()) == words
    for number in range(PHOTOS):
        for name, network in (("mastodon", mastodon), ("bluesky", pds)):
            path = tmp_path / f"{name}-{number}.jpg"
            path.write_bytes(network.picture(number))
            judge(path)

    assert campaign.desk("questions", "--to", "list.csv").code == 0
    assert QUESTION in (service.folder.parent / "list.csv").read_text()
    assert campaign.desk("answer", asked).code == 0
    for receipt, state in ((sent[QUESTION], "answered"), (campaign.receipts[shown[0]], "posted")):
        page.goto(f"{service.url}/en/receipt")
        page.fill("[name=receipt]", receipt)
        page.click("#status button")
        assert state in page.inner_text("h1")
        for place in (mastodon.url, pds.url, "HerVoice"):
            assert place not in page.content(), "where is the desk's alone to know"
