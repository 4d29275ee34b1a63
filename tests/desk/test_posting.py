"""Posts on real parts: a PDS, what speaks Mastodon's API, a folder; whatever breaks meanwhile."""

import datetime as dt
import itertools
import json
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from relay.cli.campaign import write_desk
from tests import networks
from tests.conftest import RELAY, Service, free_port, wait_until
from tests.desk.campaigns import Campaign
from tests.desk.networks.conftest import mastodon as mastodon  # noqa: PLC0414 - the fixture
from tests.desk.networks.mastodon_server import MastodonServer
from tests.desk.networks.small_servers import TOKEN
from tests.desk.networks.stand_in import Answer, Fault
from tests.judge import judge

THREE = 3


@pytest.fixture(scope="module")
def pds() -> Iterator[networks.Pds]:
    with networks.pds() as here:
        yield here


@pytest.fixture(scope="module")
def left_open(campaign_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """What three photos have left that were pulled and opened; nobody serves it."""
    folder = tmp_path_factory.mktemp("opened") / "demo"
    service = Service(Path(shutil.copytree(campaign_template, folder)), free_port())
    service.start()
    released = Campaign(service)
    try:
        released.send(THREE)
        assert service.stop() == 0
    finally:
        service.kill()
    return released


@pytest.fixture
def opened(left_open: Campaign, tmp_path: Path) -> Iterator[Campaign]:
    """A relay with three photos that are open, and not read or released yet."""
    before = left_open.folder.parent
    for name in ("demo", "sealed", "opened"):
        shutil.copytree(before / name, tmp_path / name)
    service = Service(tmp_path / "demo", free_port())
    write_desk(service.folder, f"127.0.0.1:{service.port}")
    journal = service.folder / "desk-journal.json"
    journal.write_text(journal.read_text().replace(str(before), str(tmp_path)))
    service.start()
    yield Campaign(service, dict(left_open.receipts))
    service.kill()


@pytest.fixture
def released(opened: Campaign, mastodon: MastodonServer) -> Campaign:
    """With an account at the Mastodon, and released."""
    opened.has_accounts(opened.mastodon(mastodon))
    opened.release()
    return opened


def texts(mastodon: MastodonServer) -> list[str]:
    return sorted(post.text for post in mastodon.posts())


def expected(campaign: Campaign) -> list[str]:
    words = "These are the words of number {}.\n\n@campaign #HerVoice"
    return [words.format(number) for number in range(len(campaign.ids))]


def soon(seconds: float) -> str:
    at = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def start_posting(campaign: Campaign, *arguments: str) -> subprocess.Popen[bytes]:
    command = [RELAY, "desk", "--config", str(campaign.folder / "desk.toml"), "post", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_each_photo_goes_to_every_account_once_as_it_was_read(
    opened: Campaign, mastodon: MastodonServer, pds: networks.Pds, tmp_path: Path
) -> None:
    folder = '[folder]\nnetwork = "folder"\npath = "for-others"\n'
    opened.has_accounts(opened.mastodon(mastodon), opened.bluesky(pds), folder)
    opened.release()
    done = opened.desk("post", "--json")
    assert done.code == 0, done.err
    assert len(json.loads(done.out)["posted"]) == 3 * THREE
    assert texts(mastodon) == expected(opened)
    assert sorted(post["value"]["text"] for post in pds.posts()) == expected(opened)
    assert {post.media[0].alt for post in mastodon.posts()} == {
        "A person holds a poster in front of the face."
    }
    shown = [one.picture(number) for one in (mastodon, pds) for number in range(THREE)]
    shown += [path.read_bytes() for path in (opened.folder / "for-others").glob("*.jpg")]
    assert len(shown) == 3 * THREE
    assert len({*shown}) == THREE, "each photo, thrice"
    for number, jpeg in enumerate(shown):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg)
        judge(tmp_path / f"{number}.jpg")
    for submission_id in opened.ids:
        assert "posted" in opened.standing(submission_id).text
    again = opened.desk("post")
    assert again.code == 10
    assert len(mastodon.posts()) == THREE
    assert opened.desk("log", "--verify").code == 0


@pytest.mark.one_file
def test_nobody_reads_where_it_was_posted_at_the_relay(
    released: Campaign, mastodon: MastodonServer
) -> None:
    assert released.desk("post").code == 0
    told = " ".join([*mastodon.asked, *mastodon.keys, *texts(mastodon)])
    assert not any(one in told for one in released.ids), "nor our numbers at the network"
    log = released.desk("log").out
    assert log.count(" posted ") == THREE
    kept = (released.folder / "queue.sqlite").read_bytes()
    for trace in (mastodon.url, "mastodon", "HerVoice", mastodon.posts()[0].number):
        assert trace not in log
        assert trace.encode() not in kept


def test_what_is_not_read_is_not_released(opened: Campaign, mastodon: MastodonServer) -> None:
    opened.has_accounts(opened.mastodon(mastodon))
    refused = opened.desk("release", *opened.ids)
    assert refused.code == 2
    assert "Read its words first: relay desk caption" in refused.err
    shown = opened.desk("caption", opened.ids[0])
    assert shown.code == 0
    assert "These are the words of number" in shown.out
    assert opened.desk("release", opened.ids[0]).code == 0


def test_what_was_changed_by_hand_is_posted_so(
    opened: Campaign, mastodon: MastodonServer, tmp_path: Path
) -> None:
    opened.has_accounts(opened.mastodon(mastodon))
    words = tmp_path / "words"
    words.write_text(f"=== mastodon ===\n{'x' * 501}\n=== alt ===\nA poster.\n")
    (first, *_) = opened.ids
    too_long = opened.desk("caption", first, "--from", words)
    assert too_long.code == 3
    assert "501 of 500" in too_long.err
    words.write_text("=== mastodon ===\nOther words.\n=== alt ===\nA poster.\n")
    assert opened.desk("caption", first, "--from", words).code == 0
    assert opened.desk("release", first).code == 0
    (opened.folder / "words.toml").write_text('hashtag = "#Another"')
    assert opened.desk("post").code == 0
    assert texts(mastodon) == ["Other words."]


def test_a_batch_that_is_too_small_is_refused_unless_forced(
    released: Campaign, mastodon: MastodonServer
) -> None:
    released.configure(min_batch=4)
    refused = released.desk("post")
    assert refused.code == 10
    assert refused.err.count("3 ready, and min_batch is 4") == THREE
    assert not mastodon.posts()
    forced = released.desk("post", "--force")
    assert forced.code == 0
    assert "hers is one of many" in forced.err, "the risk is spelled out"
    assert len(mastodon.posts()) == THREE


def test_nothing_is_posted_on_the_day_of_arrival(
    released: Campaign, mastodon: MastodonServer
) -> None:
    released.configure(same_day_post="false")
    held = released.desk("post", "--force")
    assert held.code == 10
    assert held.err.count("a post would tell when she sent it") == THREE
    assert not mastodon.posts()


def test_what_is_taken_back_after_its_release_is_not_posted(
    released: Campaign, mastodon: MastodonServer
) -> None:
    (first, *others) = released.ids
    released.withdraw(first)
    done = released.desk("post")
    assert f"TAKE DOWN: {first}" in done.err
    assert f"{first}: held: she asks to take it down" in done.err
    assert len(mastodon.posts()) == len(others)
    asked = released.desk("take-down")
    assert asked.code == 1
    assert "this desk has posted it nowhere. Has a colleague" in asked.err
    assert released.desk("take-down", "--deleted").code == 2, "of which one?"
    assert released.desk("take-down", first, "--deleted").code == 0
    assert released.standing(first).status == 404
    assert not (released.folder.parent / "opened" / first).exists()


def test_what_is_taken_back_while_the_others_are_posted_is_not_posted(
    released: Campaign, mastodon: MastodonServer
) -> None:
    """A minute before the moment the relay is asked once more."""
    running = start_posting(released, "--at", soon(8))
    wait_until(lambda: len(mastodon.media) == THREE, seconds=30)
    released.withdraw(released.ids[0])
    _, said = running.communicate(timeout=60)
    left = expected(released)
    assert len(mastodon.posts()) in (THREE - 1, THREE)
    if len(mastodon.posts()) == THREE:  # it was asked before she pressed
        pytest.fail(said.decode())
    assert {*texts(mastodon)} < {*left}


def test_without_the_relay_nothing_is_posted(released: Campaign, mastodon: MastodonServer) -> None:
    released.service.kill()
    assert released.desk("post").code == 1
    assert released.desk("post", "--at", soon(5)).code == 1
    assert not mastodon.posts()


def test_what_its_sender_forbids_is_never_posted(
    opened: Campaign, mastodon: MastodonServer
) -> None:
    opened.has_accounts(opened.mastodon(mastodon))
    known = {*opened.ids}
    tomorrow = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=2)
    opened.send(1, may_post="")
    opened.send(1, not_before=tomorrow.isoformat())
    (team, later) = (one for one in opened.receipts if one not in known)
    assert opened.desk("caption", later).code == 0
    assert opened.desk("caption", team).code == 1, "there are no words of a post"
    assert opened.desk("release", team, later).code == 0
    done = opened.desk("post", "--force")
    assert done.code == 10
    assert f"{team}: held: its sender wants it seen by the team alone" in done.err
    assert f"{later}: held: its sender says: not before {tomorrow}" in done.err
    assert not mastodon.posts()


