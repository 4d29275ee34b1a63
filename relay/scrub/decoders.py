"""The versions of what decodes photos, held against those that are known to be dangerous.

The list is no substitute for upgrading: it holds what has been found and can be cited.
"""

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import features

from relay.scrub.heic import SAFE_LIBHEIF

_Version = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class KnownBad:
    """Versions from `since` to the one before `below`, what is wrong with them, and who says so."""

    decoder: str
    below: _Version
    why: str
    source: str
    since: _Version = (0,)
    is_reached: bool = True  # False: by nothing that we do with it
    mend: str = "Install the locked wheels again (scripts/setup run)"


KNOWN_BAD = (
    KnownBad(
        decoder="Pillow",
        below=(13, 0, 0),
        why="heap overflows in its JPEG decoder",
        source="Pillow's release notes of 13.0.0: GHSA-5x8w-8jj5-q52h, GHSA-8g5g-8vmr-9782",
    ),
    KnownBad(
        decoder="libheif",
        below=SAFE_LIBHEIF,
        why="code of a sender's can be run",
        source="libheif's release notes of 1.23.7: fourteen advisories rated high",
        mend="Install a newer pillow-heif, or set heic = false",
    ),
    KnownBad(
        decoder="JPEG",
        below=(1, 3, 1),
        why="a crash by an Exif marker",
        source="CVE-2014-9092",
    ),
    KnownBad(
        decoder="JPEG",
        since=(2, 0, 90),
        below=(2, 1, 0),
        why="a buffer overrun by a progressive JPEG",
        source="CVE-2021-29390; libjpeg-turbo's ChangeLog, 2.1.0, 1",
    ),
    KnownBad(
        decoder="WebP",
        below=(1, 3, 2),
        why="a heap overflow, used in attacks",
        source="CVE-2023-4863",
    ),
    KnownBad(
        decoder="AVIF",
        below=(1, 3, 0),
        why="buffer overflows in stream.c and reformat.c",
        source="CVE-2025-48174 and CVE-2025-48175",
    ),
    KnownBad(
        decoder="dav1d",
        below=(1, 4, 0),
        why="an integer overflow by a large frame",
        source="CVE-2024-1580",
    ),
    KnownBad(
        decoder="zlib",
        below=(1, 2, 13),
        why="a heap overflow by a gzip header, which PNG has not",
        source="CVE-2022-37434",
        is_reached=False,
    ),
)


def find_versions(*, heic: bool) -> dict[str, str]:
    """Return the versions of the decoders that are installed, as they report them."""
    asked = {
        "Pillow": features.version("pil"),
        "JPEG": features.version("libjpeg_turbo"),
        "WebP": features.version("webp"),
        "AVIF": features.version("avif"),
    }
    zlib_ng = features.version("zlib_ng")  # it answers for zlib with a number of zlib's
    asked["zlib-ng" if zlib_ng else "zlib"] = zlib_ng or features.version("zlib")
    asked |= _find_dav1d()
    if heic:
        asked |= _find_heic()
    return {name: version for name, version in asked.items() if version is not None}


def _find_dav1d() -> dict[str, str | None]:
    """Return the version of what decodes AVIF below libavif, where Pillow tells it."""
    try:
        said = importlib.import_module("PIL._avif").codec_versions()
    except (ImportError, AttributeError):
        return {}
    match = re.search(r"dav1d \[dec\]:([^\s,-]+)", said)
    return {"dav1d": match[1]} if match else {}


def _find_heic() -> dict[str, str | None]:
    try:
        pillow_heif = importlib.import_module("pillow_heif")
        below = pillow_heif.libheif_info()["decoders"].get("libde265", "")
    except (ImportError, AttributeError, KeyError):
        return {"libheif": None}
    match = re.search(r"version (\S+)", below)
    return {
        "libheif": pillow_heif.libheif_version(),
        "libde265": match[1] if match else None,
    }


def find_known_bad(versions: dict[str, str]) -> Iterator[tuple[str, KnownBad]]:
    """Yield each version that is known to be dangerous, with what is known of it."""
    for known in KNOWN_BAD:
        version = versions.get(known.decoder)
        if version is not None and known.since <= _parse(version) < known.below:
            yield version, known


def find_unreadable(versions: dict[str, str]) -> list[str]:
    """Return the decoders whose version is no number, so that nothing is known of them."""
    return [name for name, version in versions.items() if not _parse(version)]


def _parse(version: str) -> _Version:
    """Return the leading numbers: `1.2.13.zlib-ng` is 1.2.13."""
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("-")[0]))
