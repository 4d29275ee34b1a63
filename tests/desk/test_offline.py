"""The old laptop: a stick goes there and back, through hands that may be anybody's."""

import dataclasses
import datetime as dt
import hashlib
import json
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from relay.desk.journal import JournalFile
from relay.desk.manifest import NAME, write_manifest
from relay.desk.signed import canonical
from relay.scrub.found import Box
from relay.seal import signing
from relay.seal.signing import SigningIdentity
from tests.conftest import FULL, RELAY, Service, Starter, at_terminal, configure, free_port
from tests.desk.laptops import PASSPHRASE, Laptop, Round, make_laptop, read_statement, start_round

STEP = 1 if FULL else 2


@pytest.fixture(scope="module")
def pulled_once(campaign_template: Path, tmp_path_factory: pytest.TempPathFactory):  # noqa: ANN201
    """One round for the module, pulled onto the stick; the relay runs on."""
    home = tmp_path_factory.mktemp("round")
    folder = Path(shutil.copytree(campaign_template, home / "demo"))
    running = []

    def start(**settings: object) -> Service:
        configure(folder, **settings)
        service = Service(folder, free_port())
        running.append(service)
        service.start()
        return service

    started = start_round(start, folder, home)
    assert started.pull().code == 0
    yield started
    running[0].kill()


@pytest.fixture
def brought(pulled_once: Round, tmp_path: Path) -> Round:
    """Copies of the laptops and of the stick, for what leaves the relay as it is."""
    return dataclasses.replace(
        pulled_once,
        online=pulled_once.online.copy(tmp_path / "online"),
        old=pulled_once.old.copy(tmp_path / "old"),
        stick=Path(shutil.copytree(pulled_once.stick, tmp_path / "stick")),
    )


@pytest.fixture
def fresh(start_service: Starter, campaign: Path, tmp_path: Path) -> Round:
    """A relay of its own with three photos; nothing pulled."""
    return start_round(start_service, campaign, tmp_path)


def check_manifest(stick: Path) -> None:
    """A manifest never names what is not there."""
    if (stick / NAME).exists():
        for one in read_statement(stick).envelopes:
            envelope = (stick / f"{one.id}.age").read_bytes()
            assert hashlib.sha256(envelope).hexdigest() == one.envelope


# -- what a pull signs for -------------------------------------------------------------------------


def test_a_pull_signs_for_what_lies_in_the_folder(brought: Round) -> None:
    signed = json.loads((brought.stick / NAME).read_text())
    identity = brought.online.identity()
    assert signed["signer"] == identity.signer().encoded
    context = b"poster-relay/v1/manifest\n"
    assert signed["signature"] == identity.sign(context, signed["statement"].encode())
    today = dt.datetime.now(dt.UTC).date().isoformat()
    listed = [
        {
            "id": name,
            "day": today,
            "envelope": hashlib.sha256(brought.envelope(name).read_bytes()).hexdigest(),
        }
        for name in brought.ids
    ]
    fields = {
        "version": 1, "campaign": "demo", "number": 1, "day": today, "envelopes": listed,
        "gone": [], "take_down": [],
    }  # fmt: skip
    assert signed["statement"] == canonical(fields)
    assert (brought.stick / NAME).stat().st_mode & 0o777 == 0o600


def test_a_pull_with_nothing_new_still_says_what_was_taken_back_and_is_to_be_taken_down(
    fresh: Round,
) -> None:
    one, two, three = fresh.ids
    fresh.pull()
    assert fresh.online.desk("release", one).code == 0
    fresh.withdraw(one)
    fresh.withdraw(two)
    again = fresh.pull()
    assert again.code == 10
    assert again.err.startswith(f"TAKE DOWN: {one}.")
    manifest = fresh.manifest
    assert manifest.number == 2
    assert (manifest.gone, manifest.take_down) == ((two,), (one,))
    assert [listed.id for listed in manifest.envelopes] == [three], "the leases still held"
    assert not fresh.envelope(two).exists()
    journal = fresh.online.journal
    assert (journal["gone"], journal["take_down"], journal["pulls"]) == ([two], [one], 2)


def test_a_stick_that_was_away_when_it_was_taken_back_is_cleared_with_the_next_pull(
    fresh: Round,
) -> None:
    one = fresh.ids[0]
    fresh.pull()
    away = fresh.stick.rename(fresh.stick.with_name("away"))
    fresh.withdraw(one)
    fresh.online.desk("pull", "--to", "elsewhere")
    away.rename(fresh.stick)
    assert fresh.envelope(one).exists()
    assert fresh.pull().code == 10
    assert not fresh.envelope(one).exists()


