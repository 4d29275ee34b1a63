"""A running relay without HTTP: everything opened from one configuration, and its housekeeping."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from relay import memory
from relay.config import ServerConfig
from relay.intake.door import Door
from relay.intake.doorkeeper import ROUND_S, Doorkeeper
from relay.intake.events import events, report
from relay.intake.handover import Handover, NonceBook
from relay.intake.submit import Intake, utc_today
from relay.queue.store import SealedQueue
from relay.receipt import ServiceKeys
from relay.scrub.supervisor import Scrubber, accept
from relay.seal.envelope import photo_budget
from relay.seal.files import load_staff

_BOX_LOOK_S = 1


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What the listeners serve."""

    intake: Intake
    handover: Handover


@asynccontextmanager
async def open_runtime(config: ServerConfig) -> AsyncIterator[Runtime]:
    """Open queue and box, keep house while inside, close both on leaving.

    Raises:
        ConfigInvalid: the service key, the staff file or the queue can't be used. A recipients
            file that can't be used only closes the form: receipts go on working.
    """
    keys = ServiceKeys.load(config.service_key)
    staff = load_staff(config.staff)
    async with (
        SealedQueue.open(config.database, max_queued=config.max_queued) as queue,
        make_scrubber(config) as scrubber,
    ):
        if scrubber.missing:
            events.warning("accepted to be missing: %s", ", ".join(scrubber.missing))
        door = Door()
        doorkeeper = Doorkeeper(config=config, door=door, queue=queue, scrubber=scrubber)
        await doorkeeper.go_round(today=utc_today())
        intake = Intake(door=door, keys=keys, queue=queue, scrubber=scrubber)
        handover = Handover(
            campaign=config.campaign,
            staff=staff,
            queue=queue,
            nonces=NonceBook(),
            same_day_pull=config.same_day_pull,
        )
        housekeeping = [
            asyncio.create_task(work)
            for work in (
                _keep_house(queue, doorkeeper, config),
                _keep_door(doorkeeper, config),
                _keep_box(doorkeeper),
            )
        ]
        try:
            yield Runtime(intake=intake, handover=handover)
        finally:
            for task in housekeeping:
                task.cancel()
            await asyncio.gather(*housekeeping, return_exceptions=True)


def make_scrubber(config: ServerConfig) -> Scrubber:
    """Return the box that a configuration asks for, not started yet."""
    return Scrubber(
        max_jpeg_bytes=photo_budget(config.envelope_bytes),
        accepted=accept(name for name in config.accept_missing if name != memory.NAME),
        heic=config.heic,
    )


async def _keep_house(queue: SealedQueue, doorkeeper: Doorkeeper, config: ServerConfig) -> None:
    """Turn the day once a day; between, write cover at fixed intervals. Nothing ends it."""
    while True:
        await _outlive(partial(_turn_day, queue, config))
        await _outlive(partial(doorkeeper.keep, queue.write_cover))
        await asyncio.sleep(config.cover_write_s)


async def _keep_door(doorkeeper: Doorkeeper, config: ServerConfig) -> None:
    """Look after what an open form needs. Nothing ends it."""
    while True:
        await asyncio.sleep(min(ROUND_S, config.cover_write_s))
        await _outlive(lambda: doorkeeper.go_round(today=utc_today()))


async def _keep_box(doorkeeper: Doorkeeper) -> None:
    """Have a box that has died started again, though nobody sends anything. Nothing ends it."""
    while True:
        await asyncio.sleep(_BOX_LOOK_S)
        await _outlive(doorkeeper.look_at_box)


async def _outlive(work: Callable[[], Awaitable[None]]) -> None:
    try:
        await work()
    except Exception as error:  # noqa: BLE001 - housekeeping must not die unseen
        report(error)


async def _turn_day(queue: SealedQueue, config: ServerConfig) -> None:
    today = utc_today()
    if await queue.last_turned() != today:
        await queue.turn_day(
            today=today, retain_days=config.retain_days, lease_days=config.lease_days
        )
