"""A colleague's keys: whom they know, what they open, and a connection that they sign."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from relay.cli.printing import ask_passphrase, get_passphrase
from relay.config import DeskConfig
from relay.desk.client import DeskClient
from relay.desk.journal import JournalFile
from relay.errors import ConfigInvalid, WrongIdentity
from relay.seal.files import load_identities, load_signing_identity
from relay.seal.keys import Identity
from relay.seal.lists import load_staff
from relay.seal.signing import SigningIdentity

_T = TypeVar("_T")
Work = Callable[[DeskClient, JournalFile, SigningIdentity], Coroutine[Any, Any, int]]


class Keyring:
    """The key files that desk.toml names. A passphrase is asked for when it is needed, and once."""

    def __init__(self, config: DeskConfig) -> None:
        """Open nothing yet."""
        self._config = config
        self._passphrases: list[str] = []
        self._signing_identity: SigningIdentity | None = None

    def identities(self) -> tuple[Identity, ...]:
        """Open the identity file.

        Raises:
            WrongIdentity, ConfigInvalid: see `load_identities`.
        """
        return self._open(self._config.identity, load_identities)

    def signing_identity(self) -> SigningIdentity:
        """Open the signer file.

        Raises:
            WrongIdentity, ConfigInvalid: see `load_signing_identity`.
        """
        if self._signing_identity is None:
            self._signing_identity = self._open(self._config.signer, load_signing_identity)
        return self._signing_identity

    def staff(self) -> set[str]:
        """Return the colleagues that desk.toml names (relaysigner1…).

        Raises:
            ConfigInvalid: the file can't be used.
        """
        return set(load_staff(self._config.staff)) if self._config.staff is not None else set()

    def knows(self, signer: str) -> bool:
        """Whether `signer` (relaysigner1…) is a colleague or oneself; only this needs a key."""
        if signer in self.staff():
            return True
        is_here = self._config.signer.exists()
        return is_here and signer == self.signing_identity().signer().encoded

    def _open(self, path: Path, load: Callable[[Path, str], _T]) -> _T:
        """Open a key file; both are usually made with one passphrase."""
        if self._config.passphrase_file is not None:
            return load(path, get_passphrase(self._config.passphrase_file, str(path)))
        for passphrase in self._passphrases:
            with suppress(WrongIdentity):
                return load(path, passphrase)
        passphrase = ask_passphrase(str(path))
        opened = load(path, passphrase)
        self._passphrases.append(passphrase)
        return opened


def connected(config: DeskConfig, keyring: Keyring, work: Work) -> int:
    """Run `work` with a signed connection; a journal that can't be read ends it before.

    Raises:
        ConfigInvalid: desk.toml names no relay.
    """
    if not config.relay:
        raise ConfigInvalid(
            "desk.toml has no line relay = …, so this laptop speaks to no relay. Do this on the "
            "one that is online. To decide here, add: --to FILE"
        )
    journal_file = JournalFile(config.folder)
    journal_file.read()
    identity = keyring.signing_identity()

    async def run() -> int:
        async with DeskClient(config.relay, identity, config.proxy) as client:
            return await work(client, journal_file, identity)

    return asyncio.run(run())
