"""`relay keys`, as typed by a person."""

import datetime as dt
import json
import stat
from pathlib import Path

import pytest

from relay.errors import WrongIdentity
from relay.seal import age
from relay.seal.files import load_identities, load_kept
from relay.seal.fingerprint import fingerprint
from relay.seal.lists import load_recipients
from tests.conftest import Result, relay

TODAY = dt.datetime.now(dt.UTC).date()
ONE = dt.timedelta(days=1)
SPRING, AUTUMN = TODAY + 180 * ONE, TODAY + 360 * ONE


class Keys:
    """A colleague's folder, and its commands."""

    def __init__(self, home: Path, name: str = "hers") -> None:
        self.home = home
        self.folder = home / name
        (home / "passphrase").write_text("four words of hers\n")

    def run(self, command: str, *arguments: str | dt.date) -> Result:
        words = [str(argument) for argument in arguments]
        passphrase = ("--passphrase-file", "passphrase")
        return relay("keys", command, self.folder.name, *passphrase, *words, cwd=self.home)

    def json(self, command: str, *arguments: str | dt.date) -> dict[str, object]:
        done = self.run(command, "--json", *arguments)
        assert done.code == 0, done.err
        return done.json

    @property
    def identities(self):  # noqa: ANN201 - age's own
        return load_identities(self.folder / "identity.age", "four words of hers")


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


def test_generate_prints_two_public_lines_and_how_to_read_them_aloud(keys: Keys) -> None:
    made = keys.run("generate", "--until", SPRING)
    assert made.code == 0, made.err
    recipient, signer = made.out.splitlines()
    assert recipient.endswith(f" from {TODAY} until {SPRING}")
    for key in (recipient.split(" ")[0], signer):
        assert fingerprint(key) in made.err
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys.folder.iterdir()} == {0o600}
    shown = keys.run("show")
    assert shown.out == made.out
    again = keys.run("generate")
    assert (again.code, "never overwritten" in again.err) == (2, True)
    assert keys.run("show").out == made.out


def test_the_next_period_begins_where_the_last_one_ends_and_the_signer_stays(keys: Keys) -> None:
    first = keys.json("generate", "--until", SPRING)
    second = keys.run("generate", "--until", AUTUMN)
    assert second.out.endswith(f" from {SPRING + ONE} until {AUTUMN}\n")
    assert len(second.out.splitlines()) == 1
    shown = keys.json("show")
    assert shown["recipients"] == [*first["recipients"], second.out.split(" ")[0]]  # type: ignore[misc]
    assert shown["signer"] == first["signer"]
    assert [path.name for path in sorted(keys.folder.iterdir())] == ["identity.age", "signer.age"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--until", TODAY - ONE), "over before it begins"),
        (("--until", SPRING, "--from", AUTUMN), "over before it begins"),
        (("--from", SPRING), "--from needs --until"),
        (("--until", "soon"), "not a day such as"),
    ],
)
def test_a_period_that_makes_no_sense_makes_no_key(
    keys: Keys, arguments: tuple[str, ...], words: str
) -> None:
    refused = keys.run("generate", *arguments)
    assert refused.code == 2
    assert words in refused.err
    assert not keys.folder.exists()


# -- forward secrecy -------------------------------------------------------------------------------


def test_an_envelope_of_a_past_period_can_not_be_opened_once_its_identity_is_destroyed(
    keys: Keys,
) -> None:
    keys.json("generate", "--until", TODAY)
    keys.json("generate", "--until", SPRING)
    old, new = keys.identities
    past, present = (age.seal(b"a photo", [one.recipient()]) for one in (old, new))
    assert age.unseal(past, keys.identities) == b"a photo"
    before = (keys.folder / "identity.age").read_bytes()
    refused = keys.run("destroy", "--until", TODAY)
    assert (refused.code, f"till {TODAY + 30 * ONE} the relay may hold" in refused.err) == (2, True)
    dry = keys.run("destroy", "--until", TODAY, "--force", "--dry-run")
    assert dry.out == f"would be destroyed: from {TODAY} until {TODAY}, {words_of(old)}\n"
    assert (keys.folder / "identity.age").read_bytes() == before
    done = keys.run("destroy", "--until", TODAY, "--force")
    assert done.out == f"destroyed: from {TODAY} until {TODAY}, {words_of(old)}\n"
    with pytest.raises(WrongIdentity):
        age.unseal(past, keys.identities)
    assert age.unseal(present, keys.identities) == b"a photo"
    assert keys.run("destroy", "--until", TODAY, "--force").code == 10, "nothing is left to destroy"


def words_of(identity) -> str:  # noqa: ANN001 - age's own
    return fingerprint(identity.recipient().encoded)


def test_the_blocks_of_the_old_file_are_overwritten(keys: Keys) -> None:
    keys.json("generate", "--until", TODAY)
    keys.json("generate", "--until", SPRING)
    path = keys.folder / "identity.age"
    with path.open("rb", buffering=0) as old:
        assert old.read(3) == b"age"
        keys.json("destroy", "--until", TODAY, "--force")
        old.seek(0)
        assert set(old.read()) == {0}
    assert len(load_kept(path, "four words of hers")) == 1


