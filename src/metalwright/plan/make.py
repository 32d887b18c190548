"""`make`: desired, observed and memory compared into one plan.

Each node is decided by itself (`decide`); what concerns the fleet comes after that: a rewritten
history, the blast radius, the order, the forecast. The same values in any order give the same plan.
It asks nothing and nobody, and what it cannot know it does not touch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from typing import TypeVar

from metalwright.model.desired import Desired, DesiredNode
from metalwright.model.frozen import FrozenDict
from metalwright.model.inventory import Inventory
from metalwright.model.natural import natural
from metalwright.model.observed import Observed
from metalwright.model.operation import Memory
from metalwright.model.plan import Action, Blocked, Fate, InProgress, Plan, Totals
from metalwright.model.waiting import Waiting
from metalwright.plan.beside import Lines, beside_git
from metalwright.plan.consents import lapsed, unused
from metalwright.plan.context import Ground, PlanContext
from metalwright.plan.decide import decide
from metalwright.plan.gates import Kept, acknowledged, hold_back_all, hold_back_older
from metalwright.plan.memo import Memo
from metalwright.plan.order import sort_actions
from metalwright.plan.radius import Verdict, hold_back
from metalwright.plan.rollout import Rolled, roll, strategies, take_turns, withdraw
from metalwright.plan.standing import Standing

Line = TypeVar("Line", InProgress, Blocked)


def make(
    desired: Desired,
    observed: Observed,
    memory: Memory,
    context: PlanContext,
    memo: Memo | None = None,
) -> Plan:
    """The plan of one cycle: what would be done and why, and what is left alone and why.

    A `memo` that is kept from plan to plan spares the work on nodes that have not changed since; it
    never changes the plan.
    """
    ground = Ground(desired=desired, observed=observed, memory=memory, context=context)
    memo, inventory = memo if memo is not None else Memo(), desired.inventory
    abandoned_revision = _abandoned(inventory, context)
    history_kept = abandoned_revision is None
    rolling = strategies(desired).keys()
    names = _in_scope(desired.nodes, context)
    lines = memo.look(
        ground, names, lambda name: decide(name, ground, rolling, history_kept=history_kept)
    )
    under_way, left_alone = len(lines.progress), len(lines.blocked)
    managed = left_alone + len(lines.actions) + under_way
    beside_git(desired, memory, context, lines)
    beside = len(lines.blocked) - left_alone
    books = memo.books
    books.kept.begin()
    if history_kept:
        hold_back_older(lines, ground, books.kept)
    radius = hold_back(lines, ground, books, history_kept=history_kept)
    if abandoned_revision is not None:
        hold_back_all(lines, abandoned_revision, books.kept)
    rolled = _rolled(lines, ground, books.kept, history_kept=history_kept)
    actions = sort_actions(lines.actions)
    progress = _in_order(lines.progress, under_way)
    rolls = rolled.rollouts or lines.staged
    pending = _going_on(lines.waiting, progress) if rolls else lines.waiting
    actions, limits = memo.forecaster.forecast(actions, pending, ground, progress)
    return Plan(
        revision=inventory.revision,
        at=desired.at,
        observed=context.observed_kind,
        totals=_totals(
            ground,
            lines,
            actions,
            as_desired=len(names) - managed,
            in_progress=under_way,
            blocked=len(lines.blocked) - beside,
        ),
        actions=tuple(actions),
        in_progress=tuple(progress),
        blocked=tuple(_in_order(lines.blocked, left_alone)),
        limits=limits,
        change_digest=radius.digest,
        abandoned_revision=abandoned_revision,
        consents=radius.consents,
        lapsed=lapsed(ground, books.names) if history_kept else (),
        unused_acknowledgements=_unused(ground, radius),
        rollouts=rolled.rollouts,
        next_due_at=min((one for one in (radius.due, *rolled.due.values()) if one), default=None),
        holds_in_git=tuple(lines.holds_in_git),
    )


def _in_order(lines: list[Line], ordered: int) -> list[Line]:
    """The lines by the natural order of names; so many, the first ones, are in order already."""
    if len(lines) == ordered:
        return lines
    return sorted(lines, key=lambda line: natural(line.node))


def _going_on(waiting: Iterable[Waiting], progress: Iterable[InProgress]) -> list[Waiting]:
    """Those that wait and were not withdrawn with their rollout."""
    gone = {line.node for line in progress if line.fate is not Fate.CONTINUE}
    return [one for one in waiting if one.node not in gone]


def _abandoned(inventory: Inventory, context: PlanContext) -> str | None:
    """The commit that history no longer has, unless a commit acknowledges that."""
    revision = context.abandoned_revision
    if revision is None or acknowledged(revision, inventory.rules.acknowledge):
        return None
    return revision


def _in_scope(nodes: Mapping[str, DesiredNode], context: PlanContext) -> Set[str]:
    limit = context.limit_nodes
    return nodes.keys() if limit is None else nodes.keys() & limit


def _unused(ground: Ground, radius: Verdict) -> tuple[str, ...]:
    """The acknowledgements of the policy that name nothing which waits now."""
    if ground.context.limit_nodes is not None:
        return ()
    pauses = (one.acknowledgement for one in ground.memory.rollouts.values())
    rewritten = ground.context.abandoned_revision or ""
    return unused(
        ground.desired.inventory.rules.acknowledge,
        (radius.digest, radius.drift_digest, rewritten, *pauses),
    )


def _rolled(lines: Lines, ground: Ground, kept: Kept, *, history_kept: bool) -> Rolled:
    """The rollouts after this look, the lines of the nodes whose turn it is not kept back."""
    if not lines.staged and not ground.memory.rollouts:
        return Rolled()
    going = {action.node for action in lines.actions}
    staged = {
        name: Standing.WAITS if one is Standing.READY and name not in going else one
        for name, one in lines.staged.items()
    }
    rolled = roll(ground, staged, history_kept=history_kept)
    take_turns(lines, staged, rolled, ground.desired, kept)
    withdraw(lines.progress, staged, rolled, ground)
    return rolled


def _totals(ground: Ground, lines: Lines, actions: list[Action], **counted: int) -> Totals:
    """The counts; those that are `counted` already are told as they are."""
    inventory, limit = ground.desired.inventory, ground.context.limit_nodes
    everywhere = len(inventory.nodes) if limit is None else len(limit & inventory.nodes.keys())
    managed = len(_in_scope(ground.desired.nodes, ground.context))
    return Totals(
        nodes=managed,
        changes=len(actions),
        **counted,
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
