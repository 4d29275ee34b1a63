"""How much of an upload has come, as a picture that grows: no script is needed to see it.

The tap on Send lets the browser fetch the picture of the form's own random number, on a second
connection, while it uploads; we send a frame for each step. What is known of an upload here is
that number and how far it has come, and that for as long as it lasts.
Source: GIF89a; its extension NETSCAPE2.0, without which Firefox shows the first frame only.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

from aiohttp import web

from relay.web.headers import dress

STEPS = 20
_STEP_PX, _HEIGHT_PX = 10, 20
PROGRESS = "/progress/"
PATH = PROGRESS + "{name:[A-Za-z0-9_-]{22}}"
_MOST_WATCHED = 200  # at each listener; beyond it, the bar stays empty
_PATIENCE_S = 30.0  # until the upload begins; from then on the picture lasts as long as that
_LOOK_S = 1.0  # whether anybody still looks
_COLOUR = b"\x2f\x6f\xde"
_TYPE = "image/gif"


def new_name() -> str:
    """Return the number of an upload's picture. It tells nothing and opens nothing."""
    return secrets.token_urlsafe(16)


@dataclass
class _Watch:
    """A picture that somebody looks at: how many steps it may show."""

    steps: int = 0
    is_begun: bool = False
    is_over: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Progress:
    """The uploads of one listener that somebody watches."""

    def __init__(self) -> None:
        """Watch none."""
        self._watched: dict[str, _Watch] = {}

    async def follow(
        self, pieces: AsyncGenerator[bytes], fields: dict[str, str], total_bytes: int | None
    ) -> AsyncGenerator[bytes]:
        """Yield `pieces`, and note how far they have come under the number among `fields`.

        fields: of the form, as they arrive. total_bytes: of the body; None: it does not say.
        """
        received = 0
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    yield piece
                    received += len(piece)
                    watch = self._watched.get(fields.get("progress", ""))  # it may stand in there
                    if watch is not None and total_bytes:
                        watch.is_begun = True
                        watch.steps = max(watch.steps, min(STEPS, STEPS * received // total_bytes))
                        watch.changed.set()
        finally:
            watch = self._watched.get(fields.get("progress", ""))
            if watch is not None:
                watch.is_over = True
                watch.changed.set()

    async def show(self, request: web.Request) -> web.StreamResponse:
        """Send the picture, frame by frame."""
        name = request.match_info["name"]
        is_shown = request.method == "GET" and name not in self._watched
        if not is_shown or len(self._watched) >= _MOST_WATCHED:
            empty = web.Response(body=EMPTY, content_type=_TYPE)
            dress(empty)
            return empty
        watch = self._watched[name] = _Watch()
        response = web.StreamResponse()
        try:
            await _stream(request, response, watch)
        except ConnectionError:
            pass  # she has her page, or has gone
        finally:
            del self._watched[name]
        return response


async def _stream(request: web.Request, response: web.StreamResponse, watch: _Watch) -> None:
    response.content_type = _TYPE
    dress(response)
    await response.prepare(request)
    await response.write(_HEAD)
    shown, patience_s = 0, _PATIENCE_S
    while shown < STEPS and patience_s > 0:
        if watch.steps > shown:
            await response.write(b"".join(_frame(step) for step in range(shown, watch.steps)))
            shown = watch.steps
            continue
        if watch.is_over or request.transport is None or request.transport.is_closing():
            break
        watch.changed.clear()
        try:
            async with asyncio.timeout(_LOOK_S):
                await watch.changed.wait()
        except TimeoutError:
            patience_s -= 0 if watch.is_begun else _LOOK_S
    await response.write_eof(_END)


def _frame(step: int) -> bytes:
    """Return what fills one more step and leaves the others."""
    is_last = step == STEPS - 1
    return _image(step * _STEP_PX, _STEP_PX, _HEIGHT_PX, delay_cs=0xFFFF if is_last else 1)


def _image(left: int, width: int, height: int, *, delay_cs: int, is_clear: bool = False) -> bytes:
    """Return a rectangle of one colour, or of none, with the block that says when it is shown."""
    pixel = 0 if is_clear else 1
    control = b"\x21\xf9\x04" + bytes([0x04 | is_clear]) + _short(delay_cs) + b"\0\0"
    place = b"\x2c" + _short(left) + _short(0) + _short(width) + _short(height) + b"\0"
    # Codes of three bits as long as no more than two pixels follow on a clear code.
    codes = [code for _ in range(width * height // 2) for code in (_CLEAR, pixel, pixel)]
    codes += [_CLEAR, pixel] * (width * height % 2) + [_STOP]
    number = sum(code << (3 * at) for at, code in enumerate(codes))
    content = number.to_bytes((3 * len(codes) + 7) // 8, "little")
    blocks = [content[at : at + 255] for at in range(0, len(content), 255)]
    return control + place + b"\2" + b"".join(bytes([len(one)]) + one for one in blocks) + b"\0"


def _short(number: int) -> bytes:
    return number.to_bytes(2, "little")


_CLEAR, _STOP = 4, 5
_HEAD = (
    b"GIF89a"
    + _short(STEPS * _STEP_PX)
    + _short(_HEIGHT_PX)
    + b"\x91\0\0"  # a table of four colours follows
    + (bytes(3) + _COLOUR + bytes(6))
    + b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x01\0\0"
    + _image(0, 1, 1, delay_cs=1, is_clear=True)
)
_END = b"\x3b"
EMPTY = _HEAD + _END  # nothing to see