def test_the_last_identity_is_destroyed_only_by_force(keys: Keys) -> None:
    keys.json("generate", "--until", TODAY)
    nothing = keys.run("destroy", "--until", TODAY - 40 * ONE)
    assert (nothing.code, "no identity ends by" in nothing.err) == (10, True)
    for name in ("identity.age", "signer.age"):
        before = (keys.folder / name).read_bytes()
        (keys.folder / name).unlink()
        half = keys.run("generate", "--until", SPRING)
        assert half.code == 2, "half of a pair is not taken for the whole"
        (keys.folder / name).write_bytes(before)
    assert len(keys.identities) == 1


def test_keys_are_not_made_where_a_program_copies_them_away(keys: Keys) -> None:
    keys.folder = keys.home / "Dropbox"
    refused = keys.run("generate", "--until", SPRING)
    assert (refused.code, keys.folder.exists()) == (14, False)
    assert keys.run("generate", "--until", SPRING, "--force").code == 0


def test_a_wrong_passphrase_destroys_nothing(keys: Keys) -> None:
    keys.json("generate", "--until", TODAY)
    before = (keys.folder / "identity.age").read_bytes()
    (keys.home / "passphrase").write_text("not hers\n")
    for command in ("destroy", "generate"):
        assert (
            keys.run(command, "--until", SPRING, *["--force"] * (command == "destroy")).code == 12
        )
    assert (keys.folder / "identity.age").read_bytes() == before


# -- lists ---------------------------------------------------------------------------------------


@pytest.fixture
def listed(keys: Keys) -> Keys:
    """Two colleagues' recipients in one list, and a list of staff."""
    other = Keys(keys.home, "other")
    lines = [one.run("generate", "--until", SPRING).out.splitlines() for one in (keys, other)]
    (keys.home / "recipients.txt").write_text("".join(f"{line[0]}\n" for line in lines))
    (keys.home / "staff.txt").write_text("".join(f"{line[1]} pull\n" for line in lines))
    return keys


def sign(keys: Keys, *arguments: str) -> Result:
    command = (
        "keys",
        "sign",
        "recipients.txt",
        "--keys",
        "hers",
        "--passphrase-file",
        "passphrase",
    )
    return relay(*command, *arguments, cwd=keys.home)


def verify(keys: Keys, *arguments: str) -> Result:
    return relay("keys", "verify", *arguments, cwd=keys.home)


def test_a_list_is_signed_under_a_number_that_grows(listed: Keys) -> None:
    path = listed.home / "recipients.txt"
    before = [str(entry) for entry in load_recipients(path).entries]
    refused = sign(listed)
    assert (refused.code, "--campaign" in refused.err) == (2, True)
    for number in (1, 2):
        signed = sign(listed, *["--campaign", "spring"] * (number == 1))
        assert signed.code == 0, signed.err
        found = load_recipients(path)
        assert (found.campaign, found.number) == ("spring", number)
        assert [str(entry) for entry in found.entries] == before
    assert f"From {SPRING + ONE} on nobody in it is valid" in signed.err
    assert f'campaign_signer = "{found.untrusted_signer}"' in signed.err
    assert sign(listed, "--campaign", "summer").code == 2
    shown = verify(listed, "recipients.txt").out.splitlines()
    assert len(shown) == 3
    assert "signed this list, number 2 of spring" in shown[2]
    path.write_text(path.read_text().replace("number 2", "number 3"))
    changed = verify(listed, "recipients.txt")
    assert (changed.code, "changed since it was signed" in changed.err) == (2, True)


@pytest.mark.parametrize("name", ["recipients.txt", "staff.txt", None])
def test_verify_compares_a_fingerprint_in_words(listed: Keys, name: str | None) -> None:
    shown = listed.json("show")
    key = str(shown["signer"]) if name == "staff.txt" else str(shown["recipients"][0])  # type: ignore[index]
    words = fingerprint(key)
    same = verify(listed, name or key, "--words", words.title().replace(" ", " - "))
    assert same.code == 0, same.err
    assert same.out.startswith(f"{words}  ")
    assert len(same.out.splitlines()) == 1
    heard = " ".join([*words.split(" ")[:7], "zoo"])
    near = verify(listed, name or key, "--words", heard)
    assert (near.code, "7 of 8 words agree" in near.err) == (1, True)
    other = verify(listed, name or key, "--words", "zoo " * 8)
    assert (other.code, "no key there has these words" in other.err) == (1, True)
    assert other.out == ""
    assert verify(listed, name or key, "--words", "too few").code == 2
    report = json.loads(verify(listed, name or key, "--words", words, "--json").out)
    assert [one["key"] for one in report["keys"] if one["same"]] == [key]


def test_what_is_no_list_and_no_key_is_said(listed: Keys) -> None:
    for what, words in (
        ("none.txt", "neither a list nor a public key"),
        ("age1pq1garbage", "age1pq1garba…: "),
        ("relaysigner1garbage", "relaysigner1…: "),
        ("\x1b[31m", "\\u001b"),
    ):
        refused = verify(listed, what)
        assert (refused.code, refused.out) == (2, "")
        assert words in refused.err
        assert "\x1b" not in refused.err
