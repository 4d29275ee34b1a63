import math
import random

import pytest

from relay.scrub import canonical
from relay.scrub.canonical import SIZES, SIZES_OF, plan, smaller, view_size
from relay.scrub.wire import LONG_SIDE_PX, View


@pytest.mark.parametrize(
    ("size", "canvas"),
    {
        (4000, 3000): (1600, 1200),
        (3000, 4000): (1200, 1600),
        (6000, 4000): (1600, 1067),
        (4032, 2268): (1600, 900),
        (1080, 2400): (720, 1600),
        (1290, 2796): (720, 1600),
        (2000, 2000): (1600, 1600),
        (2560, 2048): (1600, 1200),
        (1024, 683): (960, 640),
        (100, 75): (320, 240),
        (1, 1): (320, 320),
        (9000, 3): (1600, 720),
        (3, 9000): (720, 1600),
    }.items(),
)
def test_a_picture_gets_the_nearest_size(size: tuple[int, int], canvas: tuple[int, int]) -> None:
    assert plan(*size, is_ours=False).canvas == canvas


EDGE = 6.6 / 1600  # what every picture loses of each side


def test_any_picture_fits_and_at_most_an_eighth_of_it_is_lost() -> None:
    rng = random.Random(5)
    sizes = [(int(1.3 ** rng.uniform(0, 34)), int(1.3 ** rng.uniform(0, 34))) for _ in range(3000)]
    cropped = padded = 0
    for width, height in sizes:
        fit = plan(width, height, is_ours=False)
        left, top, right, bottom = fit.box
        assert fit.canvas in SIZES
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert (right - left) * (bottom - top) / (width * height) > 7 / 8 * (1 - EDGE) ** 2 - 1e-9
        assert 1 <= fit.drawn[0] <= fit.canvas[0]
        assert 1 <= fit.drawn[1] <= fit.canvas[1]
        if fit.drawn == fit.canvas:
            across = (fit.canvas[0] / (right - left)) / (fit.canvas[1] / (bottom - top))
            assert math.isclose(across, 1, rel_tol=1e-9), "nothing is stretched"
            cropped += 1
        else:
            assert left / width == pytest.approx(EDGE / 2)
            assert top / height == pytest.approx(EDGE / 2)
            assert fit.canvas[0] == fit.drawn[0] or fit.canvas[1] == fit.drawn[1]
            padded += 1
    assert min(cropped, padded) > 300


@pytest.mark.parametrize("size", sorted(SIZES))
def test_a_canonical_picture_keeps_its_size_and_every_pixel(size: tuple[int, int]) -> None:
    again = plan(*size, is_ours=True)
    assert again.canvas == again.drawn == size
    assert again.box == (0, 0, *size)


@pytest.mark.parametrize("size", sorted(SIZES))
def test_each_smaller_size_is_canonical_and_of_the_same_shape(size: tuple[int, int]) -> None:
    below = smaller(size)
    sides = [max(one) for one in below]
    assert sides == [side for side in canonical.LONG_SIDES_PX if side < max(size)]
    for width, height in below:
        assert (width, height) in SIZES
        assert math.isclose(width / height, size[0] / size[1], rel_tol=0.01)


def test_few_sizes_exist() -> None:
    assert len(SIZES) == 5 * 9
    assert max(max(size) for size in SIZES) == LONG_SIDE_PX
    assert [len(SIZES_OF[view]) for view in View] == [5 * 9, 9, 9]
    assert len(frozenset().union(*SIZES_OF.values())) == 7 * 9, "none is of two views"


@pytest.mark.parametrize("size", sorted(SIZES))
@pytest.mark.parametrize("view", [View.PREVIEW, View.THUMBNAIL])
def test_a_view_has_the_shape_of_the_photo(size: tuple[int, int], view: View) -> None:
    assert view_size(size, View.PHOTO) == size
    small = view_size(size, view)
    assert small in SIZES_OF[view]
    assert max(small) == view.side_px
    assert math.isclose(small[0] / small[1], size[0] / size[1], rel_tol=0.01)
