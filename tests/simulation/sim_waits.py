"""Books of the waits: nobody waits longer than the bound that was told when the wait was looked at.

The bound is the product's own promise (`metalwright.execute.bound`); what it is held against is the
true time of the admission. It holds while the limits stay, the daemon runs and the node answers, so
whoever was disturbed in any of these is told a bound anew.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sim_record import Book, Known, Moment
from sim_room import MachineRoom

from metalwright.execute.bound import admitted_by, hold_s
from metalwright.model.inventory import Inventory
from metalwright.model.limits import demand_of, is_retry, limit_of, scopes_of
from metalwright.model.operation import Memory, Operation, OperationState
from metalwright.model.waiting import Waiting

SLACK_S = 60.0
"""A cycle that met a broken store is made up for by the next."""


class WaitBooks(Book):
    """`kept` counts the waits that were within their bound."""

    def __init__(self, room: MachineRoom) -> None:
        self.kept = 0
        self._room = room
        self._by_s: dict[str, float] = {}
        self._revision = ""

    def disturbed(self) -> None:
        """Something happened that the bound does not speak of."""
        self._by_s.clear()

    def look(self, memory: Memory, inventory: Inventory, at: datetime) -> None:
        """Tell a bound to everybody who waits and has none."""
        if inventory.revision.id != self._revision:
            self._revision = inventory.revision.id
            self.disturbed()
        operations = [
            node.operation
            for node in memory.nodes.values()
            if node.operation is not None and node.operation.unfinished
        ]
        waiting = [
            _waiting(each, inventory)
            for each in operations
            if each.state is OperationState.PENDING and each.node in inventory.nodes
        ]
        limits = {scope: limit_of(inventory, scope) for each in waiting for scope in each.scopes}
        hold = timedelta(seconds=hold_s(inventory, operations))
        bounds = admitted_by(waiting, limits, inventory.rules.ageing, at, hold)
        waits = {each.key for each in waiting}
        for key in [key for key in self._by_s if key not in waits]:
            del self._by_s[key]
        for key, by in bounds.items():
            self._by_s.setdefault(key, self.now_s() + (by - at).total_seconds() + SLACK_S)

    def admitted(self, known: Known, moment: Moment) -> None:
        """A wait is over."""
        by_s = self._by_s.pop(known.id, None)
        if by_s is None or self._room.machines[known.node].was_sick:
            return
        self.kept += 1
        if self.now_s() > by_s:
            said = f"{known.node}: begun {self.now_s() - by_s:.0f} s after its bound"
            self.broken("every wait has its bound", said)


def _waiting(operation: Operation, inventory: Inventory) -> Waiting:
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