def test_a_dry_run_of_pull_says_what_would_be_and_changes_nothing(fresh: Round) -> None:
    dry = fresh.online.desk("pull", "--to", "new/place", "--dry-run")
    assert dry.code == 0
    assert dry.out.splitlines() == [f"new/place/{one}.age: would be fetched" for one in fresh.ids]
    assert not (fresh.online.folder / "new").exists()
    assert not fresh.online.journal_path.exists()
    assert fresh.online.desk("log").out == "", "nothing was leased"
    fresh.pull()
    fresh.withdraw(fresh.ids[0])
    before = fresh.online.journal, (fresh.stick / NAME).read_bytes()
    dry = fresh.online.desk("pull", "--to", fresh.stick, "--dry-run")
    assert dry.code == 10
    assert f"your copies would be destroyed: {fresh.ids[0]}" in dry.err
    assert fresh.envelope(fresh.ids[0]).exists()
    assert before == (fresh.online.journal, (fresh.stick / NAME).read_bytes())


@pytest.mark.parametrize("is_second", [False, True])
def test_a_pull_killed_at_any_write_never_signs_for_what_is_not_there(
    fresh: Round, tmp_path: Path, *, is_second: bool
) -> None:
    """The second pull finds one taken back and one new."""
    taken = fresh.ids[0]
    if is_second:
        assert fresh.pull().code == 0
        fresh.withdraw(taken)
        fresh.send("later")
        fresh.stick.rename(tmp_path / "before")
    stick, write, code = fresh.stick, 1, -9
    while code == -9:
        online = fresh.online.copy(tmp_path / f"online-{write}")
        shutil.rmtree(stick, ignore_errors=True)
        if is_second:
            shutil.copytree(tmp_path / "before", stick)
        code = online.desk_killed_at(write, "pull", "--to", stick)
        check_manifest(stick)
        if code == -9:
            assert online.desk("pull", "--to", stick).code in (0, 10)
        check_manifest(stick)
        manifest = read_statement(stick)
        assert len(manifest.envelopes) == 3
        assert manifest.gone == ((taken,) if is_second else ())
        assert (stick / f"{taken}.age").exists() != is_second
        write += STEP
    assert code == 0
    assert write > 18, "nine files, twice each"


# -- what is opened from a stick -------------------------------------------------------------------


def test_another_colleague_opens_what_is_signed_for_and_may_decide(brought: Round) -> None:
    opened = brought.open()
    assert (opened.code, opened.err) == (0, "")
    assert brought.opened == brought.ids
    assert set(brought.old.journal["envelopes"]) == set(brought.ids)
    assert brought.old.journal["campaign"] == "demo"
    assert brought.old.desk("release", brought.ids[0], "--to", "verdicts").code == 0


def test_the_same_colleague_is_asked_for_her_passphrase_once(brought: Round) -> None:
    """Her two laptops have the same keys; neither has a list of colleagues."""
    old = brought.old
    for name in ("signer.age",):
        shutil.copy(brought.online.folder / name, old.folder)
    text = old.config.read_text()
    lines = [line for line in text.splitlines() if not line.startswith(("passphrase", "staff"))]
    old.config.write_text("\n".join(lines))
    command = [RELAY, "desk", "open", str(brought.stick), "--to", "opened"]
    opened = at_terminal(command, [("passphrase:", PASSPHRASE)], cwd=old.folder)
    assert opened.code == 0, opened.out
    assert brought.opened == brought.ids


def test_no_passphrase_is_asked_for_that_is_not_needed(brought: Round) -> None:
    """A colleague signed the manifest: the signer's file stays shut, whatever is in it."""
    (brought.old.folder / "signer.age").write_bytes(b"damaged")
    assert brought.open().code == 0


def faulty(brought: Round, fault: str, name: str, words: str) -> None:
    """One is amiss in this way, and the other two are opened."""
    opened = brought.old.desk("open", brought.stick, "--to", "opened", "--json")
    assert opened.code == 3
    report = opened.json["opened"]
    amiss = {Path(one["source"]).name: one["fault"] for one in report if one["fault"]}  # type: ignore[index, attr-defined]
    assert amiss == {f"{name}.age": fault}
    assert set(brought.opened) == set(brought.ids) - {name}
    assert f"{name}.age: {words}" in brought.open().err


def test_a_missing_envelope_is_named(brought: Round) -> None:
    brought.envelope(brought.ids[1]).unlink()
    faulty(brought, "missing", brought.ids[1], "Missing")


def test_a_swapped_envelope_is_named_with_the_one_whose_bytes_it_has(brought: Round) -> None:
    one, two, _ = brought.ids
    shutil.copy(brought.envelope(one), brought.envelope(two))
    faulty(brought, "swapped", two, f"Swapped: it has the bytes of {one}")


