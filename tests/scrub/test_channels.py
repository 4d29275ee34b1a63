import io
from pathlib import Path

import pytest
from PIL import Image

from relay.scrub import jpeg
from relay.scrub.pixels import Wish, redraw
from relay.scrub.wire import Code, Removed
from tests import photos
from tests.judge import judge

BUDGET = 512 * 1024


@pytest.mark.parametrize("name", photos.CHANNELS)
def test_nothing_leaves_by_this_channel(name: str, tmp_path: Path) -> None:
    channel = photos.CHANNELS[name]()
    assert not [word for word in channel.canaries if word not in channel.photo]
    redrawn = redraw(channel.photo, Wish(max_bytes=BUDGET, quality=85))
    assert redrawn.code == Code.CLEAN
    assert not [word for word in channel.canaries if word in redrawn.jpeg]
    assert channel.is_gone(Image.open(io.BytesIO(redrawn.jpeg)))
    jpeg.check(redrawn.jpeg, redrawn.quality)
    (tmp_path / "clean.jpg").write_bytes(redrawn.jpeg)
    judge(tmp_path / "clean.jpg")


@pytest.mark.parametrize("name", photos.CHANNELS)
def test_the_report_names_what_came_by_this_channel(name: str) -> None:
    channel = photos.CHANNELS[name]()
    removed = redraw(channel.photo, Wish(max_bytes=BUDGET, quality=85)).removed
    assert channel.found in removed, f"{(channel.found & ~removed).words()} is missing"
    if channel.found:
        extra = removed & ~channel.found
        assert extra in ALSO_THERE.get(name, Removed.NOTHING), extra.words()
    else:
        assert not removed


# What else an honest look at the fixture finds.
ALSO_THERE = {
    "iptc": Removed.EDIT_HISTORY,
    "second exif": Removed.COMMENT,
    "png exif": Removed.TIME,
}


@pytest.mark.parametrize("name", [name for name in photos.CHANNELS if "transparency" in name])
def test_what_hides_under_transparency_would_show_without_the_white(name: str) -> None:
    """Else the fixtures above would prove nothing."""
    picture = Image.open(io.BytesIO(photos.CHANNELS[name]().photo))
    bare = picture.convert("RGBA").convert("RGB")
    assert not photos.is_white(bare)


def test_the_pixel_fixtures_hold_what_they_are_said_to_hold() -> None:
    assert not photos.has_no_mark(
        Image.open(io.BytesIO(photos.CHANNELS["least significant bits"]().photo))
    )
    tall = photos.CHANNELS["rows beyond the height"]().photo
    at = tall.index(b"\xff\xc0") + 5
    whole = tall[:at] + (640).to_bytes(2, "big") + tall[at + 2 :]
    assert not photos.has_no_red(Image.open(io.BytesIO(whole)))
