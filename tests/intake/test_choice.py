"""What is covered for each choice, and what a draft keeps of it."""

import datetime as dt
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import KeepNothing
from relay.intake.choice import MOST_NUMBERED, SQUARES, Choice, Looked, read_choice
from relay.intake.pending import WORDS_BYTES, Acknowledgement, Draft, Words, encode_sent, find_sent
from relay.scrub.canonical import SIZES
from relay.scrub.found import BLOCK_PX, MOST_FOUND, Box, Found, Kind, cover_of, is_hard, unmarked

SIZE = (1600, 1200)
FACE, CODE = (
    Found(kind=Kind.FACE, box=Box(400, 300, 100, 120)),
    Found(kind=Kind.CODE, box=Box(900, 900, 80, 80)),
)
LOOKED = Looked(size=SIZE, found=(FACE, CODE))
sizes = st.sampled_from(sorted(SIZES))


@st.composite
def places(draw: st.DrawFn) -> tuple[tuple[int, int], Box]:
    width, height = draw(sizes)
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return (width, height), Box(
        x, y, draw(st.integers(1, width - x)), draw(st.integers(1, height - y))
    )


@given(places())
def test_a_cover_is_generous_keeps_to_blocks_and_stays_in_the_picture(
    place: tuple[tuple[int, int], Box],
) -> None:
    size, box = place
    cover = cover_of(box, size)
    assert cover.lies_in(size)
    more = 0.3 * max(box.width, box.height)
    for start, before in ((cover.x, box.x), (cover.y, box.y)):
        assert start % BLOCK_PX == 0
        assert start == 0 or start <= before - more
    for stop, before, side in (
        (cover.right, box.right, size[0]),
        (cover.bottom, box.bottom, size[1]),
    ):
        assert stop % BLOCK_PX == 0 or stop == side
        assert stop == side or stop >= before + more


@given(places(), sizes)
def test_a_box_in_another_size_covers_the_same_of_the_picture(
    place: tuple[tuple[int, int], Box], after: tuple[int, int]
) -> None:
    before, box = place
    scaled = box.scaled(before, after)
    assert scaled.lies_in(after)
    across, down = after[0] / before[0], after[1] / before[1]
    assert scaled.x <= box.x * across
    assert scaled.y <= box.y * down
    assert scaled.right >= box.right * across - 1e-6
    assert scaled.bottom >= box.bottom * down - 1e-6
    assert box.scaled(before, before) == box


@pytest.mark.parametrize("size", sorted(SIZES))
def test_the_squares_lie_over_the_whole_picture(size: tuple[int, int]) -> None:
    looked = Looked(size=size, found=())
    assert max(looked.rows, looked.columns) == SQUARES
    squares = [looked.square(number) for number in range(looked.rows * looked.columns)]
    assert all(square.lies_in(size) for square in squares)
    for row in range(looked.rows):
        across = squares[row * looked.columns :][: looked.columns]
        assert (across[0].x, across[-1].right) == (0, size[0])
        assert all(left.right >= right.x for left, right in pairwise(across))
    down = squares[:: looked.columns]
    assert (down[0].y, down[-1].bottom) == (0, size[1])
    assert all(upper.bottom >= lower.y for upper, lower in pairwise(down))


def test_everything_found_is_covered_unless_she_says_otherwise() -> None:
    assert LOOKED.covers(Choice()) == [cover_of(one.box, SIZE) for one in (FACE, CODE)]
    chosen = Choice(visible=frozenset({1}), squares=frozenset({0, 13}))
    assert LOOKED.covers(chosen) == [
        cover_of(CODE.box, SIZE), LOOKED.square(0), LOOKED.square(13)
    ]  # fmt: skip
    assert LOOKED.visible(chosen) == [FACE.box]
    assert LOOKED.report(chosen) == {
        "squares_covered": 2, "faces_covered": 0, "faces_visible": 1, "codes_covered": 1,
        "codes_visible": 0,
    }  # fmt: skip
    solid = [(mark.is_solid, mark.number) for mark in LOOKED.preview(chosen)]
    assert solid == [(True, 0), (True, 0), (False, 1), (True, 2)]


def test_the_other_way_round_only_what_is_ticked_stays() -> None:
    chosen = Choice(squares=frozenset({5, 6}), is_rest_covered=True)
    every = LOOKED.rows * LOOKED.columns
    assert LOOKED.covered_squares(chosen) == set(range(every)) - {5, 6}
    assert len(LOOKED.covers(chosen)) == 2 + every - 2, "a face in it is covered all the same"