def test_a_timetable_is_shown_and_nothing_is_posted(
    released: Campaign, mastodon: MastodonServer
) -> None:
    released.configure(min_pause_minutes=10, max_pause_minutes=90)
    shown = json.loads(released.desk("post", "--dry-run", "--json").out)["timetable"]
    assert sorted(row["id"] for row in shown) == released.ids
    times = [dt.datetime.fromisoformat(row["at"]) for row in shown]
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert all(dt.timedelta(minutes=9) < pause < dt.timedelta(minutes=91) for pause in pauses)
    moment = released.desk("post", "--at", "2099-01-08T08:00 America/New_York", "--dry-run")
    assert moment.out.count("2099-01-08T13:00:00+00:00") == THREE
    assert "2099-01-08 13:00:00 UTC" in moment.err
    assert not mastodon.posts()
    assert not json.loads((released.folder / "desk-journal.json").read_text())["posts"]


def test_a_time_that_no_clock_shows_is_refused(released: Campaign) -> None:
    for text in ("2026-03-08T02:30 America/New_York", "2026-03-19T08:00", "soon"):
        refused = released.desk("post", "--at", text)
        assert refused.code == 2
        assert "2026" in refused.err


def test_a_moment_that_was_missed_is_said_and_nothing_goes_out(
    released: Campaign, mastodon: MastodonServer
) -> None:
    at = soon(-600)
    missed = released.desk("post", "--at", at)
    assert missed.code == 1
    assert "The instant was 10 minutes ago: nothing was posted now" in missed.err
    assert not mastodon.posts()
    late = released.desk("post", "--at", at, "--late")
    assert late.code == 0
    assert late.out.count("(10 minutes late)") == THREE
    assert len(mastodon.posts()) == THREE


