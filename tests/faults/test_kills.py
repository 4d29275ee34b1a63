"""A relay that is killed again and again while people send, and one with several at its queue."""

from pathlib import Path

from tests.conftest import FULL
from tests.faults.kills import run

_KILLS = 300 if FULL else 8


def test_killed_at_random_moments_under_load_it_keeps_what_it_acknowledged_once(
    campaign: Path,
) -> None:
    account, killer = run(campaign, times=_KILLS, seed=1)
    table = account.table(kills=_KILLS, halves=killer.halves)
    print(table)  # noqa: T201 - the figures, with pytest -s
    assert account.is_clean, table
    assert account.acknowledged
    assert account.withdrawn
