"""A little world for the planner: git, hardware and memory that change as a plan succeeds.

`plan` makes every plan twice over shuffled inputs, and checks it; `succeed` is what an executor and
a fleet without faults would make of it; `converged` says that after this nothing is left to do.
"""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from metalwright.model.desired import Desired, DesiredNode, Holder
from metalwright.model.frozen import FrozenDict
from metalwright.model.inventory import Inventory
from metalwright.model.observed import (
    BootProgress,
    ErrorKind,
    Identity,
    Observation,
    ObservationError,
    Observed,
    Power,
    Reading,
)
from metalwright.model.operation import (
    Applied,
    EffectKind,
    Memory,
    NodeMemory,
    Operation,
    OperationState,
    Stage,
    Verb,
)
from metalwright.model.plan import Action, Blocked, BlockedReason, InProgress, Plan
from metalwright.model.rollout import ROLLOUT_OVER, Rollout
from metalwright.model.tenancy import PowerState
from metalwright.plan import PlanContext, check, make, to_json, unchanged_records
from metalwright.schedule import desired

from ..schedule.fleet import T0, Fleet, commit_of  # noqa: TID252 - one fleet for both rooms

CAPABLE = PlanContext(
    capabilities={
        "fake": frozenset(EffectKind),
        "ipmi": frozenset(EffectKind) - {EffectKind.WIPE},
    }
)


def shuffled(mapping: Any, seed: int) -> FrozenDict:
    items = list(mapping.items())
    random.Random(seed).shuffle(items)
    return FrozenDict(items)


def _tenant(applied: Applied | None, left: Holder | None) -> Holder | None:
    """Whose data is on the disks of a node that is brought to this."""
    lent = applied is not None and applied.holder.kind == "Assignment"
    return applied.holder if applied is not None and lent else left


