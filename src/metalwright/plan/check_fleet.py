"""The promises of a plan as a whole: nobody forgotten, not too much at once, sums true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Set

from metalwright.model.limits import demand_of, limit_of, scopes_of
from metalwright.model.observed import Power
from metalwright.model.operation import Operation, OperationState, Stage
from metalwright.model.plan import Fate, InProgress, Plan
from metalwright.plan.facts import WIPING, Facts


def progress(plan: Plan, facts: Facts) -> Iterator[str]:
    """Every unfinished operation is told of, and its fate is one that it can have."""
    lines = {line.node: line for line in plan.in_progress}
    for name in sorted(facts.checked.going(lines)):
        remembered = facts.memory.nodes.get(name)
        operation = remembered.operation if remembered is not None else None
        if operation is not None and not (operation.unfinished and facts.in_scope(name)):
            operation = None
        for violation in _of_operation(operation, lines.get(name), facts):
            facts.checked.wrong(name)
            yield f"{name}: {violation}"


def _of_operation(
    operation: Operation | None, line: InProgress | None, facts: Facts
) -> Iterator[str]:
    """What is wrong with what the plan says, or does not say, of one node's operation."""
    if operation is None or line is None:
        if operation is not None or line is not None:
            yield "has an unfinished operation or a line for one, not both"
        return
    pending = operation.state is OperationState.PENDING
    if line.operation_id != operation.id:
        yield "speaks of another operation than the unfinished one"
    if line.fate is Fate.CANCEL and not pending:
        yield "a running operation cannot be cancelled"
    if line.fate is Fate.SUPERSEDE and pending:
        yield "an operation that never ran cannot be superseded"
    if line.fate is Fate.CONTINUE and not _still_wanted(operation, facts):
        yield "goes on with what git does not want any more"
    if line.fate is Fate.CONTINUE and _exposes(operation, facts):
        yield "goes on into other hands with a tenant's data on its disks"
    stopped = facts.stopped(operation.node) if operation.node in facts.desired.nodes else ""
    if line.fate is Fate.CONTINUE and stopped:
        yield f"goes on although it is {stopped}"
    if line.fate is not Fate.CONTINUE and not line.why:
        yield "gives way without a reason"
    if line.destroys_data != operation.destroys_data:
        yield "says the wrong thing about data loss"
    if line.fate is Fate.CONTINUE and _loses_more(operation, facts):
        yield "goes on to treat the disks as git does not want any more"


def _still_wanted(operation: Operation, facts: Facts) -> bool:
    if not facts.history_kept():
        return operation.state is not OperationState.PENDING
    wanted = facts.desired.nodes.get(operation.node)
    if wanted is None or operation.target.digest != wanted.target.digest:
        return False
    return facts.one_tenancy(operation.holder, wanted.holder, same=True)


def _loses_more(operation: Operation, facts: Facts) -> bool:
    """Whether its disks, not touched yet, would be treated otherwise than git says now."""
    name, wanted = operation.node, facts.desired.nodes.get(operation.node)
    if wanted is None or operation.stage not in (None, Stage.POWER_OFF):
        return False
    if not facts.history_kept():
        return False
    before, after = operation.target.template, wanted.target.template
    if before is None or after is None:
        return False
    untried = operation.state is OperationState.PENDING and not operation.attempt
    if untried and operation.destroys_data and not facts.consented(name):
        return True
    return operation.verb in WIPING and before.wipe is not after.wipe


def _exposes(operation: Operation, facts: Facts) -> bool:
    known = operation.node in facts.desired.nodes and facts.history_kept()
    return known and facts.exposes(operation.node, operation.stages)


def history(plan: Plan, facts: Facts) -> Iterator[str]:
    """A rewritten history is told of, and starts nothing."""
    told = None if facts.history_kept() else facts.context.abandoned_revision
    if plan.abandoned_revision != told:
        yield "says the wrong thing about a rewritten history"
    if plan.actions and told is not None:
        yield "something is changed although history was rewritten"
    for action in plan.actions if facts.context.later_revisions else ():
        remembered = facts.memory.nodes.get(action.node)
        applied = remembered.applied if remembered is not None else None
        if applied is not None and applied.revision in facts.context.later_revisions:
            yield f"{action.node}: goes back to an older revision than it is recorded at"


def nodes_of(plan: Plan) -> list[str]:
    """The node of every line."""
    return [
        *(line.node for line in plan.actions),
        *(line.node for line in plan.in_progress),
        *(line.node for line in plan.blocked),
    ]


def completeness(plan: Plan, facts: Facts) -> Iterator[str]:  # noqa: ARG001
    """Every node that differs is in the plan; who is not in it is as desired."""
    for name in sorted(facts.checked.untold(facts.told)):
        if name not in facts.desired.nodes or not facts.in_scope(name):
            continue
        violation = _should_be_told(name, facts)
        if violation:
            facts.checked.wrong(name)
            yield f"{name}: {violation}, and the plan does not say so"


def _should_be_told(name: str, facts: Facts) -> str:
    """Why a node has to be in the plan; nothing for one that is as desired."""
    if name not in facts.memory.nodes:
        return "is not adopted"
    if not facts.settled(name):
        return "git wants something else"
    if facts.stopped(name):
        return f"is {facts.stopped(name)}"
    if facts.drifted(name):
        return "has drifted"
    if facts.context.observed_kind != "none" and facts.power(name) is Power.UNKNOWN:
        return "is not known"
    return ""


def holds(plan: Plan, facts: Facts) -> Iterator[str]:
    """A local hold is given up just where git has one in force that does not end by itself."""
    both = {
        name
        for name in facts.checked.held_in_git
        if facts.in_scope(name) and _held_here(facts, name)
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
    managed = facts.of_scope(nodes)
    declared = facts.of_scope(facts.desired.inventory.nodes)
    unknown = _unknown(facts)
    expected = {
        "nodes": len(managed),
        "changes": len(plan.actions),
        "in_progress": sum([line.node in nodes for line in plan.in_progress]),
        "blocked": sum([line.node in nodes for line in plan.blocked]),
        "disruptive": sum(action.disruptive for action in plan.actions),
        "destroying": sum(action.destroys_data for action in plan.actions),
        "starts_now": sum(action.starts_now for action in plan.actions),
        "unmanaged": len(declared) - len(managed),
        "absent": len(facts.of_scope(unknown)),
        "by_verb": dict(Counter(action.verb.value for action in plan.actions)),
        "by_blocked": dict(Counter(line.reason.value for line in plan.blocked)),
    }
    for name, value in expected.items():
        if getattr(told, name) != value:
            yield f"totals: {name} is {getattr(told, name)}, and should be {value}"
    if told.as_desired + told.changes + told.in_progress + told.blocked != told.nodes:
        yield "totals: they do not add up"


def _unknown(facts: Facts) -> Set[str]:
    """The remembered nodes that git does not have; there is rarely one."""
    remembered, declared = facts.memory.nodes.keys(), facts.desired.inventory.nodes.keys()
    return frozenset() if remembered <= declared else remembered - declared
