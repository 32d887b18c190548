"""Who wanted it: the commit and the very line behind each reason of a plan.

Asking git is somebody else's work; this only asks each distinct question once, however many nodes
it concerns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from metalwright.model.inventory import Commit, Source
from metalwright.model.plan import Cause, Plan, Reason

Blame = Callable[[tuple[str, ...], str | None], Commit | None]
"""The last commit that touched one of these paths, after the commit that was applied if known."""

Locate = Callable[[Source], Source]
"""The same source with the line of its field, instead of its document's first line."""


def attribute(plan: Plan, blame: Blame, locate: Locate) -> Plan:
    """The plan with the commit of each reason that git has, and with the lines of its sources.

    Drift has no commit: somebody changed the hardware. A former source stays as it is, since it is
    a place of another revision.
    """
    answers: dict[tuple[tuple[str, ...], str | None], Commit | None] = {}
    done: dict[tuple[Reason, ...], tuple[Reason, ...]] = {}
    places: dict[Source, Source] = {}

    def located(source: Source) -> Source:
        if source not in places:
            places[source] = locate(source)
        return places[source]

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
                replace(
                    reason,
                    commit=commit_of(reason) if reason.cause is Cause.GIT else None,
                    source=located(reason.source) if reason.source is not None else None,
                )
                for reason in reasons
            )
        return done[reasons]

    return replace(
        plan,
        actions=tuple(
            replace(one, reasons=attributed(one.reasons), source=located(one.source))
            for one in plan.actions
        ),
        blocked=tuple(
            replace(one, reasons=attributed(one.reasons)) if one.reasons else one
            for one in plan.blocked
        ),
    )
