"""Relays to load: real ones, each a process in a folder of its own, or one that runs already."""

import contextlib
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from relay.cli.campaign import make_campaign
from tests.conftest import RELAY, configure, free_port

ONION = "a" * 55 + "d.onion"
_START_S = 60
_LOOK_S = 0.05
_STOP_S = 20


@dataclass
class Relay:
    """One relay and the ways to it. folder, process: None where it is not ours to start."""

    url: str
    folder: Path | None = None
    core: int | None = None
    process: subprocess.Popen[bytes] | None = None

    @property
    def onion(self) -> Path | None:
        """The socket at which tor would bring its visitors, where there is one."""
        path = None if self.folder is None else self.folder / "onion.sock"
        return path if path is not None and path.exists() else None

    def start(self) -> None:
        assert self.folder is not None
        pinned = [] if self.core is None else ["taskset", "--cpu-list", str(self.core)]
        listen = self.url.removeprefix("http://")
        command = [*pinned, RELAY, "demo", "--dir", str(self.folder), "--listen", listen]
        with self.folder.with_suffix(".log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_S
        while not self.answers():
            assert self.process.poll() is None, self.folder.with_suffix(".log").read_text()
            assert time.monotonic() < deadline, "the relay does not answer"
            time.sleep(_LOOK_S)

    def answers(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self.url}/", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """End it as a power cut would; its box ends by itself."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def count_held(self, folder: Path) -> int | None:
        """How many envelopes a colleague would be handed; None where we have no keys."""
        if self.folder is None:
            return None
        desk = [RELAY, "desk", "--config", str(self.folder / "desk.toml")]
        command = [*desk, "pull", "--dry-run", "--json", "--to", str(folder / "sealed")]
        done = subprocess.run(command, capture_output=True, check=False)
        return len(json.loads(done.stdout)["fetched"])


@contextlib.contextmanager
def running(
    folder: Path,
    count: int,
    settings: Mapping[str, object],
    *,
    cores: Sequence[int] = (),
) -> Iterator[list[Relay]]:
    """Start relays of one campaign with one service key, as an operator would copy it by hand.

    settings: for each relay.toml, as they stand there. cores: one for each relay.
    """
    first = folder / "relay-1"
    make_campaign(first, campaign="load", listen="127.0.0.1:8080", is_demo=True)
    configure(first, **settings)
    relays = []
    for number in range(count):
        own = folder / f"relay-{number + 1}"
        if number:
            shutil.copytree(first, own)
        core = cores[number] if cores else None
        relays.append(Relay(f"http://127.0.0.1:{free_port()}", own, core))
    try:
        for relay in relays:
            relay.start()
        yield relays
    finally:
        for relay in relays:
            relay.stop()
