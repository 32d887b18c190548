"""One cycle of the engine: every change of an operation, inside one transaction.

Nothing here touches hardware. What is to be done there is gathered and handed over by `start`,
after the transaction is durable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from metalwright.execute.changes import Changes, Surroundings
from metalwright.execute.effects import Outcome
from metalwright.execute.granting import Granting
from metalwright.execute.life import answered
from metalwright.execute.operations import Operations
from metalwright.execute.report import CycleReport
from metalwright.execute.steps import NOT_OURS, Steps, View
from metalwright.model.frozen import FrozenDict
from metalwright.model.inventory import Commit
from metalwright.model.operation import Operation, OperationState, Stage
from metalwright.model.plan import Action, Cause, Fate, InProgress, Plan
from metalwright.model.validation import Validation


class Cycle:
    """The phases of one cycle, in the order in which the engine calls them."""

    def __init__(self, around: Surroundings, operations: Operations, view: View) -> None:
        self._around, self._operations, self._view = around, operations, view
        self._rules, self._now = view.rules, view.now
        operations.refresh()
        self._another_inventory = operations.follow(view.inventory)
        self._changes = Changes(around, operations, self._rules, self._now)
        self._steps = Steps(around, operations, self._changes, view)
        self.tally = self._changes.tally
        self._unobserved: set[str] = set()

    def record(self, outcomes: Iterable[Outcome]) -> None:
        """Write down what the drivers answered."""
        for outcome in outcomes:
            self._steps.answered.add(outcome.node)
            operation = self._operations.of.get(outcome.node)
            if (
                operation is None
                or operation.id != outcome.operation_id
                or operation.fence != outcome.fence
            ):
                self.tally.say(f"{outcome.node}: an answer to an operation that is over")
                continue
            if not outcome.sent:
                self.tally.say(f"{outcome.node}: not sent: this process may not drive the fleet")
                continue
            if operation.intent_at != outcome.intent_at or operation.acknowledged_at is not None:
                # A commit whose confirmation was lost: this is recorded, and what follows may be.
                self.tally.say(f"{outcome.node}: an answer that was recorded already")
                continue
            heard = answered(operation, outcome.error, outcome.at)
            detail = heard.last_error if outcome.error is not None else "done"
            self._changes.save(heard, "outcome", detail)
            if outcome.error is not None:
                self.tally.say(f"{outcome.node}: {detail}")

    def carry_out(self, plan: Plan) -> None:
        """End, make, advance and start operations as the plan says."""
        self._changes.adopt_plan(plan)
        goes_on = Fate.CONTINUE  # looked up once, for ten thousand entries
        unwanted = {entry.node: entry for entry in plan.in_progress if entry.fate is not goes_on}
        self._cancel(unwanted)
        self._create(plan)
        self._advance(unwanted)
        granting = Granting(self._operations, self._changes, self._steps, self._view, plan)
        granting.run()
        self._unobserved = granting.unobserved
        self._changes.close(self._steps.starts.changed)

    def _cancel(self, unwanted: dict[str, InProgress]) -> None:
        """End what is pending and not wanted any more."""
        pending = self._operations.pending
        for name in sorted(self._operations.cancelled & pending.keys()):
            operation = pending[name]
            self._changes.end(operation, OperationState.CANCELLED, _cancelled(operation))
        for entry in unwanted.values():
            waits = pending.get(entry.node)
            if waits is not None and waits.id == entry.operation_id:
                self._changes.end(waits, OperationState.CANCELLED, entry.why)
        if self._another_inventory:
            for name, operation in sorted(pending.items()):
                if self._view.node(name) is None:
                    self._changes.end(operation, OperationState.CANCELLED, NOT_OURS)

    def _create(self, plan: Plan) -> None:
        """Make an operation of every action; with a rewritten history the revision is not ours."""
        revision = plan.revision.id if plan.abandoned_revision is None else None
        wanted = [
            self._operation(action, plan)
            for action in plan.actions
            if action.node not in self._operations.of and not self._operations.is_held(action.node)
        ]
        if wanted or revision not in (None, self._operations.memory.applied_revision):
            self._changes.create(wanted, revision)

    def _advance(self, unwanted: dict[str, InProgress]) -> None:
        """Take every running operation as far as it goes without waiting; those that are longest in
        their stage come first, so that none waits for ever for what is scarce.
        """
        running = sorted(
            self._operations.running.values(),
            key=lambda each: (each.entered_at or each.created_at, each.node),
        )
        for operation in running:
            superseded = ""
            if operation.cancelled_by:
                superseded = _cancelled(operation)
            else:
                entry = unwanted.get(operation.node)
                if entry is not None and entry.operation_id == operation.id:
                    superseded = entry.why or "git wants something else"
            self._steps.step(operation, superseded)

    def start(self) -> None:
        """Hand the effects over. Everything that they follow from is durable."""
        for task in self._steps.tasks.values():
            if self._around.effects.start(task):
                self.tally.counts["effects"] += 1
            else:
                self.tally.say(f"{task.operation.node}: no worker takes the effect")

    def busy(self) -> frozenset[str]:
        """The nodes of running operations, and those that could start were they observed."""
        return frozenset(self._operations.running) | self._unobserved

    def validations(self) -> Mapping[str, Validation]:
        """The nodes that are validated now, and what they have to pass."""
        found = {}
        for name, operation in self._operations.running.items():
            node, since = self._view.node(name), operation.entered_at
            if operation.stage is not Stage.VALIDATING or node is None or since is None:
                continue
            template = operation.target.template
            found[name] = Validation(
                node=node,
                operation_id=operation.id,
                attempt=operation.fence,
                template_digest=template.digest if template is not None else "",
                since=since,
                checks=self._view.gate(operation)[0],
            )
        return FrozenDict(found)

    def next_due_at(self) -> datetime | None:
        """The earliest instant after now at which time alone changes something."""
        return min((each for each in self._changes.due if each > self._now), default=None)

    def report(self) -> CycleReport:
        """What was done."""
        return self.tally.report(running=len(self._operations.running))

    def _operation(self, action: Action, plan: Plan) -> Operation:
        return Operation(
            id=f"{self._around.random.getrandbits(64):016x}",
            node=action.node,
            verb=action.verb,
            state=OperationState.PENDING,
            target=action.target,
            holder=action.holder,
            pool=action.pool,
            priority=action.priority,
            stages=action.stages,
            commit=_wanted_by(action, plan),
            source=action.source,
            created_at=self._now,
            destroys_data=action.destroys_data,
            corrects=any(reason.cause is Cause.DRIFT for reason in action.reasons),
            disruptive=action.disruptive,
            revision=plan.revision.id,
            rollout=action.rollout,
        )


def _cancelled(operation: Operation) -> str:
    return f"cancelled by {operation.cancelled_by}"


def _wanted_by(action: Action, plan: Plan) -> Commit:
    """The commit that wanted it: the one behind its first reason, else the plan's revision."""
    commits = (reason.commit for reason in action.reasons)
    return next((commit for commit in commits if commit is not None), plan.revision)
