"""The two public lists: what stands in them, until when it is valid, and who has signed it."""

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import ConfigInvalid
from relay.seal import bech32
from relay.seal.keys import ClassicIdentity, HybridIdentity
from relay.seal.lists import Period, Role, load_recipients, load_staff, parse_recipients
from relay.seal.signing import SigningIdentity

HYBRID = HybridIdentity.generate()
GOOD = HYBRID.recipient().encoded
OTHER = HybridIdentity.generate().recipient().encoded
CLASSIC = ClassicIdentity.generate().recipient().encoded
SIGNING, STRANGER = SigningIdentity.generate(), SigningIdentity.generate()
DAY, ONE = dt.date(2026, 11, 25), dt.timedelta(days=1)
LISTED = parse_recipients(Path("recipients.txt"), f"{GOOD} until 2027-05-31\n{OTHER}\n")
SIGNED = LISTED.signed(SIGNING, campaign="spring", number=4)


def load(path: Path, text: str, *, allow_classic: bool = False) -> int:
    path.write_text(text, "utf-8")
    path.chmod(0o644)
    return len(load_recipients(path, allow_classic=allow_classic).current(DAY, slots=2))


def again(text: str):  # noqa: ANN201 - a list
    return parse_recipients(Path("recipients.txt"), text)


# -- recipients ------------------------------------------------------------------------------------


def test_recipients_stand_one_a_line_with_comments(tmp_path: Path) -> None:
    assert load(tmp_path / "r", f"# the team\n\n{GOOD}  # é\n{OTHER}\n") == 2
    assert load(tmp_path / "r", CLASSIC, allow_classic=True) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "there is no recipient"),
        ("# nobody\n", "there is no recipient"),
        (GOOD[:-1] + ("p" if GOOD.endswith("q") else "q"), "line 1: checksum"),
        (f"\n{GOOD[:400]}", "line 2: checksum"),
        ("hello", "line 1: not a recipient"),
        (HYBRID.encode_secret(), "line 1: this is a SECRET key"),
        (f"{GOOD}\n{GOOD}", "twice"),
        (f"{GOOD}\n{GOOD} until 2099-01-01", "twice"),
        (f"{GOOD}\n{OTHER}\n{HybridIdentity.generate().recipient().encoded}", "recipient_slots"),
        (CLASSIC, "quantum"),
        (f"{GOOD}\n{CLASSIC}", "quantum"),
        (f"{GOOD} until 2026-11-24", "no recipient is valid today: line 1 is valid until"),
        (f"{GOOD} from 2026-11-26", "no recipient is valid today: line 1 is valid from"),
        (f"{GOOD} until yesterday", "line 1: after until stands a day"),
        (f"{GOOD} until", "line 1: after until stands a day"),
        (f"{GOOD} from 2027-01-01 until 2026-12-31", "line 1: it ends before it begins"),
        (f"{GOOD} until 2027-01-01 until 2028-01-01", "nothing but: from DAY until DAY"),
        (f"{GOOD} {OTHER}", "nothing but: from DAY until DAY"),
        ("number three", "line 1: not a recipient"),
    ],
)
def test_a_recipients_file_that_is_not_sound_is_refused_by_name(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(ConfigInvalid, match=words) as caught:
        load(tmp_path / "recipients.txt", text)
    assert "recipients.txt" in caught.value.message
    assert HYBRID.encode_secret() not in caught.value.message


def test_classic_needs_the_campaigns_word_and_is_never_mixed_with_hybrid(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="quantum"):
        load(tmp_path / "r", CLASSIC)
    assert load(tmp_path / "r", CLASSIC, allow_classic=True) == 1
    with pytest.raises(ConfigInvalid, match="undoes"):
        load(tmp_path / "r", f"{GOOD}\n{CLASSIC}", allow_classic=True)


def test_a_key_file_that_others_can_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r"
    path.write_text(GOOD)
    path.chmod(0o666)
    for loader in (load_recipients, load_staff):
        with pytest.raises(ConfigInvalid, match="chmod go-w"):
            loader(path)
    with pytest.raises(ConfigInvalid, match="No such file"):
        load_recipients(tmp_path / "none")


def test_only_who_is_valid_on_the_day_is_sealed_to() -> None:
    listed = again(f"{GOOD} from 2026-01-01 until 2026-11-25\n{OTHER} from 2026-11-26\n")
    for day, valid in ((DAY - ONE, GOOD), (DAY, GOOD), (DAY + ONE, OTHER), (dt.date.max, OTHER)):
        assert [one.encoded for one in listed.current(day, slots=4)] == [valid]
    assert [entry.line for entry in listed.ended(DAY)] == []
    assert [entry.line for entry in listed.ended(DAY + ONE)] == [1]


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.one_of(st.none(), st.integers(0, 20))),
        min_size=1,
        max_size=4,
    ),
    st.integers(0, 25),
)
def test_the_day_on_which_the_form_closes_is_the_first_without_anybody(
    spans: list[tuple[int, int | None]], start: int
) -> None:
    keys = [
        HybridIdentity(bytes([number] * 32)).recipient().encoded for number in range(len(spans))
    ]
    periods = [
        Period(first=DAY + first * ONE, last=None if more is None else DAY + (first + more) * ONE)
        for first, more in spans
    ]
    listed = again("\n".join(f"{key}{period}" for key, period in zip(keys, periods, strict=True)))
    days = [DAY + number * ONE for number in range(start, 60)]
    empty = [day for day in days if not any(period.covers(day) for period in periods)]
    assert listed.closes_on(days[0]) == (empty[0] if empty else None)


