"""Faces and codes are found, upright and turned, the same each time, behind the box's walls."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zxingcpp
from PIL import Image

from relay.errors import ConfigInvalid, WeightsAmiss
from relay.scrub import nets, supervisor, weights
from relay.scrub.faces import WEIGHTS, Detector
from relay.scrub.found import Box, Kind
from tests import photos
from tests.faces.fetch import CACHE

ASTRONAUT = CACHE / "astronaut.png"
FACE = (180, 65, 265, 175)  # left, top, right, bottom of what every cover of her face has to hold
TURNS = {
    0: None,
    90: Image.Transpose.ROTATE_90,
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_270,
}
MOST_RESIDENT_KIB = 350 << 10


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.load()


@pytest.fixture(scope="module")
def astronaut() -> Image.Image:
    return Image.open(ASTRONAUT).convert("RGB")


def turned(picture: Image.Image, degrees: int) -> Image.Image:
    turn = TURNS[degrees]
    return picture if turn is None else picture.transpose(turn)


def share(found: Box, mask: Image.Image) -> float:
    """Which part of the white in `mask` a box holds."""
    box = (found.x, found.y, found.x + found.width, found.y + found.height)
    return float(np.asarray(mask.crop(box)).sum() / np.asarray(mask).sum())


def holds(found: Box, point: tuple[int, int]) -> bool:
    across, down = point[0] - found.x, point[1] - found.y
    return 0 < across < found.width and 0 < down < found.height


@pytest.mark.parametrize("name", ["yunet.onnx", "centerface.onnx"])
def test_a_file_of_weights_that_is_missing_or_another_is_named(tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(WEIGHTS, tmp_path / "weights"))
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(WeightsAmiss, match=rf"{name}.*not the pinned file.*scripts/weights"):
        Detector.load(folder)
    (folder / name).unlink()
    with pytest.raises(ConfigInvalid, match=rf"{name}.*No such file.*scripts/weights"):
        Detector.load(folder)


@pytest.mark.parametrize("degrees", TURNS)
def test_one_face_is_found_whichever_way_up(
    detector: Detector, astronaut: Image.Image, degrees: int
) -> None:
    mask = Image.new("L", astronaut.size)
    mask.paste(255, FACE)
    (found,) = detector.find(turned(astronaut, degrees))
    assert found.kind is Kind.FACE
    assert share(found.box, turned(mask, degrees)) > 0.9
    assert max(found.box.width, found.box.height) < 150


@pytest.mark.parametrize("side", [(1600, 1200), (1200, 1600), (320, 320), (1600, 720)])
def test_a_face_is_found_in_every_size(
    detector: Detector, astronaut: Image.Image, side: tuple[int, int]
) -> None:
    picture = Image.new("RGB", side, (90, 110, 90))
    scale = min(side) / 512
    picture.paste(astronaut.resize((min(side), min(side))), (0, 0))
    face = [round(edge * scale) for edge in FACE]
    mask = Image.new("L", side)
    mask.paste(255, (face[0], face[1], face[2], face[3]))
    assert max(share(found.box, mask) for found in detector.find(picture)) > 0.9


def test_small_faces_among_many_are_found(detector: Detector, astronaut: Image.Image) -> None:
    head = astronaut.crop((130, 0, 330, 240)).resize((60, 72))
    picture = Image.new("RGB", (1600, 1200), (200, 190, 180))
    places = [(x, y) for x in range(40, 1500, 180) for y in range(40, 1100, 180)]
    for place in places:
        picture.paste(head, place)
    found = detector.find(picture)
    for x, y in places:
        eyes = x + 28, y + 32
        assert any(holds(one.box, eyes) for one in found), (x, y)
    assert all(20 < one.box.width < 60 for one in found)


def test_nothing_is_found_where_nothing_is(detector: Detector) -> None:
    for size in ((1600, 1200), (320, 144), (1, 1)):
        assert detector.find(Image.new("RGB", size, (128, 128, 128))) == []


def test_a_code_is_found_and_the_largest_comes_first(
    detector: Detector, astronaut: Image.Image
) -> None:
    picture = Image.new("RGB", (1200, 900), (255, 255, 255))
    code = zxingcpp.create_barcode("https://example.org/", zxingcpp.BarcodeFormat.QRCode)
    square = Image.fromarray(np.asarray(code.to_image(scale=4))).convert("RGB").resize((160, 160))
    picture.paste(square, (900, 600))
    picture.paste(astronaut.resize((256, 256)), (0, 0))
    face, qr = sorted(detector.find(picture), key=lambda one: one.box.x)
    assert (face.kind, qr.kind) == (Kind.FACE, Kind.CODE)
    assert 895 < qr.box.x < 930
    assert 595 < qr.box.y < 630
    assert qr.box.width > 100
    assert detector.find(picture) == [qr, face]


def test_a_cover_is_not_taken_for_the_face_that_it_hides(
    detector: Detector, astronaut: Image.Image
) -> None:
    (found,) = detector.find(astronaut)
    copy = astronaut.copy()
    box = found.box
    copy.paste(0, (box.x, box.y, box.right, box.bottom))
    assert detector.find(copy) == []
    copy.paste((40, 40, 40), (box.x, box.y, box.right, box.bottom))
    for one in detector.find(copy):  # only what is black counts as a cover
        assert one.kind is Kind.FACE


def test_the_same_pixels_give_the_same_answer(detector: Detector, astronaut: Image.Image) -> None:
    pictures = [astronaut, photos.noise(960, 720), photos.picture(640, 480)]
    first = [detector.find(picture) for picture in pictures]
    assert [detector.find(picture) for picture in pictures] == first
    assert [Detector.load().find(picture) for picture in pictures] == first


@pytest.mark.parametrize(
    ("made", "known", "count", "strongest"),
    [
        (
            nets.YuNet,
            weights.YUNET,
            252,
            [
                [41.3086, 47.7815, 47.5988, 55.6711, 0.034632],
                [20.2540, 51.1783, 28.1136, 61.5006, 0.033128],
                [63.3753, -1.6533, 72.4597, 6.5562, 0.029750],
            ],
        ),
        (
            nets.CenterFace,
            weights.CENTERFACE,
            768,
            [
                [22.7150, 3.3744, 36.7965, 15.9836, 0.011647],
                [19.9378, 4.1767, 32.4422, 15.4673, 0.010765],
                [65.2884, 2.0812, 82.5855, 17.4052, 0.010303],
            ],
        ),
    ],
)
def test_the_networks_answer_as_they_did(
    made: Callable[[bytes], nets.Net],
    known: weights.Weights,
    count: int,
    strongest: list[list[float]],
) -> None:
    rgb = np.random.Generator(np.random.PCG64(7)).integers(0, 256, (96, 128, 3), np.uint8)
    boxes = made(known.read(WEIGHTS)).look(rgb, 0.0)
    assert len(boxes) == count
    first = boxes[np.argsort(-boxes[:, 4], kind="stable")[:3]]
    assert first == pytest.approx(np.array(strongest), rel=2e-3, abs=2e-3)


def test_who_names_a_kind_loads_no_network() -> None:
    code = "import sys, relay.scrub.faces; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "onnxruntime", "zxingcpp", "PIL"} & {*done.stdout.split()}


def test_no_thread_is_left_and_nothing_is_told_to_anyone() -> None:
    code = (
        "import os; from relay.scrub.faces import Detector; Detector.load(); "
        "print(len(os.listdir('/proc/self/task')), os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1"]


# What the supervisor gives the box: memory that a child keeps, in large pages.
BOX_MALLOC = supervisor._MALLOC  # noqa: SLF001 - measured as it runs
IN_THE_BOX = """
import gc, os, socket, sys
from PIL import Image
from relay.scrub import confine
from relay.scrub.faces import Detector
detector = Detector.load()
picture = Image.open(sys.argv[1]).convert("RGB").resize((1600, 1200))
gc.freeze()
gc.disable()
filter_ = confine.Filter(threads=False)
ours, theirs = socket.socketpair()
child = os.fork()
if child == 0:
    os.dup2(theirs.fileno(), confine.JOB)
    os.closerange(confine.JOB + 1, 64)
    confine.limit(threads=False)
    filter_.put_on()
    for picture in (picture, picture.transpose(Image.Transpose.ROTATE_90)):
        os.write(confine.JOB, b"%d" % len(detector.find(picture)))
    os._exit(0)
_, status, used = os.wait4(child, 0)
theirs.close()
print(ours.recv(9).decode() or "-", status, used.ru_utime + used.ru_stime, used.ru_maxrss)
"""


def test_it_finds_behind_the_walls_of_the_box_with_what_it_has_there() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_THE_BOX, ASTRONAUT],
        env={"GLIBC_TUNABLES": BOX_MALLOC},
        capture_output=True,
        text=True,
        check=True,
    )
    found, status, cpu_s, resident_kib = done.stdout.split()
    print(  # noqa: T201 - figures to compare, which differ by machine
        f"two pictures of 1600 px: {float(cpu_s):.2f} s of CPU, {int(resident_kib) >> 10} MiB"
    )
    assert (found, status) == ("11", "0")
    assert int(resident_kib) < MOST_RESIDENT_KIB
