from pathlib import Path

import pytest
from cryptography.exceptions import UnsupportedAlgorithm

from relay.errors import ConfigInvalid, WrongIdentity
from relay.seal import files
from relay.seal.files import (
    check_primitives,
    load_identities,
    load_recipients,
    load_signing_identity,
    load_staff,
    seal_secret,
    write_secret,
)
from relay.seal.keys import ClassicIdentity, HybridIdentity
from relay.seal.signing import SigningIdentity

HYBRID = HybridIdentity.generate()
GOOD = HYBRID.recipient().encoded
OTHER = HybridIdentity.generate().recipient().encoded
CLASSIC = ClassicIdentity.generate().recipient().encoded


def load(path: Path, text: str, *, allow_classic: bool = False) -> int:
    path.write_text(text, "utf-8")
    path.chmod(0o644)
    return len(load_recipients(path, slots=2, allow_classic=allow_classic))


def test_recipients_stand_one_a_line_with_comments(tmp_path: Path) -> None:
    assert load(tmp_path / "r", f"# the team\n\n{GOOD}  # é\n{OTHER}\n") == 2
    assert load(tmp_path / "r", CLASSIC, allow_classic=True) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "there is no recipient"),
        ("# nobody\n", "there is no recipient"),
        (f"{GOOD[:-1]}q", "line 1: checksum"),
        (f"\n{GOOD[:400]}", "line 2: checksum"),
        ("hello", "line 1: not a recipient"),
        (HYBRID.encode_secret(), "line 1: this is a SECRET key"),
        (f"{GOOD}\n{GOOD}", "twice"),
        (f"{GOOD}\n{OTHER}\n{HybridIdentity.generate().recipient().encoded}", "recipient_slots"),
        (CLASSIC, "quantum"),
        (f"{GOOD}\n{CLASSIC}", "quantum"),
    ],
)
def test_a_recipients_file_that_is_not_sound_is_refused_by_name(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(ConfigInvalid, match=words) as caught:
        load(tmp_path / "recipients.txt", text)
    assert "recipients.txt" in caught.value.message
    assert HYBRID.encode_secret() not in caught.value.message


def test_classic_needs_the_campaigns_word_and_is_never_mixed_with_hybrid(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="quantum"):
        load(tmp_path / "r", CLASSIC)
    assert load(tmp_path / "r", CLASSIC, allow_classic=True) == 1
    with pytest.raises(ConfigInvalid, match="undoes"):
        load(tmp_path / "r", f"{GOOD}\n{CLASSIC}", allow_classic=True)


def test_a_key_file_that_others_can_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r"
    path.write_text(GOOD)
    path.chmod(0o666)
    with pytest.raises(ConfigInvalid, match="chmod go-w"):
        load_recipients(path, slots=2, allow_classic=False)
    with pytest.raises(ConfigInvalid, match="No such file"):
        load_recipients(tmp_path / "none", slots=2, allow_classic=False)


def test_a_secret_signer_in_the_staff_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "staff.txt"
    secret = SigningIdentity.generate()
    path.write_text(secret.encode_secret())
    path.chmod(0o644)
    with pytest.raises(ConfigInvalid, match="SECRET"):
        load_staff(path)
    path.write_text(secret.signer().encoded)
    assert list(load_staff(path)) == [secret.signer().encoded]


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
    with pytest.raises(ConfigInvalid, match="not a sealed key file"):
        load_identities(tmp_path / "s", "p")


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
