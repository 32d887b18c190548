"""`check`: whether a plan keeps every promise, whoever made it.

It works everything out again from desired, observed and memory, and shares no code with `make`: a
rule that was forgotten or bent there does not hold here. A plan that breaks one rule is not carried
out at all. What it cannot see is whether git is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from metalwright.model.desired import Desired
from metalwright.model.observed import Observed
from metalwright.model.operation import Memory
from metalwright.model.plan import Plan
from metalwright.plan.check_actions import action_violations
from metalwright.plan.check_fleet import (
    completeness,
    forecast,
    history,
    holds,
    nodes_of,
    order,
    progress,
    totals,
)
from metalwright.plan.check_radius import blast_radius, digest
from metalwright.plan.check_rollouts import rollouts
from metalwright.plan.checked import Checked
from metalwright.plan.context import Ground, PlanContext
from metalwright.plan.facts import Facts

Rule = Callable[[Plan, Facts], Iterator[str]]


def check(
    plan: Plan,
    desired: Desired,
    observed: Observed,
    memory: Memory,
    context: PlanContext,
    checked: Checked | None = None,
) -> tuple[str, ...]:
    """The promises that the plan breaks, each as a sentence; none when it may be carried out.

    With `checked`, kept from plan to plan, a line that was in order is not looked at again while it
    and all that it was judged by are the same objects.
    """
    checked = checked if checked is not None else Checked()
    ground = Ground(desired=desired, observed=observed, memory=memory, context=context)
    checked.begin(ground)
    facts = Facts(
        desired=desired,
        observed=observed,
        memory=memory,
        context=context,
        told=frozenset(nodes_of(plan)),
        checked=checked,
    )
    violations = tuple(violation for rule in _RULES for violation in rule(plan, facts))
    checked.end(ground)
    return violations


def _of_these_values(plan: Plan, facts: Facts) -> Iterator[str]:
    if plan.revision != facts.desired.inventory.revision:
        yield f"it is of revision {plan.revision.id[:12]}, not of the one that is wanted"
    if plan.at != facts.desired.at:
        yield "it is of another instant than the desired state"
    if plan.observed != facts.context.observed_kind:
        yield f"it says that observations are {plan.observed}"


def _once(plan: Plan, facts: Facts) -> Iterator[str]:
    count = len(plan.actions) + len(plan.in_progress) + len(plan.blocked)
    if len(facts.told) == count == len(facts.of_scope(facts.told)):
        return
    seen: set[str] = set()
    for node in nodes_of(plan):
        if node in seen:
            yield f"{node}: is in the plan more than once"
        seen.add(node)
        if not facts.in_scope(node):
            yield f"{node}: is outside the limit that was asked for"


def _told(plan: Plan, facts: Facts) -> Iterator[str]:  # noqa: ARG001
    for action in plan.actions:
        if not action.reasons:
            yield f"{action.node}: is changed without a reason"
    for line in plan.blocked:
        if not line.message:
            yield f"{line.node}: is left alone without a reason"


_RULES: Final[tuple[Rule, ...]] = (
    _of_these_values,
    _once,
    _told,
    action_violations,
    progress,
    history,
    blast_radius,
    rollouts,
    completeness,
    holds,
    order,
    forecast,
    digest,
    totals,
)
