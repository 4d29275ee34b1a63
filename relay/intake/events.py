"""The service's log: a closed set of events. No address, no name, no bytes, no receipt.

An exception is reported by its class and the place in our code, never by its words: those of a
library may quote what it choked on.
"""

import logging
import traceback
from pathlib import PurePath

from relay.errors import Closed, ComeBack, RelayError

events = logging.getLogger("relay")


def report(error: BaseException) -> None:
    """Log what the operator has to act on; what a submitter can mend is nobody's business."""
    if isinstance(error, RelayError) and error.http_status < 500:  # noqa: PLR2004 - 4xx is theirs
        return
    if isinstance(error, Closed):
        return  # said once, with its reason, when the door closed
    cause = error.__cause__
    frames = traceback.extract_tb((cause or error).__traceback__)
    place = f"{PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    name = type(error).__name__ + (f" from {type(cause).__name__}" if cause else "")
    if isinstance(error, ComeBack):
        events.warning("turned away: %s (%s)", name, place)
    else:
        events.error("failed: %s (%s)", name, place)
