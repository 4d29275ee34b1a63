"""The contact sheet in headless Chromium, opened from the disk with scripts off."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from relay.desk.journal import JournalFile
from tests import photos
from tests.browser.chromium import CHROMIUM, FLAGS
from tests.conftest import relay
from tests.envelopes import FULL, PLAIN, announce, clean_photo, seal

pytestmark = pytest.mark.browser
ID = "{:08x}" + "a" * 24


@pytest.fixture
def sheet(campaign: Path) -> Path:
    """A sheet with everything on it that may be on one."""
    messages = {
        1: PLAIN,
        2: FULL,
        3: replace(PLAIN, message="<img src=https://example.org/x><script>a()</script>"),
        4: replace(PLAIN, language="fa", message="ما درس می‌خواهیم."),
        5: replace(PLAIN, message="x" * 500),
        6: replace(PLAIN, message="\N{RIGHT-TO-LEFT OVERRIDE}" + "\n" * 400 + "end"),
    }
    sizes = [(1600, 1200), (1200, 1600), (1600, 1600), (1600, 720), (720, 1600), (320, 240)]
    for number, submission in messages.items():
        photo = clean_photo(number, sizes[number - 1])
        announce(campaign, seal(campaign, submission, photo), ID.format(number))
    announce(campaign, seal(campaign, PLAIN, photos.dirty_jpeg()), ID.format(7))
    (campaign.parent / "sealed" / "broken.age").write_bytes(b"broken")
    with JournalFile(campaign).update() as journal:
        journal.take_down = [ID.format(9)]
        journal.verdicts.confirmed[ID.format(1)] = "release"
    desk = ("desk", "--config", "demo/desk.toml")
    assert relay(*desk, "review", "sealed", "--to", "sheet", cwd=campaign.parent).code == 3
    return campaign.parent / "sheet" / "review.html"


def test_the_sheet_shows_everything_from_the_disk_and_asks_for_nothing(
    sheet: Path, tmp_path: Path
) -> None:
    asked: list[str] = []
    said: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = browser.new_context(
            java_script_enabled=False, viewport={"width": 1000, "height": 900}
        )
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.goto(sheet.as_uri())
        page.set_viewport_size({"width": 1000, "height": 3600})
        page.screenshot(path=tmp_path / "sheet.png")
        assert [url for url in asked if not url.startswith("data:")] == [sheet.as_uri()]
        assert said == [], "the policy blocks nothing, for there is nothing to block"
        check_look(page)
        page.click("text=How to decide")
        assert page.locator("#decide pre").first.is_visible()
        assert page.pdf(format="A4").startswith(b"%PDF")
        browser.close()


def check_look(page: Page) -> None:
    articles = page.locator("article")
    assert articles.count() == 7
    for number in range(7):
        article = articles.nth(number)
        article.scroll_into_view_if_needed()
        picture = article.locator("img")
        box = picture.bounding_box()
        assert box is not None
        assert max(box["width"], box["height"]) == 240
        seen = Image.open(io.BytesIO(picture.screenshot()))
        assert seen.getcolors(100) is None, "it is drawn"
        about = article.locator(".about").bounding_box()
        assert about is not None
        assert about["x"] >= box["x"] + box["width"], "words beside the picture, not on it"
        assert about["x"] + about["width"] <= 1000
        assert about["height"] < 700
    down = page.locator("#down").bounding_box()
    first = articles.first.bounding_box()
    assert down is not None
    assert first is not None
    assert down["y"] < first["y"]
