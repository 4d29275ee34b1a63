"""Read a form's body into RAM, in any order of fields, within limits, never onto a disk.

Of each part the name and the bytes are kept; file name, content type and every other header are
dropped unread.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from aiohttp import ClientError, web
from aiohttp.http_exceptions import HttpProcessingError
from multipart import (
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)

from relay.errors import Busy, Closed, FormUnreadable, TooSlow, UploadEndless
from relay.web.buffer import Buffer
from relay.web.progress import Progress

PHOTO_FIELD = "photo"
MAX_FIELD_BYTES = 16 * 1024  # the message, 500 characters, has 2,000; the rest is short
_MAX_PARTS = 32
_MAX_URLENCODED_BYTES = 16 * 1024
_MAX_URLENCODED_FIELDS = 256  # the cover page has a square for each
MOST_UPLOADS = 900  # of the 1,000 connections of a listener: the rest are for pages that refuse
_WINDOW_S = 60.0
_SPARED_S = 30.0  # of an upload's beginning: by then a fast one is here
_HALF_S, _LEAST_BYTES = 20.0, 4096
_DISCARD_FACTOR = 4  # read this many times the limit on, so that the page of refusal arrives


class Budget:
    """Bytes that all uploads of a listener together may hold in memory, and how many they may be.

    Where memory runs out, the upload that holds most and has brought least of late is ended: else a
    few that send as slowly as they may would hold everything for hours. Where they are too many,
    the one that has brought least of late.
    """

    def __init__(self, max_bytes: int) -> None:
        """Allow `max_bytes`."""
        self._left = max_bytes
        self._count = 0  # with those that are read and wait for their turn
        self._reservations: set[Reservation] = set()
        self._is_stopped = False

    @contextmanager
    def reserve(
        self, end: Callable[[], None], *, is_counted: bool = True
    ) -> Iterator["Reservation"]:
        """Hold bytes for one upload and give them all back at the end. end: ends that upload.

        is_counted: among the most that there may be; a receipt or a page's buttons are not.

        Raises:
            Busy: uploads are too many; a moment later one more may do. Closed: `stop` was called.
        """
        if is_counted and self._is_stopped:
            raise Closed
        now = time.monotonic()
        if is_counted and self._count >= MOST_UPLOADS:
            self._end_one(lambda one: -one.brought_of_late(now))
            raise Busy
        reservation = Reservation(self, end, is_counted=is_counted)
        self._reservations.add(reservation)
        self._count += is_counted
        try:
            yield reservation
        finally:
            self.forget(reservation)
            self._count -= is_counted
            self._left += reservation.held

    def stop(self) -> None:
        """Refuse the uploads that have not arrived, and all that come; the others go on."""
        self._is_stopped = True
        for reservation in self._reservations:
            if reservation.is_counted:
                reservation.refuse()

    def take(self, count: int) -> None:
        """Take `count` bytes.

        Raises:
            Busy: they are not there; a moment later they may be.
        """
        if count > self._left:
            now = time.monotonic()
            self._end_one(lambda one: one.held / (one.brought_of_late(now) + _LEAST_BYTES))
            raise Busy
        self._left -= count

    def _end_one(self, burden: Callable[["Reservation"], float]) -> None:
        """End the upload that is the greatest burden, if any has had its time."""
        since = time.monotonic() - _SPARED_S
        old = [one for one in self._reservations if one.began < since]
        if old:
            heaviest = max(old, key=burden)
            self.forget(heaviest)  # ended once
            heaviest.end()

    def forget(self, reservation: "Reservation") -> None:
        """Never end this one: it is here."""
        self._reservations.discard(reservation)


@dataclass(eq=False)
class Reservation:
    """What one upload holds, since when, and how it is ended."""

    budget: Budget
    end: Callable[[], None]
    is_counted: bool = True
    is_refused: bool = False
    wait: asyncio.Timeout | None = None  # for the next piece
    held: int = 0
    began: float = field(default_factory=time.monotonic)
    _late: float = 0.0  # bytes, each worth half as much every _HALF_S
    _late_at: float = field(default_factory=time.monotonic)

    def take(self, count: int) -> None:
        """Take `count` bytes more."""
        self.budget.take(count)
        self.held += count
        now = time.monotonic()
        self._late, self._late_at = self.brought_of_late(now) + count, now

    def brought_of_late(self, now: float) -> float:
        """Return the bytes of the last moments; older ones count less and less."""
        return float(self._late * 0.5 ** ((now - self._late_at) / _HALF_S))

    def refuse(self) -> None:
        """Have whoever reads the upload stop waiting for the rest of it."""
        self.is_refused = True
        if self.wait is not None:
            self.wait.reschedule(asyncio.get_running_loop().time())

    def settle(self) -> None:
        """Take note that all is read: from now on the upload is not ended for its slowness."""
        self.budget.forget(self)


@dataclass(kw_only=True)
class Form:
    """A form as it arrives: fields as text, the photo as the one buffer that is wiped later."""

    fields: dict[str, str] = field(default_factory=dict, repr=False)
    untrusted_photo: Buffer = field(default_factory=Buffer, repr=False)
    is_too_large: bool = False

    def wipe(self) -> None:
        """Overwrite the photo where it lies."""
        self.untrusted_photo.wipe()

    def drop_photo(self) -> None:
        """Give the photo up; the text goes on arriving."""
        self.is_too_large = True
        self.wipe()


@dataclass(frozen=True, kw_only=True)
class Limits:
    """names: fields looked at; max_bytes: of the photo; min_bytes_per_minute: slower is ended."""

    names: Collection[str]
    max_bytes: int
    min_bytes_per_minute: int


async def read_form(
    request: web.Request,
    limits: Limits,
    reservation: Reservation,
    form: Form,
    progress: Progress | None = None,
) -> None:
    """Fill `form` from a multipart or urlencoded body; what has come stays in it on failure.

    progress: is told how much has come.

    Raises:
        FormUnreadable: not a form, or cut short. TooSlow, UploadEndless, Busy, Closed: as they say.
    """
    kind, options = parse_options_header(request.headers.get("Content-Type", ""))
    pieces = paced(request, limits.min_bytes_per_minute, reservation)
    if progress is not None:
        pieces = progress.follow(pieces, form.fields, request.content_length)
    try:
        async with aclosing(pieces):  # it holds the last piece
            if kind == "multipart/form-data":
                assembly = _Assembly(form, limits, reservation)
                return await _read_multipart(pieces, options.get("boundary", ""), assembly)
            if kind == "application/x-www-form-urlencoded":
                return await _read_urlencoded(pieces, form)
    except (
        MultipartError,
        ClientError,
        HttpProcessingError,
        ConnectionError,
        UnicodeError,
    ) as error:
        # Its words may quote the body. Its frames hold it, and the body's stream holds the error.
        error.__traceback__ = None
    raise FormUnreadable


async def paced(
    request: web.Request, min_bytes_per_minute: int, reservation: Reservation | None = None
) -> AsyncGenerator[bytes]:
    """Yield the body as it comes.

    Raises:
        TooSlow: it brought less than that in one minute, however long it may take altogether.
        Closed: `reservation` was refused meanwhile.
    """
    window_end, window_bytes = time.monotonic() + _WINDOW_S, 0
    while True:
        try:
            async with asyncio.timeout(max(0.0, window_end - time.monotonic())) as wait:
                if reservation is not None:
                    reservation.wait = wait
                piece = await request.content.readany()
        except TimeoutError:
            piece = None
        if reservation is not None:
            reservation.wait = None
            if reservation.is_refused:
                raise Closed
        if piece == b"":
            return
        window_bytes += len(piece or b"")
        if time.monotonic() >= window_end:
            if window_bytes < min_bytes_per_minute:
                raise TooSlow
            window_end, window_bytes = time.monotonic() + _WINDOW_S, 0
        if piece:
            yield piece


async def _read_multipart(
    pieces: AsyncIterator[bytes], boundary: str, assembly: "_Assembly"
) -> None:
    most = _DISCARD_FACTOR * (assembly.limits.max_bytes + MAX_FIELD_BYTES)
    seen = 0
    with PushMultipartParser(boundary, max_segment_count=_MAX_PARTS) as parser:
        async for piece in pieces:
            seen += len(piece)
            if seen > most:
                raise UploadEndless
            for event in parser.parse(piece):
                assembly.take(event)
            if parser.closed:
                break
        parser.close()


class _Assembly:
    """Puts the parser's events together; a photo over the limit is dropped, the text is kept."""

    def __init__(self, form: Form, limits: Limits, reservation: Reservation) -> None:
        self.limits = limits
        self._form = form
        self._reservation = reservation
        self._name: str | None = None
        self._text = bytearray()
        self._names: set[str] = set()

    def take(self, event: MultipartSegment | bytes | bytearray | None) -> None:
        if isinstance(event, MultipartSegment):
            self._begin(event.name)
        elif event is None:
            self._end()
        elif self._name == PHOTO_FIELD:
            self._add_to_photo(event)
        elif self._name is not None:
            if len(self._text) + len(event) > MAX_FIELD_BYTES:
                raise FormUnreadable
            self._reservation.take(len(event))
            self._text += event

    def _begin(self, name: str) -> None:
        if name in self._names:
            raise FormUnreadable  # the same field twice
        self._name = name if name == PHOTO_FIELD or name in self.limits.names else None
        if self._name is not None:
            self._names.add(name)

    def _end(self) -> None:
        if self._name not in (None, PHOTO_FIELD):
            self._form.fields[self._name] = self._text.decode("utf-8")
        self._name, self._text = None, bytearray()

    def _add_to_photo(self, chunk: bytes | bytearray) -> None:
        form = self._form
        if len(form.untrusted_photo) + len(chunk) > self.limits.max_bytes:
            form.drop_photo()
        if not form.is_too_large:
            self._reservation.take(len(chunk))
            form.untrusted_photo.add(chunk)


async def _read_urlencoded(pieces: AsyncIterator[bytes], form: Form) -> None:
    body = b""
    async for piece in pieces:
        body += piece
        if len(body) > _MAX_URLENCODED_BYTES:
            raise FormUnreadable
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MAX_URLENCODED_FIELDS,
        )
    except ValueError:
        raise FormUnreadable from None
    form.fields.update(pairs)
