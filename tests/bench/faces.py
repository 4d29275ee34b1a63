"""How many faces the box finds in pictures of one's own, and how often it sees one where none is.

Labels are a JSON object: `{"a.jpg": {"wh": [W, H], "faces": [[x, y, w, h], …], "ignore": […],
"tags": […]}}`. A name is a path below the folder of the pictures; `wh` and all boxes are pixels of
the upright picture, EXIF orientation applied; `ignore` and `tags` may be absent.

Every picture goes through the real box, and what counts is what would be published: labels are
mapped into the canonical size in which the photo leaves. There a labelled face counts if its long
side has 20 px or more and at least half of it was not cropped away; else its box is one to ignore.

A found box belongs to a labelled face if they overlap (IoU >= 0.3), or if the cover that would be
drawn over it hides at least 80 % of the face, and the found box is at most 4 times the face: hair
and chin may or may not be within a label, but a box over half the picture finds nobody. One box
finds one face and one face is found by one box; the closest pairs are joined first.

- recall: of the labelled faces that count, the share (0 to 1) that was found.
- precision: in the pictures with labelled faces, the share (0 to 1) of found boxes that belong to
  a face. A box that belongs to an ignored one, or lies to half or more in one, counts neither way.
- pictures_missed: pictures with faces that count, none of which was found.
- face_free_flagged: pictures that have no face in which something was found.
- ms_median: CPU milliseconds of the box for one picture, the median.
- peak_mib: the most memory (MiB) that one job had resident.

Recall and precision are null where nothing could be counted.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

from PIL import Image

from relay.errors import RelayError
from relay.scrub import canonical
from relay.scrub.found import Found, Kind
from relay.scrub.supervisor import Scrubber
from tests.bench.clock import below, high_water_kb, spent

LEAST_PX = 20
LEAST_IOU = 0.3
LEAST_HIDDEN = 0.8
MOST_TIMES_FACE = 4
COVER_GROWTH = 0.3  # of the long side of a found box, at each side
_EXIF_ORIENTATION = 0x0112
_SIDEWAYS = range(5, 9)  # Source: Exif 2.32, tag 0x0112
_MOST_SHOWN = 20  # names in a list for people
_KEYS = {"wh", "faces", "ignore", "tags"}


class LabelsWrong(Exception):
    """What is wrong with the folder or the labels, for the person who can put it right."""


@dataclass(frozen=True)
class Box:
    """A rectangle in px: left, top, width, height."""

    x: float
    y: float
    width: float
    height: float

    @property
    def area(self) -> float:
        return max(0, self.width) * max(0, self.height)

    def shared(self, other: "Box") -> float:
        """The area that both have."""
        across = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        down = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return max(0, across) * max(0, down)

    def iou(self, other: "Box") -> float:
        shared = self.shared(other)
        return shared / (self.area + other.area - shared) if shared else 0

    def grown(self) -> "Box":
        """The cover over a found box, before it is snapped."""
        edge = max(self.width, self.height) * COVER_GROWTH
        return Box(self.x - edge, self.y - edge, self.width + 2 * edge, self.height + 2 * edge)


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What a person has marked in one upright picture of `width_px` by `height_px`."""

    name: str
    width_px: int
    height_px: int
    faces: tuple[Box, ...] = ()
    ignore: tuple[Box, ...] = ()
    tags: tuple[str, ...] = ()

    @property
    def is_face_free(self) -> bool:
        return not self.faces


@dataclass(frozen=True, kw_only=True)
class Look:
    """What came of one picture: its size in px as published, the boxes found in it, the cost."""

    width_px: int
    height_px: int
    found: tuple[Box, ...]
    cpu_ms: float = 0
    peak_kib: int = 0


class Looker(Protocol):
    """Whatever looks for faces in the bytes of a photo: the box, or what a test puts there."""

    async def look(self, untrusted_photo: bytes) -> Look: ...


# -- labels ---------------------------------------------------------------------------------------


