"""Key files: the campaign's recipients and signers (public), a colleague's identities (sealed)."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cryptography.exceptions import UnsupportedAlgorithm

from relay.errors import ConfigInvalid, Corrupt, NoRecipient, RelayError, WrongIdentity
from relay.seal import age
from relay.seal.keys import (
    SCRYPT_LOG_N,
    ClassicIdentity,
    ClassicRecipient,
    HybridIdentity,
    HybridRecipient,
    Passphrase,
    parse_identity,
    parse_recipient,
)
from relay.seal.signing import Signer, SigningIdentity

_T = TypeVar("_T")


def check_primitives() -> None:
    """Seal and open once, so that a build without ML-KEM closes the door instead of failing.

    Raises:
        ConfigInvalid: the installed cryptography can't seal to hybrid recipients.
    """
    try:
        identity = HybridIdentity.generate()
        is_sound = age.unseal(age.seal(b"once", [identity.recipient()]), [identity]) == b"once"
    except (UnsupportedAlgorithm, RelayError):
        is_sound = False
    if not is_sound:
        raise ConfigInvalid(
            "the installed cryptography has no ML-KEM-768: install the locked wheels"
        )


def load_recipients(
    path: Path, *, slots: int, allow_classic: bool
) -> tuple[HybridRecipient | ClassicRecipient, ...]:
    """Read the recipients file: one a line, `#` begins a comment.

    Raises:
        NoRecipient: there is none in it yet.
        ConfigInvalid: names the file and the line: malformed, a secret key, classic where that
            is not allowed, both kinds mixed, more than there are slots, twice the same, or a
            file that others can write.
    """
    recipients = _parse_lines(path, parse_recipient)
    if not recipients:
        raise NoRecipient(f"{path}: there is no recipient in it")
    if len(recipients) > slots:
        raise ConfigInvalid(f"{path}: more recipients than recipient_slots = {slots}")
    if len({recipient.encoded for recipient in recipients}) < len(recipients):
        raise ConfigInvalid(f"{path}: the same recipient stands there twice")
    kinds = {type(recipient) for recipient in recipients}
    if ClassicRecipient in kinds and not allow_classic:
        raise ConfigInvalid(
            f"{path}: a classic recipient (age1…) is not safe from a later quantum computer. "
            "Make keys with: relay keys generate"
        )
    if len(kinds) > 1:
        raise ConfigInvalid(f"{path}: one classic recipient undoes the quantum safety of the rest")
    return tuple(recipients)


def load_staff(path: Path) -> dict[str, Signer]:
    """Read the staff file: one signer a line; returns them by their encoded form.

    Raises:
        ConfigInvalid: names the file and the line.
    """
    return {signer.encoded: signer for signer in _parse_lines(path, Signer.parse)}


def _parse_lines(path: Path, parse: Callable[[str], _T]) -> list[_T]:
    try:
        if path.stat().st_mode & 0o022:
            raise ConfigInvalid(f"{path}: others can write it. Run: chmod go-w {path}")
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError as error:
        mend = "Put it back from your backup, or make an empty one"
        raise ConfigInvalid(f"{path}: {error.strerror}. {mend}") from error
    except OSError as error:
        mend = "The relay's own account must be able to read it"
        raise ConfigInvalid(f"{path}: {error.strerror}. {mend}") from error
    except UnicodeDecodeError:
        raise ConfigInvalid(f"{path}: not a text file of keys") from None
    parsed = []
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            parsed.append(parse(text))
        except ValueError as error:
            raise ConfigInvalid(f"{path}, line {number}: {error}") from None
    return parsed


def write_secret(path: Path, content: bytes) -> None:
    """Create `path` with mode 0600 and put `content` on the disk.

    Raises:
        ConfigInvalid: it exists; a key is never overwritten.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigInvalid(f"{path} exists. A key is never overwritten.") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def seal_secret(secret: str, passphrase: str, *, log_n: int = SCRYPT_LOG_N) -> bytes:
    """Return `secret`, one line, in age's scrypt form: `age -d` opens it with the passphrase."""
    return age.seal(secret.encode() + b"\n", [Passphrase(secret=passphrase, log_n=log_n)])


def load_identities(path: Path, passphrase: str) -> tuple[HybridIdentity | ClassicIdentity, ...]:
    """Open an identity file.

    Raises:
        WrongIdentity: wrong passphrase.
        ConfigInvalid: missing, damaged, or no identity in it.
    """
    return tuple(_open_secrets(path, passphrase, parse_identity))


def load_signing_identity(path: Path, passphrase: str) -> SigningIdentity:
    """Open a signer file.

    Raises:
        WrongIdentity: wrong passphrase.
        ConfigInvalid: missing, damaged, or no signing key in it.
    """
    return _open_secrets(path, passphrase, SigningIdentity.parse)[0]


def _open_secrets(path: Path, passphrase: str, parse: Callable[[str], _T]) -> list[_T]:
    try:
        plaintext = age.unseal(path.read_bytes(), [Passphrase(secret=passphrase)])
        lines = plaintext.decode("ascii").splitlines()
        secrets = [parse(line) for line in lines if line and not line.startswith("#")]
    except OSError as error:
        raise ConfigInvalid(f"{path}: {error.strerror}") from error
    except WrongIdentity:
        raise WrongIdentity(f"{path}: the passphrase does not open it.") from None
    except (Corrupt, ValueError):
        raise ConfigInvalid(f"{path}: not a sealed key file, or damaged") from None
    if not secrets:
        raise ConfigInvalid(f"{path}: there is no key in it")
    return secrets
