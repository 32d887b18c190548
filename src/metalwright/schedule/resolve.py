"""`desired(inventory, at)`: pools, assignments and freezes resolved to one desired state per node.

What many nodes share (a target, a holder) is one value, built once: with 10,000 nodes the rest is
what takes the time. Nothing here looks at a machine, and a node that git does not call `managed`
never gets a desired state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from metalwright.model.desired import (
    Desired,
    DesiredNode,
    FreezeInForce,
    Holder,
    HoldInForce,
    Target,
)
from metalwright.model.digest import digest_of
from metalwright.model.documents import Assignment, Node, Pool
from metalwright.model.frozen import FrozenDict
from metalwright.model.hardware import Lifecycle
from metalwright.model.inventory import Inventory, ResolvedTemplate, Source, attributes
from metalwright.model.selector import Selector, parse_selector
from metalwright.model.tenancy import PowerState
from metalwright.schedule.windows import Calendar, Phase

RESTING_PRIORITY = 300
"""Of a node at rest: below an assignment's default of 500, above one that says it can wait."""

ANYTHING = "*"


Claim = Callable[..., DesiredNode]
"""What one holder wants of its nodes: a `DesiredNode` but for what is the node's own."""


def desired(inventory: Inventory, at: datetime) -> Desired:
    """What every pooled node should be at this instant (an aware one; it is kept in UTC).

    The result names the same revision's next instant of change: until then it stays as it is.
    """
    at = at.astimezone(UTC)
    windows = {name: schedule.spec.windows for name, schedule in inventory.schedules.items()}
    calendar = Calendar(windows, at)
    phases = {
        name: calendar.assignment(assignment.spec.when)
        for name, assignment in sorted(inventory.assignments.items())
    }
    claims = _Claims(inventory)
    held: dict[str, Claim] = {}
    for name, phase in phases.items():
        if phase.in_force:
            claim = claims.assignment(inventory.assignments[name], phase)
            held |= dict.fromkeys(inventory.assigned[name], claim)
    resting = {name: claims.resting(pool) for name, pool in inventory.pools.items()}
    freezes = _Freezes(inventory, calendar)
    wanted: dict[str, DesiredNode] = {}
    not_managed: dict[str, DesiredNode] = {}
    for name, pool_name in inventory.pool_of.items():
        node = inventory.nodes[name]
        claim = held.get(name) or resting[pool_name]
        managed = node.spec.lifecycle is Lifecycle.MANAGED
        freeze = freezes.over(node, pool_name) if managed and freezes.any_in_force else None
        hold = _hold(node, at) if node.spec.hold is not None else None
        (wanted if managed else not_managed)[name] = claim(name=name, freeze=freeze, hold=hold)
    return Desired(
        inventory=inventory,
        at=at,
        nodes=FrozenDict(wanted),
        not_managed=FrozenDict(not_managed),
        next_change_at=min(
            _changes([*phases.values(), *freezes.phases], wanted.values()), default=None
        ),
    )


class _Claims:
    """Makes the claims of pools and assignments; the target of a template is made once."""

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory
        self._targets: dict[str, Target] = {}

    def assignment(self, assignment: Assignment, phase: Phase) -> Claim:
        spec, name = assignment.spec, assignment.metadata.name
        return partial(
            DesiredNode,
            pool=spec.pool,
            holder=Holder(
                kind="Assignment",
                name=name,
                owner=spec.owner,
                since=phase.since,
                until=phase.until,
            ),
            target=self.running(spec.template),
            priority=spec.priority,
            drift=self.inventory.pools[spec.pool].spec.drift,
            template_edits=spec.template_edits,
            data_loss_consent=spec.data_loss_consent,
            source=self.source("Assignment", name, "spec.template"),
        )

    def resting(self, pool: Pool) -> Claim:
        spec, name = pool.spec, pool.metadata.name
        if spec.resting.template is not None:
            target, field = self.running(spec.resting.template), "spec.resting.template"
        else:
            assert spec.resting.power is not None, "a pool rests in a template or a power state"
            target, field = target_of(spec.resting.power, None), "spec.resting.power"
        return partial(
            DesiredNode,
            pool=name,
            holder=Holder(kind="Pool", name=name, owner=spec.owner),
            target=target,
            priority=RESTING_PRIORITY,
            drift=spec.drift,
            template_edits=spec.template_edits,
            data_loss_consent=spec.data_loss_consent,
            source=self.source("Pool", name, field),
        )

    def running(self, template: str) -> Target:
        """Power on with a template."""
        if template not in self._targets:
            self._targets[template] = target_of(PowerState.ON, self.inventory.resolved[template])
        return self._targets[template]

    def source(self, kind: str, name: str, field: str) -> Source:
        return replace(self.inventory.sources[kind, name], field=field)


def target_of(power: PowerState, template: ResolvedTemplate | None) -> Target:
    """The target whose digest covers the power state and what the template boots."""
    digest = digest_of({"power": power.value, "template": template.digest if template else None})
    return Target(power=power, template=template, digest=digest)


class _Freezes:
    """The freezes in force at one instant, the strictest first.

    `phases` are those of every freeze, in force or not, for the next instant of change.
    """

    def __init__(self, inventory: Inventory, calendar: Calendar) -> None:
        self.phases: list[Phase] = []
        found: list[tuple[FreezeInForce, Selector]] = []
        for name, freeze in sorted(inventory.freezes.items()):
            phase = calendar.freeze(freeze.spec)
            self.phases.append(phase)
            if phase.in_force:
                in_force = FreezeInForce(
                    name=name,
                    reason=freeze.spec.reason,
                    until=phase.until,
                    pass_priority=freeze.spec.pass_priority,
                )
                found.append((in_force, parse_selector(freeze.spec.selector)))
        self._found = sorted(found, key=lambda pair: _strictness(pair[0]))
        self.any_in_force = bool(found)

    def over(self, node: Node, pool: str) -> FreezeInForce | None:
        """The strictest freeze that covers the node, if any."""
        first, selector = self._found[0]
        if selector.text == ANYTHING:
            return first
        facts, name = attributes(node, pool), node.metadata.name
        return next((one for one, scope in self._found if scope.matches(name, facts)), None)


def _strictness(freeze: FreezeInForce) -> tuple[int, float, str]:
    """Sorts the strictest first: the highest priority to pass, then the longest, then by name."""
    until = freeze.until.timestamp() if freeze.until is not None else float("inf")
    return (-freeze.pass_priority, -until, freeze.name)


def _hold(node: Node, at: datetime) -> HoldInForce | None:
    """The hold of a node, unless its time is over."""
    hold = node.spec.hold
    if hold is None or (hold.until is not None and hold.until <= at):
        return None
    return HoldInForce(reason=hold.reason, until=hold.until)


def _changes(phases: Iterable[Phase], nodes: Iterable[DesiredNode]) -> Iterator[datetime]:
    for phase in phases:
        if phase.next_change_at is not None:
            yield phase.next_change_at
    for node in nodes:
        if node.hold is not None and node.hold.until is not None:
            yield node.hold.until
