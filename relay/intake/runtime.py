"""A running relay without HTTP: everything opened from one configuration, and its housekeeping."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial

from relay import memory
from relay.config import ServerConfig
from relay.errors import ConfigInvalid, NotKept
from relay.intake.events import events, report
from relay.intake.handover import Handover, NonceBook
from relay.intake.submit import Campaign, Intake, utc_today
from relay.queue.store import SealedQueue
from relay.receipt import ServiceKeys
from relay.scrub.supervisor import Scrubber, accept
from relay.seal.envelope import photo_budget
from relay.seal.files import check_primitives, load_recipients, load_staff

_CANT_WRITE = "the queue can't be written: disk full, or another program has it"


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
            file that can't be used only closes the door: receipts go on working.
    """
    keys = ServiceKeys.load(config.service_key)
    staff = load_staff(config.staff)
    async with (
        SealedQueue.open(config.database, max_queued=config.max_queued) as queue,
        make_scrubber(config) as scrubber,
    ):
        if scrubber.missing:
            events.warning("accepted to be missing: %s", ", ".join(scrubber.missing))
        intake = Intake(campaign=_open_door(config), keys=keys, queue=queue, scrubber=scrubber)
        handover = Handover(
            campaign=config.campaign,
            staff=staff,
            queue=queue,
            nonces=NonceBook(),
            same_day_pull=config.same_day_pull,
        )
        housekeeping = asyncio.create_task(_keep_house(queue, config))
        try:
            yield Runtime(intake=intake, handover=handover)
        finally:
            housekeeping.cancel()
            with suppress(asyncio.CancelledError):
                await housekeeping


def make_scrubber(config: ServerConfig) -> Scrubber:
    """Return the box that a configuration asks for, not started yet."""
    return Scrubber(
        max_jpeg_bytes=photo_budget(config.envelope_bytes),
        accepted=accept(name for name in config.accept_missing if name != memory.NAME),
        heic=config.heic,
    )


def _open_door(config: ServerConfig) -> Campaign | None:
    try:
        check_primitives()
        recipients = load_recipients(
            config.recipients, slots=config.recipient_slots, allow_classic=config.allow_classic
        )
    except ConfigInvalid as error:
        events.error("closed: %s", error.message)
        return None
    return Campaign(
        name=config.campaign,
        recipients=recipients,
        envelope_bytes=config.envelope_bytes,
        recipient_slots=config.recipient_slots,
    )


async def _keep_house(queue: SealedQueue, config: ServerConfig) -> None:
    """Turn the day once a day; between, write cover at fixed intervals. Nothing ends it."""
    while True:
        for work in (partial(_turn_day, queue, config), queue.write_cover):
            try:
                await work()
            except NotKept:
                events.error(_CANT_WRITE)
            except Exception as error:  # noqa: BLE001 - housekeeping must not die unseen
                report(error)
        await asyncio.sleep(config.cover_write_s)


async def _turn_day(queue: SealedQueue, config: ServerConfig) -> None:
    today = utc_today()
    if await queue.last_turned() != today:
        await queue.turn_day(
            today=today, retain_days=config.retain_days, lease_days=config.lease_days
        )
