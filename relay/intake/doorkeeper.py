"""Looks after what an open form needs; closes the form without it and opens it when it is back."""

import datetime as dt
from collections.abc import Awaitable, Callable

from relay.config import ServerConfig
from relay.errors import ConfigInvalid, NotKept
from relay.intake.door import Campaign, Cause, Door
from relay.intake.events import events, report
from relay.intake.recipients import load_today, remember_list
from relay.intake.storage import least_free_bytes
from relay.queue.store import SealedQueue
from relay.scrub.supervisor import Scrubber

ROUND_S = 10  # between two looks at the files; their changes are seen this late


class Doorkeeper:
    """The one who closes and opens, apart from a photo that could not be kept."""

    def __init__(
        self, *, config: ServerConfig, door: Door, queue: SealedQueue, scrubber: Scrubber
    ) -> None:
        """Know what to look at. Nothing has been looked at yet."""
        self._config = config
        self._door = door
        self._queue = queue
        self._scrubber = scrubber
        self._read: object = None  # what the recipients' file was when it was last read

    async def go_round(self, *, today: dt.date) -> None:
        """Look at the recipients, the disk and the queue."""
        await self._look_at_recipients(today)
        self._look_at_disk()
        await self._look_at_queue()

    async def look_at_box(self) -> None:
        """Start a box again that has died, unless it failed a moment ago."""
        await self._scrubber.revive()
        why = self._scrubber.why_broken
        if why is None:
            self._door.mend(Cause.BOX)
        else:
            self._door.close(Cause.BOX, why)

    async def keep(self, write: Callable[[], Awaitable[None]]) -> None:
        """Write to the queue; close where it can't be written."""
        try:
            await write()
        except NotKept:
            self._door.close(Cause.QUEUE, self._queue.find_fault() or self._queue.cant_write)

    async def _look_at_recipients(self, today: dt.date) -> None:
        """Read the recipients again where the file has changed, and on a new day.

        The day: what is valid for a time begins and ends with it. Who ends soon is said each day.
        """
        found = (today, _identify(self._config))
        if found == self._read:
            return
        self._read = None
        self._door.campaign = None  # an older list is nobody's wish, whatever goes wrong now
        try:
            campaign = await self._load_campaign(today)
        except ConfigInvalid as error:
            self._door.close(Cause.RECIPIENTS, error.message)
            self._read = found
        except NotKept:  # comes again with the next round
            self._door.close(
                Cause.RECIPIENTS, f"{self._config.recipients}: {self._queue.cant_write}"
            )
        except Exception as error:  # noqa: BLE001 - a list that breaks us must not keep us open
            report(error)
            self._door.close(Cause.RECIPIENTS, f"{self._config.recipients}: can't be used")
            self._read = found
        else:
            self._door.campaign = campaign
            self._door.mend(Cause.RECIPIENTS)
            self._read = found

    async def _load_campaign(self, today: dt.date) -> Campaign:
        config = self._config
        found = load_today(config, today)
        if config.campaign_signer:
            await remember_list(found.listed, config.campaign_signer, self._queue)
        if found.warning is not None:
            events.warning("%s", found.warning)
        return Campaign(
            name=config.campaign,
            listed=found.listed,
            recipients=found.recipients,
            envelope_bytes=config.envelope_bytes,
            recipient_slots=config.recipient_slots,
        )

    def _look_at_disk(self) -> None:
        is_closed = self._door.is_closed_for(Cause.DISK)
        try:
            free = self._queue.free_bytes()
        except OSError:
            return  # the folder is gone: the queue's own look says so
        if free is not None and free < least_free_bytes(self._config, is_closed=is_closed):
            words = f"{self._config.database.parent}: less than min_free_bytes is free on this disk"
            self._door.close(Cause.DISK, words)
        else:
            self._door.mend(Cause.DISK)

    async def _look_at_queue(self) -> None:
        fault = self._queue.find_fault()
        if fault is None:
            try:
                if self._door.is_closed_for(Cause.QUEUE):  # looking would not tell
                    await self._queue.try_room(self._config.envelope_bytes)
                else:
                    await self._queue.count()
            except NotKept:
                fault = self._queue.cant_write
        if fault is None:
            self._door.mend(Cause.QUEUE)
        else:
            self._door.close(Cause.QUEUE, fault)


def _identify(config: ServerConfig) -> tuple[int, ...] | None:
    try:
        found = config.recipients.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
