"""The way to a network: through the given proxy or straight, and nothing of the environment."""

import pytest

from relay.desk.networks.mastodon import MastodonAccount
from relay.desk.networks.web import Web, origin_of, read_server
from relay.errors import ConfigInvalid, PostFailed, PostRefused
from tests.conftest import free_port
from tests.desk.networks.conftest import MakePost
from tests.desk.networks.mastodon_server import TOKEN, MastodonServer
from tests.desk.networks.socks import socks
from tests.desk.networks.stand_in import Answer, Fault


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
        "https://exämple.org",
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


@pytest.mark.parametrize(("idle_s", "connections"), [(20.0, 1), (-1.0, 2)])
def test_no_old_connection_is_trusted_with_a_post(
    mastodon: MastodonServer, monkeypatch: pytest.MonkeyPatch, idle_s: float, connections: int
) -> None:
    monkeypatch.setattr("relay.desk.networks.web._LONGEST_IDLE_S", idle_s)
    with socks(int(mastodon.url.rpartition(":")[2])) as proxy:
        web = Web("http://localhost:1", proxy.address)
        for _ in range(2):
            web.ask("GET", "/api/v2/instance")
        web.close()
    assert len(proxy.asked) == connections


def test_an_endless_answer_is_cut_and_so_is_one_that_leads_away(
    mastodon: MastodonServer,
) -> None:
    web = Web(mastodon.url)
    much = b" " * (5 << 20)
    for answer in (Answer(body=much), Answer(status=302, body=much, headers={"Location": "/x"})):
        mastodon.faults = [Fault(method="GET", instead=answer)]
        with pytest.raises(PostFailed):
            web.ask("GET", "/api/v2/instance")
    web.close()
