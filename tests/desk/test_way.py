"""The desk's way to an onion, where no tor helps: every dead end is named."""

import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import RELAY, Result, free_port, relay
from tests.tor.network import made_up_onion


def pull(campaign: Path, *, to: str, proxy: str | None) -> Result:
    """What pull says with these two lines in desk.toml."""
    config = write_way(campaign, to=to, proxy=proxy)
    return relay("desk", "--config", config, "pull", "--to", "sealed", cwd=campaign.parent)


def pull_traced(campaign: Path, *, to: str, proxy: str | None) -> tuple[str, list[str], list[str]]:
    """The same; and what it did to look up a name, and what it connected to."""
    config = write_way(campaign, to=to, proxy=proxy)
    trace = campaign.parent / "trace"
    done = subprocess.run(
        [
            *("strace", "-f", "-e", "trace=openat,connect,sendto,sendmmsg", "-o", trace),
            *(RELAY, "desk", "--config", config, "pull", "--to", "sealed"),
        ],
        capture_output=True,
        text=True,
        cwd=campaign.parent,
        check=False,
    )
    lines = trace.read_text().splitlines()
    assert any(str(config) in line for line in lines), "it follows the desk"
    asked = [
        line for line in lines if re.search(r'/etc/(hosts|resolv\.conf)"|/nscd/|/resolve/', line)
    ]
    return done.stderr, asked, [line for line in lines if "AF_INET" in line]


def write_way(campaign: Path, *, to: str, proxy: str | None) -> Path:
    lines = (campaign / "desk.toml").read_text().splitlines()
    lines = [line for line in lines if not line.startswith("relay = ")]
    lines.append(f'relay = "{to}"')
    if proxy is not None:
        lines.append(f'proxy = "{proxy}"')
    config = campaign / "desk.toml"
    config.write_text("\n".join(lines) + "\n")
    return config


@contextmanager
def listening(answer: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """A listener that is no tor: yields its port, and what it was sent."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    visit, _ = listener.accept()
                except OSError:
                    return
                with visit:
                    heard.append(visit.recv(100))
                    visit.sendall(answer)

        serving = threading.Thread(target=serve)
        serving.start()
        try:
            yield int(listener.getsockname()[1]), heard
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            serving.join()


def test_a_tor_that_does_not_run_is_named(campaign: Path) -> None:
    port = free_port()
    pulled = pull(campaign, to=f"http://{made_up_onion()}", proxy=f"socks5h://127.0.0.1:{port}")
    assert (pulled.code, pulled.out) == (1, "")
    assert f"tor is not running on 127.0.0.1:{port}" in pulled.err


@pytest.mark.parametrize("answer", [b"", b"\x05", b"\x05\xff", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_what_is_no_socks_port_is_named_and_learns_no_onion(campaign: Path, answer: bytes) -> None:
    onion = made_up_onion()
    with listening(answer) as (port, heard):
        pulled = pull(campaign, to=f"http://{onion}", proxy=f"socks5h://127.0.0.1:{port}")
    assert pulled.code == 1
    assert f"What listens on 127.0.0.1:{port} is not tor's SOCKS port" in pulled.err
    assert heard == [b"\x05\x01\x00"]


def test_an_onion_is_never_looked_up_without_tor(campaign: Path) -> None:
    onion = f"http://{made_up_onion()}"
    said, asked, connected = pull_traced(campaign, to=onion, proxy=None)
    assert "An onion needs tor" in said
    assert (asked, connected) == ([], [])
    with listening(b"\x05\xff") as (port, _):
        proxy = f"socks5h://127.0.0.1:{port}"
        said, asked, connected = pull_traced(campaign, to=onion, proxy=proxy)
    assert "not tor's SOCKS port" in said
    assert asked == []
    assert connected
    assert all(f"htons({port})" in line for line in connected)


def test_the_trace_sees_a_name_that_is_looked_up(campaign: Path) -> None:
    _, asked, _ = pull_traced(campaign, to=f"http://localhost:{free_port()}", proxy=None)
    assert asked


@pytest.mark.parametrize("to", ["http://127.0.0.1:8080", "http://relay.example.org", "https://{}"])
def test_the_proxy_goes_to_onions_only(campaign: Path, to: str) -> None:
    with listening(b"") as (port, heard):
        address = to.format(made_up_onion())
        pulled = pull(campaign, to=address, proxy=f"socks5h://127.0.0.1:{port}")
    assert pulled.code != 0
    assert "`proxy` goes with" in pulled.err
    assert heard == []


@pytest.mark.parametrize("spoilt", ["short.onion", "1" * 56 + ".onion", "www.{}"])
def test_an_address_that_is_no_onions_is_refused_before_tor_hears_it(
    campaign: Path, spoilt: str
) -> None:
    with listening(b"") as (port, heard):
        address = f"http://{spoilt.format(made_up_onion())}"
        pulled = pull(campaign, to=address, proxy=f"socks5h://127.0.0.1:{port}")
    assert pulled.code != 0
    assert "not an onion address" in pulled.err
    assert heard == []
