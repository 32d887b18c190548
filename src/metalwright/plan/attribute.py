"""Who wanted it: the commit behind each reason of a plan.

Asking git is somebody else's work; this only asks each distinct question once, however many nodes
it concerns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from metalwright.model.inventory import Commit
from metalwright.model.plan import Cause, Plan, Reason

Blame = Callable[[tuple[str, ...], str | None], Commit | None]
"""The last commit that touched one of these paths, after the commit that was applied if known."""


def attribute(plan: Plan, blame: Blame) -> Plan:
    """The plan with `Reason.commit` filled in where git wants the change.

    Drift has no commit: somebody changed the hardware.
    """
    answers: dict[tuple[tuple[str, ...], str | None], Commit | None] = {}
    done: dict[tuple[Reason, ...], tuple[Reason, ...]] = {}

    def commit_of(reason: Reason) -> Commit | None:
        places = (reason.source, reason.former_source)
        paths = tuple(sorted({place.path for place in places if place is not None}))
        key = (paths, reason.former_revision)
        if paths and key not in answers:
            answers[key] = blame(*key)
        return answers.get(key)

    def attributed(reasons: tuple[Reason, ...]) -> tuple[Reason, ...]:
        if reasons not in done:
            done[reasons] = tuple(
                replace(reason, commit=commit_of(reason)) if reason.cause is Cause.GIT else reason
                for reason in reasons
            )
        return done[reasons]

    return replace(
        plan,
        actions=tuple(replace(one, reasons=attributed(one.reasons)) for one in plan.actions),
        blocked=tuple(
            replace(one, reasons=attributed(one.reasons)) if one.reasons else one
            for one in plan.blocked
        ),
    )
