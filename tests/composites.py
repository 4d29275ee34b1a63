"""Pictures of people who hold a poster in front of them, made of the faces that tests/faces keeps.

`python -m tests.composites [COUNT [POSE …]]` prints what the detector finds of each pose.

The same seed gives the same pixels. A head and shoulders out of a real picture stand in a scene out
of another; the poster is drawn: paper of some colour, a border, printed lines, handwriting. Sizes
are canonical ones, and each picture has been a JPEG once, as what comes from a phone has.
"""

import enum
import io
import random
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache

from PIL import Image, ImageColor, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from relay.scrub import canonical
from relay.scrub.faces import WEIGHTS, Detector
from tests.bench.faces import LEAST_HIDDEN, Box, faces_of, read_labels
from tests.faces.fetch import CACHE, LABELS


class Pose(enum.Enum):
    """How the poster is held, or what is hard about the picture; as a table names it."""

    WHOLE = "poster over the whole head"
    EYES = "eyes above the poster"
    BROWS = "brows above the poster"
    HALF = "half of the face"
    PRINTED = "face printed on the poster"
    TURNED = "sideways or upside down"
    SMALL_32 = "face of 32 px"
    SMALL_24 = "face of 24 px"
    NIGHT = "night"
    REFLECTION = "reflection"


@dataclass(frozen=True, kw_only=True)
class Person:
    """A face of the labels: in which picture, its number there, and where its eyes are.

    eyes: their height in the label's box, from 0 (top) to 1. reach: how much of what is beside the
    face comes along, in widths of it from its middle: nobody else is to.
    """

    picture: str
    face: int = 0
    eyes: float
    reach: float = 1.1


PEOPLE = (
    Person(picture="654px-Aksel_Andersson.jpg", eyes=0.40),
    Person(picture="Alimehemet.jpg", eyes=0.39),
    Person(picture="E_W_Dahlgren.jpg", eyes=0.45),
    Person(picture="O2.jpg", face=0, eyes=0.36),
    Person(picture="O2.jpg", face=1, eyes=0.36),
    Person(picture="O3.jpg", eyes=0.36),
    Person(picture="O4.jpg", eyes=0.40),
    Person(picture="O5.jpg", face=0, eyes=0.43),
    Person(picture="O5.jpg", face=1, eyes=0.35),
    Person(picture="astronaut.png", eyes=0.35),
    Person(picture="grace_hopper.jpg", eyes=0.35),
    Person(picture="anne_helene.jpg", eyes=0.36),
    Person(picture="grand_canyon_2.jpg", eyes=0.36),
    Person(picture="jesper_2.jpg", eyes=0.36),
    Person(picture="new_wave_2.jpg", eyes=0.36, reach=0.62),
    Person(picture="qt-logo.jpg", face=0, eyes=0.38),
    Person(picture="qt-logo.jpg", face=2, eyes=0.37, reach=0.9),
)
# Where somebody could stand, or a wall. The detector sees faces in a spoon and in fruit: how often
# it does in pictures without people is counted on the labelled ones.
SCENES = (
    *("brick.png", "castle-maintenon.jpg", "cincinnati-bridge.jpg", "grass.png", "gravel.png"),
    *("rocket.jpg", "skagen.jpg", "skagen_2.jpg", "snow.jpg", "sunset.jpg"),
)
# The time of the detector grows with them.
_LONG_SIDES_PX = (640, 640, 640, 640, 960, 960, 1280, 1600)
_PAPERS = ("#ffffff", "#fdfbf0", "#fff3a0", "#d8f0d0", "#f6c8c8", "#cfe4fa", "#e03030", "#207040")
_INKS = ("#101010", "#102060", "#901010", "#ffffff")
_SKINS = ("#f0c8a8", "#d8a078", "#a87048", "#704828", "#482c1c")
_COATS = ("#202020", "#303850", "#503030", "#405040", "#a09880")
_WORDS = (
    *("PEACE NOW", "SAVE OUR RIVER", "NO MORE COAL", "WE ARE MANY", "EQUAL PAY", "FREE THEM ALL"),
    *("LET US VOTE", "HOMES FOR PEOPLE", "RIGHTS", "STOP"),
)
_ABOVE, _BELOW = 0.75, 2.4  # of the face's height: what of head and shoulders comes along
_LEAST_FACE_PX = 60
_QUALITY = 90
_MOST_TIMES_FACE = 6


