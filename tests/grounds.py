"""What a relay stands on, spoilt while it runs: a small disk among mounts of its own."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import relay.scrub.box
from tests.conftest import Service, Starter

# Mounts of the test's own, in which the relay runs; its folder "data" is a small disk.
ALONE = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
FILL = 'cat /dev/zero >"$D/filler" 2>"$D/said" || rm "$D/said"'
SMALL_DISK = 'mount -t tmpfs -o size=24m,mode=700 none "$0" && exec "$@"'


@dataclass
class Ground:
    """What the relay stands on, and how to spoil it while it runs."""

    service: Service
    data: Path

    def run(self, command: str) -> str:
        """Run a command of the shell among the relay's mounts, with its small disk in $D."""
        assert self.service.process is not None
        enter = ["nsenter", "--user", "--mount", "--preserve-credentials", "--target"]
        return subprocess.run(
            [*enter, str(self.service.process.pid), "sh", "-euc", command],
            check=True,
            env={**os.environ, "D": str(self.data), "BOX": relay.scrub.box.__file__},
            stdout=subprocess.PIPE,
            text=True,
        ).stdout

    @property
    def log(self) -> list[str]:
        return self.service.log_file.read_text().splitlines()

    def is_closed(self) -> bool:
        return self.service.get("/en/").status == 503

    def is_open(self) -> bool:
        return self.service.get("/en/").status == 200


Layer = Callable[..., Ground]


def lay(start_service: Starter, campaign: Path, **settings: object) -> Ground:
    """Start the relay with its queue on a disk of 24 MB."""
    data = campaign / "data"
    data.mkdir(mode=0o700)
    defaults = {"database": '"data/queue.sqlite"', "cover_write_s": 1, "min_free_bytes": 0}
    wrapper = [*ALONE, SMALL_DISK, str(data)]
    return Ground(start_service(wrapper=wrapper, **(defaults | settings)), data)
