"""Coverage-guided fuzzing of redraw, of its report, and of the check. See scripts/fuzz."""

import warnings
from contextlib import suppress

import atheris

with atheris.instrument_imports(include=["relay.scrub", "PIL"]):
    from relay.scrub import jpeg, pixels
    from relay.scrub.wire import Code

from relay.errors import ScrubFailed
from tests import photos
from tests.fuzz.run import run

warnings.simplefilter("ignore")


def try_one(untrusted_photo: bytes) -> None:
    """Whatever the file, redraw answers; what it calls clean passes the check."""
    redrawn = pixels.redraw(untrusted_photo, pixels.Wish(max_bytes=1 << 19, quality=85))
    if redrawn.code is Code.CLEAN:
        jpeg.check(redrawn.jpeg, redrawn.quality)
    else:
        assert not redrawn.jpeg
    with suppress(ScrubFailed):
        jpeg.check(untrusted_photo)


if __name__ == "__main__":
    seeds = {name: make().photo for name, make in photos.CHANNELS.items()}
    run(try_one, seeds, max_bytes=300_000)
