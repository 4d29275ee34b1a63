"""Post what is ready: exactly once where a network allows it, at most once elsewhere.

Each step is written into the journal before it is taken. A command killed at any moment is repeated
by calling it again: what may have been sent is asked for, or shown as unknown, never sent twice.
"""

import asyncio
import datetime as dt
import fcntl
import hashlib
import os
import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from relay.desk.client import DeskClient
from relay.desk.decide import Decided, hand_over, make_decision, refuse_lost, sign
from relay.desk.eligible import Ready, refuse_withdrawn
from relay.desk.journal import CONFIRMED, JournalFile
from relay.desk.networks import Network, Picture, Placed, Post
from relay.desk.opening import Examined, examine_opened, remember_look
from relay.desk.posts import Record, Stage, is_over
from relay.desk.pull import ask_again
from relay.desk.timetable import LATE, draw, now, said, shuffled, wait_until
from relay.desk.visible import words_for
from relay.errors import (
    Corrupt,
    OutcomeUnknown,
    PictureGone,
    PostFailed,
    PostRefused,
    RelayError,
    RelayUnreachable,
    StillVisible,
)
from relay.queue.states import Verdict
from relay.scrub.supervisor import Scrubber
from relay.seal.signing import SigningIdentity

_T = TypeVar("_T")
_LOCK_NAME = ".desk-post.lock"
_AT_ONCE = 8  # requests
_TRIES = 6
_PAUSE_S, _MOMENT_PAUSE_S = 60.0, 2.0  # after a first failure; each further one doubles it
# Pictures are brought there so long before the instant: networks forget those that no post shows.
_PREPARE = dt.timedelta(minutes=15)
_ASK = dt.timedelta(minutes=1)  # who takes a photo back later than this before it, is too late
_STALE = dt.timedelta(seconds=90)  # then the relay is asked anew
_ASK_S = 20.0  # for an answer
_ASK_AGAIN_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one post; account: empty where the whole photo was held back."""

    id: str
    account: str
    stage: Stage
    url: str = ""
    why: str = ""
    late: dt.timedelta = dt.timedelta()


@dataclass(frozen=True, kw_only=True)
class Told:
    """Whom to tell: each outcome, and sentences for a person."""

    outcome: Callable[[Outcome], None]
    say: Callable[[str], None]


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep a second `post` of this desk from starting: it would send what this one sends.

    Raises:
        RelayError: there is one.
    """
    lock = os.open(folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise RelayError("Another `relay desk post` of this desk is under way.") from None
    finally:
        os.close(lock)


@dataclass(frozen=True, kw_only=True)
class Relay:
    """The relay, as this desk speaks to it."""

    client: DeskClient
    journal_file: JournalFile
    identity: SigningIdentity
    after_restore: bool = False  # also what it has lost, and may have been taken back

    async def declare(self, submission_id: str, verdict: Verdict) -> Decided:
        """Sign and hand over what became of a submission.

        Raises: as `make_decision` and `hand_over`.
        """
        decision = make_decision(self.journal_file.read(), submission_id, verdict, None)
        return await hand_over(
            self.client,
            self.journal_file,
            sign(self.identity, decision),
            after_restore=self.after_restore,
        )


class Poster:
    """One run of `post`."""

    def __init__(
        self, relay: Relay, networks: Mapping[str, Network], scrubber: Scrubber, told: Told
    ) -> None:
        """Post to `networks`, by the name of the account."""
        self._relay = relay
        self._journal_file = relay.journal_file
        self._networks = networks
        self._scrubber = scrubber
        self._told = told
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="post")
        self._pictures: dict[str, Picture] = {}
        self._shows: dict[str, str] = {}  # their digests
        self._asked = dt.datetime.min.replace(tzinfo=dt.UTC)  # the relay

    # -- what was begun before -----------------------------------------------------------------

    def settle(self) -> None:
        """Give up what an account that is at most once may have got without an answer."""
        with self._journal_file.update() as journal:
            for records in journal.posts.values():
                for account, record in records.items():
                    network = self._networks.get(account)
                    if record.stage is Stage.SENDING and network and not network.is_exactly_once:
                        record.stage = Stage.UNKNOWN

    def plan(
        self, ready: Sequence[Ready], instants: Iterable[dt.datetime], *, is_moment: bool
    ) -> None:
        """Write down when each is to be posted, and that they are one batch.

        What may have been sent keeps its instant.
        """
        batch = secrets.token_hex(8)
        with self._journal_file.update() as journal:
            for one, instant in zip(ready, instants, strict=True):
                records = journal.posts.setdefault(one.id, {})
                for account in one.accounts:
                    at = instant.isoformat()
                    record = records.setdefault(account, Record(at=at))
                    record.is_moment, record.batch = is_moment, batch
                    if record.stage is not Stage.SENDING:
                        record.stage, record.at, record.why = Stage.PLANNED, at, ""

    # -- in a random order, after random pauses ------------------------------------------------

    async def post_slowly(self, ready: Sequence[Ready], pause_s: tuple[float, float]) -> None:
        """Post each after a pause. What the laptop slept through is planned anew, and said."""
        waiting = shuffled(ready)
        self.plan(waiting, draw(len(waiting), now(), pause_s), is_moment=False)
        tasks = []
        while waiting:
            late = await wait_until(self._record(waiting[0]).instant)
            if late > LATE and not self._record(waiting[0]).is_begun:
                self._told.say(
                    f"{len(waiting)} waited for an instant that this computer slept through "
                    f"({said(late)} ago). They are planned anew."
                )
                self.plan(waiting, draw(len(waiting), now(), pause_s), is_moment=False)
                continue
            tasks.append(asyncio.create_task(self._post_one(waiting.pop(0))))
        await _end_all(tasks)
        await self.report()  # not one by one: that would tell the relay which post is whose

    async def _post_one(self, one: Ready) -> None:
        try:
            await self._ask_relay([one])
            await self._prepare_picture(one)
        except RelayError as error:
            return self._hold(one, error)
        for account in shuffled(one.accounts):
            await self._try(one, account, _PAUSE_S)
        del self._pictures[one.id]
        return None

    # -- all at one instant --------------------------------------------------------------------

    async def post_together(
        self, ready: Sequence[Ready], at: dt.datetime, *, may_be_late: bool
    ) -> None:
        """Bring every picture there before, and post all of them at `at`.

        Raises:
            RelayError: the instant was missed, or the relay did not say in time who has taken
                hers back. Nothing was posted in this run.
        """
        if not may_be_late:
            _refuse_late(now() - at)
        self.plan(ready, [at] * len(ready), is_moment=True)
        await wait_until(at - _PREPARE)
        prepared = await self._prepare_all(ready)
        await wait_until(at - _ASK)
        prepared = await self._ask_in_time(prepared, at)
        late = await wait_until(at)
        if not may_be_late:
            _refuse_late(late)
        jobs = [(one, account) for one in prepared for account in one.accounts]
        await _end_all(self._try(*job, _MOMENT_PAUSE_S) for job in jobs)
        await self.report()

    async def _prepare_all(self, ready: Sequence[Ready]) -> list[Ready]:
        """Look at each photo and bring it to its accounts; return those that may be posted."""
        prepared = []
        for one in ready:
            try:
                await self._prepare_picture(one)
            except RelayError as error:
                self._hold(one, error)
                continue
            prepared.append(one)
        jobs = [(one, account) for one in prepared for account in one.accounts]
        await _end_all(self._bring(*job) for job in jobs)
        return prepared

    async def _bring(self, one: Ready, account: str) -> None:
        """Bring a picture to an account; where that fails, it is tried once more at the instant."""
        try:
            await self._prepare(one, account)
        except (PostFailed, PostRefused) as error:
            self._told.say(
                f"{one.id}: {account}: {error.message} It is tried again at the instant."
            )

    async def _ask_in_time(self, ready: Sequence[Ready], at: dt.datetime) -> list[Ready]:
        """Ask the relay until it answers; not later than the instant."""
        while True:
            try:
                return await self._ask_relay(ready)
            except RelayUnreachable:
                if now() + dt.timedelta(seconds=_ASK_AGAIN_S) > at:
                    raise RelayUnreachable(
                        "The relay did not say who has taken hers back: nothing was posted. Try "
                        "again with --late."
                    ) from None
            await asyncio.sleep(_ASK_AGAIN_S)

    # -- one photo -----------------------------------------------------------------------------

    async def _ask_relay(self, ready: Sequence[Ready]) -> list[Ready]:
        """Return those that nobody has taken back, as the relay says now.

        Of one alone, the reason is raised.

        Raises:
            RelayError: no answer, or none that can be trusted.
        """
        try:
            asking = ask_again(self._relay.client, self._journal_file)
            heard = await asyncio.wait_for(asking, _ASK_S)
        except TimeoutError:
            raise RelayUnreachable from None
        self._asked = now()
        standing, journal = [], self._journal_file.read()
        for one in ready:
            try:
                refuse_withdrawn(journal, one.id)
                if not self._relay.after_restore:
                    refuse_lost(journal, one.id)
                if one.id in heard.posted_elsewhere and not one.is_public:
                    raise RelayError("a colleague has posted it.")  # noqa: TRY301 - held below
            except RelayError as error:
                if len(ready) == 1:
                    raise
                self._hold(one, error)
            else:
                standing.append(one)
        return standing

    async def _prepare_picture(self, one: Ready) -> None:
        """See that the relay still holds it as released; redraw and look at it in the box again.

        The relay forgets what is too old, and to its sender it is gone then.

        Raises:
            StillVisible: something can be seen that was not there when it was released.
            RelayError: it is not held, or can't be read.
        """
        await self._relay.declare(one.id, Verdict.RELEASE)
        try:
            examined = await examine_opened(one.folder, self._journal_file.read(), self._scrubber)
        except OSError as error:
            raise RelayError(f"{one.folder}: {error.strerror}. Open it again.") from None
        if examined.photo is None:
            raise Corrupt("There is no photo in it.")
        self._refuse_visible(examined)
        picture = Picture(jpeg=examined.photo.jpeg, alt=one.captions.alt, size=examined.photo.size)
        self._pictures[one.id], self._shows[one.id] = picture, _digest(picture)

    def _refuse_visible(self, examined: Examined) -> None:
        if not examined.visible or examined.id in self._journal_file.read().reasons:
            return
        with self._journal_file.update() as journal:
            remember_look(journal, examined, is_sealed=False)
        raise StillVisible(
            f"{words_for(examined.visible)} Cover it: relay desk cover {examined.id}, or say why "
            f'it may be seen: relay desk release {examined.id} --visible-because "…"'
        )

    def _hold(self, one: Ready, error: RelayError) -> None:
        self._told.outcome(Outcome(id=one.id, account="", stage=Stage.PLANNED, why=error.message))

    # -- one post ------------------------------------------------------------------------------

    def _record(self, one: Ready, account: str = "") -> Record:
        return self._journal_file.read().posts[one.id][account or one.accounts[0]]

    def _post(self, one: Ready, account: str, record: Record) -> Post:
        return Post(
            text=one.captions.texts[self._networks[account].name],
            language=one.submission.language,
            picture=self._pictures[one.id],
            created=record.instant,
        )

    def _write(self, one: Ready, account: str, **changes: object) -> Record:
        with self._journal_file.update() as journal:
            record = replace(journal.posts[one.id][account], **changes)  # type: ignore[arg-type]
            journal.posts[one.id][account] = record
        return record

    async def _prepare(self, one: Ready, account: str) -> Record:
        """Bring the picture there once, and write down what the network says of it.

        Where it was covered, or described otherwise, since it was brought there, it goes anew.
        """
        record, shows = self._record(one, account), self._shows[one.id]
        if not record.prepared or record.shows != shows:
            network, post = self._networks[account], self._post(one, account, record)
            brought = await self._in_thread(lambda: network.prepare(post, record.key))
            record = self._write(one, account, prepared=brought, shows=shows)
        return record

    async def _find(self, one: Ready, account: str) -> Placed | None:
        """Return where an earlier picture of it stands already, if one was sent."""
        record, network = self._record(one, account), self._networks[account]
        if record.stage is not Stage.SENDING or record.shows == self._shows[one.id]:
            return None  # what is the same is asked for by sending it again
        post = self._post(one, account, record)
        found = await self._in_thread(lambda: network.find(post, record.key, record.prepared))
        if found is None:
            self._write(one, account, stage=Stage.PLANNED, prepared={})
        return found

    async def _try(self, one: Ready, account: str, pause_s: float) -> None:
        """Post, and where that fails, again after a pause that grows; say what became of it."""
        for left in reversed(range(_TRIES)):
            try:
                if now() - self._asked > _STALE:
                    await self._ask_relay([one])
                placed = await self._place(one, account)
            except PostFailed as error:
                pause = max(pause_s, error.retry_after_s or 0)
                again = f"Again in {said(dt.timedelta(seconds=pause))}." if left else "Post again."
                self._told.say(f"{one.id}: {account}: {error.message} {again}")
                if left:
                    await asyncio.sleep(pause)
                pause_s *= 2
            except RelayError as error:
                return self._end(one, account, error.message)
            else:
                stood = {"stage": Stage.PLACED, "uri": placed.uri, "url": placed.url}
                return self._end(one, account, **stood)
        return self._end(one, account, PostFailed.message)

    async def _place(self, one: Ready, account: str) -> Placed:
        """Post once.

        Raises:
            PostFailed: not posted, or where the network is exactly once, perhaps.
            PostRefused: not posted. OutcomeUnknown: perhaps posted.
        """
        if found := await self._find(one, account):
            return found
        network, record = self._networks[account], await self._prepare(one, account)
        was_sent = record.stage is Stage.SENDING
        record = self._write(one, account, stage=Stage.SENDING)
        post = self._post(one, account, record)
        try:
            return await self._in_thread(lambda: network.publish(post, record.key, record.prepared))
        except PictureGone:
            self._write(one, account, prepared={})
            raise
        except PostFailed:
            if not network.is_exactly_once:
                self._write(one, account, stage=Stage.PLANNED)
            raise
        except PostRefused:
            if not was_sent:  # else it may stand there; the same is asked for again
                self._write(one, account, stage=Stage.REFUSED, prepared={})
            raise
        except OutcomeUnknown:
            self._write(one, account, stage=Stage.UNKNOWN)
            raise

    def _end(self, one: Ready, account: str, why: str = "", **changes: object) -> None:
        record = self._write(one, account, why=why, **changes)
        late = now() - record.instant
        self._told.outcome(
            Outcome(
                id=one.id, account=account, stage=record.stage, url=record.url, why=why, late=late
            )
        )

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    # -- afterwards ----------------------------------------------------------------------------

    async def report(self) -> None:
        """Tell the relay what is posted, and never where. It then destroys the envelope.

        Where it does not answer, the next run tells it.
        """
        journal = self._journal_file.read()
        for submission_id, records in journal.posts.items():
            said = journal.verdicts.later.get(submission_id, {}).get(Verdict.POST)
            if said == CONFIRMED or submission_id in journal.gone or not is_over(records.values()):
                continue
            try:
                await self._relay.declare(submission_id, Verdict.POST)
            except RelayError as error:
                self._told.say(f"{submission_id}: posted, and the relay not told: {error.message}")


async def _end_all(works: Iterable[Awaitable[None]]) -> None:
    """Wait for all of them; what went wrong in one stops none of the others, and is raised then."""
    for outcome in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


def _digest(picture: Picture) -> str:
    """Return a name for what a network was brought."""
    return hashlib.sha256(picture.alt.encode() + b"\0" + picture.jpeg).hexdigest()


def _refuse_late(late: dt.timedelta) -> None:
    if late > LATE:
        raise RelayError(
            f"The instant was {said(late)} ago: nothing was posted now. To post all the same, add "
            "--late. To give it up: relay desk post --cancel"
        )
