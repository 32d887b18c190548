"""Why a difference is not mended now: one question after the other, the first "no" is the answer.

First comes what only a commit or an operator can change, then what passes by itself (`PASSING`), so
that the set of changes which a commit acknowledges does not depend on which BMC answers today.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from metalwright.model.fields import format_duration, format_instant
from metalwright.model.identity import Match, compare_identity
from metalwright.model.observed import Power
from metalwright.model.operation import CORRECTIONS_MAX, CORRECTIONS_SPAN, OperationState, Verb
from metalwright.model.plan import Blocked, BlockedReason, Cause
from metalwright.model.tenancy import DriftPolicy, TemplateEdits
from metalwright.plan.difference import Case, Difference
from metalwright.plan.holds import braked
from metalwright.plan.no import No
from metalwright.plan.remanence import not_wiped
from metalwright.plan.tenancy import same_tenancy
from metalwright.plan.verbs import by_hand, lacking, wakes

PASSING: Final = frozenset(
    {
        BlockedReason.NOT_OBSERVED,
        BlockedReason.STALE_OBSERVATION,
        BlockedReason.IDENTITY_MISMATCH,
        BlockedReason.IDENTITY_UNKNOWN,
        BlockedReason.FROZEN,
        BlockedReason.HELD,
    }
)
"""Reasons that go away with another observation, with time, or with the end of a hold."""


Question = Callable[[Case, Difference], No | None]


def first_no(case: Case, found: Difference) -> No | None:
    """The first reason that speaks against mending this difference now."""
    questions = _OF_GIT if found.cause is Cause.GIT else _OF_DRIFT
    for question in questions:
        no = question(case, found)
        if no is not None:
            return no
    return None


def blocked(case: Case, found: Difference, no: No) -> Blocked:
    """The entry of the plan for a difference that is left alone."""
    return Blocked(
        node=case.wanted.name,
        reason=no.reason,
        message=no.message,
        verb=found.verb,
        cause=found.cause,
        destroys_data=found.destroys_data,
        next_attempt_at=no.next_attempt_at,
        reasons=found.reasons,
    )


def unseen(case: Case) -> No | None:
    """Why the hardware's state is not known, if it is not."""
    observation = case.observation
    if case.context.observed_kind == "none" or case.power is not Power.UNKNOWN:
        return None
    if observation is None:
        return No(reason=BlockedReason.NOT_OBSERVED, message="it has not been asked yet")
    if observation.error is not None:
        message = f"{observation.error.kind.value}: {observation.error.message}"
    elif observation.reading is not None and observation.reading.wakes:
        message = "it has not reported lately, and nothing else tells its power"
    else:
        message = "its BMC does not say whether the power is on"
    return No(
        reason=BlockedReason.NOT_OBSERVED,
        message=message,
        next_attempt_at=observation.next_attempt_at,
    )


def stranger(case: Case) -> No | None:
    """Whether the machine that answered is not the one that git means."""
    if case.reading is None:
        return None
    check = compare_identity(case.node.spec, case.reading.identity)
    if check.match is not Match.OTHER:
        return None
    return No(reason=BlockedReason.IDENTITY_MISMATCH, message=f"another machine: {check.message}")


def held(case: Case) -> No | None:
    """The brake that is on, if there is one."""
    found = braked(case.wanted, case.remembered)
    if found is None:
        return None
    wanted, here = case.wanted.hold, case.remembered.hold
    ends = found[0] is BlockedReason.HELD and here is None
    return No(
        reason=found[0],
        message=found[1],
        next_attempt_at=wanted.until if ends and wanted is not None else None,
    )


def _quarantined(case: Case, found: Difference) -> No | None:  # noqa: ARG001
    return held(case) if case.remembered.quarantine is not None else None


def _held(case: Case, found: Difference) -> No | None:  # noqa: ARG001
    return held(case)


def _waits(case: Case, found: Difference) -> No | None:
    if not found.edit or case.wanted.template_edits is TemplateEdits.IMMEDIATE:
        return None
    return No(
        reason=BlockedReason.WAITS_FOR_BOUNDARY,
        message=f"edited while {case.wanted.holder} has it: waits for its end"
        " (templateEdits: immediate would not wait)",
    )


def _failed(case: Case, found: Difference) -> No | None:  # noqa: ARG001
    failed, wanted = case.remembered.failed, case.wanted
    if failed is None or failed.target.digest != wanted.target.digest:
        return None
    if not same_tenancy(failed.holder, wanted.holder, case.inventory, same_target=True):
        return None
    if failed.state is OperationState.CANCELLED:
        by = f" by {failed.cancelled_by}" if failed.cancelled_by else ""
        return No(
            reason=BlockedReason.OPERATION_CANCELLED,
            message=f"{failed.verb.value} was cancelled{by}; `mw retry NODE` begins it again,"
            " or commit a change",
        )
    stage = f" at {failed.stage.value}" if failed.stage is not None else ""
    error = failed.last_error or "no reason given"
    attempts = "1 attempt" if failed.attempt == 1 else f"{failed.attempt} attempts"
    return No(
        reason=BlockedReason.OPERATION_FAILED,
        message=f"{failed.verb.value} failed{stage} after {attempts}: {error};"
        " mend it and `mw retry NODE`, or commit a change",
    )


