"""The line of those that wait for slots, kept in the order of admission from cycle to cycle.

Only what could be started stands in it: a machine that does not answer, or is held back by a pause
between attempts, neither gets a slot nor claims one. The order itself is `model.admission`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

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
        self._known: dict[str, tuple[Operation, Observation | None]] = {}
        self._limits: dict[str, int] = {}
        self._pools: set[str] = set()
        self._retries: dict[str, datetime] = {}
        self.unanswered: dict[str, Waiting] = {}

    def refresh(
        self, pending: Mapping[str, Operation], observations: Mapping[str, Observation]
    ) -> None:
        """Let those stand in line that are pending, and answer."""
        known = self._known
        for name, operation in pending.items():
            observation = observations.get(name)
            before = known.get(name)
            if before is None or before[0] is not operation or before[1] is not observation:
                if before is not None and before[0] is not operation:
                    self._leave(name)
                known[name] = (operation, observation)
                self._place(operation, observation)
        if len(known) > len(pending):
            for name in known.keys() - pending.keys():
                self._leave(name)

    def waiting_again(self, now: datetime) -> list[datetime]:
        """The ends of the pauses between two attempts that are not over yet."""
        return [until for until in self._retries.values() if until > now]

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
        limits = {scope: limit - uncounted.get(scope, 0) for scope, limit in self._limits.items()}
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

    def _place(self, operation: Operation, observation: Observation | None) -> None:
        """In the line, or beside it."""
        name, inventory = operation.node, self._inventory
        reading = observation.reading if observation is not None else None
        answers = reading is not None and reading.power is not Power.UNKNOWN
        waiting = self.unanswered.get(name)
        if answers and waiting is None and operation.id in self._queue:
            return
        if name not in inventory.nodes:
            return
        if waiting is None:
            retry = is_retry(operation)
            waiting = Waiting(
                key=operation.id,
                node=name,
                pool=operation.pool,
                priority=operation.priority,
                since=operation.not_before or operation.created_at,
                scopes=scopes_of(inventory, demand_of(operation, retry=retry)),
                retry=retry,
            )
            for scope in waiting.scopes:
                if scope not in self._limits:
                    self._limits[scope] = limit_of(inventory, scope)
            self._pools.add(operation.pool)
            if operation.not_before is not None:
                self._retries[name] = operation.not_before
        if answers:
            self.unanswered.pop(name, None)
            self._queue.add(waiting)
        else:
            self.unanswered[name] = waiting
            self._queue.discard(operation.id)

    def _leave(self, name: str) -> None:
        known = self._known.pop(name, None)
        if known is not None:
            self._queue.discard(known[0].id)
        self.unanswered.pop(name, None)
        self._retries.pop(name, None)
