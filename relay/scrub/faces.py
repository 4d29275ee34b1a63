"""Find what a picture must not show: faces, and codes that a machine can read.

A net, not a guarantee. docs/decisions/0011-face-detector.md says how it is knotted and what it
misses. Importing this loads no decoder and no network; `Detector.load` does.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Self

from relay.scrub.found import Found, Kind, clipped

if TYPE_CHECKING:
    from PIL import Image

    from relay.scrub.looks import Looks

WEIGHTS = Path(__file__).parent / "weights"
Edges = tuple[float, float, float, float]  # left, top, right, bottom in px


class Detector:
    """Both networks and the reader of codes, warm: `find` opens no file and starts no thread."""

    def __init__(self, looks: "Looks") -> None:
        """Take what `load` has made."""
        self._looks = looks

    @classmethod
    def load(cls, folder: Path = WEIGHTS) -> Self:
        """Read the weights, build the networks, run everything once. Forks may use what comes back.

        Raises:
            WeightsAmiss: a file of weights is missing, or is not the pinned one.
        """
        # Before the import. NumPy would start threads, and a process with threads can't leave its
        # namespaces; ONNX Runtime from 1.29 on would tell its maker about this machine.
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        from relay.scrub.looks import Looks  # noqa: PLC0415 - the service may load none of it

        looks = Looks(folder)
        looks.warm_up()
        return cls(looks)

    def find(self, picture: "Image.Image") -> list[Found]:
        """Return what is in `picture` (RGB), the largest first; the same for the same pixels."""
        boxes = [(Kind.FACE, edges) for edges in self._looks.find_faces(picture)]
        boxes += [(Kind.CODE, edges) for edges in self._looks.find_codes(picture)]
        found = [Found(kind=kind, box=clipped(*edges, picture.size)) for kind, edges in boxes]
        return sorted(found, key=lambda one: -one.box.width * one.box.height)
