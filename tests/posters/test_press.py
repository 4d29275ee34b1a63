"""Posters for a service: once each, one at a time, apart from it."""

import asyncio
import sys
import time

import pytest

from relay.errors import PosterUnmade
from relay.posters import press as pressing
from relay.posters.pdf import make_pdf
from relay.posters.poster import Poster
from relay.posters.press import Press

POSTER = Poster(language="en", words="Enough", hashtag="#A")


class Counted(Press):
    """Counts what it draws."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[Poster] = []
        self.now = 0

    async def _draw(self, poster: Poster) -> bytes:
        self.drawn.append(poster)
        self.now += 1
        assert self.now == 1, "one at a time"
        try:
            return await super()._draw(poster)
        finally:
            self.now -= 1


async def test_a_flood_draws_each_poster_once_and_holds_nobody_up() -> None:
    press = Counted()
    other = Poster(language="my", words="\u1019\u103c\u1014\u103a\u1019\u102c")
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.monotonic()
            await asyncio.sleep(0)
            longest = max(longest, time.monotonic() - before)
            await asyncio.sleep(0.01)

    watching = asyncio.create_task(watch())
    pdfs = await asyncio.gather(*(press.print(one) for one in [POSTER, other] * 100))
    watching.cancel()
    assert press.drawn == [POSTER, other]
    assert {*pdfs} == {make_pdf(POSTER), make_pdf(other)}
    assert longest < 0.5


async def test_a_poster_that_fails_says_why_and_is_not_tried_at_each_request() -> None:
    press = Press()
    poster = Poster(language="xx", words="\u0d1e")
    for _ in range(2):
        with pytest.raises(PosterUnmade) as refused:
            await press.print(poster)
        assert "U+0D1E" in str(refused.value.__cause__)
    started = time.monotonic()
    with pytest.raises(PosterUnmade):
        await press.print(poster)
    assert time.monotonic() - started < 0.1
    assert await press.print(POSTER), "the others are drawn"


@pytest.mark.parametrize(
    ("program", "time_s"),
    [
        (("-c", "import time; time.sleep(60)"), 0.2),
        (("-c", "import os; os.abort()"), 30),
        (("-c", ""), 30),
    ],
)
async def test_a_program_that_hangs_or_dies_costs_one_poster(
    monkeypatch: pytest.MonkeyPatch, program: tuple[str, ...], time_s: float
) -> None:
    monkeypatch.setattr(pressing, "_PROGRAM", program)
    monkeypatch.setattr(pressing, "_TIME_S", time_s)
    with pytest.raises(PosterUnmade):
        await Press().print(POSTER)


async def test_the_service_itself_loads_nothing_that_draws() -> None:
    code = (
        "import sys, relay.web.serve; "
        "print(*{name.partition('.')[0] for name in sys.modules} & {'fpdf', 'PIL', 'fontTools'})"
    )
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
    )
    assert (await child.communicate())[0].strip() == b""
