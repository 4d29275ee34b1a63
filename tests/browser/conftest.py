"""Either browser, as small as a phone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.chromium import PHONE, Browser, Chromium
from tests.browser.firefox import Firefox


@pytest.fixture(params=["chromium", "firefox"])
def browser(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Browser]:
    starting = (
        Chromium.started() if request.param == "chromium" else Firefox.started(tmp_path / "home")
    )
    with starting as started:
        started.resize(*PHONE)
        yield started
