"""Draw docs/screens/: each page at two widths, in four languages side by side; and posters."""

import io
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps
from playwright.sync_api import Page, sync_playwright

from relay.posters.pdf import make_pdf
from relay.posters.poster import kinds_in, poster_of
from tests.browser.chromium import CHROMIUM, FLAGS
from tests.conftest import ROOT
from tests.posters.papers import drawn
from tests.web import every_page as pages

_LANGUAGES = ("en", "ar", "hi", "my")
_SCRIPTS = ("en", "ar", "hi", "my", "am", "zh")
_WIDTHS = (320, 1000)
_GAP_PX = 24
_PAGES = {
    "languages",
    "form",
    "form-DayUnreadable",
    "closed",
    "cover",
    "held",
    "thrown",
    "sent",
    "receipt-mistyped",
    "poster",
    "standing-none",
    "standing-sealed",
    "standing-returned",
    "error",
}


def draw(page: Page, folder: Path) -> None:
    """Write one picture for each page and width."""
    shots: dict[tuple[str, int], list[Image.Image]] = {}
    for code in _LANGUAGES:
        for name, response in pages.every_page(pages.make_pages(), code):
            if name not in _PAGES or (name == "languages" and code != "en"):
                continue
            for width in _WIDTHS:
                page.set_viewport_size({"width": width, "height": 400})
                page.set_content(str(response.text))
                shot = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
                shots.setdefault((name, width), []).append(shot)
    for (name, width), row in shots.items():
        size = (len(row) * (width + _GAP_PX) - _GAP_PX, max(shot.height for shot in row))
        sheet = Image.new("RGB", size, "#888")
        for at, shot in enumerate(row):
            sheet.paste(shot, (at * (width + _GAP_PX), 0))
        few = sheet.quantize(64, dither=Image.Dither.NONE).convert("RGB")  # half the size
        few.save(folder / f"{name}-{width}.webp", lossless=True, quality=80)


def draw_posters(folder: Path) -> None:
    """Write one picture for each script: both posters, as they are printed."""
    for code in _SCRIPTS:
        kinds = kinds_in(pages.PUBLIC, code)
        sheets = [drawn(make_pdf(poster_of(pages.PUBLIC, code, kind)), dpi=72) for kind in kinds]
        size = (sum(one.width for one in sheets) + _GAP_PX, sheets[0].height)
        both = Image.new("L", size, 128)
        for at, sheet in enumerate(sheets):
            both.paste(sheet, (at * (sheet.width + _GAP_PX), 0))
        both.quantize(16, dither=Image.Dither.NONE).save(
            folder / f"poster-{code}.png", optimize=True
        )


def a_photo() -> bytes:
    """A figure behind a poster, as it would be sent, small."""
    scene = ImageOps.colorize(Image.linear_gradient("L"), "#b9c7d3", "#6f7a66").resize((320, 240))
    drawing = ImageDraw.Draw(scene)
    drawing.rounded_rectangle((90, 60, 230, 260), 40, "#3d4f6b")
    drawing.rectangle((70, 50, 250, 170), "#f4f1e8", "#888")
    for row, width in enumerate((140, 110, 150, 90)):
        drawing.rectangle((85, 70 + 24 * row, 85 + width, 80 + 24 * row), "#333")
    drawing.rectangle((8, 90, 48, 140), "black")
    content = io.BytesIO()
    scene.save(content, "JPEG")
    return content.getvalue()


def main() -> None:
    """Draw them all anew."""
    pages.preview = a_photo  # type: ignore[assignment]
    folder = ROOT / "docs/screens"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.webp"):
        old.unlink()
    draw_posters(folder)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        draw(browser.new_page(), folder)
        browser.close()


if __name__ == "__main__":
    main()
