"""What is drawn over a picture: to the block in a photo, to the pixel in what she is shown."""

import io
from dataclasses import replace

import pytest
from PIL import Image, ImageChops

from relay.scrub.canonical import view_size
from relay.scrub.found import Box, Found, Kind, Mark, snapped
from relay.scrub.pixels import Wish, redraw
from relay.scrub.wire import View
from tests import photos

SIZE = (1280, 960)
PHOTO = photos.encode(photos.picture(*SIZE), quality=85, subsampling="4:2:0")
BOX = Box(401, 303, 97, 85)
WISH = Wish(max_bytes=1 << 20, quality=85, is_ours=True)


def draw(wish: Wish, photo: bytes = PHOTO) -> Image.Image:
    return Image.open(io.BytesIO(redraw(photo, wish).jpeg)).convert("RGB")


def brightest(picture: Image.Image, box: Box) -> int:
    bands = picture.crop((box.x, box.y, box.right, box.bottom)).getextrema()
    return max(high for _, high in bands)  # type: ignore[misc] - of three bands


def test_nothing_is_left_under_a_cover_however_often_it_is_coded() -> None:
    """A decoder smooths colours over edges, and the next encoder would spread that."""
    cover = snapped(BOX, SIZE)
    inside = Box(cover.x + 2, cover.y + 2, cover.width - 4, cover.height - 4)
    first = redraw(PHOTO, replace(WISH, marks=[Mark(box=BOX)]))
    second = redraw(first.jpeg, WISH)
    third = redraw(second.jpeg, WISH)
    for one in (first, second, third):
        picture = Image.open(io.BytesIO(one.jpeg)).convert("RGB")
        assert brightest(picture, inside) <= (0 if one is first else 2)
        assert brightest(picture, cover) <= 12


def test_what_was_covered_makes_no_difference() -> None:
    """Two photos that differ under the cover alone are the same afterwards, to the byte."""
    other = photos.picture(*SIZE)
    other.paste(photos.noise(97, 85), (BOX.x, BOX.y))
    wish = replace(WISH, marks=[Mark(box=BOX)])
    png = [photos.encode(one, "PNG") for one in (photos.picture(*SIZE), other)]
    assert redraw(png[0], WISH).jpeg != redraw(png[1], WISH).jpeg
    assert redraw(png[0], wish).jpeg == redraw(png[1], wish).jpeg


@pytest.mark.parametrize("view", [View.PREVIEW, View.THUMBNAIL])
def test_a_view_shows_neither_more_nor_less_than_the_photo_will(view: View) -> None:
    marks = [Mark(box=BOX), Mark(box=Box(0, 0, 20, 20))]
    sent = redraw(PHOTO, replace(WISH, marks=marks)).jpeg
    shown = draw(replace(WISH, view=view, marks=marks))
    later = draw(replace(WISH, view=view), sent)
    assert shown.size == later.size == view_size(SIZE, view)
    difference = ImageChops.difference(shown, later)
    assert brightest(difference, Box(0, 0, *shown.size)) <= 40, "but for the coding of edges"


def test_a_frame_and_numbers_are_in_the_view_and_never_in_the_photo() -> None:
    frame = Mark(box=BOX, is_solid=False, number=7)
    assert draw(replace(WISH, marks=[frame])).tobytes() == draw(WISH).tobytes()
    for mark in (frame, replace(frame, is_solid=True), replace(frame, box=Box(1270, 950, 10, 10))):
        plain = replace(WISH, view=View.PREVIEW, marks=[replace(mark, number=0)])
        numbered = replace(plain, marks=[mark])
        assert draw(numbered).tobytes() != draw(plain).tobytes()


def test_what_is_found_stays_where_it_is_though_the_photo_must_shrink() -> None:
    face = Found(kind=Kind.FACE, box=Box(640, 480, 64, 64))
    noise = photos.encode(photos.noise(1280, 960), "PNG")
    small = redraw(noise, Wish(max_bytes=40_000, quality=85, find=lambda _: [face]))
    assert small.width_px < 1280
    ratio = small.width_px / 1280
    (found,) = small.found
    assert found.box == Box(
        round(640 * ratio), round(480 * ratio), round(64 * ratio), round(64 * ratio)
    )
    covered = redraw(
        noise, Wish(max_bytes=40_000, quality=85, marks=[Mark(box=Box(640, 480, 64, 64))])
    )
    picture = Image.open(io.BytesIO(covered.jpeg)).convert("RGB")
    inner = Box(found.box.x + 2, found.box.y + 2, found.box.width - 4, found.box.height - 4)
    assert brightest(picture, inner) == 0


@pytest.mark.parametrize("size", [(1600, 1600), (1200, 1600), (320, 144)])
@pytest.mark.parametrize("view", [View.PREVIEW, View.THUMBNAIL])
def test_there_is_a_view_of_every_photo(size: tuple[int, int], view: View) -> None:
    """Noise is what codes worst: who sends it is to see it too."""
    noise = photos.encode(photos.noise(*size), "PNG")
    shown = redraw(noise, replace(WISH, view=view))
    assert shown.jpeg
    assert len(shown.jpeg) <= view.max_bytes


def test_what_is_covered_is_not_there_to_be_found() -> None:
    """One job covers and looks: what it looks at is what comes back."""
    seen: list[Image.Image] = []

    def look(picture: Image.Image) -> list[Found]:
        seen.append(picture.copy())
        return []

    redraw(PHOTO, replace(WISH, marks=[Mark(box=BOX)], find=look))
    assert [brightest(picture, BOX) for picture in seen] == [0]
