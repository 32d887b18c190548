"""`make`: desired, observed and memory compared into one plan.

Each node is decided by itself (`difference`, `blockers`, `progress`); what concerns the fleet comes
after that: a rewritten history, the blast radius, the order, the forecast. The same values in any
order give the same plan. It asks nothing and nobody, and what it cannot know it does not touch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from metalwright.model.desired import Desired, DesiredNode
from metalwright.model.frozen import FrozenDict
from metalwright.model.inventory import Inventory
from metalwright.model.natural import natural
from metalwright.model.observed import Observed
from metalwright.model.operation import Memory
from metalwright.model.plan import (
    Action,
    Blocked,
    Cause,
    Fate,
    Plan,
    Totals,
)
from metalwright.plan.beside import Lines, beside_git, not_adopted
from metalwright.plan.blockers import blocked, first_no, held, stranger, unseen
from metalwright.plan.context import Ground, PlanContext
from metalwright.plan.difference import Case, Difference, difference, plainly_as_desired
from metalwright.plan.gates import acknowledged, hold_back_all
from metalwright.plan.holds import holds_in_git
from metalwright.plan.order import forecast, sort_actions
from metalwright.plan.progress import in_progress
from metalwright.plan.radius import hold_back
from metalwright.plan.rollout import Rolled, roll, strategies, take_turns, withdraw
from metalwright.plan.standing import Standing, standing_of
from metalwright.plan.verbs import stages_of


def make(desired: Desired, observed: Observed, memory: Memory, context: PlanContext) -> Plan:
    """The plan of one cycle: what would be done and why, and what is left alone and why."""
    inventory, lines = desired.inventory, Lines()
    abandoned_revision = _abandoned(inventory, context)
    history_kept = abandoned_revision is None
    rolling = strategies(desired).keys()
    names = _in_scope(desired.nodes, context)
    for name in names:
        remembered = memory.nodes.get(name)
        if remembered is None:
            lines.blocked.append(not_adopted(name))
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
        found = _decide(case, lines, history_kept=history_kept)
        if found is not None and wanted.pool in rolling:
            lines.staged[name] = found
    managed = len(lines.blocked) + len(lines.actions) + len(lines.progress)
    beside_git(desired, memory, context, lines)
    ground = Ground(desired=desired, observed=observed, memory=memory, context=context)
    radius = hold_back(lines.actions, lines.blocked, ground, history_kept=history_kept)
    if abandoned_revision is not None:
        hold_back_all(lines.actions, lines.blocked, abandoned_revision)
    rolled = _rolled(lines, ground, history_kept=history_kept)
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
        change_digest=radius.digest,
        abandoned_revision=abandoned_revision,
        consents=radius.consents,
        rollouts=rolled.rollouts,
        next_due_at=min((one for one in (radius.due, *rolled.due.values()) if one), default=None),
        holds_in_git=tuple(sorted(lines.holds_in_git, key=natural)),
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


def _rolled(lines: Lines, ground: Ground, *, history_kept: bool) -> Rolled:
    """The rollouts after this look, the lines of the nodes whose turn it is not kept back."""
    if not lines.staged and not ground.memory.rollouts:
        return Rolled()
    going = {action.node for action in lines.actions}
    staged = {
        name: Standing.WAITS if one is Standing.READY and name not in going else one
        for name, one in lines.staged.items()
    }
    rolled = roll(ground, staged, history_kept=history_kept)
    take_turns(lines.actions, lines.blocked, staged, rolled, ground.desired)
    withdraw(lines.progress, rolled, ground)
    return rolled


def _decide(case: Case, lines: Lines, *, history_kept: bool) -> Standing | None:
    """Add the line of one adopted node; a node that is as desired has none.

    The answer is where the node stands, if it lacks something that a rollout would bring.
    """
    if holds_in_git(case.wanted, case.remembered):
        lines.holds_in_git.append(case.wanted.name)
    operation = case.remembered.operation
    if operation is not None and operation.unfinished:
        under_way = in_progress(case, operation, history_kept=history_kept)
        lines.progress.append(under_way)
        if under_way.fate is Fate.CONTINUE:
            return None
        found = difference(case)
        return Standing.UNDER_WAY if found is not None and found.staged else None
    found = difference(case)
    if found is None:
        line = _told(case)
        if line is not None:
            lines.blocked.append(line)
        return None
    no = first_no(case, found)
    if no is None:
        lines.actions.append(_action(case, found))
        standing = Standing.READY
    else:
        lines.blocked.append(blocked(case, found, no))
        standing = standing_of(no.reason, case.observation)
    return standing if found.staged else None


def _told(case: Case) -> Blocked | None:
    """What an operator should know of a node that lacks nothing, as far as we can tell.

    A hold and a quarantine are told although nothing is to be done; without a cause, since nothing
    differs, unless it is not known whether something does.
    """
    unknown = unseen(case) or stranger(case)
    no = held(case) or unknown
    if no is None:
        return None
    beside = f"; besides: {unknown.message}" if unknown is not None and no is not unknown else ""
    return Blocked(
        node=case.wanted.name,
        reason=no.reason,
        message=no.message + beside,
        cause=Cause.DRIFT if unknown is not None else None,
        next_attempt_at=no.next_attempt_at,
    )


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


def _totals(
    desired: Desired,
    context: PlanContext,
    lines: Lines,
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
