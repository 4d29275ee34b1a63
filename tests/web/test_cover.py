"""The cover page over HTTP: shown where something is found, sent only as she chose."""

import base64
import io
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import zxingcpp
from PIL import Image, ImageChops

from relay.intake.choice import Looked
from relay.receipt import read_receipt
from relay.scrub.found import Box, cover_of
from relay.scrub.wire import View
from relay.seal.envelope import Submission
from relay.web.pages import Place, english_alone
from tests import photos
from tests.conftest import Answer, Service, Starter

CODE = Box(516, 196, 192, 192)  # where it lies in the photo, px


def with_code(*, seed: int = 1) -> bytes:
    """A photo with a QR code in it: found like a face, and nobody's."""
    picture = photos.picture(1280, 960, seed=seed)
    barcode = zxingcpp.create_barcode("nobody", zxingcpp.BarcodeFormat.QRCode)
    code = Image.fromarray(barcode.to_image(scale=10)).convert("RGB").resize((264, 264))
    picture.paste(code, (CODE.x - 36, CODE.y - 36))  # it has a white margin
    return photos.dirty_jpeg(picture)


PHOTO = with_code()


@pytest.fixture
def service(lasting: Starter) -> Service:
    return lasting()


def opened(service: Service) -> dict[str, tuple[Submission, Image.Image]]:
    """What the team finds, by id; pulled and opened with the real commands."""
    folder = service.folder.parent
    service.desk("pull", "--to", folder / "sealed")
    service.desk("open", folder / "sealed", "--to", folder / "opened")
    return {
        path.parent.name: (
            Submission.decode(path.read_bytes()),
            Image.open(path.with_name("photo.jpg")).convert("RGB"),
        )
        for path in (folder / "opened").glob("*/submission.json")
    }


def the_one(service: Service) -> tuple[Submission, Image.Image]:
    (found,) = opened(service).values()
    return found


def extrema(picture: Image.Image, box: Box) -> set[tuple[int, int]]:
    """The lowest and highest values inside a box, less 2 px at its edge."""
    inside = picture.crop((box.x + 2, box.y + 2, box.right - 2, box.bottom - 2))
    return set(inside.getextrema())  # type: ignore[arg-type] - of three bands


def preview_in(page: Answer) -> Image.Image:
    (address,) = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)"', page.text)
    return Image.open(io.BytesIO(base64.b64decode(address))).convert("RGB")


def test_where_nothing_is_found_there_is_no_extra_step(service: Service) -> None:
    answer = service.send(photos.dirty_jpeg(photos.picture(1280, 960)))
    assert answer.status == 200
    assert read_receipt(answer.receipt)
    assert 'id="cover"' not in answer.text
    assert max(preview_in(answer).size) == View.PREVIEW.side_px, "she sees what was sealed"
    submission, _ = the_one(service)
    assert (submission.covers, submission.visible) == (0, ())


def test_what_is_found_is_shown_covered_and_not_sent_until_she_presses_send(
    service: Service,
) -> None:
    page = service.send(PHOTO, message="zebra")
    assert "<h1>Not sent yet</h1>" in page.text
    assert "<title>Not sent yet</title>" in page.text
    assert 'receipt"' not in page.text
    assert page.text.count("zebra") == 1, "hidden, to come back with the form if need be"
    assert opened(service) == {}
    shown = preview_in(page)
    scale = shown.width / 1280
    cover = cover_of(CODE, (1280, 960))
    corner = shown.crop(
        [round(at * scale) + 4 for at in (cover.x, cover.y, cover.x + 64, cover.y + 64)]
    )
    assert all(high <= 8 for _, high in corner.getextrema())  # type: ignore[misc] - of three bands
    sent = service.press(page)
    assert sent.status == 200
    assert read_receipt(sent.receipt)
    submission, _ = the_one(service)
    assert (submission.covers, submission.visible) == (1, ())
    assert submission.message == "zebra"
    assert submission.scrub["codes_covered"] == 1
    assert submission.scrub["faces_covered"] == submission.scrub["codes_visible"] == 0


def test_what_was_covered_is_one_colour_in_the_photo_that_the_team_opens(service: Service) -> None:
    assert service.press(service.send(PHOTO), "send", "c0", "c13").status == 200
    submission, picture = the_one(service)
    looked = Looked(size=(1280, 960), found=())
    assert picture.size == looked.size
    assert submission.covers == 3
    covers = [cover_of(CODE, picture.size), looked.square(0), looked.square(13)]
    for cover in covers:
        assert max(high for _, high in extrema(picture, cover)) <= 2, "coded twice since"
    assert zxingcpp.read_barcodes(picture) == []
    # Beside the covers it is the photo that would have gone out without them.
    bare = opened_without_covers(service)
    rest = ImageChops.difference(picture, bare)
    for cover in covers:
        rest.paste(0, (cover.x - 16, cover.y - 16, cover.right + 16, cover.bottom + 16))
    assert max(high for _, high in rest.getextrema()) <= 24  # type: ignore[misc] - of three bands


