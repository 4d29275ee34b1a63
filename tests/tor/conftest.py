"""One private Tor network for all tests of a run, and a relay behind its two onions for each."""

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import RELAY, Answer, Service, configure, relay, wait_until
from tests.tor.network import DIES_WITH_US, Client, Host, Network, made_up_onion


@dataclass
class Onions:
    """The network, the operator's tor, and the tor of three people."""

    network: Network
    host: Host
    visitor: Client  # holds no key
    laptop: Client  # holds the desk's key
    stock: Client  # holds no key, as Debian sets tor up: it gives no reasons


@pytest.fixture(scope="session")
def onions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Onions]:
    network = Network(tmp_path_factory.mktemp("tor"))
    try:
        network.launch()
        network.wait()
        host = network.host()
        # The address is not known before tor has started; the client writes the right one.
        made = relay("keys", "onion", network.folder / "colleague", "--onion", made_up_onion())
        assert made.code == 0, made.err
        host.authorize("laptop", made.out)
        secret = (network.folder / "colleague/desk.auth_private").read_text().strip()[-52:]
        host.publish()
        yield Onions(
            network,
            host,
            network.client("visitor"),
            network.client("laptop", onion_keys={host.desk: secret}),
            network.client("stock", flags=""),
        )
    finally:
        network.stop()


@dataclass
class OnionService(Service):
    """`relay serve` behind the operator's tor, which knows it by its sockets alone."""

    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        command = [*DIES_WITH_US, RELAY, "serve", "--config", str(self.folder / "relay.toml")]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, cwd=self.folder.parent)
        wait_until(lambda: self.is_running() and "Serving" in self.log_file.read_text(), seconds=40)

    def is_running(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log_file.read_text()
        return True

    def write_desk(self, name: str, *, relay: str, proxy: str) -> Path:
        """Write a desk.toml that goes to `relay` by `proxy`."""
        lines = (self.folder / "desk.toml").read_text().splitlines()
        lines = [line for line in lines if not line.startswith("relay = ")]
        lines += [f"relay = {json.dumps(relay)}", f"proxy = {json.dumps(proxy)}"]
        path = self.folder / f"{name}.toml"
        path.write_text("\n".join(lines) + "\n")
        return path


@pytest.fixture
def start_relay(campaign: Path, onions: Onions) -> Iterator[Callable[..., OnionService]]:
    """Start the relay behind the onions: `start_relay(max_queued=2)`."""
    started = []

    def start(**settings: object) -> OnionService:
        configure(
            campaign,
            demo="false",
            listen='""',
            onion_listen=json.dumps(f"unix:{onions.host.form_socket}"),
            onion_address=json.dumps(onions.host.form),
            desk_listen=json.dumps(f"unix:{onions.host.desk_socket}"),
            tor_control=json.dumps(str(onions.host.control_socket)),
            **settings,
        )
        running = OnionService(campaign, 0)
        started.append(running)
        running.start()
        return running

    yield start
    for running in started:
        running.kill()


@dataclass
class Browser:
    """Somebody's curl, whose name is what her tor keeps circuits apart by."""

    client: Client
    onion: str
    name: str = "she"
    limits: list[str] = field(default_factory=lambda: ["--max-time", "120"])

    def command(self, path: str, *options: str) -> list[str]:
        proxy = self.client.proxy.replace("://", f"://{self.name}:{self.name}@")
        # No waiting for leave to send: browsers don't.
        quiet = ["curl", "--silent", "--show-error", "--header", "Expect:"]
        return [*quiet, *self.limits, "--proxy", proxy, *options, f"http://{self.onion}{path}"]

    def open(self, path: str = "/en/", *options: str) -> Answer:
        done = subprocess.run(
            self.command(path, "--include", *options), capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        return Answer(int(first.split()[1]), headers, body)

    def photo_options(self, photo: Path) -> list[str]:
        token = self.open().text.split('name="token" value="')[1].split('"')[0]
        return ["--form", f"token={token}", "--form", f"photo=@{photo};type=image/jpeg"]

    def post_receipt(self, page: str, receipt: str) -> Answer:
        return self.open(f"/en/{page}", "--data-urlencode", f"receipt={receipt}")