def test_reordered_envelopes_are_named_each(brought: Round) -> None:
    one, two, three = brought.ids
    first = brought.envelope(one).read_bytes()
    brought.envelope(one).write_bytes(brought.envelope(two).read_bytes())
    brought.envelope(two).write_bytes(first)
    opened = brought.open()
    assert opened.code == 3
    assert f"{one}.age: Swapped: it has the bytes of {two}" in opened.err
    assert f"{two}.age: Swapped: it has the bytes of {one}" in opened.err
    assert brought.opened == [three]


def test_a_damaged_envelope_is_named(brought: Round) -> None:
    path = brought.envelope(brought.ids[1])
    path.write_bytes(path.read_bytes()[:-1])
    faulty(brought, "damaged", brought.ids[1], "Damaged")


def test_an_envelope_that_can_not_be_read_is_damaged(brought: Round) -> None:
    path = brought.envelope(brought.ids[1])
    path.unlink()
    path.mkdir()
    faulty(brought, "damaged", brought.ids[1], "Damaged")


@pytest.mark.parametrize("name", ["f" * 32, "x\x1b[31m"])
def test_an_extra_envelope_is_named_and_not_opened(brought: Round, name: str) -> None:
    shutil.copy(brought.envelope(brought.ids[1]), brought.envelope(name))
    opened = brought.open()
    assert opened.code == 3
    assert "Extra: not in the manifest" in opened.err
    assert f"It has the bytes of {brought.ids[1]}" in opened.err
    assert "\x1b" not in opened.err
    assert brought.opened == brought.ids


def test_an_envelope_that_is_known_with_other_bytes_is_replayed(brought: Round) -> None:
    """Signed for by a colleague, who was lied to, or lies."""
    name = brought.ids[1]
    brought.old.desk("open", brought.stick, "--to", "before")
    brought.envelope(name).write_bytes(b"other")
    digest = hashlib.sha256(b"other").hexdigest()
    envelopes = tuple(
        dataclasses.replace(one, envelope=digest) if one.id == name else one
        for one in brought.manifest.envelopes
    )
    again = dataclasses.replace(brought.manifest, number=2, envelopes=envelopes)
    write_manifest(brought.stick, again, brought.online.identity())
    faulty(brought, "replayed", name, "Replayed: this desk knows another envelope")
    assert brought.old.journal["envelopes"][name] != digest


def test_an_old_stick_is_named_and_what_is_not_gone_is_opened(brought: Round) -> None:
    one, two, three = brought.ids
    old_stick = shutil.copytree(brought.stick, brought.stick.with_name("old-stick"))
    assert brought.open().code == 0
    newer = dataclasses.replace(
        brought.manifest, number=7, envelopes=brought.manifest.envelopes[1:], gone=(one,)
    )
    write_manifest(brought.stick, newer, brought.online.identity())
    opened = brought.open()
    assert f"your copies are destroyed: {one}" in opened.err
    assert opened.code == 3, "its file was still there, and is not opened"
    assert brought.opened == [two, three]
    assert not brought.envelope(one).exists(), "nor does it stay on the stick"
    shutil.rmtree(brought.stick)
    shutil.move(old_stick, brought.stick)
    shutil.rmtree(brought.old.folder / "opened")
    replayed = brought.open()
    assert replayed.code == 3
    assert "older than one that this desk has seen (number 1, and 7 before)" in replayed.err
    assert f"{one}.age: Taken back" in replayed.err
    assert brought.opened == [two, three]


def test_what_was_taken_back_is_not_opened_without_its_manifest_or_under_another_name(
    brought: Round,
) -> None:
    one = brought.ids[0]
    kept = brought.envelope(one).read_bytes()
    brought.open()
    newer = dataclasses.replace(brought.manifest, number=2, envelopes=(), gone=(one,))
    write_manifest(brought.stick, newer, brought.online.identity())
    brought.open()
    loose = brought.stick.with_name("loose")
    for name in (one, "renamed", "0" * 32):
        loose.mkdir()
        (loose / f"{name}.age").write_bytes(kept)
        opened = brought.old.desk("open", loose, "--to", "again")
        assert opened.code == 10
        assert "Taken back" in opened.err
        assert not list((brought.old.folder / "again").iterdir())
        assert not list(loose.iterdir())
        loose.rmdir()
    late = brought.old.desk("release", one, "--to", "verdicts")
    assert late.code == 10
    assert "taken it back" in late.err


def test_what_an_earlier_manifest_listed_is_still_opened(brought: Round) -> None:
    """Decided meanwhile, it is no lease any more; left on the stick, it is no stranger."""
    brought.open()
    newer = dataclasses.replace(
        brought.manifest, number=2, envelopes=brought.manifest.envelopes[1:]
    )
    write_manifest(brought.stick, newer, brought.online.identity())
    assert brought.open().code == 0
    brought.envelope(brought.ids[0]).write_bytes(b"other")
    opened = brought.open()
    assert opened.code == 3
    assert f"{brought.ids[0]}.age: Replayed" in opened.err


