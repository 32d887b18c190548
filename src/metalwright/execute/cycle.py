"""One cycle of the engine: every change of an operation, inside one transaction.

Nothing here touches hardware. What is to be done there is gathered in `_tasks` and handed over by
`start`, after the transaction is durable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from metalwright.execute.advance import decide
from metalwright.execute.changes import Changes, Surroundings
from metalwright.execute.effects import Outcome, Task
from metalwright.execute.life import answered, begin
from metalwright.execute.report import CycleReport
from metalwright.execute.situation import (
    Decision,
    Do,
    Enter,
    Fail,
    Finish,
    Resolve,
    Situation,
    Supersede,
    Wait,
    evidence,
    stage_timeouts,
)
from metalwright.model.documents import Node
from metalwright.model.hardware import Lifecycle
from metalwright.model.inventory import Commit, Inventory
from metalwright.model.limits import demand_of, fits, is_retry, limit_of, scopes_of
from metalwright.model.observed import Observed
from metalwright.model.operation import Operation, OperationState
from metalwright.model.plan import Action, Cause, Fate, Plan
from metalwright.model.policy import PolicySpec

STEPS_MAX = 16
"""Decisions about one operation in one cycle: stages that are done already are left at once."""

_NOT_OURS = "git no longer lets us touch this node"


class Cycle:
    """The steps of one cycle, in the order in which the engine calls them."""

    def __init__(
        self,
        around: Surroundings,
        inventory: Inventory | None,
        observed: Observed,
        now: datetime,
    ) -> None:
        self._around, self._inventory, self._observed, self._now = around, inventory, observed, now
        self._rules = inventory.rules if inventory is not None else PolicySpec()
        self._changes = Changes(around, now)
        self.tally = self._changes.tally
        self._tasks: dict[str, Task] = {}
        self._unobserved: set[str] = set()
        self._answered: set[str] = set()
        self._uncounted: Counter[str] = Counter()

    def record(self, outcomes: Iterable[Outcome]) -> None:
        """Write down what the drivers answered."""
        for outcome in outcomes:
            self._answered.add(outcome.node)
            operation = self._changes.operations.get(outcome.node)
            if (
                operation is None
                or operation.id != outcome.operation_id
                or operation.fence != outcome.fence
            ):
                self.tally.say(f"{outcome.node}: an answer to an operation that is over")
                continue
            heard = answered(operation, outcome.error, outcome.at)
            detail = heard.last_error if outcome.error is not None else "done"
            self._changes.save(heard, "outcome", detail)
            if outcome.error is not None:
                self.tally.say(f"{outcome.node}: {detail}")

    def cancel(self, plan: Plan) -> None:
        """End what is pending and not wanted any more."""
        unwanted = {
            entry.operation_id: entry.why
            for entry in plan.in_progress
            if entry.fate is not Fate.CONTINUE
        }
        for operation in self._changes.pending():
            why = unwanted.get(operation.id)
            if why is None and self._node(operation.node) is None:
                why = _NOT_OURS
            if why is not None:
                self._changes.end(operation, OperationState.CANCELLED, why)

    def create(self, plan: Plan) -> None:
        """Make an operation of every action; with a rewritten history the revision is not ours."""
        revision = plan.revision.id if plan.abandoned_revision is None else None
        wanted = [
            self._operation(action, plan)
            for action in plan.actions
            if action.node not in self._changes.operations
        ]
        if not wanted and revision in (None, self._changes.applied_revision):
            return
        self._changes.create(wanted, revision)

    def advance(self, plan: Plan) -> None:
        """Take every running operation as far as it goes without waiting."""
        unwanted = {
            entry.operation_id: entry.why or "git wants something else"
            for entry in plan.in_progress
            if entry.fate is not Fate.CONTINUE
        }
        for operation in self._changes.running():
            self._step(operation, unwanted.get(operation.id, ""))

    def admit(self, plan: Plan) -> None:
        """Start what is pending: priority, then age; what does not fit is passed over.

        A retry queues up by when it became due, so a failing node does not stand before others.
        """
        if self._inventory is not None:
            self._uncounted = self._changes.uncounted(self._inventory)
        known = {entry.operation_id for entry in plan.in_progress}
        fresh = {action.node for action in plan.actions}
        queue = sorted(
            self._changes.pending(),
            key=lambda each: (-each.priority, each.not_before or each.created_at, each.node),
        )
        for operation in queue:
            planned = operation.id in known or operation.node in fresh
            reason = self._try(operation) if planned else "not in the plan"
            if reason:
                self.tally.waiting_for[reason] += 1

    def start(self) -> None:
        """Hand the effects over. Everything that they follow from is durable."""
        for task in self._tasks.values():
            if self._around.effects.start(task):
                self.tally.counts["effects"] += 1
            else:
                self.tally.say(f"{task.operation.node}: no worker takes the effect")

    def busy(self) -> frozenset[str]:
        """The nodes of running operations, and those that could start were they observed."""
        return frozenset(each.node for each in self._changes.running()) | self._unobserved

    def next_due_at(self) -> datetime | None:
        """The earliest instant after now at which time alone changes something."""
        return min((each for each in self._changes.due if each > self._now), default=None)

    def report(self) -> CycleReport:
        """What was done."""
        return self.tally.report(running=len(self._changes.running()))

    def _node(self, name: str) -> Node | None:
        """The node as git declares it; `None` where git does not let us change it."""
        node = self._inventory.nodes.get(name) if self._inventory is not None else None
        return node if node is not None and node.spec.lifecycle is Lifecycle.MANAGED else None

    def _situation(self, operation: Operation, superseded: str) -> Situation:
        node, template = self._node(operation.node), operation.target.template
        provisioner = self._around.provisioners.get(node.spec.driver) if node is not None else None
        if node is None and not superseded:
            superseded = _NOT_OURS
        return Situation(
            now=self._now,
            started_at=self._around.started_at,
            node=node,
            observation=self._observed.nodes.get(operation.node),
            timeouts=stage_timeouts(
                template.timeouts if template is not None else None, self._rules.timeouts
            ),
            observation_ttl_s=self._rules.observation_ttl,
            capabilities=provisioner.capabilities if provisioner is not None else frozenset(),
            tries_max=self._around.tries_max,
            settle_s=self._around.settle_s,
            superseded=superseded,
        )

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
        )

    def _try(self, operation: Operation) -> str:
        """Admit one operation, or say why not."""
        if operation.not_before is not None and operation.not_before > self._now:
            self._changes.due.append(operation.not_before)
            return "its back-off"
        if self._inventory is None or self._node(operation.node) is None:
            return _NOT_OURS
        if not self._may_start_effects():
            return "an effect to come back"
        if self._changes.held["fleet"] >= self._rules.limits.fleet:
            return "a slot"  # the usual reason, found without working out the other scopes
        demand = demand_of(operation, retry=is_retry(operation))
        scopes = scopes_of(self._inventory, demand)
        limits = {
            scope: limit_of(self._inventory, scope) - self._uncounted[scope] for scope in scopes
        }
        if not fits(scopes, limits, self._changes.held):
            return "a slot"
        situation = self._situation(operation, "")
        if self._in_flight(operation.node) or evidence(operation, situation) is None:
            self._unobserved.add(operation.node)
            return "a fresh observation"
        begun = begin(operation, situation)
        if not self._changes.admit(begun, limits):
            return "a slot"
        self._step(begun, "")
        return ""

    def _step(self, operation: Operation, superseded: str) -> None:
        if self._in_flight(operation.node):
            return
        for _ in range(STEPS_MAX):
            decision = decide(operation, self._situation(operation, superseded))
            after = self._act(operation, decision)
            if after is None:
                return
            operation = after

    def _act(self, operation: Operation, decision: Decision) -> Operation | None:
        """Record a decision; the operation where it goes on at once."""
        match decision:
            case Wait(until=until):
                if until is not None:
                    self._changes.due.append(until)
            case Do(operation=after):
                self._do(after)
            case Enter(operation=after):
                if self._changes.save(after, "stage", f"entered {after.stage}"):
                    return after
            case Resolve(operation=after, detail=detail):
                if self._changes.save(after, "outcome", detail):
                    return after
            case Finish():
                self._changes.finish(operation)
            case Fail():
                self._changes.fail(operation, decision, self._rules.retries)
            case Supersede(why=why):
                self._changes.end(operation, OperationState.SUPERSEDED, why)
        return None

    def _in_flight(self, node: str) -> bool:
        """Whether a driver is at work on the node: nothing is decided about it meanwhile."""
        return node in self._around.effects and node not in self._answered

    def _may_start_effects(self) -> bool:
        started = len(self._around.effects) - len(self._answered) + len(self._tasks)
        return started < self._around.effects_in_flight_max

    def _do(self, operation: Operation) -> None:
        node = self._node(operation.node)
        if not self._may_start_effects() or node is None or operation.intent is None:
            return
        if self._changes.save(operation, "intent", ""):
            provisioner = self._around.provisioners[node.spec.driver]
            task = Task(operation=operation, node=node, provisioner=provisioner)
            self._tasks[operation.node] = task
            self.tally.say(f"{operation.node}: {operation.intent.kind}")


def _wanted_by(action: Action, plan: Plan) -> Commit:
    """The commit that wanted it: the one behind its first reason, else the plan's revision."""
    commits = (reason.commit for reason in action.reasons)
    return next((commit for commit in commits if commit is not None), plan.revision)
