"""accounts.toml: the campaign's own accounts, and where their secrets lie. None stands in it."""

import os
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from relay.desk.networks import Network
from relay.errors import ConfigInvalid, UnsafePlace

_MOST_SECRET_BYTES = 8192
_OTHERS = 0o077
_KEYRING = "keyring"
_NAME_MOST = 64
_NOT_HERE = {"token", "password", "secret", "app_password", "access_token"}
_HOW = (
    "no secret stands in this file. Put it into a file of its own, one line, chmod 600, and name "
    "that file with token_file (password_file for Bluesky); or into the system's keyring"
)


def load(path: Path, proxy: str = "") -> dict[str, Network]:
    """Return the accounts by name, in the order of the file. Nothing is asked of a network.

    proxy: socks5h://host:port, the way to all of them.

    Raises:
        ConfigInvalid: names the file and the setting. UnsafePlace: others can read a secret.
    """
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigInvalid(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"{path}: {error}") from None
    accounts = {}
    for name, table in tables.items():
        try:
            accounts[name] = _read(name, table, path.parent, proxy)
        except ConfigInvalid as error:
            raise ConfigInvalid(f"{path}: [{name}]: {error.message}") from None
    return accounts


class _Table:
    """One table; what of it was not taken in the end is unknown."""

    def __init__(self, name: str, table: object, folder: Path) -> None:
        if not isinstance(table, dict) or not (name.isprintable() and len(name) <= _NAME_MOST):
            raise ConfigInvalid('an account is a table, such as [main] with network = "mastodon"')
        if hidden := _NOT_HERE & {*table}:
            raise ConfigInvalid(f"{min(hidden)!r}: {_HOW}")
        self._name = name
        self._left: dict[str, Any] = dict(table)
        self._folder = folder

    def text(self, key: str, default: str | None = None) -> str:
        value = self._left.pop(key, default)
        if not isinstance(value, str) or not (value.strip() and value.isprintable()):
            raise ConfigInvalid(f"{key!r} is missing, or not a text")
        return value.strip()

    def path(self, key: str) -> Path:
        return self._folder / self.text(key)

    def secret(self, key: str) -> str:
        """Return the secret from the file that `key` names, or from the keyring."""
        if (key in self._left) == (_KEYRING in self._left):
            raise ConfigInvalid(f"needs {key} or {_KEYRING}, one of them")
        if key in self._left:
            return _read_secret(self.path(key))
        return _ask_keyring(self.text(_KEYRING), self._name)

    def end(self) -> None:
        if self._left:
            raise ConfigInvalid(f"unknown setting {min(self._left)!r}")


def _read(name: str, table: object, folder: Path, proxy: str) -> Network:
    settings = _Table(name, table, folder)
    network = settings.text("network")
    if network not in _MAKE:
        raise ConfigInvalid(f"unknown network {network!r}; there are {', '.join(_MAKE)}")
    try:
        account = _MAKE[network](settings, proxy)
    except ModuleNotFoundError as error:
        raise ConfigInvalid(f"{network} needs {error.name}: install poster-relay[post]") from error
    settings.end()
    return account


# Each loads its module when it is asked for: a desk that posts nowhere needs none of the packages.


def _mastodon(settings: _Table, proxy: str) -> Network:
    from relay.desk.networks.mastodon import MastodonAccount

    return MastodonAccount(settings.text("server"), settings.secret("token_file"), proxy)


def _bluesky(settings: _Table, proxy: str) -> Network:
    from relay.desk.networks.bluesky import BlueskyAccount

    server, identifier = settings.text("server"), settings.text("identifier")
    return BlueskyAccount(server, identifier, settings.secret("password_file"), proxy)


def _facebook(settings: _Table, proxy: str) -> Network:
    from relay.desk.networks.facebook import SERVER, FacebookPage

    page, server = settings.text("page"), settings.text("server", SERVER)
    return FacebookPage(page, settings.secret("token_file"), proxy, server)


def _x(settings: _Table, proxy: str) -> Network:
    from relay.desk.networks.x import SERVER, XAccount

    server = settings.text("server", SERVER)
    return XAccount(settings.secret("token_file"), proxy, server)


def _folder(settings: _Table, proxy: str) -> Network:  # noqa: ARG001 - as every network
    from relay.desk.networks.folder import Folder

    return Folder(settings.path("path"))


_MAKE: dict[str, Callable[[_Table, str], Network]] = {
    "mastodon": _mastodon,
    "bluesky": _bluesky,
    "facebook": _facebook,
    "x": _x,
    "folder": _folder,
}


def _read_secret(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigInvalid(f"{path}: {error.strerror}") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigInvalid(f"{path}: not a file")
        if found.st_mode & _OTHERS:
            raise UnsafePlace(f"{path}: others can read this secret. Run: chmod 600 {path}")
        content = os.read(descriptor, _MOST_SECRET_BYTES + 1)
    finally:
        os.close(descriptor)
    return _check_secret(content, str(path))


def _ask_keyring(service: str, name: str) -> str:
    try:
        import keyring
        from keyring.errors import KeyringError
    except ModuleNotFoundError:
        raise ConfigInvalid("keyring needs keyring: install poster-relay[keyring]") from None
    try:
        secret = keyring.get_password(service, name)
    except KeyringError as error:
        raise ConfigInvalid(f"the keyring can't be asked ({type(error).__name__})") from None
    if secret is None:
        raise ConfigInvalid(f"the keyring has nothing. Run: keyring set {service!r} {name!r}")
    return _check_secret(secret.encode(), "the keyring")


def _check_secret(content: bytes, where: str) -> str:
    try:
        secret = content.decode("ascii").strip()
    except UnicodeDecodeError:
        secret = ""
    is_line = bool(secret) and secret.isprintable() and " " not in secret
    if not is_line or len(content) > _MOST_SECRET_BYTES:
        raise ConfigInvalid(f"{where}: not a token or password in one line")
    return secret
