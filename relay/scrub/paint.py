"""Draw over a picture: solid covers, and in a preview their numbers. Runs inside the box only."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from relay.scrub.canonical import Size
from relay.scrub.found import Box, Mark, clipped, snapped

_BLACK, _WHITE, _FRAME = (0, 0, 0), (255, 255, 255), (255, 0, 255)
_FONT_SIZES_PX = (32, 24, 16, 12)
_FRAME_PX = 3
# Around a cover, outside its blocks: a decoder smooths colours over the pixels beside a block, and
# these shall be black too. Without it the edge of a cover takes colour from outside, and a second
# encoding spreads that through its block.
_RIM_PX = 2


def warm_up() -> None:
    """Load the digits: the box can open no file later."""
    number(Image.new("RGB", (64, 64)), [Mark(box=Box(0, 0, 64, 64), number=12)], before=(64, 64))


def cover(picture: Image.Image, marks: Sequence[Mark], *, before: Size) -> None:
    """Draw the solid ones of `marks`, which are in px of the size `before` that `picture` had.

    They are black and grow outward to whole blocks. What lay under them is drawn over where it is.
    """
    for mark in marks:
        if mark.is_solid:
            _fill(picture, _cover(mark.box.scaled(before, picture.size), picture.size), _BLACK)


def number(picture: Image.Image, marks: Sequence[Mark], *, before: Size) -> None:
    """Draw frames around those of `marks` that are not solid, then the numbers of all.

    Nothing gets darker by that: who looks must not take a number for a cover.
    """
    draw = ImageDraw.Draw(picture)
    boxes = [mark.box.scaled(before, picture.size) for mark in marks]
    for mark, box in zip(marks, boxes, strict=True):
        if not mark.is_solid:
            corners = (box.x, box.y, box.right - 1, box.bottom - 1)
            draw.rectangle(corners, outline=_FRAME, width=_FRAME_PX)
    for mark, box in zip(marks, boxes, strict=True):
        if mark.number:
            _write(draw, str(mark.number), mark, box)


def _cover(box: Box, size: Size) -> Box:
    cover = snapped(box, size)
    ends = cover.right + _RIM_PX, cover.bottom + _RIM_PX
    return clipped(cover.x - _RIM_PX, cover.y - _RIM_PX, *ends, size)


def _fill(picture: Image.Image, box: Box, colour: tuple[int, int, int]) -> None:
    picture.paste(colour, (box.x, box.y, box.right, box.bottom))


def _write(draw: ImageDraw.ImageDraw, text: str, mark: Mark, box: Box) -> None:
    """Write `text` inside a cover, as large as it fits, or above the corner of a frame."""
    for size_px in _FONT_SIZES_PX:
        font = ImageFont.load_default(size_px)
        left, top, right, bottom = font.getbbox(text)
        width, height = right - left, bottom - top
        if width <= box.width and height <= box.height:
            break
    else:
        if mark.is_solid:
            return  # a cover too small for it: its place tells
    if mark.is_solid:
        x, y = box.x + (box.width - width) / 2, box.y + (box.height - height) / 2
    else:
        x, y = box.x, max(0, box.y - height - _FRAME_PX)
    colour = _WHITE if mark.is_solid else _FRAME
    draw.text((x - left, y - top), text, font=font, fill=colour)
