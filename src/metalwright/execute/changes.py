"""Every way in which a cycle may change an operation.

Each change goes to the journal first; what the journal refuses as outdated is somebody else's by
now and is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from metalwright.execute.effects import Effects
from metalwright.execute.life import again, backoff_s, ended
from metalwright.execute.operations import Operations
from metalwright.execute.ports import Journal, Provisioner, Random
from metalwright.execute.report import Tally
from metalwright.execute.situation import Fail
from metalwright.model.operation import (
    CORRECTIONS_SPAN,
    Applied,
    NodeMemory,
    Operation,
    OperationState,
)
from metalwright.model.plan import Plan
from metalwright.model.policy import PolicySpec
from metalwright.model.rollout import ROLLOUT_OVER

LEARN_EVERY = timedelta(seconds=10)
"""Durations are written together, a few times in a minute. A crash forgets those of one span."""

ERROR_SHOWN_MAX = 300
"""Characters of one error in the reason of a quarantine."""


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
    predecessor_s: float = 0.0


class Changes:
    """The writes of one cycle, and what is told of them."""

    def __init__(
        self, around: Surroundings, operations: Operations, rules: PolicySpec, now: datetime
    ) -> None:
        self.tally = Tally()
        self.due: list[datetime] = []
        self._around, self._operations = around, operations
        self._rules, self._now = rules, now
        self._journal = around.journal

    def create(self, wanted: list[Operation], revision: str | None) -> None:
        """Make pending operations, and remember the revision that they come from."""
        for operation in self._journal.create(wanted, self._now, revision):
            self._operations.put(operation)
            event = f"{operation.node}: {operation.verb} for {operation.holder}"
            self.tally.count("created", event)

    def adopt_plan(self, plan: Plan) -> None:
        """Remember what the plan found out beside its actions: rollouts, consents, holds in git."""
        memory = self._operations.memory
        rollouts = [
            each
            for each in plan.rollouts
            if memory.rollouts.get(each.id) != each
            and (each.id in memory.rollouts or each.state not in ROLLOUT_OVER)
        ]
        if rollouts:
            self._journal.save_rollouts(rollouts, self._now)
        gone = [key for key in plan.lapsed if key in memory.consents]
        if gone:
            self._journal.lapse(gone)
        consents = [key for key in plan.consents if key not in memory.consents]
        if consents:
            self._journal.consent(consents, self._now)
        holds = [name for name in plan.holds_in_git if self._is_held(name)]
        if holds:
            self._journal.drop_holds(holds, self._now, "git holds it by now")

    def admit(self, begun: Operation, limits: Mapping[str, int]) -> bool:
        """Start an attempt with its slots; false when the ledger has none."""
        if not self._journal.admit(begun, limits, self._now):
            return False
        self._operations.grant(begun, limits)
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
        if self._journal.finish(done, applied, self._now, f"{operation.verb} is done"):
            self.tally.count("finished", f"{operation.node}: {operation.verb} is done")
        self._let_go(operation)

    def _corrections(self, operation: Operation) -> int:
        """How many corrections of drift in a row this one makes."""
        node = self._memory_of(operation.node)
        before = (node.applied or node.former) if node is not None else None
        if not operation.corrects:
            return 0
        in_a_row = before is not None and self._now - before.at < CORRECTIONS_SPAN
        return 1 + (before.corrections if before is not None and in_a_row else 0)

    def fail(self, operation: Operation, failure: Fail) -> None:
        """End the attempt once the node was asked after it; then try again, or give up."""
        retries = self._rules.retries
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
        alone_at = self._around.started_at + timedelta(seconds=self._around.predecessor_s)
        waits = again(operation, failure.error, alone_at, not_before)
        detail = f"attempt {operation.attempt} of {retries.attempts_max} failed: {failure.error}"
        self._let_go(operation)
        if self._journal.retry(waits, self._now, detail):
            self.tally.count("retried", f"{operation.node}: {detail}")
            self._operations.put(waits)
            self.due.append(not_before)

    def end(self, operation: Operation, state: OperationState, why: str) -> None:
        """End an operation that did not reach its target."""
        error = why if state is OperationState.FAILED else ""
        over = ended(operation, state, self._now, error)
        if self._journal.finish(over, None, self._now, why):
            self.tally.count(state.value, f"{operation.node}: {operation.verb} {state}: {why}")
            if state is OperationState.FAILED:
                self._quarantine(over)
        self._let_go(operation)

    def _quarantine(self, failed: Operation) -> None:
        """Leave a node alone that failed once too often, whatever git wants of it."""
        node = self._memory_of(failed.node)
        failures = 1 + (node.failures if node is not None else 0)
        if failures < self._rules.quarantine.failures:
            return
        reason = f"{failures} operations failed in a row; the last: {_short(failed.last_error)}"
        if failures > 1 and node is not None and node.failed is not None:
            reason += f"; the one before: {_short(node.failed.last_error)}"
        self._journal.quarantine(failed.node, reason, self._now)
        self.tally.say(f"{failed.node}: quarantined: {reason}")

    def _let_go(self, operation: Operation) -> None:
        self._operations.release(operation)
        self._operations.drop(operation.node)

    def save(self, operation: Operation, event: str, detail: str) -> bool:
        """Record a step; one that the store refuses is somebody else's operation by now."""
        if self._journal.save(operation, event, self._now, detail):
            self._operations.put(operation)
            return True
        self.tally.say(f"{operation.node}: an outdated step was refused")
        self._operations.drop(operation.node)
        return False

    def measured(self, key: str, seconds: float) -> None:
        """A stage took so long; `key` is its `stage_key`."""
        self._operations.samples.setdefault(key, []).append(seconds)

    def close(self, starts: Mapping[str, datetime]) -> None:
        """Write what was gathered; `starts` are the buckets drawn from in this cycle."""
        operations = self._operations
        if starts:
            self._journal.take_starts(starts)
        if not operations.samples:
            operations.learnt_at = self._now
        elif not operations.running or not (
            operations.learnt_at <= self._now < operations.learnt_at + LEARN_EVERY
        ):
            self._journal.learn(operations.samples, self._now)
            operations.samples, operations.learnt_at = {}, self._now

    def _memory_of(self, name: str) -> NodeMemory | None:
        return self._operations.memory.nodes.get(name)

    def _is_held(self, name: str) -> bool:
        node = self._memory_of(name)
        return node is not None and node.hold is not None


def _short(text: str) -> str:
    return text if len(text) <= ERROR_SHOWN_MAX else f"{text[: ERROR_SHOWN_MAX - 1]}…"
