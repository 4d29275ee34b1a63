import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.seal.fingerprint import count_alike, fingerprint
from relay.seal.signing import SigningIdentity

KEY = SigningIdentity(bytes(32)).signer().encoded


def test_a_fingerprint_is_eight_plain_words_and_never_changes() -> None:
    assert fingerprint(KEY) == "initial dentist unveil neglect between together dignity drift"
    for number in range(50):
        words = fingerprint(SigningIdentity(bytes([number] * 32)).signer().encoded).split(" ")
        assert len(words) == 8
        assert all(word.isascii() and word.islower() and 3 <= len(word) <= 8 for word in words)


@given(st.integers(0, len(KEY) - 1), st.sampled_from("qpzry9x8"))
def test_another_key_has_another(place: int, character: str) -> None:
    other = KEY[:place] + character + KEY[place + 1 :]
    assert (fingerprint(other) == fingerprint(KEY)) == (other == KEY)


def test_words_are_compared_in_their_places_however_they_were_typed() -> None:
    words = fingerprint(KEY).split(" ")
    for typed in (" ".join(words), "  " + "-".join(words).upper(), ", ".join(words) + " "):
        assert count_alike(KEY, typed) == 8
    assert count_alike(KEY, " ".join(reversed(words))) < 8
    assert count_alike(KEY, " ".join([*words[:7], "zoo"])) == 7
    for typed in ("", " ".join(words[:7]), " ".join([*words, "zoo"])):
        with pytest.raises(ValueError, match="has 8 words"):
            count_alike(KEY, typed)
