"""What engine steps are compared with: unfinished operations, slots, brakes, as the tables have
them.

Read once, and from then on changed along with what is written, as long as nobody else writes: every
change of the ledger moves its generation on, and whoever finds another one than he left reads all
of this again. It never outlives a transaction that was rolled back.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Connection, or_, select

from metalwright.model.operation import Operation, OperationState
from metalwright.store.schema import nodes, operations, slots


class Entry(NamedTuple):
    """What the store has of an unfinished operation, beside its body."""

    node: str
    state: OperationState
    fence: int


class Scope:
    """The slots of one scope: who holds which number, and which number is the lowest free one."""

    def __init__(self) -> None:
        self.holders: dict[int, str] = {}
        self._freed: list[int] = []
        self._next = 0

    def __len__(self) -> int:
        return len(self.holders)

    def load(self, number: int, operation_id: str) -> None:
        """Put a holder in its place; numbers come in growing order."""
        for free in range(self._next, number):
            heapq.heappush(self._freed, free)
        self._next = number + 1
        self.holders[number] = operation_id

    def take(self, operation_id: str) -> int:
        """Give the lowest free number."""
        if self._freed:
            number = heapq.heappop(self._freed)
        else:
            number = self._next
            self._next += 1
        self.holders[number] = operation_id
        return number

    def give_back(self, number: int) -> None:
        """Free a number."""
        del self.holders[number]
        heapq.heappush(self._freed, number)


@dataclass(slots=True)
class Standing:
    """The tables as of `generation`.

    `failures` has the nodes that have some, `braked` the nodes that are held here, `cancelled` the
    operations that somebody asked to end.
    """

    generation: int
    operations: dict[str, Entry] = field(default_factory=dict)
    busy: set[str] = field(default_factory=set)
    scopes: dict[str, Scope] = field(default_factory=dict)
    held: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    braked: set[str] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)

    def put(self, operation: Operation) -> None:
        """Take an operation over as it is now."""
        if operation.unfinished:
            entry = Entry(operation.node, operation.state, operation.fence)
            self.operations[operation.id] = entry
            self.busy.add(operation.node)
        else:
            self.operations.pop(operation.id, None)
            self.busy.discard(operation.node)
            self.cancelled.discard(operation.id)

    def count(self, scope: str) -> int:
        """How many slots of a scope are held."""
        found = self.scopes.get(scope)
        return len(found) if found is not None else 0

    def take(self, scope: str, operation_id: str) -> int:
        """Take the lowest free slot of a scope."""
        number = self.scopes.setdefault(scope, Scope()).take(operation_id)
        self.held.setdefault(operation_id, []).append((scope, number))
        return number

    def release(self, operation_id: str) -> list[tuple[str, int]]:
        """Free the slots of an operation; which they were."""
        freed = self.held.pop(operation_id, [])
        for scope, number in freed:
            self.scopes[scope].give_back(number)
            if not self.scopes[scope].holders:
                del self.scopes[scope]
        return freed


def load_standing(connection: Connection, generation: int) -> Standing:
    """Read it, under the writers' lock."""
    standing = Standing(generation)
    for key, node, state, fence, cancelled_by in connection.execute(_UNFINISHED):
        standing.operations[key] = Entry(node, OperationState(state), fence)
        standing.busy.add(node)
        if cancelled_by is not None:
            standing.cancelled.add(key)
    for scope, number, operation_id in connection.execute(_SLOTS):
        standing.scopes.setdefault(scope, Scope()).load(number, operation_id)
        standing.held.setdefault(operation_id, []).append((scope, number))
    for node, failures, hold_at in connection.execute(_TROUBLED):
        if failures:
            standing.failures[node] = failures
        if hold_at is not None:
            standing.braked.add(node)
    return standing


_UNFINISHED = select(
    operations.c.id,
    operations.c.node,
    operations.c.state,
    operations.c.fence,
    operations.c.cancelled_by,
).where(operations.c.busy_node.is_not(None))
_SLOTS = select(slots.c.scope, slots.c.slot_no, slots.c.operation_id).order_by(
    slots.c.scope, slots.c.slot_no
)
_TROUBLED = select(nodes.c.node, nodes.c.failures, nodes.c.hold_at).where(
    or_(nodes.c.failures > 0, nodes.c.hold_at.is_not(None))
)
