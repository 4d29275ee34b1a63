"""A private Tor network on loopback, of Debian's tor: nothing of it is made up.

Five directory authorities that are the relays too, the tor that an operator installs (from
deploy/tor/torrc), and clients. Each tor ends with the process that started it, however that ends.
"""

import base64
import hashlib
import os
import re
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tests.conftest import ROOT, free_port, wait_until

TEMPLATE = ROOT / "deploy/tor/torrc"
AUTHORITIES = 5
_VOTES_EVERY_S = 10  # the shortest that tor takes
_LEAST_LEFT_S = 8  # of that, for the authorities to come up in before they vote
_CONSENSUS = "/tor/status-vote/current/consensus"
# Killed with us, at once; __OwningControllerProcess alone looks every 15 seconds.
DIES_WITH_US = ["setpriv", "--pdeathsig", "KILL"]
_FORWARD = urllib.request.build_opener(urllib.request.ProxyHandler({}))

# What makes a network private. Every tor of it has these lines.
_PRIVATE = """
TestingTorNetwork 1
PathsNeededToBuildCircuits 0.67
ShutdownWaitLength 0
__OwningControllerProcess {owner}
"""
_LOGGED = """
DataDirectory {folder}
Log notice stderr
"""
_AUTHORITY = f"""
SocksPort 0
Nickname {{name}}
ContactInfo nobody@example.invalid
Address 127.0.0.1
ORPort 127.0.0.1:{{or_port}}
DirPort 127.0.0.1:{{dir_port}}
AuthoritativeDirectory 1
V3AuthoritativeDirectory 1
AssumeReachable 1
ExitRelay 0
V3AuthVotingInterval {_VOTES_EVERY_S} seconds
V3AuthVoteDelay 2 seconds
V3AuthDistDelay 2 seconds
V3AuthNIntervalsValid 3
TestingV3AuthInitialVotingInterval {_VOTES_EVERY_S} seconds
TestingV3AuthInitialVoteDelay 2 seconds
TestingV3AuthInitialDistDelay 2 seconds
TestingDirAuthVoteExit *
TestingDirAuthVoteHSDir *
TestingDirAuthVoteGuard *
TestingMinExitFlagThreshold 0
"""


def free_ports(count: int) -> list[int]:
    """Ports that are free and differ."""
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return list(ports)


