"""Posters for a service: drawn once each, one at a time, in a process of their own."""

import asyncio
import contextlib
import json
import sys
from dataclasses import asdict

from relay.errors import ConfigInvalid, PosterUnmade
from relay.posters.poster import Poster

_PROGRAM = ("-I", "-m", "relay.posters")
_TIME_S = 30  # one takes less than a second; a machine that is full takes longer
_PAUSE_S = 60  # after one that failed, before it is tried again
_MOST_WHY = 300  # characters


class Press:
    """Keeps what it has drawn: two kinds and two sizes of paper in each language, 15 kB each."""

    def __init__(self) -> None:
        """Draw nothing yet."""
        self._made: dict[Poster, bytes] = {}
        self._failed: dict[Poster, tuple[float, str]] = {}
        self._turn = asyncio.Lock()

    async def print(self, poster: Poster) -> bytes:
        """Return a poster as PDF; who comes while it is drawn waits for the same one.

        Raises:
            PosterUnmade: its cause, where there is one, says why.
        """
        if poster not in self._made:
            async with self._turn:
                if poster not in self._made:
                    self._made[poster] = await self._draw(poster)
        return self._made[poster]

    async def _draw(self, poster: Poster) -> bytes:
        now = asyncio.get_running_loop().time()
        until, why = self._failed.get(poster, (now, ""))
        if until > now:
            raise PosterUnmade from ConfigInvalid(why)
        try:
            return await _run(json.dumps(asdict(poster)).encode())
        except PosterUnmade as error:
            self._failed[poster] = (now + _PAUSE_S, str(error.__cause__))
            raise


async def _run(fields: bytes) -> bytes:
    """Return what the program draws."""
    try:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *_PROGRAM,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={},
        )
    except OSError as error:
        raise PosterUnmade from error
    try:
        async with asyncio.timeout(_TIME_S):
            pdf, why = await child.communicate(fields)
    except TimeoutError as error:
        raise PosterUnmade from error
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
    if child.returncode or not pdf:
        raise PosterUnmade from ConfigInvalid(why.decode("utf-8", "replace")[-_MOST_WHY:])
    return pdf
