"""Who wanted it: the commit and the very line behind each reason of a plan.

Asking git is somebody else's work; this only asks each distinct question once, however many nodes
it concerns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from metalwright.model.inventory import Commit, Source
from metalwright.model.plan import Action, Blocked, Cause, Plan, Reason

Blame = Callable[[tuple[str, ...], str | None], Commit | None]
"""The last commit that touched one of these paths, after the commit that was applied if known."""

Locate = Callable[[Source], Source]
"""The same source with the line of its field, instead of its document's first line."""


class Attributed:
    """The lines of the last plan and what became of them, so that the next plan's need not be made
    again where they are the same objects. Kept by whoever plans again and again for one fleet.
    """

    def __init__(self) -> None:
        self._revision = ""
        self._lines: dict[str, tuple[Action | Blocked, Action | Blocked]] = {}

    def begin(self, revision: str) -> dict[str, tuple[Action | Blocked, Action | Blocked]]:
        """What became of the lines of the last plan, if it was of this revision; by node."""
        lines = self._lines if revision == self._revision else {}
        self._revision, self._lines = revision, {}
        return lines

    def keep(self, before: Action | Blocked, after: Action | Blocked) -> None:
        """Remember what became of a line."""
        self._lines[before.node] = (before, after)


def attribute(
    plan: Plan, blame: Blame, locate: Locate, attributed: Attributed | None = None
) -> Plan:
    """The plan with the commit of each reason that git has, and with the lines of its sources.

    Drift has no commit: somebody changed the hardware. A former source stays as it is, since it is
    a place of another revision. `attributed` keeps what is the same in the next plan.
    """
    kept = attributed if attributed is not None else Attributed()
    known = kept.begin(plan.revision.id)
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

    def of_git(reasons: tuple[Reason, ...]) -> tuple[Reason, ...]:
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

    def action(line: Action) -> Action:
        found = known.get(line.node)
        after = found[1] if found is not None and found[0] is line else None
        if not isinstance(after, Action):
            after = replace(line, reasons=of_git(line.reasons), source=located(line.source))
        kept.keep(line, after)
        return after

    def blocked(line: Blocked) -> Blocked:
        if not line.reasons:
            return line
        found = known.get(line.node)
        after = found[1] if found is not None and found[0] is line else None
        if not isinstance(after, Blocked):
            after = replace(line, reasons=of_git(line.reasons))
        kept.keep(line, after)
        return after

    return replace(
        plan,
        actions=tuple(map(action, plan.actions)),
        blocked=tuple(map(blocked, plan.blocked)),
    )
