"""Configuration files: `relay.toml` of the service, `desk.toml` of a colleague.

Every setting is in one of the two classes, with its default and its unit; an unknown key is an
error, since a misspelt safety setting must not be ignored. Paths count from the file's folder.
"""

import dataclasses
import ipaddress
import os
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from relay.errors import ConfigInvalid

_T = TypeVar("_T")
_RELAY = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?/?")
_MOST_DAYS = 3650
_MOST_COVER_S = 3600
_MOST_PAUSE_MINUTES = 24 * 60
_LISTEN = re.compile(r"(?P<host>[0-9.]+|\[[0-9a-f:]+\]|localhost):(?P<port>[0-9]{1,5})")
_UNIX = "unix:"
HANDED_OVER: Literal["systemd"] = "systemd"
_LONGEST_SOCKET = 107  # bytes; source: sockaddr_un in unix(7)
_ONION = re.compile(r"[a-z2-7]{56}\.onion")
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9-]+(\.[a-z0-9-]+)+")
_ELSEWHERE = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?/[!-~]*")
_PROXY = re.compile(r"socks5h://([0-9.]+|localhost|\[[0-9a-f:]+\]):[0-9]{1,5}")
_POSTGRESQL = re.compile(
    r"postgresql://(?P<user>[A-Za-z0-9_-]+)@(?P<host>[A-Za-z0-9.-]*|\[[0-9a-f:]+\])"
    r"(:(?P<port>[0-9]{1,5}))?/(?P<name>[A-Za-z0-9_-]+)(\?host=(?P<folder>/[A-Za-z0-9_./-]+))?"
)
_POSTGRESQL_FOLDER = "/run/postgresql"  # Debian's
_HERE = {"localhost", "127.0.0.1", "[::1]"}
LISTENERS = ("listen", "onion_listen", "desk_listen", "health_listen")


