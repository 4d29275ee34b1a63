"""The streaming reader, on a body that comes as slowly or as broken as we like."""

import asyncio
from collections.abc import Iterable
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Busy, FormUnreadable, TooLarge, TooSlow
from relay.web import upload
from relay.web.upload import Budget, Form, Limits, Reservation, read_form
from tests.conftest import multipart

LIMITS = Limits(names={"token", "message"}, max_bytes=1000, min_bytes_per_minute=10)


class Body:
    """Stands in for aiohttp's stream: hands out the pieces it was given, each after a pause."""

    def __init__(self, pieces: Iterable[bytes], pause_s: float = 0) -> None:
        self._pieces = iter(pieces)
        self._pause_s = pause_s

    async def readany(self) -> bytes:
        if self._pause_s:
            await asyncio.sleep(self._pause_s)
        return next(self._pieces, b"")


async def read(
    pieces: Iterable[bytes],
    kind: str,
    *,
    budget: Budget | None = None,
    pause_s: float = 0,
    form: Form | None = None,
) -> Form:
    request: Any = SimpleNamespace(content=Body(pieces, pause_s), headers={"Content-Type": kind})
    form = form or Form()
    with (budget or Budget(10_000)).reserve(lambda: None) as reservation:
        await read_form(request, LIMITS, reservation, form)
    return form


PARTS = [("token", b"t", None), ("message", "mé".encode(), None), ("photo", b"\xff" * 900, "x.jpg")]


@given(st.permutations(PARTS), st.integers(1, 400))
def test_fields_are_read_in_any_order_and_in_any_pieces(
    parts: list[tuple[str, bytes, str | None]], size: int
) -> None:
    body, kind = multipart(parts)
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    form = asyncio.run(read(pieces, kind))
    assert form.fields == {"token": "t", "message": "mé"}
    photo = form.untrusted_photo.view()
    assert photo == b"\xff" * 900
    form.wipe()
    assert photo == bytes(900)
    assert not form.untrusted_photo


@given(st.data())
def test_a_body_cut_anywhere_is_refused(data: st.DataObject) -> None:
    body, kind = multipart(PARTS)
    cut = data.draw(st.integers(0, len(body) - 5))
    with pytest.raises(FormUnreadable):
        asyncio.run(read([body[:cut]], kind))


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_in_our_own_words(garbage: bytes) -> None:
    for kind in ("multipart/form-data; boundary=b", "multipart/form-data; boundary=" + "b" * 2000):
        with pytest.raises(FormUnreadable):
            asyncio.run(read([garbage, b"--b\r\n" + garbage], kind))


async def test_a_photo_over_the_limit_is_dropped_and_the_text_kept() -> None:
    parts = [("photo", bytes(1001), "x.jpg"), ("message", b"after", None)]
    body, kind = multipart(parts)
    form = await read([body], kind)
    assert form.is_too_large
    assert not form.untrusted_photo
    assert form.fields["message"] == "after"


async def test_a_body_without_end_is_not_read_to_its_end() -> None:
    body, kind = multipart([("photo", bytes(90_000), "x.jpg")])
    with pytest.raises(TooLarge):
        await read((body[i : i + 500] for i in range(0, len(body), 500)), kind)


async def test_a_field_without_end_or_twice_or_one_of_many_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upload, "MAX_FIELD_BYTES", 100)
    for parts in (
        [("message", bytes(101), None)],
        [("message", b"x", None), ("message", b"y", None)],
        [("photo", b"x", "a.jpg"), ("photo", b"y", "b.jpg")],
    ):
        body, kind = multipart(parts)
        with pytest.raises(FormUnreadable):
            await read([body], kind)


async def test_a_slow_body_is_ended_by_its_rate_and_not_by_its_length(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upload, "_WINDOW_S", 0.2)
    body, kind = multipart(PARTS)
    with pytest.raises(TooSlow):
        await read([body[i : i + 1] for i in range(40)], kind, pause_s=0.1)
    steady = [body[i : i + 50] for i in range(0, len(body), 50)]
    form = await read(steady, kind, pause_s=0.05)  # five windows long
    assert form.fields["token"] == "t"


async def test_what_had_come_is_kept_for_the_page_and_wiped_afterwards() -> None:
    body, kind = multipart([("message", b"hers", None), ("photo", b"\xff" * 900, "x.jpg")])
    form = Form()
    with pytest.raises(FormUnreadable):
        await read([body[:600]], kind, form=form)
    assert form.fields == {"message": "hers"}
    photo = form.untrusted_photo.view()
    assert any(photo)
    form.wipe()
    assert not any(photo)


async def test_text_counts_against_the_budget_and_unknown_fields_are_not_kept() -> None:
    body, kind = multipart([("message", bytes(900), None)])
    with pytest.raises(Busy):
        await read([body], kind, budget=Budget(899))
    body, kind = multipart([(f"f{i}", bytes(900), None) for i in range(30)])
    assert (await read([body], kind, budget=Budget(1))).fields == {}


async def test_the_budget_is_shared_and_given_back() -> None:
    budget = Budget(1500)
    body, kind = multipart(PARTS)
    with budget.reserve(lambda: None) as held:
        held.take(1000)
        with pytest.raises(Busy):
            await read([body], kind, budget=budget)
    assert (await read([body], kind, budget=budget)).fields["token"] == "t"


def test_where_memory_runs_out_the_upload_that_brought_least_for_its_age_is_ended() -> None:
    budget, ended = Budget(1000), []
    with ExitStack() as stack:

        def upload(name: str, count: int, age_s: float) -> Reservation:
            held = stack.enter_context(budget.reserve(lambda: ended.append(name)))
            held.take(count)
            held.began -= age_s
            return held

        upload("drips", 400, 3600)
        upload("slow", 300, 60)
        upload("just begun", 1, 5)
        newcomer = upload("newcomer", 200, 0)
        for after in (["drips"], ["drips", "slow"], ["drips", "slow"]):
            with pytest.raises(Busy):
                newcomer.take(400)
            assert ended == after, "each once, and no young one"
    newcomer.take(1000)


def test_uploads_are_counted_until_they_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.web.upload.MOST_UPLOADS", 2)
    budget = Budget(100)
    with budget.reserve(unended) as one, budget.reserve(unended):
        one.settle()
        with pytest.raises(Busy), budget.reserve(unended):
            pass
        with budget.reserve(unended, is_counted=False) as receipt:
            receipt.take(1)
    with budget.reserve(unended):
        pass


def unended() -> None:
    raise AssertionError("nobody is old enough to be ended")


def test_what_has_been_read_is_not_ended_and_a_burst_long_ago_counts_for_nothing() -> None:
    budget, ended = Budget(100_000), []
    with ExitStack() as stack:

        def upload(name: str, count: int) -> Reservation:
            held = stack.enter_context(budget.reserve(lambda: ended.append(name)))
            held.take(count)
            held.began -= 600
            return held

        upload("read", 50_000).settle()
        upload("burst, then silence", 40_000)._late_at -= 600  # noqa: SLF001 - as if it were over
        upload("slow and steady", 9_000)
        with pytest.raises(Busy):
            upload("newcomer", 5_000)
        assert ended == ["burst, then silence"]


async def test_urlencoded_bodies_are_short() -> None:
    kind = "application/x-www-form-urlencoded"
    assert (await read([b"receipt=12+34"], kind)).fields == {"receipt": "12 34"}
    for bad in (b"x" * 17_000, b"receipt=%ff", b"\xff=1", b"a=1&" * 300):
        with pytest.raises(FormUnreadable):
            await read([bad], kind)
