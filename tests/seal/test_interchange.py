"""Files go both ways between us and others: npm's age, pyrage (Rust), the age command (Go)."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pyrage
import pytest

from relay.seal import age, armor
from relay.seal.envelope import Submission, seal_envelope
from relay.seal.files import load_identities, seal_secret
from relay.seal.keys import ClassicIdentity, HybridIdentity, Passphrase, parse_identity
from tests.conftest import ROOT, at_terminal

HYBRID, CLASSIC = HybridIdentity.generate(), ClassicIdentity.generate()
OTHER_HYBRID, OTHER_CLASSIC = HybridIdentity.generate(), ClassicIdentity.generate()
PASSPHRASE = "four made up words"
# Nothing, full chunks only, and a last chunk that isn't.
PLAINTEXTS = [b"", os.urandom(128 * 1024), os.urandom(150_000)]


def run(*command: str | Path, stdin: bytes = b"") -> bytes:
    return subprocess.run(command, input=stdin, capture_output=True, check=True).stdout


Pair = tuple[HybridIdentity, HybridIdentity] | tuple[ClassicIdentity, ClassicIdentity]
KINDS: dict[str, Pair] = {
    "hybrid": (HYBRID, OTHER_HYBRID),
    "X25519": (CLASSIC, OTHER_CLASSIC),
}
both_kinds = pytest.mark.parametrize("pair", KINDS.values(), ids=KINDS)


def sealed_to(pair: Pair, plaintext: bytes) -> bytes:
    return age.seal(plaintext, [identity.recipient() for identity in pair])


# -- npm age-encryption -------------------------------------------------------------------------


@both_kinds
def test_npm_opens_what_we_seal(pair: Pair, tmp_path: Path) -> None:
    identity, sealed = tmp_path / "identity", tmp_path / "sealed.age"
    identity.write_text(pair[1].encode_secret() + "\n")
    for plaintext in PLAINTEXTS:
        sealed.write_bytes(sealed_to(pair, plaintext))
        assert run("node", ROOT / "tests/node/open.mjs", identity, sealed) == plaintext


@both_kinds
def test_we_open_what_npm_seals(pair: Pair) -> None:
    recipients = [identity.recipient().encoded for identity in pair]
    for plaintext in PLAINTEXTS:
        sealed = run("node", ROOT / "tests/node/seal.mjs", *recipients, stdin=plaintext)
        for identity in pair:
            assert age.unseal(sealed, [identity]) == plaintext


def test_passphrases_go_both_ways_with_npm(tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text(PASSPHRASE)
    sealed = seal_secret(HYBRID.encode_secret(), PASSPHRASE, log_n=10)
    for written in (sealed, armor.encode(sealed)):
        (tmp_path / "sealed.age").write_bytes(written)
        command = ["node", ROOT / "tests/node/open.mjs", tmp_path / "passphrase"]
        opened = run(*command, tmp_path / "sealed.age").decode()
        assert opened.strip() == HYBRID.encode_secret()
    theirs = run("node", ROOT / "tests/node/seal.mjs", PASSPHRASE, stdin=b"from npm")
    assert age.unseal(theirs, [Passphrase(secret=PASSPHRASE)]) == b"from npm"


# -- pyrage -------------------------------------------------------------------------------------


def test_pyrage_opens_what_we_seal() -> None:
    theirs = pyrage.x25519.Identity.from_str(OTHER_CLASSIC.encode_secret())
    for plaintext in PLAINTEXTS:
        assert pyrage.decrypt(sealed_to((CLASSIC, OTHER_CLASSIC), plaintext), [theirs]) == plaintext


@pytest.mark.parametrize("is_armored", [False, True])
def test_we_open_what_pyrage_seals(*, is_armored: bool) -> None:
    """Some of its files hold a stanza of no known type, which no reader may stumble over."""
    identity = pyrage.x25519.Identity.generate()
    ours = parse_identity(str(identity))
    assert ours.recipient().encoded == str(identity.to_public())
    for plaintext in PLAINTEXTS * 5:
        sealed = pyrage.encrypt(plaintext, [identity.to_public()], armored=is_armored)
        binary = armor.decode(sealed) if is_armored else sealed
        assert age.unseal(binary, [ours]) == plaintext
        assert not is_armored or armor.encode(binary) == sealed


# -- the age command ----------------------------------------------------------------------------


def kinds_of_age_command() -> list[Pair]:
    """Hybrid too from 1.3 on; Debian's may be older, and npm's opener stands in for it above."""
    version = run("age", "--version").decode().strip().removeprefix("v").split(".")
    is_new = (int(version[0]), int(version[1])) >= (1, 3)
    return [KINDS["X25519"], KINDS["hybrid"]] if is_new else [KINDS["X25519"]]


def test_the_age_command_opens_what_we_seal(tmp_path: Path) -> None:
    for pair in kinds_of_age_command():
        (tmp_path / "identity").write_text(pair[1].encode_secret() + "\n")
        for plaintext in PLAINTEXTS:
            command = ["age", "-d", "-i", tmp_path / "identity"]
            assert run(*command, stdin=sealed_to(pair, plaintext)) == plaintext


def test_the_age_command_and_tar_open_a_question_of_the_same_length(tmp_path: Path) -> None:
    question = Submission(
        kind="question",
        campaign="demo",
        language="en",
        message="Who protects them?",
        may_quote=False,
        poster=None,
        may_post=False,
        not_before=None,
        scrub={},
    )
    photo = replace(question, kind="photo", message="")
    for pair in kinds_of_age_command():
        (tmp_path / "identity").write_text(pair[1].encode_secret() + "\n")
        sealed = [
            seal_envelope(
                one, content, [pair[1].recipient()], envelope_bytes=64 * 1024, recipient_slots=4
            )
            for one, content in ((question, None), (photo, os.urandom(40_000)))
        ]
        assert len(sealed[0]) == len(sealed[1])
        opened = run("age", "-d", "-i", tmp_path / "identity", stdin=sealed[0])
        run("tar", "x", "-C", tmp_path, stdin=opened)
        assert (tmp_path / "submission.json").read_bytes() == question.encode()
        assert not (tmp_path / "photo.jpg").exists()


def test_we_open_what_the_age_command_seals() -> None:
    for pair in kinds_of_age_command():
        named = [part for one in pair for part in ("-r", one.recipient().encoded)]
        for plaintext in PLAINTEXTS:
            sealed = run("age", *named, stdin=plaintext)
            assert [age.unseal(sealed, [one]) for one in pair] == [plaintext] * 2
            armored = run("age", "--armor", *named, stdin=plaintext)
            assert age.unseal(armor.decode(armored), [pair[0]]) == plaintext


def test_we_read_the_identities_that_age_keygen_makes() -> None:
    for pair in kinds_of_age_command():
        lines = run("age-keygen", *["-pq"] * (pair == KINDS["hybrid"])).decode().splitlines()
        public = next(line for line in lines if "public key: " in line).split(": ")[1]
        assert parse_identity(lines[-1]).recipient().encoded == public


@pytest.mark.parametrize("is_armored", [False, True])
def test_the_age_command_opens_an_identity_file_of_ours(
    tmp_path: Path, *, is_armored: bool
) -> None:
    sealed = seal_secret(HYBRID.encode_secret(), PASSPHRASE, log_n=10)
    (tmp_path / "identity.age").write_bytes(armor.encode(sealed) if is_armored else sealed)
    command = ["age", "-d", "-o", "out", "identity.age"]
    assert at_terminal(command, [("passphrase", PASSPHRASE)], cwd=tmp_path).code == 0
    assert (tmp_path / "out").read_text().strip() == HYBRID.encode_secret()


@pytest.mark.parametrize("options", [[], ["--armor"]], ids=["binary", "armored"])
def test_we_load_an_identity_file_that_the_age_command_sealed(
    tmp_path: Path, options: list[str]
) -> None:
    (tmp_path / "plain").write_text(f"# made by hand\n{HYBRID.encode_secret()}\n")
    command = ["age", "-p", *options, "-o", "identity.age", "plain"]
    typed = [("Enter passphrase", PASSPHRASE), ("Confirm passphrase", PASSPHRASE)]
    assert at_terminal(command, typed, cwd=tmp_path).code == 0
    (loaded,) = load_identities(tmp_path / "identity.age", PASSPHRASE)
    assert loaded.encode_secret() == HYBRID.encode_secret()
