"""What a commit can acknowledge, and the stop at a history of git that was rewritten.

Too much at once, and a rewritten history, ask for an acknowledgement in a commit
(`Policy.spec.acknowledge`), never for a flag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

from metalwright.model.desired import DesiredNode, Holder
from metalwright.model.digest import digest_of
from metalwright.model.fields import format_instant
from metalwright.model.natural import natural
from metalwright.model.operation import NodeMemory, Verb
from metalwright.model.plan import Action, Blocked, BlockedReason

ACKNOWLEDGED_DIGITS: Final = 12
"""Digits of a digest or commit that a message asks for; a commit may give more."""

Change = tuple[str, Verb, DesiredNode]


def acknowledged(digest: str, acknowledgements: Iterable[str]) -> bool:
    """Whether a commit names this digest or commit id, by twelve digits or more."""
    return any(
        len(prefix) >= ACKNOWLEDGED_DIGITS and digest.startswith(prefix)
        for prefix in acknowledgements
    )


def digest_of_changes(changes: Iterable[Change]) -> str:
    """The name of a set of disruptive changes; empty when there are none.

    For changes of git it depends on git and on what we did, not on which BMC answers or which
    freeze is in force at the moment: what waits only for those is part of the set. So an
    acknowledgement that was committed an hour later still fits.
    """
    named = sorted(_named(*change) for change in changes)
    return digest_of(named) if named else ""


def consent_key(change: Change, remembered: NodeMemory) -> str:
    """The name of one change: what is remembered of it once a commit acknowledged it.

    With it goes since when the node is what it is. So a consent is spent once its change is done:
    the same change, wanted again months later, has another name.
    """
    known = remembered.applied or remembered.former
    since = known.at if known is not None else remembered.adopted_at
    return digest_of([*_named(*change), since.isoformat()])


def _named(node: str, verb: Verb, wanted: DesiredNode) -> list[str]:
    return [node, verb.value, wanted.target.digest, holder_key(wanted.holder)]


def holder_key(holder: Holder) -> str:
    """A holder with the start of its window: `assignment/loan@2026-11-20T08:00:00Z`."""
    since = format_instant(holder.since) if holder.since is not None else ""
    return f"{holder}@{since}"


def hold_back_all(actions: list[Action], blocked: list[Blocked], abandoned: str) -> None:
    """Block every action: HEAD does not descend from the last commit that was carried out."""
    text = rewritten(abandoned)
    block(actions, blocked, BlockedReason.HISTORY_REWRITTEN, lambda _: text)


def rewritten(abandoned: str) -> str:
    """What happened to history, and the line that accepts it."""
    short = abandoned[:ACKNOWLEDGED_DIGITS]
    return (
        f"history was rewritten: this commit does not descend from {short}, the last one carried"
        f" out; to go on, commit to the Policy: acknowledge: [{short}]"
    )


def block(
    actions: list[Action],
    blocked: list[Blocked],
    reason: BlockedReason,
    message_of: Callable[[Action], str | None],
    next_attempt_at: datetime | None = None,
) -> None:
    """Turn the actions that have a message into blocked lines, in place."""
    kept = []
    for action in sorted(actions, key=lambda action: natural(action.node)):
        message = message_of(action)
        if message is None:
            kept.append(action)
            continue
        blocked.append(
            Blocked(
                node=action.node,
                reason=reason,
                message=message,
                verb=action.verb,
                cause=action.reasons[0].cause,
                destroys_data=action.destroys_data,
                next_attempt_at=next_attempt_at,
                reasons=action.reasons,
            )
        )
    actions[:] = kept