def test_a_single_file_is_held_against_the_manifest_beside_it(brought: Round) -> None:
    one, two, _ = brought.ids
    shutil.copy(brought.envelope(one), brought.envelope(two))
    opened = brought.old.desk(
        "open", brought.envelope(one), brought.envelope(two), "--to", "opened"
    )
    assert opened.code == 3
    assert "Swapped" in opened.err
    assert "Missing" not in opened.err
    assert brought.opened == [one]


def test_where_none_can_be_opened_the_code_is_13(brought: Round) -> None:
    for name in brought.ids:
        brought.envelope(name).write_bytes(b"x")
    opened = brought.open()
    assert opened.code == 13
    assert opened.err.count("Damaged") == 3
    assert not brought.opened


def refused(brought: Round, words: str) -> None:
    """Nothing is opened, believed or remembered."""
    opened = brought.open()
    assert opened.code == 13
    assert words in opened.err
    assert str(brought.stick) in opened.err
    assert "Traceback" not in opened.err
    assert not (brought.old.folder / "opened").exists()
    assert not brought.old.journal_path.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"7", b"null", b"\xff", b"[" * 100_000, b'{"statement": 1}', b"x" * 99],
)
def test_a_manifest_that_can_not_be_read_is_refused(brought: Round, content: bytes) -> None:
    (brought.stick / NAME).write_bytes(content)
    refused(brought, "can't be read")


def test_a_manifest_that_is_no_file_is_refused(brought: Round) -> None:
    (brought.stick / NAME).unlink()
    (brought.stick / NAME).symlink_to("nowhere")
    refused(brought, "No such file")
    (brought.stick / NAME).unlink()
    (brought.stick / NAME).symlink_to("/dev/zero")
    refused(brought, "Not a file")


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields["statement"].replace('"number":1', '"number":2'),
        lambda fields: fields["statement"].replace(',"take_down":[]', ""),
        lambda fields: fields["statement"] + " ",
        lambda _: "\ud800",
    ],
)
def test_a_manifest_that_was_altered_is_refused(
    brought: Round, change: Callable[[dict[str, str]], str]
) -> None:
    fields = json.loads((brought.stick / NAME).read_text())
    fields["statement"] = change(fields)
    (brought.stick / NAME).write_text(json.dumps(fields))
    refused(brought, NAME)


def test_a_manifest_signed_for_something_else_is_refused(brought: Round) -> None:
    """No verdict, request or file of verdicts passes for a manifest."""
    fields = json.loads((brought.stick / NAME).read_text())
    for context in (signing.REQUEST, signing.VERDICT, signing.CHECKPOINT, signing.VERDICTS):
        signature = brought.online.identity().sign(context, fields["statement"].encode())
        (brought.stick / NAME).write_text(json.dumps(fields | {"signature": signature}))
        refused(brought, "forged")


def test_a_manifest_of_a_stranger_is_refused(brought: Round) -> None:
    stranger = SigningIdentity.generate()
    write_manifest(brought.stick, brought.manifest, stranger)
    refused(brought, stranger.signer().encoded)
    brought.old.knows(stranger.signer().encoded)
    assert brought.open().code == 0, "and that is what was wrong with it"


def test_a_manifest_that_says_she_is_another_is_refused(brought: Round) -> None:
    write_manifest(brought.stick, brought.manifest, SigningIdentity.generate())
    fields = json.loads((brought.stick / NAME).read_text())
    fields["signer"] = brought.online.signer
    (brought.stick / NAME).write_text(json.dumps(fields))
    refused(brought, "forged")


@pytest.mark.parametrize(
    "change",
    [
        {"number": 0},
        {"number": 1.5},
        {"number": True},
        {"campaign": 7},
        {"gone": ["../x"]},
        {"gone": "x"},
        {"take_down": [None]},
        {"envelopes": None},
        {"envelopes": [{"id": "../x", "day": "2026-03-19", "envelope": "00" * 32}]},
        {"envelopes": [{"id": "11" * 16, "day": "2026-03-19", "envelope": "zz"}]},
        {"envelopes": [{"id": "11" * 16, "day": "soon", "envelope": "00" * 32}]},
        {"envelopes": [{"id": "11" * 16, "day": "2026-03-19", "envelope": "00" * 32}] * 2},
        {"more": 1},
        {"version": 2},
    ],
)
def test_a_manifest_of_another_form_is_refused_whoever_signed_it(
    brought: Round, change: dict[str, object]
) -> None:
    fields = json.loads(brought.manifest.statement()) | change
    sign_as(brought.stick / NAME, signing.MANIFEST, canonical(fields), brought.online.identity())
    refused(brought, "Not a manifest")


def test_a_manifest_that_lists_what_it_calls_gone_is_refused(brought: Round) -> None:
    fields = json.loads(brought.manifest.statement()) | {"gone": brought.ids[:1]}
    sign_as(brought.stick / NAME, signing.MANIFEST, canonical(fields), brought.online.identity())
    refused(brought, "Not a manifest")


