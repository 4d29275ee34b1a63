"""The cover page with scripts off, in Chromium and in Firefox as near to Tor Browser at Safest."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from tests import photos
from tests.browser.chromium import PHONE, Browser, Chromium
from tests.browser.firefox import Firefox
from tests.conftest import Service, Starter
from tests.faces.fetch import CACHE
from tests.web.test_cover import opened

pytestmark = pytest.mark.browser
PORTRAIT = CACHE / "astronaut.png"
HEAD = (120, 0, 330, 240)  # left, top, right, bottom in the portrait
SCENE = (1280, 960)
MESSAGE = "zebras over the quiet river"
_BOX = "(({x, y, width, height}) => [x, y, width, height])({}.getBoundingClientRect())"
_FOCUSED = """(e => ({
    name: e.tagName == "BUTTON" ? e.value : e.name || e.className || e.tagName,
    style: getComputedStyle(e).outlineStyle,
    width: parseFloat(getComputedStyle(e).outlineWidth),
    clip: getComputedStyle(e).clipPath,
}))(document.activeElement)"""


@pytest.fixture
def browser(browser: Browser) -> Iterator[Browser]:
    yield browser
    assert browser.said == [], "nothing was blocked, nothing is missing"


@pytest.fixture
def service(lasting: Starter) -> Service:
    return lasting()


def scene(*widths: int) -> Image.Image:
    """A calm scene with a head of each width (px), side by side from the left."""
    picture = ImageOps.colorize(Image.linear_gradient("L"), "#a8c0d8", "#586048").resize(SCENE)
    with Image.open(PORTRAIT) as portrait:
        head = portrait.convert("RGB").crop(HEAD)
    left, top, bottom = 40, 40, 40
    for width in widths:
        height = width * head.height // head.width
        if left + width > picture.width - 40:
            left, top = 40, bottom
        picture.paste(head.resize((width, height)), (left, top))
        left, bottom = left + width + 60, max(bottom, top + height + 60)
    return picture


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One face large, one small."""
    path = tmp_path_factory.mktemp("phone") / photos.FILE_NAME
    path.write_bytes(photos.dirty_jpeg(scene(500, 110)))
    return path


def choose(browser: Browser, url: str, photo: Path) -> None:
    browser.goto(f"{url}/en/")
    browser.choose("[name=photo]", photo)
    browser.write("[name=message]", MESSAGE)


def reach_cover(browser: Browser, service: Service, photo: Path) -> None:
    choose(browser, service.url, photo)
    browser.click("#send")
    assert title(browser) == "Not sent yet"


def words(browser: Browser, css: str) -> str:
    return str(browser.ask(f"document.querySelector('{css}').innerText"))


def title(browser: Browser) -> str:
    return str(browser.ask("document.title"))


def box(browser: Browser, css: str) -> list[float]:
    """Left, top, width and height, px from the upper left corner of what the window shows."""
    found: list[float] = browser.ask(_BOX.replace("{}", f"document.querySelector('{css}')", 1))
    return found


def near(one: list[float], other: list[float]) -> bool:
    return all(abs(a - b) <= 1 for a, b in zip(one, other, strict=True))


def shown_picture(browser: Browser) -> Image.Image:
    """What the window shows of the picture, from its upper left corner; px of the page."""
    browser.ask("document.querySelector('.picture').scrollIntoView()")
    seen = Image.open(io.BytesIO(browser.screenshot())).convert("RGB")
    left, top, width, height = box(browser, ".picture img")
    return seen.crop((round(left), round(top), round(left + width), round(top + height)))


def darkness(browser: Browser, number: int) -> tuple[int, ...]:
    """The lightest values in the middle of a square, as the window shows it."""
    picture = shown_picture(browser)
    whole = box(browser, ".picture img")
    left, top, width, height = box(browser, f"[name=c{number}]")
    x, y = left - whole[0], top - whole[1]
    middle = picture.crop((round(x) + 6, round(y) + 6, round(x + width) - 6, round(y + height) - 6))
    lightest = middle.getextrema()
    return tuple(int(high) for _, high in lightest)  # type: ignore[misc] # of three bands


