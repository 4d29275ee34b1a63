import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.seal import bech32

# Source: BIP 173, test vectors, those without the limit on length.
VALID = ["A12UEL5L", "a12uel5l", "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw"]
INVALID = [
    "pzry9x0s0muk",
    "1pzry9x0s0muk",
    "x1b4n0q5v",
    "li1dgmt3",
    "A1G7SGD8",
    "10a06t8",
    "a12UEL5L",
]


@pytest.mark.parametrize("text", VALID)
def test_published_vectors_are_read(text: str) -> None:
    prefix, raw = bech32.decode(text)
    assert bech32.encode(prefix, raw) == text.lower()


@pytest.mark.parametrize("text", INVALID)
def test_published_invalid_vectors_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        bech32.decode(text)


@given(st.binary(max_size=1300))
def test_any_bytes_come_back(raw: bytes) -> None:
    assert bech32.decode(bech32.encode("age1pq", raw)) == ("age1pq", raw)


@given(st.from_regex(r"[a-z0-9-]{1,20}", fullmatch=True), st.binary(max_size=1300), st.data())
def test_any_one_wrong_character_is_found(prefix: str, raw: bytes, data: st.DataObject) -> None:
    text = bech32.encode(prefix, raw)
    assert bech32.decode(text) == (prefix, raw)
    place = data.draw(st.integers(0, len(text) - 1))
    wrong = data.draw(st.sampled_from(wrong_for(text[place])))
    with pytest.raises(ValueError, match=r"."):
        bech32.decode(text[:place] + wrong + text[place + 1 :])


def wrong_for(right: str) -> list[str]:
    """Every printable character that means another."""
    return [chr(code) for code in range(33, 127) if chr(code).lower() != right]


def written(groups: list[int]) -> str:
    """Bech32 of groups of five bits, with a checksum that is right whatever they are."""
    covered = [*bech32._expand("x"), *groups]  # noqa: SLF001 - encode writes whole bytes only
    checksum = bech32._polymod([*covered, *[0] * 6]) ^ 1  # noqa: SLF001
    groups = groups + [checksum >> 5 * (5 - i) & 31 for i in range(6)]
    return "x1" + "".join("qpzry9x8gf2tvdw0s3jn54khce6mua7l"[group] for group in groups)


def test_bits_that_belong_to_no_byte_are_refused() -> None:
    assert bech32.decode(written([0, 0b00100])) == ("x", b"\x01")
    for groups in ([0, 0b00101], [0, 0b00110], [0, 0b00100, 0], [0]):
        with pytest.raises(ValueError, match="padding"):
            bech32.decode(written(groups))


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        prefix, raw = bech32.decode(text)
    except ValueError:
        return
    assert bech32.encode(prefix, raw) == text.lower()