@dataclass(frozen=True, kw_only=True)
class PostgresServer:
    """A database in PostgreSQL, and how to be let in."""

    user: str
    host: str  # an address, a name, or the folder of a Unix socket
    port: int
    name: str
    # One line, for its owner alone; None: the server knows us by our account.
    password_file: Path | None
    # Who certifies the server; None: it is on this machine.
    ca: Path | None

    @property
    def where(self) -> str:
        """What to call it."""
        return f"PostgreSQL at {self.host}, database {self.name}"

    def read_password(self) -> str:
        """Return the password.

        Raises:
            OSError: the file can't be read.
        """
        return "" if self.password_file is None else self.password_file.read_text("utf-8").strip()


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """relay.toml."""

    # Name of the campaign; it stands in every envelope. Letters, digits, dashes.
    campaign: str
    # Where the form is served: an address and a port, `unix:` and a path, `systemd` for the socket
    # that it hands over, or nothing.
    listen: str = "127.0.0.1:8080"
    # The name under which it is reached; a request for another is refused. Empty: any.
    host: str = ""
    # With both, the form is served over TLS; read again when they change.
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    # Where tor brings its visitors, each connection behind a line that names its circuit.
    onion_listen: str = ""
    # The onion address; the other listener's pages name it.
    onion_address: str = ""
    # tor's control socket, to cut the circuit of an abusive visitor.
    tor_control: Path | None = None
    # Where the desk's API is served; in a demo the form's listener serves it.
    desk_listen: str = "127.0.0.1:8081"
    # Where the operator may ask whether the form is open.
    health_listen: str = ""
    # The sealed queue, one SQLite file.
    database: Path = field(default=Path("queue.sqlite"))
    # The sealed queue in PostgreSQL instead, which several relays may share: postgresql://USER@HOST/NAME.
    postgresql: str = ""
    # The password there, in a file of its own; without it, the server must know the account.
    postgresql_password: Path | None = None
    # Who certifies that server; needed where it is another machine.
    postgresql_ca: Path | None = None
    # The secrets of tokens and receipts; readable by the service alone.
    service_key: Path = field(default=Path("service.key"))
    # Who submissions are sealed to, and who may ask for them.
    recipients: Path = field(default=Path("recipients.txt"))
    staff: Path = field(default=Path("staff.txt"))
    # Who signs the recipients (relaysigner1…); with it, an unsigned or older list closes the form.
    campaign_signer: str = ""
    # Recipients in every envelope's header; the rest are throw-away ones.
    recipient_slots: int = 4
    # Length in bytes of what is sealed; a multiple of 512.
    envelope_bytes: int = 512 * 1024
    # Accept X25519 recipients, which a later quantum computer opens.
    allow_classic: bool = False
    # One upload, in bytes.
    max_upload_bytes: int = 25 * 1024 * 1024
    # All uploads together, in bytes of memory.
    max_inflight_bytes: int = 512 * 1024 * 1024
    # An upload that brings fewer bytes than this in a minute is ended.
    min_bytes_per_minute: int = 4096
    # Bytes free on the queue's disk, below which the form is closed.
    min_free_bytes: int = 1024**3
    # Envelopes that the queue holds at most.
    max_queued: int = 5000
    # Days after which an envelope is destroyed.
    retain_days: int = 30
    # Days after which a colleague's lease runs out.
    lease_days: int = 3
    # Hand out submissions on the day they came: a pull then sorts arrivals by time.
    same_day_pull: bool = False
    # Seconds between two cover writes.
    cover_write_s: int = 60
    # What the campaign says in public: posters, event, where answers stand. None: no such pages.
    campaign_file: Path | None = None
    # Languages that nobody who grew up with them has reviewed, and that are offered all the same.
    accept_unreviewed: tuple[str, ...] = ()
    # Where "Leave this page" leads: a site that anybody may look at, and that is not blocked there.
    leave_to: str = "https://www.wikipedia.org/"
    # Take HEIC too, in a box of its own: one more decoder that is often attacked.
    heic: bool = False
    # Protections that this machine lacks and the operator accepts to be without, by name.
    accept_missing: tuple[str, ...] = ()
    # A throwaway campaign: the form's listener serves the desk's API too.
    demo: bool = False
    # The folder of the file, from which paths count.
    folder: Path = field(default=Path())

    @classmethod
    def load(cls, path: Path) -> "ServerConfig":
        """Read relay.toml.

        Raises:
            ConfigInvalid: names the file and the setting.
        """
        config = dataclasses.replace(_load(cls, path), folder=path.parent)
        _check_reach(config, path)
        if config.envelope_bytes % 512 or not 64 * 1024 <= config.envelope_bytes <= 64 * 1024**2:
            raise ConfigInvalid(f"{path}: envelope_bytes is a multiple of 512, 64 KiB to 64 MiB")
        check_campaign(config.campaign)
        try:
            _ = config.queue
        except ConfigInvalid as error:
            raise ConfigInvalid(f"{path}: {error.message}") from None
        for setting in dataclasses.fields(config):
            value = getattr(config, setting.name)
            if type(value) is int and value < (setting.name != "min_free_bytes"):
                raise ConfigInvalid(f"{path}: {setting.name} is at least 1")
            if setting.name.endswith("_days") and value > _MOST_DAYS:
                raise ConfigInvalid(f"{path}: {setting.name} is at most {_MOST_DAYS}")
        if config.cover_write_s > _MOST_COVER_S:
            raise ConfigInvalid(f"{path}: cover_write_s is at most {_MOST_COVER_S}")
        if not _ELSEWHERE.fullmatch(config.leave_to):
            raise ConfigInvalid(f"{path}: leave_to is an address such as https://example.org/")
        if config.max_upload_bytes > 64 * 1024**2:
            raise ConfigInvalid(f"{path}: max_upload_bytes is at most 64 MiB")
        return config

    def endpoint(self, name: str) -> "Endpoint":
        """Return where the listener of that setting is; None where there is none.

        Raises:
            ConfigInvalid: names the setting.
        """
        return _read_endpoint(getattr(self, name), name, self.folder)

    @property
    def queue(self) -> Path | PostgresServer:
        """Where the sealed queue is.

        Raises:
            ConfigInvalid: names the setting.
        """
        return _read_postgresql(self) if self.postgresql else self.database

    @property
    def is_https(self) -> bool:
        """Whether visitors of `listen` come over HTTPS: ours, or that of a proxy before it."""
        return self.tls_key is not None or (bool(self.host) and self.listen.startswith(_UNIX))


