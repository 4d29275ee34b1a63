"""Mastodon: exactly once, whatever breaks on the way; against a stand-in that speaks its API."""

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from relay.desk.networks.mastodon import MastodonAccount
from relay.errors import PictureGone, PostFailed, PostRefused
from tests.desk.networks.conftest import MakePost
from tests.desk.networks.mastodon_server import TOKEN, MastodonServer
from tests.desk.networks.stand_in import Answer, Fault

STATUSES = "/api/v1/statuses"
HOURS_AGO = dt.timedelta(hours=3)


@pytest.fixture
def account(mastodon: MastodonServer) -> MastodonAccount:
    return MastodonAccount(mastodon.url, TOKEN)


def test_a_post_stands_there_with_its_picture_byte_for_byte(
    mastodon: MastodonServer, account: MastodonAccount, make_post: MakePost
) -> None:
    post = make_post()
    prepared = account.prepare(post, "key-1")
    assert mastodon.posts() == []
    placed = account.publish(post, "key-1", prepared)
    [status] = mastodon.posts()
    assert (status.text, status.language) == (post.text, "en")
    assert status.media[0].alt == post.picture.alt
    assert mastodon.picture(0) == post.picture.jpeg
    assert placed.uri == f"1/{status.number}"
    assert placed.url.startswith(mastodon.url)


def test_an_upload_is_waited_for(
    mastodon: MastodonServer, account: MastodonAccount, make_post: MakePost
) -> None:
    mastodon.works = 3
    account.publish(make_post(), "key-1", account.prepare(make_post(), "key-1"))
    assert len([one for one in mastodon.asked if one.startswith("GET /api/v1/media/")]) == 3


def test_the_same_key_twice_makes_one_post(
    mastodon: MastodonServer, account: MastodonAccount, make_post: MakePost
) -> None:
    post = make_post()
    prepared = account.prepare(post, "key-1")
    first = account.publish(post, "key-1", prepared)
    # Another desk, as after a crash.
    again = MastodonAccount(mastodon.url, TOKEN).publish(post, "key-1", prepared)
    assert again == first == account.find(post, "key-1", prepared)
    assert len(mastodon.posts()) == 1


def test_twenty_at_once_and_each_again_are_twenty(
    mastodon: MastodonServer, account: MastodonAccount, make_post: MakePost
) -> None:
    mastodon.works = 0
    posts = [make_post() for _ in range(20)]
    prepared = [account.prepare(post, f"key-{n}") for n, post in enumerate(posts)]
    numbers = [*range(20), *range(20)]
    with ThreadPoolExecutor(20) as threads:
        placed = list(
            threads.map(lambda n: account.publish(posts[n], f"key-{n}", prepared[n]), numbers)
        )
    assert placed[:20] == placed[20:]
    assert len({one.uri for one in placed}) == len(mastodon.posts()) == 20


def test_a_lost_answer_is_found_after_the_key_is_forgotten(
    mastodon: MastodonServer, account: MastodonAccount, make_post: MakePost
) -> None:
    post = make_post(created=dt.datetime.now(dt.UTC) - HOURS_AGO)
    prepared = account.prepare(post, "key-1")
    assert account.find(post, "key-1", prepared) is None
    mastodon.faults = [Fault(path=STATUSES, is_after=True)]
    with pytest.raises(PostFailed):
        account.publish(post, "key-1", prepared)
    mastodon.keys.clear()
    mastodon.works = 0
    for number in range(50):  # more than a page later
        other = make_post()
        account.publish(other, f"other-{number}", account.prepare(other, f"other-{number}"))
    placed = account.publish(post, "key-1", prepared)
    assert placed.uri == f"1/{mastodon.posts()[0].number}"
    assert len(mastodon.posts()) == 51


def test_a_picture_that_is_attached_already_leads_to_its_post(
    mastodon: MastodonServer, account: MastodonAccount, make_post: MakePost
) -> None:
    post = make_post()
    prepared = account.prepare(post, "key-1")
    first = account.publish(post, "key-1", prepared)
    mastodon.keys.clear()
    assert account.publish(post, "key-1", prepared) == first
    assert len(mastodon.posts()) == 1


def test_a_question_that_never_arrived_is_asked_again(
    mastodon: MastodonServer, account: MastodonAccount, make_post: MakePost
) -> None:
    post = make_post()
    prepared = account.prepare(post, "key-1")
    mastodon.faults = [Fault(path=STATUSES, is_before=True)]
    with pytest.raises(PostFailed):
        account.publish(post, "key-1", prepared)
    assert mastodon.posts() == []
    account.publish(post, "key-1", prepared)
    assert len(mastodon.posts()) == 1


