"""Takes running operations as far as they go within one cycle, and gathers what drivers are to do.

What is decided comes from `advance`; here it is written down. Nothing here touches hardware.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from metalwright.execute.advance import decide
from metalwright.execute.changes import Changes, Surroundings
from metalwright.execute.deadlines import Deadlines, learnt_timeouts, stage_timeouts
from metalwright.execute.effects import Task
from metalwright.execute.operations import NO_GATE, Gate, Operations, Standstill
from metalwright.execute.ports import Provisioner
from metalwright.execute.situation import (
    AWAITS_START,
    POWERS_ON,
    Decision,
    Do,
    Enter,
    Fail,
    Finish,
    Postpone,
    Resolve,
    Situation,
    Supersede,
    Wait,
    fails_at,
    may_still_land,
)
from metalwright.execute.starts import Starts
from metalwright.model.documents import Node
from metalwright.model.frozen import FrozenDict
from metalwright.model.hardware import OBSERVED_LIFECYCLES, Lifecycle, place_of
from metalwright.model.inventory import Inventory, checks_of
from metalwright.model.limits import is_retry
from metalwright.model.observed import Observed
from metalwright.model.operation import (
    EffectKind,
    Operation,
    OperationState,
    Stage,
    StageTimes,
    stage_key,
)
from metalwright.model.policy import PolicySpec
from metalwright.model.template import Timeouts

STEPS_MAX = 16
"""Decisions about one operation in one cycle: stages that are done already are left at once."""

_ASKS_NOTHING = frozenset({Stage.INSTALLING, Stage.VALIDATING})

NOT_OURS = "git no longer lets us touch this node"

MOVED = "git moved it to another BMC"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one cycle sees. Without an inventory nothing is ours to touch."""

    inventory: Inventory | None
    observed: Observed
    now: datetime

    @property
    def rules(self) -> PolicySpec:
        """The limits in force."""
        return self.inventory.rules if self.inventory is not None else PolicySpec()

    def node(self, name: str) -> Node | None:
        """The node as git declares it; `None` where git does not let us change it."""
        node = self.inventory.nodes.get(name) if self.inventory is not None else None
        return node if node is not None and node.spec.lifecycle is Lifecycle.MANAGED else None

    def is_asked(self, name: str) -> bool:
        """Whether the node is still observed, by what git declares of it."""
        node = self.inventory.nodes.get(name) if self.inventory is not None else None
        return node is not None and node.spec.lifecycle in OBSERVED_LIFECYCLES

    def gate(self, operation: Operation) -> Gate:
        """What the node has to pass now, and what is known of that; nothing in another stage."""
        if operation.stage is not Stage.VALIDATING:
            return NO_GATE
        template = operation.target.template
        if self.inventory is None:
            checks = template.validation if template is not None else ()
        else:
            checks = checks_of(self.inventory, operation.pool, template)
        return checks, self.observed.checks.get(operation.node, NO_GATE[1])


