"""The socket that systemd opens for the form, and hands to a relay that has no network."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from relay.config import ServerConfig
from relay.errors import ConfigInvalid
from tests import doors
from tests.conftest import RELAY, Service, configure, free_port, relay, wait_until

# As deploy/systemd/poster-relay.service has it, and as whoever isn't root can have it too.
NO_NETWORK = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]


@pytest.fixture
def hand_over(campaign: Path) -> Iterator[Callable[[], Service]]:
    """Start `relay serve` with a socket that was opened for it, without a network of its own."""
    started: list[Service] = []

    def start() -> Service:
        doors.write_pair(campaign)
        settings = {"demo": "false", "listen": '"systemd"', "desk_listen": '"unix:desk.sock"'}
        configure(campaign, **settings, **doors.TLS_SETTINGS)
        service = Service(campaign, free_port(), is_tls=True)
        started.append(service)
        opening = ["systemd-socket-activate", "--listen", f"127.0.0.1:{service.port}"]
        serving = [RELAY, "serve", "--config", str(campaign / "relay.toml")]
        with service.log_file.open("ab") as log:
            service.process = subprocess.Popen([*opening, *NO_NETWORK, *serving], stderr=log)
        wait_until(service.answers)  # the first who comes has it started
        wait_until(lambda: "Serving" in service.log_file.read_text(), seconds=40)
        return service

    yield start
    for service in started:
        service.kill()


def test_the_open_network_is_answered_by_a_relay_without_one(
    hand_over: Callable[[], Service], campaign: Path
) -> None:
    service = hand_over()
    assert service.process is not None
    devices = Path(f"/proc/{service.process.pid}/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in devices] == ["lo"]
    assert Path(f"/proc/{service.process.pid}/net/tcp").read_text().count("\n") == 1, "its heading"
    with doors.secure(service, doors.trusting(campaign / "certificate.pem")) as visit:
        visit.sendall(f"GET /en/ HTTP/1.1\r\nHost: {doors.HOST}\r\n\r\n".encode())
        assert visit.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_without_a_socket_it_says_how_to_have_one(campaign: Path) -> None:
    doors.write_pair(campaign)
    configure(campaign, demo="false", listen='"systemd"', **doors.TLS_SETTINGS)
    done = relay("serve", "--config", campaign / "relay.toml")
    assert done.code == 2
    assert "deploy/install" in done.err


def test_a_socket_that_is_handed_over_is_served_over_tls_only(campaign: Path) -> None:
    configure(campaign, demo="false", listen='"systemd"')
    done = relay("serve", "--config", campaign / "relay.toml")
    assert done.code == 2
    assert "without TLS" in done.err


@pytest.mark.parametrize("name", ["onion_listen", "desk_listen", "health_listen"])
def test_no_other_door_can_be_handed_over(campaign: Path, name: str) -> None:
    configure(campaign, demo="false", **{name: json.dumps("systemd")})
    with pytest.raises(ConfigInvalid, match="for listen alone"):
        ServerConfig.load(campaign / "relay.toml")