def test_the_page_fits_a_small_phone_and_the_squares_lie_on_the_picture(
    browser: Browser, service: Service, photo: Path
) -> None:
    reach_cover(browser, service, photo)
    _, top, _, height = box(browser, "h1")
    assert top >= 0
    assert top + height <= PHONE[1], "seen without scrolling"
    assert browser.ask("document.querySelector('h1').innerText") == "Not sent yet"
    for width in (320, 1000):
        browser.resize(width, PHONE[1])
        assert browser.ask("document.documentElement.scrollWidth") <= width
        picture = box(browser, ".picture img")
        assert browser.ask("document.querySelector('.picture img').naturalWidth") > 0
        assert near(box(browser, ".grid"), picture)
        squares = browser.ask(
            f"[...document.querySelectorAll('.grid input')].map(e => {_BOX.replace('{}', 'e', 1)})"
        )
        assert len(squares) == 12 * 9
        assert min(min(wide, high) for _, _, wide, high in squares) >= 24
        assert near(squares[0][:2], picture[:2])
        ends = [sum(picture[0::2]), sum(picture[1::2])]
        assert near([sum(squares[-1][0::2]), sum(squares[-1][1::2])], ends)
        for number, (left, top, wide, high) in enumerate(squares):
            row, column = divmod(number, 12)
            assert near([wide, high], [picture[2] / 12, picture[3] / 9])
            assert near([left - picture[0], top - picture[1]], [column * wide, row * high])


def test_from_the_photo_to_the_receipt_with_one_request_a_page(
    browser: Browser, service: Service, photo: Path
) -> None:
    reach_cover(browser, service, photo)
    browser.click("#send")
    assert title(browser) == "Not sent yet", "a tick is missing"
    browser.click("[name=c0]")
    browser.click("[name=c107]")
    browser.click("[name=c107]")
    assert darkness(browser, 0) == (0, 0, 0), "she sees at once what she has ticked"
    assert darkness(browser, 107) != (0, 0, 0), "and what she no longer has"
    browser.click("[value=again]")
    assert title(browser) == "Not sent yet"
    assert browser.ask("document.querySelector('[name=c0]').checked")
    browser.click("[name=c0]")
    assert max(darkness(browser, 0)) <= 8, "it is black in the picture itself"
    browser.click("[name=c0]")
    assert opened(service) == {}
    browser.click("[name=looked]")
    browser.click("#send")
    assert title(browser) == "Sent"
    assert browser.ask("document.querySelector('img').naturalWidth") > 0
    assert "Faces that we covered: 2." in browser.ask("document.body.innerText")
    asked = [request.replace(service.url, "") for request in browser.asked]
    pages = [one for one in asked if "/progress/" not in one and one != "GET /clear"]
    assert pages == ["GET /en/", "POST /en/", "POST /en/cover", "POST /en/cover"]
    assert asked.count("GET /clear") == 3
    assert len(asked) == 4 + 3 + 1
    ((submission, _),) = opened(service).values()
    assert submission.message == MESSAGE
    assert submission.covers == 3


def test_what_is_sent_is_sent_once_however_often_she_goes_back_and_resends(
    browser: Browser, service: Service, photo: Path
) -> None:
    reach_cover(browser, service, photo)
    browser.click("[name=looked]")
    browser.click("#send")
    receipt = words(browser, "#receipt")
    browser.resend()
    assert words(browser, "#receipt") == receipt
    require_nothing_behind(browser)
    browser.resend()
    assert title(browser) == "Not sent yet", "the photo once more"
    browser.click("[name=looked]")
    browser.click("#send")
    assert words(browser, "#receipt") == receipt
    assert len(opened(service)) == 1


def test_what_is_thrown_away_stays_away(browser: Browser, service: Service, photo: Path) -> None:
    reach_cover(browser, service, photo)
    browser.click("[value=drop]")
    assert title(browser) == "Not sent"
    assert words(browser, "h1") == "Thrown away. This picture was not sent."
    browser.resend()
    assert words(browser, "h1") == "Not sent. Choose the photo again."
    assert browser.ask("document.querySelector('.picture')") is None
    require_nothing_behind(browser)
    browser.back()
    assert browser.ask("document.querySelector('#message').value") == ""
    assert browser.ask("document.querySelector('#photo').value") == ""
    assert opened(service) == {}


def require_nothing_behind(browser: Browser) -> None:
    """Go back: the browser has kept no page with her picture, and asks before it sends again."""
    asked = len(browser.asked)
    browser.back()
    assert browser.ask("document.querySelector('.picture, form')") is None
    assert MESSAGE not in browser.ask("document.documentElement.innerHTML")
    assert len(browser.asked) == asked


