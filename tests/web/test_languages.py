"""The pages in every language: whole, light, told apart from what nobody has reviewed."""

import re
import subprocess
import unicodedata
from gettext import NullTranslations
from pathlib import Path

import pytest

from relay.errors import ConfigInvalid
from relay.web import catalogues
from relay.web.accepted import in_order_of
from relay.web.catalogues import LANGUAGES, digest, offer, read_catalogue
from scripts.supply.catalogues import check, collect, record_review
from tests.conftest import (
    RELAY,
    ROOT,
    Service,
    Starter,
    configure,
    free_port,
    relay,
    wait_until,
)
from tests.web.every_page import CROWD, every_page, head_bytes, make_pages, preview

MOST_BYTES = 14 * 1024  # a page with its headers, in one initial congestion window
MOST_JOURNEY_BYTES = 30 * 1024
_JOURNEY = ("form", "sent", "receipt", "standing-sealed")
_SCRIPTS = {
    "am": "ETHIOPIC",
    "ar": "ARABIC",
    "bn": "BENGALI",
    "ckb": "ARABIC",
    "fa": "ARABIC",
    "hi": "DEVANAGARI",
    "my": "MYANMAR",
    "prs": "ARABIC",
    "ps": "ARABIC",
    "ru": "CYRILLIC",
    "ur": "ARABIC",
    "zh": "CJK",
}


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    catalogues._load.cache_clear()  # noqa: SLF001 - as if started anew
    catalogues.read_reviews.cache_clear()


def weigh(code: str) -> dict[str, int]:
    """Bytes of each page with its headers, beside the preview."""
    weights = {}
    for name, response in every_page(make_pages(), code):
        assert isinstance(response.body, bytes)
        picture = 0
        if b"data:image/jpeg" in response.body:
            picture = len(preview()) * 4 // 3
        weights[name] = len(response.body) + head_bytes(response) - picture
    return weights


def test_every_sentence_is_there_in_every_language() -> None:
    assert check(ROOT) == []
    assert len(collect(ROOT)) > 150


@pytest.mark.parametrize(
    ("sentence", "broken", "complaint"),
    [
        ("Send", "", "is not translated"),
        ("Faces that we covered: %(count)s.", "%(sum)s", "has other placeholders"),
        ("Faces that we covered: %(count)s.", "%(count)s, 100 %", "has a % that is none"),
        ("Send", "<b>Envoyer", "has a character that could break the page"),
        ("Send", 'Envoyer" hidden class="', "has a character that could break the page"),
        ("Send", "Envoyer\N{RIGHT-TO-LEFT OVERRIDE}", "has a character that could break"),
        ("Send", " Envoyer", "has a space too many"),
        ("Receipt, 20 digits", "21 chiffres", "has other numbers"),
        ("Send", None, "has not"),
    ],
)
def test_a_catalogue_that_is_not_whole_is_found(
    monkeypatch: pytest.MonkeyPatch, sentence: str, broken: str | None, complaint: str
) -> None:
    changed = read_catalogue("fr")
    if broken is None:
        changed.delete(sentence)
    else:
        changed[sentence].string = broken

    def read(code: str) -> catalogues.Catalog:
        return changed if code == "fr" else read_catalogue(code)

    monkeypatch.setattr("scripts.supply.catalogues.read_catalogue", read)
    (found,) = check(ROOT)
    assert found.startswith(f"fr.po: {complaint}")
    assert found.endswith(sentence)


class _Missing(NullTranslations):
    """Where a catalogue has not got a sentence."""

    def gettext(self, message: str) -> str:
        raise AssertionError(message)


@pytest.mark.parametrize("code", [code for code in LANGUAGES if code != "en"])
def test_no_page_has_a_sentence_that_is_not_translated(code: str) -> None:
    pages = make_pages()
    pages.languages[code].translations.add_fallback(_Missing())
    assert len(list(every_page(pages, code))) > 20


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_page_is_light_and_in_its_own_script(code: str) -> None:
    weights = weigh(code)
    del weights[CROWD]  # a line for each face
    assert max(weights.values()) <= MOST_BYTES, weights
    assert sum(weights[name] for name in _JOURNEY) <= MOST_JOURNEY_BYTES
    for name, response in every_page(make_pages(), code):
        assert response.text is not None
        assert f'<html lang="{code}" dir="' in response.text or name == "leave"
        direction = "rtl" if code in {"ar", "ckb", "fa", "prs", "ps", "ur"} else "ltr"
        assert f'dir="{direction}"' in response.text
        heading = re.search(r"<h1>([^<]+)</h1>", response.text)
        assert heading, name
        if script := _SCRIPTS.get(code):
            assert any(unicodedata.name(one, "").startswith(script) for one in heading[1]), name


def test_english_is_at_a_reading_age_of_eleven() -> None:
    """The automated readability index, where 6 stands for 11 to 12. Source: Senter, Smith 1967."""
    sentences = [sentence for sentence in collect(ROOT) if len(sentence.split()) > 5]
    words = [word for sentence in sentences for word in re.findall(r"[\w'-]+", sentence)]
    ends = sum(len(re.findall(r"[.!?:;](?:\s|$)", sentence)) or 1 for sentence in sentences)
    letters = sum(map(len, words))
    assert 4.71 * letters / len(words) + 0.5 * len(words) / ends - 21.43 <= 6
    assert all(len(part.split()) <= 25 for one in sentences for part in re.split(r"[.!?:;]", one))


