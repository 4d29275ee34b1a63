"""The memory of one upload: it grows, holds what came, and is overwritten where it lies."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from relay.web.buffer import Buffer


def resident_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


@given(st.lists(st.binary(max_size=200_000), max_size=20))
def test_it_holds_what_came_in_order(chunks: list[bytes]) -> None:
    buffer = Buffer()
    for chunk in chunks:
        buffer.add(chunk)
    whole = b"".join(chunks)
    assert len(buffer) == len(whole)
    view = buffer.view()
    assert view == whole
    buffer.wipe()
    assert not any(view)
    assert not buffer


def test_many_that_grow_side_by_side_take_no_more_than_they_hold_and_give_it_back() -> None:
    chunk = b"\xff" * 10_000
    before = resident_bytes()
    buffers = [Buffer() for _ in range(50)]
    for _ in range(100):
        for buffer in buffers:
            buffer.add(chunk)
    held = 50 * 100 * len(chunk)
    assert 0.9 * held < resident_bytes() - before < 1.1 * held
    for buffer in buffers:
        buffer.wipe()
    assert resident_bytes() - before < 0.1 * held