@dataclass
class Tor:
    """One tor, in a folder of its own."""

    folder: Path
    torrc: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def start(self, *options: str) -> None:
        """Start it; `options` go before the file's."""
        torrc = self.folder / "torrc"
        torrc.write_text(self.torrc)
        command = [*DIES_WITH_US, "tor", "--defaults-torrc", "/dev/null"]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "-f", torrc, *options], stdout=log, stderr=log, cwd=self.folder
            )

    def wait_for_log(self, words: str, *, seconds: float = 60) -> None:
        """Wait until its log holds these words."""
        try:
            wait_until(lambda: self.is_running() and words in self.log, seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"no {words!r} in:\n{self.log}") from error

    def is_running(self) -> bool:
        """Fail where it has ended."""
        assert self.process is not None
        assert self.process.poll() is None, self.log
        return True

    def stop(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


class Control:
    """A conversation on a tor's control socket, with its cookie. Source: control-spec."""

    def __init__(self, path: Path) -> None:
        """Connect and authenticate."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("r", encoding="utf-8", newline="\r\n")
        self.events: list[str] = []
        cookie_file = next(
            match[1]
            for line in self.ask("PROTOCOLINFO 1")
            if (match := re.search(r'COOKIEFILE="([^"]+)"', line))
        )
        self.ask(f"AUTHENTICATE {Path(cookie_file).read_bytes().hex()}")

    def ask(self, command: str) -> list[str]:
        """Return the lines of the answer, which has to be a good one."""
        self._socket.sendall(f"{command}\r\n".encode())
        answer: list[str] = []
        while not answer or answer[-1][3] != " ":
            line = self._line()
            if line.startswith("650"):
                self.events.append(line)
                continue
            answer.append(line)
            if line[3] == "+":
                while (line := self._line()) != ".":
                    answer[-1] += "\n" + line
        assert answer[-1].startswith("250 "), answer
        return answer

    def wait_for_event(self, wanted: Callable[[list[str]], bool]) -> None:
        """Read events until all of them so far are what is wanted."""
        while not wanted(self.events):
            self.events.append(self._line())

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self._socket.close()

    def _line(self) -> str:
        line = self._lines.readline()
        assert line, "tor hung up"
        return line.rstrip("\r\n")


@dataclass
class Host(Tor):
    """The tor of an operator, with the relay's two onions."""

    data: Path = field(default=Path())
    run: Path = field(default=Path())
    sockets: Path = field(default=Path())

    @property
    def form_socket(self) -> Path:
        return self.sockets / "onion.sock"

    @property
    def desk_socket(self) -> Path:
        return self.sockets / "desk.sock"

    @property
    def control_socket(self) -> Path:
        return self.run / "control"

    @property
    def form(self) -> str:
        return (self.data / "form/hostname").read_text().strip()

    @property
    def desk(self) -> str:
        return (self.data / "desk/hostname").read_text().strip()

    @contextmanager
    def control(self) -> Iterator[Control]:
        control = Control(self.control_socket)
        try:
            yield control
        finally:
            control.close()

    def authorize(self, name: str, line: str) -> None:
        """Let a laptop in, before the start."""
        keys = self.data / "desk/authorized_clients"
        keys.mkdir(parents=True, mode=0o700, exist_ok=True)
        keys.parent.chmod(0o700)
        (keys / f"{name}.auth").write_text(line)

    def publish(self) -> None:
        """Start, and wait until every directory has both onions' descriptors."""
        self.start()
        wait_until(lambda: self.is_running() and self.control_socket.exists())
        wait_until((self.data / "desk/hostname").exists)
        onions = [name.removesuffix(".onion") for name in (self.form, self.desk)]
        with self.control() as control:
            control.ask("SETEVENTS HS_DESC")
            control.wait_for_event(
                lambda events: all(
                    len(_directories_with(onion, events)) == AUTHORITIES for onion in onions
                )
            )


@dataclass
class Client(Tor):
    """A person's tor, with a SOCKS port."""

    socks_port: int = 0

    @property
    def proxy(self) -> str:
        return f"socks5h://127.0.0.1:{self.socks_port}"


def _directories_with(onion: str, events: list[str]) -> set[str]:
    fields = [event.split() for event in events if event.startswith("650 HS_DESC UPLOADED")]
    return {where[5] for where in fields if where[3] == onion}


def authorization() -> tuple[str, str]:
    """A laptop's key for an onion: (line of its .auth file, secret in base32)."""
    secret = X25519PrivateKey.generate()
    public, private = (
        base64.b32encode(raw).decode().rstrip("=")
        for raw in (secret.public_key().public_bytes_raw(), secret.private_bytes_raw())
    )
    return f"descriptor:x25519:{public}\n", private


def made_up_onion() -> str:
    """An address that is well formed and leads nowhere. Source: rend-spec-v3, encoding."""
    public, version = Ed25519PrivateKey.generate().public_key().public_bytes_raw(), b"\x03"
    checksum = hashlib.sha3_256(b".onion checksum" + public + version).digest()[:2]
    return base64.b32encode(public + checksum + version).decode().lower() + ".onion"


class Network:
    """The authorities. `launch()` starts them, `wait()` until all see each other."""

    def __init__(self, folder: Path) -> None:
        """Lay everything out under `folder`, whose path must be short: sockets lie in it."""
        self.folder = folder
        ports = free_ports(2 * AUTHORITIES)
        self.ports = list(zip(ports[::2], ports[1::2], strict=True))
        self._directory = ""
        self.authorities: list[Tor] = []
        self.others: list[Tor] = []

    def launch(self) -> None:
        """Make the authorities' keys and start them."""
        self.authorities = [self._authority(number) for number in range(AUTHORITIES)]
        self._make_certificates()
        self._directory = "".join(
            self._introduce(number, tor) for number, tor in enumerate(self.authorities)
        )
        for tor in self.authorities:
            tor.torrc += self._directory
        # A first run by itself makes the rest of its keys; two of ten networks fail without.
        self._start_authorities("--DisableNetwork", "1")
        for tor in self.authorities:
            tor.wait_for_log("Bootstrapped 0%")
            tor.stop()
        wait_until(lambda: time.time() % _VOTES_EVERY_S <= _VOTES_EVERY_S - _LEAST_LEFT_S)
        self._start_authorities()

    def wait(self) -> None:
        """Wait for the consensus that lists all; clients that come earlier back off for long."""
        wait_until(lambda: all(map(self._knows_all, range(AUTHORITIES))), seconds=90)

    def host(self) -> Host:
        """Return a tor from the operator's template, not yet started."""
        folder = self._home("host")
        made = {"data": folder / "data", "run": folder / "run", "sockets": folder / "relay"}
        for path in made.values():
            path.mkdir(mode=0o700)
        host = Host(folder=folder, torrc="", **made)
        torrc = TEMPLATE.read_text()
        for name, value in (
            ("DATA", host.data),
            ("RUN", host.run),
            ("FORM_SOCKET", host.form_socket),
            ("DESK_SOCKET", host.desk_socket),
        ):
            torrc = torrc.replace(f"@{name}@", str(value))
        # Before the template: what follows an onion's folder would count for that onion.
        host.torrc = self._private() + torrc
        self.others.append(host)
        return host

    def client(
        self,
        name: str,
        *,
        onion_keys: dict[str, str] | None = None,
        flags: str = "ExtendedErrors",
    ) -> Client:
        """Start a client that holds these onions' keys."""
        folder = self._home(name)
        (socks_port,) = free_ports(1)
        torrc = self._private() + _LOGGED.format(folder=folder / "data")
        torrc += f"SocksPort 127.0.0.1:{socks_port} {flags}\n"
        if onion_keys:
            keys = folder / "keys"
            keys.mkdir(mode=0o700)
            for onion, secret in onion_keys.items():
                line = f"{onion.removesuffix('.onion')}:descriptor:x25519:{secret}\n"
                (keys / f"{onion}.auth_private").write_text(line)
            torrc += f"ClientOnionAuthDir {keys}\n"
        client = Client(folder=folder, torrc=torrc, socks_port=socks_port)
        self.others.append(client)
        client.start()
        client.wait_for_log("Opened Socks listener connection (ready)")
        return client

    def stop(self) -> None:
        """End everything."""
        for tor in [*self.others, *self.authorities]:
            tor.stop()

    def _home(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir(mode=0o700)
        return folder

    def _private(self) -> str:
        return _PRIVATE.format(owner=os.getpid()) + self._directory

    def _authority(self, number: int) -> Tor:
        folder = self._home(f"a{number}")
        or_port, dir_port = self.ports[number]
        torrc = self._private() + _LOGGED.format(folder=folder / "data")
        torrc += _AUTHORITY.format(name=folder.name, or_port=or_port, dir_port=dir_port)
        return Tor(folder=folder, torrc=torrc)

    def _start_authorities(self, *options: str) -> None:
        for tor in self.authorities:
            tor.start(*options)

    def _make_certificates(self) -> None:
        makers = []
        for tor, (_, dir_port) in zip(self.authorities, self.ports, strict=True):
            keys = tor.folder / "data/keys"
            keys.mkdir(parents=True, mode=0o700)
            keys.parent.chmod(0o700)
            command = ["tor-gencert", "--create-identity-key", "-m", "1"]
            command += ["-a", f"127.0.0.1:{dir_port}", "--passphrase-fd", "0"]
            makers.append(
                subprocess.Popen(
                    command, cwd=keys, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
                )
            )
        for maker in makers:
            maker.communicate(b"\n")
            assert maker.returncode == 0

    def _introduce(self, number: int, tor: Tor) -> str:
        """Return the line by which the others know this authority."""
        or_port, dir_port = self.ports[number]
        certificate = (tor.folder / "data/keys/authority_certificate").read_text()
        authority = next(
            line.split()[1] for line in certificate.splitlines() if line.startswith("fingerprint ")
        )
        command = ["tor", "--defaults-torrc", "/dev/null", "-f", "-", "--list-fingerprint"]
        torrc = _LOGGED.format(folder=tor.folder / "data")
        torrc += f"SocksPort 0\nORPort {or_port}\nNickname {tor.folder.name}\n"
        subprocess.run(command, input=torrc.encode(), capture_output=True, timeout=60, check=True)
        relay = (tor.folder / "data/fingerprint").read_text().split()[1]
        return (
            f"DirAuthority {tor.folder.name} orport={or_port} v3ident={authority} "
            f"127.0.0.1:{dir_port} {relay}\n"
        )

    def _knows_all(self, number: int) -> bool:
        self.authorities[number].is_running()
        try:
            with _FORWARD.open(
                f"http://127.0.0.1:{self.ports[number][1]}{_CONSENSUS}", timeout=5
            ) as answer:
                consensus = answer.read().decode()
        except OSError:
            return False
        flags = [line.split() for line in consensus.splitlines() if line.startswith("s ")]
        return len(flags) == AUTHORITIES and all({"HSDir", "Running"} <= {*one} for one in flags)
