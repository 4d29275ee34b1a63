"""Draw one poster as a PDF of one page, in DeviceGray, with nothing in it but what is printed."""

import unicodedata
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import uharfbuzz
from fpdf import FPDF
from fpdf.enums import TextMode
from fpdf.output import OutputProducer

from relay.errors import ConfigInvalid
from relay.posters.fonts import Face, faces_for
from relay.posters.lines import Line, lay_out
from relay.posters.poster import Poster, direction_of

_MARGIN_PT = 36  # many printers leave as much white at the edges
_HASHTAG_PT, _SMALLEST_HASHTAG_PT = 40, 12
_UNIT_PT = 100  # what is measured at; everything grows with it
_RULE_EM = 0.06
_OVER_EM = 0.035  # how wide the outlines of a font without a bold cut are drawn over
_UNSEEN = (
    "\r\n\t\N{ZERO WIDTH SPACE}\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
    "\N{LEFT-TO-RIGHT MARK}\N{RIGHT-TO-LEFT MARK}\N{ARABIC LETTER MARK}"
)


def make_pdf(poster: Poster) -> bytes:
    """Return the poster: the same bytes from the same fonts, wherever and whenever.

    Raises:
        FontMissing: names Debian's package.
        ConfigInvalid: the words don't fit, or hold a letter of which there is no font.
    """
    with closing(_Sheet(poster)) as sheet:
        return sheet.draw()


class _Bare(OutputProducer):
    """Leaves out the dictionary of who made a file, with what, and when."""

    def _add_info(self) -> Any:
        return None


class _Document(FPDF):
    """Without the identifier that is otherwise made of a clock."""

    def file_id(self) -> None:
        return None


class _Sheet:
    """One poster, and the fonts that its words need."""

    def __init__(self, poster: Poster) -> None:
        self._poster = poster
        self._width, self._height = poster.paper.size_pt
        self._measure = cache(self._width_of)
        self._faces = faces_for(f"{poster.words}\n{poster.hashtag}")
        files = [face.file for face in self._faces]  # before one is open
        self._pdf = _Document(unit="pt", format=poster.paper.size_pt)
        self._pdf.set_auto_page_break(auto=False)
        self._pdf.set_margin(0)
        self._pdf.c_margin = 0
        self._pdf.set_display_mode("default", "default")
        names = [f"face{number}" for number, _ in enumerate(self._faces)]
        self._letters = set(_UNSEEN).union(*map(self._add_font, names, files))
        self._pdf.set_fallback_fonts(names[1:])
        # It begins in DeviceGray, black, and nothing here names a colour. Source: ISO 32000-1, 8.4.
        self._pdf.add_page()
        self._pdf.set_font(names[0], size=_UNIT_PT)
        self._shape(poster.words)

    def draw(self) -> bytes:
        self._require_letters()
        foot_pt = self._draw_hashtag()
        layout = lay_out(
            self._poster.words,
            width_pt=self._width - 2 * _MARGIN_PT,
            height_pt=self._height - 2 * _MARGIN_PT - foot_pt,
            measure=self._measure,
            ink=self._ink_of,
        )
        for line, baseline_pt in zip(layout.lines, layout.baselines_pt, strict=True):
            self._draw_line(line, layout.size_pt, _MARGIN_PT + baseline_pt)
        return bytes(self._pdf.output(output_producer_class=_Bare))

    def _shape(self, words: str) -> None:
        """Join letters and place marks as the language does; all lines begin where the first does.

        Line by line, one that begins with a foreign word would run the other way.
        """
        self._pdf.set_text_shaping(direction=direction_of(words), language=self._poster.language)

    def close(self) -> None:
        """Close the files of the fonts."""
        for font in self._pdf.fonts.values():
            font.close()  # type: ignore[union-attr]  # all are added from files

    def _add_font(self, name: str, file: Path) -> set[str]:
        """Make a font known; return the letters that it has."""
        self._pdf.add_font(name, fname=file)
        return {chr(code) for code in self._pdf.fonts[name].cmap}  # type: ignore[union-attr]

    def _require_letters(self) -> None:
        """Refuse what would come out as an empty box."""
        words = self._poster.words + self._poster.hashtag
        unknown = [letter for letter in words if letter not in self._letters]
        if unknown:
            name = unicodedata.name(unknown[0], "a letter")
            raise ConfigInvalid(f"posters have no U+{ord(unknown[0]):04X}, {name}: no font has it")

    def _draw_hashtag(self) -> float:
        """Write the hashtag at the foot; return the height in points that it takes away."""
        words = self._poster.hashtag
        if not words:
            return 0
        self._shape(words)
        size_pt = min(_HASHTAG_PT, (self._width - 2 * _MARGIN_PT) / self._measure(words))
        if size_pt < _SMALLEST_HASHTAG_PT:
            raise ConfigInvalid("hashtag: too long for a poster")
        above, below = self._ink_of(words)
        line = Line(words=words, above=above, below=below)
        self._draw_line(line, size_pt, self._height - _MARGIN_PT - below * size_pt)
        self._shape(self._poster.words)
        return (above + below + 0.5) * size_pt

    def _draw_line(self, line: Line, size_pt: float, baseline_pt: float) -> None:
        if line.is_rule:
            width, height = self._width - 2 * _MARGIN_PT, _RULE_EM * size_pt
            self._pdf.rect(_MARGIN_PT, baseline_pt - height, width, height, style="F")
            return
        self._pdf.set_font("face0", size=size_pt)
        self._pdf.text_mode = TextMode.FILL
        if any(face.is_thin and any(map(face.is_for, line.words)) for face in self._faces):
            self._pdf.text_mode = TextMode.FILL_STROKE
            self._pdf.set_line_width(_OVER_EM * size_pt)
        # A cell sets its words at 0.5 of its height and 0.3 of their size: here, at 0.8 of both.
        self._pdf.set_xy(0, baseline_pt - 0.8 * size_pt)
        self._pdf.cell(self._width, size_pt, line.words, align="C")

    def _width_of(self, words: str) -> float:
        """Return how wide they are, in ems."""
        self._pdf.set_font("face0", size=_UNIT_PT)
        return self._pdf.get_string_width(words) / _UNIT_PT

    def _ink_of(self, words: str) -> tuple[float, float]:
        """Return how far their strokes reach above and below the line that they stand on, in ems.

        Far less than the font says, which makes room for the tallest stack that it can build.
        """
        reaches = [
            reach
            for face in self._faces
            for line in words.splitlines()
            for reach in _reaches(_load(face), line)
        ]
        if not reaches:
            raise ConfigInvalid("a poster without a letter")
        return max(above for above, _ in reaches), max(below for _, below in reaches)


def _load(face: Face) -> uharfbuzz.Font:
    return uharfbuzz.Font(uharfbuzz.Face(uharfbuzz.Blob.from_file_path(face.file)))


def _reaches(font: uharfbuzz.Font, line: str) -> list[tuple[float, float]]:
    """Return for each letter that the font has how far it reaches above and below, in ems."""
    buffer = uharfbuzz.Buffer()
    buffer.add_str(line)
    buffer.guess_segment_properties()
    uharfbuzz.shape(font, buffer)
    reaches = []
    for glyph, at in zip(buffer.glyph_infos, buffer.glyph_positions, strict=True):
        extents = font.get_glyph_extents(glyph.codepoint)
        if glyph.codepoint and extents is not None and extents.height:  # else it is unseen
            top = at.y_offset + extents.y_bearing
            reaches.append((top / font.face.upem, -(top + extents.height) / font.face.upem))
    return reaches
