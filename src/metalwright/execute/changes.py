"""The operations as they are within one cycle, and every way in which the cycle may change them.

Each change goes to the journal first; what the journal refuses as outdated is somebody else's by
now and is left alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from metalwright.execute.effects import Effects
from metalwright.execute.life import again, backoff_s, ended
from metalwright.execute.ports import Journal, Provisioner, Random
from metalwright.execute.report import Tally
from metalwright.execute.situation import Fail
from metalwright.model.inventory import Inventory
from metalwright.model.limits import demand_of, is_retry, scopes_of
from metalwright.model.operation import CORRECTIONS_SPAN, Applied, Operation, OperationState
from metalwright.model.policy import Retries


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What stays the same from cycle to cycle."""

    journal: Journal
    provisioners: Mapping[str, Provisioner]
    random: Random
    effects: Effects
    effects_in_flight_max: int
    tries_max: int
    settle_s: float
    started_at: datetime


class Changes:
    """The unfinished operations by node, the slots that they hold, and what was told of them."""

    def __init__(self, around: Surroundings, now: datetime) -> None:
        self.tally = Tally()
        self.due: list[datetime] = []
        self._around, self._now = around, now
        memory = around.journal.memory()
        self.applied_revision = memory.applied_revision
        self._nodes = memory.nodes
        self.operations = {
            node.node: node.operation
            for node in memory.nodes.values()
            if node.operation is not None
        }
        self._scopes: dict[str, list[str]] = {}
        for scope, holders in around.journal.slots().items():
            for operation_id in holders.values():
                self._scopes.setdefault(operation_id, []).append(scope)
        self.held = Counter(scope for scopes in self._scopes.values() for scope in scopes)

    def pending(self) -> list[Operation]:
        """Those that wait to be admitted, by the name of their node."""
        return self._in_state(OperationState.PENDING)

    def running(self) -> list[Operation]:
        """Those that hold slots, by the name of their node."""
        return self._in_state(OperationState.RUNNING)

    def _in_state(self, state: OperationState) -> list[Operation]:
        return [each for _, each in sorted(self.operations.items()) if each.state is state]

    def uncounted(self, inventory: Inventory) -> Counter[str]:
        """Running operations by the scopes that they are in by now and hold no slot of: git limited
        the scope, or moved the node to another rack or pool, after they were admitted.
        """
        return Counter(
            scope
            for operation in self.running()
            if operation.node in inventory.nodes
            for scope in scopes_of(inventory, demand_of(operation, retry=is_retry(operation)))
            if scope not in self._scopes.get(operation.id, ())
        )

    def create(self, wanted: list[Operation], revision: str | None) -> None:
        """Make pending operations, and remember the revision that they come from."""
        for operation in self._around.journal.create(wanted, self._now, revision):
            self.operations[operation.node] = operation
            event = f"{operation.node}: {operation.verb} for {operation.holder}"
            self.tally.count("created", event)

    def admit(self, begun: Operation, limits: Mapping[str, int]) -> bool:
        """Start an attempt with its slots; false when the ledger has none."""
        if not self._around.journal.admit(begun, limits, self._now):
            return False
        self.operations[begun.node] = begun
        self._scopes[begun.id] = list(limits)
        self.held.update(limits.keys())
        self.tally.count("admitted", f"{begun.node}: {begun.verb}, attempt {begun.attempt}")
        return True

    def finish(self, operation: Operation) -> None:
        """The target is reached: it is what the node carries from now on."""
        done = ended(operation, OperationState.ACTIVE, self._now)
        applied = Applied(
            target=operation.target,
            holder=operation.holder,
            revision=operation.commit.id,
            source=operation.source,
            at=self._now,
            corrections=self._corrections(operation),
        )
        if self._around.journal.finish(done, applied, self._now, f"{operation.verb} is done"):
            self.tally.count("finished", f"{operation.node}: {operation.verb} is done")
        self._let_go(operation)

    def _corrections(self, operation: Operation) -> int:
        """How many corrections of drift in a row this one makes."""
        node = self._nodes.get(operation.node)
        before = (node.applied or node.former) if node is not None else None
        if not operation.corrects:
            return 0
        in_a_row = before is not None and self._now - before.at < CORRECTIONS_SPAN
        return 1 + (before.corrections if before is not None and in_a_row else 0)

    def fail(self, operation: Operation, failure: Fail, retries: Retries) -> None:
        """End the attempt once the node was asked after it; then try again, or give up."""
        if not failure.probed:
            if not operation.failing:
                waits = replace(operation, failing=True, last_error=failure.error)
                self.save(waits, "outcome", f"failed, is asked once more: {failure.error}")
            return
        if failure.final or operation.attempt >= retries.attempts_max:
            self.end(operation, OperationState.FAILED, failure.error)
            return
        pause_s = backoff_s(operation.attempt, retries, self._around.random.uniform)
        not_before = self._now + timedelta(seconds=pause_s)
        waits = again(operation, failure.error, self._around.started_at, not_before)
        detail = f"attempt {operation.attempt} of {retries.attempts_max} failed: {failure.error}"
        self._let_go(operation)
        if self._around.journal.retry(waits, self._now, detail):
            self.tally.count("retried", f"{operation.node}: {detail}")
            self.operations[operation.node] = waits
            self.due.append(not_before)

    def end(self, operation: Operation, state: OperationState, why: str) -> None:
        """End an operation that did not reach its target."""
        error = why if state is OperationState.FAILED else ""
        over = ended(operation, state, self._now, error)
        if self._around.journal.finish(over, None, self._now, why):
            self.tally.count(state.value, f"{operation.node}: {operation.verb} {state}: {why}")
        self._let_go(operation)

    def _let_go(self, operation: Operation) -> None:
        self.held.subtract(self._scopes.pop(operation.id, ()))
        del self.operations[operation.node]

    def save(self, operation: Operation, event: str, detail: str) -> bool:
        """Record a step; one that the store refuses is somebody else's operation by now."""
        if self._around.journal.save(operation, event, self._now, detail):
            self.operations[operation.node] = operation
            return True
        self.tally.say(f"{operation.node}: an outdated step was refused")
        self.operations.pop(operation.node, None)
        return False