def test_a_manifest_of_another_campaign_is_refused(brought: Round) -> None:
    brought.open()
    other = dataclasses.replace(brought.manifest, campaign="other")
    write_manifest(brought.stick, other, brought.online.identity())
    opened = brought.old.desk("open", brought.stick, "--to", "elsewhere")
    assert opened.code == 13
    assert "another campaign" in opened.err
    assert not (brought.old.folder / "elsewhere").exists()
    assert brought.old.journal["campaign"] == "demo"


def test_without_a_manifest_it_opens_with_a_warning_and_nobody_may_decide(brought: Round) -> None:
    (brought.stick / NAME).unlink()
    opened = brought.open()
    assert opened.code == 0
    assert "3 not pulled by this desk: nothing shows where they come from" in opened.err
    assert brought.old.desk("release", brought.ids[0], "--to", "verdicts").code == 10
    puller = brought.online.desk("open", brought.stick, "--to", "opened")
    assert puller.code == 0
    assert puller.err == f"{brought.stick}: no manifest, so nothing shows what is missing here.\n"


def test_what_is_to_be_taken_down_is_said_first(brought: Round) -> None:
    one, two, _ = brought.ids
    brought.open()
    brought.old.desk("release", one, "--to", "verdicts")
    manifest = dataclasses.replace(brought.manifest, number=2, take_down=(one, two))
    write_manifest(brought.stick, manifest, brought.online.identity())
    brought.envelope(two).unlink()
    for command in (
        ("open", str(brought.stick), "--to", "opened"),
        ("release", two, "--to", "verdicts"),
        ("return", two, "--reason", "other", "--to", "verdicts"),
        ("send", "verdicts", "--dry-run"),
    ):
        said = brought.old.desk(*command).err
        assert said.startswith(f"TAKE DOWN: {one}. The sender asks you to delete the post.\n")
        assert f"TAKE DOWN: {two}" not in said, "another desk's post"


def test_a_stick_with_nothing_but_news_is_heard(brought: Round) -> None:
    brought.open()
    for name in brought.ids:
        brought.envelope(name).unlink()
    news = dataclasses.replace(
        brought.manifest, number=2, envelopes=(), gone=tuple(brought.ids[:1])
    )
    write_manifest(brought.stick, news, brought.online.identity())
    opened = brought.open()
    assert opened.code == 10
    assert f"your copies are destroyed: {brought.ids[0]}" in opened.err
    assert brought.opened == brought.ids[1:]


def sign_as(path: Path, context: bytes, statement: str, identity: SigningIdentity) -> None:
    signature = identity.sign(context, statement.encode())
    fields = {"statement": statement, "signer": identity.signer().encoded, "signature": signature}
    path.write_text(json.dumps(fields))


# -- verdicts on the way back ----------------------------------------------------------------------


@pytest.fixture
def looked_at(brought: Round) -> Round:
    assert brought.open().code == 0
    return brought


def test_verdicts_are_added_once_and_never_turned_round(looked_at: Round) -> None:
    one, two, three = looked_at.ids
    old, file = looked_at.old, looked_at.stick / "verdicts.json"
    first = old.desk("release", one, two, "--to", file)
    assert (first.code, first.out) == (0, f"{one}: to be released\n{two}: to be released\n")
    assert "2 in " in first.err
    again = old.desk("release", two, three, "--to", file)
    assert again.code == 0
    assert again.out == f"{three}: to be released\n{two}: already to be released\n"
    whole = file.read_bytes()
    turned = old.desk("return", one, "--reason", "other", "--to", file)
    assert turned.code == 10
    assert f"{one}: You have signed another verdict before (release). It stands." in turned.err
    assert old.desk("return", one, "--reason", "other", "--to", "second").code == 10
    assert not (old.folder / "second").exists()
    assert file.read_bytes() == whole
    assert file.stat().st_mode & 0o777 == 0o600
    unknown = old.desk("release", "00" * 16, one, "--to", file)
    assert unknown.code == 3
    assert file.read_bytes() == whole


def test_of_what_is_signed_as_returned_no_copy_stays(fresh: Round) -> None:
    """It is not fetched again either, though the relay has not heard of it."""
    fresh.pull()
    fresh.open()
    for laptop in (fresh.old, fresh.online):
        returned = laptop.desk("return", fresh.ids[0], "--reason", "other", "--to", "v")
        assert returned.code == 0
    assert fresh.opened == fresh.ids[1:]
    assert not fresh.envelope(fresh.ids[0]).exists()
    again = fresh.online.desk("pull", "--to", fresh.stick, "--dry-run", "--json")
    assert again.json["present"] == fresh.ids[1:]
    assert again.json["fetched"] == []


