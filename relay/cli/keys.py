"""`relay keys`: make a colleague's keys, show their public halves."""

import argparse
import base64
import re
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from relay.cli.printing import ask_passphrase, result, result_json, say
from relay.errors import ConfigInvalid
from relay.seal.files import load_identities, load_signing_identity, seal_secret, write_secret
from relay.seal.keys import SCRYPT_LOG_N, HybridIdentity
from relay.seal.signing import SigningIdentity

IDENTITY_NAME = "identity.age"
SIGNER_NAME = "signer.age"
ONION_KEY_NAME = "desk.auth_private"
_ONION = re.compile(r"([a-z2-7]{56})(\.onion)?")


def add_commands(commands: Any) -> None:
    """Add `keys generate`, `keys show` and `keys onion`."""
    keys = commands.add_parser("keys", help="make and show keys").add_subparsers(
        required=True, metavar="COMMAND"
    )
    for name, run, words in (
        ("generate", _generate, "make a colleague's keys, protected by a passphrase"),
        ("show", _show, "show the public halves of a colleague's keys"),
    ):
        parser = keys.add_parser(name, help=words, description=words)
        parser.add_argument("folder", type=Path, help="where the two key files lie")
        parser.add_argument("--passphrase-file", type=Path, help="a file whose first line it is")
        parser.add_argument("--json", action="store_true")
        parser.set_defaults(run=run)
    words = "make the key with which a laptop's tor reaches the desk's onion"
    onion = keys.add_parser("onion", help=words, description=words)
    onion.add_argument("folder", type=Path, help="where the key file is written")
    onion.add_argument("--onion", required=True, help="the desk's onion address")
    onion.set_defaults(run=_make_onion_key)


def read_passphrase(path: Path) -> str:
    """Return the first line of a passphrase file.

    Raises:
        ConfigInvalid: missing or empty.
    """
    try:
        passphrase = path.read_text("utf-8").partition("\n")[0]
    except OSError as error:
        raise ConfigInvalid(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigInvalid(f"{path}: not a text file") from None
    if not passphrase:
        raise ConfigInvalid(f"{path}: the first line is the passphrase, and it is empty")
    return passphrase


def make_keys(folder: Path, passphrase: str, *, log_n: int = SCRYPT_LOG_N) -> tuple[str, str]:
    """Write both key files and return the recipient and the signer.

    log_n: scrypt's cost; the default is what the age command writes.

    Raises:
        ConfigInvalid: one of them exists.
    """
    identity, signing_identity = HybridIdentity.generate(), SigningIdentity.generate()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in (IDENTITY_NAME, SIGNER_NAME):
        if (folder / name).exists():
            raise ConfigInvalid(f"{folder / name} exists. A key is never overwritten.")
    for name, secret in (
        (IDENTITY_NAME, identity.encode_secret()),
        (SIGNER_NAME, signing_identity.encode_secret()),
    ):
        write_secret(folder / name, seal_secret(secret, passphrase, log_n=log_n))
    return identity.recipient().encoded, signing_identity.signer().encoded


def _generate(arguments: argparse.Namespace) -> int:
    passphrase = _passphrase(arguments, twice=True)
    recipient, signer = make_keys(arguments.folder, passphrase)
    say(f"Two secret files are in {arguments.folder}: {IDENTITY_NAME}, {SIGNER_NAME}.")
    say("Keep them and the passphrase apart. Nobody can restore either.")
    say("Give these two lines to the operator: recipients.txt, staff.txt.")
    _print(arguments, [recipient], signer)
    return 0


def _show(arguments: argparse.Namespace) -> int:
    passphrase = _passphrase(arguments, twice=False)
    identities = load_identities(arguments.folder / IDENTITY_NAME, passphrase)
    signer = load_signing_identity(arguments.folder / SIGNER_NAME, passphrase).signer()
    _print(arguments, [identity.recipient().encoded for identity in identities], signer.encoded)
    return 0


def _make_onion_key(arguments: argparse.Namespace) -> int:
    """Write what tor reads in its ClientOnionAuthDir. Source: tor(1), CLIENT AUTHORIZATION."""
    match = _ONION.fullmatch(arguments.onion)
    if match is None:
        raise ConfigInvalid("--onion: 56 letters and digits, then .onion")
    path = arguments.folder / ONION_KEY_NAME
    if path.exists():
        raise ConfigInvalid(f"{path} exists. A key is never overwritten.")
    secret = X25519PrivateKey.generate()
    arguments.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    line = f"{match[1]}:descriptor:x25519:{_base32(secret.private_bytes_raw())}\n"
    write_secret(path, line.encode())
    say(f"Move {path} into the folder that ClientOnionAuthDir names in this laptop's torrc,")
    say("owned by tor's user, and restart tor. Give this line to the operator:")
    result(f"descriptor:x25519:{_base32(secret.public_key().public_bytes_raw())}")
    return 0


def _base32(raw: bytes) -> str:
    return base64.b32encode(raw).decode().rstrip("=")


def _passphrase(arguments: argparse.Namespace, *, twice: bool) -> str:
    if arguments.passphrase_file is not None:
        return read_passphrase(arguments.passphrase_file)
    return ask_passphrase(str(arguments.folder), twice=twice)


def _print(arguments: argparse.Namespace, recipients: list[str], signer: str) -> None:
    if arguments.json:
        result_json({"recipients": recipients, "signer": signer})
        return
    for recipient in recipients:
        result(recipient)
    result(signer)