def test_what_is_planned_waits_for_its_moment_until_it_is_given_up(
    released: Campaign, mastodon: MastodonServer
) -> None:
    at = soon(3600)
    running = start_posting(released, "--at", at)
    journal = released.folder / "desk-journal.json"
    wait_until(lambda: '"planned"' in journal.read_text(), seconds=20)
    running.terminate()
    running.communicate()
    held = released.desk("post")
    assert held.code == 10
    assert held.err.count("it is planned for") == THREE
    given_up = released.desk("post", "--cancel")
    assert given_up.out.count("no longer planned") == THREE
    assert released.desk("post").code == 0
    assert len(mastodon.posts()) == THREE


def test_a_lost_answer_makes_no_second_post(released: Campaign, mastodon: MastodonServer) -> None:
    lost = Fault(path="/api/v1/statuses", is_after=True)
    mastodon.faults += [lost, lost]
    done = released.desk("post", "--at", soon(3))
    assert done.code == 0, done.err
    assert texts(mastodon) == expected(released)


def test_what_fails_is_tried_again_after_a_pause_that_grows(
    released: Campaign, mastodon: MastodonServer
) -> None:
    busy = Answer(status=503, body={})
    mastodon.faults += [Fault(path="/api/v1/statuses", instead=busy) for _ in range(3)]
    done = released.desk("post", released.ids[0], "--at", soon(3))
    assert done.code == 0
    assert re.findall(r"Again in (\d+) seconds", done.err) == ["2", "4", "8"]
    assert len(mastodon.posts()) == 1