def opened_without_covers(service: Service) -> Image.Image:
    before = set(opened(service))
    assert service.press(service.send(PHOTO), "send", "v1").status == 200
    (added,) = set(opened(service)) - before
    return opened(service)[added][1]


def test_what_is_printed_on_the_poster_can_be_left_visible(service: Service) -> None:
    assert service.press(service.send(PHOTO), "send", "v1").status == 200
    submission, picture = the_one(service)
    assert submission.covers == 0
    ((x, y, width, height),) = submission.visible
    assert Box(x, y, width, height).shared_with(CODE) > 0.8 * CODE.width * CODE.height
    assert submission.scrub["codes_visible"] == 1
    assert [code.text for code in zxingcpp.read_barcodes(picture)] == ["nobody"]


def test_she_can_have_it_shown_though_nothing_was_found(service: Service) -> None:
    plain = photos.dirty_jpeg(photos.picture(1280, 960))
    page = service.send(plain, look="yes")
    assert "found none" in page.text
    assert service.press(page, "send", "c5").status == 200
    submission, picture = the_one(service)
    assert submission.scrub["squares_covered"] == submission.covers == 1
    assert extrema(picture, Looked(size=(1280, 960), found=()).square(5)) == {(0, 0)}


def test_only_the_ticked_squares_can_be_kept(service: Service) -> None:
    page = service.send(PHOTO)
    looked = Looked(size=(1280, 960), found=())
    assert service.press(page, "send", "rest", "c0", "c1").status == 200
    _, picture = the_one(service)
    assert extrema(picture, Box(240, 0, 1040, 960)) == {(0, 0)}
    assert extrema(picture, looked.square(0)) != {(0, 0)}


def test_shown_again_it_is_as_she_ticked_it_and_still_not_sent(service: Service) -> None:
    page = service.send(PHOTO)
    again = service.press(page, "again", "c0", "v1", looked=False)
    assert again.status == 200
    assert "<h1>Not sent yet</h1>" in again.text
    assert re.search(r'name="c0"[^>]* checked', again.text)
    assert re.search(r'name="v1"[^>]* checked', again.text)
    square = preview_in(again).crop((4, 4, 40, 40))
    assert all(high <= 8 for _, high in square.getextrema())  # type: ignore[misc] - of three bands
    assert opened(service) == {}
    assert service.press(again).status == 200
    submission, _ = the_one(service)
    assert (submission.covers, len(submission.visible)) == (1, 1)


def test_the_box_that_she_has_looked_must_be_ticked(service: Service) -> None:
    page = service.send(PHOTO)
    answer = service.press(page, "send", "c0", looked=False)
    assert answer.status == 400
    assert "One tick is missing" in answer.text
    assert re.search(r'name="c0"[^>]* checked', answer.text), "her ticks are kept"
    assert opened(service) == {}
    assert read_receipt(service.press(answer).receipt)


def test_a_picture_that_would_be_all_black_is_not_sent(service: Service) -> None:
    page = service.send(PHOTO)
    for ticks in (["rest"], [f"c{number}" for number in range(108)]):
        answer = service.press(page, "send", *ticks)
        assert answer.status == 400
        assert "The whole picture would be covered" in answer.text
        for tick in ticks:
            assert re.search(rf'name="{tick}"[^>]* checked', answer.text), "her ticks are kept"
        assert preview_in(answer).getextrema() != ((0, 0),) * 3, "and she sees what lies there"
        assert read_receipt(service.press(service.send(PHOTO)).receipt)


def test_thrown_away_it_is_gone(service: Service) -> None:
    page = service.send(PHOTO)
    assert "This picture was not sent" in service.press(page, "drop", looked=False).text
    for do in ("send", "again", "drop"):
        answer = service.press(page, do)
        assert answer.status == 410
        assert "Not sent. Choose the photo again." in answer.text
        assert 'name="photo"' in answer.text, "the form is there again"
    assert opened(service) == {}


def test_a_double_press_sends_once_and_shows_the_same_page(service: Service) -> None:
    page = service.send(PHOTO)
    with ThreadPoolExecutor() as pool:
        pages = list(pool.map(lambda _: service.press(page), range(4)))
    assert len({answer.body for answer in pages}) == 1
    assert read_receipt(pages[0].receipt)
    assert service.press(page).body == pages[0].body
    other = service.press(page, "send", "c0")
    assert other.receipt == pages[0].receipt
    assert "You had sent this photo before. It was not changed." in other.text
    thrown = service.press(page, "drop")
    assert thrown.receipt == pages[0].receipt, "it does not say that nothing was sent"
    assert len(opened(service)) == 1