def _unsupported(case: Case, found: Difference) -> No | None:
    driver, target = case.node.spec.driver, case.wanted.target
    capabilities = case.context.capabilities.get(driver, frozenset())
    woken = wakes(found.verb, target, case.reading)
    ramdisk = driver not in case.context.no_ramdisk
    missing = lacking(found.verb, target, capabilities, woken=woken, ramdisk=ramdisk)
    if missing is None:
        return None
    what, asking = missing
    return No(
        reason=BlockedReason.NOT_SUPPORTED,
        message=f"driver {driver} cannot {what}, which {asking} needs{by_hand(case.reading)}",
    )


def _data_loss(case: Case, found: Difference) -> No | None:
    if not found.destroys_data or found.consented:
        return None
    holder = case.wanted.holder
    return No(
        reason=BlockedReason.DATA_LOSS_NOT_CONSENTED,
        message=f"{found.verb.value} destroys data; {holder.kind} {holder.name} has to consent:"
        " spec.dataLossConsent: true",
    )


def _not_observed(case: Case, found: Difference) -> No | None:
    return None if wakes(found.verb, case.wanted.target, case.reading) else unseen(case)


def _stale(case: Case, found: Difference) -> No | None:  # noqa: ARG001
    ttl_s = case.inventory.rules.observation_ttl
    observation = case.observation
    if case.context.observed_kind == "none" or observation is None:
        return None
    if observation.age_s(case.at) <= ttl_s:
        return None
    return No(
        reason=BlockedReason.STALE_OBSERVATION,
        message=f"last seen more than {format_duration(ttl_s)} ago (observationTtl)",
        next_attempt_at=observation.next_attempt_at,
    )


def _stranger(case: Case, found: Difference) -> No | None:  # noqa: ARG001
    return stranger(case)


def _anonymous(case: Case, found: Difference) -> No | None:
    if not found.destroys_data or case.context.observed_kind == "none" or case.reading is None:
        return None
    check = compare_identity(case.node.spec, case.reading.lasting_identity)
    if check.match is not Match.UNKNOWN:
        return None
    why = check.message
    if compare_identity(case.node.spec, case.reading.identity).match is Match.SAME:
        why = (
            "only its running system told who it is, so nothing will once it is off: declare what"
            " its BMC tells, such as spec.systemUuid"
        )
    return No(
        reason=BlockedReason.IDENTITY_UNKNOWN,
        message=f"{found.verb.value} destroys data, and {why}",
    )


def _frozen(case: Case, found: Difference) -> No | None:  # noqa: ARG001
    freeze = case.wanted.freeze
    if freeze is None or case.wanted.priority >= freeze.pass_priority:
        return None
    until = f" until {format_instant(freeze.until)}" if freeze.until is not None else ""
    return No(
        reason=BlockedReason.FROZEN,
        message=f"freeze {freeze.name}{until}: {freeze.reason}"
        f" (priority {case.wanted.priority}, {freeze.pass_priority} passes)",
        next_attempt_at=freeze.until,
    )


def _reported(case: Case, found: Difference) -> No | None:
    if case.wanted.drift is DriftPolicy.REPORT:
        why = f"drift is only reported in pool {case.wanted.pool} (drift: correct would mend it)"
    elif found.verb is Verb.REBUILD:
        why = "its disk carries something else; only a commit or an adoption installs it anew"
    else:
        return None
    return No(reason=BlockedReason.DRIFT_REPORTED, message=why)


def _undone(case: Case, found: Difference) -> No | None:  # noqa: ARG001
    applied = case.remembered.applied
    if applied is None or applied.corrections < CORRECTIONS_MAX:
        return None
    until = applied.at + CORRECTIONS_SPAN
    if case.at >= until:
        return None
    return No(
        reason=BlockedReason.DRIFT_REPORTED,
        message=f"corrected {applied.corrections} times in a row and undone each time: left alone"
        f" for {format_duration(int(CORRECTIONS_SPAN.total_seconds()))}; find out what undoes it",
        next_attempt_at=until,
    )


def stands_until(case: Case) -> datetime | None:
    """The first instant from which time alone may change an answer of these questions: an
    observation that turns too old, one from the future that is reached, a pause that is over.
    """
    turns = []
    if case.observation is not None:
        ttl = timedelta(seconds=case.inventory.rules.observation_ttl)
        turns += [case.observation.at - ttl, case.observation.at + ttl]
    applied = case.remembered.applied
    if applied is not None and applied.corrections >= CORRECTIONS_MAX:
        turns.append(applied.at + CORRECTIONS_SPAN)
    return min((turn for turn in turns if turn >= case.at), default=None)


_OF_GIT: Final[tuple[Question, ...]] = (
    _quarantined,
    _waits,
    _failed,
    _unsupported,
    _data_loss,
    not_wiped,
    _held,
    _not_observed,
    _stale,
    _stranger,
    _anonymous,
    _frozen,
)
_OF_DRIFT: Final[tuple[Question, ...]] = (
    _held,
    _stale,
    _stranger,
    _reported,
    _undone,
    _failed,
    _unsupported,
    not_wiped,
    _frozen,
)