def test_a_return_keeps_its_first_reason(looked_at: Round) -> None:
    old, one = looked_at.old, looked_at.ids[0]
    assert old.desk("return", one, "--reason", "other", "--to", "v").code == 0
    assert old.desk("return", one, "--reason", "other", "--to", "v").code == 0
    changed = old.desk("return", one, "--reason", "face-visible", "--to", "v")
    assert changed.code == 10
    assert "(return, other)" in changed.err


def test_a_file_of_verdicts_is_signed_as_a_whole(looked_at: Round) -> None:
    old = looked_at.old
    old.desk("return", *looked_at.ids[:2], "--reason", "other", "--to", "v", "--json")
    signed = json.loads((old.folder / "v").read_text())
    statement, identity = signed["statement"], old.identity()
    assert signed["signer"] == old.signer
    assert signed["signature"] == identity.sign(b"poster-relay/v1/verdicts\n", statement.encode())
    fields = json.loads(statement)
    assert set(fields) == {"version", "campaign", "verdicts"}
    for name, verdict in zip(looked_at.ids, fields["verdicts"], strict=False):
        assert json.loads(verdict["statement"])["id"] == name
        assert verdict["signature"] == identity.sign(
            b"poster-relay/v1/verdict\n", verdict["statement"].encode()
        )


def test_a_second_file_gets_the_same_verdict_and_not_another(looked_at: Round) -> None:
    """A stick was lost: what was signed may still turn up."""
    old, one = looked_at.old, looked_at.ids[0]
    old.desk("release", one, "--to", "lost")
    lost = (old.folder / "lost").read_bytes()
    (old.folder / "lost").unlink()
    assert old.desk("return", one, "--reason", "other", "--to", "new").code == 10
    assert old.desk("release", one, "--to", "new").code == 0
    assert (old.folder / "new").read_bytes() == lost


def test_a_dry_run_signs_nothing(looked_at: Round) -> None:
    old, one = looked_at.old, looked_at.ids[0]
    before = old.journal_path.read_bytes()
    dry = old.desk("release", one, "--to", "v", "--dry-run")
    assert (dry.code, dry.out) == (0, f"{one}: would be released\n")
    assert not (old.folder / "v").exists()
    assert old.journal_path.read_bytes() == before


def test_somebody_elses_file_is_not_written_to(looked_at: Round) -> None:
    old, one = looked_at.old, looked_at.ids[0]
    looked_at.online.desk("release", one, "--to", old.folder / "hers")
    (old.folder / "else").write_text("not verdicts")
    for name, code in (("hers", 11), ("else", 13)):
        before = (old.folder / name).read_bytes()
        assert old.desk("release", one, "--to", name).code == code
        assert (old.folder / name).read_bytes() == before
        assert old.journal["verdicts"]["signed"] == {}


def test_a_decision_killed_at_any_write_is_repeated_by_calling_it_again(
    looked_at: Round, tmp_path: Path
) -> None:
    command = ("release", *looked_at.ids, "--to", "v")
    write, code = 1, -9
    while code == -9:
        old = looked_at.old.copy(tmp_path / f"old-{write}")
        code = old.desk_killed_at(write, *command)
        assert old.desk(*command).code == 0
        sent = old.desk("send", "v", "--dry-run")
        assert sent.out.splitlines() == [f"{one}: would be released" for one in looked_at.ids]
        write += 1
    assert code == 0
    assert write > 4, "two files, twice each"


def test_a_desk_without_a_relay_says_so(looked_at: Round) -> None:
    old, one = looked_at.old, looked_at.ids[0]
    old.desk("release", one, "--to", "v")
    for command in (("pull", "--to", "x"), ("log",), ("send", "v"), ("release", one)):
        told = old.desk(*command)
        assert told.code == 2
        assert "desk.toml has no line relay" in told.err


def test_the_old_laptop_asks_for_no_network(brought: Round) -> None:
    """Not one socket but the local ones to the box is even asked for."""
    trace = brought.old.folder / "trace"
    for command in (
        ("open", brought.stick, "--to", "opened"),
        ("release", brought.ids[0], "--to", "v"),
        ("return", brought.ids[1], "--reason", "other", "--to", "v"),
    ):
        strace = ["strace", "-f", "-e", "trace=%network", "-o", trace, RELAY, "desk", "--config"]
        done = subprocess.run(
            [*strace, brought.old.config, *command], cwd=brought.old.folder, check=False
        )
        assert done.returncode == 0
        assert "exited with 0" in trace.read_text()
        assert {*re.findall(r"AF_\w+", trace.read_text())} <= {"AF_UNIX"}


# -- sent ------------------------------------------------------------------------------------------


@pytest.fixture
def decided(fresh: Round) -> Round:
    """The old laptop has returned the first and released the others."""
    fresh.pull()
    assert fresh.open().code == 0
    file = fresh.stick / "verdicts.json"
    fresh.old.desk("return", fresh.ids[0], "--reason", "other", "--to", file)
    assert fresh.old.desk("release", *fresh.ids[1:], "--to", file).code == 0
    return fresh


