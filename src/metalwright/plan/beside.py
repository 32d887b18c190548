"""Lines of nodes that git wants nothing of, or that nobody adopted: only told of, never changed."""

from __future__ import annotations

from dataclasses import dataclass, field

from metalwright.model.desired import Desired
from metalwright.model.hardware import Lifecycle
from metalwright.model.operation import Memory, NodeMemory
from metalwright.model.plan import Action, Blocked, BlockedReason, Cause, InProgress
from metalwright.model.tenancy import PowerState
from metalwright.model.waiting import Waiting
from metalwright.plan.context import PlanContext
from metalwright.plan.progress import abandoned
from metalwright.plan.standing import Standing
from metalwright.plan.tenancy import ASSIGNMENT


@dataclass(slots=True)
class Lines:
    """The lines of a plan, as they are found. `staged` are the nodes that lack something that their
    pool rolls out, and where they stand, `waiting` the operations that wait for slots.
    """

    actions: list[Action] = field(default_factory=list)
    progress: list[InProgress] = field(default_factory=list)
    blocked: list[Blocked] = field(default_factory=list)
    staged: dict[str, Standing] = field(default_factory=dict)
    holds_in_git: list[str] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    absent: int = 0


def not_adopted(name: str) -> Blocked:
    """The line of a node that was never taken over."""
    return Blocked(
        node=name,
        reason=BlockedReason.NOT_ADOPTED,
        message="not adopted, so never changed; take it over with `mw adopt NODE`",
        cause=Cause.GIT,
    )


def beside_git(desired: Desired, memory: Memory, context: PlanContext, lines: Lines) -> None:
    """Add the lines of nodes that git wants nothing of: only told of, never changed."""
    inventory, limit = desired.inventory, context.limit_nodes
    for name in desired.not_managed:
        if name not in memory.nodes and (limit is None or name in limit):
            _not_managed(desired, name, None, lines)
    if memory.nodes.keys() <= desired.nodes.keys():
        return
    for name in sorted(memory.nodes.keys() - desired.nodes.keys()):
        if limit is not None and name not in limit:
            continue
        remembered = memory.nodes[name]
        if name in inventory.nodes:
            _not_managed(desired, name, remembered, lines)
        else:
            lines.absent += 1
            _absent(remembered, lines)


def _not_managed(desired: Desired, name: str, remembered: NodeMemory | None, lines: Lines) -> None:
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


def _absent(remembered: NodeMemory, lines: Lines) -> None:
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
