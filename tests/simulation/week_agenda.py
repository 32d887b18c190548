"""What happens when, in virtual time; of the looks at one operation only the last one asked for."""

from __future__ import annotations

from datetime import datetime
from heapq import heappush


class Agenda:
    """Events by their instants, and in the order in which they were noted."""

    def __init__(self) -> None:
        self.events: list[tuple[datetime, int, str, str]] = []
        self.woken_at: dict[str, datetime] = {}
        self._number = 0

    def at(self, when: datetime, kind: str, name: str = "") -> None:
        """Something happens then."""
        self._number += 1
        heappush(self.events, (when, self._number, kind, name))

    def wake(self, when: datetime, name: str) -> None:
        """Look at an operation then, and not before."""
        self.woken_at[name] = when
        self.at(when, "wake", name)