def test_a_relay_offers_what_was_reviewed_or_accepted_by_name(
    campaign: Path, start_service: Starter
) -> None:
    assert list(offer(accepted=(), is_demo=False)) == ["en"]
    assert set(offer(accepted=(), is_demo=True)) == set(LANGUAGES)
    assert list(offer(accepted=("fa",), is_demo=False)) == ["en", "fa"]
    with pytest.raises(ConfigInvalid, match="'xx' is none of am, ar"):
        offer(accepted=("xx",), is_demo=False)
    service = start_service()
    link = "Not checked: read it in another language"
    assert link not in service.get("/en/").text
    assert link in service.get("/fr/").text
    french = service.request("POST", "/fr/receipt", b"").text.partition("<footer>")[2]
    assert len(french) > 100, "that nobody has checked it"
    service.stop()

    path = campaign / "relay.toml"
    installed = f"127.0.0.1:{service.port}"
    desk = f"127.0.0.1:{free_port()}"
    configure(
        campaign,
        demo="false",
        listen=f'"{installed}"',
        desk_listen=f'"{desk}"',
        accept_unreviewed='["fa"]',
    )
    with subprocess.Popen([RELAY, "serve", "--config", path], stderr=subprocess.PIPE) as process:
        try:
            service.process = process
            wait_until(service.answers)
            assert service.get("/fr/").status == 404
            assert link in service.get("/fa/").text
            assert re.findall(r'<a href="/(\w+)/"', service.get("/").text) == ["en", "fa"]
        finally:
            process.terminate()
    configure(campaign, accept_unreviewed='["xx"]')
    served = relay("serve", "--config", path)
    assert served.code == 2
    assert "accept_unreviewed: 'xx' is none of" in served.err


def test_a_review_holds_until_a_sentence_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "relay/web/catalogues"
    folder.mkdir(parents=True)
    (folder / "reviews.toml").write_text("# head\n")
    (tmp_path / "relay/web/templates").symlink_to(ROOT / "relay/web/templates")
    with pytest.raises(SystemExit, match="a name"):
        record_review(tmp_path, "fa", " ")
    record_review(tmp_path, "fa", 'A "name"')
    record_review(tmp_path, "ar", "B")
    reviews = catalogues.tomllib.loads((folder / "reviews.toml").read_text())
    assert list(reviews) == ["ar", "fa"]
    assert reviews["fa"] == {"by": 'A "name"', "digest": digest(read_catalogue("fa"))}
    assert (folder / "reviews.toml").read_text().startswith("# head\n")
    monkeypatch.setattr(catalogues, "read_reviews", lambda: reviews)
    assert list(offer(accepted=(), is_demo=False)) == ["ar", "en", "fa"]
    changed = read_catalogue("fa")
    changed["Send"].string += "!"
    monkeypatch.setattr(
        catalogues, "read_catalogue", lambda code: changed if code == "fa" else read_catalogue(code)
    )
    catalogues._load.cache_clear()  # noqa: SLF001 - as if started anew
    assert list(offer(accepted=(), is_demo=False)) == ["ar", "en"]


@pytest.mark.parametrize(
    ("header", "first"),
    [
        ("", ["am", "ar"]),
        ("*", ["am", "ar"]),
        ("fa", ["fa", "am"]),
        ("fr-CH, fr;q=0.9, ps;q=0.95, en;q=0.8, *;q=0.5", ["fr", "ps", "en", "am"]),
        ("fa-AF,fa;q=0.5", ["prs", "fa"]),
        ("zh-TW", ["zh"]),
        ("ku", ["ckb"]),
        ("de", ["am"]),
        ("fr;q=x,;;,\x00" + "a," * 5000, ["am"]),
    ],
)
def test_what_the_browser_asks_for_comes_first(header: str, first: list[str]) -> None:
    order = in_order_of(header, LANGUAGES)
    assert order[: len(first)] == first
    assert sorted(order) == sorted(LANGUAGES)


def test_the_list_of_languages_is_ordered_and_nothing_else_is(service: Service) -> None:
    page = service.request("GET", "/", headers={"Accept-Language": "ur, sw;q=0.5"}).text
    codes = re.findall(r'<a href="/(\w+)/" lang="(\w+)"', page)
    assert codes[:2] == [("ur", "ur"), ("sw", "sw")]
    assert len(codes) == 18
    asked = {"Accept-Language": "ur"}
    other = service.request("GET", "/en/receipt", headers=asked)
    assert other.body == service.get("/en/receipt").body
    for code in LANGUAGES:
        assert f'<html lang="{code}"' in service.get(f"/{code}/").text


def test_the_operator_is_told_which_languages_nobody_has_reviewed(campaign: Path) -> None:
    for settings, state, words in (
        ({"demo": "false"}, "ok", "en: reviewed, and no other is offered"),
        ({"accept_unreviewed": '["fa"]'}, "accepted", "nobody who grew up with them: fa"),
        ({"accept_unreviewed": '["xx"]'}, "refused", "'xx' is none of"),
    ):
        configure(campaign, **settings)
        found = relay("check", "--config", campaign / "relay.toml", "--json").json["findings"]
        (finding,) = (one for one in found if one["name"] == "languages")  # type: ignore[attr-defined]
        assert finding["state"] == state
        assert words in finding["words"]
