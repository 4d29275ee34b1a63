"""What is found in labelled pictures and of people behind posters. docs/faces.md has the table.

The two counts of a hundred are whole in every run. With `--full`, each other pose is a hundred too,
not ten, and pictures without a face are looked at. Floors lie under what was measured.
"""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from relay.scrub import paint, pixels
from relay.scrub.faces import WEIGHTS, Detector
from relay.scrub.found import Box as Place
from relay.scrub.found import Mark, cover_of
from tests.bench.faces import Box, Labels, Look, Result, judge, read_labels
from tests.composites import Pose, as_jpeg, composites, find_faces, succeeds
from tests.conftest import FULL, tenth
from tests.faces.fetch import CACHE, LABELS, pictures

LEAST = {
    Pose.BROWS: 0.2,
    Pose.HALF: 0.8,
    Pose.PRINTED: 0.9,
    Pose.TURNED: 0.9,
    Pose.SMALL_32: 0.9,
    Pose.SMALL_24: 0.8,
    Pose.NIGHT: 0.9,
    Pose.REFLECTION: 0.9,
}


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.load(WEIGHTS)


@pytest.fixture(scope="module")
def published() -> dict[str, Image.Image]:
    """Each labelled picture that is there, as it would leave."""
    made = {}
    for one in labelled():
        content = (CACHE / one.name).read_bytes()
        redrawn = pixels.redraw(content, pixels.Wish(max_bytes=2 << 20, quality=85))
        made[one.name] = Image.open(io.BytesIO(redrawn.jpeg)).convert("RGB")
    return made


@pytest.fixture(scope="module")
def looks(detector: Detector, published: dict[str, Image.Image]) -> dict[str, Look]:
    return {
        name: Look(
            width_px=picture.width,
            height_px=picture.height,
            found=find_faces(detector, picture),
        )
        for name, picture in published.items()
    }


def labelled() -> list[Labels]:
    """The labels of what was fetched: other Debians lack some of it. Face-free ones with --full."""
    there = [one for one in read_labels(LABELS) if (CACHE / one.name).exists()]
    return [one for one in there if FULL or one.faces]


def covered(picture: Image.Image, found: tuple[Box, ...]) -> Image.Image:
    """Cover what was found, as the box does, and encode."""
    copy = picture.copy()
    places = (Place(*map(round, (one.x, one.y, one.width, one.height))) for one in found)
    marks = [Mark(box=cover_of(place, copy.size)) for place in places]
    paint.cover(copy, marks, before=copy.size)
    return as_jpeg(copy, quality=85)


# -- labelled pictures ----------------------------------------------------------------------------


def test_every_label_has_its_picture_and_the_pictures_are_free() -> None:
    names = {one.name for one in read_labels(LABELS)}
    assert names == {one.name for one in pictures()}
    assert all(one.licence and one.author for one in pictures())
    document = (Path(__file__).parents[2] / "docs/faces.md").read_text()
    assert all(f"| `{one.name}` | {one.package} {one.version} |" in document for one in pictures())


def test_labelled_faces_are_found(looks: dict[str, Look]) -> None:
    result = Result(verdicts=[judge(one, looks[one.name]) for one in labelled()])
    figures = result.figures()
    print("\n".join(result.lines()))  # noqa: T201 - shown if it fails
    assert figures["recall"] is not None
    assert figures["precision"] is not None
    assert figures["recall"] >= 0.97  # measured: 1.0 of 46
    assert figures["precision"] >= 0.93  # measured: 46 of 47 boxes
    assert figures["pictures_missed"] == 0
    assert len(result.flagged) <= 0.3 * len(result.face_free)  # measured: 7 of 28, with --full


def test_what_was_covered_is_not_found_again(
    detector: Detector, published: dict[str, Image.Image], looks: dict[str, Look]
) -> None:
    faces_again, anything = [], []
    with_faces = [one for one in labelled() if one.faces]
    for one in with_faces:
        look = looks[one.name]
        found = find_faces(detector, covered(published[one.name], look.found))
        verdict = judge(one, replace(look, found=found))
        faces_again += [one.name] if verdict.found else []
        anything += [one.name] if found else []
    assert not faces_again
    # Where the faces are gone, hands are taken for some: 3 of 27 when this was measured.
    assert len(anything) <= 0.12 * len(with_faces), anything


# -- posters --------------------------------------------------------------------------------------


def wrong(detector: Detector, pose: Pose, count: int) -> list[int]:
    """The numbers of those composites of which the wrong thing is found."""
    return [
        number
        for number, one in enumerate(composites(pose, count))
        if not succeeds(one, find_faces(detector, one.picture))
    ]


def test_eyes_above_a_poster_are_found(detector: Detector) -> None:
    missed = wrong(detector, Pose.EYES, 100)
    assert len(missed) <= 3, missed


def test_a_poster_over_the_whole_head_passes(detector: Detector) -> None:
    flagged = wrong(detector, Pose.WHOLE, 100)
    assert len(flagged) <= 7, flagged


@pytest.mark.parametrize("pose", LEAST, ids=lambda pose: pose.name.lower())
def test_other_poses_are_found_as_often_as_the_table_says(detector: Detector, pose: Pose) -> None:
    count = tenth(100)
    good = count - len(wrong(detector, pose, count))
    assert good >= LEAST[pose] * count


def test_composites_come_out_the_same_each_time() -> None:
    for pose in (Pose.EYES, Pose.NIGHT, Pose.PRINTED):
        first, second = (list(composites(pose, 2, seed=1)) for _ in range(2))
        assert [one.picture.tobytes() for one in first] == [one.picture.tobytes() for one in second]
        assert [one.visible for one in first] == [one.visible for one in second]
