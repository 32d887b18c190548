"""Every step of the engine, inside one transaction that somebody else began.

`Pages` has the writers' lock, so what a step is compared with is what stands; each rule is held by
that comparison, and the constraints of the schema hold it once more. What is refused for being
outdated (an older fence, an operation that has ended) is said with a `False`, not with an
exception.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, delete, insert, select

from metalwright.errors import StoreError
from metalwright.model.desired import Target
from metalwright.model.operation import (
    TERMINAL,
    Applied,
    Operation,
    OperationState,
    Verb,
)
from metalwright.model.rollout import ROLLOUT_OVER
from metalwright.store.codec import target_from_text, target_to_text
from metalwright.store.disks import disk_columns
from metalwright.store.pages import Pages, chunks
from metalwright.store.schema import (
    journal,
    nodes,
    operations,
    rollouts,
    starts,
    targets,
)
from metalwright.store.schema_boots import boots, wipes
from metalwright.store.statements import operation_columns

_KEEPS_APPLIED: Final = frozenset({Verb.POWER_ON})
"""Verbs that change nothing of what the machine carries: it was off, and is switched on."""


class Ledger(Pages):
    """The steps of one transaction. `flush` has to be called before it is committed."""

    def record_unchanged(self, records: Mapping[str, Applied], at: datetime) -> tuple[str, ...]:
        """Give applied states another name; refused where the state is not the same, or busy."""
        done: list[str] = []
        busy = self.standing.busy
        stored = self._applied_rows(records.keys() - busy)
        for node, applied in records.items():
            row = stored.get(node)
            if row is None or not _same_digest(row.body, applied.target):
                continue
            values = self.applied_columns(applied)
            if row.applied != values["applied"] or row.body != target_to_text(applied.target)[1]:
                self.update_node(node, values)
                self.line(at, node, "recorded", detail=f"{applied.holder} at {applied.source}")
                done.append(node)
        return tuple(done)

    def _applied_rows(self, names: Iterable[str]) -> dict[str, Row[Any]]:
        """The applied states, not in doubt, and their targets."""
        query = select(nodes.c.node, nodes.c.applied, targets.c.body).join(
            targets, targets.c.id == nodes.c.target_id
        )
        found: dict[str, Row[Any]] = {}
        for some in chunks(names):
            rows = self.run(query.where(nodes.c.node.in_(some), nodes.c.in_doubt == 0))
            found |= {row.node: row for row in rows}
        return found

    def create(
        self, wanted: Sequence[Operation], at: datetime, revision: str | None
    ) -> tuple[Operation, ...]:
        """Make pending operations; those made. A node that is busy or not adopted gets none."""
        standing = self.standing
        free = self.known(operation.node for operation in wanted) - standing.busy
        made: list[Operation] = []
        for operation in wanted:
            if operation.node not in free or operation.state is not OperationState.PENDING:
                continue
            free.discard(operation.node)
            made.append(operation)
        if made:
            self.run(insert(operations), [self._new_row(operation) for operation in made])
        for operation in made:
            standing.put(operation)
            self.note(operation, "created", at, f"{operation.verb} for {operation.holder}")
        if revision is not None:
            self.set_meta(applied_revision=revision)
        return tuple(made)

    def _new_row(self, operation: Operation) -> dict[str, Any]:
        return {
            "id": operation.id,
            "node": operation.node,
            "created_at": operation.created_at,
            "target_id": self.target(operation.target),
        } | operation_columns(operation)

    def admit(self, operation: Operation, limits: Mapping[str, int], at: datetime) -> bool:
        """Take a slot in every scope, or in none; with them the operation begins to run.

        The lowest free number is taken, and only while fewer than the limit are held, so it is
        below the limit: the unique key of `slots` then bounds the scope, whatever the code
        believes. A scope that holds as many as its limit (it was lowered) gives none although a low
        number is free. An operation whose end was asked for, or whose node is held here, does not
        begin: whoever put the brake on may rely on it from then on.
        """
        if operation.state is not OperationState.RUNNING:
            raise StoreError(f"operation {operation.id} is {operation.state}: not admitted")
        if not self._is_at(operation, OperationState.PENDING, operation.fence - 1):
            return False
        standing = self.standing
        if operation.id in standing.cancelled or operation.node in standing.braked:
            return False
        if any(standing.count(scope) >= limit for scope, limit in limits.items()):
            return False
        names = self.take_slots(operation, sorted(limits), at)
        self._write_step(operation)
        if operation.verb not in _KEEPS_APPLIED:
            # What it was stays in the row: while in doubt it is the node's `former` state.
            self.update_node(operation.node, {"in_doubt": 1})
        self.note(operation, "admitted", at, names)
        return True

    def save(self, operation: Operation, event: str, at: datetime, detail: str) -> bool:
        """Write a step of a running operation; false when the store has moved past it."""
        if not self._is_at(operation, OperationState.RUNNING, operation.fence):
            return False
        if operation.state is not OperationState.RUNNING:
            raise StoreError(f"operation {operation.id} is {operation.state}: use retry or finish")
        self._write_step(operation)
        self.note(operation, event, at, detail)
        return True

    def _write_step(self, operation: Operation) -> None:
        """Write a running operation, and what becomes known, or unknown, of the node's disks."""
        self.write_operation(operation)
        columns = disk_columns(operation)
        if columns:
            self.update_node(operation.node, columns)

    def retry(self, operation: Operation, at: datetime, detail: str) -> bool:
        """End an attempt: pending again, slots free, the fence one higher; false when outdated."""
        if operation.state is not OperationState.PENDING:
            raise StoreError(f"operation {operation.id} is {operation.state}: not pending again")
        if not self._is_at(operation, OperationState.RUNNING, operation.fence - 1):
            return False
        self.write_operation(operation)
        self.release_slots(operation)
        self.note(operation, "retry", at, detail)
        return True

    def finish(
        self, operation: Operation, applied: Applied | None, at: datetime, detail: str
    ) -> bool:
        """End an operation: slots free, what it came to remembered; false when outdated."""
        if operation.state not in TERMINAL:
            raise StoreError(f"operation {operation.id} is {operation.state}: not at its end")
        if not self._is_at(operation, None, operation.fence):
            return False
        asked = operation.id in self.standing.cancelled
        self.write_operation(operation)
        self.release_slots(operation)
        self._remember_end(operation, applied, asked=asked)
        self.note(operation, operation.state.value, at, detail)
        return True

    def _remember_end(self, operation: Operation, applied: Applied | None, *, asked: bool) -> None:
        """What the node's row has of an end; `asked` when an operator asked for it."""
        node, failures = operation.node, self.standing.failures
        match operation.state:
            case OperationState.ACTIVE:
                failures.pop(node, None)
                values = self.applied_columns(applied)
                self.update_node(node, values | {"failed_id": None, "failures": 0})
            case OperationState.FAILED:
                failures[node] = failures.get(node, 0) + 1
                self.update_node(node, {"failed_id": operation.id, "failures": failures[node]})
            case OperationState.CANCELLED if asked:
                self.update_node(node, {"failed_id": operation.id})

    def prune(self, before: datetime) -> int:
        """Remove journal lines, ended operations, evidence of wipes and rollouts that are over from
        before an instant; how many in all. Boots that ended go too, uncounted.

        An unfinished operation stays, and so does a failure that still blocks its node. A
        start-rate bucket whose instant is past is an empty one: it goes too, uncounted.
        """
        gone = self.run(delete(journal).where(journal.c.at < before)).rowcount
        blocking = select(nodes.c.failed_id).where(nodes.c.failed_id.is_not(None))
        old = operations.c.busy_node.is_(None) & (operations.c.created_at < before)
        gone += self.run(delete(operations).where(old, operations.c.id.not_in(blocking))).rowcount
        over = rollouts.c.state.in_([state.value for state in ROLLOUT_OVER])
        gone += self.run(delete(rollouts).where(over, rollouts.c.at < before)).rowcount
        if self.run(delete(starts).where(starts.c.at < before)).rowcount:
            self.set_meta(starts_generation=self.generation)
        self.run(delete(boots).where(boots.c.ended_at < before))
        gone += self.run(delete(wipes).where(wipes.c.at < before)).rowcount
        in_use = select(operations.c.target_id).union(
            select(nodes.c.target_id).where(nodes.c.target_id.is_not(None))
        )
        self.run(delete(targets).where(targets.c.id.not_in(in_use)))
        return gone

    def _is_at(self, operation: Operation, state: OperationState | None, fence: int) -> bool:
        """Whether the stored operation is unfinished, at this fence and (where given) state."""
        entry = self.standing.operations.get(operation.id)
        return entry is not None and entry.fence == fence and state in (None, entry.state)


def _same_digest(stored: str, target: Target) -> bool:
    return target_from_text(stored).digest == target.digest
