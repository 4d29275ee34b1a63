"""Debian's Chromium without scripts, with the same words as `tests/browser/firefox.py`."""

import base64
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from playwright.sync_api import Error, Page, Request, sync_playwright

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
PHONE = (320, 568)  # px; the smallest that is still carried about
# Chromium refuses its own sandbox to root; the pages under test are ours, on loopback.
FLAGS = ["--no-sandbox"] if os.geteuid() == 0 else []


class Browser(Protocol):
    """What a person does with a browser, and sees of it."""

    def goto(self, url: str) -> None: ...
    def resize(self, width: int, height: int) -> None: ...
    def click(self, css: str) -> None: ...
    def tap(self, css: str) -> None: ...
    def choose(self, css: str, file: Path) -> None: ...
    def write(self, css: str, words: str) -> None: ...
    def press(self, key: str) -> None: ...
    def leave_by(self, key: str) -> None: ...
    def back(self) -> None: ...
    def resend(self) -> None: ...
    def ask(self, expression: str) -> Any: ...
    def screenshot(self) -> bytes: ...
    @property
    def asked(self) -> list[str]: ...
    @property
    def said(self) -> list[str]: ...


@dataclass(kw_only=True)
class Chromium:
    """A window of a headless Chromium."""

    page: Page
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    @classmethod
    @contextmanager
    def started(cls, **context: Any) -> Iterator[Self]:
        """Start one; `context` are Playwright's words for its window. It is gone at the end."""
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=CHROMIUM,
                args=FLAGS,
                ignore_default_args=["--disable-back-forward-cache"],  # people have it
            )
            window = browser.new_context(java_script_enabled=False, **context)
            chromium = cls(page=window.new_page())
            chromium.page.on("response", lambda answer: chromium._note(answer.request))
            chromium.page.on("console", lambda message: chromium._hear(message.text))
            yield chromium
            browser.close()

    @classmethod
    @contextmanager
    def with_profile(cls, folder: Path, *, is_private: bool) -> Iterator[Self]:
        """Start one that keeps its profile in `folder`, in a private window or in none."""
        with sync_playwright() as playwright:
            window = playwright.chromium.launch_persistent_context(
                folder,
                executable_path=CHROMIUM,
                args=[*FLAGS, *(["--incognito"] if is_private else [])],
                ignore_default_args=["--disable-back-forward-cache"],
                java_script_enabled=False,
            )
            yield cls(page=window.pages[0])
            window.close()

    def _note(self, request: Request) -> None:
        if not request.url.startswith("data:"):
            self.asked.append(f"{request.method} {request.url}")

    def _hear(self, words: str) -> None:
        harmless = (
            "Failed to load resource: the server responded with a status of 4",
            "Clear-Site-Data header on ",
        )
        if not words.startswith(harmless):
            self.said.append(words)

    def goto(self, url: str) -> None:
        self.page.goto(url)

    def resize(self, width: int, height: int) -> None:
        self.page.set_viewport_size({"width": width, "height": height})

    def click(self, css: str) -> None:
        self.page.click(css)

    def tap(self, css: str) -> None:
        """Click, and wait for nothing."""
        self.ask(f"document.querySelector('{css}').scrollIntoView()")
        box = self.page.locator(css).bounding_box()
        assert box is not None
        self.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)

    def choose(self, css: str, file: Path) -> None:
        self.page.set_input_files(css, file)

    def write(self, css: str, words: str) -> None:
        self.page.fill(css, words)

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)

    def leave_by(self, key: str) -> None:
        """Press a key that leads to another page."""
        with self.page.expect_navigation():
            self.press(key)

    def back(self) -> None:
        """Go back, be it to Chromium's own page that says that it has not kept that page."""
        try:
            self.page.go_back()
        except Error as error:
            if "ERR_CACHE_MISS" not in error.message:
                raise
            self.page.wait_for_url("chrome-error:**")

    def resend(self) -> None:
        """Load this page anew and send the form again; the question is not asked without a head."""
        self.page.reload()

    def ask(self, expression: str) -> Any:
        return self.page.evaluate(expression)

    def screenshot(self) -> bytes:
        """Return what the window shows, though another page is on its way."""
        session = self.page.context.new_cdp_session(self.page)
        return base64.b64decode(session.send("Page.captureScreenshot")["data"])