def test_what_was_refused_is_named_and_tried_again_next_time(
    released: Campaign, mastodon: MastodonServer
) -> None:
    mastodon.faults.append(
        Fault(path="/api/v1/statuses", instead=Answer(status=403, body={"error": "no"}))
    )
    done = released.desk("post")
    assert done.code == 3
    assert "NOT POSTED: The network refused (403)" in done.err
    assert released.desk("post").code == 0
    assert texts(mastodon) == expected(released)


def test_an_account_that_is_at_most_once_is_never_asked_twice_by_itself(
    opened: Campaign,
) -> None:
    with networks.x() as x:
        token = opened.secret("x-token", TOKEN)
        opened.has_accounts(f'[x]\nnetwork = "x"\nserver = "{x.url}"\ntoken_file = "{token}"\n')
        opened.release()
        x.faults.append(Fault(path="/2/tweets", is_after=True))
        done = opened.desk("post", opened.ids[0])
        assert done.code == 1
        assert "NOT POSTED: It may have been posted, or not" in done.err
        again = opened.desk("post", opened.ids[0])
        assert again.code == 10
        assert "nobody knows whether it stands at x" in again.err
        assert len(x.posts()) == 1
        assert opened.desk("post", opened.ids[0], "--posted").code == 0
        assert opened.desk("post", opened.ids[0]).code == 10
        assert len(x.posts()) == 1


def test_what_a_colleague_has_posted_is_not_posted_again(
    released: Campaign, mastodon: MastodonServer
) -> None:
    """Hers is another laptop, whose journal knows nothing of this one's."""
    journal = released.folder / "desk-journal.json"
    hers = journal.read_text()
    assert released.desk("post").code == 0
    journal.write_text(hers)
    held = released.desk("post")
    assert held.code == 10
    assert held.err.count("a colleague has posted it") == THREE
    assert len(mastodon.posts()) == THREE


def test_what_was_covered_after_it_was_brought_there_goes_anew(
    released: Campaign, mastodon: MastodonServer
) -> None:
    at = soon(25)
    running = start_posting(released, "--at", at)
    journal = released.folder / "desk-journal.json"
    wait_until(lambda: len(re.findall(r'"shows": "\w+"', journal.read_text())) == THREE, seconds=40)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    before = {media.jpeg for media in mastodon.media.values()}
    assert released.desk("cover", released.ids[0], "--box", "32,32,64,64").code == 0
    assert released.desk("post", "--at", at, "--late").code == 0
    shown = {mastodon.picture(number) for number in range(THREE)}
    assert len(shown & before) == THREE - 1, "the others need not go there anew"
    assert len(before - shown) == 1, "what is not covered is not shown"


def test_what_is_taken_back_while_a_network_is_down_is_not_posted(
    released: Campaign, mastodon: MastodonServer
) -> None:
    (first, *_) = released.ids
    pause = Answer(status=503, body={}, headers={"Retry-After": "100"})
    mastodon.faults.append(Fault(path="/api/v1/statuses", instead=pause))
    running = start_posting(released, first)
    wait_until(lambda: not mastodon.faults, seconds=40)
    released.withdraw(first)
    _, said = running.communicate(timeout=150)
    assert f"{first}: main: NOT POSTED: she asks to take it down" in said.decode()
    assert not mastodon.posts()


