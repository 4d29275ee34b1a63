"""A poster as a PDF: what is in the file, what is on the page."""

import hashlib
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageDraw, ImageFont

from relay.errors import ConfigInvalid, FontMissing
from relay.posters import fonts
from relay.posters.pdf import make_pdf
from relay.posters.poster import Paper, Poster, direction_of
from relay.web.catalogues import LANGUAGES
from tests.posters.papers import (
    DEMO,
    DPI,
    POSTERS,
    drawn,
    elsewhere,
    ink_share,
    inked,
    page_stream,
    run,
    streams,
)

NAMES = list(POSTERS)
# A word in which letters join, stack or change places.
WORDS = {
    "Arabic": "المدافعات",
    "Devanagari": "स्त्रियों",
    "Bengali": "শক্তি",
    "Burmese": "ကျွန်ုပ်",
}
SCRIPTS = [*WORDS]
STRINGS = re.compile(r"<[0-9a-f\s]*>|\((?:\\.|[^\\)])*\)", re.DOTALL)
# ISO 32000-1, table 74: every operator that chooses a colour, and the two that name none.
COLOURS = re.compile(r"(?<![\w/])(CS|cs|SC|SCN|sc|scn|RG|rg|K|k|G|g|sh|gs|Do|BI)(?![\w])")


@cache
def made(name: str) -> bytes:
    return make_pdf(POSTERS[name])


def test_there_is_a_poster_of_each_kind_in_every_language_of_the_form() -> None:
    assert {*DEMO.languages} == {*LANGUAGES}
    assert len(NAMES) == len(LANGUAGES) * 4


@pytest.mark.parametrize("name", NAMES)
def test_a_poster_is_one_page_of_embedded_letters_and_no_picture(name: str) -> None:
    width, height = POSTERS[name].paper.size_pt
    about = run("pdfinfo", "-", pdf=made(name))
    assert "Pages:           1" in about
    assert f"Page size:       {width:g} x {height:g} pts" in about
    head, _, *used = run("pdffonts", "-", pdf=made(name)).splitlines()
    assert used
    columns = [head.index(word) for word in ("emb", "sub")]
    for line in used:
        assert [line[at : at + 3] for at in columns] == ["yes", "yes"], line
    assert run("pdfimages", "-list", "-", pdf=made(name)).splitlines()[2:] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_poster_names_no_maker_no_program_and_no_time(name: str) -> None:
    told = run("exiftool", "-fast", "-s", "-G1", "-", pdf=made(name)).splitlines()
    groups = {line.split("]")[0].strip("[ ") for line in told}
    assert groups - {"System"} == {"ExifTool", "File", "PDF"}
    of_file = {line.split("]")[1].split(":")[0].strip() for line in told if "[PDF]" in line}
    assert of_file == {"PDFVersion", "Linearized", "PageCount"}
    rest = made(name)
    for word in (b"/Info", b"/ID", b"/Metadata", b"/Producer", b"/Creator", b"/Title", b"Date"):
        assert word not in rest
    assert not re.search(rb"fpdf|py-pdf|20\d\d[-:]?[01]\d", b"".join(streams(rest)[:1]) + rest[:64])


@pytest.mark.parametrize("name", NAMES)
def test_a_poster_names_no_colour_so_that_all_of_it_is_grey(name: str) -> None:
    drawing = re.sub(
        r"<[0-9a-f\s]*>|\((?:\\.|[^\\)])*\)", "", page_stream(made(name)), flags=re.DOTALL
    )
    assert not COLOURS.findall(drawing)
    assert b"Device" not in made(name)
    assert b"ICC" not in made(name)


@pytest.mark.parametrize("name", ["en-write-in-a4", "my-general-letter", "zh-write-in-a4"])
def test_two_builds_are_the_same_bytes_in_any_process_and_place(name: str) -> None:
    digest = hashlib.sha256(made(name)).hexdigest()
    for zone, seed in (("Asia/Tehran", "1"), ("America/New_York", "2")):
        assert elsewhere(POSTERS[name], TZ=zone, PYTHONHASHSEED=seed, LC_ALL="C") == digest


def test_no_clock_is_read_into_a_poster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert make_pdf(POSTERS["fa-general-a4"]) == made("fa-general-a4")


@pytest.mark.parametrize("name", NAMES)
def test_a_poster_fills_the_page_and_nothing_is_cut(name: str) -> None:
    page = drawn(made(name))
    left, top, right, bottom = inked(page)
    edge = DPI * 36 // 72 - 5  # the margin, less what a letter may lean out
    assert left >= edge
    assert top >= edge
    assert right <= page.width - edge
    assert bottom <= page.height - edge
    assert right - left > 0.5 * page.width
    assert bottom - top > 0.75 * page.height
    assert 0.03 < ink_share(page) < 0.4, "thick letters, and no more than letters"


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("a4")])
def test_letters_are_large_enough_to_be_read_in_a_photo(name: str) -> None:
    sizes = [float(size) for size in re.findall(r"/F\d+ ([\d.]+) Tf", page_stream(made(name)))]
    assert max(sizes) >= 40, "15 mm"


