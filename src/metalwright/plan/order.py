"""The order of a plan's actions, and a forecast of those that start at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import chain

from metalwright.model.admission import Queue
from metalwright.model.inventory import Inventory
from metalwright.model.limits import demand_of, is_retry, limit_of, scopes_of
from metalwright.model.natural import natural
from metalwright.model.operation import Memory, Operation, OperationState
from metalwright.model.plan import Action, Fate, InProgress, LimitUse
from metalwright.model.policy import Ageing
from metalwright.model.waiting import FLEET, Answer, Room, Waiting
from metalwright.plan.context import Ground
from metalwright.plan.delta import changed

Going = Iterable[InProgress]


def sort_actions(actions: Iterable[Action]) -> list[Action]:
    """The highest priority first, then by name."""
    return sorted(actions, key=lambda action: (-action.priority, natural(action.node)))


class Forecaster:
    """Tells which actions would start at once, and keeps what waits in its queue until next time.

    Everything that waits is asked about in each plan, and hardly anything of it changes.
    """

    def __init__(self) -> None:
        self._queue, self._waiting = Queue(), dict[str, Waiting]()

    def forecast(
        self, actions: list[Action], pending: list[Waiting], ground: Ground, going: Going
    ) -> tuple[list[Action], tuple[LimitUse, ...]]:
        """The actions with `starts_now`, and the limits that they meet.

        They queue up with the `pending` operations, which wait already, in the order of admission;
        the ledger alone decides in the end, this only tells what it would decide now. `going` are
        the lines of operations that go on.
        """
        inventory, held, at = ground.desired.inventory, ground.memory.slots, ground.desired.at
        waiting = [*_new(actions, inventory, at), *pending]
        met = {scope for scopes in {one.scopes for one in waiting} for scope in scopes}
        limits = _limits(inventory, chain(held, met))
        starting: set[str] = set()
        if actions and held.get(FLEET, 0) < limits[FLEET]:
            running = Counter(_pools_running(going, ground.memory))
            weights = {name: pool.spec.limits.weight for name, pool in inventory.pools.items()}
            room = Room(limits=limits, held=held, pool_held=running, weights=weights)
            starting = self._starting(waiting, room, inventory.rules.ageing, at)
        forecasted = [
            replace(action, starts_now=True) if action.node in starting else action
            for action in actions
        ]
        uses = tuple(
            LimitUse(scope=scope, limit=limits[scope], held=held.get(scope, 0))
            for scope in sorted(limits, key=natural)
        )
        return forecasted, uses

    def _starting(
        self, waiting: list[Waiting], room: Room, ageing: Ageing, at: datetime
    ) -> set[str]:
        """The nodes that would get their slots now."""
        queue, known = self._queue, self._waiting
        now = {one.key: one for one in waiting}
        self._queue, self._waiting = Queue(), {}  # nothing is trusted after an exception
        outdated = changed(known, now)
        if len(outdated) > len(now) // 2:
            queue = Queue(waiting)
        else:
            for key in outdated:
                queue.discard(key)
                if key in now:
                    queue.add(now[key])
        granted = queue.admit(
            room, ageing, at, lambda one: Answer.GRANTED if one.since <= at else Answer.NOT_NOW
        )
        for one in granted:
            del now[one.key]
        self._queue, self._waiting = queue, now
        return {one.node for one in granted}


def _pools_running(going: Going, memory: Memory) -> Iterator[str]:
    for line in going:
        operation = memory.nodes[line.node].operation
        if (
            line.fate is Fate.CONTINUE
            and operation is not None
            and operation.state is OperationState.RUNNING
        ):
            yield operation.pool


def _new(actions: Iterable[Action], inventory: Inventory, at: datetime) -> Iterator[Waiting]:
    """The actions, as the operations that they are going to be."""
    for action in actions:
        yield Waiting(
            key=f"new/{action.node}",
            node=action.node,
            pool=action.pool,
            priority=action.priority,
            since=at,
            scopes=scopes_of(inventory, demand_of(action)),
        )


def waiting_of(operation: Operation, inventory: Inventory) -> Waiting:
    """What a pending operation waits for slots as."""
    retry = is_retry(operation)
    return Waiting(
        key=operation.id,
        node=operation.node,
        pool=operation.pool,
        priority=operation.priority,
        since=operation.not_before or operation.created_at,
        scopes=scopes_of(inventory, demand_of(operation, retry=retry)),
        retry=retry,
    )


def _limits(inventory: Inventory, scopes: Iterable[str]) -> Mapping[str, int]:
    """The limits of these scopes and of the fleet; what is not limited any more is left out."""
    found: dict[str, int] = {}
    for scope in (FLEET, *scopes):
        try:
            found[scope] = limit_of(inventory, scope)
        except KeyError:
            continue  # slots held from before the limit was taken out of git
    return found
