"""accounts.toml is read whole, or refused with the setting's name; no secret stands in it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from relay.desk.networks import accounts
from relay.errors import ConfigInvalid, UnsafePlace
from tests.conftest import ROOT

SECRET = "CANARY-token"
DOCUMENTED = re.findall(
    r"```toml\n(\[.*?)```", (ROOT / "docs/staff.md").read_text("utf-8"), re.DOTALL
)
GOOD = """
[main]
network = "mastodon"
server = "https://mastodon.example"
token_file = "secret"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    secret.chmod(0o600)
    return tmp_path


def load(folder: Path, text: str) -> dict[str, accounts.Network]:
    path = folder / "accounts.toml"
    path.write_text(text, "utf-8")
    return accounts.load(path)


def test_the_accounts_come_in_the_order_of_the_file(folder: Path) -> None:
    text = """
[zulu]
network = "folder"
path = "posts"
[main]
network = "mastodon"
server = "https://mastodon.example/"
token_file = "secret"
[blue]
network = "bluesky"
server = "https://bsky.social"
identifier = "campaign.example.org"
password_file = "secret"
[page]
network = "facebook"
page = "102030405060708"
token_file = "secret"
[x]
network = "x"
token_file = "secret"
"""
    found = load(folder, text)
    assert {name: account.name for name, account in found.items()} == {
        "zulu": "folder",
        "main": "mastodon",
        "blue": "bluesky",
        "page": "facebook",
        "x": "x",
    }
    assert [*found] == ["zulu", "main", "blue", "page", "x"]


def test_what_the_guide_shows_can_be_read(folder: Path) -> None:
    assert DOCUMENTED
    for text in DOCUMENTED:
        for name in re.findall(r'_file = "(.+?)"', text):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(SECRET)
            path.chmod(0o600)
        assert load(folder, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("main = 1", "a table"),
        ("[main]\n", "'network' is missing"),
        ('[main]\nnetwork = "myspace"', "unknown network 'myspace'"),
        (GOOD + "extra = 1", "unknown setting 'extra'"),
        (GOOD.replace('token_file = "secret"', ""), "needs token_file or keyring"),
        (GOOD + 'keyring = "x"', "needs token_file or keyring, one"),
        (GOOD.replace('"secret"', "7"), "not a text"),
        (GOOD.replace('"secret"', '"gone"'), "No such file"),
        (GOOD.replace('"secret"', '"."'), "not a file"),
        (GOOD.replace("https://mastodon", "http://mastodon"), "begins with https"),
        (GOOD.replace("mastodon.example", "mastodon.example/path"), "is an address"),
        (GOOD.replace("mastodon.example", "a:b@mastodon.example"), "is an address"),
        (GOOD.replace('token_file = "secret"', f'token = "{SECRET}"'), "no secret stands"),
        (GOOD + f'password = "{SECRET}"', "no secret stands"),
        ("[main", "accounts.toml: "),
    ],
)
def test_what_does_not_fit_is_named_and_no_secret_told(folder: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigInvalid, match=re.escape(said)) as refused:
        load(folder, text)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"\n", b"two words", b"two\nlines", b"\xff", b"x" * 9000])
def test_a_secret_is_one_line(folder: Path, content: bytes) -> None:
    (folder / "secret").write_bytes(content)
    with pytest.raises(ConfigInvalid, match="one line"):
        load(folder, GOOD)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_secret_that_others_can_read_is_refused(folder: Path, mode: int) -> None:
    (folder / "secret").chmod(mode)
    with pytest.raises(UnsafePlace, match="chmod 600"):
        load(folder, GOOD)


KEYRING = """
import keyring, keyring.backend, sys
from pathlib import Path

class Ours(keyring.backend.KeyringBackend):
    priority = 1
    def get_password(self, service, name):
        return {("posters", "main"): "from-the-keyring"}.get((service, name))
    def set_password(self, *_): ...
    def delete_password(self, *_): ...

keyring.set_keyring(Ours())
from relay.desk.networks import accounts
print(accounts.load(Path(sys.argv[1]))["main"]._api.access_token)
"""


@pytest.mark.parametrize(("service", "said"), [("posters", "from-the-keyring"), ("x", "set 'x'")])
def test_a_secret_is_asked_of_the_keyring(folder: Path, service: str, said: str) -> None:
    text = GOOD.replace("token_file", "keyring").replace('"secret"', f'"{service}"')
    (folder / "accounts.toml").write_text(text)
    command = [sys.executable, "-c", KEYRING, str(folder / "accounts.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("blocked", "text", "said"),
    [
        ("keyring", GOOD.replace("token_file", "keyring"), "poster-relay[keyring]"),
        ("mastodon", GOOD, "poster-relay[post]"),
        ("requests", GOOD, "poster-relay[post]"),
    ],
)
def test_a_package_that_is_missing_is_named(
    folder: Path, blocked: str, text: str, said: str
) -> None:
    (folder / "accounts.toml").write_text(text)
    code = (
        f"import sys; sys.modules[{blocked!r}] = None; from pathlib import Path; "
        "from relay.desk.networks import accounts; accounts.load(Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, str(folder / "accounts.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert f"ConfigInvalid: {folder}/accounts.toml: [main]" in done.stderr
    assert said in done.stderr
