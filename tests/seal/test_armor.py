from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Corrupt
from relay.seal import armor

WHITE_SPACE = st.text(" \t\r\n", max_size=6).map(str.encode)


@given(st.binary(max_size=400))
def test_any_bytes_come_back_from_lines_of_64_columns(raw: bytes) -> None:
    armored = armor.encode(raw)
    assert armor.is_armored(armored)
    assert armor.decode(armored) == raw
    begin, *lines, end, after = armored.split(b"\n")
    assert (begin[:11], end[:9], after) == (b"-----BEGIN ", b"-----END ", b"")
    assert [len(line) for line in lines[:-1]] == [64] * (len(lines) - 1)
    assert not lines or 0 < len(lines[-1]) <= 64


@given(st.binary(max_size=200), WHITE_SPACE, WHITE_SPACE)
def test_white_space_outside_and_crlf_are_read(raw: bytes, before: bytes, after: bytes) -> None:
    armored = before + armor.encode(raw).replace(b"\n", b"\r\n") + after
    assert armor.is_armored(armored)
    assert armor.decode(armored) == raw
    assert armor.decode(before + armor.encode(raw).rstrip(b"\n")) == raw


@given(st.binary(max_size=200), st.data())
def test_there_is_no_other_way_to_write_the_same_file(raw: bytes, data: st.DataObject) -> None:
    """One byte put in, taken out or exchanged: refused, or another file."""
    armored = armor.encode(raw).rstrip(b"\n")
    place = data.draw(st.integers(1, len(armored) - 1))
    taken = data.draw(st.integers(0, 1))
    put = data.draw(st.binary(max_size=1))
    changed = armored[:place] + put + armored[place + taken :]
    with suppress(Corrupt):
        assert armor.decode(changed) != raw or crlf_to_lf(changed) == armored


def crlf_to_lf(text: bytes) -> bytes:
    return text.replace(b"\r\n", b"\n")


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_our_own_words(garbage: bytes) -> None:
    begin, end = armor.encode(b"").splitlines(keepends=True)
    for untrusted in (garbage, begin + garbage, begin + garbage + b"\n" + end):
        try:
            raw = armor.decode(untrusted)
        except Corrupt as refused:
            assert refused.message == "The armor is damaged."  # noqa: PT017 - or it is read
        else:
            assert armor.encode(raw).split() == untrusted.split()


def test_a_binary_age_file_is_never_taken_for_armor() -> None:
    assert not armor.is_armored(b"age-encryption.org/v1\n-----BEGIN AGE ENCRYPTED FILE-----\n")
    with pytest.raises(Corrupt):
        armor.decode(b"age-encryption.org/v1\n")
