"""A running relay without HTTP: everything opened from one configuration, and its housekeeping."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from relay.campaign import PublicTexts
from relay.config import ServerConfig
from relay.errors import ConfigInvalid, NotKept
from relay.intake.calendar import OFF_DAYS, Calendar
from relay.intake.door import Cause, Door
from relay.intake.doorkeeper import ROUND_S, Doorkeeper
from relay.intake.drafts import Drafts
from relay.intake.events import events, report
from relay.intake.handover import Handover, NonceBook
from relay.intake.pending import WORDS_BYTES
from relay.intake.storage import open_queue
from relay.intake.submit import Intake, utc_today
from relay.queue.store import SealedQueue
from relay.receipt import ServiceKeys
from relay.scrub.supervisor import Scrubber
from relay.seal.envelope import photo_budget
from relay.seal.lists import load_staff

_BOX_LOOK_S = 1
_DRAFT_LOOK_S = 5
_DEMO_OFF_DAYS = 36_500  # a throwaway campaign is served again, whatever lies in it
_NOT_OURS = (
    "the queue of another campaign, or of another key than {key}: receipts would be void. Put the "
    "right one there (docs/operator.md says what to do where it is lost)"
)
_NOT_TURNED = (
    "the day was not turned: the disk is full, or another program has the queue. What is due is "
    "still there; it is tried again"
)


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What the listeners serve. public: what the campaign says to everybody."""

    intake: Intake
    handover: Handover
    public: PublicTexts


@asynccontextmanager
async def open_runtime(config: ServerConfig, box: Scrubber) -> AsyncIterator[Runtime]:
    """Open queue and box, keep house while inside, close both on leaving.

    box: not entered yet.

    Raises:
        ConfigInvalid: the service key, the staff file, the campaign's public words or the queue
            can't be used. A recipients file that can't be used only closes the form: receipts go
            on working.
    """
    public = PublicTexts()
    if config.campaign_file is not None:
        public = PublicTexts.load(config.campaign_file)
    keys = ServiceKeys.load(config.service_key)
    staff = load_staff(config.staff)
    async with (
        open_queue(config) as queue,
        box as scrubber,
    ):
        if not await queue.belongs_to(keys.name_owner(config.campaign)):
            raise ConfigInvalid(f"{queue.where}: {_NOT_OURS.format(key=config.service_key)}")
        if scrubber.missing:
            events.warning("accepted to be missing: %s", ", ".join(scrubber.missing))
        door = Door()
        doorkeeper = Doorkeeper(config=config, door=door, queue=queue, scrubber=scrubber)
        off_days = _DEMO_OFF_DAYS if config.demo else OFF_DAYS
        calendar = Calendar(clock=utc_today, off_days=off_days)
        await doorkeeper.go_round(today=calendar.today())
        drafts = Drafts(size=photo_budget(config.envelope_bytes) + WORDS_BYTES)
        intake = Intake(
            door=door,
            keys=keys,
            queue=queue,
            scrubber=scrubber,
            drafts=drafts,
            today=calendar.today,
        )
        handover = Handover(
            campaign=config.campaign,
            door=door,
            keys=keys,
            staff=staff,
            queue=queue,
            nonces=NonceBook(),
            same_day_pull=config.same_day_pull,
            today=calendar.today,
        )
        days = _Days(queue, door, config, calendar)
        housekeeping = [
            asyncio.create_task(work)
            for work in (
                _keep_house(days, queue, doorkeeper, config),
                _keep_door(doorkeeper, config, calendar),
                _keep_box(doorkeeper),
                _keep_drafts(drafts),
            )
        ]
        try:
            yield Runtime(intake=intake, handover=handover, public=public)
        finally:
            for task in housekeeping:
                task.cancel()
            await asyncio.gather(*housekeeping, return_exceptions=True)
            drafts.forget_all()


async def _keep_house(
    days: "_Days", queue: SealedQueue, doorkeeper: Doorkeeper, config: ServerConfig
) -> None:
    """Turn the day once a day; between, write cover at fixed intervals. Nothing ends it."""
    while True:
        await _outlive(days.turn)
        await _outlive(partial(doorkeeper.keep, queue.write_cover))
        await asyncio.sleep(config.cover_write_s)


async def _keep_door(doorkeeper: Doorkeeper, config: ServerConfig, calendar: Calendar) -> None:
    """Look after what an open form needs. Nothing ends it."""
    while True:
        await asyncio.sleep(min(ROUND_S, config.cover_write_s))
        await _outlive(lambda: doorkeeper.go_round(today=calendar.today()))


async def _keep_box(doorkeeper: Doorkeeper) -> None:
    """Have a box that has died started again, though nobody sends anything. Nothing ends it."""
    while True:
        await asyncio.sleep(_BOX_LOOK_S)
        await _outlive(doorkeeper.look_at_box)


async def _keep_drafts(drafts: Drafts) -> None:
    """Forget drafts whose time has run out, though nobody asks for them."""
    while True:
        await asyncio.sleep(_DRAFT_LOOK_S)
        drafts.expire()


async def _outlive(work: Callable[[], Awaitable[None]]) -> None:
    try:
        await work()
    except Exception as error:  # noqa: BLE001 - housekeeping must not die unseen
        report(error)


class _Days:
    """Turns the day. Where it can't be done, that is said once, and at the door while it lasts."""

    def __init__(
        self, queue: SealedQueue, door: Door, config: ServerConfig, calendar: Calendar
    ) -> None:
        self._queue = queue
        self._door = door
        self._config = config
        self._calendar = calendar

    async def turn(self) -> None:
        """Turn the day where that is still to be done, and where the clock is believed."""
        try:
            turned = await self._queue.last_turned()
            self._calendar.learn(turned)
            if self._is_believed():
                await self._turn_from(turned)
        except NotKept:
            if self._door.late != _NOT_TURNED:
                events.error(_NOT_TURNED)
            self._door.late = _NOT_TURNED
        else:
            lag = self._calendar.find_lag()
            if lag not in {None, self._door.late}:
                events.warning("%s", lag)
            self._door.late = lag

    def _is_believed(self) -> bool:
        """Whether the clock is not ahead; the form is closed as long as it is."""
        jump = self._calendar.find_jump()
        if jump is None:
            self._door.mend(Cause.CLOCK)
        else:
            self._door.close(Cause.CLOCK, jump)
        return jump is None

    async def _turn_from(self, turned: dt.date | None) -> None:
        today = self._calendar.today()
        if turned == today:
            return
        await self._queue.turn_day(
            today=today,
            retain_days=self._config.retain_days,
            lease_days=self._config.lease_days,
            is_again=False,
        )
        self._calendar.advance(today)
