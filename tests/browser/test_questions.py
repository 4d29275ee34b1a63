"""A question without a photo, in headless Chromium with scripts off."""

from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests import photos
from tests.browser.test_chromium import page as page  # noqa: PLC0414 - the fixture
from tests.conftest import Service, Starter
from tests.web.test_questions import ANSWERS, QUESTION, take_questions

pytestmark = pytest.mark.browser


@pytest.fixture
def service(start_service: Starter, campaign: Path) -> Service:
    return start_service(**take_questions(campaign))


def test_from_the_browser_to_the_moderators_list_and_back(service: Service, page: Page) -> None:
    page.goto(f"{service.url}/en/")
    assert page.is_visible("#photo")
    page.check("text=A question to the speakers")
    assert not page.is_visible("#photo"), "what a question does not need is out of the way"
    assert not page.is_visible("text=The poster is")
    page.fill("[name=message]", QUESTION)
    page.click("#send")
    assert page.is_visible("text=Your question has arrived and is locked away.")
    receipt = page.inner_text("output#receipt")
    assert service.desk("pull", "--to", "sealed").code == 0
    assert service.desk("open", "sealed", "--to", "opened").code == 0
    (folder,) = (service.folder.parent / "opened").iterdir()
    assert service.desk("release", folder.name).code == 0
    assert service.desk("questions", "--to", "list.csv").code == 0
    assert QUESTION in (service.folder.parent / "list.csv").read_text()
    assert service.desk("answer", folder.name).code == 0
    page.click("text=Take the question back later")
    page.fill("[name=receipt]", receipt)
    page.click("#status button")
    assert page.is_visible("text=Your question has been answered.")
    assert page.is_visible(f"text={ANSWERS}")


def test_who_chose_a_photo_before_is_told_and_sends_by_one_press(
    service: Service, page: Page, tmp_path: Path
) -> None:
    photo = tmp_path / photos.FILE_NAME
    photo.write_bytes(photos.dirty_jpeg())
    page.goto(f"{service.url}/en/")
    page.set_input_files("[name=photo]", photo)
    page.check("text=A question to the speakers")
    page.fill("[name=message]", QUESTION)
    page.click("#send")
    assert page.is_visible("text=You ticked a question and chose a photo too.")
    assert page.input_value("[name=message]") == QUESTION
    page.click("#send")
    assert page.is_visible("text=Your question has arrived")


def test_a_photo_goes_the_same_way_as_before(service: Service, page: Page, tmp_path: Path) -> None:
    photo = tmp_path / photos.FILE_NAME
    photo.write_bytes(photos.dirty_jpeg())
    page.goto(f"{service.url}/en/")
    page.click("#send")
    assert page.is_visible("text=No photo was chosen.")
    page.set_input_files("[name=photo]", photo)
    page.click("#send")
    assert page.is_visible("text=Your photo has arrived and is locked away.")
