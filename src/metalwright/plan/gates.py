"""What a commit can acknowledge, and the stop at a history of git that was rewritten or goes back.

Too much at once, and a rewritten history, ask for an acknowledgement in a commit
(`Policy.spec.acknowledge`), never for a flag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

from metalwright.model.plan import Action, Blocked, BlockedReason
from metalwright.plan.beside import Lines
from metalwright.plan.context import Ground

ACKNOWLEDGED_DIGITS: Final = 12
"""Digits of a digest or commit that a message asks for; a commit may give more."""


def acknowledged(digest: str, acknowledgements: Iterable[str]) -> bool:
    """Whether a commit names this digest or commit id, by twelve digits or more."""
    return any(
        len(prefix) >= ACKNOWLEDGED_DIGITS and digest.startswith(prefix)
        for prefix in acknowledgements
    )


class Kept:
    """The lines that were blocked last time: what is the same is not made, nor attributed, anew.

    Kept by whoever plans again and again; it holds as many lines as the last two plans have.
    """

    def __init__(self) -> None:
        self._before: dict[str, tuple[Action, Blocked]] = {}
        self._now: dict[str, tuple[Action, Blocked]] = {}

    def begin(self) -> None:
        """Another plan begins."""
        self._before, self._now = self._now, {}

    def line(
        self, action: Action, reason: BlockedReason, message: str, due: datetime | None
    ) -> Blocked:
        """The line of an action that is kept back."""
        found = self._before.get(action.node)
        if found is None or found[0] is not action or not _says(found[1], reason, message, due):
            found = (action, _blocked(action, reason, message, due))
        self._now[action.node] = found
        return found[1]


def _says(line: Blocked, reason: BlockedReason, message: str, due: datetime | None) -> bool:
    return line.reason is reason and line.message == message and line.next_attempt_at == due


def _blocked(action: Action, reason: BlockedReason, message: str, due: datetime | None) -> Blocked:
    return Blocked(
        node=action.node,
        reason=reason,
        message=message,
        verb=action.verb,
        cause=action.reasons[0].cause,
        destroys_data=action.destroys_data,
        next_attempt_at=due,
        reasons=action.reasons,
    )


def hold_back_all(lines: Lines, abandoned: str, kept: Kept) -> None:
    """Block every action: HEAD does not descend from the last commit that was carried out."""
    text = rewritten(abandoned)
    block(lines, BlockedReason.HISTORY_REWRITTEN, lambda _: text, kept)


def hold_back_older(lines: Lines, ground: Ground, kept: Kept) -> None:
    """Block the actions on nodes that are recorded at a commit after the one that is planned."""
    nodes, later = ground.memory.nodes, ground.context.later_revisions
    here = ground.desired.inventory.revision.id[:ACKNOWLEDGED_DIGITS]

    def older(action: Action) -> str | None:
        applied = nodes[action.node].applied
        if applied is None or applied.revision not in later:
            return None
        return (
            f"it is as {applied.revision[:ACKNOWLEDGED_DIGITS]} wants it, a later commit than the"
            f" one in force, {here}; mend the newest commit of the branch"
        )

    if later:
        block(lines, BlockedReason.OLDER_REVISION, older, kept)


def rewritten(abandoned: str) -> str:
    """What happened to history, and the line that accepts it."""
    short = abandoned[:ACKNOWLEDGED_DIGITS]
    return (
        f"history was rewritten: this commit does not descend from {short}, the last one carried"
        f" out; to go on, commit to the Policy: acknowledge: [{short}]"
    )


def block(
    lines: Lines,
    reason: BlockedReason,
    message_of: Callable[[Action], str | None],
    kept: Kept,
    next_attempt_at: datetime | None = None,
) -> None:
    """Turn the actions that have a message into blocked lines, in place."""
    going = []
    for action in lines.actions:
        message = message_of(action)
        if message is None:
            going.append(action)
        else:
            lines.blocked.append(kept.line(action, reason, message, next_attempt_at))
    lines.actions[:] = going
