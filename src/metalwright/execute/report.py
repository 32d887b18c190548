"""What one cycle did, for the log and for the tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from metalwright.model.frozen import FrozenDict


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleReport:
    """The counts of one cycle, and its events as short sentences, in order.

    `waiting` are the operations that could not begin, or not go on for lack of a start token,
    `waiting_for` why, by reason.
    `effects` were handed to drivers, `running` are the operations that hold slots afterwards.
    """

    created: int = 0
    admitted: int = 0
    effects: int = 0
    finished: int = 0
    failed: int = 0
    retried: int = 0
    cancelled: int = 0
    superseded: int = 0
    waiting: int = 0
    running: int = 0
    waiting_for: Mapping[str, int] = field(default_factory=FrozenDict)
    events: tuple[str, ...] = ()


class Tally:
    """A report in the making."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.waiting_for: Counter[str] = Counter()
        self.events: list[str] = []

    def count(self, what: str, event: str) -> None:
        """Count one `what` (a count of `CycleReport`) and tell of it."""
        self.counts[what] += 1
        self.events.append(event)

    def say(self, event: str) -> None:
        """Tell of something that is not counted."""
        self.events.append(event)

    def report(self, running: int) -> CycleReport:
        """The finished report."""
        return CycleReport(
            **self.counts,
            waiting=self.waiting_for.total(),
            running=running,
            waiting_for=FrozenDict(sorted(self.waiting_for.items())),
            events=tuple(self.events),
        )