def test_the_keyboard_alone_will_do(browser: Browser, service: Service, photo: Path) -> None:
    reach_cover(browser, service, photo)
    browser.press("Tab")
    assert focused(browser) == "leave"
    browser.press("Tab")
    assert focused(browser) == "past"
    browser.press("Enter")
    assert focused(browser) == "rest", "nobody has to walk over each square"
    browser.press("Shift+Tab")
    assert focused(browser) == "c107"
    browser.press("Space")
    assert darkness(browser, 107) == (0, 0, 0)
    browser.press("Enter")
    assert focused(browser) == "looked", "this key presses Send, and a tick is missing"
    browser.click("[value=again]")
    assert title(browser) == "Not sent yet"
    assert browser.ask("document.querySelector('[name=c107]').checked")

    squares = [f"c{number}" for number in range(108)]
    for name in [
        "leave",
        "past",
        *squares,
        "rest",
        "SUMMARY",
        "v1",
        "v2",
        "looked",
        "send",
        "again",
    ]:
        browser.press("Tab")
        assert focused(browser) == name
        if name in {"c0", "c107", "looked"}:
            browser.press("Space")
        if name == "SUMMARY":
            browser.press("Enter")
    browser.press("Tab")
    assert focused(browser) == "drop"
    browser.press("Shift+Tab")
    browser.press("Shift+Tab")
    browser.leave_by("Enter")
    assert title(browser) == "Sent"
    ((submission, _),) = opened(service).values()
    assert submission.covers == 3, "two faces and the first square; the last was taken off again"


def focused(browser: Browser) -> str:
    """What has the focus; it can be seen that it has."""
    found = browser.ask(_FOCUSED)
    assert found["style"] != "none", found
    assert found["width"] >= (3 if found["name"].startswith("c") else 1), found
    assert found["clip"] == "none", found
    return str(found["name"])


def test_the_other_way_round_she_sees_at_once_what_she_keeps(
    browser: Browser, service: Service, photo: Path
) -> None:
    reach_cover(browser, service, photo)
    browser.click("[name=c107]")
    browser.click("#rest")
    assert darkness(browser, 106) == (0, 0, 0)
    assert darkness(browser, 107) != (0, 0, 0)
    browser.click("[value=again]")
    assert max(darkness(browser, 106)) == 0
    assert max(darkness(browser, 107)) > 64


def test_a_crowd_is_said_to_be_one(browser: Browser, service: Service, tmp_path: Path) -> None:
    crowd = tmp_path / photos.FILE_NAME
    crowd.write_bytes(photos.dirty_jpeg(scene(*[120] * 12)))
    reach_cover(browser, service, crowd)
    assert "There are many faces in this picture" in words(browser, "main strong")
    assert browser.ask("document.documentElement.scrollWidth") <= PHONE[0]
    assert browser.ask("document.querySelector('details').open") is False


def test_each_square_has_a_name_and_a_place_without_a_style(
    browser: Browser, service: Service, photo: Path
) -> None:
    reach_cover(browser, service, photo)
    names = browser.ask("[...document.querySelectorAll('.grid input')].map(e => e.ariaLabel)")
    assert names == [str(column) for _ in range(9) for column in range(1, 13)]
    rows = browser.ask("[...document.querySelectorAll('.grid [role=group]')].map(e => e.ariaLabel)")
    assert rows == [f"Row {row}" for row in range(1, 10)]
    rest = "[...document.querySelectorAll('main input:not([type=hidden], [hidden], .grid *)')]"
    assert browser.ask(f"{rest}.every(e => e.labels.length)")
    browser.resize(1000, PHONE[1])
    browser.ask("document.querySelector('style').remove()")
    picture, first, last = (box(browser, css) for css in ("img", "[name=c0]", "[name=c107]"))
    assert first[1] >= picture[1] + picture[3], "under the picture"
    assert first[1] == box(browser, "[name=c11]")[1] < box(browser, "[name=c12]")[1] < last[1]
    browser.click("[name=c107]")
    browser.click("[name=looked]")
    browser.click("#send")
    assert title(browser) == "Sent"


def test_covers_are_black_in_high_contrast_too(service: Service, photo: Path) -> None:
    with Chromium.started(forced_colors="active") as browser:
        browser.resize(*PHONE)
        reach_cover(browser, service, photo)
        browser.click("[name=c107]")
        assert darkness(browser, 107) == (0, 0, 0)
        assert darkness(browser, 106) != (0, 0, 0)


def test_a_private_window_of_firefox_leaves_nothing_of_hers_on_the_disk(
    service: Service, photo: Path, tmp_path: Path
) -> None:
    with Firefox.started(tmp_path / "home") as browser:
        reach_cover(browser, service, photo)
        shown = browser.ask("document.querySelector('.picture img').src")
        ticket = browser.ask("document.querySelector('[name=ticket]').value")
        browser.click("[name=looked]")
        browser.click("#send")
        receipt = words(browser, "#receipt")
    preview = base64.b64decode(shown.partition(",")[2])
    content = photo.read_bytes()
    middles = [some[len(some) // 2 :][:64] for some in (content, preview, shown.encode())]
    traces = [MESSAGE, photos.FILE_NAME, ticket, receipt, receipt.replace(" ", ""), "Not sent yet"]
    left = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert len(left) > 20, "it has written what it writes"
    for path in left:
        found = path.read_bytes()
        for trace in [*(trace.encode() for trace in traces), *middles]:
            assert trace not in found, path.name
