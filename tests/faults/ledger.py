"""What senders were told, on the disk before they go on: one line for each thing that happened."""

import enum
import json
import os
from dataclasses import dataclass, field
from pathlib import Path


class Event(enum.StrEnum):
    TRIED = "tried"
    ACKNOWLEDGED = "acknowledged"
    WITHDRAWING = "withdrawing"  # the answer may be lost: only WITHDRAWN is a promise
    WITHDRAWN = "withdrawn"
    FAULT = "fault"


class Ledger:
    """Written by whoever sends. A line is synced before anybody relies on it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def write(self, event: Event, number: int, words: str = "") -> None:
        self._file.write(json.dumps([event, number, words]) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())


@dataclass
class Told:
    """What the senders know in the end, by the numbers of their submissions."""

    tried: set[int] = field(default_factory=set)
    receipts: dict[int, str] = field(default_factory=dict)
    withdrawing: set[int] = field(default_factory=set)
    withdrawn: set[int] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    @property
    def kept(self) -> set[int]:
        """What must be there."""
        return set(self.receipts) - self.withdrawing

    def note(self, event: Event, number: int, words: str) -> None:
        match event:
            case Event.TRIED:
                self.tried.add(number)
            case Event.ACKNOWLEDGED:
                if self.receipts.setdefault(number, words) != words:
                    self.faults.append(f"{number} has two receipts")
            case Event.WITHDRAWING:
                self.withdrawing.add(number)
            case Event.WITHDRAWN:
                self.withdrawn.add(number)
            case Event.FAULT:
                self.faults.append(f"{number}: {words}")


def read_ledgers(paths: list[Path]) -> Told:
    told = Told()
    for path in paths:
        for line in path.read_text("utf-8").splitlines():
            event, number, words = json.loads(line)
            told.note(Event(event), number, words)
    return told