@dataclass(frozen=True, kw_only=True)
class DeskConfig:
    """desk.toml."""

    # The address of the relay's desk API; a laptop that is never online has none.
    relay: str = ""
    # The way to it, where it is an onion: tor's SOCKS port, such as socks5h://127.0.0.1:9050.
    proxy: str = ""
    # Sealed signing key, and sealed identity file.
    signer: Path
    identity: Path
    # One line; in a demo only. Elsewhere the passphrase is asked for.
    passphrase_file: Path | None = None
    # The colleagues whose signatures in the log count, one signer a line; oneself always does.
    staff: Path | None = None
    # Who signs the campaign's recipients; with it, `add` seals to a list of hers alone.
    campaign_signer: str = ""
    # What the campaign says in public: captions, hashtag, handles.
    campaign_file: Path | None = None
    # The campaign's accounts in the networks, and where their passwords lie.
    accounts: Path | None = None
    # Photos that are posted together at least: fewer tell more of when each was sent.
    min_batch: int = 5
    # Minutes between two posts: at random between these.
    min_pause_minutes: int = 10
    max_pause_minutes: int = 90
    # Post on the day of arrival, which tells when she sent it: a demo alone.
    same_day_post: bool = False
    # Protections of the box that this laptop lacks and that are accepted to be missing, by name.
    accept_missing: tuple[str, ...] = ()
    # The folder of the file: what the desk remembers lies beside it.
    folder: Path = field(default=Path())

    @classmethod
    def load(cls, path: Path) -> "DeskConfig":
        """Read desk.toml.

        Raises:
            ConfigInvalid: names the file and the setting.
        """
        config = _load(cls, path)
        if config.relay and not _RELAY.fullmatch(config.relay):
            raise ConfigInvalid(f"{path}: relay is an address such as http://127.0.0.1:8081")
        if config.proxy and not _PROXY.fullmatch(config.proxy):
            raise ConfigInvalid(f"{path}: proxy is an address such as socks5h://127.0.0.1:9050")
        if config.min_batch < 1:
            raise ConfigInvalid(f"{path}: min_batch is at least 1")
        if not 0 <= config.min_pause_minutes <= config.max_pause_minutes <= _MOST_PAUSE_MINUTES:
            most = f"max_pause_minutes, at most {_MOST_PAUSE_MINUTES}"
            raise ConfigInvalid(f"{path}: min_pause_minutes is 0 or more, and not above {most}")
        return dataclasses.replace(config, relay=config.relay.rstrip("/"), folder=path.parent)


def check_campaign(name: str) -> None:
    """Return where `name` will do for a campaign.

    Raises:
        ConfigInvalid: it will not.
    """
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", name):
        raise ConfigInvalid("campaign: 1 to 64 letters, digits and dashes")


def split_listen(listen: str, name: str = "listen") -> tuple[str, int]:
    """Return host and port of `127.0.0.1:8080`.

    Raises:
        ConfigInvalid: not an address and a port.
    """
    match = _LISTEN.fullmatch(listen)
    if match is None or not 0 < int(match["port"]) < 1 << 16 or not _is_host(match["host"]):
        raise ConfigInvalid(f"{name}: an address and a port, such as 127.0.0.1:8080")
    return match["host"].strip("[]"), int(match["port"])


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host == "localhost"
    return True


def _check_reach(config: ServerConfig, path: Path) -> None:
    try:
        endpoints = [config.endpoint(name) for name in LISTENERS]
    except ConfigInvalid as error:
        raise ConfigInvalid(f"{path}: {error.message}") from None
    form, onion, desk, health = endpoints
    if form is None and onion is None:
        raise ConfigInvalid(f"{path}: the form needs listen or onion_listen")
    if desk is None and not config.demo:
        raise ConfigInvalid(f"{path}: desk_listen: staff need it to fetch submissions")
    if isinstance(onion, tuple) or isinstance(health, tuple):
        raise ConfigInvalid(f"{path}: onion_listen and health_listen are unix: and a path")
    used = [endpoint for endpoint in endpoints if endpoint is not None]
    if len({*used}) < len(used):
        raise ConfigInvalid(f"{path}: two listeners with one address")
    if HANDED_OVER in {onion, desk, health}:
        raise ConfigInvalid(f"{path}: {HANDED_OVER}: for listen alone")
    _check_tls(config, form, path)
    if config.host and not _HOST.fullmatch(config.host):
        raise ConfigInvalid(f"{path}: host is a name such as relay.example.org")
    if config.onion_address and not _ONION.fullmatch(config.onion_address):
        raise ConfigInvalid(f"{path}: onion_address is 56 letters and digits, then .onion")


