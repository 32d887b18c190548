"""The promises of a plan as a whole: nobody forgotten, not too much at once, sums true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from metalwright.model.limits import demand_of, limit_of, scopes_of
from metalwright.model.observed import Power
from metalwright.model.operation import Operation, OperationState
from metalwright.model.plan import Fate, Plan
from metalwright.plan.facts import Facts


def progress(plan: Plan, facts: Facts) -> Iterator[str]:
    """Every unfinished operation is told of, and its fate is one that it can have."""
    unfinished = {
        name: remembered.operation
        for name, remembered in facts.memory.nodes.items()
        if remembered.operation is not None
        and remembered.operation.unfinished
        and facts.in_scope(name)
    }
    lines = {line.node: line for line in plan.in_progress}
    for name in sorted(unfinished.keys() ^ lines.keys()):
        yield f"{name}: has an unfinished operation or a line for one, not both"
    for name in sorted(unfinished.keys() & lines.keys()):
        operation, line = unfinished[name], lines[name]
        pending = operation.state is OperationState.PENDING
        if line.operation_id != operation.id:
            yield f"{name}: speaks of another operation than the unfinished one"
        if line.fate is Fate.CANCEL and not pending:
            yield f"{name}: a running operation cannot be cancelled"
        if line.fate is Fate.SUPERSEDE and pending:
            yield f"{name}: an operation that never ran cannot be superseded"
        if line.fate is Fate.CONTINUE and not _still_wanted(operation, facts):
            yield f"{name}: goes on with what git does not want any more"
        if line.fate is Fate.CONTINUE and name in facts.desired.nodes and facts.stopped(name):
            yield f"{name}: goes on although it is {facts.stopped(name)}"
        if line.fate is not Fate.CONTINUE and not line.why:
            yield f"{name}: gives way without a reason"


def _still_wanted(operation: Operation, facts: Facts) -> bool:
    if not facts.history_kept():
        return operation.state is not OperationState.PENDING
    wanted = facts.desired.nodes.get(operation.node)
    if wanted is None or operation.target.digest != wanted.target.digest:
        return False
    return facts.one_tenancy(operation.holder, wanted.holder, same=True)


def history(plan: Plan, facts: Facts) -> Iterator[str]:
    """A rewritten history is told of, and starts nothing."""
    told = None if facts.history_kept() else facts.context.abandoned_revision
    if plan.abandoned_revision != told:
        yield "says the wrong thing about a rewritten history"
    if plan.actions and told is not None:
        yield "something is changed although history was rewritten"


def nodes_of(plan: Plan) -> list[str]:
    """The node of every line."""
    return [
        *(line.node for line in plan.actions),
        *(line.node for line in plan.in_progress),
        *(line.node for line in plan.blocked),
    ]


def completeness(plan: Plan, facts: Facts) -> Iterator[str]:
    """Every node that differs is in the plan; who is not in it is as desired."""
    told = set(nodes_of(plan))
    asked = facts.context.observed_kind != "none"
    for name in facts.desired.nodes:
        if name in told or not facts.in_scope(name):
            continue
        if name not in facts.memory.nodes:
            yield f"{name}: is not adopted, and the plan does not say so"
        elif not facts.settled(name):
            yield f"{name}: git wants something else, and the plan does not say so"
        elif facts.stopped(name):
            yield f"{name}: is {facts.stopped(name)}, and the plan does not say so"
        elif facts.drifted(name):
            yield f"{name}: has drifted, and the plan does not say so"
        elif asked and facts.power(name) is Power.UNKNOWN:
            yield f"{name}: is not known, and the plan does not say so"


def holds(plan: Plan, facts: Facts) -> Iterator[str]:
    """A local hold is given up just where git has one in force."""
    both = {
        name
        for name, wanted in facts.desired.nodes.items()
        if wanted.hold is not None and facts.in_scope(name) and _held_here(facts, name)
    }
    for name in sorted(both ^ set(plan.holds_in_git)):
        yield f"{name}: says the wrong thing about a hold that git declares"


def _held_here(facts: Facts, node: str) -> bool:
    remembered = facts.memory.nodes.get(node)
    return remembered is not None and remembered.hold is not None


def order(plan: Plan, facts: Facts) -> Iterator[str]:  # noqa: ARG001
    """Actions are in the order of admission."""
    priorities = [action.priority for action in plan.actions]
    if priorities != sorted(priorities, reverse=True):
        yield "a lower priority is before a higher one"


def forecast(plan: Plan, facts: Facts) -> Iterator[str]:
    """What starts now fits every limit, beside the slots that are held."""
    inventory = facts.desired.inventory
    held = Counter(facts.memory.slots)
    starting = Counter[str]()
    for action in plan.actions:
        if action.starts_now and action.node in inventory.nodes:
            starting.update(scopes_of(inventory, demand_of(action)))
    for scope, count in sorted(starting.items()):
        limit = limit_of(inventory, scope)
        if held[scope] + count > limit:
            yield f"{held[scope] + count} nodes would be in flight in {scope}, {limit} may be"
    for use in plan.limits:
        if (use.limit, use.held) != (limit_of(inventory, use.scope), held[use.scope]):
            yield f"the limit of {use.scope} is told wrongly"


def totals(plan: Plan, facts: Facts) -> Iterator[str]:
    """The counts are those of the lines, and they add up."""
    told, nodes = plan.totals, facts.desired.nodes
    managed = [name for name in nodes if facts.in_scope(name)]
    declared = [name for name in facts.desired.inventory.nodes if facts.in_scope(name)]
    remembered = [name for name in facts.memory.nodes if facts.in_scope(name)]
    expected = {
        "nodes": len(managed),
        "changes": len(plan.actions),
        "in_progress": sum(line.node in nodes for line in plan.in_progress),
        "blocked": sum(line.node in nodes for line in plan.blocked),
        "disruptive": sum(action.disruptive for action in plan.actions),
        "destroying": sum(action.destroys_data for action in plan.actions),
        "starts_now": sum(action.starts_now for action in plan.actions),
        "unmanaged": len(declared) - len(managed),
        "absent": sum(name not in facts.desired.inventory.nodes for name in remembered),
        "by_verb": dict(Counter(action.verb.value for action in plan.actions)),
        "by_blocked": dict(Counter(line.reason.value for line in plan.blocked)),
    }
    for name, value in expected.items():
        if getattr(told, name) != value:
            yield f"totals: {name} is {getattr(told, name)}, and should be {value}"
    if told.as_desired + told.changes + told.in_progress + told.blocked != told.nodes:
        yield "totals: they do not add up"
