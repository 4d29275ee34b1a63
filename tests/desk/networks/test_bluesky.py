"""Bluesky: against a real PDS on loopback."""

import datetime as dt
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.desk.networks import Placed
from relay.desk.networks.bluesky import BlueskyAccount, cid_of, make_rkey
from relay.desk.networks.facets import find_facets
from relay.errors import CantTakeDown, PostFailed, PostRefused
from tests.conftest import free_port
from tests.desk.networks.conftest import MakePost
from tests.desk.networks.socks import socks
from tests.networks import Pds

INSTANT = dt.datetime(2018, 3, 19, 12, tzinfo=dt.UTC)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@pytest.fixture
def account(pds: Pds) -> BlueskyAccount:
    return BlueskyAccount(pds.url, pds.identifier, pds.password)


def texts(pds: Pds) -> list[str]:
    return [post["value"]["text"] for post in pds.posts()]


def test_a_post_stands_there_with_its_picture_byte_for_byte(
    pds: Pds, account: BlueskyAccount, make_post: MakePost
) -> None:
    post = make_post(
        "Say it to @our-posters.test #FreedomToPublish https://example.org/x.", INSTANT
    )
    prepared = account.prepare(post, "key-stands")
    assert post.text not in texts(pds)
    placed = account.publish(post, "key-stands", prepared)
    [record] = [one for one in pds.posts() if one["uri"] == placed.uri]
    value = record["value"]
    assert value["text"] == post.text
    assert value["createdAt"] == "2018-03-19T12:00:00.000Z"
    assert value["langs"] == ["en"]
    [image] = value["embed"]["images"]
    assert image["alt"] == post.picture.alt
    assert image["aspectRatio"] == {"width": 320, "height": 240}
    assert pds.picture([one["uri"] for one in pds.posts()].index(placed.uri)) == post.picture.jpeg
    features = [facet["features"][0] for facet in value["facets"]]
    assert features == [
        {"$type": "app.bsky.richtext.facet#mention", "did": pds.did},
        {"$type": "app.bsky.richtext.facet#tag", "tag": "FreedomToPublish"},
        {"$type": "app.bsky.richtext.facet#link", "uri": "https://example.org/x"},
    ]
    assert placed.url == f"https://bsky.app/profile/{pds.did}/post/{prepared['rkey']}"


def test_the_same_key_twice_makes_one_record(
    pds: Pds, account: BlueskyAccount, make_post: MakePost
) -> None:
    post = make_post("twice")
    prepared = account.prepare(post, "key-twice")
    assert account.find(post, "key-twice", prepared) is None
    first = account.publish(post, "key-twice", prepared)
    # Another desk, as after a crash in which the answer was forgotten; the words edited since.
    later = BlueskyAccount(pds.url, pds.identifier, pds.password)
    assert later.prepare(post, "key-twice") == prepared
    assert later.publish(post, "key-twice", prepared) == first
    assert later.find(post, "key-twice", prepared) == first
    assert texts(pds).count("twice") == 1


def test_twenty_of_one_instant_and_each_again_are_twenty(
    pds: Pds, account: BlueskyAccount, make_post: MakePost
) -> None:
    posts = [make_post(f"one of twenty, {number}", INSTANT) for number in range(20)]
    prepared = [account.prepare(post, f"key-of-{n}") for n, post in enumerate(posts)]
    numbers = [*range(20), *range(20)]
    with ThreadPoolExecutor(8) as threads:
        placed = list(
            threads.map(lambda n: account.publish(posts[n], f"key-of-{n}", prepared[n]), numbers)
        )
    assert placed[:20] == placed[20:]
    assert len({one.uri for one in placed}) == 20
    assert len([text for text in texts(pds) if text.startswith("one of twenty")]) == 20


def test_a_lost_answer_is_found(pds: Pds, make_post: MakePost) -> None:
    post = make_post("lost")
    with socks(int(pds.url.rpartition(":")[2])) as proxy:
        account = BlueskyAccount("http://localhost:1", pds.identifier, pds.password, proxy.address)
        prepared = account.prepare(post, "key-lost")
        proxy.is_cutting = True
        with pytest.raises(PostFailed):
            account.publish(post, "key-lost", prepared)
        assert texts(pds).count("lost") == 1
        proxy.is_cutting = False
        found = account.find(post, "key-lost", prepared)
        assert found == account.publish(post, "key-lost", prepared)
    assert texts(pds).count("lost") == 1


def test_what_another_wrote_under_our_name_is_not_taken_for_ours(
    pds: Pds, account: BlueskyAccount, make_post: MakePost
) -> None:
    post, other = make_post("ours"), make_post("another")
    prepared = account.prepare(post, "key-ours")
    theirs = {**account.prepare(other, "key-other"), "rkey": prepared["rkey"]}
    account.publish(other, "key-other", theirs)
    assert account.find(post, "key-ours", prepared) is None
    with pytest.raises(PostRefused, match="Another post"):
        account.publish(post, "key-ours", prepared)
    assert "ours" not in texts(pds)


