import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import Corrupt, RelayError, WrongIdentity
from relay.seal import age
from relay.seal.files import seal_secret
from relay.seal.keys import ClassicIdentity, HybridIdentity, Passphrase, parse_identity
from relay.seal.stanza import Stanza, encode_header, from_base64, parse_header, to_base64
from tests.conftest import ROOT, at_terminal

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


@pytest.mark.parametrize("text", [b"YQ==", b"YR", b"Y", b"Y Q", b"YQ\n", b"Y-"])
def test_base64_that_is_not_canonical_is_refused(text: bytes) -> None:
    with pytest.raises(Corrupt):
        from_base64(text)


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


def test_a_passphrase_stanza_that_asks_for_days_of_work_is_refused() -> None:
    sealed = age.seal(b"", [Passphrase(secret="x", log_n=8)])
    with pytest.raises(Corrupt, match="too much work"):
        age.unseal(sealed.replace(b" 8\n", b" 40\n"), [Passphrase(secret="x")])


# -- stock tools ------------------------------------------------------------------------------


def test_stock_age_opens_what_we_seal_to_a_classic_recipient(tmp_path: Path) -> None:
    identity = ClassicIdentity.generate()
    (tmp_path / "identity").write_text(identity.encode_secret() + "\n")
    sealed = age.seal(b"from us", [identity.recipient()])
    command = ["age", "-d", "-i", str(tmp_path / "identity")]
    assert (
        subprocess.run(command, input=sealed, capture_output=True, check=True).stdout == b"from us"
    )


def test_we_open_what_stock_age_seals() -> None:
    identity = ClassicIdentity.generate()
    command = ["age", "-r", identity.recipient().encoded]
    sealed = subprocess.run(command, input=b"from age", capture_output=True, check=True).stdout
    assert age.unseal(sealed, [identity]) == b"from age"


def test_stock_age_opens_an_identity_file_with_its_passphrase(tmp_path: Path) -> None:
    (tmp_path / "identity.age").write_bytes(
        seal_secret(ALICE.encode_secret(), "four words", log_n=10)
    )
    command = ["age", "-d", "-o", "out", "identity.age"]
    assert at_terminal(command, [("passphrase", "four words")], cwd=tmp_path).code == 0
    assert (tmp_path / "out").read_text().strip() == ALICE.encode_secret()


def age_version() -> tuple[int, ...]:
    text = subprocess.run(["age", "--version"], capture_output=True, text=True, check=True).stdout
    numbers = text.strip().lstrip("v").split("-")[0].split("+")[0]
    return tuple(int(part) for part in numbers.split(".") if part.isdigit())


def test_stock_openers_open_a_hybrid_file(tmp_path: Path) -> None:
    """npm age-encryption everywhere; the age command too where it knows these recipients."""
    (tmp_path / "identity").write_text(ALICE.encode_secret() + "\n")
    (tmp_path / "sealed.age").write_bytes(SEALED)
    openers = [["node", str(ROOT / "tests/node/open.mjs"), str(tmp_path / "identity")]]
    if age_version() >= (1, 3):
        openers.append(["age", "-d", "-i", str(tmp_path / "identity")])
    for opener in openers:
        command = [*opener, str(tmp_path / "sealed.age")]
        assert subprocess.run(command, capture_output=True, check=True).stdout == b"a photo"
