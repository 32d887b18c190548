"""What the store would remember of the week: who applied what, and what is unfinished.

Values only, no database and no journal; that the real store does the same is shown by `simulate.py`
and by the models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from metalwright.model.desired import Desired
from metalwright.model.frozen import FrozenDict
from metalwright.model.operation import Applied, Memory, NodeMemory, Operation, OperationState


class Remembered:
    """The memory of the fleet."""

    def __init__(self) -> None:
        self._nodes: dict[str, NodeMemory] = {}

    def adopt(self, wanted: Desired, now: datetime) -> None:
        """Every machine is as it is wanted, and known to be."""
        for name, node in wanted.nodes.items():
            applied = Applied(
                target=node.target,
                holder=node.holder,
                revision=wanted.inventory.revision.id,
                source=node.source,
                at=now,
            )
            self._nodes[name] = NodeMemory(
                node=name, adopted_at=now, adopted_by="ops", applied=applied
            )

    def begun(self, name: str) -> None:
        """What the machine carries is not known while it is changed."""
        known = self._nodes[name]
        if known.applied is not None:
            self._nodes[name] = replace(known, applied=None, former=known.applied)

    def ended(self, operation: Operation, now: datetime) -> None:
        """An operation is over."""
        known = self._nodes[operation.node]
        if operation.state is OperationState.ACTIVE:
            applied = Applied(
                target=operation.target,
                holder=operation.holder,
                revision=operation.commit.id,
                source=operation.source,
                at=now,
            )
            known = replace(known, applied=applied, former=None, failed=None)
        elif operation.state is OperationState.FAILED:
            known = replace(known, failed=operation)
        self._nodes[operation.node] = known

    def memory(self, unfinished: Mapping[str, Operation], slots: Mapping[str, int]) -> Memory:
        """All of it, as the planner is given it."""
        nodes = dict(self._nodes)
        for name, operation in unfinished.items():
            nodes[name] = replace(nodes[name], operation=operation)
        held = {scope: count for scope, count in slots.items() if count}
        return Memory(nodes=FrozenDict(nodes), slots=FrozenDict(held))