def test_a_day_without_end_never_closes_the_form() -> None:
    listed = again(f"{GOOD} until 9999-12-31\n{OTHER} until 2026-12-01\n")
    assert listed.closes_on(DAY) is None
    assert listed.thins_on(DAY, days=14) == dt.date(2026, 12, 2)
    assert listed.thins_on(DAY, days=6) is None


def test_a_key_that_reads_well_and_can_not_be_sealed_to_is_named() -> None:
    weak = bech32.encode("age1pq", bytes(1216))
    with pytest.raises(ConfigInvalid, match="line 2: nothing can be sealed to this key"):
        again(f"{GOOD}\n{weak}\n").require_sealing()


# -- its signature ---------------------------------------------------------------------------------


def test_a_signed_list_is_read_back_whatever_became_of_comments_and_line_ends() -> None:
    text = SIGNED.encode()
    for sent in (text, text.replace("\n", "\r\n"), f"# by mail\n\n{text}\n\n", text.strip()):
        listed = again(sent)
        listed.require_signature(SIGNING.signer(), "spring")
        assert (listed.campaign, listed.number) == ("spring", 4)
        assert [str(entry) for entry in listed.entries] == [str(entry) for entry in LISTED.entries]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("number 4", "number 5"), "changed since"),
        (lambda text: text.replace("spring", "summer"), "changed since"),
        (lambda text: text.replace("2027-05-31", "2037-05-31"), "changed since"),
        (lambda text: text.replace(f"{OTHER}\n", ""), "changed since"),
        (lambda text: text + HybridIdentity.generate().recipient().encoded, "changed since"),
        (
            lambda text: text.replace(f"{OTHER}\n", "").replace(
                "number 4\n", f"number 4\n{OTHER}\n"
            ),
            "changed since",
        ),
        (lambda text: text.partition("signed")[0], "nobody has signed"),
        (
            lambda text: again(text).signed(STRANGER, campaign="spring", number=5).encode(),
            "another key than campaign_signer",
        ),
        (
            lambda text: again(text).signed(SIGNING, campaign="summer", number=5).encode(),
            "another campaign than spring",
        ),
    ],
)
def test_a_list_that_was_changed_or_swapped_is_refused_by_name(change, words: str) -> None:  # noqa: ANN001
    listed = again(change(SIGNED.encode()))
    with pytest.raises(ConfigInvalid, match=words) as caught:
        listed.require_signature(SIGNING.signer(), "spring")
    assert "recipients.txt" in caught.value.message


# -- staff -----------------------------------------------------------------------------------------


def staff_of(path: Path, text: str) -> dict[str, set[str]]:
    path.write_text(text)
    path.chmod(0o644)
    return {key: set(colleague.roles) for key, colleague in load_staff(path).items()}


def test_a_colleague_has_the_roles_that_stand_behind_her(tmp_path: Path) -> None:
    one, two = SIGNING.signer().encoded, STRANGER.signer().encoded
    text = f"{one} pull administer  # she\n{two}\n"
    assert staff_of(tmp_path / "staff.txt", text) == {
        one: {Role.PULL, Role.ADMINISTER},
        two: {Role.PULL, Role.RELEASE},
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SIGNING.encode_secret(), "line 1: this is a SECRET key"),
        (
            f"{SIGNING.signer().encoded} rule",
            "line 1: after the key stand her roles: pull, release",
        ),
        (f"\n{SIGNING.signer().encoded}\n{SIGNING.signer().encoded} pull", "line 3: .* twice"),
        (GOOD, "line 1: not a signer"),
    ],
)
def test_a_staff_file_that_is_not_sound_is_refused_by_name(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(ConfigInvalid, match=words) as caught:
        staff_of(tmp_path / "staff.txt", text)
    assert "staff.txt" in caught.value.message
    assert SIGNING.encode_secret() not in caught.value.message