@pytest.mark.parametrize("is_old", [False, True])
def test_an_upload_that_was_thrown_away_is_brought_again(
    mastodon: MastodonServer, account: MastodonAccount, make_post: MakePost, *, is_old: bool
) -> None:
    mastodon.is_old = is_old
    post = make_post()
    prepared = account.prepare(post, "key-1")
    mastodon.media.clear()
    with pytest.raises(PictureGone):
        account.publish(post, "key-1", prepared)
    assert mastodon.posts() == []
    placed = account.publish(post, "key-1", account.prepare(post, "key-1"))
    assert placed.uri == f"1/{mastodon.posts()[0].number}"
    assert mastodon.picture(0) == post.picture.jpeg


@pytest.mark.parametrize(
    ("answer", "pause_s"),
    [
        (Answer(status=503, headers={"Retry-After": "7"}), 7),
        (Answer(status=503), None),
        (Answer(status=429, headers={"Retry-After": "30"}), 30),
        (Answer(status=429, headers={"X-RateLimit-Reset": "in five minutes"}), 300),
        (Answer(status=502, body=b"<html>"), None),
    ],
)
def test_later_is_later_and_says_when(
    mastodon: MastodonServer,
    account: MastodonAccount,
    make_post: MakePost,
    answer: Answer,
    pause_s: float | None,
) -> None:
    post = make_post()
    prepared = account.prepare(post, "key-1")
    if "X-RateLimit-Reset" in answer.headers:
        soon = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=5)
        answer = replace(answer, headers={"X-RateLimit-Reset": soon.isoformat()})
    mastodon.faults = [Fault(path=STATUSES, instead=answer)]
    with pytest.raises(PostFailed) as failed:
        account.publish(post, "key-1", prepared)
    found = failed.value.retry_after_s
    assert found == pause_s if pause_s is None else found == pytest.approx(pause_s, abs=60)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(body=b"not JSON: CANARY"),
        Answer(body=[]),
        Answer(body={}),
        Answer(body={"id": "1"}),
        Answer(body={"id": "../1", "url": "http://x/", "media_attachments": []}),
        Answer(body={"id": "1", "url": "javascript:1", "media_attachments": []}),
        Answer(body=b"[" * 100_000),
        Answer(body=b" " * (5 << 20)),
    ],
)
def test_what_no_mastodon_answers_is_a_failure_that_says_nothing(
    mastodon: MastodonServer, account: MastodonAccount, make_post: MakePost, answer: Answer
) -> None:
    post = make_post("CANARY")
    prepared = account.prepare(post, "key-1")
    mastodon.faults = [Fault(path=STATUSES, instead=answer)]
    with pytest.raises(PostFailed) as failed:
        account.publish(post, "key-1", prepared)
    assert "CANARY" not in failed.value.message


def test_a_refusal_holds_neither_the_words_nor_the_token(
    mastodon: MastodonServer, make_post: MakePost
) -> None:
    account = MastodonAccount(mastodon.url, "wrong-token")
    with pytest.raises(PostRefused, match="401") as refused:
        account.prepare(make_post("CANARY"), "key-1")
    assert "CANARY" not in str(refused.value)
    assert "wrong-token" not in repr(refused.value)


def test_no_redirect_is_followed(
    mastodon: MastodonServer, account: MastodonAccount, make_post: MakePost
) -> None:
    away = Answer(status=307, headers={"Location": f"{mastodon.url}/api/v1/statuses"})
    post = make_post()
    prepared = account.prepare(post, "key-1")
    mastodon.faults = [Fault(path=STATUSES, instead=away)]
    with pytest.raises(PostRefused, match="elsewhere"):
        account.publish(post, "key-1", prepared)
    assert mastodon.posts() == []


def test_a_post_is_taken_down_with_its_picture_and_twice_is_fine(
    mastodon: MastodonServer, account: MastodonAccount, make_post: MakePost
) -> None:
    post = make_post()
    placed = account.publish(post, "key-1", account.prepare(post, "key-1"))
    account.take_down(placed)
    assert (mastodon.posts(), mastodon.media) == ([], {})
    account.take_down(placed)


def test_the_instance_says_how_long_a_post_may_be(
    mastodon: MastodonServer, account: MastodonAccount, make_post: MakePost
) -> None:
    mastodon.max_characters = 20
    assert account.most == 20
    with pytest.raises(PostRefused, match="too long"):
        account.prepare(make_post("x" * 21), "key-1")


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("", 0),
        ("hello", 5),
        ("👩‍👩‍👧 é", 3),
        ("see https://example.org/a/very/long/path/that/goes/on/and/on/for/ever", 27),
        ("https://a.org", 23),
        ("@campaign@a.very.long.server.example hi", 12),
        ("မြန်မာ", 4),
    ],
)
def test_length_is_counted_as_mastodon_counts(
    account: MastodonAccount, text: str, length: int
) -> None:
    assert account.count(text) == length
