"""The start-rate tokens of one cycle: who may be powered on now, and who when.

What is taken is written in the same transaction as the intent that it was taken for.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from metalwright.execute.rates import Granted, WaitUntil, take
from metalwright.model.documents import Node
from metalwright.model.policy import PolicySpec


class Starts:
    """The buckets as the store has them and as this cycle leaves them; `changed` are the latter."""

    def __init__(self, rules: PolicySpec, starts: Mapping[str, datetime], now: datetime) -> None:
        self._rates, self._now = rules.start_rates, now
        self._starts = starts
        self.changed: dict[str, datetime] = {}

    def free_at(self, node: Node) -> datetime | None:
        """When every bucket of the node has a token; `None` where no rate applies to it."""
        if not self._rates:
            return None
        found = self._ask(node)
        if isinstance(found, WaitUntil):
            self.changed.update(found.starts)
            return found.at
        return self._now if found.starts else None

    def take(self, node: Node) -> None:
        """Draw a token from every bucket of the node."""
        if self._rates:
            self.changed.update(self._ask(node).starts)

    def _ask(self, node: Node) -> Granted | WaitUntil:
        starts = {**self._starts, **self.changed} if self.changed else self._starts
        return take(self._rates, node.metadata.labels, starts, self._now)
