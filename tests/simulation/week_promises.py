"""The bounds on waiting that the product tells, and whether they were kept."""

from __future__ import annotations

from datetime import datetime, timedelta

from week_figures import Figures

from metalwright.execute.bound import admitted_by, hold_s
from metalwright.model.inventory import Inventory
from metalwright.model.limits import demand_of, is_retry, limit_of, scopes_of
from metalwright.model.operation import Operation
from metalwright.model.waiting import Waiting

EVERY = timedelta(minutes=20)
"""How often the bounds of those that have joined are worked out; what starts before has none."""


class Promises:
    """By when everything that waits has its slots at the latest, as it is said when it joins."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._waiting: dict[str, Waiting] = {}
        self._limits: dict[str, int] = {}
        self._bounds: dict[str, datetime] = {}
        self._joined: list[str] = []
        self._next: datetime | None = None

    def join(self, operation: Operation, inventory: Inventory) -> tuple[str, ...]:
        """It waits from now on; the scopes that it waits for."""
        retry = is_retry(operation)
        scopes = scopes_of(inventory, demand_of(operation, retry=retry))
        for scope in scopes:
            if scope not in self._limits:
                self._limits[scope] = limit_of(inventory, scope)
        self._waiting[operation.id] = Waiting(
            key=operation.id,
            node=operation.node,
            pool=operation.pool,
            priority=operation.priority,
            since=operation.not_before or operation.created_at,
            scopes=scopes,
            retry=retry,
        )
        self._joined.append(operation.id)
        return scopes

    def at_once(self) -> None:
        """Many have joined: say it now."""
        self._next = None

    def leave(self, key: str) -> Waiting:
        """It does not wait any more, and got no slot."""
        self._bounds.pop(key, None)
        return self._waiting.pop(key)

    def make(self, inventory: Inventory, now: datetime) -> None:
        """Note the bounds of all that joined since, now and then."""
        if not self._joined or (self._next is not None and now < self._next):
            return
        self._next = now + EVERY
        hold = timedelta(seconds=hold_s(inventory, ()))
        ageing = inventory.rules.ageing
        found = admitted_by(self._waiting.values(), self._limits, ageing, now, hold)
        self._bounds |= {key: found[key] for key in self._joined if key in found}
        self._joined.clear()

    def admitted(self, key: str, now: datetime, counts: bool) -> Waiting:
        """It has its slots. With `counts` it could have started all the time."""
        by = self._bounds.get(key)
        waiting = self.leave(key)
        figures = self._figures
        figures.waits += 1
        waited_s = (now - waiting.since).total_seconds()
        figures.longest_wait_s = max(figures.longest_wait_s, waited_s)
        if by is not None and counts:
            figures.bound += 1
            figures.late += now > by
            figures.least_slack_s = min(figures.least_slack_s, (by - now).total_seconds())
        return waiting
