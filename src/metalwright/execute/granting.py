"""Gives free slots to those that wait, and tells what the others wait for.

The order is `model.admission`'s and the limits are the ledger's; here are the conditions of one
grant: the plan knows of it, nobody holds the node, a worker is free, and the node was just seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from datetime import timedelta
from functools import cached_property
from typing import Final

from metalwright.execute.changes import Changes
from metalwright.execute.life import begin
from metalwright.execute.line import Line
from metalwright.execute.operations import Operations
from metalwright.execute.situation import evidence
from metalwright.execute.steps import NOT_OURS, Steps, View
from metalwright.model.plan import Plan
from metalwright.model.waiting import Answer, Waiting

ADMISSIONS_MAX: Final = 500
"""Operations begun in one cycle: when thousands have nothing to do but to be written down, one
transaction is not to hold up what runs."""

NEXT_CYCLE: Final = timedelta(milliseconds=1)
"""When the cycle after one that began as many comes."""


class Granting:
    """The admissions of one cycle."""

    def __init__(
        self, operations: Operations, changes: Changes, steps: Steps, view: View, plan: Plan
    ) -> None:
        self._operations, self._changes, self._steps = operations, changes, steps
        self._view = view
        self._plan = plan
        self._refused: dict[str, str] = {}
        self._granted = 0
        self._last = "a slot"
        self.unobserved: set[str] = set()

    def run(self) -> None:
        """Start what is pending until nothing more fits: a slot that is given back at once, for
        there was nothing to do, is taken again at once.
        """
        operations = self._operations
        line = operations.line_up(self._view.observed.nodes)
        if line is None:
            return
        again = True
        while again:
            released = operations.released
            taken = line.admit(
                operations.held,
                operations.uncounted,
                operations.pool_held,
                self._view.now,
                self._offer,
            )
            again = taken > 0 and operations.released > released and self._last == "a slot"
        self._tell(line)

    def _offer(self, waiting: Waiting, limits: Mapping[str, int]) -> Answer:
        if self._granted >= ADMISSIONS_MAX:
            self._last = "its turn in the next cycle"
            self._changes.due.append(self._view.now + NEXT_CYCLE)
            return Answer.ENOUGH
        if not self._steps.may_start_effects():
            self._last = "an effect to come back"
            return Answer.ENOUGH
        refusal = self._try(waiting, limits)
        if refusal:
            self._refused[waiting.node] = refusal
            return Answer.NOT_NOW
        self._refused.pop(waiting.node, None)
        self._granted += 1
        return Answer.GRANTED

    def _try(self, waiting: Waiting, limits: Mapping[str, int]) -> str:
        """Begin one operation, or say why not."""
        name = waiting.node
        operation = self._operations.pending.get(name)
        if operation is None or operation.id != waiting.key:
            return "its end"  # it ended since the line was made up
        if waiting.key not in self._planned and name not in self._fresh:
            return "not in the plan"
        if self._view.node(name) is None:
            return NOT_OURS
        if self._operations.is_held(name):
            return "a hold"
        situation = self._steps.situation(operation, "")
        if self._steps.in_flight(name) or evidence(operation, situation) is None:
            self.unobserved.add(name)
            return "a fresh observation"
        begun = begin(operation, situation)
        if not self._changes.admit(begun, limits):
            return "a slot"
        self._steps.step(begun, "")
        return ""

    @cached_property
    def _planned(self) -> Set[str]:
        """The unfinished operations that the plan knows of."""
        return {entry.operation_id for entry in self._plan.in_progress}

    @cached_property
    def _fresh(self) -> Set[str]:
        """The nodes that the plan makes operations for."""
        return {action.node for action in self._plan.actions}

    def _tell(self, line: Line) -> None:
        """Count what the others wait for, and find who could start if only it answered."""
        operations, now = self._operations, self._view.now
        pauses = line.pauses(now)
        self._changes.due.extend(pauses)
        silent = sum(1 for each in line.unanswered.values() if each.since <= now)
        counts = self._changes.tally.waiting_for
        for reason in self._refused.values():
            counts[reason] += 1
        rest = len(operations.pending) - len(pauses) - silent - len(self._refused)
        for reason, count in (
            ("its back-off", len(pauses)),
            ("a fresh observation", silent),
            (self._last, rest),
        ):
            if count > 0:
                counts[reason] += count
        if self._last == "a slot":
            self.unobserved.update(line.could_start(operations.held, operations.uncounted, now))
