"""Recipients and identities as text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.seal.keys import ClassicIdentity, HybridIdentity, parse_identity, parse_recipient

seeds = st.binary(min_size=32, max_size=32)
kinds = st.sampled_from([HybridIdentity, ClassicIdentity])
identities = st.builds(lambda kind, seed: kind(seed), kinds, seeds)
Either = HybridIdentity | ClassicIdentity


@settings(max_examples=40)
@given(identities)
def test_an_identity_and_its_recipient_read_back(identity: Either) -> None:
    again = parse_identity(identity.encode_secret())
    assert type(again) is type(identity)
    assert again.encode_secret() == identity.encode_secret()
    recipient = parse_recipient(identity.recipient().encoded)
    assert recipient.encoded == again.recipient().encoded
    file_key = bytes(range(16))
    assert identity.unwrap([recipient.wrap(file_key)]) == file_key


@settings(max_examples=40)
@given(identities, st.data())
def test_one_wrong_character_in_a_key_is_found(identity: Either, data: st.DataObject) -> None:
    for key, parse in (
        (identity.encode_secret(), parse_identity),
        (identity.recipient().encoded, parse_recipient),
    ):
        place = data.draw(st.integers(0, len(key) - 1))
        wrong = data.draw(st.characters(codec="ascii").filter(lambda c: c != key[place]))  # noqa: B023 - drawn at once
        with pytest.raises(ValueError, match=r"."):
            parse(key[:place] + wrong + key[place + 1 :])


@given(st.text(max_size=80), st.sampled_from(["", "age1", "age1pq1", "AGE-SECRET-KEY-1"]))
def test_any_text_is_refused_as_a_key(text: str, begin: str) -> None:
    for parse in (parse_recipient, parse_identity):
        with pytest.raises(ValueError, match=r"."):
            parse(begin + text)


@pytest.mark.parametrize("kind", [HybridIdentity, ClassicIdentity])
def test_a_key_of_the_other_case_or_kind_is_refused(kind: type[Either]) -> None:
    identity = kind.generate()
    for parse, text in (
        (parse_identity, identity.encode_secret().lower()),
        (parse_identity, identity.recipient().encoded),
        (parse_recipient, identity.recipient().encoded.upper()),
        (parse_recipient, identity.encode_secret()),
    ):
        with pytest.raises(ValueError, match=r"."):
            parse(text)
