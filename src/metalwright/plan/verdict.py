"""What a plan comes to, in one word and one exit code."""

from __future__ import annotations

from typing import Final

from metalwright.model.plan import NEEDS_ACKNOWLEDGEMENT, BlockedReason, Cause, Plan

AS_DESIRED: Final = 0
CHANGES: Final = 2
NEEDS_A_COMMIT: Final = 3
DRIFT_ONLY: Final = 4


def exit_code(plan: Plan) -> int:
    """The exit code of `mw plan`.

    0: nothing to do; a node that is held or in quarantine and otherwise as desired is only told of.
    2: git wants changes, or some are under way, whether or not they can start. 3: some wait for an
    acknowledgement or a consent in a commit. 4: only the hardware differs, or could not be asked.
    """
    if plan.abandoned_revision is not None or any(
        line.reason in NEEDS_ACKNOWLEDGEMENT for line in plan.blocked
    ):
        return NEEDS_A_COMMIT
    causes = {line.cause for line in plan.blocked if line.cause is not None}
    causes |= {reason.cause for action in plan.actions for reason in action.reasons}
    if plan.in_progress or Cause.GIT in causes:
        return CHANGES
    return DRIFT_ONLY if causes else AS_DESIRED


def verdict(plan: Plan) -> str:
    """The same for people, and whether anything of it can start."""
    code = exit_code(plan)
    if code == CHANGES and not plan.actions:
        return "IN PROGRESS" if plan.in_progress else "BLOCKED"
    if code == DRIFT_ONLY and not plan.actions:
        reasons = {line.reason for line in plan.blocked if line.cause is not None}
        return "NOT OBSERVED" if reasons <= _UNSEEN else _WORDS[code]
    return _WORDS[code]


_UNSEEN: Final = frozenset({BlockedReason.NOT_OBSERVED, BlockedReason.STALE_OBSERVATION})

_WORDS: Final = {
    AS_DESIRED: "AS DESIRED",
    CHANGES: "CHANGES",
    NEEDS_A_COMMIT: "NEEDS A COMMIT",
    DRIFT_ONLY: "DRIFT",
}
