"""`relay keys verify` and `sign`: the campaign's public lists."""

import argparse
import datetime as dt
from pathlib import Path
from typing import Any

from relay.cli.printing import get_passphrase, printable, result, result_json, say, shorten
from relay.config import check_campaign
from relay.errors import ConfigInvalid, RelayError
from relay.seal.files import SIGNER_NAME, load_signing_identity, replace_text
from relay.seal.fingerprint import count_alike, fingerprint
from relay.seal.keys import parse_recipient
from relay.seal.lists import RecipientList, load_recipients, load_staff
from relay.seal.signing import Signer


def add_commands(add: Any) -> None:
    """Add both to `keys`; add: takes a name, what runs, and words for it."""
    verify = add("verify", _verify, "compare the fingerprint of a public key, in words")
    verify.add_argument("keys", help="recipients.txt, staff.txt, or one public key")
    verify.add_argument("--words", help="the eight words that its owner reads to you")
    verify.add_argument("--json", action="store_true")

    sign = add("sign", _sign, "sign the campaign's list of recipients")
    sign.add_argument("list", type=Path, help="recipients.txt")
    sign.add_argument("--keys", type=Path, required=True, help="the signing colleague's folder")
    sign.add_argument("--campaign", help="its name, the first time")
    sign.add_argument("--passphrase-file", type=Path, help="a file whose first line it is")


def _verify(arguments: argparse.Namespace) -> int:
    keys = _read_keys(arguments.keys)
    words = arguments.words
    try:
        same = [key for key in keys if words is not None and count_alike(key, words) == _whole(key)]
    except ValueError as error:
        raise ConfigInvalid(f"--words: {error}") from None
    if arguments.json:
        found = [
            {"key": key, "words": fingerprint(key), "about": about, "same": key in same}
            for key, about in keys.items()
        ]
        result_json({"keys": found})
    else:
        for key, about in keys.items():
            if words is None or key in same:
                result(f"{fingerprint(key)}  {shorten(key)}{about and f' ({about})'}")
    if words is None:
        return 0
    if not same:
        raise RelayError(_differ(keys, words))
    say("The same: this is the key whose owner read these words to you.")
    return 0


def _whole(key: str) -> int:
    return len(fingerprint(key).split(" "))


def _differ(keys: dict[str, str], words: str) -> str:
    nearest = max(keys, key=lambda key: count_alike(key, words))
    alike, whole = count_alike(nearest, words), _whole(nearest)
    if alike >= whole // 2:
        return (
            f"NOT the same: {alike} of {whole} words agree. Have the words read again, slowly; if "
            "they still differ, do not use this key."
        )
    return "NOT the same: no key there has these words. Do not use it."


def _read_keys(text: str) -> dict[str, str]:
    """Return the keys in a list, or the one that was given, each with what is said of it."""
    if text.startswith(("relaysigner1", "age1")):
        return {_parse_key(text): ""}
    path = Path(text)
    try:
        is_staff = "relaysigner1" in path.read_text("utf-8").partition("signed ")[0]
    except (OSError, UnicodeDecodeError):
        raise ConfigInvalid(f"{printable(text)}: neither a list nor a public key") from None
    if is_staff:
        staff = load_staff(path)
        return {key: ", ".join(sorted(one.roles)) for key, one in staff.items()}
    listed = load_recipients(path, allow_classic=True)
    keys = {one.recipient.encoded: str(one.period).strip() for one in listed.entries}
    return keys | _read_signature(listed)


def _parse_key(text: str) -> str:
    try:
        if text.startswith("relaysigner1"):
            return Signer.parse(text).encoded
        return parse_recipient(text).encoded
    except ValueError as error:
        raise ConfigInvalid(f"{printable(text[:12])}…: {error}") from None


def _read_signature(listed: RecipientList) -> dict[str, str]:
    """Return who signed it.

    Raises:
        ConfigInvalid: somebody did, and it was changed since.
    """
    if not listed.untrusted_signature:
        say(f"{listed.path}: nobody has signed it.")
        return {}
    try:
        signer = Signer.parse(listed.untrusted_signer)
    except ValueError as error:
        raise ConfigInvalid(f"{listed.path}, signed: {error}") from None
    listed.require_signature(signer, listed.campaign)
    about = f"signed this list, number {listed.number} of {printable(listed.campaign)}"
    return {signer.encoded: about}


def _sign(arguments: argparse.Namespace) -> int:
    listed = load_recipients(arguments.list, allow_classic=True)
    campaign = arguments.campaign or listed.campaign
    if not campaign:
        raise ConfigInvalid("--campaign: its name, as in relay.toml, is needed the first time")
    check_campaign(campaign)
    if listed.campaign not in ("", campaign):
        words = f"it is the list of {printable(listed.campaign)}, not of {campaign}"
        raise ConfigInvalid(f"{arguments.list}: {words}")
    path = arguments.keys / SIGNER_NAME
    identity = load_signing_identity(path, get_passphrase(arguments.passphrase_file, str(path)))
    signed = listed.signed(identity, campaign=campaign, number=listed.number + 1)
    replace_text(arguments.list, signed.encode())
    for entry in signed.entries:
        key = entry.recipient.encoded
        result(f"{fingerprint(key)}  {shorten(key)}{entry.period}")
    say(f"{arguments.list} is signed, as number {signed.number} of {campaign}. Once you have")
    say("compared each line above with its owner, give it to the operator.")
    say("In the relay's relay.toml stands, compared in the same way:")
    say(f'campaign_signer = "{identity.signer().encoded}"')
    say(f"    ({fingerprint(identity.signer().encoded)})")
    closes_on = signed.closes_on(dt.datetime.now(dt.UTC).date())
    if closes_on is not None:
        say(f"From {closes_on} on nobody in it is valid, and the form closes.")
    return 0
