"""PostgreSQL goes and comes back under load, and one of two relays that share it is killed."""

import signal
from pathlib import Path

from tests.conftest import FULL, Service, free_port, wait_until
from tests.faults.account import settle
from tests.faults.kills import on_postgres, run_two, senders
from tests.faults.ledger import read_ledgers
from tests.postgres import Postgres


def test_stopped_or_killed_under_load_it_closes_the_form_and_loses_nothing(campaign: Path) -> None:
    ways = [
        lambda server: server.stop(signal.SIGINT),
        lambda server: server.stop(signal.SIGQUIT),
        Postgres.kill,
    ]
    service, ledger = Service(campaign, free_port()), campaign.parent / "ledger"

    def count_served() -> int:
        return len(read_ledgers([ledger]).receipts)

    with on_postgres(campaign, cover_write_s=1) as server:
        service.start()
        try:
            before = service.token()
            with senders([service.port], ledger, seed=5) as sending:
                wait_until(ledger.exists)
                for go in ways:
                    served = count_served()
                    wait_until(lambda served=served: count_served() > served, seconds=60)  # type: ignore[misc]
                    go(server)
                    wait_until(lambda: service.get("/en/").status == 503)
                    assert (
                        "We are closed for the moment. Nothing was sent."
                        in service.get("/en/").text
                    )
                    refused = service.send(b"x", token=before, message="kept")
                    assert refused.status == 503
                    assert "kept" in refused.text
                    server.start()
                    wait_until(lambda: service.get("/en/").status == 200, seconds=60)
                sending.terminate()
                assert sending.wait(timeout=180) == 0
            account = settle(service, read_ledgers([ledger]))
        finally:
            service.kill()
    assert account.is_clean, account.table()
    log = service.log_file.read_text()
    assert log.count("the database can't be reached or written") >= len(ways)
    assert log.count("open again") == len(ways)


def test_of_two_relays_that_share_it_one_is_killed_under_load_and_nothing_is_lost(
    campaign: Path,
) -> None:
    kills = 100 if FULL else 4
    account = run_two(campaign, times=kills, seed=4)
    print(account.table(kills=kills))  # noqa: T201 - the figures, with pytest -s
    assert account.is_clean, account.table()
    assert account.acknowledged
    assert account.withdrawn
