"""Where lines end, and how large letters can be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import ConfigInvalid
from relay.posters.lines import LARGEST_PT, SMALLEST_PT, Layout, lay_out, pieces_of

WIDTH, HEIGHT = 500.0, 700.0


def measure(words: str) -> float:
    return 0.6 * len(words)


def laid(words: str) -> Layout:
    return lay_out(
        words, width_pt=WIDTH, height_pt=HEIGHT, measure=measure, ink=lambda _: (0.7, 0.2)
    )


@given(st.lists(st.text("abcdefgh", min_size=1, max_size=12), min_size=1, max_size=40))
def test_all_lines_fit_whole_and_in_order(words: list[str]) -> None:
    layout = laid(" ".join(words))
    assert " ".join(line.words for line in layout.lines).split() == words
    assert SMALLEST_PT <= layout.size_pt <= LARGEST_PT
    for line in layout.lines:
        assert measure(line.words) * layout.size_pt <= WIDTH
    tops = [at - 0.7 * layout.size_pt for at in layout.baselines_pt]
    bottoms = [at + 0.2 * layout.size_pt for at in layout.baselines_pt]
    assert tops[0] >= -1e-6
    assert bottoms[-1] <= HEIGHT + 1e-6
    for bottom, top in zip(bottoms, tops[1:], strict=False):
        assert top > bottom, "no line touches the next"


def test_letters_are_as_large_as_they_can_be() -> None:
    size = laid("enough").size_pt
    assert size <= WIDTH / measure("enough") < size + 2


def test_lines_are_about_equally_long() -> None:
    lines = [line.words for line in laid("aa bb cc dd ee ff gg hh ii jj kk ll mm nn oo").lines]
    assert max(map(len, lines)) - min(map(len, lines)) <= 6, lines


def test_a_line_of_underscores_keeps_its_place_and_its_room() -> None:
    layout = laid("To the government of\n____\nnow")
    (at,) = (number for number, line in enumerate(layout.lines) if line.is_rule)
    assert layout.lines[at + 1].words == "now"
    step = layout.baselines_pt[at] - layout.baselines_pt[at - 1]
    assert step > layout.size_pt, "room for a name in letters as large as the print"


@pytest.mark.parametrize(
    ("words", "pieces"),
    [
        ("two words", ["two ", "words "]),
        ("held\u00a0together, «so\u202f»", ["held\u00a0together, ", "«so\u202f» "]),
        ("我支持。你", ["我", "支", "持。", "你 "]),
        ("「我」说", ["「我」", "说 "]),
        ("我\u200b支持", ["我", "支持 "]),
        ("မြန်မာ", ["မြန်", "မာ "]),
        ("ဗုဒ္ဓ", ["ဗုဒ္ဓ "]),
        ("သင်္ဘော", ["သင်္ဘော "]),
    ],
)
def test_a_line_may_end_where_the_script_lets_it(words: str, pieces: list[str]) -> None:
    assert pieces_of(words) == pieces


def test_what_fits_in_no_letters_is_refused() -> None:
    for words in ("endless" * 20, "many words " * 300):
        with pytest.raises(ConfigInvalid, match="too long"):
            laid(words)
