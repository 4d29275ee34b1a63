"""How far a command is: drawn on stderr, at a terminal only, and gone when it ends."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

_T = TypeVar("_T")
# What to call after each step: how many are done, of how many.
Watch = Callable[[int, int], None]


@contextmanager
def progress(words: str, *, quiet: bool) -> Iterator[Watch]:
    """Draw a bar behind `words` meanwhile; without a terminal, or where `quiet`, nothing."""
    if quiet or not sys.stderr.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        yield lambda _done, _total: None
        return
    # Here, since it takes a tenth of a second to load.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        # soft_wrap: what is printed meanwhile keeps its lines, however narrow the terminal is.
        console=Console(stderr=True, soft_wrap=True),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # else the results go to a file, and not past the bar
    ) as bar:
        task = bar.add_task(words, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def over(steps: Sequence[_T], words: str, *, quiet: bool) -> Iterator[_T]:
    """Yield each of `steps` with a bar behind `words`."""
    with progress(words, quiet=quiet) as watch:
        for done, step in enumerate(steps):
            watch(done, len(steps))
            yield step