def test_what_she_took_back_is_not_acknowledged_again(service: Service) -> None:
    page = service.send(PHOTO)
    receipt = service.press(page).receipt
    assert service.post_receipt("withdraw", receipt).status in {200, 404}
    answer = service.press(page, "send", "c0")
    assert answer.status == 410
    assert "Not sent. Choose the photo again." in answer.text
    assert opened(service) == {}


def test_her_choices_come_back_with_the_form(service: Service) -> None:
    page = service.send(PHOTO, message="zebra\n<b>", poster="write-in", not_before="2031-01-02")
    service.press(page, "drop")
    form = service.press(page).text
    assert "zebra\n&lt;b&gt;</textarea>" in form
    assert re.search(r'value="write-in" checked', form)
    assert 'value="2031-01-02"' in form
    assert not re.search(r'name="may_post"[^>]* checked', form), "she had taken that tick off"


def test_the_form_sent_twice_and_both_pages_pressed_make_one_submission(service: Service) -> None:
    token = service.token()
    pages = [service.send(PHOTO, token=token) for _ in range(2)]
    receipts = {service.press(page).receipt for page in pages}
    assert len(receipts) == 1
    other = service.press(service.send(PHOTO, token=token), "send", "c0")
    assert other.receipt not in receipts, "another picture is another submission"
    assert len(opened(service)) == 2


def test_a_draft_of_before_a_restart_or_tampered_with_is_refused_plainly(service: Service) -> None:
    page = service.send(PHOTO)
    (ticket,) = re.findall(r'name="ticket" value="([^"]+)"', page.text)
    bent = page.text.replace(
        ticket, ticket[:30] + ("A" if ticket[30] != "A" else "B") + ticket[31:]
    )
    answer = service.press(Answer(200, {}, bent.encode()))
    assert (answer.status, "Not sent. Choose the photo again." in answer.text) == (410, True)
    service.stop()
    service.start()
    answer = service.press(page)
    assert (answer.status, "Not sent. Choose the photo again." in answer.text) == (410, True)
    assert opened(service) == {}


def test_at_another_relay_a_draft_is_refused_plainly(service: Service, tmp_path: Path) -> None:
    page = service.send(PHOTO)
    other = Service(tmp_path / "other" / "demo", service.port + 1)
    other.folder.parent.mkdir()
    other.start()
    try:
        assert other.press(page).status == 410
    finally:
        other.stop()


def test_what_can_not_be_taken_now_is_held_and_can_be_sent_later(start_service: Starter) -> None:
    service = start_service(max_queued=1)
    page = service.send(PHOTO)
    other = service.send(photos.dirty_jpeg(photos.picture(640, 480))).receipt
    held = service.press(page, "send", "c0")
    assert held.status == 503
    assert "<h1>Not sent yet. We can't take it at the moment.</h1>" in held.text
    assert "We still have your photo" in held.text
    again = service.press(held)
    assert again.status == 503
    service.post_receipt("withdraw", other)
    assert read_receipt(service.press(again, looked=False).receipt)
    submission, _ = the_one(service)
    assert submission.covers == 2, "with her ticks"


def test_a_page_that_brought_no_ticket_is_not_told_that_we_have_her_photo() -> None:
    page = english_alone(Place(name="clearnet")).render("held.html", language="en", fields={})
    assert page.text is not None
    assert "We still have" not in page.text
    assert "<form" not in page.text


def test_other_sites_can_not_press_send(service: Service) -> None:
    page = service.send(PHOTO)
    (ticket,) = re.findall(r'name="ticket" value="([^"]+)"', page.text)
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Sec-Fetch-Site": "cross-site",
    }
    body = f"ticket={ticket}&looked=on&do=send".encode()
    assert service.request("POST", "/en/cover", body, headers).status == 403
    assert opened(service) == {}
    assert service.get("/en/cover").status == 405


@pytest.mark.parametrize("size", [(1280, 960), (960, 1280), (1600, 720), (720, 1600), (800, 800)])
def test_the_page_is_small_beside_its_picture(service: Service, size: tuple[int, int]) -> None:
    page = service.send(photos.dirty_jpeg(photos.picture(*size)), look="yes")
    (address,) = re.findall(r"data:image/jpeg;base64,[^\"]+", page.text)
    heads = sum(len(name) + len(value) + 4 for name, value in page.headers.items())
    assert len(page.body) - len(address) + heads <= 14 * 1024
    assert len(address) <= View.PREVIEW.max_bytes * 4 / 3 + 32


def test_a_draft_does_not_lie_on_the_disk(service: Service) -> None:
    service.press(service.send(PHOTO), "again")
    held = b"".join(path.read_bytes() for path in service.folder.rglob("*") if path.is_file())
    assert b"\xff\xd8\xff\xe0" not in held
