"""What may befall a desk's command, and a client that it befalls."""

import contextvars
import enum
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from relay.desk.client import DeskClient
from relay.queue.verdicts import Decision
from relay.seal.signing import SigningIdentity


class Killed(BaseException):
    """The command has died where it stood: nothing in it may catch this."""


class Kind(enum.Enum):
    KILLED = "at a request, at its answer, or while a file is put in its place"
    CUT = "the connection, before the request has left or before its answer is there"
    RESTART = "of the relay"
    WITHDRAWAL = "by a submitter"
    MIDNIGHT = "the day turns"
    COLLEAGUE = "does something meanwhile"


BREAKS = (Kind.KILLED, Kind.CUT, Kind.RESTART)


@dataclass
class Mischief:
    """One event, after so many points at which it could have come. which: left to the kind."""

    kind: Kind
    points: int
    which: int
    is_done: bool = False

    def strikes(self) -> bool:
        self.points -= 1
        is_now = self.points < 0 and not self.is_done
        self.is_done = self.is_done or is_now
        return is_now


# Each command runs in a task of its own, so two desks at once have each their own.
current: contextvars.ContextVar[Mischief | None] = contextvars.ContextVar("mischief", default=None)


def fsync(_descriptor: int) -> None:
    """Stand for os.fsync, which the desk calls around each file that it puts in its place."""
    mischief = current.get()
    if mischief and mischief.kind is Kind.KILLED and mischief.strikes():
        raise Killed


@dataclass(frozen=True)
class Exchange:
    """A request as it was sent, and what came back."""

    signer: str
    method: str
    path: str
    body: bytes
    headers: dict[str, str]
    status: int
    answer: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.answer)

    @property
    def decision(self) -> Decision:
        return Decision.parse(json.loads(self.body)["statement"])


class WatchedClient(DeskClient):
    """The desk's client; each exchange is shown to `watch` before the command hears of it."""

    def __init__(
        self,
        relay: str,
        identity: SigningIdentity,
        watch: Callable[["WatchedClient", Exchange], None],
        befall: Callable[[Mischief], Awaitable[None]],
    ) -> None:
        super().__init__(relay, identity)
        self._watch, self._befall = watch, befall
        self.handout: Any = None  # what the last lease was answered
        self.missing: set[str] = set()  # envelopes that were no longer there
        self.said: Any = None  # to a verdict: status, already
        self.nonce_of = 0  # which start of the relay has issued the nonce in hand

    async def _send(
        self, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        await self._strike()
        status, answer = await super()._send(method, path, body, headers)
        sent = Exchange(self._signer, method, path, body, headers, status, answer)
        try:
            self._watch(self, sent)
        except (LookupError, TypeError, ValueError) as error:  # the client would swallow it
            raise AssertionError(sent) from error
        await self._strike()
        return status, answer

    async def _strike(self) -> None:
        mischief = current.get()
        if mischief is None or not mischief.strikes():
            return
        if mischief.kind is Kind.KILLED:
            raise Killed
        if mischief.kind is Kind.CUT:
            raise aiohttp.ClientConnectionError
        token = current.set(None)
        try:
            await self._befall(mischief)
        finally:
            current.reset(token)
