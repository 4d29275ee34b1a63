"""Looks at a PDF from outside, with the programs that anybody has."""

import io
import os
import re
import subprocess
import sys
import zlib
from pathlib import Path

from PIL import Image, ImageChops, ImageOps

from relay.campaign import PublicTexts
from relay.posters.poster import Paper, Poster, kinds_in, poster_of
from tests.conftest import ROOT

DEMO = PublicTexts.load(ROOT / "relay/cli/demo-campaign.toml")
DPI = 36
POSTERS = {
    f"{language}-{kind}-{paper}": poster_of(DEMO, language, kind, paper)
    for language in DEMO.languages
    for kind in kinds_in(DEMO, language)
    for paper in Paper
}


def run(*command: str, pdf: bytes) -> str:
    """What a program says of a PDF on its stdin."""
    done = subprocess.run(command, input=pdf, capture_output=True, check=True)
    return done.stdout.decode()


def drawn(pdf: bytes, *, dpi: int = DPI) -> Image.Image:
    """The page as a picture: grey, 0 is black."""
    command = ["pdftoppm", "-r", str(dpi), "-gray", "-singlefile", "-"]
    done = subprocess.run(command, input=pdf, capture_output=True, check=True)
    return Image.open(io.BytesIO(done.stdout)).convert("L")


def inked(picture: Image.Image) -> tuple[int, int, int, int]:
    """The box around everything that is not white."""
    box = ImageChops.invert(picture).point(lambda value: 255 if value > 8 else 0).getbbox()
    assert box
    return box


def ink_share(picture: Image.Image) -> float:
    """How much of the page is black."""
    histogram = ImageOps.invert(picture).histogram()
    return sum(value * count for value, count in enumerate(histogram)) / 255 / sum(histogram)


def streams(pdf: bytes) -> list[bytes]:
    """Every stream, unpacked, in order."""
    found = re.findall(rb"stream\n(.*?)\nendstream", pdf, re.DOTALL)
    unpacked = []
    for stream in found:
        try:
            unpacked.append(zlib.decompress(stream))
        except zlib.error:
            unpacked.append(stream)
    return unpacked


def page_stream(pdf: bytes) -> str:
    """The one stream that draws."""
    (page,) = (stream for stream in streams(pdf) if b"\nBT " in stream or b" BT " in stream)
    return page.decode("latin-1")


def elsewhere(poster: Poster, **environment: str) -> str:
    """The digest of the poster as another process makes it."""
    code = (
        "import hashlib, sys; from relay.posters.pdf import make_pdf; "
        "from relay.posters.poster import Paper, Poster; "
        "poster = Poster(language=sys.argv[1], words=sys.argv[2], hashtag=sys.argv[3], "
        "paper=Paper(sys.argv[4])); print(hashlib.sha256(make_pdf(poster)).hexdigest())"
    )
    fields = [poster.language, poster.words, poster.hashtag, poster.paper]
    done = subprocess.run(
        [sys.executable, "-c", code, *fields],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
        cwd=Path("/"),
    )
    return done.stdout.strip()
