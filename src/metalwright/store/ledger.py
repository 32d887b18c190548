"""Every write to the memory of the fleet, inside one transaction that somebody else began.

A `Ledger` takes the row of `meta` first, so writers queue up on any database; it then holds each
rule by reading under that lock, and the constraints of the schema hold it once more. What it
refuses for being outdated (an older fence, an operation that has ended) it says with a `False`, not
with an exception.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, insert, select, update

from metalwright.errors import StoreError
from metalwright.model.desired import Target
from metalwright.model.operation import (
    TERMINAL,
    Applied,
    Operation,
    OperationState,
    Verb,
)
from metalwright.store.codec import (
    operation_to_text,
    target_from_text,
    target_to_text,
)
from metalwright.store.pages import Pages, chunks
from metalwright.store.schema import journal, meta, nodes, operations, slots, targets

_KEEPS_APPLIED: Final = frozenset({Verb.POWER_ON})
"""Verbs that change nothing of what the machine carries: it was off, and is switched on."""


class Ledger(Pages):
    """The writes of one transaction. `flush` has to be called before it is committed."""

    def adopt(self, records: Mapping[str, Applied | None], by: str, at: datetime) -> None:
        """Take nodes over. Raises StoreError when an operation on one of them is under way."""
        busy = self.busy(records)
        if busy:
            raise StoreError(f"an operation is under way on {', '.join(sorted(busy))}")
        known = self.known(records)
        fresh: list[dict[str, Any]] = []
        for node, applied in records.items():
            values = self.applied_columns(applied) | {
                "adopted_at": at,
                "adopted_by": by,
                "failed_id": None,
                "generation": self.generation,
            }
            if node in known:
                self.update_node(node, values)
            else:
                fresh.append({"node": node} | values)
            what = "as it is" if applied is not None else "to be rebuilt"
            self.line(at, node, "adopted", detail=f"{what}, by {by}")
        if fresh:
            self.connection.execute(insert(nodes), fresh)

    def forget(self, node: str, by: str, at: datetime) -> bool:
        """Let a node go; false when it was not adopted. Raises StoreError while it is busy."""
        if self.busy([node]):
            raise StoreError(f"an operation is under way on {node}")
        gone = self.connection.execute(delete(nodes).where(nodes.c.node == node)).rowcount
        if gone:
            self.connection.execute(update(meta).values(forgotten_generation=self.generation))
            self.line(at, node, "released", detail=f"by {by}")
        return gone > 0

    def retry_failed(self, names: Iterable[str], by: str, at: datetime) -> tuple[str, ...]:
        """Forget the failures of these nodes; the names of those that had one."""
        mended: list[str] = []
        for some in chunks(names):
            rows = self.connection.execute(
                select(nodes.c.node, nodes.c.failed_id)
                .where(nodes.c.node.in_(some), nodes.c.failed_id.is_not(None))
                .order_by(nodes.c.node)
            ).all()
            for row in rows:
                self.update_node(row.node, {"failed_id": None})
                self.line(at, row.node, "retry", row.failed_id, detail=f"asked for by {by}")
                mended.append(row.node)
        return tuple(mended)

    def record_unchanged(self, records: Mapping[str, Applied], at: datetime) -> tuple[str, ...]:
        """Give applied states another name; refused where the state is not the same, or busy."""
        done: list[str] = []
        busy = self.busy(records)
        for node, applied in records.items():
            row = self.connection.execute(
                select(nodes.c.applied, targets.c.body)
                .join(targets, targets.c.id == nodes.c.target_id)
                .where(nodes.c.node == node, nodes.c.in_doubt == 0)
            ).one_or_none()
            values = self.applied_columns(applied)
            if row is None or node in busy or not _same_digest(row.body, applied.target):
                continue
            if row.applied != values["applied"] or row.body != target_to_text(applied.target)[1]:
                self.update_node(node, values)
                self.line(at, node, "recorded", detail=f"{applied.holder} at {applied.source}")
                done.append(node)
        return tuple(done)

    def create(
        self, wanted: Sequence[Operation], at: datetime, revision: str | None
    ) -> tuple[Operation, ...]:
        """Make pending operations; those made. A node that is busy or not adopted gets none."""
        names = [operation.node for operation in wanted]
        free = self.known(names) - self.busy(names)
        made: list[Operation] = []
        for operation in wanted:
            if operation.node not in free or operation.state is not OperationState.PENDING:
                continue
            free.discard(operation.node)
            made.append(operation)
        if made:
            rows = [
                {
                    "id": operation.id,
                    "node": operation.node,
                    "created_at": operation.created_at,
                    "target_id": self.target(operation.target),
                }
                | _columns(operation)
                for operation in made
            ]
            self.connection.execute(insert(operations), rows)
        for operation in made:
            self.note(operation, "created", at, f"{operation.verb} for {operation.holder}")
        if revision is not None:
            self.connection.execute(update(meta).values(applied_revision=revision))
        return tuple(made)

    def admit(self, operation: Operation, limits: Mapping[str, int], at: datetime) -> bool:
        """Take a slot in every scope, or in none; with them the operation begins to run.

        The lowest free number is taken, and only below the limit: the unique key of `slots` then
        bounds the scope, whatever the code believes. A scope that holds as many as its limit (it
        was lowered) gives none although a low number is free.
        """
        if operation.state is not OperationState.RUNNING:
            raise StoreError(f"operation {operation.id} is {operation.state}: not admitted")
        taken: dict[str, set[int]] = {scope: set() for scope in sorted(limits)}
        if not self._is_at(operation, OperationState.PENDING, operation.fence - 1):
            return False
        rows = self.connection.execute(
            select(slots.c.scope, slots.c.slot_no).where(slots.c.scope.in_(list(taken)))
        )
        for row in rows:
            taken[row.scope].add(row.slot_no)
        if any(len(held) >= limits[scope] for scope, held in taken.items()):
            return False
        granted = {
            scope: next(number for number in range(limits[scope]) if number not in held)
            for scope, held in taken.items()
        }
        if granted:
            self.connection.execute(
                insert(slots),
                [
                    {
                        "scope": scope,
                        "slot_no": number,
                        "operation_id": operation.id,
                        "granted_at": at,
                    }
                    for scope, number in granted.items()
                ],
            )
        self._write(operation)
        if operation.verb not in _KEEPS_APPLIED:
            # What it was stays in the row: while in doubt it is the node's `former` state.
            self.update_node(operation.node, {"in_doubt": 1})
        names = ", ".join(f"{scope}#{number}" for scope, number in granted.items())
        self.note(operation, "admitted", at, names)
        return True

    def save(self, operation: Operation, event: str, at: datetime, detail: str) -> bool:
        """Write a step of a running operation; false when the store has moved past it."""
        if not self._is_at(operation, OperationState.RUNNING, operation.fence):
            return False
        if operation.state is not OperationState.RUNNING:
            raise StoreError(f"operation {operation.id} is {operation.state}: use retry or finish")
        self._write(operation)
        self.note(operation, event, at, detail)
        return True

    def retry(self, operation: Operation, at: datetime, detail: str) -> bool:
        """End an attempt: pending again, slots free, the fence one higher; false when outdated."""
        if operation.state is not OperationState.PENDING:
            raise StoreError(f"operation {operation.id} is {operation.state}: not pending again")
        if not self._is_at(operation, OperationState.RUNNING, operation.fence - 1):
            return False
        self._write(operation)
        self._release(operation)
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
        self._write(operation)
        self._release(operation)
        if operation.state is OperationState.ACTIVE:
            self.update_node(operation.node, self.applied_columns(applied) | {"failed_id": None})
        elif operation.state is OperationState.FAILED:
            self.update_node(operation.node, {"failed_id": operation.id})
        self.note(operation, operation.state.value, at, detail)
        return True

    def prune(self, before: datetime) -> int:
        """Remove journal lines and ended operations from before an instant; how many in all.

        An unfinished operation stays, and so does a failure that still blocks its node.
        """
        run = self.connection.execute
        gone = run(delete(journal).where(journal.c.at < before)).rowcount
        blocking = select(nodes.c.failed_id).where(nodes.c.failed_id.is_not(None))
        old = operations.c.busy_node.is_(None) & (operations.c.created_at < before)
        gone += run(delete(operations).where(old, operations.c.id.not_in(blocking))).rowcount
        in_use = select(operations.c.target_id).union(
            select(nodes.c.target_id).where(nodes.c.target_id.is_not(None))
        )
        run(delete(targets).where(targets.c.id.not_in(in_use)))
        return gone

    def _is_at(self, operation: Operation, state: OperationState | None, fence: int) -> bool:
        """Whether the stored operation is unfinished, at this fence and (where given) state."""
        row = self.connection.execute(
            select(operations.c.state, operations.c.fence).where(operations.c.id == operation.id)
        ).one_or_none()
        if row is None or row.fence != fence:
            return False
        stored = OperationState(row.state)
        return stored not in TERMINAL and state in (None, stored)

    def _write(self, operation: Operation) -> None:
        self.connection.execute(
            update(operations).where(operations.c.id == operation.id).values(_columns(operation))
        )

    def _release(self, operation: Operation) -> None:
        self.connection.execute(delete(slots).where(slots.c.operation_id == operation.id))


def _columns(operation: Operation) -> dict[str, Any]:
    """What changes in the row of an operation over its life."""
    return {
        "busy_node": operation.node if operation.unfinished else None,
        "state": operation.state.value,
        "fence": operation.fence,
        "body": operation_to_text(operation),
    }


def _same_digest(stored: str, target: Target) -> bool:
    return target_from_text(stored).digest == target.digest
