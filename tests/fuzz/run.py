"""What every fuzz target does: put its seeds into a folder and start."""

import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import atheris


def run(try_one: Callable[[bytes], None], seeds: Mapping[str, bytes], *, max_bytes: int) -> None:
    """Fuzz for as many seconds as the first argument says, from `seeds` on; exits by itself."""
    with tempfile.TemporaryDirectory() as folder:
        for name, seed in seeds.items():
            (Path(folder) / name.replace("/", "-")).write_bytes(seed)
        options = [f"-max_total_time={sys.argv[1]}", "-seed=20260319", f"-max_len={max_bytes}"]
        options += ["-rss_limit_mb=4096", "-timeout=30", folder]
        atheris.Setup([sys.argv[0], *options], try_one)
        atheris.Fuzz()
