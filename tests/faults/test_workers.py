"""Who opens photos is killed while people send: the box, and the children that it forks."""

import os
import random
import signal
from contextlib import suppress

from tests.conftest import Service, wait_until
from tests.faults.account import settle
from tests.faults.kills import senders
from tests.faults.ledger import read_ledgers
from tests.web.test_service import processes_below

_KILLS = 6
_AT_ONCE = 2  # photos in the box
_SENDERS = 4  # when more than these were answered, the box has been whole since the last kill


def test_a_worker_killed_under_load_costs_what_it_had_in_hand_and_no_more(
    service: Service,
) -> None:
    assert service.process is not None
    relay, rng = service.process.pid, random.Random(3)
    idle = len(processes_below(relay))
    ledger = service.folder.parent / "ledger"

    def count_served() -> int:
        return len(read_ledgers([ledger]).receipts) if ledger.exists() else 0

    def find_victims() -> list[int]:
        """Whoever is there while a photo is being opened."""
        found = processes_below(relay)
        return sorted(found) if len(found) > idle else []

    with senders([service.port], ledger, seed=3) as sending:
        for _ in range(_KILLS):
            served = count_served()
            wait_until(lambda served=served: count_served() > served + _SENDERS, seconds=60)  # type: ignore[misc]
            wait_until(find_victims, seconds=60)
            with suppress(ProcessLookupError, IndexError):  # it has just ended by itself
                os.kill(rng.choice(find_victims()), signal.SIGKILL)
        sending.terminate()
        assert sending.wait(timeout=180) == 0
    failed = [line for line in service.log_file.read_text().splitlines() if "failed: " in line]
    assert len(failed) <= _KILLS * _AT_ONCE, failed
    assert all("ScrubFailed" in line or "BoxBroken" in line for line in failed), failed
    account = settle(service, read_ledgers([ledger]))
    assert account.is_clean, account.table()
    assert account.acknowledged
    assert service.get("/en/").status == 200
