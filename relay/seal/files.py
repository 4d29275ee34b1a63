"""A colleague's key files: sealed with her passphrase, written once or replaced whole."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm

from relay.errors import ConfigInvalid, Corrupt, RelayError, WrongIdentity
from relay.seal import age, armor
from relay.seal.keys import (
    SCRYPT_LOG_N,
    ClassicIdentity,
    HybridIdentity,
    Passphrase,
    parse_identity,
)
from relay.seal.lists import Period
from relay.seal.signing import SigningIdentity

IDENTITY_NAME, SIGNER_NAME = "identity.age", "signer.age"  # in a colleague's folder
_COMMENT = "#"
_AGE = b"age-encryption.org/"
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class KeptIdentity:
    """An identity of an identity file, and the days for which it was made."""

    identity: HybridIdentity | ClassicIdentity
    period: Period

    def __str__(self) -> str:
        """Its public half as it stands in the recipients file."""
        return f"{self.identity.recipient().encoded}{self.period}"


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


def write_secret(path: Path, content: bytes) -> None:
    """Create `path` with mode 0600 and put `content` on the disk.

    Raises:
        ConfigInvalid: it exists; a key is never overwritten.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigInvalid(f"{path} exists. A key is never overwritten.") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:  # half a key is none
        path.unlink()
        raise


def replace_text(path: Path, text: str) -> None:
    """Put a public file in the place of the one at `path`, whole, with the same permissions."""
    draft = path.with_name(f".{path.name}.new")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.chmod(path.stat().st_mode & 0o777)
    draft.replace(path)
    sync_folder(path.parent)


def replace_secret(path: Path, content: bytes) -> None:
    """Put `content` in the place of the file at `path`, whole, and overwrite what was there.

    A solid-state disk may keep the old blocks all the same; they are sealed.
    """
    draft = path.with_name(f".{path.name}.new")
    if draft.exists():  # of a command that was killed
        with draft.open("r+b") as left:
            draft.unlink()
            overwrite(left.fileno())
    write_secret(draft, content)
    with path.open("r+b") as old:
        draft.replace(path)
        sync_folder(path.parent)
        overwrite(old.fileno())


def overwrite(descriptor: int) -> None:
    """Write zeros over all of an open file, on the disk too."""
    length, at = os.fstat(descriptor).st_size, 0
    while at < length:
        at += os.pwrite(descriptor, bytes(min(_CHUNK_BYTES, length - at)), at)
    os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Put the names in `folder` on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def seal_secret(secret: str, passphrase: str, *, log_n: int = SCRYPT_LOG_N) -> bytes:
    """Return `secret`, its lines, in age's scrypt form: `age -d` opens it with the passphrase."""
    return age.seal(secret.encode() + b"\n", [Passphrase(secret=passphrase, log_n=log_n)])


def load_identities(path: Path, passphrase: str) -> tuple[HybridIdentity | ClassicIdentity, ...]:
    """Open an identity file, armored or not.

    Raises:
        WrongIdentity: wrong passphrase.
        ConfigInvalid: missing, damaged, or no identity in it.
    """
    return tuple(kept.identity for kept in load_kept(path, passphrase))


def load_any_identities(
    path: Path, ask: Callable[[], str]
) -> tuple[HybridIdentity | ClassicIdentity, ...]:
    """Read an identity file: sealed, or in clear, as `age-keygen -pq` writes it.

    ask: returns the passphrase of a sealed one.

    Raises:
        As `load_identities`.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigInvalid(f"{path}: {error.strerror}") from error
    if content.startswith(_AGE) or armor.is_armored(content):
        return load_identities(path, ask())
    try:
        lines = [line for line in content.decode("ascii").splitlines() if line.strip()]
        found = [parse_identity(line) for line in lines if not line.startswith(_COMMENT)]
    except ValueError:
        raise ConfigInvalid(f"{path}: holds something that is no identity") from None
    if not found:
        raise ConfigInvalid(f"{path}: there is no key in it")
    return tuple(found)


def load_kept(path: Path, passphrase: str) -> tuple[KeptIdentity, ...]:
    """Open an identity file, with the days that stand in a comment above each identity.

    Raises:
        As `load_identities`.
    """
    kept, period = [], Period()
    for line in _open_lines(path, passphrase):
        try:
            if line.startswith(_COMMENT):
                period = _period_in(line)
                continue
            kept.append(KeptIdentity(identity=parse_identity(line), period=period))
        except ValueError:
            raise ConfigInvalid(f"{path}: holds something that is no identity") from None
        period = Period()
    if not kept:
        raise ConfigInvalid(f"{path}: there is no key in it")
    return tuple(kept)


def seal_kept(kept: Iterable[KeptIdentity], passphrase: str, *, log_n: int = SCRYPT_LOG_N) -> bytes:
    """Return an identity file: stock age reads it too, since days are comments there."""
    lines = [f"{_COMMENT}{one.period}\n{one.identity.encode_secret()}" for one in kept]
    return seal_secret("\n".join(lines), passphrase, log_n=log_n)


def _period_in(comment: str) -> Period:
    words = comment.removeprefix(_COMMENT).split()
    return Period.parse(words) if words[:1] in (["from"], ["until"]) else Period()


def load_signing_identity(path: Path, passphrase: str) -> SigningIdentity:
    """Open a signer file, armored or not.

    Raises:
        WrongIdentity: wrong passphrase.
        ConfigInvalid: missing, damaged, or no signing key in it.
    """
    keys = [line for line in _open_lines(path, passphrase) if not line.startswith(_COMMENT)]
    try:
        return SigningIdentity.parse(keys[0])
    except (IndexError, ValueError):
        raise ConfigInvalid(f"{path}: there is no signing key in it") from None


def _open_lines(path: Path, passphrase: str) -> list[str]:
    try:
        sealed = path.read_bytes()
        if armor.is_armored(sealed):
            sealed = armor.decode(sealed)
        plaintext = age.unseal(sealed, [Passphrase(secret=passphrase)])
        return [line for line in plaintext.decode("ascii").splitlines() if line]
    except OSError as error:
        raise ConfigInvalid(f"{path}: {error.strerror}") from error
    except WrongIdentity:
        raise WrongIdentity(f"{path}: the passphrase does not open it.") from None
    except (Corrupt, ValueError):
        raise ConfigInvalid(f"{path}: not a sealed key file, or damaged") from None
