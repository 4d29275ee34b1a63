"""The fonts of Debian's packages, and which of them a text needs."""

from dataclasses import dataclass
from pathlib import Path

from relay.errors import FontMissing

_NOTO = Path("/usr/share/fonts/truetype/noto")
# Debian has moved it, and cut a smaller one out of it.
_DROID = (
    Path("/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf"),
    Path("/usr/share/fonts-droid-fallback/truetype/DroidSansFallback.ttf"),
)


@dataclass(frozen=True, kw_only=True)
class Face:
    """A font. places: where it may lie; package: what brings it; blocks: letters it is used for.

    is_thin: it has no bold cut, so that its outlines are drawn over, too.
    """

    places: tuple[Path, ...]
    package: str
    blocks: tuple[tuple[int, int], ...] = ()
    is_thin: bool = False

    @property
    def file(self) -> Path:
        """Return where it lies.

        Raises:
            FontMissing: nowhere; names the package.
        """
        for place in self.places:
            if place.is_file():
                return place
        raise FontMissing(
            f"{self.places[0].name} is missing, a font that posters need. "
            f"Install it: apt-get install --no-install-recommends {self.package}"
        )

    def is_for(self, character: str) -> bool:
        """Whether it is used for that letter."""
        return any(first <= ord(character) <= last for first, last in self.blocks)


def _noto(script: str, *blocks: tuple[int, int]) -> Face:
    return Face(
        places=(_NOTO / f"NotoSans{script}-Bold.ttf",), package="fonts-noto-core", blocks=blocks
    )


# Latin, Cyrillic, Greek, and whatever signs the others lack.
LATIN = _noto("")
# Blocks: those of https://www.unicode.org/Public/UNIDATA/Blocks.txt.
OTHERS = (
    _noto("Arabic", (0x600, 0x6FF), (0x750, 0x77F), (0x8A0, 0x8FF), (0xFB50, 0xFDFF)),
    _noto("Devanagari", (0x900, 0x963), (0x966, 0x97F), (0xA8E0, 0xA8FF)),
    _noto("Bengali", (0x980, 0x9FF)),
    _noto("Ethiopic", (0x1200, 0x139F), (0x2D80, 0x2DDF)),
    _noto("Myanmar", (0x1000, 0x109F), (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F)),
    Face(
        places=_DROID,
        package="fonts-droid-fallback",
        blocks=((0x3000, 0x303F), (0x3400, 0x9FFF), (0xFF00, 0xFFEF)),
        is_thin=True,
    ),
)
ALL = (LATIN, *OTHERS)


def faces_for(text: str) -> tuple[Face, ...]:
    """Return the fonts that a text needs: its own first, then those of what else is in it."""
    found = (next((one for one in OTHERS if one.is_for(c)), None) for c in text)
    used = dict.fromkeys(face for face in found if face is not None)
    letters = [c for c in text if c.isalpha()]
    begins_elsewhere = bool(letters) and any(face.is_for(letters[0]) for face in used)
    return (*used, LATIN) if begins_elsewhere else (LATIN, *used)
