"""The journey of a submitter in headless Chromium with scripts off."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from tests import photos
from tests.browser.chromium import CHROMIUM, FLAGS
from tests.conftest import Service
from tests.judge import judge

pytestmark = pytest.mark.browser


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = browser.new_context(
            java_script_enabled=False, viewport={"width": 320, "height": 640}
        )
        yield context.new_page()
        browser.close()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / photos.FILE_NAME
    path.write_bytes(photos.dirty_jpeg(photos.picture(3000, 4000)))
    return path


def fill(page: Page, service: Service, photo: Path) -> None:
    page.goto(service.url)
    page.click("text=English")
    page.set_input_files("[name=photo]", photo)
    page.fill("[name=message]", "Girls in my village want to learn.\nAll of them.")


def test_from_the_browser_to_a_folder_ready_for_posting(
    service: Service, page: Page, photo: Path
) -> None:
    requests = []
    page.on("request", lambda request: requests.append((request.method, request.url)))
    fill(page, service, photo)
    page.check("text=write-in")
    page.click("#send")
    receipt = page.inner_text("output#receipt")
    assert len(receipt.replace(" ", "")) == 20
    for word in ("where it was taken", "that one phone", "a small hidden copy", "a hidden video"):
        assert page.is_visible(f"li:has-text('{word}')")
    asked = [f"{method} {url.removeprefix(service.url)[:10]}" for method, url in requests]
    picture = ["GET /progress/"[:14]]
    assert sorted(asked) == sorted(["GET /", "GET /en/", "POST /en/", *picture, "GET /clear"])
    assert page.context.cookies() == []

    assert service.desk("pull", "--to", "sealed").code == 0
    assert service.desk("open", "sealed", "--to", "opened").code == 0
    (folder,) = (service.folder.parent / "opened").iterdir()
    judge(folder / "photo.jpg")
    submission = (folder / "submission.json").read_text()
    assert "want to learn.\\nAll of them." in submission
    assert '"poster":"write-in"' in submission
    assert '"may_post":true' in submission

    page.click("text=Take the photo back")
    page.fill("[name=receipt]", receipt)
    page.click("#status button")
    assert page.is_visible("text=is here, locked")
    page.click("#withdraw button")
    assert page.is_visible("text=Nothing is kept under this receipt")
    assert service.desk("pull", "--to", "sealed").code == 10
    assert not folder.exists()


def test_an_oversized_photo_gets_its_page_in_a_browser(
    service: Service, page: Page, tmp_path: Path
) -> None:
    big = tmp_path / "big.jpg"
    big.write_bytes(bytes(40 << 20))
    fill(page, service, big)
    page.click("#send")
    assert page.is_visible("text=This file is too large")
    assert "want to learn" in page.input_value("[name=message]")


def test_the_form_fits_a_narrow_phone_and_large_text(service: Service, page: Page) -> None:
    for path in ("/", "/en/", "/en/receipt"):
        page.goto(service.url + path)
        box = page.locator("html").bounding_box()
        assert box is not None
        main = page.locator("main").bounding_box()
        assert main is not None
        assert main["x"] >= 0
        assert main["x"] + main["width"] <= 320


def test_what_to_tap_is_large_enough(service: Service, page: Page) -> None:
    page.goto(f"{service.url}/en/")
    unseen = "[type=hidden], [hidden], [tabindex='-1']"
    for control in page.locator(f"button, input:not({unseen}), textarea").all():
        box = control.bounding_box()
        assert box is not None
        label = control.locator("xpath=ancestor::label")
        whole = label.bounding_box() if label.count() else box
        assert whole is not None
        assert whole["height"] >= 44


def test_who_walks_there_by_keys_is_not_told_that_it_is_sent(service: Service, page: Page) -> None:
    page.goto(f"{service.url}/en/")
    page.focus("#photo")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "send"
    assert not page.is_visible(".wait")
    assert page.is_visible(".bar"), "and it is empty"
