"""Whom the relay seals to: by the day, by the campaign's signature, and never an older list."""

import datetime as dt
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from relay.config import ServerConfig
from relay.errors import Closed
from relay.intake.box import make_scrubber
from relay.intake.door import Cause, Door
from relay.intake.doorkeeper import Doorkeeper
from relay.queue.store import SealedQueue
from relay.seal.keys import HybridIdentity
from relay.seal.lists import RecipientList, parse_recipients
from relay.seal.signing import SigningIdentity

DAY, ONE = dt.date(2026, 11, 25), dt.timedelta(days=1)
SIGNING, STRANGER = SigningIdentity.generate(), SigningIdentity.generate()
OLD, NEW = (HybridIdentity.generate().recipient().encoded for _ in range(2))


class House:
    """A relay's recipients, its queue and its door, with the day in the test's hand."""

    def __init__(self, folder: Path, queue: SealedQueue) -> None:
        self.folder = folder
        self.queue = queue

    @property
    def path(self) -> Path:
        return self.folder / "recipients.txt"

    def put(self, text: str, number: int = 1, by: SigningIdentity = SIGNING) -> str:
        signed = parse_recipients(self.path, text).signed(by, campaign="spring", number=number)
        self.path.write_text(signed.encode())
        return signed.encode()

    async def look(self, today: dt.date = DAY) -> list[str]:
        """Whom a photo of that day is sealed to; what the door is closed for instead."""
        await self.keeper.go_round(today=today)
        try:
            return [recipient.encoded for recipient in self.door.require_open().recipients]
        except Closed:
            return self.door.causes

    def start(self, **settings: object) -> None:
        self.door = Door()
        lines = ['campaign = "spring"', "min_free_bytes = 0"]
        lines += [f'{name} = "{value}"' for name, value in settings.items()]
        (self.folder / "relay.toml").write_text("\n".join(lines))
        config = ServerConfig.load(self.folder / "relay.toml")
        scrubber = make_scrubber(config)
        self.keeper = Doorkeeper(config=config, door=self.door, queue=self.queue, scrubber=scrubber)


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with SealedQueue.open(tmp_path / "queue.sqlite", max_queued=5) as queue:
        found = House(tmp_path, queue)
        found.start(campaign_signer=SIGNING.signer().encoded)
        yield found


async def test_the_current_recipients_change_with_the_day_and_none_closes_the_door(
    house: House,
) -> None:
    house.put(f"{OLD} until 2026-11-25\n{NEW} from 2026-11-26 until 2026-12-24")
    assert await house.look(DAY) == [OLD]
    assert await house.look(DAY + ONE) == [NEW]
    assert await house.look(DAY + 29 * ONE) == [NEW]
    (why,) = await house.look(DAY + 30 * ONE)
    assert "no recipient is valid today: line 3 is valid until 2026-11-25, line 4" in why
    house.put(f"{NEW} until 2027-12-24", number=2)
    assert await house.look(DAY + 30 * ONE) == [NEW]


async def test_the_operator_is_warned_fourteen_days_ahead_once_a_day(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.put(f"{OLD} until 2026-11-25\n{NEW} from 2026-11-26 until 2026-12-24")
    with caplog.at_level(logging.WARNING, "relay"):
        for days in range(16):
            await house.look(DAY + days * ONE)
        assert caplog.messages == []
        for _ in range(3):
            await house.look(DAY + 16 * ONE)
        await house.look(DAY + 17 * ONE)
    words = "from 2026-12-25 on no recipient is valid, and the form closes."
    assert [words in message for message in caplog.messages] == [True, True]


async def test_that_one_of_two_ends_is_a_warning_too(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.put(f"{OLD} until 2026-11-30\n{NEW}")
    with caplog.at_level(logging.WARNING, "relay"):
        assert await house.look() == [OLD, NEW]
    assert "from 2026-12-01 on only 1 of 2 recipients are valid" in caplog.text


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_a_list_that_was_rolled_back_or_swapped_is_noticed(
    house: House, *, is_restarted: bool
) -> None:
    older = house.put(f"{OLD}\n{NEW}", number=6)
    assert await house.look() == [OLD, NEW]
    newest = house.put(NEW, number=7)
    assert await house.look() == [NEW]

    async def spoil(text: str) -> str:
        house.path.write_text(text)
        if is_restarted:
            house.start(campaign_signer=SIGNING.signer().encoded)
        (why,) = await house.look()
        assert house.door.is_closed_for(Cause.RECIPIENTS)
        return why

    assert "number 6 is older" in await spoil(older)
    assert "changed since it was signed" in await spoil(newest.replace(NEW, f"{OLD}\n{NEW}"))
    assert "nobody has signed it" in await spoil(f"{OLD}\n")
    house.put(OLD, number=7)
    assert "another under the same number" in await spoil(house.path.read_text())
    house.put(OLD, number=8, by=STRANGER)
    assert "signed by another key" in await spoil(house.path.read_text())
    house.path.write_text(newest)
    assert await house.look() == [NEW]


async def test_a_list_that_breaks_us_leaves_nobody_sealed_to(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.put(OLD)
    assert await house.look() == [OLD]
    house.put(NEW, number=2)
    monkeypatch.setattr(RecipientList, "thins_on", None)  # whatever it is
    (why,) = await house.look()
    assert why == f"{house.path}: can't be used"
    assert await house.look() == [why]


async def test_each_signer_has_numbers_of_her_own(house: House) -> None:
    house.put(OLD, number=5)
    assert await house.look() == [OLD]
    house.start(campaign_signer=STRANGER.signer().encoded)
    house.put(NEW, number=1, by=STRANGER)
    assert await house.look() == [NEW]
    house.start(campaign_signer=SIGNING.signer().encoded)
    house.put(OLD, number=3)
    assert "number 3 is older" in (await house.look())[0]


async def test_a_list_for_another_campaign_is_refused(house: House) -> None:
    signed = parse_recipients(house.path, OLD).signed(SIGNING, campaign="summer", number=1)
    house.path.write_text(signed.encode())
    assert "signed for another campaign than spring" in (await house.look())[0]


async def test_without_a_campaign_signer_a_plain_list_will_do(tmp_path: Path) -> None:
    async with SealedQueue.open(tmp_path / "queue.sqlite", max_queued=5) as queue:
        house = House(tmp_path, queue)
        house.start()
        house.path.write_text(OLD)
        assert await house.look() == [OLD]
