"""`relay keys`: make a colleague's keys, show, compare, sign and destroy them."""

import argparse
import base64
import datetime as dt
import re
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from relay.cli import lists
from relay.cli.printing import get_passphrase, result, result_json, say, shorten
from relay.desk.places import check_place
from relay.errors import ConfigInvalid, NothingThere
from relay.seal.files import (
    IDENTITY_NAME,
    SIGNER_NAME,
    KeptIdentity,
    load_kept,
    load_signing_identity,
    replace_secret,
    seal_kept,
    seal_secret,
    write_secret,
)
from relay.seal.fingerprint import fingerprint
from relay.seal.keys import SCRYPT_LOG_N, HybridIdentity
from relay.seal.lists import Period
from relay.seal.signing import Signer, SigningIdentity

ONION_KEY_NAME = "desk.auth_private"
_ONION = re.compile(r"([a-z2-7]{56})(\.onion)?")
_ONE_DAY = dt.timedelta(days=1)
# As long as a relay keeps what nobody has fetched (retain_days).
_STILL_WAITING = dt.timedelta(days=30)


def add_commands(commands: Any) -> None:
    """Add `keys generate`, `show`, `verify`, `sign`, `destroy` and `onion`."""
    keys = commands.add_parser("keys", help="make, compare and sign keys").add_subparsers(
        required=True, metavar="COMMAND"
    )

    def add(name: str, run: Any, words: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = keys.add_parser(name, help=words, description=words)
        parser.set_defaults(run=run)
        return parser

    generate = add("generate", _generate, "make a colleague's keys, protected by a passphrase")
    generate.add_argument("--until", type=_day, help="the last day of the identity, YYYY-MM-DD")
    generate.add_argument("--force", action="store_true", help="even in a place that is not safe")
    generate.add_argument(
        "--from", type=_day, dest="first", help="its first day; default: the next"
    )
    show = add("show", _show, "show the public halves of a colleague's keys")
    destroy = add("destroy", _destroy, "destroy the identities of past periods")
    destroy.add_argument("--until", type=_day, required=True, help="those that end by that day")
    destroy.add_argument("--dry-run", action="store_true", help="say which, destroy nothing")
    destroy.add_argument("--force", action="store_true", help="valid ones too, and the last one")
    for parser in (generate, show, destroy):
        parser.add_argument("folder", type=Path, help="where the two key files lie")
        parser.add_argument("--passphrase-file", type=Path, help="a file whose first line it is")
        parser.add_argument("--json", action="store_true")

    lists.add_commands(add)

    words = "make the key with which a laptop's tor reaches the desk's onion"
    onion = add("onion", _make_onion_key, words)
    onion.add_argument("folder", type=Path, help="where the key file is written")
    onion.add_argument("--onion", required=True, help="the desk's onion address")


def make_keys(
    folder: Path, passphrase: str, *, period: Period | None = None, log_n: int = SCRYPT_LOG_N
) -> tuple[KeptIdentity, Signer]:
    """Write both key files and return the identity and the signer.

    log_n: scrypt's cost; the default is what the age command writes.

    Raises:
        ConfigInvalid: one of them exists.
    """
    kept = KeptIdentity(identity=HybridIdentity.generate(), period=period or Period())
    signing_identity = SigningIdentity.generate()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in (IDENTITY_NAME, SIGNER_NAME):
        if (folder / name).exists():
            raise ConfigInvalid(f"{folder / name} exists. A key is never overwritten.")
    write_secret(folder / IDENTITY_NAME, seal_kept([kept], passphrase, log_n=log_n))
    secret = seal_secret(signing_identity.encode_secret(), passphrase, log_n=log_n)
    write_secret(folder / SIGNER_NAME, secret)
    return kept, signing_identity.signer()


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day such as 2027-05-31") from None


def _today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()


def _generate(arguments: argparse.Namespace) -> int:
    folder = arguments.folder
    if arguments.until is None and arguments.first is not None:
        raise ConfigInvalid("--from needs --until: a period has an end")
    if not arguments.force:
        check_place(folder)
    if arguments.until is not None and (folder / IDENTITY_NAME).exists():
        return _add_period(arguments)
    period = Period()
    if arguments.until is not None:
        period = _period(arguments.first or _today(), arguments.until)
    passphrase = _passphrase(arguments, twice=True)
    kept, signer = make_keys(folder, passphrase, period=period)
    say(f"Two secret files are in {folder}: {IDENTITY_NAME}, {SIGNER_NAME}.")
    say("Keep them and the passphrase apart. Nobody can restore either.")
    if arguments.until is None:
        say(
            "They have no end. With --until DAY they could be destroyed in time (keys/rotation.md)."
        )
    say("These two lines are public, for recipients.txt and staff.txt:")
    _print(arguments, [kept], signer)
    return 0


def _add_period(arguments: argparse.Namespace) -> int:
    """Add the next period's identity to a file that has one; the signer stays."""
    path, signer = arguments.folder / IDENTITY_NAME, arguments.folder / SIGNER_NAME
    if not signer.exists():
        words = "the other half of her keys is not there. Put it back, or begin in an empty folder"
        raise ConfigInvalid(f"{signer}: {words}")
    passphrase = _passphrase(arguments, twice=False)
    kept = load_kept(path, passphrase)
    ends = [one.period.last for one in kept if one.period.last is not None]
    first = arguments.first or max([*(end + _ONE_DAY for end in ends), _today()])
    fresh = KeptIdentity(identity=HybridIdentity.generate(), period=_period(first, arguments.until))
    replace_secret(path, seal_kept([*kept, fresh], passphrase))
    say(f"{path} holds the identity of one more period; the earlier ones stay until you")
    say("destroy them (relay keys destroy). This line is public, for recipients.txt:")
    _print(arguments, [fresh], None)
    return 0


def _period(first: dt.date, last: dt.date) -> Period:
    if last < max(first, _today()):
        raise ConfigInvalid(f"--until {last}: that period would be over before it begins ({first})")
    return Period(first=first, last=last)


def _show(arguments: argparse.Namespace) -> int:
    passphrase = _passphrase(arguments, twice=False)
    kept = load_kept(arguments.folder / IDENTITY_NAME, passphrase)
    signer = load_signing_identity(arguments.folder / SIGNER_NAME, passphrase).signer()
    _print(arguments, list(kept), signer)
    return 0


def _destroy(arguments: argparse.Namespace) -> int:
    path, last = arguments.folder / IDENTITY_NAME, arguments.until
    if last + _STILL_WAITING >= _today() and not arguments.force:
        words = f"till {last + _STILL_WAITING} the relay may hold what only that identity opens"
        raise ConfigInvalid(f"--until {last}: {words}. Come back then, or add --force")
    passphrase = _passphrase(arguments, twice=False)
    kept = load_kept(path, passphrase)
    over = [one for one in kept if one.period.last is not None and one.period.last <= last]
    left = [one for one in kept if one not in over]
    if not over:
        raise NothingThere(f"{path}: no identity ends by {last}. Nothing was destroyed.")
    if not left and not arguments.force:
        words = "that would leave none. Make the next first: relay keys generate --until"
        raise ConfigInvalid(f"{path}: {words}")
    if not arguments.dry_run:
        replace_secret(path, seal_kept(left, passphrase))
    if arguments.json:
        periods = [str(one.period.last) for one in over]
        result_json({"destroyed": periods, "left": len(left), "dry_run": arguments.dry_run})
        return 0
    verb = "would be destroyed" if arguments.dry_run else "destroyed"
    for one in over:
        result(f"{verb}:{one.period}, {fingerprint(one.identity.recipient().encoded)}")
    if not arguments.dry_run:
        say(
            "What was sealed to it can't be opened with this file any more. Destroy its copies too."
        )
    return 0


def _print(arguments: argparse.Namespace, kept: list[KeptIdentity], signer: Signer | None) -> None:
    """Print lines for the two lists on stdout, and for a person their fingerprints."""
    recipients = [one.identity.recipient().encoded for one in kept]
    keys = [*recipients, *([signer.encoded] if signer else [])]
    if arguments.json:
        report: dict[str, Any] = {"recipients": recipients}
        report |= {"lines": [str(one) for one in kept]}
        report |= {"signer": signer.encoded} if signer else {}
        result_json(report | {"fingerprints": {key: fingerprint(key) for key in keys}})
        return
    for line in [*map(str, kept), *([signer.encoded] if signer else [])]:
        result(line)
    say("Their fingerprints, to be read aloud (relay keys verify):")
    for key in keys:
        say(f"    {shorten(key)}  {fingerprint(key)}")


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
    return get_passphrase(arguments.passphrase_file, str(arguments.folder), twice=twice)
