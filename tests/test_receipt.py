import datetime as dt
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay import receipt
from relay.errors import ConfigInvalid, FormExpired, ReceiptMistyped
from relay.receipt import ServiceKeys, digest_content, grouped, read_receipt

KEYS = ServiceKeys(token=b"t" * 32, receipt=b"r" * 32)
DIGITS = KEYS.receipt_for(b"token", b"content", 0)


@given(st.binary(), st.binary(max_size=64), st.integers(0, 99))
def test_a_receipt_has_twenty_digits_and_reads_back(
    token: bytes, content: bytes, generation: int
) -> None:
    digits = KEYS.receipt_for(token, content, generation)
    assert len(digits) == 20
    assert read_receipt(grouped(digits)) == digits


@given(st.integers(0, 19), st.integers(1, 9))
def test_every_wrong_digit_is_noticed(place: int, shift: int) -> None:
    wrong = str((int(DIGITS[place]) + shift) % 10)
    with pytest.raises(ReceiptMistyped):
        read_receipt(DIGITS[:place] + wrong + DIGITS[place + 1 :])


@given(st.integers(0, 18))
def test_every_swap_of_neighbours_is_noticed(place: int) -> None:
    left, right = DIGITS[place : place + 2]
    swapped = DIGITS[:place] + right + left + DIGITS[place + 2 :]
    if left == right:
        assert read_receipt(swapped) == DIGITS
    else:
        with pytest.raises(ReceiptMistyped):
            read_receipt(swapped)


@pytest.mark.parametrize("zero", ["\u0660", "\u06f0", "\u0966", "\u09e6", "\u1040"])
def test_digits_of_the_world_are_read(zero: str) -> None:
    typed = "".join(chr(ord(zero) + int(digit)) for digit in DIGITS)
    assert read_receipt(typed) == DIGITS


@pytest.mark.parametrize("typed", [DIGITS[:-1], DIGITS + "0", "", "x" * 20, DIGITS + "²"])
def test_what_is_not_a_receipt_is_refused(typed: str) -> None:
    with pytest.raises(ReceiptMistyped):
        read_receipt(typed)


def test_spaces_and_dashes_do_not_matter() -> None:
    assert read_receipt(" " + grouped(DIGITS).replace(" ", " \N{EN DASH}-")) == DIGITS


def test_same_token_and_content_give_the_same_receipt_and_others_do_not() -> None:
    assert KEYS.receipt_for(b"token", b"content", 0) == DIGITS
    assert KEYS.receipt_for(b"token", b"other", 0) != DIGITS
    assert KEYS.receipt_for(b"other", b"content", 0) != DIGITS
    assert KEYS.receipt_for(b"token", b"content", 1) != DIGITS


def test_content_is_digested_part_by_part() -> None:
    assert digest_content([b"ab", b"c"]) != digest_content([b"a", b"bc"])


def test_a_token_lasts_a_day_and_can_not_be_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    token = KEYS.new_token()
    KEYS.check_token(token)
    other = ServiceKeys(token=b"x" * 32, receipt=b"r" * 32)
    for bad in (other.new_token(), token[:-4] + "AAAA", "", "é", token + token):
        with pytest.raises(FormExpired):
            KEYS.check_token(bad)
    now = time.time()
    monkeypatch.setattr(receipt.time, "time", lambda: now + dt.timedelta(hours=26).total_seconds())
    with pytest.raises(FormExpired):
        KEYS.check_token(token)


def test_the_key_file_must_be_private_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "service.key"
    with pytest.raises(ConfigInvalid, match=r"service\.key"):
        ServiceKeys.load(path)
    path.write_bytes(ServiceKeys.generate())
    path.chmod(0o644)
    with pytest.raises(ConfigInvalid, match="chmod 600"):
        ServiceKeys.load(path)
    path.chmod(0o600)
    assert len(ServiceKeys.load(path).token) == 32
    path.write_bytes(b"short")
    with pytest.raises(ConfigInvalid, match="not a service key"):
        ServiceKeys.load(path)


def test_keys_do_not_show_in_a_repr() -> None:
    assert "ttt" not in repr(KEYS)
    assert "rrr" not in repr(KEYS)
