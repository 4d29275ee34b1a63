from pathlib import Path

import pytest
from cryptography.exceptions import UnsupportedAlgorithm

from relay.errors import ConfigInvalid, WrongIdentity
from relay.seal import armor, files
from relay.seal.files import (
    check_primitives,
    load_identities,
    load_signing_identity,
    seal_secret,
    write_secret,
)
from relay.seal.keys import HybridIdentity
from relay.seal.signing import SigningIdentity

HYBRID = HybridIdentity.generate()
GOOD = HYBRID.recipient().encoded


def test_sealed_key_files_open_with_their_passphrase_only(tmp_path: Path) -> None:
    signing = SigningIdentity.generate()
    write_secret(tmp_path / "i", seal_secret(HYBRID.encode_secret(), "p", log_n=8))
    write_secret(tmp_path / "s", seal_secret(signing.encode_secret(), "p", log_n=8))
    assert (tmp_path / "i").stat().st_mode & 0o777 == 0o600
    assert load_identities(tmp_path / "i", "p")[0].recipient().encoded == GOOD
    loaded = load_signing_identity(tmp_path / "s", "p")
    assert loaded.signer().encoded == signing.signer().encoded
    with pytest.raises(WrongIdentity):
        load_identities(tmp_path / "i", "q")
    with pytest.raises(ConfigInvalid, match="no identity"):
        load_identities(tmp_path / "s", "p")
    with pytest.raises(ConfigInvalid, match="no signing key"):
        load_signing_identity(tmp_path / "i", "p")


def test_armored_key_files_open_as_binary_ones_do(tmp_path: Path) -> None:
    for name, secret in (("i", HYBRID), ("s", SigningIdentity.generate())):
        armored = armor.encode(seal_secret(secret.encode_secret(), "p", log_n=8))
        write_secret(tmp_path / name, b"\r\n" + armored.replace(b"\n", b"\r\n"))
    assert load_identities(tmp_path / "i", "p")[0].recipient().encoded == GOOD
    load_signing_identity(tmp_path / "s", "p")
    with pytest.raises(WrongIdentity):
        load_identities(tmp_path / "i", "q")
    (tmp_path / "i").write_bytes((tmp_path / "i").read_bytes()[:-20])
    with pytest.raises(ConfigInvalid, match="damaged"):
        load_identities(tmp_path / "i", "p")


def test_a_build_without_the_hybrid_kem_is_found_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_primitives()

    def unsupported(*_: object, **__: object) -> bytes:
        raise UnsupportedAlgorithm("no ML-KEM here")

    monkeypatch.setattr(files.age, "seal", unsupported)
    with pytest.raises(ConfigInvalid, match="ML-KEM"):
        check_primitives()


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    write_secret(tmp_path / "k", b"1")
    with pytest.raises(ConfigInvalid, match="never overwritten"):
        write_secret(tmp_path / "k", b"2")
    assert (tmp_path / "k").read_bytes() == b"1"
