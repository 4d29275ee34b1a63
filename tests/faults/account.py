"""Hold what senders were told against what the relay has and what the desk opens."""

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from relay.config import DeskConfig
from relay.seal.envelope import open_envelope
from relay.seal.files import load_identities
from tests.conftest import Service
from tests.faults.ledger import Told
from tests.faults.senders import message_of

_IS_HERE = "is here, locked"


@dataclass
class Account:
    """The figures of one run, and everything that is wrong."""

    acknowledged: int = 0
    found: int = 0
    lost: int = 0
    twice: int = 0
    withdrawn: int = 0
    came_back: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        figures = (self.lost, self.twice, self.came_back, self.acknowledged - self.found)
        return not any(figures) and not self.faults

    def table(self, **more: int) -> str:
        """The figures under their names, with `more` of them before."""
        figures = more | {
            "acknowledged": self.acknowledged,
            "found": self.found,
            "lost": self.lost,
            "twice": self.twice,
            "withdrawn": self.withdrawn,
            "came back": self.came_back,
        }
        widths = {name: max(len(name), len(str(figure))) for name, figure in figures.items()}
        lines = (
            "  ".join(str(cell).rjust(widths[name]) for name, cell in row.items())
            for row in ({name: name for name in figures}, figures)
        )
        return "\n".join([*lines, *(f"fault: {fault}" for fault in self.faults)])


def settle(service: Service, told: Told) -> Account:
    """Look everything up at a relay that serves. acknowledged: what was not taken back."""
    account = Account(
        acknowledged=len(told.kept), withdrawn=len(told.withdrawn), faults=list(told.faults)
    )
    pulled = pull(service)
    account.lost = sum(pulled[message_of(number)] == 0 for number in told.kept)
    account.twice = sum(count > 1 for count in pulled.values())
    account.came_back = sum(pulled[message_of(number)] > 0 for number in told.withdrawn)
    unknown = set(pulled) - {message_of(number) for number in told.tried}
    undecided = (told.tried - set(told.receipts)) | (told.withdrawing - told.withdrawn)
    account.faults += [f"nobody sent {message}" for message in sorted(unknown)]
    account.faults += [f"{number} was not brought to its end" for number in sorted(undecided)]
    for number in told.kept:
        page = service.post_receipt("receipt", told.receipts[number])
        account.found += _IS_HERE in page.text
    for number in told.withdrawn:
        page = service.post_receipt("receipt", told.receipts[number])
        account.came_back += page.status != 404
    if (log := service.desk("log", "--verify")).code != 0:
        account.faults.append(f"the log does not verify: {log.err}")
    return account


def pull(service: Service) -> Counter[str]:
    """How often each message is in what the desk pulls, opened with the demo's identity."""
    folder = service.folder.parent / "sealed"
    done = service.desk("pull", "--to", folder)
    assert done.code in (0, 10), done.err
    desk = DeskConfig.load(service.folder / "desk.toml")
    assert desk.passphrase_file is not None
    identities = load_identities(desk.identity, desk.passphrase_file.read_text().strip())
    opened = (open_envelope(path.read_bytes(), identities) for path in folder.glob("*.age"))
    return Counter(submission.message for submission, _ in opened)


def is_sound(database: Path) -> bool:
    """Whether SQLite finds the file whole. Nobody serves it meanwhile."""
    with closing(sqlite3.connect(database)) as connection:
        return bool(connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok")
