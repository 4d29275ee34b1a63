"""Coverage-guided fuzzing of redraw, of its report, and of the check. See scripts/fuzz."""

import sys
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["relay.scrub", "PIL"]):
    from relay.scrub import jpeg, pixels
    from relay.scrub.wire import Code

from relay.errors import ScrubFailed
from tests import photos

warnings.simplefilter("ignore")


def try_one(untrusted_photo: bytes) -> None:
    """Whatever the file, redraw answers; what it calls clean passes the check."""
    redrawn = pixels.redraw(untrusted_photo, max_bytes=1 << 19, quality=85)
    if redrawn.code is Code.CLEAN:
        jpeg.check(redrawn.jpeg, redrawn.quality)
    else:
        assert not redrawn.jpeg
    with suppress(ScrubFailed):
        jpeg.check(untrusted_photo)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, make in photos.CHANNELS.items():
            (Path(folder) / name.replace("/", "-")).write_bytes(make().photo)
        options = [f"-max_total_time={sys.argv[1]}", "-seed=20260319", "-max_len=300000"]
        options += ["-rss_limit_mb=4096", "-timeout=30", folder]
        atheris.Setup([sys.argv[0], *options], try_one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
