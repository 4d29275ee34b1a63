"""Every page in every language, judged by vnu (is it HTML?) and axe (can everybody use it?)."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from relay.web.catalogues import LANGUAGES
from tests.browser.chromium import CHROMIUM, FLAGS
from tests.conftest import ROOT
from tests.web.every_page import every_page, make_pages

pytestmark = pytest.mark.browser
_NODE = ROOT / "tests/node/node_modules"
_AXE = (_NODE / "axe-core/axe.min.js").read_text()
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# Judged at its narrowest, where most goes wrong.
_NARROW = {"width": 320, "height": 640}
_LARGE_TEXT = "html { font-size: 200% !important }"


def texts(code: str) -> Iterator[tuple[str, str]]:
    for name, response in every_page(make_pages(), code):
        assert response.text is not None
        yield name, response.text


@pytest.fixture(scope="module")
def window() -> Iterator[Page]:
    """A narrow window that runs the scripts of the judge; the pages have none."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser.new_context(viewport=_NARROW).new_page()  # type: ignore[arg-type]
        browser.close()


def complaints(page: Page) -> list[str]:
    page.evaluate(_AXE)
    options = {"runOnly": {"type": "tag", "values": _RULES}, "resultTypes": ["violations"]}
    found: dict[str, Any] = page.evaluate("options => axe.run(options)", options)
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:120]} {one['nodes'][0]['failureSummary'][:200]}"
        for one in found["violations"]
    ]


def test_every_page_is_valid_html(tmp_path: Path) -> None:
    for code in LANGUAGES:
        for name, text in texts(code):
            (tmp_path / f"{code}-{name}.html").write_text(text)
    jar = _NODE / "vnu-jar/build/dist/vnu.jar"
    command = ["java", "-Xss4m", "-jar", str(jar), "--format", "json", "--exit-zero-always"]
    pages = sorted(map(str, tmp_path.iterdir()))
    assert len(pages) >= 18 * 20
    judged = subprocess.run([*command, *pages], capture_output=True, text=True, check=True)
    said = json.loads(judged.stderr)["messages"]
    assert [
        f"{Path(one['url']).name}: {one['message']} {one.get('extract', '')}"
        for one in said
        if one["type"] != "info" or one.get("subType") == "warning"
    ] == []


def test_the_judge_of_html_finds_what_is_wrong(tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    broken.write_text("<!doctype html><html lang=en><title>x</title><p id=a><p id=a><b>")
    jar = _NODE / "vnu-jar/build/dist/vnu.jar"
    judged = subprocess.run(
        ["java", "-jar", str(jar), str(broken)], capture_output=True, text=True, check=False
    )
    assert "Duplicate ID" in judged.stderr


@pytest.mark.parametrize("code", LANGUAGES)
def test_everybody_can_use_every_page(window: Page, code: str) -> None:
    found = {}
    for name, text in texts(code):
        window.set_content(text)
        if complained := complaints(window):
            found[name] = complained
        assert window.evaluate("document.documentElement.scrollWidth") <= 320, name
    assert found == {}


@pytest.mark.parametrize("scheme", ["dark", "no-preference"])
def test_so_they_can_in_the_dark_and_with_large_text(window: Page, scheme: Any) -> None:
    window.emulate_media(color_scheme=scheme)
    for name, text in texts("en"):
        window.set_content(text)
        if scheme != "dark":
            window.add_style_tag(content=_LARGE_TEXT)
        assert complaints(window) == [], name
        assert window.evaluate("document.documentElement.scrollWidth") <= 320, name
    window.emulate_media(color_scheme="light")


def test_the_judge_of_access_finds_what_is_wrong(window: Page) -> None:
    window.set_content("<!doctype html><html><title>x</title><main><input><img src=a>")
    found = " ".join(complaints(window))
    for rule in ("html-has-lang", "label", "image-alt", "page-has-heading-one"):
        assert f"{rule}:" in found


def test_targets_are_large_enough_and_the_exit_comes_first(window: Page) -> None:
    for name, text in texts("my"):
        window.set_content(text)
        for target in window.locator("a, button, summary, label.choice").all():
            if not target.is_visible() or "past" in (target.get_attribute("class") or ""):
                continue
            box = target.bounding_box()
            assert box is not None
            is_in_text = target.evaluate("e => e.parentElement.matches('footer p')")
            assert box["height"] >= (24 if is_in_text else 44), (name, target.inner_text())
        window.keyboard.press("Tab")
        assert window.evaluate("document.activeElement.className") == "leave", name


def test_without_a_style_sheet_the_order_is_the_same(window: Page) -> None:
    for name, text in texts("ar"):
        window.set_content(text)
        window.evaluate("document.querySelector('style').remove()")
        tops = window.evaluate(
            "[...document.querySelectorAll('h1, h2, p, li, label, button')]"
            ".filter(e => e.checkVisibility()).map(e => e.getBoundingClientRect().top)"
        )
        assert tops == sorted(tops), name


_PLACES = """wanted => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const at = walker.currentNode.textContent.indexOf(wanted);
    if (at < 0) continue;
    return [...wanted].map((_, offset) => {
      const range = document.createRange();
      range.setStart(walker.currentNode, at + offset);
      range.setEnd(walker.currentNode, at + offset + 1);
      const { left, top } = range.getBoundingClientRect();
      return [top, left];
    });
  }
}"""


@pytest.mark.parametrize("code", ["ar", "ckb", "fa", "prs", "ps", "ur"])
def test_receipts_addresses_and_days_read_from_left_to_right_on_every_page(
    window: Page, code: str
) -> None:
    pages = dict(texts(code))
    for name, wanted in (
        ("sent", "2671 0935 1187 0426 5520"),
        ("form", "a" * 56 + ".onion"),
        ("form-DayUnreadable", "2026-03-19"),
    ):
        window.set_content(pages[name])
        places = window.evaluate(_PLACES, wanted)
        assert places == sorted(places), (name, "each further to the right, or on a lower line")
    window.set_content(pages["receipt"])
    window.fill("#digits", "2671 0935")
    assert window.evaluate("getComputedStyle(document.querySelector('#digits')).direction") == "ltr"
