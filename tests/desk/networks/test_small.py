"""Facebook and X: at most once; against stand-ins written from their documents."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.desk.networks import Network
from relay.desk.networks.facebook import FacebookPage
from relay.desk.networks.x import XAccount
from relay.errors import CantTakeDown, ConfigInvalid, OutcomeUnknown, PostFailed, PostRefused
from tests.conftest import free_port
from tests.desk.networks.conftest import MakePost
from tests.desk.networks.small_servers import PAGE, TOKEN, FacebookServer, XServer
from tests.desk.networks.stand_in import Answer, Fault

PUBLISH = r"/v25\.0/\d+/photos|/2/tweets"
Pair = tuple[Network, FacebookServer | XServer]


@pytest.fixture(params=["facebook", "x"])
def pair(request: pytest.FixtureRequest, facebook: FacebookServer, x: XServer) -> Pair:
    if request.param == "facebook":
        return FacebookPage(PAGE, TOKEN, server=facebook.url), facebook
    return XAccount(TOKEN, server=x.url), x


def test_a_post_stands_there_with_its_picture_and_can_be_taken_down(
    pair: Pair, make_post: MakePost
) -> None:
    network, server = pair
    post = make_post()
    prepared = network.prepare(post, "key-1")
    assert server.posts() == []
    placed = network.publish(post, "key-1", prepared)
    [shown] = server.posts()
    assert (shown.text, shown.alt, shown.jpeg) == (post.text, post.picture.alt, post.picture.jpeg)
    assert placed.url.startswith("https://")
    network.take_down(placed)
    assert server.posts() == []
    if network.name == "facebook":  # what is gone there looks like what is not ours to delete
        with pytest.raises(CantTakeDown):
            network.take_down(placed)
    else:
        network.take_down(placed)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(path=PUBLISH, is_after=True),
        Fault(path=PUBLISH, is_before=True),
        Fault(path=PUBLISH, instead=Answer(status=502)),
        Fault(path=PUBLISH, instead=Answer(body=b"{")),
        Fault(path=PUBLISH, instead=Answer(body={"id": 7})),
        Fault(path=PUBLISH, instead=Answer(body={})),
    ],
)
def test_a_lost_answer_is_an_unknown_outcome(pair: Pair, make_post: MakePost, fault: Fault) -> None:
    network, server = pair
    post = make_post()
    prepared = network.prepare(post, "key-1")
    server.faults = [fault]
    with pytest.raises(OutcomeUnknown):
        network.publish(post, "key-1", prepared)
    assert not network.is_exactly_once
    with pytest.raises(OutcomeUnknown):
        network.find(post, "key-1", prepared)


def test_what_did_not_go_out_can_go_out_later(make_post: MakePost) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    for network in (FacebookPage(PAGE, TOKEN, server=nobody), XAccount(TOKEN, server=nobody)):
        with pytest.raises(PostFailed):
            network.publish(make_post(), "key-1", {"media": "1"})


def test_a_pause_that_is_wanted_is_a_failure(pair: Pair, make_post: MakePost) -> None:
    network, server = pair
    post = make_post()
    prepared = network.prepare(post, "key-1")
    wait = Answer(status=429, headers={"x-rate-limit-reset": "1900000000"})
    server.faults = [Fault(path=PUBLISH, instead=wait)]
    with pytest.raises(PostFailed) as failed:
        network.publish(post, "key-1", prepared)
    assert failed.value.retry_after_s


def test_facebooks_own_codes_for_later(facebook: FacebookServer, make_post: MakePost) -> None:
    page = FacebookPage(PAGE, TOKEN, server=facebook.url)
    for code, kind in {32: PostFailed, 2: OutcomeUnknown, 190: PostRefused}.items():
        answer = Answer(status=400, body={"error": {"message": "CANARY", "code": code}})
        facebook.faults = [Fault(path=PUBLISH, instead=answer)]
        with pytest.raises(kind) as raised:
            page.publish(make_post(), "key-1", {})
        assert "CANARY" not in str(raised.value)


@pytest.mark.parametrize("page", ["", "a/b", "me?x=1", "x" * 101])
def test_a_page_is_an_id(page: str) -> None:
    with pytest.raises(ConfigInvalid):
        FacebookPage(page, TOKEN)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("", 0),
        ("hello", 5),
        ("é", 1),
        ("e\u0301", 1),
        ("自由", 4),
        ("ሰላም", 6),
        ("မြန်မာ", 6),
        ("آزادی", 5),
        ("👩‍👩‍👧🇲🇲", 4),
        ("1️⃣", 2),
        ("“quoted” …", 11),
        ("see https://example.org/long/long/long/long/long/long", 27),
        ("https://a.b https://c.d", 47),
        ("at example.org now", 30),
    ],
)
def test_length_is_weighed_as_x_weighs(text: str, length: int) -> None:
    assert XAccount(TOKEN).count(text) == length


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
def test_no_text_weighs_less_than_its_parts_beside_each_other(text: str) -> None:
    count = XAccount(TOKEN).count
    assert 0 <= count(text) <= count(f"{text} x")
