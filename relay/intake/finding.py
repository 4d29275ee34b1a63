"""What a check finds: one line for an operator."""

import enum
from dataclasses import dataclass


class State(enum.StrEnum):
    """How much a finding matters."""

    OK = "ok"
    ADVICE = "advice"  # better mended
    ACCEPTED = "accepted"  # missing, and the configuration says so
    REFUSED = "refused"  # danger: to be mended before anybody sends anything


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the check. The words say how to mend it, where it is to be mended."""

    name: str
    state: State
    words: str
    blocks: bool = False  # `relay serve` does not start

    @property
    def is_danger(self) -> bool:
        """Whether it is to be mended before anybody sends anything."""
        return self.state is State.REFUSED


def ok(name: str, words: str) -> Finding:
    """Return a finding that asks for nothing."""
    return Finding(name=name, state=State.OK, words=words)


def advice(name: str, words: str) -> Finding:
    """Return a finding that had better be mended."""
    return Finding(name=name, state=State.ADVICE, words=words)


def refused(name: str, words: str, *, blocks: bool = False) -> Finding:
    """Return a danger."""
    return Finding(name=name, state=State.REFUSED, words=words, blocks=blocks)
