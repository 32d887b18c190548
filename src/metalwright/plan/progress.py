"""What becomes of an unfinished operation: it goes on, or gives way to what git wants now."""

from __future__ import annotations

from typing import Final

from metalwright.model.observed import Power
from metalwright.model.operation import NodeMemory, Operation, OperationState, Stage
from metalwright.model.plan import BlockedReason, Fate, InProgress
from metalwright.plan.blockers import first_no
from metalwright.plan.difference import Case, Difference, difference
from metalwright.plan.holds import braked
from metalwright.plan.remanence import exposed
from metalwright.plan.tenancy import same_tenancy
from metalwright.plan.verbs import MAKES_ANEW

_STOPS_PENDING: Final = frozenset({BlockedReason.FROZEN, BlockedReason.NOT_SUPPORTED})
"""What a commit or the clock may say against an operation that waits."""

_STOPS_UNTRIED: Final = _STOPS_PENDING | {
    BlockedReason.DATA_LOSS_NOT_CONSENTED,
    BlockedReason.WAITS_FOR_BOUNDARY,
}
"""The same, for one that has not touched the machine yet. Once tried, its consent was used."""


def in_progress(case: Case, operation: Operation, *, history_kept: bool) -> InProgress:
    """The entry for an unfinished operation of a node that git wants something of.

    `history_kept` is false while a rewritten history is not acknowledged: then nothing is begun,
    and what runs goes on to the end that it was begun for.
    """
    pending = operation.state is OperationState.PENDING
    brake = braked(case.wanted, case.remembered)
    if brake is not None:
        return _gives_way(operation, brake[1])
    if not history_kept:
        if pending:
            return entry(operation, Fate.CANCEL, "the history of git was rewritten")
        return entry(operation, Fate.CONTINUE, "begun before the history of git was rewritten")
    wanted = case.wanted
    same_target = operation.target.digest == wanted.target.digest
    if not same_tenancy(operation.holder, wanted.holder, case.inventory, same_target=same_target):
        return _gives_way(operation, f"git wants it for {wanted.holder} now")
    if not same_target:
        return _gives_way(operation, "git wants another state now")
    exposes = exposed(case, operation.stages)
    if exposes:
        return _gives_way(operation, exposes)
    found = difference(case)
    loses = _loses_otherwise(case, operation, found) if _spares(operation) else ""
    if loses:
        return _gives_way(operation, loses)
    if pending:
        no = first_no(case, found) if found is not None else None
        stops = _STOPS_PENDING if operation.attempt else _STOPS_UNTRIED
        if no is not None and no.reason in stops:
            return entry(operation, Fate.CANCEL, no.message)
        outdated = _outdated(case, operation, found) if operation.attempt == 0 else ""
        if outdated:
            return entry(operation, Fate.CANCEL, outdated)
    return entry(operation, Fate.CONTINUE)


def _spares(operation: Operation) -> bool:
    """Whether this attempt has not begun yet with what may destroy data."""
    if operation.stage in (None, Stage.POWER_OFF):
        return True
    first = Stage.WIPE if Stage.WIPE in operation.stages else Stage.BOOT
    return operation.stage is first and operation.intent is None


def _loses_otherwise(case: Case, operation: Operation, found: Difference | None) -> str:
    """Why git wants the disks treated otherwise by now, though it wants the same state, if so.

    The digest of a target does not cover how its disks are wiped: whoever runs already is not
    touched for an edit of that. Who has not begun is, and never loses more than HEAD says.
    """
    levels = [one.wipe for one in (operation.target.template, case.wanted.target.template) if one]
    if operation.verb in MAKES_ANEW and len(set(levels)) > 1:
        return f"git wants wipe: {levels[1].value} by now, not {levels[0].value}"
    if operation.destroys_data and (found is None or not found.destroys_data):
        return "what git wants by now destroys no data"
    return ""


def _outdated(case: Case, operation: Operation, found: Difference | None) -> str:
    """Why an operation that was never begun would not be planned like this any more, if so.

    What is wanted then is planned anew, and counts for the blast radius as what it is by now.
    """
    if found is None and operation.corrects and case.power is not Power.UNKNOWN:
        return "it is as git wants it by now"
    if found is not None and found.verb is not operation.verb:
        return f"to be as git wants it, it needs {found.verb.value} by now"
    if operation.destroys_data and found is not None and not found.consented:
        return "nothing in git consents any more to the loss of its data"
    runs = found is not None and found.disruptive and case.power is Power.ON
    if runs and not operation.disruptive:
        return "it was off when this was planned, and runs by now"
    return ""


def abandoned(remembered: NodeMemory, why: str) -> InProgress | None:
    """The entry for an operation on a node that git wants nothing of, if there is one."""
    operation = remembered.operation
    if operation is None or not operation.unfinished:
        return None
    return _gives_way(operation, why)


def _gives_way(operation: Operation, why: str) -> InProgress:
    if operation.state is OperationState.PENDING:
        return entry(operation, Fate.CANCEL, why)
    return entry(operation, Fate.SUPERSEDE, why)


def entry(operation: Operation, fate: Fate, why: str = "") -> InProgress:
    """The plan's line for an operation."""
    return InProgress(
        node=operation.node,
        operation_id=operation.id,
        verb=operation.verb,
        fate=fate,
        attempt=operation.attempt,
        stage=operation.stage,
        since=operation.created_at,
        commit=operation.commit,
        not_before=operation.not_before,
        last_error=operation.last_error,
        why=why,
        destroys_data=operation.destroys_data,
    )