def read_labels(path: Path) -> list[Labels]:
    """Read a file of labels.

    Raises:
        LabelsWrong: it is no such file; the message names the picture and the key.
    """
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once)
    except OSError as error:
        raise LabelsWrong(f"The labels can't be read: {path}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise LabelsWrong(f"The labels are no UTF-8 text: {path}.") from None
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, column {error.colno}"
        raise LabelsWrong(f"The labels are no JSON: {path}, {at}: {error.msg}.") from None
    if not isinstance(loaded, dict):
        raise LabelsWrong('The labels must be an object: {"a.jpg": {"wh": …, "faces": …}, …}.')
    if not loaded:
        raise LabelsWrong(f"There is no picture in the labels: {path}.")
    return [_read_one(name, entry) for name, entry in loaded.items()]


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise LabelsWrong(f"This key stands twice in the labels: {twice!r}.")
    return made


def _read_one(name: str, entry: object) -> Labels:
    if not isinstance(entry, dict):
        raise LabelsWrong(f'{name!r}: must be an object with the keys "wh" and "faces".')
    for key in ("wh", "faces"):
        if key not in entry:
            raise LabelsWrong(f"{name!r}: the key {key!r} is missing.")
    for key in entry:
        if key not in _KEYS:
            raise LabelsWrong(f"{name!r}: the key {key!r} is unknown; known: {sorted(_KEYS)}.")
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts:
        raise LabelsWrong(f"{name!r}: must be a path below the folder of the pictures.")
    size = entry["wh"]
    if not (_are_numbers(size, 2) and all(side == int(side) > 0 for side in size)):
        raise LabelsWrong(f"{name!r}: 'wh' must be [width, height] in whole px, it is {size!r}.")
    tags = entry.get("tags", [])
    if not (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)):
        raise LabelsWrong(f"{name!r}: 'tags' must be a list of words, it is {tags!r}.")
    width_px, height_px = int(size[0]), int(size[1])
    whole = Box(0, 0, width_px, height_px)
    return Labels(
        name=name,
        width_px=width_px,
        height_px=height_px,
        faces=_read_boxes(name, "faces", entry["faces"], whole),
        ignore=_read_boxes(name, "ignore", entry.get("ignore", []), whole),
        tags=tuple(tags),
    )


def _read_boxes(name: str, key: str, boxes: object, whole: Box) -> tuple[Box, ...]:
    if not isinstance(boxes, list):
        raise LabelsWrong(f"{name!r}: {key!r} must be a list of [x, y, w, h], it is {boxes!r}.")
    made = []
    for number, box in enumerate(boxes):
        where = f"{name!r}: {key!r}, box {number}"
        if not _are_numbers(box, 4):
            raise LabelsWrong(f"{where}: must be four numbers [x, y, w, h] in px, it is {box!r}.")
        if box[2] <= 0 or box[3] <= 0:
            raise LabelsWrong(f"{where}: width and height must be more than 0, it is {box!r}.")
        if not (read := Box(*map(float, box))).shared(whole):
            raise LabelsWrong(f"{where}: lies outside the picture of 'wh', it is {box!r}.")
        made.append(read)
    return tuple(made)


def _are_numbers(values: object, count: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(type(value) in {int, float} and abs(value) < float("inf") for value in values)
    )


def check_pictures(folder: Path, labels: Iterable[Labels]) -> None:
    """Hold the labels against the pictures, before any minute is spent on looking.

    Raises:
        LabelsWrong: no folder, a picture missing or not to be opened, or a size that is not its.
    """
    if not folder.is_dir():
        raise LabelsWrong(f"This is no folder of pictures: {folder}.")
    for one in labels:
        path = folder / one.name
        if not path.is_file():
            raise LabelsWrong(f"{one.name!r}: labelled, but there is no such file in {folder}.")
        try:
            width, height = upright_size(path)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            raise LabelsWrong(
                f"{one.name!r}: can't be opened as a picture (JPEG, PNG, WebP and AVIF can)."
            ) from None
        if (width, height) != (one.width_px, one.height_px):
            raise LabelsWrong(
                f"{one.name!r}: 'wh' is {[one.width_px, one.height_px]}, the upright picture is "
                f"{[width, height]}. Labels are made on the picture as a viewer shows it, "
                "EXIF orientation applied."
            )


def upright_size(path: Path) -> tuple[int, int]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # only the head is read
        with Image.open(path) as picture:
            width, height = picture.size
            is_sideways = picture.getexif().get(_EXIF_ORIENTATION) in _SIDEWAYS
    return (height, width) if is_sideways else (width, height)