def send(decided: Round, *options: str, by: Laptop | None = None):  # noqa: ANN201
    return (by or decided.online).desk("send", decided.stick / "verdicts.json", *options)


def test_what_this_laptop_sees_is_not_sent_until_somebody_says_why(decided: Round) -> None:
    """Signed on a laptop on which nothing was seen, or a reason was given."""
    online, (returned, seen, other) = decided.online, decided.ids
    with JournalFile(online.folder).update() as journal:
        for submission_id in (returned, seen):
            journal.remember_look(submission_id, [Box(10, 20, 30, 40)])
    done = send(decided)
    assert done.code == 3
    assert sorted(done.out.splitlines()) == sorted([f"{returned}: returned", f"{other}: released"])
    assert f"{seen}: Not released: what can be seen in 1 place" in done.err
    assert [one for one, *_ in verdicts_in_log(decided)] == sorted([returned, other])
    assert send(decided, "--visible-because", "a portrait, in print").code == 0
    assert online.journal["reasons"] == {seen: "a portrait, in print"}
    assert [one for one, *_ in verdicts_in_log(decided)] == decided.ids
    assert send(decided).code == 0, "what was sent stays so"


def verdicts_in_log(decided: Round) -> list[tuple[str, str, str]]:
    entries = decided.online.desk("log", "--json").json["entries"]
    return sorted(
        (entry["id"], entry["action"], entry["signer"])
        for entry in entries  # type: ignore[attr-defined]
        if entry["statement"]
    )


def test_verdicts_of_the_old_laptop_are_carried_out_once_under_its_colleagues_name(
    decided: Round,
) -> None:
    one, two, three = decided.ids
    dry = send(decided, "--dry-run")
    assert dry.code == 0
    assert dry.out.splitlines()[0] == f"{one}: would be returned"
    assert verdicts_in_log(decided) == []
    sent = send(decided)
    assert sent.code == 0
    assert sent.out == f"{one}: returned\n{two}: released\n{three}: released\n"
    assert sent.err.startswith(
        f"3 in {decided.stick}/verdicts.json, signed by {decided.old.signer}."
    )
    assert "The relay has them all." in sent.err
    assert set(decided.online.journal["verdicts"]["awaited"]) == set(decided.ids)
    again = send(decided, "--json")
    assert again.code == 0
    assert [found["already"] for found in again.json["decided"]] == [True] * 3  # type: ignore[attr-defined]
    her = decided.old.signer
    assert verdicts_in_log(decided) == [
        (one, "returned", her),
        (two, "released", her),
        (three, "released", her),
    ]
    verified = decided.online.desk("log", "--verify")
    assert verified.code == 0, verified.err
    assert f"released {two} by {her}" in verified.out
    assert decided.online.journal["verdicts"]["awaited"] == {}


@pytest.mark.one_file
def test_a_relay_that_drops_what_was_sent_is_found(decided: Round) -> None:
    assert send(decided).code == 0
    decided.service.kill()
    database = sqlite3.connect(decided.service.folder / "queue.sqlite")
    database.execute("DELETE FROM log WHERE seq = (SELECT max(seq) FROM log)")
    database.commit()
    database.close()
    decided.service.start()
    verified = decided.online.desk("log", "--verify")
    assert verified.code == 13
    assert f"lacks the verdict about {decided.ids[2]}" in verified.err


def test_what_is_taken_back_on_the_way_is_named_and_destroyed_on_the_old_laptop(
    decided: Round,
) -> None:
    one, two, three = decided.ids
    decided.withdraw(two)
    sent = send(decided)
    assert sent.code == 3
    assert sent.out == f"{one}: returned\n{three}: released\n"
    assert f"{two}: She has taken it back" in sent.err
    decided.withdraw(three)  # after its release: the post is to be deleted
    decided.pull()
    assert not decided.envelope(two).exists()
    opened = decided.open()
    assert opened.err.startswith(f"TAKE DOWN: {three}.")
    assert f"your copies are destroyed: {two}" in opened.err
    assert decided.opened == [three]
    assert send(decided).code == 3, "and nothing has changed"


def test_what_a_third_colleague_has_is_locked(decided: Round, tmp_path: Path) -> None:
    """The leases are the online laptop's: neither the signer nor the bearer has them."""
    clara = make_laptop(tmp_path / "clara", decided.service.folder)
    relay_line = decided.online.config.read_text().splitlines()[0]
    clara.config.write_text(f"{relay_line}\n{clara.config.read_text()}")
    clara.knows(decided.old.signer)
    decided.service.kill()
    decided.service.start()
    locked = send(decided, by=clara)
    assert locked.code == 11
    assert locked.err.count("A colleague has this submission.") == 3
    assert send(decided).code == 0


