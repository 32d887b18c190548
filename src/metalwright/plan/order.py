"""The order in which actions are admitted, and a forecast of those that start at once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from itertools import chain

from metalwright.model.inventory import Inventory
from metalwright.model.limits import demand_of, fits, is_retry, limit_of, scopes_of
from metalwright.model.operation import Memory, OperationState
from metalwright.model.plan import Action, Fate, InProgress, LimitUse

_NUMBERS = re.compile(r"(\d+)")
NATURAL_CACHE_MAX = 65_536


@lru_cache(maxsize=NATURAL_CACHE_MAX)
def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key in which `n2` comes before `n10`; names never compare equal unless they are."""
    return tuple(
        (0, int(part), part) if part.isdecimal() else (1, 0, part) for part in _NUMBERS.split(name)
    )


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

    Operations that wait already are served by the same order and come first within a priority; the
    ledger alone decides in the end, this only tells what it would decide now.
    """
    held = dict(memory.slots)
    waiting = _waiting(progress, memory, inventory, at)
    candidates = [(-action.priority, 1, index) for index, action in enumerate(actions)]
    candidates += [(-priority, 0, index) for index, (priority, _) in enumerate(waiting)]
    scopes = [scopes_of(inventory, demand_of(action)) for action in actions]
    met = chain(memory.slots, *scopes, *(wanted for _, wanted in waiting))
    limits = _limits(inventory, set(met))
    starting: set[int] = set()
    for _, is_action, index in sorted(candidates):
        wanted = scopes[index] if is_action else waiting[index][1]
        if fits(wanted, limits, held):
            held |= {scope: held.get(scope, 0) + 1 for scope in wanted}
            if is_action:
                starting.add(index)
    forecasted = [
        replace(action, starts_now=True) if index in starting else action
        for index, action in enumerate(actions)
    ]
    uses = tuple(
        LimitUse(scope=scope, limit=limits[scope], held=memory.slots.get(scope, 0))
        for scope in sorted(limits, key=natural)
    )
    return forecasted, uses


def _waiting(
    progress: Iterable[InProgress], memory: Memory, inventory: Inventory, at: datetime
) -> list[tuple[int, tuple[str, ...]]]:
    """Priority and scopes of the operations that wait for a slot now."""
    found = []
    for line in progress:
        operation = memory.nodes[line.node].operation
        if operation is None or operation.state is not OperationState.PENDING:
            continue
        if line.fate is Fate.CONTINUE and (line.not_before is None or line.not_before <= at):
            demand = demand_of(operation, retry=is_retry(operation))
            found.append((operation.priority, scopes_of(inventory, demand)))
    return found


def _limits(inventory: Inventory, scopes: Iterable[str]) -> dict[str, int]:
    """The limits of these scopes and of the fleet; what is not limited any more is left out."""
    found = {}
    for scope in ("fleet", *scopes):
        try:
            found[scope] = limit_of(inventory, scope)
        except KeyError:
            continue  # slots held from before the limit was taken out of git
    return found
