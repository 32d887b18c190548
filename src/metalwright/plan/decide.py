"""What one node's line in the plan is, decided by itself, and until when time lets it be so.

Nothing of other nodes matters here: not the limits, not the blast radius, not whose turn it is.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from metalwright.model.inventory import checks_of
from metalwright.model.operation import Operation, OperationState
from metalwright.model.plan import Action, Blocked, Cause, Fate, InProgress
from metalwright.model.waiting import Waiting
from metalwright.plan.beside import not_adopted
from metalwright.plan.blockers import blocked, first_no, held, stands_until, stranger, unseen
from metalwright.plan.context import Ground
from metalwright.plan.difference import Case, Difference, difference, plainly_as_desired
from metalwright.plan.holds import holds_in_git
from metalwright.plan.order import waiting_of
from metalwright.plan.progress import in_progress
from metalwright.plan.standing import Standing, standing_of
from metalwright.plan.verbs import stages_of, wakes


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was found of one node.

    `line` is its line, if it has one, `standing` where it stands if it lacks something that its
    pool rolls out, `waiting` what its operation waits for slots as, `hold_in_git` that git declares
    by now what an operator put on here. From `until` on time alone may have changed the answer.
    """

    line: Action | InProgress | Blocked | None = None
    standing: Standing | None = None
    waiting: Waiting | None = None
    hold_in_git: bool = False
    until: datetime | None = None


AS_DESIRED: Final = Found()


def decide(name: str, ground: Ground, rolling: Collection[str], *, history_kept: bool) -> Found:
    """What is found of a node that git wants something of. `rolling` are the pools with a strategy
    of rollout; `history_kept` is false while a rewritten history is not acknowledged.
    """
    desired, remembered = ground.desired, ground.memory.nodes.get(name)
    if remembered is None:
        return Found(line=not_adopted(name))
    node, wanted = desired.inventory.nodes[name], desired.nodes[name]
    seen = ground.observed.nodes.get(name)
    if plainly_as_desired(node, wanted, remembered, seen):
        return AS_DESIRED
    case = Case(
        node=node,
        wanted=wanted,
        remembered=remembered,
        observation=seen,
        inventory=desired.inventory,
        context=ground.context,
        at=desired.at,
    )
    rolls = wanted.pool in rolling
    line, standing = _line(case, history_kept=history_kept, rolls=rolls)
    operation = remembered.operation
    goes_on = isinstance(line, InProgress) and line.fate is Fate.CONTINUE
    return Found(
        line=line,
        standing=standing if rolls else None,
        waiting=_waiting(operation, case) if operation is not None and goes_on else None,
        hold_in_git=holds_in_git(wanted, remembered),
        until=stands_until(case),
    )


def _waiting(operation: Operation, case: Case) -> Waiting | None:
    if operation.state is not OperationState.PENDING:
        return None
    return waiting_of(operation, case.inventory)


def _line(
    case: Case, *, history_kept: bool, rolls: bool
) -> tuple[Action | InProgress | Blocked | None, Standing | None]:
    """The line of an adopted node, none if it is as desired; and where it stands, if it lacks
    something that a rollout would bring. `rolls` says that its pool has a strategy.
    """
    operation = case.remembered.operation
    if operation is not None and operation.unfinished:
        under_way = in_progress(case, operation, history_kept=history_kept)
        if not rolls or (under_way.fate is Fate.CONTINUE and operation.corrects):
            return under_way, None
        found = difference(case)
        staged = found is not None and found.staged
        return under_way, Standing.UNDER_WAY if staged else None
    found = difference(case)
    if found is None:
        return _told(case), None
    no = first_no(case, found)
    if no is None:
        return _action(case, found), Standing.READY if found.staged else None
    standing = standing_of(no.reason, case.observation)
    return blocked(case, found, no), standing if found.staged else None


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
    checked = bool(checks_of(case.inventory, wanted.pool, wanted.target.template))
    woken = wakes(found.verb, wanted.target, case.reading)
    return Action(
        node=wanted.name,
        verb=found.verb,
        pool=wanted.pool,
        holder=wanted.holder,
        target=wanted.target,
        priority=wanted.priority,
        stages=stages_of(found.verb, wanted.target, checked=checked, woken=woken),
        disruptive=found.disruptive,
        destroys_data=found.destroys_data,
        reasons=found.reasons,
        source=wanted.source,
    )
