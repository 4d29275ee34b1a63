"""The way to a network: through the given proxy or straight, and nothing of the environment."""

import select
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from relay.desk.networks.mastodon import MastodonAccount
from relay.desk.networks.web import Web, origin_of, read_server
from relay.errors import ConfigInvalid, PostFailed, PostRefused
from tests.conftest import free_port
from tests.desk.networks.conftest import MakePost
from tests.desk.networks.mastodon_server import TOKEN, MastodonServer
from tests.desk.networks.stand_in import Answer, Fault


class Socks(socketserver.ThreadingTCPServer):
    """A SOCKS 5 proxy that leads every name to one port of this machine."""

    daemon_threads = True

    def __init__(self, to: int) -> None:
        super().__init__(("127.0.0.1", 0), _Leader)
        self.to = to
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"socks5h://127.0.0.1:{self.server_address[1]}"


class _Leader(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        server, caller = self.server, self.request
        assert isinstance(server, Socks)
        caller.recv(64)
        caller.sendall(b"\x05\x00")
        question = caller.recv(512)
        # 3: a name. Nobody was asked for its address.
        server.asked.append(question[5 : 5 + question[4]].decode() if question[3] == 3 else "")
        caller.sendall(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
        with socket.create_connection(("127.0.0.1", server.to)) as far, suppress(OSError):
            other = {caller: far, far: caller}
            while True:
                for end in select.select([*other], [], [])[0]:
                    chunk = end.recv(65536)
                    if not chunk:
                        return
                    other[end].sendall(chunk)


@contextmanager
def socks(to: int) -> Iterator[Socks]:
    with Socks(to) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


def test_all_goes_through_the_proxy_and_names_too(
    mastodon: MastodonServer, make_post: MakePost
) -> None:
    port = int(mastodon.url.rpartition(":")[2])
    with socks(port) as proxy:
        account = MastodonAccount("http://localhost:1", TOKEN, proxy.address)
        account.publish(make_post(), "key-1", account.prepare(make_post(), "key-1"))
    assert {*proxy.asked} == {"localhost"}
    assert len(mastodon.posts()) == 1


def test_a_proxy_that_is_down_is_no_reason_to_go_straight(
    mastodon: MastodonServer, make_post: MakePost
) -> None:
    account = MastodonAccount(mastodon.url, TOKEN, f"socks5h://127.0.0.1:{free_port()}")
    with pytest.raises(PostFailed, match="could not be reached"):
        account.prepare(make_post(), "key-1")
    assert mastodon.asked == []


def test_the_environment_leads_nowhere(
    mastodon: MastodonServer, make_post: MakePost, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    account = MastodonAccount(mastodon.url, TOKEN)
    account.prepare(make_post(), "key-1")


@pytest.mark.parametrize(
    "address",
    [
        "http://example.org",
        "http://10.0.0.1",
        "http://localhost.example.org",
        "ftp://127.0.0.1",
        "https://",
        "https://example.org/path",
        "https://example.org?x",
        "https://a@example.org",
        "https://example.org:port",
        "example.org",
        "",
    ],
)
def test_a_server_is_reached_over_https_alone(address: str) -> None:
    with pytest.raises(ConfigInvalid):
        read_server(address)


@pytest.mark.parametrize(
    "address",
    ["https://example.org", "http://127.0.0.1:80", "http://[::1]:8080", "http://localhost:1"],
)
def test_loopback_alone_goes_without(address: str) -> None:
    assert read_server(address) == address == origin_of(f"{address}/x?y")


def test_no_other_server_is_asked(mastodon: MastodonServer) -> None:
    web = Web("https://example.org")
    with pytest.raises(PostRefused):
        web.get(f"{mastodon.url}/")
    assert mastodon.asked == []


def test_no_cookie_is_kept(mastodon: MastodonServer) -> None:
    web = Web(mastodon.url)
    tracking = Answer(headers={"Set-Cookie": "known=1"})
    mastodon.faults = [Fault(method="GET", instead=tracking)]
    web.ask("GET", "/api/v2/instance")
    assert not mastodon.faults
    assert not [*web.cookies]
