"""The line of those that wait for slots, kept in the order of admission from cycle to cycle.

Only what could be started stands in it: a machine that does not answer, or is held back by a pause
between attempts, neither gets a slot nor claims one. The order itself is `model.admission`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from metalwright.execute.stages import wakes
from metalwright.model.admission import Queue
from metalwright.model.inventory import Inventory
from metalwright.model.limits import demand_of, is_retry, limit_of, scopes_of
from metalwright.model.observed import Observation, Power
from metalwright.model.operation import Operation
from metalwright.model.waiting import Answer, Room, Waiting


class Line:
    """The pending operations of one revision's nodes."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._queue = Queue()
        self._waiting: dict[str, tuple[Operation, Waiting]] = {}
        self._limits: dict[str, int] = {}  # a scope comes to it, and never changes or goes
        self._room: dict[str, int] = {}
        self._lacking: dict[str, int] = {}
        self._pools: set[str] = set()
        self._pauses: dict[str, datetime] = {}
        self.unanswered: dict[str, Waiting] = {}

    def place(
        self, name: str, operation: Operation | None, observation: Observation | None
    ) -> None:
        """Put a node's pending operation in its place, or away when there is none any more."""
        standing = self._waiting.get(name)
        if operation is None or name not in self._inventory.nodes:
            self._leave(name)
            return
        if standing is None or standing[0] is not operation:
            self._leave(name)
            standing = self._waiting[name] = (operation, self._make(operation))
        waiting = standing[1]
        reading = observation.reading if observation is not None else None
        if reading is None or (reading.power is Power.UNKNOWN and not wakes(operation, reading)):
            self._queue.discard(waiting.key)
            self.unanswered[name] = waiting
        elif waiting.key not in self._queue:
            self.unanswered.pop(name, None)
            self._queue.add(waiting)

    def pauses(self, now: datetime) -> list[datetime]:
        """The ends of the pauses between two attempts that are not over yet."""
        return [until for until in self._pauses.values() if until > now]

    def admit(
        self,
        held: Mapping[str, int],
        uncounted: Mapping[str, int],
        pool_held: Mapping[str, int],
        now: datetime,
        grant: Callable[[Waiting, Mapping[str, int]], Answer],
    ) -> int:
        """Offer every free slot once, in order; how many were taken.

        `uncounted` are the slots that a scope lacks beside those `held`. `grant` is given the
        limits of the scopes of the one whose turn it is.
        """
        if not self._queue:
            return 0
        limits = self._left(uncounted)
        pools = self._inventory.pools
        weights = {pool: pools[pool].spec.limits.weight for pool in self._pools if pool in pools}
        granted = self._queue.admit(
            Room(limits=limits, held=held, pool_held=pool_held, weights=weights),
            self._inventory.rules.ageing,
            now,
            lambda waiting: grant(waiting, {scope: limits[scope] for scope in waiting.scopes}),
        )
        for waiting in granted:
            self._leave(waiting.node)
        return len(granted)

    def _left(self, uncounted: Mapping[str, int]) -> Mapping[str, int]:
        """The limits less what is not counted: the same mapping as long as both are the same."""
        lacking = {scope: count for scope, count in uncounted.items() if count}
        if lacking != self._lacking or len(self._room) != len(self._limits):
            self._lacking = lacking
            self._room = {
                scope: limit - lacking.get(scope, 0) for scope, limit in self._limits.items()
            }
        return self._room

    def could_start(
        self, held: Mapping[str, int], uncounted: Mapping[str, int], now: datetime
    ) -> Iterator[str]:
        """The nodes that there is a slot for by now, if only they answered."""
        for name, waiting in self.unanswered.items():
            if waiting.since <= now and all(
                held.get(scope, 0) < self._limits[scope] - uncounted.get(scope, 0)
                for scope in waiting.scopes
            ):
                yield name

    def _make(self, operation: Operation) -> Waiting:
        retry = is_retry(operation)
        demand = demand_of(operation, retry=retry)
        waiting = Waiting(
            key=operation.id,
            node=operation.node,
            pool=operation.pool,
            priority=operation.priority,
            since=operation.not_before or operation.created_at,
            scopes=scopes_of(self._inventory, demand),
            retry=retry,
        )
        for scope in waiting.scopes:
            if scope not in self._limits:
                self._limits[scope] = limit_of(self._inventory, scope)
        self._pools.add(operation.pool)
        if operation.not_before is not None:
            self._pauses[operation.node] = operation.not_before
        return waiting

    def _leave(self, name: str) -> None:
        standing = self._waiting.pop(name, None)
        if standing is not None:
            self._queue.discard(standing[1].key)
            self.unanswered.pop(name, None)
            self._pauses.pop(name, None)
