"""`make`: desired, observed and memory compared into one plan.

Each node is decided by itself (`difference`, `blockers`, `progress`); what concerns the fleet comes
after that: a rewritten history, the blast radius, the order, the forecast. The same values in any
order give the same plan. It asks nothing and nobody, and what it cannot know it does not touch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from metalwright.model.desired import Desired, DesiredNode
from metalwright.model.frozen import FrozenDict
from metalwright.model.hardware import Lifecycle
from metalwright.model.inventory import Inventory
from metalwright.model.observed import Observed
from metalwright.model.operation import Memory, NodeMemory
from metalwright.model.plan import (
    Action,
    Blocked,
    BlockedReason,
    Cause,
    InProgress,
    Plan,
    Totals,
)
from metalwright.model.tenancy import PowerState
from metalwright.plan.blockers import blocked, first_no, stranger, unseen
from metalwright.plan.context import PlanContext
from metalwright.plan.difference import Case, Difference, difference, plainly_as_desired
from metalwright.plan.gates import acknowledged, change_digest, hold_back, hold_back_all
from metalwright.plan.order import forecast, natural, sort_actions
from metalwright.plan.progress import abandoned, in_progress
from metalwright.plan.tenancy import ASSIGNMENT
from metalwright.plan.verbs import stages_of


@dataclass(slots=True)
class _Lines:
    """The lines of the plan, as they are found."""

    actions: list[Action] = field(default_factory=list)
    progress: list[InProgress] = field(default_factory=list)
    blocked: list[Blocked] = field(default_factory=list)
    absent: int = 0


def make(desired: Desired, observed: Observed, memory: Memory, context: PlanContext) -> Plan:
    """The plan of one cycle: what would be done and why, and what is left alone and why."""
    inventory, lines = desired.inventory, _Lines()
    abandoned_revision = _abandoned(inventory, context)
    history_kept = abandoned_revision is None
    names = _in_scope(desired.nodes, context)
    for name in names:
        remembered = memory.nodes.get(name)
        if remembered is None:
            lines.blocked.append(_not_adopted(name))
            continue
        node, wanted, seen = inventory.nodes[name], desired.nodes[name], observed.nodes.get(name)
        if plainly_as_desired(node, wanted, remembered, seen):
            continue
        case = Case(
            node=node,
            wanted=wanted,
            remembered=remembered,
            observation=seen,
            inventory=inventory,
            context=context,
            at=desired.at,
        )
        _decide(case, lines, history_kept=history_kept)
    managed = len(lines.blocked) + len(lines.actions) + len(lines.progress)
    _beside_git(desired, memory, context, lines)
    digest = change_digest(lines.actions, lines.blocked, desired.nodes)
    if abandoned_revision is not None:
        hold_back_all(lines.actions, lines.blocked, abandoned_revision)
    else:
        hold_back(lines.actions, lines.blocked, desired, observed, digest)
    actions = sort_actions(lines.actions)
    progress = sorted(lines.progress, key=lambda line: natural(line.node))
    actions, limits = forecast(actions, progress, memory, inventory, desired.at)
    return Plan(
        revision=inventory.revision,
        at=desired.at,
        observed=context.observed_kind,
        totals=_totals(desired, context, lines, actions, as_desired=len(names) - managed),
        actions=tuple(actions),
        in_progress=tuple(progress),
        blocked=tuple(sorted(lines.blocked, key=lambda line: natural(line.node))),
        limits=limits,
        change_digest=digest,
        abandoned_revision=abandoned_revision,
    )


def _abandoned(inventory: Inventory, context: PlanContext) -> str | None:
    """The commit that history no longer has, unless a commit acknowledges that."""
    revision = context.abandoned_revision
    if revision is None or acknowledged(revision, inventory.rules.acknowledge):
        return None
    return revision


def _in_scope(nodes: Mapping[str, DesiredNode], context: PlanContext) -> list[str]:
    limit = context.limit_nodes
    return list(nodes) if limit is None else [name for name in nodes if name in limit]


def _decide(case: Case, lines: _Lines, *, history_kept: bool) -> None:
    """Add the line of one adopted node; a node that is as desired has none."""
    operation = case.remembered.operation
    if operation is not None and operation.unfinished:
        lines.progress.append(in_progress(case, operation, history_kept=history_kept))
        return
    found = difference(case)
    if found is None:
        no = unseen(case) or stranger(case)
        if no is not None:
            lines.blocked.append(
                Blocked(
                    node=case.wanted.name,
                    reason=no.reason,
                    message=no.message,
                    cause=Cause.DRIFT,
                    next_attempt_at=no.next_attempt_at,
                )
            )
        return
    no = first_no(case, found)
    if no is not None:
        lines.blocked.append(blocked(case, found, no))
    else:
        lines.actions.append(_action(case, found))


def _action(case: Case, found: Difference) -> Action:
    wanted = case.wanted
    return Action(
        node=wanted.name,
        verb=found.verb,
        pool=wanted.pool,
        holder=wanted.holder,
        target=wanted.target,
        priority=wanted.priority,
        stages=stages_of(found.verb, wanted.target),
        disruptive=found.disruptive,
        destroys_data=found.destroys_data,
        reasons=found.reasons,
        source=wanted.source,
    )


def _not_adopted(name: str) -> Blocked:
    return Blocked(
        node=name,
        reason=BlockedReason.NOT_ADOPTED,
        message="not adopted, so never changed; take it over with `mw adopt NODE`",
        cause=Cause.GIT,
    )


def _beside_git(desired: Desired, memory: Memory, context: PlanContext, lines: _Lines) -> None:
    """Add the lines of nodes that git wants nothing of: only told of, never changed."""
    inventory, limit = desired.inventory, context.limit_nodes
    for name in desired.not_managed:
        if name not in memory.nodes and (limit is None or name in limit):
            _not_managed(desired, name, None, lines)
    for name, remembered in memory.nodes.items():
        if name in desired.nodes or (limit is not None and name not in limit):
            continue
        if name in inventory.nodes:
            _not_managed(desired, name, remembered, lines)
        else:
            lines.absent += 1
            _absent(remembered, lines)


def _not_managed(desired: Desired, name: str, remembered: NodeMemory | None, lines: _Lines) -> None:
    lifecycle = desired.inventory.nodes[name].spec.lifecycle
    what = "it is in no pool" if lifecycle is Lifecycle.MANAGED else f"it is {lifecycle.value}"
    under_way = abandoned(remembered, what) if remembered is not None else None
    if under_way is not None:
        lines.progress.append(under_way)
        return
    wanted = desired.not_managed.get(name)
    if wanted is None or (remembered is None and wanted.holder.kind != ASSIGNMENT):
        return
    applied = remembered.applied if remembered is not None else None
    if applied is not None and (applied.target.digest, applied.holder) == (
        wanted.target.digest,
        wanted.holder,
    ):
        return
    lines.blocked.append(
        Blocked(
            node=name,
            reason=BlockedReason.NOT_MANAGED,
            message=f"{wanted.holder} wants it, but {what} (spec.lifecycle)",
            cause=Cause.GIT,
        )
    )


def _absent(remembered: NodeMemory, lines: _Lines) -> None:
    under_way = abandoned(remembered, "it is not in git any more")
    if under_way is not None:
        lines.progress.append(under_way)
        return
    applied = remembered.applied
    if applied is not None and applied.target.power is PowerState.OFF:
        return
    lines.blocked.append(
        Blocked(
            node=remembered.node,
            reason=BlockedReason.ABSENT_FROM_GIT,
            message="not in git any more, which is no instruction: it is left as it is",
            cause=Cause.GIT,
        )
    )


def _totals(
    desired: Desired,
    context: PlanContext,
    lines: _Lines,
    actions: list[Action],
    as_desired: int,
) -> Totals:
    nodes, inventory = desired.nodes, desired.inventory
    limit = context.limit_nodes
    everywhere = len(inventory.nodes) if limit is None else len(limit & inventory.nodes.keys())
    managed = len(_in_scope(nodes, context))
    return Totals(
        nodes=managed,
        as_desired=as_desired,
        changes=len(actions),
        in_progress=sum(line.node in nodes for line in lines.progress),
        blocked=sum(line.node in nodes for line in lines.blocked),
        disruptive=sum(action.disruptive for action in actions),
        destroying=sum(action.destroys_data for action in actions),
        starts_now=sum(action.starts_now for action in actions),
        unmanaged=everywhere - managed,
        absent=lines.absent,
        by_verb=_counted(action.verb.value for action in actions),
        by_blocked=_counted(line.reason.value for line in lines.blocked),
    )


def _counted(words: Iterable[str]) -> Mapping[str, int]:
    return FrozenDict(sorted(Counter(words).items()))
