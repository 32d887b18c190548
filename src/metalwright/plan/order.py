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
from metalwright.model.waiting import Answer, Room, Waiting


def sort_actions(actions: Iterable[Action]) -> list[Action]:
    """The highest priority first, then by name."""
    return sorted(actions, key=lambda action: (-action.priority, natural(action.node)))


def forecast(
    actions: list[Action],
    progress: list[InProgress],
    memory: Memory,
    inventory: Inventory,
    at: datetime,
) -> tuple[list[Action], tuple[LimitUse, ...]]:
    """The actions with `starts_now`, and the limits that they meet.

    They queue up with the operations that wait already, in the order of admission; the ledger alone
    decides in the end, this only tells what it would decide now.
    """
    operations = [
        operation
        for line in progress
        if (operation := memory.nodes[line.node].operation) is not None
        and line.fate is Fate.CONTINUE
    ]
    pending = [one for one in operations if one.state is OperationState.PENDING]
    waiting = [*_new(actions, inventory, at), *_queued(pending, inventory)]
    met = {scope for one in waiting for scope in one.scopes}
    limits = _limits(inventory, chain(memory.slots, met))
    starting = _starting(waiting, operations, inventory, at, Room(limits=limits, held=memory.slots))
    forecasted = [
        replace(action, starts_now=True) if action.node in starting else action
        for action in actions
    ]
    uses = tuple(
        LimitUse(scope=scope, limit=limits[scope], held=memory.slots.get(scope, 0))
        for scope in sorted(limits, key=natural)
    )
    return forecasted, uses


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


def _queued(pending: Iterable[Operation], inventory: Inventory) -> Iterator[Waiting]:
    for operation in pending:
        retry = is_retry(operation)
        yield Waiting(
            key=operation.id,
            node=operation.node,
            pool=operation.pool,
            priority=operation.priority,
            since=operation.not_before or operation.created_at,
            scopes=scopes_of(inventory, demand_of(operation, retry=retry)),
            retry=retry,
        )


def _starting(
    waiting: list[Waiting],
    operations: Iterable[Operation],
    inventory: Inventory,
    at: datetime,
    room: Room,
) -> set[str]:
    """The nodes that would get their slots now."""
    if not waiting:
        return set()
    running = Counter(one.pool for one in operations if one.state is OperationState.RUNNING)
    weights = {name: pool.spec.limits.weight for name, pool in inventory.pools.items()}
    granted = Queue(waiting).admit(
        replace(room, pool_held=running, weights=weights),
        inventory.rules.ageing,
        at,
        lambda one: Answer.GRANTED if one.since <= at else Answer.NOT_NOW,
    )
    return {one.node for one in granted}


def _limits(inventory: Inventory, scopes: Iterable[str]) -> Mapping[str, int]:
    """The limits of these scopes and of the fleet; what is not limited any more is left out."""
    found: dict[str, int] = {}
    for scope in ("fleet", *scopes):
        try:
            found[scope] = limit_of(inventory, scope)
        except KeyError:
            continue  # slots held from before the limit was taken out of git
    return found