def test_what_was_decided_the_other_way_meanwhile_stays(decided: Round) -> None:
    one, two, three = decided.ids
    assert decided.online.desk("release", one).code == 0
    sent = send(decided)
    assert sent.code == 3
    assert sent.out == f"{two}: released\n{three}: released\n"
    assert f"{one}: It was released before" in sent.err


def test_verdicts_about_exchanged_bytes_are_not_sent(decided: Round) -> None:
    journal = decided.online.journal
    journal["envelopes"][decided.ids[1]] = "00" * 32
    decided.online.journal_path.write_text(json.dumps(journal))
    sent = send(decided)
    assert sent.code == 3
    assert f"{decided.ids[1]}: About another envelope" in sent.err
    assert len(verdicts_in_log(decided)) == 2


def unsent(brought: Round, words: str, code: int = 13) -> None:
    told = send(brought)
    assert told.code == code
    assert words in told.err
    assert "Traceback" not in told.err
    assert verdicts_in_log(brought) == []
    assert brought.online.journal["verdicts"]["sent"] == {}


@pytest.fixture
def on_stick(looked_at: Round) -> Round:
    """Decided; the relay is the module's, and must not hear of it."""
    file = looked_at.stick / "verdicts.json"
    assert looked_at.old.desk("release", *looked_at.ids, "--to", file).code == 0
    return looked_at


def change_statement(on_stick: Round, change: Callable[[dict], object], *, signed: bool) -> None:  # type: ignore[type-arg]
    path = on_stick.stick / "verdicts.json"
    fields = json.loads(path.read_text())
    statement = json.loads(fields["statement"])
    change(statement)
    if signed:
        identity = on_stick.old.identity()
        sign_as(path, signing.VERDICTS, canonical(statement), identity)
    else:
        path.write_text(json.dumps(fields | {"statement": canonical(statement)}))


def test_a_file_from_which_a_verdict_was_dropped_is_refused(on_stick: Round) -> None:
    change_statement(on_stick, lambda fields: fields["verdicts"].pop(), signed=False)
    unsent(on_stick, "forged or damaged")


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields["verdicts"].reverse(),
        lambda fields: fields["verdicts"].append(fields["verdicts"][0]),
        lambda fields: fields.update(campaign="other"),
        lambda fields: fields.update(version=2),
        lambda fields: fields.update(verdicts=7),
        lambda fields: fields["verdicts"][0].update(signature="x"),
        lambda fields: fields["verdicts"][0].update(
            statement=fields["verdicts"][0]["statement"].replace("release", "return")
        ),
    ],
)
def test_a_file_of_another_form_is_refused_whoever_signed_it(
    on_stick: Round,
    change: Callable[[dict], object],  # type: ignore[type-arg]
) -> None:
    change_statement(on_stick, change, signed=True)
    unsent(on_stick, "verdicts.json: ")


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 100_000, b"\xff"])
def test_a_file_that_can_not_be_read_is_refused(on_stick: Round, content: bytes) -> None:
    (on_stick.stick / "verdicts.json").write_bytes(content)
    unsent(on_stick, "can't be read")


def test_no_file_and_no_verdict_are_nothing_there(on_stick: Round) -> None:
    change_statement(on_stick, lambda fields: fields["verdicts"].clear(), signed=True)
    unsent(on_stick, "no verdict", code=10)
    (on_stick.stick / "verdicts.json").unlink()
    unsent(on_stick, "no such file", code=10)


def test_a_file_of_a_stranger_is_refused(on_stick: Round) -> None:
    on_stick.online.knows()
    unsent(on_stick, "whom this desk does not know")


def test_a_manifest_is_no_file_of_verdicts(on_stick: Round) -> None:
    shutil.copy(on_stick.stick / NAME, on_stick.stick / "verdicts.json")
    unsent(on_stick, "forged or damaged")


def test_a_send_killed_at_any_write_is_repeated_by_calling_it_again(decided: Round) -> None:
    write, code = 1, -9
    while code == -9:
        code = decided.online.desk_killed_at(write, "send", decided.stick / "verdicts.json")
        write += 1
    assert code == 0
    assert write > 6
    assert [action for _, action, _ in verdicts_in_log(decided)] == [
        "returned",
        "released",
        "released",
    ]
    verdicts = decided.online.journal["verdicts"]
    assert verdicts["sent"] == {}
    assert set(verdicts["confirmed"]) == set(decided.ids)
    assert decided.online.desk("log", "--verify").code == 0


def test_a_relay_that_does_not_answer_is_asked_once_and_later_again(decided: Round) -> None:
    decided.service.kill()
    silent = send(decided)
    assert silent.code == 1
    assert silent.err.count("did not answer") == 3
    decided.service.start()
    assert send(decided).code == 0
