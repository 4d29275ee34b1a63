"""Debian's Firefox without scripts, vector pictures and web fonts: close to Tor Browser at Safest.

Spoken to over its Marionette socket: JSON with the length before it, `[0, number, command,
parameters]` answered by `[1, number, error, result]`.
Source: firefox-source-docs, testing/marionette, Protocol.
"""

import base64
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Self

from tests.conftest import wait_until

PREFERENCES: dict[str, bool | int | str] = {
    # Tor Browser at Safest
    "javascript.enabled": False,
    "svg.disabled": True,
    "mathml.disabled": True,
    "gfx.downloadable_fonts.enabled": False,
    "privacy.resistFingerprinting": True,
    "browser.privatebrowsing.autostart": True,
    # a free port, told in the profile
    "marionette.port": 0,
    # asks nobody for anything of its own, so that what is asked for is the page's
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.safebrowsing.downloads.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.safebrowsing.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.proxy.type": 0,
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": False,
}
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Space": " "}
_SHIFT = "\ue008"
# What pages ask for, their pictures and icons; Firefox itself asks for things that are no page's.
_WATCH = """
window.asked = [];
window.watcher = { observe: subject => {
  const channel = subject.QueryInterface(Ci.nsIHttpChannel);
  const { targetBrowsingContextID, loadingPrincipal } = channel.loadInfo;
  if (targetBrowsingContextID || !loadingPrincipal?.isSystemPrincipal)
    window.asked.push(channel.requestMethod + " " + channel.URI.spec);
} };
Services.obs.addObserver(window.watcher, "http-on-examine-response");
Services.console.reset();
"""
_SAID = """
return Services.console.getMessageArray()
  .filter(said => said instanceof Ci.nsIScriptError)
  .filter(said => /^(http|data)/.test(said.sourceName) || /Security/.test(said.category))
  .map(said => said.category + ": " + said.errorMessage);
"""
# A window of Firefox can not be narrower than 450 px, what it shows can.
_RESIZE = """
const style = gBrowser.selectedBrowser.style;
style.width = style.maxWidth = style.minWidth = arguments[0] + "px";
style.height = style.maxHeight = style.minHeight = arguments[1] + "px";
"""


class FirefoxError(Exception):
    """What Firefox says that it could not do."""