def _check_tls(config: ServerConfig, form: "Endpoint", path: Path) -> None:
    if (config.tls_certificate is None) != (config.tls_key is None):
        raise ConfigInvalid(f"{path}: tls_certificate and tls_key belong together")
    if config.tls_key is not None and (form is None or isinstance(form, Path)):
        words = f"listen is an address and a port, or {HANDED_OVER}, then"
        raise ConfigInvalid(f"{path}: tls_key: {words}")


# Address and port, the path of a Unix socket, a socket that systemd has opened, or nothing.
Endpoint = tuple[str, int] | Path | Literal["systemd"] | None


def _read_endpoint(listen: str, name: str, folder: Path) -> Endpoint:
    if not listen:
        return None
    if listen == HANDED_OVER:
        return HANDED_OVER
    if not listen.startswith(_UNIX):
        return split_listen(listen, name)
    path = folder.absolute() / listen.removeprefix(_UNIX)
    if len(os.fsencode(path)) > _LONGEST_SOCKET or path == folder.absolute():
        raise ConfigInvalid(f"{name}: unix: and a path of at most {_LONGEST_SOCKET} bytes")
    return path


def _read_postgresql(config: ServerConfig) -> PostgresServer:
    match = _POSTGRESQL.fullmatch(config.postgresql)
    if (
        match is None
        or (match["host"] and match["folder"])
        or not 0 < int(match["port"] or 1) < 1 << 16
    ):
        form = "postgresql://USER@HOST:PORT/NAME, or postgresql://USER@/NAME?host=FOLDER"
        raise ConfigInvalid(f"postgresql: an address such as {form}; no password in it")
    host = match["folder"] or match["host"] or _POSTGRESQL_FOLDER
    is_here = host.startswith("/") or host in _HERE
    if not is_here and config.postgresql_ca is None:
        raise ConfigInvalid("postgresql_ca: needed where PostgreSQL is another machine")
    password = config.postgresql_password
    if password is not None and password.is_file() and password.stat().st_mode & 0o077:
        raise ConfigInvalid(f"{password}: others can read or write it. Run: chmod 600 {password}")
    return PostgresServer(
        user=match["user"],
        host=host.strip("[]"),
        port=int(match["port"] or 5432),
        name=match["name"],
        password_file=password,
        ca=config.postgresql_ca,
    )


def _load(kind: type[_T], path: Path) -> _T:
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigInvalid(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"{path}: {error}") from None
    settings = {setting.name: setting for setting in dataclasses.fields(kind)}  # type: ignore[arg-type]
    settings.pop("folder", None)
    for name, value in values.items():
        if name not in settings:
            raise ConfigInvalid(f"{path}: unknown setting {name!r}")
        values[name] = _read(path, settings[name], value)
    missing = [
        name
        for name, setting in settings.items()
        if name not in values and setting.default is dataclasses.MISSING
    ]
    if missing:
        raise ConfigInvalid(f"{path}: {missing[0]!r} is missing")
    for name, setting in settings.items():
        if isinstance(setting.default, Path) and name not in values:
            values[name] = path.parent / setting.default
    return kind(**values)


def _read(path: Path, setting: "dataclasses.Field[Any]", value: object) -> object:
    if setting.type == tuple[str, ...] and isinstance(value, list):
        if all(isinstance(name, str) for name in value):
            return tuple(value)
        raise ConfigInvalid(f"{path}: {setting.name} is a list of names")
    is_path = setting.type in (Path, Path | None)
    wanted = str if is_path else setting.type
    if type(value) is not wanted:
        raise ConfigInvalid(f"{path}: {setting.name} is of the wrong type")
    return path.parent / str(value) if is_path else value