def test_of_a_choice_counts_what_is_there_and_not_all_can_be_covered() -> None:
    every = frozenset(range(LOOKED.rows * LOOKED.columns))
    wild = Choice(visible=frozenset({0, 1, 2, 3, 999}), squares=frozenset({0, 107, 108, 999}))
    assert LOOKED.fit(wild) == Choice(visible=frozenset({1, 2}), squares=frozenset({0, 107}))
    for nothing_left in (Choice(squares=every), Choice(is_rest_covered=True)):
        with pytest.raises(KeepNothing):
            LOOKED.fit(nothing_left)


def test_a_form_is_read_and_what_is_not_ours_is_not() -> None:
    names = [
        "v1",
        "v12",
        "c0",
        "c107",
        "rest",
        "ticket",
        "do",
        "v",
        "c",
        "c-1",
        "c1234",
        "v\uff11",
        "x",
    ]
    read = Choice(visible=frozenset({1, 12}), squares=frozenset({0, 107}), is_rest_covered=True)
    assert read_choice(names) == read
    assert read_choice([]) == Choice()
    assert read.encode() == read_choice(names[::-1]).encode() != Choice().encode()


def test_beyond_sixty_nothing_can_be_left_visible() -> None:
    found = tuple(Found(kind=Kind.FACE, box=Box(x, 0, 20, 20)) for x in range(MOST_NUMBERED + 5))
    looked = Looked(size=SIZE, found=found)
    everyone = Choice(visible=frozenset(range(1, 100)))
    assert len(looked.covers(looked.fit(everyone))) == 5
    assert [mark.number for mark in looked.preview(Choice())][-6:] == [MOST_NUMBERED, 0, 0, 0, 0, 0]


def test_a_crowd_and_small_faces_are_hard() -> None:
    assert not is_hard([FACE] * 8)
    assert is_hard([FACE] * 9)
    assert is_hard([Found(kind=Kind.FACE, box=Box(0, 0, 31, 31))])
    assert not is_hard([Found(kind=Kind.CODE, box=Box(0, 0, 20, 20))] * 20)


def test_what_was_marked_is_told_from_what_was_not() -> None:
    moved = Found(kind=Kind.FACE, box=Box(405, 310, 90, 130))
    assert unmarked([moved, CODE], [FACE.box]) == [CODE]
    assert unmarked([moved], []) == [moved]
    beside = Found(kind=Kind.FACE, box=Box(480, 300, 100, 120))
    assert unmarked([beside], [FACE.box]) == [beside]
    assert unmarked([FACE, CODE], [Box(0, 0, *SIZE)]) == [FACE, CODE], "not one box for all"


def draft(**changed: object) -> Draft:
    words = {
        "message": "سلام\n🙂", "language": "en", "poster": None, "may_post": True,
        "may_quote": False, "not_before": dt.date(2026, 3, 1),
    }  # fmt: skip
    fields = {
        "token": b"t" * 36, "digest": b"d" * 32, "removed": ("position",), "quality": 85,
        "looked": LOOKED, "jpeg": b"\xff\xd8\xff\0",
    }  # fmt: skip
    about = {name: changed.get(name, value) for name, value in words.items()}
    others = {name: changed.get(name, value) for name, value in fields.items()}
    return Draft(words=Words(**about), **others)  # type: ignore[arg-type] - as in the dictionaries


def test_a_draft_comes_back_as_it_was() -> None:
    for one in (draft(), draft(not_before=None, poster="general", jpeg=b"")):
        assert Draft.decode(one.encode()) == one
        assert find_sent(one.encode(), Choice()) is None


def test_the_longest_draft_has_room() -> None:
    wide = Found(kind=Kind.FACE, box=Box(1000, 1000, 1000, 1000))
    longest = draft(
        message='"' * 250 + "\x80" * 250, looked=Looked(size=SIZE, found=(wide,) * MOST_FOUND)
    )
    assert len(longest.encode()) - len(longest.jpeg) <= WORDS_BYTES


def test_what_was_sent_says_whether_something_else_is_wanted_now() -> None:
    chosen = Choice(squares=frozenset({3}))
    sent = Acknowledgement(receipt="1" * 20, removed=(), report={"faces_covered": 1}, preview=b"j")
    kept = encode_sent(sent, chosen)
    assert find_sent(kept, chosen) == sent
    other = find_sent(kept, Choice())
    assert other is not None
    assert other.is_other