@dataclass(frozen=True, kw_only=True)
class Composite:
    """One picture (RGB). `visible`: what of a face can be seen, `face`: the whole of it; in px."""

    pose: Pose
    picture: Image.Image
    visible: Box | None
    face: Box


def composites(pose: Pose, count: int, *, seed: int = 0) -> Iterator[Composite]:
    """Make `count` pictures of a pose, each person in turn."""
    rng = random.Random(f"{pose.name} {seed}")
    there = [one for one in PEOPLE if (CACHE / one.picture).exists()]
    scenes = [name for name in SCENES if (CACHE / name).exists()]
    assert there, "no faces: scripts/setup test"
    for number in range(count):
        yield _compose(pose, there[number % len(there)], rng.choice(scenes), there, rng)


def as_jpeg(picture: Image.Image, quality: int = _QUALITY) -> Image.Image:
    """Return what is left of a picture once it has been encoded."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def _compose(
    pose: Pose, person: Person, scene: str, people: list[Person], rng: random.Random
) -> Composite:
    size = _size(pose, rng)
    canvas = ImageOps.fit(_picture(scene), size, Image.Resampling.BILINEAR)
    bare = canvas.copy()
    height = _face_height(pose, size, rng)
    width = height * _aspect(person)
    face = Box(
        rng.uniform(0.3, 0.7) * size[0] - width / 2,
        rng.uniform(0.18, 0.38) * size[1],
        width,
        height,
    )
    _stand(canvas, person, face, rng)
    made = Composite(pose=pose, picture=canvas, face=face, visible=face)
    if pose is Pose.REFLECTION:
        dull = ImageEnhance.Contrast(ImageOps.mirror(canvas)).enhance(0.6)
        made = replace(
            made,
            picture=Image.blend(dull, bare, 0.3),
            face=replace(face, x=size[0] - face.x - face.width),
        )
        made = replace(made, visible=made.face)
    else:
        made = _hold(made, person, people, rng)
    if pose is Pose.NIGHT:
        made = replace(made, picture=_at_night(made.picture, rng))
    if pose is Pose.TURNED:
        made = _turn(made, rng.choice((1, 2, 3)))
    return replace(made, picture=as_jpeg(made.picture))


def _size(pose: Pose, rng: random.Random) -> canonical.Size:
    is_small = pose in {Pose.SMALL_32, Pose.SMALL_24}
    long_px = rng.choice((1280, 1600) if is_small else _LONG_SIDES_PX)
    size = rng.choice([(long_px, long_px * 3 // 4), (long_px, long_px * 2 // 3)])
    return size if rng.random() < 0.5 else size[::-1]


def _face_height(pose: Pose, size: canonical.Size, rng: random.Random) -> float:
    if pose is Pose.SMALL_32:
        return 32
    if pose is Pose.SMALL_24:
        return 24
    return max(_LEAST_FACE_PX, rng.uniform(0.1, 0.26) * min(size))


def is_hidden(composite: Composite, found: Iterable[Box]) -> bool:
    """Whether the cover over one found box hides 80 % of what can be seen of the face.

    A box of more than six times the face does not count: it found something else.
    """
    seen = composite.visible
    assert seen is not None
    return any(
        box.grown().shared(seen) >= LEAST_HIDDEN * seen.area
        and box.area <= _MOST_TIMES_FACE * composite.face.area
        for box in found
    )


def find_faces(detector: Detector, picture: Image.Image) -> tuple[Box, ...]:
    return faces_of(detector.find(picture))


def succeeds(composite: Composite, found: tuple[Box, ...]) -> bool:
    """Whether a face that can be seen was found; where none can be seen, whether none was."""
    return not found if composite.visible is None else is_hidden(composite, found)


def main() -> None:
    count = int(sys.argv[1]) if sys.argv[1:] else 100
    poses = [Pose[name.upper()] for name in sys.argv[2:]] or list(Pose)
    detector = Detector.load(WEIGHTS)
    for pose in poses:
        before = time.process_time()
        good = sum(
            succeeds(one, find_faces(detector, one.picture)) for one in composites(pose, count)
        )
        words = "nothing found" if pose is Pose.WHOLE else "found"
        each_ms = (time.process_time() - before) * 1000 / count
        print(f"{pose.value:<28} {words:<14} {good:3} of {count}   {each_ms:4.0f} ms")  # noqa: T201


# -- people ---------------------------------------------------------------------------------------


@cache
def _picture(name: str) -> Image.Image:
    with Image.open(CACHE / name) as opened:
        return ImageOps.exif_transpose(opened).convert("RGB")


@cache
def _labelled(person: Person) -> Box:
    named = {one.name: one for one in read_labels(LABELS)}
    return named[person.picture].faces[person.face]


def _aspect(person: Person) -> float:
    return _labelled(person).width / _labelled(person).height


def _portrait(person: Person) -> tuple[Image.Image, Box]:
    """Head and shoulders, and where the face lies in them."""
    face, whole = _labelled(person), _picture(person.picture)
    middle = face.x + face.width / 2
    left = max(0, round(middle - person.reach * face.width))
    right = min(whole.width, round(middle + person.reach * face.width))
    top = max(0, round(face.y - _ABOVE * face.height))
    bottom = min(whole.height, round(face.y + _BELOW * face.height))
    return whole.crop((left, top, right, bottom)), replace(face, x=face.x - left, y=face.y - top)


def _stand(canvas: Image.Image, person: Person, face: Box, rng: random.Random) -> None:
    """Put somebody there, with a body down to the edge, so that her face comes to lie at `face`."""
    portrait, inside = _portrait(person)
    scale = face.height / inside.height
    small = portrait.resize(
        (max(1, round(portrait.width * scale)), max(1, round(portrait.height * scale))),
        Image.Resampling.LANCZOS,
    )
    at = round(face.x - inside.x * scale), round(face.y - inside.y * scale)
    pen, middle = ImageDraw.Draw(canvas), face.x + face.width / 2
    shoulders = min(at[1] + small.height, face.y + 2 * face.height) - face.height * 0.1
    pen.polygon(
        [
            (middle - face.width, shoulders),
            (middle + face.width, shoulders),
            (middle + 1.4 * face.width, canvas.height),
            (middle - 1.4 * face.width, canvas.height),
        ],
        fill=rng.choice(_COATS),
    )
    soft = max(1, round(face.height * 0.06))
    mask = Image.new("L", small.size, 0)
    mask.paste(255, (soft, soft, small.width - soft, small.height - soft))
    canvas.paste(small, at, mask.filter(ImageFilter.GaussianBlur(soft / 2)))


# -- posters --------------------------------------------------------------------------------------


def _hold(made: Composite, person: Person, people: list[Person], rng: random.Random) -> Composite:
    """Draw the poster where the pose has it, and say what of the face is left to see."""
    face, pose = made.face, made.pose
    middle = face.x + face.width * (0.5 + rng.uniform(-0.12, 0.12))
    wide, tall = rng.uniform(1.8, 2.8) * face.width, rng.uniform(1.4, 2.0) * face.height
    eyes = face.y + person.eyes * face.height
    left, top, tilt = middle - wide / 2, face.y + 1.15 * face.height, rng.uniform(-4, 4)
    visible: Box | None = face
    if pose in {Pose.WHOLE, Pose.PRINTED}:
        top = face.y - rng.uniform(0.2, 0.35) * face.height
        tall = max(tall, 1.85 * face.height)
        visible = None
    elif pose in {Pose.EYES, Pose.BROWS}:
        top = eyes + (0.12 if pose is Pose.EYES else -0.065) * face.height
        tilt /= 4
        visible = replace(face, height=top - face.y)
    elif pose is Pose.HALF:
        top, tall, tilt = face.y - 0.4 * face.height, 2.1 * face.height, tilt / 4
        half = face.x + face.width / 2
        is_left = rng.random() < 0.5
        left = half if is_left else half - wide
        visible = replace(face, x=face.x if is_left else half, width=face.width / 2)
    poster = _poster((max(2, round(wide)), max(2, round(tall))), rng)
    if pose is Pose.PRINTED:
        visible = _print_face(poster, rng.choice([one for one in people if one != person]), rng)
        visible = replace(visible, x=left + visible.x, y=top + visible.y)
        face = visible
    _paste(made.picture, poster, (left, top), tilt)
    _hands(made.picture, Box(left, top, wide, tall), rng)
    return replace(made, visible=visible, face=face)


def _poster(size: tuple[int, int], rng: random.Random) -> Image.Image:
    paper = rng.choice(_PAPERS)
    ink = rng.choice([ink for ink in _INKS if _contrast(ink, paper) > 90])
    poster = Image.new("RGB", size, paper)
    pen = ImageDraw.Draw(poster)
    margin = round(min(size) * rng.uniform(0.04, 0.1))
    if rng.random() < 0.5:
        edges = (margin // 2, margin // 2, size[0] - 1 - margin // 2, size[1] - 1 - margin // 2)
        pen.rectangle(edges, outline=rng.choice(_INKS), width=max(1, margin // 3))
    lines = rng.randint(2, 4)
    height = (size[1] - 3 * margin) / lines
    for line in range(lines):
        row = Box(margin * 1.5, margin * 1.5 + line * height, size[0] - 3 * margin, height)
        if rng.random() < 0.6:
            _write(pen, rng.choice(_WORDS), row, ink)
        else:
            _scribble(pen, row, ink, rng)
    return poster


def _contrast(one: str, other: str) -> int:
    greys = [ImageColor.getcolor(colour, "L") for colour in (one, other)]
    return abs(greys[0] - greys[1])


def _write(pen: ImageDraw.ImageDraw, words: str, row: Box, ink: str) -> None:
    size = row.height * 0.8
    font = ImageFont.load_default(max(4, size))
    if (length := font.getlength(words)) > row.width:
        font = ImageFont.load_default(max(4, size * row.width / length))
    pen.text((row.x, row.y), words, fill=ink, font=font)


def _scribble(pen: ImageDraw.ImageDraw, row: Box, ink: str, rng: random.Random) -> None:
    """Handwriting that nobody can read."""
    x, end = row.x, row.x + row.width * rng.uniform(0.6, 1)
    points = []
    while x < end:
        points.append((x, row.y + row.height * rng.uniform(0.15, 0.75)))
        x += max(1, row.height * rng.uniform(0.08, 0.25))
    if len(points) > 1:
        pen.line(points, fill=ink, width=max(1, round(row.height * 0.07)), joint="curve")


def _print_face(poster: Image.Image, person: Person, rng: random.Random) -> Box:
    portrait, inside = _portrait(person)
    bounds = round(poster.width * 0.8), round(poster.height * 0.8)
    scale = min(bounds[0] / portrait.width, bounds[1] / portrait.height)
    size = max(1, round(portrait.width * scale)), max(1, round(portrait.height * scale))
    printed = portrait.resize(size, Image.Resampling.LANCZOS)
    if rng.random() < 0.3:
        printed = printed.convert("L").convert("RGB")
    at = (poster.width - size[0]) // 2, (poster.height - size[1]) // 2
    poster.paste(printed, at)
    return Box(
        at[0] + inside.x * scale,
        at[1] + inside.y * scale,
        inside.width * scale,
        inside.height * scale,
    )


def _paste(canvas: Image.Image, poster: Image.Image, at: tuple[float, float], tilt: float) -> None:
    mask = Image.new("L", poster.size, 255)
    turned = poster.rotate(tilt, Image.Resampling.BICUBIC, expand=True)
    mask = mask.rotate(tilt, Image.Resampling.BICUBIC, expand=True)
    beside = (turned.width - poster.width) / 2, (turned.height - poster.height) / 2
    canvas.paste(turned, (round(at[0] - beside[0]), round(at[1] - beside[1])), mask)


def _hands(canvas: Image.Image, poster: Box, rng: random.Random) -> None:
    """Thumbs over both edges of the paper, in half of the pictures."""
    if rng.random() < 0.5:
        return
    pen, skin = ImageDraw.Draw(canvas), rng.choice(_SKINS)
    thick, y = poster.width * 0.07, poster.y + poster.height * rng.uniform(0.6, 0.85)
    for x, way in ((poster.x, 1), (poster.x + poster.width, -1)):
        ends = sorted((x - way * thick, x + way * thick * 1.6))
        pen.rounded_rectangle((ends[0], y, ends[1], y + thick), thick / 2, fill=skin)


# -- what is hard ---------------------------------------------------------------------------------


def _at_night(picture: Image.Image, rng: random.Random) -> Image.Image:
    dark = ImageEnhance.Brightness(picture).enhance(rng.uniform(0.2, 0.4))
    noise = Image.frombytes("RGB", picture.size, rng.randbytes(3 * picture.width * picture.height))
    return Image.blend(dark, noise, 0.08)


def _turn(made: Composite, quarters: int) -> Composite:
    """Turn by quarters to the left; the boxes with it."""
    for _ in range(quarters):
        width = made.picture.width
        turned = [
            Box(box.y, width - box.x - box.width, box.height, box.width) if box else None
            for box in (made.face, made.visible)
        ]
        assert turned[0] is not None
        made = replace(
            made,
            picture=made.picture.transpose(Image.Transpose.ROTATE_90),
            face=turned[0],
            visible=turned[1],
        )
    return made


if __name__ == "__main__":
    main()
