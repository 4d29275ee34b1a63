import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Corrupt, RelayError, WrongIdentity
from relay.seal import age, armor
from relay.seal.files import seal_secret
from relay.seal.keys import ClassicIdentity, HybridIdentity, Passphrase, parse_identity
from relay.seal.stanza import Stanza, encode_header, from_base64, parse_header, to_base64

ALICE, BERTA = HybridIdentity.generate(), HybridIdentity.generate()
CHUNK = 64 * 1024
SEALED = age.seal(b"a photo", [ALICE.recipient(), BERTA.recipient()])


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_each_recipient_opens_what_was_sealed_to_several(size: int) -> None:
    plaintext = os.urandom(size)
    sealed = age.seal(plaintext, [ALICE.recipient(), BERTA.recipient()])
    assert age.unseal(sealed, [ALICE]) == plaintext
    assert age.unseal(sealed, [BERTA]) == plaintext


def test_a_stranger_is_told_that_it_is_not_for_her() -> None:
    with pytest.raises(WrongIdentity):
        age.unseal(SEALED, [HybridIdentity.generate(), ClassicIdentity.generate()])


@given(st.integers(0, len(SEALED) - 1))
def test_cut_anywhere_it_is_refused(length: int) -> None:
    with pytest.raises(Corrupt):
        age.unseal(SEALED[:length], [ALICE])


@given(st.integers(0, len(SEALED) * 8 - 1))
def test_any_flipped_bit_is_noticed(bit: int) -> None:
    damaged = bytearray(SEALED)
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises((Corrupt, WrongIdentity)):
        age.unseal(bytes(damaged), [ALICE])


def test_a_whole_chunk_cut_off_is_noticed() -> None:
    sealed = age.seal(bytes(3 * CHUNK), [ALICE.recipient()])
    for chunks in (1, 2):
        with pytest.raises(Corrupt):
            age.unseal(sealed[: -chunks * (CHUNK + 16)], [ALICE])


@given(st.binary(max_size=400))
def test_any_bytes_are_refused_in_our_own_words(garbage: bytes) -> None:
    for untrusted in (garbage, b"age-encryption.org/v1\n" + garbage):
        with pytest.raises(RelayError):
            age.unseal(untrusted, [ALICE])


@given(
    st.lists(
        st.builds(
            Stanza,
            type=st.from_regex(r"[!-~]{1,12}", fullmatch=True),
            arguments=st.lists(st.from_regex(r"[!-~]{1,9}", fullmatch=True), max_size=3).map(tuple),
            body=st.binary(max_size=150),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_header_comes_back(stanzas: list[Stanza]) -> None:
    mac = os.urandom(32)
    header = encode_header(tuple(stanzas)) + b" " + to_base64(mac) + b"\n"
    parsed = parse_header(header + b"payload")
    assert parsed.stanzas == tuple(stanzas)
    assert parsed.mac == mac
    assert parsed.length == len(header)


@given(st.binary(max_size=100))
def test_any_bytes_come_back_from_base64(raw: bytes) -> None:
    assert from_base64(to_base64(raw)) == raw


@given(st.text("ABab+/=019-_ \n", max_size=12).map(str.encode))
def test_base64_is_written_in_one_way_only(text: bytes) -> None:
    try:
        raw = from_base64(text)
    except Corrupt:
        return
    assert to_base64(raw) == text


@pytest.mark.parametrize("text", [b"YQ==", b"YR", b"Y", b"Y Q", b"YQ\n", b"Y-"])
def test_base64_that_is_not_canonical_is_refused(text: bytes) -> None:
    with pytest.raises(Corrupt):
        from_base64(text)


def test_an_envelope_in_armor_is_refused() -> None:
    """The same envelope would have more than one hash."""
    with pytest.raises(Corrupt, match="not an age v1 file"):
        age.unseal(armor.encode(SEALED), [ALICE])


def test_a_low_order_share_is_called_damage_not_a_wrong_key() -> None:
    header = parse_header(SEALED)
    stanza = header.stanzas[0]
    enc = from_base64(stanza.arguments[0].encode())[:-32] + bytes(32)
    forged = Stanza(type=stanza.type, arguments=(to_base64(enc).decode(),), body=stanza.body)
    with pytest.raises(Corrupt):
        ALICE.unwrap([forged])


def test_an_identity_reads_back() -> None:
    for identity in (ALICE, ClassicIdentity.generate()):
        again = parse_identity(identity.encode_secret())
        assert again.recipient().encoded == identity.recipient().encoded
        assert identity.encode_secret() not in repr(identity)


def test_a_wrong_passphrase_does_not_open_an_identity() -> None:
    sealed = seal_secret("secret", "right", log_n=8)
    assert age.unseal(sealed, [Passphrase(secret="right")]) == b"secret\n"
    with pytest.raises(WrongIdentity):
        age.unseal(sealed, [Passphrase(secret="wrong")])


def test_a_passphrase_is_never_one_of_several_recipients() -> None:
    with pytest.raises(ValueError, match="only recipient"):
        age.seal(b"", [ALICE.recipient(), Passphrase(secret="x", log_n=8)])


def test_a_passphrase_stanza_that_asks_for_days_of_work_is_refused() -> None:
    sealed = age.seal(b"", [Passphrase(secret="x", log_n=8)])
    with pytest.raises(Corrupt, match="too much work"):
        age.unseal(sealed.replace(b" 8\n", b" 40\n"), [Passphrase(secret="x")])
