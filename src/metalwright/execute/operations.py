"""The unfinished operations and the slots that they hold, kept from cycle to cycle.

A cycle costs what changed, not what waits: the memory is compared with the one before, node by node
and by identity, and only what differs is taken over. It never decides anything. After a transaction
that failed it is worthless, and a new one has to be made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from metalwright.execute.comparing import changed
from metalwright.execute.line import Line
from metalwright.execute.ports import Journal
from metalwright.model.checks import Check, Verdict
from metalwright.model.documents import Node
from metalwright.model.frozen import FrozenDict
from metalwright.model.inventory import Inventory
from metalwright.model.limits import demand_of, is_retry, scopes_of
from metalwright.model.observed import Observation
from metalwright.model.operation import Memory, Operation, OperationState

Gate = tuple[tuple[Check, ...], Mapping[str, Verdict]]
"""The checks of a machine that is validated, and the latest verdict of each."""

NO_GATE: Final[Gate] = ((), FrozenDict())
"""What a machine that is not validated has to pass."""


@dataclass(frozen=True, slots=True)
class Standstill:
    """A decision to wait, and all that it was made from: it holds while these are the same."""

    operation: Operation
    observation: Observation | None
    node: Node | None
    superseded: str
    gate: Gate
    why: str
    until: datetime | None

    def holds(
        self,
        operation: Operation,
        observation: Observation | None,
        node: Node | None,
        superseded: str,
        gate: Gate,
        now: datetime,
    ) -> bool:
        """Whether deciding anew would come to the same."""
        return (
            self.operation is operation
            and self.observation is observation
            and self.node is node
            and self.superseded == superseded
            and self.gate == gate
            and (self.until is None or now < self.until)
        )


class Operations:
    """By the name of the node: all, those that wait to be admitted, those that hold slots."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._touched: set[str] = set()
        self._moved: set[str] = set()
        self._observations: Mapping[str, Observation] = {}
        self._scopes: dict[str, tuple[str, ...]] = {}
        self._uncounted: dict[str, tuple[str, ...]] = {}
        self.memory = Memory()
        self.inventory: Inventory | None = None
        self.of: dict[str, Operation] = {}
        self.pending: dict[str, Operation] = {}
        self.running: dict[str, Operation] = {}
        self.cancelled: set[str] = set()
        self.standing: dict[str, Standstill] = {}
        self.held: Counter[str] = Counter()
        self.uncounted: Counter[str] = Counter()
        self.pool_held: Counter[str] = Counter()
        self.line: Line | None = None
        self.released = 0
        self.samples: dict[str, list[float]] = {}
        self.learnt_at = datetime.min.replace(tzinfo=UTC)

    def refresh(self) -> None:
        """Take over what others, and the cycle before, wrote."""
        before, memory = self.memory, self._journal.memory()
        for name in changed(before.nodes, memory.nodes) | self._touched:
            node = memory.nodes.get(name)
            self._take(name, node.operation if node is not None else None)
        self.memory = memory
        self._touched.clear()
        holders = {operation.id for operation in self.running.values()}
        if holders != self._scopes.keys() or dict(+self.held) != dict(memory.slots):
            self._read_slots()

    def line_up(self, observations: Mapping[str, Observation]) -> Line | None:
        """The line of those that wait, as it is by now; none without an inventory."""
        line = self.line
        if line is not None:
            self._moved.update(changed(self._observations, observations))
            for name in self._moved:
                line.place(name, self.pending.get(name), observations.get(name))
            self._moved.clear()
            self._observations = observations
        return line

    def follow(self, inventory: Inventory | None) -> bool:
        """Take another revision's limits and nodes; false when it is the one followed already."""
        if inventory is self.inventory:
            return False
        self.inventory = inventory
        self.standing.clear()
        self._uncounted.clear()
        self.line = None
        if inventory is not None:
            self.line = Line(inventory)
            self._moved.update(self.pending)
            for operation in self.running.values():
                self._count(operation, inventory)
        self.uncounted = Counter(scope for each in self._uncounted.values() for scope in each)
        return True

    def put(self, operation: Operation) -> None:
        """The operation as it is from now on."""
        self._touched.add(operation.node)
        self._take(operation.node, operation)

    def drop(self, name: str) -> None:
        """The operation on this node is over, or somebody else's."""
        self._touched.add(name)
        self._take(name, None)

    def grant(self, operation: Operation, scopes: Iterable[str]) -> None:
        """It has begun, with a slot in each of these scopes."""
        taken = self._scopes[operation.id] = tuple(scopes)
        self.held.update(taken)
        self.put(operation)

    def release(self, operation: Operation) -> None:
        """Its slots are free."""
        self.released += 1
        self.held.subtract(self._scopes.pop(operation.id, ()))
        self.uncounted.subtract(self._uncounted.pop(operation.id, ()))

    def is_held(self, name: str) -> bool:
        """Whether an operator, or its own failures, stopped the node; maybe since the plan was
        made.
        """
        node = self.memory.nodes.get(name)
        return node is not None and (node.hold is not None or node.quarantine is not None)

    def _take(self, name: str, operation: Operation | None) -> None:
        self._moved.add(name)
        self.standing.pop(name, None)
        self.pending.pop(name, None)
        before = self.running.pop(name, None)
        if before is not None:
            self.pool_held[before.pool] -= 1
        self.cancelled.discard(name)
        if operation is None:
            self.of.pop(name, None)
            return
        self.of[name] = operation
        if operation.state is OperationState.PENDING:
            self.pending[name] = operation
        else:
            self.running[name] = operation
            self.pool_held[operation.pool] += 1
        if operation.cancelled_by:
            self.cancelled.add(name)

    def _read_slots(self) -> None:
        scopes: dict[str, list[str]] = {}
        for scope, holders in self._journal.slots().items():
            for operation_id in holders.values():
                scopes.setdefault(operation_id, []).append(scope)
        self._scopes = {key: tuple(held) for key, held in scopes.items()}
        self.held = Counter(scope for held in self._scopes.values() for scope in held)
        self.inventory = None  # what is not counted has to be found anew

    def _count(self, operation: Operation, inventory: Inventory) -> None:
        """Find the scopes that it is in by now and holds no slot of: git limited the scope, or
        moved the node to another rack or pool, after it was admitted.
        """
        if operation.node not in inventory.nodes:
            return
        held = self._scopes.get(operation.id, ())
        demand = demand_of(operation, retry=is_retry(operation))
        lacking = tuple(scope for scope in scopes_of(inventory, demand) if scope not in held)
        if lacking:
            self._uncounted[operation.id] = lacking