def mapped(box: Box, labels: Labels, size: tuple[int, int]) -> Box:
    """Return where a box of the upright picture lies in the scrubbed photo of this size.

    What was cropped away sticks out over its edge.
    """
    plan = canonical.plan(labels.width_px, labels.height_px, is_ours=False)
    left, top, right, bottom = plan.box
    across, down = plan.drawn[0] / (right - left), plan.drawn[1] / (bottom - top)
    margin = [(whole - drawn) // 2 for whole, drawn in zip(plan.canvas, plan.drawn, strict=True)]
    shrunk = size[0] / plan.canvas[0], size[1] / plan.canvas[1]  # where it was too large in bytes
    return Box(
        (margin[0] + (box.x - left) * across) * shrunk[0],
        (margin[1] + (box.y - top) * down) * shrunk[1],
        box.width * across * shrunk[0],
        box.height * down * shrunk[1],
    )


# -- judging --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One picture: of its faces that count, how many were found; how many boxes were no face."""

    labels: Labels
    faces: int
    found: int
    false: int
    look: Look


def closeness(found: Box, face: Box) -> float:
    """How well a found box shows a face: their IoU, or what little remains; 0 where it doesn't."""
    iou = found.iou(face)
    is_hidden = found.grown().shared(face) >= LEAST_HIDDEN * face.area
    if iou >= LEAST_IOU or (is_hidden and found.area <= MOST_TIMES_FACE * face.area):
        return max(iou, 1e-6)
    return 0


def join(found: list[Box], faces: list[Box]) -> dict[int, int]:
    """Pair found boxes with faces, the closest first: the number of a found box, of its face."""
    pairs = [
        (near, at, face)
        for at, box in enumerate(found)
        for face, labelled in enumerate(faces)
        if (near := closeness(box, labelled))
    ]
    joined: dict[int, int] = {}
    for _, at, face in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
        if at not in joined and face not in joined.values():
            joined[at] = face
    return joined


def judge(labels: Labels, look: Look) -> Verdict:
    """Hold what was found against what was labelled."""
    size = look.width_px, look.height_px
    whole = Box(0, 0, *size)
    faces, ignore = [], [mapped(box, labels, size) for box in labels.ignore]
    for labelled in labels.faces:
        box = mapped(labelled, labels, size)
        is_large = max(box.width, box.height) >= LEAST_PX
        (faces if is_large and box.shared(whole) >= box.area / 2 else ignore).append(box)
    joined = join(list(look.found), faces)
    false = [
        box
        for number, box in enumerate(look.found)
        if number not in joined and not any(_is_ignored(box, region) for region in ignore)
    ]
    return Verdict(labels=labels, faces=len(faces), found=len(joined), false=len(false), look=look)


def _is_ignored(box: Box, region: Box) -> bool:
    return closeness(box, region) > 0 or box.shared(region) >= box.area / 2


@dataclass(frozen=True, kw_only=True)
class Result:
    """The figures that are printed, and what they were counted from."""

    verdicts: list[Verdict]

    @property
    def with_faces(self) -> list[Verdict]:
        return [one for one in self.verdicts if not one.labels.is_face_free]

    @property
    def face_free(self) -> list[Verdict]:
        return [one for one in self.verdicts if one.labels.is_face_free]

    @property
    def missed(self) -> list[Verdict]:
        return [one for one in self.with_faces if one.faces and not one.found]

    @property
    def flagged(self) -> list[Verdict]:
        return [one for one in self.face_free if one.false]

    def figures(self) -> dict[str, float | int | None]:
        found = sum(one.found for one in self.with_faces)
        false = sum(one.false for one in self.with_faces)
        return {
            "recall": _share(found, sum(one.faces for one in self.with_faces)),
            "precision": _share(found, found + false),
            "pictures_missed": len(self.missed),
            "face_free_flagged": len(self.flagged),
            "ms_median": round(statistics.median(one.look.cpu_ms for one in self.verdicts), 1),
            "peak_mib": round(max(one.look.peak_kib for one in self.verdicts) / 1024, 1),
        }

    def lines(self) -> list[str]:
        """Say the figures to a person, and which pictures are worth a look."""
        faces = sum(one.faces for one in self.with_faces)
        about = {
            "recall": f"of {faces} faces of {LEAST_PX} px or more",
            "precision": f"of the boxes in {len(self.with_faces)} pictures with faces",
            "pictures_missed": f"of {len(self.with_faces)}",
            "face_free_flagged": f"of {len(self.face_free)} pictures without faces",
            "ms_median": "CPU of the box for one picture",
            "peak_mib": "memory of one job, the most",
        }
        written = [
            f"{key:<18} {'none' if value is None else f'{value:g}':>8}  {about[key]}"
            for key, value in self.figures().items()
        ]
        for tag in sorted({tag for one in self.with_faces for tag in one.labels.tags}):
            those = [one for one in self.with_faces if tag in one.labels.tags]
            of = sum(one.faces for one in those)
            written.append(f"  {tag}: found {sum(one.found for one in those)} of {of} faces")
        for words, some in (
            ("nothing found in", self.missed),
            ("not all found in", [one for one in self.with_faces if 0 < one.found < one.faces]),
            ("found without a face in", self.flagged),
        ):
            names = [one.labels.name for one in some[:_MOST_SHOWN]]
            more = len(some) - len(names)
            if names:
                written.append(f"{words}: {', '.join(names)}{f' and {more} more' * (more > 0)}")
        return written


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


# -- looking --------------------------------------------------------------------------------------


@dataclass
class InBox:
    """The box as the relay has it, and what one picture costs there."""

    scrubber: Scrubber
    poll_s: float = field(default=0.005)

    async def look(self, untrusted_photo: bytes) -> Look:
        """Scrub one photo.

        Raises:
            RelayError: the box does not take it.
        """
        process = self.scrubber._box.process  # noqa: SLF001 - its cost is what is measured
        assert process is not None
        before = spent(process.pid)
        job = asyncio.create_task(self.scrubber.scrub(untrusted_photo))
        peak_kib = 0
        while not job.done() or len(below(process.pid)) > 1:  # until its child is counted
            for pid in below(process.pid)[1:]:
                peak_kib = max(peak_kib, high_water_kb(pid))
            await asyncio.sleep(self.poll_s)
        scrubbed = await job
        of_box_s = spent(process.pid) - before
        return Look(
            width_px=scrubbed.width_px,
            height_px=scrubbed.height_px,
            found=faces_of(scrubbed.found),
            cpu_ms=of_box_s * 1000,
            peak_kib=peak_kib,
        )


def faces_of(found: Iterable[Found]) -> tuple[Box, ...]:
    boxes = (one.box for one in found if one.kind is Kind.FACE)
    return tuple(Box(box.x, box.y, box.width, box.height) for box in boxes)


async def measure(
    folder: Path, labels: list[Labels], looker: Looker, say: Callable[[str], None]
) -> Result:
    """Look at every labelled picture.

    Raises:
        LabelsWrong: the box does not take one of them.
    """
    verdicts = []
    for number, one in enumerate(labels, start=1):
        try:
            look = await looker.look((folder / one.name).read_bytes())
        except RelayError as error:
            raise LabelsWrong(f"{one.name!r}: the box does not take it: {error.message}") from None
        verdicts.append(judge(one, look))
        say(f"{number} of {len(labels)}")
    return Result(verdicts=verdicts)


async def _measure_in_box(folder: Path, labels: list[Labels]) -> Result:
    def say(words: str) -> None:
        if sys.stderr.isatty():
            print(f"\r{words} ", end="", file=sys.stderr, flush=True)  # noqa: T201 - a program

    async with Scrubber(max_jpeg_bytes=2 << 20) as scrubber:
        result = await measure(folder, labels, InBox(scrubber), say)
    say("done\n")
    return result


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/bench faces",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--images", type=Path, required=True, metavar="DIR")
    parser.add_argument("--labels", type=Path, required=True, metavar="FILE")
    parser.add_argument("--json", action="store_true", help="the six figures on stdout as JSON")
    given = parser.parse_args(arguments)
    # scripts/bench has changed the folder; paths are meant from where a person typed them.
    start = Path(os.environ.get("BENCH_FROM", "."))
    try:
        labels = read_labels(start / given.labels)
        check_pictures(start / given.images, labels)
        result = asyncio.run(_measure_in_box(start / given.images, labels))
    except LabelsWrong as error:
        print(f"scripts/bench faces: {error}", file=sys.stderr)  # noqa: T201 - a program
        return 2
    if given.json:
        print(json.dumps(result.figures(), indent=1))  # noqa: T201
    else:
        print("\n".join(result.lines()))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