def test_a_picture_that_was_thrown_away_is_brought_again(
    pds: Pds, account: BlueskyAccount, make_post: MakePost
) -> None:
    post = make_post("brought again")
    never_uploaded = {
        "rkey": make_rkey(post.created, "key-again"),
        "blob": cid_of(post.picture.jpeg),
    }
    placed = account.publish(post, "key-again", never_uploaded)
    assert placed.uri in [one["uri"] for one in pds.posts()]


def test_a_post_is_taken_down_and_twice_is_fine(
    pds: Pds, account: BlueskyAccount, make_post: MakePost
) -> None:
    post = make_post("to be taken down")
    prepared = account.prepare(post, "key-down")
    placed = account.publish(post, "key-down", prepared)
    account.take_down(placed)
    account.take_down(placed)
    assert post.text not in texts(pds)
    assert account.find(post, "key-down", prepared) is None


@pytest.mark.parametrize(
    "uri", ["", "https://x", "at://did:plc:other/app.bsky.feed.post/3k", "at://a/b", "at://a/b/c/d"]
)
def test_only_ours_is_taken_down(account: BlueskyAccount, uri: str) -> None:
    with pytest.raises(CantTakeDown):
        account.take_down(Placed(uri=uri, url=""))


def test_a_token_that_has_grown_old_is_renewed(
    pds: Pds, account: BlueskyAccount, make_post: MakePost
) -> None:
    account.prepare(make_post(), "key-old")
    session = account._session  # noqa: SLF001 - it takes two hours otherwise
    assert session
    account._session = type(session)(  # noqa: SLF001
        did=session.did, access=session.refresh, refresh="no token"
    )
    post = make_post("renewed")
    account.publish(post, "key-renewed", account.prepare(post, "key-renewed"))
    assert "renewed" in texts(pds)


def test_a_wrong_password_is_refused_without_being_told(pds: Pds, make_post: MakePost) -> None:
    account = BlueskyAccount(pds.url, pds.identifier, "wrong-password")
    with pytest.raises(PostRefused, match="401") as refused:
        account.prepare(make_post("CANARY"), "key-wrong")
    assert "wrong-password" not in repr(refused.value)


def test_nobody_there_is_a_failure(make_post: MakePost) -> None:
    account = BlueskyAccount(f"http://127.0.0.1:{free_port()}", "a.test", "password")
    with pytest.raises(PostFailed, match="could not be reached"):
        account.prepare(make_post(), "key-nobody")


@pytest.mark.parametrize(
    ("text", "length"),
    [("hello", 5), ("👩‍👩‍👧", 2), ("é", 1), ("မြန်မာ", 4), ("e" + "\u0301" * 100, 21)],
)
def test_length_is_graphemes_and_a_tenth_of_the_bytes(
    account: BlueskyAccount, text: str, length: int
) -> None:
    assert account.count(text) == length


@given(text=TEXTS)
def test_facets_lie_in_the_text_and_say_what_stands_there(text: str) -> None:
    text = f"{text} #tag، https://example.org/é?a=b, @a.test {text}"
    encoded = text.encode()
    found = find_facets(text, {"a.test": "did:plc:x"})
    ends = [0]
    for facet in found:
        start, end = facet["index"]["byteStart"], facet["index"]["byteEnd"]
        assert ends[-1] <= start < end <= len(encoded)
        ends.append(end)
        shown = encoded[start:end].decode()
        [feature] = facet["features"]
        match feature["$type"]:
            case "app.bsky.richtext.facet#tag":
                assert shown[1:] == feature["tag"]
            case "app.bsky.richtext.facet#link":
                assert shown == feature["uri"]
            case _:
                assert shown == "@a.test"
    kinds = {facet["features"][0]["$type"].partition("#")[2] for facet in found}
    assert kinds == {"tag", "link", "mention"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("#one #two", ["#one", "#two"]),
        ("#one, and #2018 and #", ["#one"]),
        ("#آزادی، #自由", ["#آزادی", "#自由"]),
        ("a#b", []),
        ("(https://example.org)", ["https://example.org"]),
        ("https://example.org/a_(b)!", ["https://example.org/a_(b)"]),
        ("mail@example.org @nobody.test", []),
        ("", []),
    ],
)
def test_what_is_linked(text: str, shown: list[str]) -> None:
    encoded = text.encode()
    spans = [facet["index"] for facet in find_facets(text, {})]
    assert [encoded[one["byteStart"] : one["byteEnd"]].decode() for one in spans] == shown


@given(seconds=st.integers(0, 7_000_000_000), key=st.text("abc019-", min_size=1))
def test_a_name_is_a_tid_of_its_second(seconds: int, key: str) -> None:
    instant = dt.datetime.fromtimestamp(seconds, dt.UTC)
    name = make_rkey(instant, key)
    number = 0
    for digit in name:
        number = number * 32 + "234567abcdefghijklmnopqrstuvwxyz".index(digit)
    assert len(name) == 13
    assert number < 1 << 63
    assert (number >> 10) // 1_000_000 == seconds
    assert name == make_rkey(instant, key) != make_rkey(instant, key + "x")
