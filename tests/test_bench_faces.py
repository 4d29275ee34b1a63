"""The evaluator of faces: what it counts, what it leaves out, what it says of wrong labels."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from relay.scrub import canonical
from relay.scrub.supervisor import Scrubber
from tests.bench import faces
from tests.bench.faces import Box, Labels, LabelsWrong, Look, judge, mapped

SIZE = 640, 480
FACE = [100, 100, 60, 80]


def labels(**keys: object) -> dict[str, object]:
    return {"wh": [*SIZE], "faces": [], **keys}


def read(tmp_path: Path, loaded: object) -> list[Labels]:
    path = tmp_path / "labels.json"
    path.write_text(loaded if isinstance(loaded, str) else json.dumps(loaded))
    return faces.read_labels(path)


@pytest.fixture
def one(tmp_path: Path) -> Callable[..., Labels]:
    """The labels of one picture."""
    return lambda **keys: read(tmp_path, {"a.png": labels(**keys)})[0]


def seen(one: Labels, *boxes: list[float], exactly: bool = False) -> Look:
    """As if these boxes of the upright picture had been found; exactly: they are published px."""
    canvas = canonical.plan(one.width_px, one.height_px, is_ours=False).canvas
    found = (Box(*box) for box in boxes)
    there = tuple(box if exactly else mapped(box, one, canvas) for box in found)
    return Look(width_px=canvas[0], height_px=canvas[1], found=there, cpu_ms=30, peak_kib=2048)


def figures(*verdicts: faces.Verdict) -> dict[str, float | int | None]:
    return faces.Result(verdicts=list(verdicts)).figures()


# -- counting -------------------------------------------------------------------------------------


def test_a_perfect_detector_has_full_marks(one: Callable[..., Labels]) -> None:
    marked = one(faces=[FACE, [300, 100, 40, 50]])
    assert figures(
        judge(marked, seen(marked, [300, 100, 40, 50], FACE)), judge(one(), seen(one()))
    ) == {
        "recall": 1,
        "precision": 1,
        "pictures_missed": 0,
        "face_free_flagged": 0,
        "ms_median": 30,
        "peak_mib": 2,
    }


def test_a_miss_costs_recall_and_a_wrong_box_precision(one: Callable[..., Labels]) -> None:
    marked = one(faces=[FACE, [300, 100, 40, 50]])
    counted = figures(judge(marked, seen(marked, FACE, [500, 300, 60, 60])))
    assert (counted["recall"], counted["precision"]) == (0.5, 0.5)
    assert counted["pictures_missed"] == 0


def test_a_picture_in_which_nothing_is_found_is_missed(one: Callable[..., Labels]) -> None:
    marked = one(faces=[FACE])
    counted = figures(judge(marked, seen(marked)))
    assert (counted["recall"], counted["precision"], counted["pictures_missed"]) == (0, None, 1)


def test_what_is_ignored_counts_neither_way(one: Callable[..., Labels]) -> None:
    marked = one(faces=[FACE], ignore=[[300, 0, 340, 480]])
    inside = judge(marked, seen(marked, FACE, [400, 200, 50, 50]))
    assert (inside.faces, inside.found, inside.false) == (1, 1, 0)
    ignored = one(ignore=[[300, 0, 340, 480]])
    assert figures(judge(ignored, seen(ignored, [400, 200, 50, 50])))["face_free_flagged"] == 0
    assert figures(judge(ignored, seen(ignored, [10, 200, 50, 50])))["face_free_flagged"] == 1


def test_a_box_in_a_picture_without_faces_flags_it_once(one: Callable[..., Labels]) -> None:
    bare = one()
    counted = figures(judge(bare, seen(bare, FACE, [300, 100, 40, 50])), judge(bare, seen(bare)))
    assert (counted["face_free_flagged"], counted["recall"], counted["precision"]) == (
        1,
        None,
        None,
    )


def test_one_box_finds_one_face_and_the_second_box_on_it_is_wrong(
    one: Callable[..., Labels],
) -> None:
    twins = one(faces=[[100, 100, 60, 80], [110, 100, 60, 80]])
    assert judge(twins, seen(twins, FACE)).found == 1
    marked = one(faces=[FACE])
    twice = judge(marked, seen(marked, FACE, [105, 100, 60, 80]))
    assert (twice.found, twice.false) == (1, 1)


def test_a_smaller_box_counts_if_its_cover_hides_the_face_and_half_a_picture_never_does(
    one: Callable[..., Labels],
) -> None:
    marked = one(faces=[[100, 100, 60, 60]])
    assert judge(marked, seen(marked, [110, 110, 42, 42])).found == 1
    assert judge(marked, seen(marked, [100, 100, 20, 20])).found == 0
    assert judge(marked, seen(marked, [0, 0, 320, 480])).found == 0


def test_faces_under_20_px_and_faces_cropped_away_are_not_asked_for(
    one: Callable[..., Labels],
) -> None:
    small = one(faces=[[100, 100, 12, 19]])
    assert judge(small, seen(small)).faces == 0
    assert judge(small, seen(small, [100, 100, 12, 19])).false == 0
    [wide] = [Labels(name="a", width_px=640, height_px=530, faces=(Box(0, 0, 40, 40),))]
    assert mapped(wide.faces[0], wide, SIZE).y < -20, "more than half of it is cropped away"
    assert judge(wide, seen(wide)).faces == 0


def test_labels_go_where_the_picture_goes() -> None:
    long = Labels(name="a", width_px=4000, height_px=1000)
    plan = canonical.plan(4000, 1000, is_ours=False)
    assert plan.drawn[1] < plan.canvas[1], "shown on white"
    corner = mapped(Box(0, 0, 100, 100), long, plan.canvas)
    assert corner.y == pytest.approx((plan.canvas[1] - plan.drawn[1]) // 2, abs=4)
    half = plan.canvas[0] // 2, plan.canvas[1] // 2
    assert mapped(Box(0, 0, 100, 100), long, half).y == pytest.approx(corner.y / 2)


@pytest.mark.parametrize(("orientation", "upright"), [(1, (900, 600)), (6, (600, 900))])
async def test_a_label_lies_on_the_same_pixels_after_the_real_box(
    tmp_path: Path, orientation: int, upright: tuple[int, int]
) -> None:
    picture = Image.new("RGB", (900, 600), "white")
    picture.paste((255, 0, 0), (700, 100, 800, 200))
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "a.jpg", exif=exif, quality=95)
    box = [700, 100, 100, 100] if orientation == 1 else [400, 700, 100, 100]
    marked = read(tmp_path, {"a.jpg": {"wh": [*upright], "faces": [box]}})
    faces.check_pictures(tmp_path, marked)
    async with Scrubber(max_jpeg_bytes=1 << 20) as scrubber:
        scrubbed = await scrubber.scrub((tmp_path / "a.jpg").read_bytes())
        looked = await faces.InBox(scrubber).look((tmp_path / "a.jpg").read_bytes())
    place = mapped(marked[0].faces[0], marked[0], (scrubbed.width_px, scrubbed.height_px))
    (tmp_path / "b.jpg").write_bytes(scrubbed.jpeg)
    with Image.open(tmp_path / "b.jpg") as out:
        red = out.convert("RGB").split()[1].point([255] * 100 + [0] * 156).getbbox()
    assert red is not None
    assert (place.x, place.y) == pytest.approx(red[:2], abs=3)
    assert (place.x + place.width, place.y + place.height) == pytest.approx(red[2:], abs=3)
    assert looked.cpu_ms > 0
    assert looked.peak_kib > 1024


# -- labels that are wrong ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loaded", "words"),
    [
        ("{", "no JSON: .*line 1"),
        ("[]", "must be an object"),
        ("{}", "no picture in the labels"),
        ('{"a.png": {"wh": [9, 9], "faces": []}, "a.png": {}}', "stands twice.*a.png"),
        ({"a.png": []}, "'a.png': must be an object"),
        ({"a.png": {"faces": []}}, "'a.png': the key 'wh' is missing"),
        ({"a.png": {"wh": [9, 9]}}, "'a.png': the key 'faces' is missing"),
        ({"a.png": labels(face=[])}, "'a.png': the key 'face' is unknown"),
        ({"a.png": labels(wh=[9])}, "'a.png': 'wh' must be"),
        ({"a.png": labels(wh=[9.5, 9])}, "'a.png': 'wh' must be"),
        ({"a.png": labels(faces={})}, "'a.png': 'faces' must be a list"),
        ({"a.png": labels(faces=[[1, 2, 3]])}, "'faces', box 0: must be four numbers"),
        ({"a.png": labels(faces=[[1, 2, "3", 4]])}, "'faces', box 0: must be four numbers"),
        ({"a.png": labels(ignore=[FACE, [1, 2, 0, 4]])}, "'ignore', box 1: .*more than 0"),
        ({"a.png": labels(faces=[[700, 0, 9, 9]])}, "'faces', box 0: lies outside"),
        ({"a.png": labels(tags="dark")}, "'a.png': 'tags' must be a list"),
        ({"../a.png": labels()}, "below the folder"),
        ({"/a.png": labels()}, "below the folder"),
    ],
)
def test_wrong_labels_are_named(tmp_path: Path, loaded: object, words: str) -> None:
    with pytest.raises(LabelsWrong, match=words):
        read(tmp_path, loaded)


def test_what_does_not_fit_the_pictures_is_named(tmp_path: Path) -> None:
    Image.new("RGB", SIZE).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    sideways = Image.Exif()
    sideways[0x0112] = 6
    Image.new("RGB", SIZE).save(tmp_path / "c.jpg", exif=sideways)
    for folder, loaded, words in [
        (tmp_path / "gone", {"a.png": labels()}, "no folder of pictures: .*gone"),
        (tmp_path, {"gone.png": labels()}, "'gone.png': labelled, but there is no such file"),
        (tmp_path, {"b.png": labels()}, "'b.png': can't be opened"),
        (tmp_path, {"a.png": labels(wh=[480, 640])}, r"'a.png'.*\[480, 640\].*\[640, 480\]"),
        (tmp_path, {"c.jpg": labels()}, "'c.jpg'.*EXIF orientation"),
    ]:
        with pytest.raises(LabelsWrong, match=words):
            faces.check_pictures(folder, read(tmp_path, loaded))
    faces.check_pictures(tmp_path, read(tmp_path, {"c.jpg": labels(wh=[480, 640])}))


def test_the_command_says_what_is_wrong_and_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--images", str(tmp_path), "--labels", str(tmp_path / "none.json"), "--json"]
    assert faces.main(given) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "can't be read" in err


def test_the_command_prints_six_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_FROM", str(tmp_path))
    Image.new("RGB", SIZE).save(tmp_path / "a.png")
    Image.new("RGB", SIZE).save(tmp_path / "b.png")
    read(tmp_path, {"a.png": labels(faces=[FACE], tags=["night"]), "b.png": labels()})
    assert faces.main(["--images", ".", "--labels", "labels.json", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert list(printed) == [
        "recall", "precision", "pictures_missed", "face_free_flagged", "ms_median", "peak_mib"
    ]  # fmt: skip
    assert faces.main(["--images", ".", "--labels", "labels.json"]) == 0
    out = capsys.readouterr().out
    assert "of 1 pictures without faces" in out
    assert "night: found 0 of 1 faces" in out
    assert "nothing found in: a.png" in out