def test_one_photo_that_is_not_there_keeps_none_of_the_others(
    released: Campaign, mastodon: MastodonServer
) -> None:
    (first, *_) = released.ids
    (released.folder.parent / "opened" / first / "photo.jpg").unlink()
    done = released.desk("post", "--at", soon(8))
    assert done.code == 0
    assert f"{first}: held: " in done.err
    assert "Open it again" in done.err
    assert len(mastodon.posts()) == THREE - 1


def test_two_that_post_at_once_do_not_double(released: Campaign, mastodon: MastodonServer) -> None:
    running = start_posting(released, "--at", soon(8))
    journal = released.folder / "desk-journal.json"
    wait_until(lambda: '"planned"' in journal.read_text(), seconds=20)
    second = released.desk("post")
    assert second.code == 1
    assert "under way" in second.err
    running.communicate(timeout=60)
    assert len(mastodon.posts()) == THREE


def test_twenty_go_out_at_one_instant_and_a_kill_in_the_middle_doubles_none(
    start_service: Callable[..., Service], mastodon: MastodonServer, pds: networks.Pds
) -> None:
    released = Campaign(start_service())
    released.send(20)
    released.has_accounts(released.mastodon(mastodon), released.bluesky(pds))
    released.release()
    before = len(pds.posts())
    at = soon(25)
    running = start_posting(released, "--at", at)
    wait_until(lambda: len(mastodon.posts()) >= 5, seconds=90)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    first = mastodon.posts()[0].created
    assert abs((first - dt.datetime.fromisoformat(at)).total_seconds()) < 5
    assert len(mastodon.posts()) < 20, "it was killed in the middle"
    done = released.desk("post", "--at", at, "--late")
    assert done.code == 0, done.err
    assert texts(mastodon) == sorted(expected(released))
    sky = [post["value"]["text"] for post in pds.posts()[before:]]
    assert sorted(sky) == sorted(expected(released))
    created = {post["value"]["createdAt"] for post in pds.posts()[before:]}
    assert len(created) == 1, "what Bluesky shows is the moment, not when each arrived"
    assert all("posted" in released.standing(one).text for one in released.ids)


def test_taking_it_down_deletes_every_post_and_the_copies_here(
    opened: Campaign, mastodon: MastodonServer, pds: networks.Pds
) -> None:
    folder = '[folder]\nnetwork = "folder"\npath = "for-others"\n'
    opened.has_accounts(opened.mastodon(mastodon), opened.bluesky(pds), folder)
    opened.release()
    before = len(pds.posts())
    assert opened.desk("post").code == 0
    (first, *_) = opened.ids
    opened.withdraw(first)
    pulled = opened.desk("pull", "--to", "sealed")
    assert f"TAKE DOWN: {first}" in pulled.err
    assert opened.desk("take-down", "--dry-run").out.count(first) == 3
    down = opened.desk("take-down")
    assert down.code == 0, down.err
    assert down.out.count(": deleted") == 3
    assert len(mastodon.posts()) == len(pds.posts()) - before == THREE - 1
    assert len([*(opened.folder / "for-others").glob("*.jpg")]) == THREE - 1
    unknown = opened.service.post_receipt("receipt", "0" * 20)
    assert (unknown.status, unknown.body) == (404, opened.standing(first).body)
    for place in ("opened", "sealed"):
        assert not [*(opened.folder.parent / place).glob(f"*{first}*")]
    assert not (opened.folder / "captions" / f"{first}.txt").exists()
    assert opened.desk("take-down").code == 10
    assert opened.desk("log", "--verify").code == 0


def test_what_can_not_be_taken_down_from_here_is_named_until_somebody_has(
    released: Campaign, mastodon: MastodonServer
) -> None:
    assert released.desk("post").code == 0
    (first, *_) = released.ids
    released.withdraw(first)
    released.has_accounts('[folder]\nnetwork = "folder"\npath = "for-others"\n')
    left = released.desk("take-down")
    assert left.code == 1
    assert "NOT DELETED: this account is not in the accounts file" in left.err
    assert mastodon.url in left.err, "a person needs its address"
    assert released.desk("take-down", first, "--deleted").code == 0
    assert released.standing(first).status == 404
