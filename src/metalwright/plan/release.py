"""Which assignments are released: all of their nodes ready, or as many as their quorum says.

A node is ready when it was last brought to what the assignment wants (through its checks, where it
has some), and nothing is under way on it. Derived from git and memory at every look, never stored,
and nothing is decided from it: it is told to those who wait for the machines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from metalwright.model.desired import Desired, DesiredNode
from metalwright.model.documents import Assignment
from metalwright.model.inventory import Inventory, checks_of
from metalwright.model.natural import natural
from metalwright.model.operation import Memory, NodeMemory
from metalwright.model.plan import Plan
from metalwright.plan.tenancy import ASSIGNMENT, same_tenancy


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A node that is not ready, and why."""

    node: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """How far one assignment in force is. `since` is when it was released; `None` while it is not.

    `needed` of its `nodes` have to be ready.
    """

    assignment: str
    nodes: int
    ready: int
    needed: int
    since: datetime | None
    missing: tuple[Missing, ...]


def needed(assignment: Assignment, inventory: Inventory) -> int:
    """How many nodes of an assignment have to be ready: its quorum, its pool's, or all."""
    spec = assignment.spec
    pool = inventory.pools[spec.pool].spec
    quorum = spec.release.quorum if spec.release is not None else pool.release_quorum
    count = len(inventory.assigned[assignment.metadata.name])
    return count if quorum is None else max(1, -(-count * quorum // 100))


def gated(assignment: Assignment, inventory: Inventory) -> bool:
    """Whether the release of an assignment is worth telling: its nodes have checks to pass, or it
    has a quorum.
    """
    spec = assignment.spec
    if spec.release is not None or inventory.pools[spec.pool].spec.release_quorum is not None:
        return True
    return bool(checks_of(inventory, spec.pool, inventory.resolved[spec.template]))


def releases(
    desired: Desired, memory: Memory, plan: Plan, unpassed: Mapping[str, str]
) -> tuple[Release, ...]:
    """The assignments in force whose release is worth telling, by name. `unpassed` has the words of
    checks that were not passed yet, by node.
    """
    inventory = desired.inventory
    words = _words(plan, memory)
    words |= {name: f"validating: {said}" for name, said in unpassed.items() if said}
    found = []
    for name, assignment in sorted(inventory.assignments.items()):
        if not gated(assignment, inventory):
            continue
        held = [each for each in inventory.assigned[name] if _holds(name, each, desired)]
        if held:
            found.append(_release(assignment, desired, memory, words))
    return tuple(found)


def _holds(assignment: str, node: str, desired: Desired) -> bool:
    wanted = desired.nodes.get(node) or desired.not_managed.get(node)
    return wanted is not None and (wanted.holder.kind, wanted.holder.name) == (
        ASSIGNMENT,
        assignment,
    )


def _release(
    assignment: Assignment, desired: Desired, memory: Memory, words: Mapping[str, str]
) -> Release:
    name, inventory = assignment.metadata.name, desired.inventory
    since, missing = [], []
    for node in sorted(inventory.assigned[name], key=natural):
        wanted, remembered = desired.nodes.get(node), memory.nodes.get(node)
        at = _ready_since(wanted, remembered, inventory)
        if at is not None:
            since.append(at)
        else:
            missing.append(Missing(node=node, why=words.get(node, "not brought to it yet")))
    enough = needed(assignment, inventory)
    return Release(
        assignment=name,
        nodes=len(inventory.assigned[name]),
        ready=len(since),
        needed=enough,
        since=sorted(since)[enough - 1] if len(since) >= enough else None,
        missing=tuple(missing),
    )


def _ready_since(
    wanted: DesiredNode | None, remembered: NodeMemory | None, inventory: Inventory
) -> datetime | None:
    applied = remembered.applied if remembered is not None else None
    if wanted is None or applied is None or applied.target.digest != wanted.target.digest:
        return None
    same = same_tenancy(applied.holder, wanted.holder, inventory, same_target=True)
    return applied.at if same else None


def _words(plan: Plan, memory: Memory) -> dict[str, str]:
    """Why a node is not ready, as the plan has it, in short: its own line has all."""
    words = {}
    for line in plan.blocked:
        remembered = memory.nodes.get(line.node)
        failed = remembered.failed if remembered is not None else None
        error = f": {failed.last_error}" if failed is not None and failed.last_error else ""
        words[line.node] = f"{line.reason}{error}"
    words |= {each.node: f"to change: {each.verb}" for each in plan.actions}
    for each in plan.in_progress:
        stage = each.stage or "queued"
        error = f", the last attempt: {each.last_error}" if each.last_error else ""
        words[each.node] = f"{each.verb}: {stage}, attempt {each.attempt}{error}"
    return words