@dataclass(kw_only=True)
class Firefox:
    """A headless Firefox with a profile of its own."""

    profile: Path
    process: subprocess.Popen[bytes]
    socket: socket.socket
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @classmethod
    @contextmanager
    def started(cls, folder: Path, *, is_private: bool = True) -> Iterator[Self]:
        """Start one whose profile and home lie in `folder`; it is gone at the end.

        is_private: as Tor Browser is, without a history.
        """
        preferences = PREFERENCES | {"browser.privatebrowsing.autostart": is_private}
        profile = folder / "profile"
        profile.mkdir(parents=True)
        lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});" for k, v in preferences.items()]
        (profile / "user.js").write_text("\n".join(lines))
        program = shutil.which("firefox-esr") or "/usr/bin/firefox-esr"
        flags = ["--headless", "--marionette", "--remote-allow-system-access", "--no-remote"]
        with (folder / "firefox.log").open("wb") as log:
            process = subprocess.Popen(
                [program, *flags, "--profile", str(profile), "about:blank"],
                env={**os.environ, "HOME": str(folder), "TMPDIR": str(folder)},
                stdout=log,
                stderr=log,
            )
        try:
            port = profile / "MarionetteActivePort"
            wait_until(lambda: port.exists() and port.read_text(), seconds=60)
            with socket.create_connection(("127.0.0.1", int(port.read_text())), 90) as connection:
                firefox = cls(profile=profile, process=process, socket=connection)
                firefox._read()  # it says who it is
                firefox.do("WebDriver:NewSession", unhandledPromptBehavior="accept")
                firefox.in_chrome(_WATCH)
                yield firefox
                firefox.quit()
        finally:
            process.kill()
            process.wait()

    def quit(self) -> None:
        """End it as a person does, so that it writes what it would write."""
        if self.process.poll() is None:
            self.do("Marionette:Quit", flags=["eAttemptQuit"])
            self.process.wait(timeout=60)

    def do(self, command: str, **parameters: Any) -> Any:
        """Do one command and return its result."""
        number = next(self.numbers)
        message = json.dumps([0, number, command, parameters]).encode()
        self.socket.sendall(f"{len(message)}:".encode() + message)
        _, answered, error, result = self._read()
        assert answered == number
        if error:
            raise FirefoxError(f"{error['error']}: {error['message']}")
        return result["value"] if isinstance(result, dict) and "value" in result else result

    def _read(self) -> Any:
        length = b""
        while not length.endswith(b":"):
            length += self._receive(1)
        return json.loads(self._receive(int(length[:-1])))

    def _receive(self, length: int) -> bytes:
        content = b""
        while len(content) < length:
            part = self.socket.recv(length - len(content))
            if not part:
                raise FirefoxError("it has gone")
            content += part
        return content

    def in_chrome(self, script: str, *arguments: object) -> Any:
        """Run a script in the browser's own window."""
        self.do("Marionette:SetContext", value="chrome")
        try:
            return self.do("WebDriver:ExecuteScript", script=script, args=arguments)
        finally:
            self.do("Marionette:SetContext", value="content")

    # -- what a person does ------------------------------------------------------------------

    def goto(self, url: str) -> None:
        self.do("WebDriver:Navigate", url=url)

    def resize(self, width: int, height: int) -> None:
        self.do("WebDriver:SetWindowRect", width=max(width, 500) + 20, height=height + 200)
        self.in_chrome(_RESIZE, width, height)
        wait_until(lambda: self.ask("[innerWidth, innerHeight]") == [width, height])

    def _element(self, css: str) -> str:
        found = self.do("WebDriver:FindElement", using="css selector", value=css)
        return str(found[_ELEMENT])

    def click(self, css: str) -> None:
        """Scroll there and press the mouse in its middle."""
        self.do("WebDriver:ElementClick", id=self._element(css))

    def tap(self, css: str) -> None:
        """Click, and wait for nothing."""
        self.ask(f"document.querySelector('{css}').scrollIntoView()")
        strokes = [
            {"type": "pointerMove", "x": 0, "y": 0, "origin": {_ELEMENT: self._element(css)}},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        mouse = {"pointerType": "mouse"}
        self.do(
            "WebDriver:PerformActions",
            actions=[{"type": "pointer", "id": "m", "parameters": mouse, "actions": strokes}],
        )

    def choose(self, css: str, file: Path) -> None:
        self.do("WebDriver:ElementSendKeys", id=self._element(css), text=str(file))

    def write(self, css: str, words: str) -> None:
        self.do("WebDriver:ElementSendKeys", id=self._element(css), text=words)

    def press(self, key: str) -> None:
        """Press a key on whatever has the focus: Tab, Shift+Tab, Space, Enter."""
        name = key.removeprefix("Shift+")
        strokes = [(kind, _KEYS[name]) for kind in ("keyDown", "keyUp")]
        if name != key:
            strokes = [("keyDown", _SHIFT), *strokes, ("keyUp", _SHIFT)]
        keys = [{"type": kind, "value": value} for kind, value in strokes]
        self.do("WebDriver:PerformActions", actions=[{"type": "key", "id": "k", "actions": keys}])

    def back(self) -> None:
        """Go back, be it to Firefox's own page that says that it has not kept that page."""
        try:
            self.do("WebDriver:Back")
        except FirefoxError as error:
            if "e=notCached" not in str(error):
                raise

    def resend(self) -> None:
        """Load this page anew, and say yes where Firefox asks whether to send the form again."""
        with self._another_page():
            self.do("WebDriver:Refresh")

    def leave_by(self, key: str) -> None:
        """Press a key that leads to another page."""
        with self._another_page():
            self.press(key)

    @contextmanager
    def _another_page(self) -> Iterator[None]:
        self.ask("document.documentElement.setAttribute('class', 'old')")
        yield
        # One of ours: on the way Firefox may show an empty page of its own.
        is_new = (
            "document.readyState == 'complete' && document.querySelector('main') "
            "&& !document.querySelector('.old')"
        )
        wait_until(lambda: self.ask(is_new))

    # -- what can be seen --------------------------------------------------------------------

    def ask(self, expression: str) -> Any:
        """Return what an expression says of the page, which itself runs no script."""
        return self.do("WebDriver:ExecuteScript", script=f"return {expression}", args=[])

    def screenshot(self) -> bytes:
        """Return what the window shows, as a PNG."""
        return base64.b64decode(self.do("WebDriver:TakeScreenshot", full=False))

    @property
    def asked(self) -> list[str]:
        """Every request that was answered since the start: method and address."""
        return list(self.in_chrome("return window.asked"))

    @property
    def said(self) -> list[str]:
        """What the console says against a page."""
        return [said for said in self.in_chrome(_SAID) if not said.startswith("Clear-Site-Data: ")]