class World:
    """One fleet at one instant; `commit` is called whenever its documents have changed."""

    def __init__(self, fleet: Fleet | None = None) -> None:
        self.fleet = fleet or Fleet()
        self.now: datetime = T0
        self.revision = 1
        self.memory: dict[str, NodeMemory] = {}
        self.observed: dict[str, Observation] = {}
        self.slots: dict[str, int] = {}
        self.consents: frozenset[str] = frozenset()
        self.rollouts: dict[str, Rollout] = {}
        self.context = CAPABLE

    # -- what is given ---------------------------------------------------------------------------

    def inventory(self, shuffle: int | None = None) -> Inventory:
        return self.fleet.build(self.revision, shuffle)

    def desired(self, shuffle: int | None = None) -> Desired:
        return desired(self.inventory(shuffle), self.now)

    def commit(self) -> None:
        self.revision += 1

    def forward(self, by: timedelta) -> None:
        """Time passes, and every node is seen again as it was."""
        self.now += by
        for name, seen in self.observed.items():
            self.observed[name] = replace(seen, at=self.now - timedelta(seconds=5))

    def adopt(self, *names: str, rebuild: bool = False) -> None:
        """Adopt nodes (all that are wanted by default) as they should be, and find them so."""
        wanted = self.desired()
        for name in names or wanted.nodes:
            one = wanted.nodes[name]
            applied = None if rebuild else self._applied(one)
            self.memory[name] = NodeMemory(
                node=name,
                adopted_at=self.now,
                adopted_by="ops",
                applied=applied,
                tenant=_tenant(applied, None),
            )
            self.see(name, Power(one.target.power.value))

    def see(self, name: str, power: Power = Power.ON, *, age_s: float = 5, **reading: Any) -> None:
        """The node was seen, as the machine that git means unless another identity is given."""
        node = self.fleet.nodes.get(name)
        if "identity" not in reading and node is not None:
            macs = tuple(nic.mac for nic in node.spec.nics)
            reading["identity"] = Identity(serial=node.spec.serial, macs=macs)
        self.observed[name] = Observation(
            node=name,
            at=self.now - timedelta(seconds=age_s),
            reading=Reading(power=power, **reading),
        )

    def unreachable(self, name: str, message: str = "no answer within 5s") -> None:
        self.observed[name] = Observation(
            node=name,
            at=self.now,
            error=ObservationError(kind=ErrorKind.TIMEOUT, message=message),
            failures=3,
            next_attempt_at=self.now + timedelta(minutes=2),
        )

    def operation(self, name: str, **fields: Any) -> Operation:
        """An operation towards what is wanted now, pending unless said otherwise."""
        wanted = self.desired().nodes[name]
        given: dict[str, Any] = {
            "id": f"op-{name}",
            "node": name,
            "verb": Verb.DEPLOY,
            "state": OperationState.PENDING,
            "target": wanted.target,
            "holder": wanted.holder,
            "pool": wanted.pool,
            "priority": wanted.priority,
            "stages": (Stage.POWER_OFF, Stage.BOOT),
            "commit": self.inventory().revision,
            "source": wanted.source,
            "created_at": self.now,
            "disruptive": True,
        } | fields
        return Operation(**given)

    def remember(self, name: str, **fields: Any) -> None:
        self.memory[name] = replace(self.memory[name], **fields)

    def interrupted(self, name: str, **fields: Any) -> None:
        """An operation on the node ran and came to no end: what it carries is not known."""
        before = self.memory[name]
        self.remember(name, applied=None, former=before.applied or before.former, **fields)

    # -- what comes of it ------------------------------------------------------------------------

    def values(self, shuffle: int | None = None) -> tuple[Desired, Observed, Memory, PlanContext]:
        memory, observed = FrozenDict(self.memory), FrozenDict(self.observed)
        if shuffle is not None:
            memory, observed = shuffled(memory, shuffle), shuffled(observed, shuffle)
        return (
            self.desired(shuffle),
            Observed(nodes=observed),
            Memory(
                nodes=memory,
                slots=FrozenDict(self.slots),
                consents=self.consents,
                rollouts=FrozenDict(self.rollouts),
            ),
            self.context,
        )

    def plan(self) -> Plan:
        """The plan; the same in another order of the inputs, and one that keeps every promise."""
        values = self.values()
        made = make(*values)
        assert to_json(make(*self.values(shuffle=self.revision + 17))) == to_json(made)
        assert check(made, *values) == ()
        return made

    def action(self, name: str) -> Action:
        """The one action of the plan for this node."""
        (found,) = [one for one in self.plan().actions if one.node == name]
        return found

    def blocked(self, name: str) -> Blocked:
        """The one blocked line of the plan for this node."""
        (found,) = [one for one in self.plan().blocked if one.node == name]
        return found

    def reason(self, name: str) -> BlockedReason:
        return self.blocked(name).reason

    def progress(self, name: str) -> InProgress:
        """The one line in progress for this node."""
        (found,) = [one for one in self.plan().in_progress if one.node == name]
        return found

    def succeed(self) -> None:
        """Carry the plan out without any fault: actions, fates, and the records that changed."""
        plan = self.plan()
        values = self.values()
        for name, applied in unchanged_records(
            values[0], values[2], values[1], values[0].inventory
        ).items():
            tenant = _tenant(applied, self.memory[name].tenant)
            self.remember(name, applied=applied, tenant=tenant)
        for line in plan.in_progress:
            operation = self.memory[line.node].operation
            assert operation is not None
            if line.fate.value == "continue":
                self._done(line.node, operation.stages)
            elif operation.state is OperationState.PENDING and operation.attempt == 0:
                self.remember(line.node, operation=None)
            else:
                self.interrupted(line.node, operation=None)
        for action in plan.actions:
            self._done(action.node, action.stages)
        self.consents = (self.consents - set(plan.lapsed)) | set(plan.consents)
        self.rollouts = {one.id: one for one in plan.rollouts if one.state not in ROLLOUT_OVER}
        for name in plan.holds_in_git:
            self.remember(name, hold=None)

    def converged(self) -> None:
        """Whatever the plan can do is done, in a cycle or a few; after that it is empty."""
        for _ in range(3):
            self.succeed()
        left = self.plan()
        assert left.actions == ()
        assert left.in_progress == ()

    def nothing_left(self) -> None:
        """As `converged`, and nothing is left alone either."""
        self.converged()
        plan = self.plan()
        assert plan.blocked == ()
        assert plan.totals.as_desired == plan.totals.nodes

    def _done(self, name: str, stages: tuple[Stage, ...] = ()) -> None:
        wanted = self.desired().nodes[name]
        target = wanted.target
        before, applied = self.memory[name], self._applied(wanted)
        left = None if Stage.WIPE in stages else before.tenant
        self.memory[name] = replace(
            before,
            applied=applied,
            tenant=_tenant(applied, left),
            former=None,
            operation=None,
            failed=None,
            overwritten=False,
        )
        on = target.power is PowerState.ON
        template = target.template
        self.see(
            name,
            Power.ON if on else Power.OFF,
            boot_progress=BootProgress.OS_RUNNING if on else BootProgress.NONE,
            template_digest=template.digest if template is not None else None,
        )

    def _applied(self, one: DesiredNode) -> Applied:
        return Applied(
            target=one.target,
            holder=one.holder,
            revision=commit_of(self.revision).id,
            source=one.source,
            at=self.now,
        )