def set_by_another(poster: Poster, engine: ImageFont.Layout) -> Image.Image:
    """The same words by the same font, set by Pillow: with HarfBuzz, or letter after letter."""
    face = fonts.faces_for(poster.words)[0]
    font = ImageFont.truetype(str(face.file), 120, layout_engine=engine)
    page = Image.new("L", (2400, 400), 255)
    ImageDraw.Draw(page).text((100, 100), poster.words, 0, font=font)
    return page.crop(inked(page))


@pytest.mark.parametrize("script", SCRIPTS)
def test_letters_are_joined_and_marks_placed_as_the_script_wants(script: str) -> None:
    poster = Poster(language=script, words=WORDS[script])
    ours = drawn(make_pdf(poster), dpi=72)
    ours = ours.crop(inked(ours))

    def difference(engine: ImageFont.Layout) -> float:
        other = set_by_another(poster, engine).resize(ours.size)
        return ink_share(ImageChops.invert(ImageChops.difference(ours, other))) / ink_share(ours)

    assert difference(ImageFont.Layout.RAQM) < 0.15, "their outlines at most"
    assert difference(ImageFont.Layout.BASIC) > 0.4


def letters(text: str) -> list[str]:
    """The words, each with its letters sorted: readers turn ligatures of Arabic round."""
    marks = "\u200b\u200e\u200f\u202a\u202b\u202c\f"
    bare = text.translate({ord(mark): None for mark in marks})
    return sorted("".join(sorted(word)) for word in bare.split())


@pytest.mark.parametrize("name", ["ar-general-a4", "ru-general-a4", "en-general-a4"])
def test_the_words_can_be_taken_from_the_page_again(name: str) -> None:
    read = run("pdftotext", "-layout", "-", "-", pdf=made(name))
    poster = POSTERS[name]
    assert letters(read) == letters(f"{poster.words} {poster.hashtag}")


def test_lines_of_arabic_begin_at_the_right_and_a_hashtag_keeps_its_sign_in_front() -> None:
    assert [direction_of(words) for words in ("أنا A", "«أنا»", "A أنا", "1")] == [
        "rtl", "rtl", "ltr", "ltr",
    ]  # fmt: skip
    feet = []
    for poster in (Poster(language="ar", words="لا"), Poster(language="en", words="No")):
        page = drawn(make_pdf(replace(poster, hashtag="#Enough2026")), dpi=72)
        feet.append(page.crop((0, page.height - 80, page.width, page.height)))
    assert not ImageChops.difference(*feet).getbbox()


def test_a_line_of_underscores_is_a_line_to_write_on() -> None:
    pdf = make_pdf(Poster(language="en", words="To\n____\nnow"))
    ((x, _, width, height),) = re.findall(
        r"([\d.]+) ([\d.]+) ([\d.]+) -?([\d.]+) re f", page_stream(pdf)
    )
    assert float(x) == 36
    assert float(width) > 500
    assert float(height) > 2
    assert "_" not in run("pdftotext", "-", "-", pdf=pdf)


def test_letters_of_which_there_is_no_font_are_refused() -> None:
    for words, code in (("ഞാൻ", "U+0D1E"), ("peace \N{DOVE OF PEACE}", "U+1F54A")):
        with pytest.raises(ConfigInvalid, match=re.escape(code)):
            make_pdf(Poster(language="xx", words=words))
    with pytest.raises(ConfigInvalid, match=r"U\+1F54A"):
        make_pdf(Poster(language="en", words="peace", hashtag="#\N{DOVE OF PEACE}"))


def test_what_would_be_too_small_to_read_or_nothing_is_refused() -> None:
    with pytest.raises(ConfigInvalid, match="too long for a poster"):
        make_pdf(Poster(language="en", words="many words " * 150))
    with pytest.raises(ConfigInvalid, match="without a letter"):
        make_pdf(Poster(language="en", words="\N{ZERO WIDTH SPACE}"))
    with pytest.raises(ConfigInvalid, match="hashtag"):
        make_pdf(Poster(language="en", words="few", hashtag="#" + "long" * 40))


def test_a_missing_font_names_the_package_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = fonts.Face(places=(Path("/nowhere/Noto.ttf"),), package="fonts-noto-core")
    monkeypatch.setattr(fonts, "LATIN", nowhere)
    with pytest.raises(FontMissing, match=r"Noto\.ttf is missing.*apt-get .*fonts-noto-core"):
        make_pdf(Poster(language="en", words="few"))


@pytest.mark.parametrize("paper", Paper)
def test_a_single_word_is_as_large_as_the_sheet_is_wide(paper: Paper) -> None:
    page = drawn(make_pdf(Poster(language="en", words="Enough", paper=paper)))
    left, _, right, _ = inked(page)
    assert right - left > 0.8 * page.width