class Steps:
    """The steps of one cycle."""

    def __init__(
        self, around: Surroundings, operations: Operations, changes: Changes, view: View
    ) -> None:
        self._around, self._operations = around, operations
        self._changes, self._view = changes, view
        self._rules = view.rules
        self._deadlines: dict[tuple[str, Timeouts | None, bool], Deadlines] = {}
        self.starts = Starts(self._rules, operations.memory.starts, view.now)
        self.tasks: dict[str, Task] = {}
        self.answered: set[str] = set()

    def step(self, operation: Operation, superseded: str) -> None:
        """Take a running operation as far as it goes without waiting."""
        name = operation.node
        if self.in_flight(name):
            return
        observation, node = self._view.observed.nodes.get(name), self._view.node(name)
        still = self._operations.standing.get(name)
        gate = self._view.gate(operation)
        if still and still.holds(operation, observation, node, superseded, gate, self._view.now):
            self._wait(still.why, still.until)
            return
        for _ in range(STEPS_MAX):
            situation = self.situation(operation, superseded)
            decision = may_still_land(operation, situation) or decide(operation, situation)
            if isinstance(decision, Wait):
                until = _ends_at(decision, operation, situation)
                self._operations.standing[name] = Standstill(
                    operation, observation, node, superseded, gate, decision.why, until
                )
                self._wait(decision.why, until)
                return
            after = self._act(operation, decision, superseded)
            if after is None:
                return
            operation, gate = after, self._view.gate(after)

    def situation(self, operation: Operation, superseded: str) -> Situation:
        """All that a decision about the operation is made from."""
        view, node = self._view, self._view.node(operation.node)
        checks, verdicts = view.gate(operation)
        provisioner = self._around.provisioners.get(node.spec.driver) if node is not None else None
        moved = node is not None and operation.bmc not in ("", place_of(node.spec))
        if moved:  # what was told is not asked any more; what the other one says is none of it
            node = None
        if node is None and not superseded:
            superseded = MOVED if moved else NOT_OURS
        return Situation(
            now=view.now,
            started_at=self._around.started_at,
            predecessor_s=self._around.predecessor_s,
            node=node,
            observation=view.observed.nodes.get(operation.node) if not moved else None,
            timeouts=self._deadlines_of(operation, node).timeouts,
            observation_ttl_s=self._rules.observation_ttl,
            capabilities=provisioner.capabilities if provisioner is not None else frozenset(),
            tries_max=self._around.tries_max,
            settle_s=self._around.settle_s,
            superseded=superseded,
            asked=not moved and view.is_asked(operation.node),
            powers_on=_powers_on(provisioner),
            power_on_at=self.starts.free_at(node) if node is not None else None,
            checks=checks,
            verdicts=verdicts,
        )

    def in_flight(self, node: str) -> bool:
        """Whether a driver is at work on the node: nothing is decided about it meanwhile."""
        return node in self._around.effects and node not in self.answered

    def may_start_effects(self) -> bool:
        """Whether another effect may be handed over."""
        started = len(self._around.effects) - len(self.answered) + len(self.tasks)
        return started < self._around.effects_in_flight_max

    def _wait(self, why: str, until: datetime | None) -> None:
        if until is not None:
            self._changes.due.append(until)
        if why == AWAITS_START:
            self._changes.tally.waiting_for[AWAITS_START] += 1

    def _act(self, operation: Operation, decision: Decision, superseded: str) -> Operation | None:
        """Record a decision; the operation where it goes on at once."""
        changes = self._changes
        match decision:
            case Do(operation=after):
                self._do(operation, after)
            case Enter(operation=after):
                self._measure(operation, superseded)
                assert after.stage is not None
                if changes.save(after, "stage", f"entered {after.stage}; {self._words(after)}"):
                    return after
            case Postpone(operation=after):
                detail = f"waits for {AWAITS_START}; {self._words(after)} from here"
                if changes.save(after, "stage", detail):
                    return after
            case Resolve(operation=after, detail=detail):
                if changes.save(after, "outcome", detail):
                    return after
            case Finish():
                self._measure(operation, superseded)
                changes.finish(operation)
            case Fail():
                changes.fail(operation, decision)
            case Supersede(why=why):
                asked = bool(operation.cancelled_by)
                ends_as = OperationState.CANCELLED if asked else OperationState.SUPERSEDED
                changes.end(operation, ends_as, why)
        return None

    def _do(self, before: Operation, operation: Operation) -> None:
        node, effect = self._view.node(operation.node), operation.intent
        if not self.may_start_effects() or node is None or effect is None:
            return
        first = before.intent is None and operation.stage is operation.stages[0]
        if self._changes.save(operation, "intent", self._words(operation) if first else ""):
            provisioner = self._around.provisioners[node.spec.driver]
            if effect.kind in _powers_on(provisioner):
                self.starts.take(node)
            self.tasks[operation.node] = Task(
                operation=operation, node=node, provisioner=provisioner
            )
            self._changes.tally.say(f"{operation.node}: {effect.kind}")

    def _words(self, operation: Operation) -> str:
        """The deadline of the present stage, and whose it is."""
        assert operation.stage is not None
        node = self._view.node(operation.node)
        return self._deadlines_of(operation, node).words(operation.stage)

    def _deadlines_of(self, operation: Operation, node: Node | None) -> Deadlines:
        template = operation.target.template
        driver = node.spec.driver if node is not None else ""
        # What failed by a deadline that was learnt may only be slower by now: a retry has all of
        # the time, and what it takes then is learnt.
        retry = is_retry(operation)
        declared = template.timeouts if template is not None else None
        # The digest of a template tells neither its time-outs nor the level of its wipe.
        key = (stage_key(Stage.WIPE, driver, template), declared, retry)
        found = self._deadlines.get(key)
        if found is None:
            times: Mapping[str, StageTimes] = self._operations.memory.stage_times
            learnt = learnt_timeouts(
                FrozenDict() if retry else times,
                self._rules.learning,
                driver,
                template,
            )
            found = stage_timeouts(declared, self._rules.timeouts, learnt)
            self._deadlines[key] = found
        return found

    def _measure(self, operation: Operation, superseded: str) -> None:
        """Learn what the stage took, where that was all of its time and nothing but its time."""
        entered_at, node = operation.entered_at, self._view.node(operation.node)
        stage = operation.stage
        if superseded or entered_at is None or node is None or stage is None:
            return
        did_nothing = operation.effects == 0 and stage not in _ASKS_NOTHING
        took_s = (self._view.now - entered_at).total_seconds()
        if did_nothing or took_s < 0 or entered_at < self._around.started_at:
            return
        template = operation.target.template
        self._changes.measured(stage_key(stage, node.spec.driver, template), took_s)


def _ends_at(decision: Wait, operation: Operation, situation: Situation) -> datetime | None:
    """When time alone may change a decision to wait: by what it says, or by the deadline."""
    instants = (decision.until, fails_at(operation, situation))
    return min((each for each in instants if each and each > situation.now), default=None)


def _powers_on(provisioner: Provisioner | None) -> frozenset[EffectKind]:
    """As `PowersOn` says, without the price of asking for a protocol at every step."""
    found: frozenset[EffectKind] = getattr(provisioner, "powers_on", POWERS_ON)
    return found
