"""What stops a whole plan: too many machines at once, or a history of git that was rewritten.

Both ask for an acknowledgement in a commit (`Policy.spec.acknowledge`), never for a flag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from metalwright.model.desired import Desired, DesiredNode, Holder
from metalwright.model.digest import digest_of
from metalwright.model.fields import format_instant
from metalwright.model.observed import Observed
from metalwright.model.operation import Verb
from metalwright.model.plan import Action, Blocked, BlockedReason, Cause
from metalwright.model.policy import BlastRadius
from metalwright.model.tenancy import DriftPolicy
from metalwright.plan.blockers import PASSING
from metalwright.plan.order import natural
from metalwright.plan.verbs import POWERS_OFF

ACKNOWLEDGED_DIGITS: Final = 12
"""Digits of a digest or commit that a message asks for; a commit may give more."""


def acknowledged(digest: str, acknowledgements: Iterable[str]) -> bool:
    """Whether a commit names this digest or commit id, by twelve digits or more."""
    return any(
        len(prefix) >= ACKNOWLEDGED_DIGITS and digest.startswith(prefix)
        for prefix in acknowledgements
    )


def change_digest(
    actions: Iterable[Action], blocked: Iterable[Blocked], nodes: Mapping[str, DesiredNode]
) -> str:
    """The name of the set of disruptive changes that git wants; empty when there are none.

    It depends on git and on what we did, not on which BMC answers or which freeze is in force at
    the moment: what waits only for those is part of the set. So an acknowledgement that was
    committed an hour later still fits.
    """
    changes = [
        (action.node, action.verb) for action in actions if action.reasons[0].cause is Cause.GIT
    ]
    changes += [
        (line.node, line.verb)
        for line in blocked
        if line.verb is not None and line.cause is Cause.GIT and line.reason in PASSING
    ]
    return _digest((name, verb, nodes[name]) for name, verb in changes if verb in POWERS_OFF)


def _digest(changes: Iterable[tuple[str, Verb, DesiredNode]]) -> str:
    named = sorted(
        [name, verb.value, wanted.target.digest, _holder(wanted.holder)]
        for name, verb, wanted in changes
    )
    return digest_of(named) if named else ""


def _holder(holder: Holder) -> str:
    since = format_instant(holder.since) if holder.since is not None else ""
    return f"{holder}@{since}"


def allowed(radius: BlastRadius, managed: int) -> int | None:
    """How many nodes may be disrupted at once, of so many managed ones; `None` without a limit.

    A percentage is rounded down, to one node at least.
    """
    limits = []
    if radius.nodes_max is not None:
        limits.append(radius.nodes_max)
    if radius.percent_max is not None:
        limits.append(max(1, managed * radius.percent_max // 100))
    return min(limits, default=None)


def hold_back(
    actions: list[Action],
    blocked: list[Blocked],
    desired: Desired,
    observed: Observed,
    digest: str,
) -> None:
    """Block the disruptive actions when they are too many and no commit acknowledges them.

    Changes from git and corrections of drift count together, but each is acknowledged by a digest
    of its own: drift comes and goes, and must not make an acknowledgement of a commit void.

    While a node that may be one of them was never asked, it counts as one: after a start the first
    answers come in one by one, and a plan for each would stay within any radius.
    """
    rules = desired.inventory.rules
    limit = allowed(rules.blast_radius, len(desired.nodes))
    count = sum(action.disruptive for action in actions)
    unasked = sum(_may_be_disrupted(line, desired, observed) for line in blocked)
    if limit is None or count + unasked <= limit:
        return
    if unasked:
        waits = (
            f"waits until {unasked} nodes more were asked: together more may be disrupted at once"
            f" than {limit} (blastRadius)"
        )
        reason = BlockedReason.BLAST_RADIUS
        _block(actions, blocked, reason, lambda action: waits if action.disruptive else None)
        return
    drifting = [
        action for action in actions if action.disruptive and action.reasons[0].cause is Cause.DRIFT
    ]
    of_drift = _digest((one.node, one.verb, desired.nodes[one.node]) for one in drifting)
    digests = {Cause.GIT: digest, Cause.DRIFT: of_drift}
    held = {
        cause: f"{count} nodes would be disrupted at once, {limit} may be (blastRadius);"
        f" to go on, commit to the Policy: acknowledge: [{name[:ACKNOWLEDGED_DIGITS]}]"
        for cause, name in digests.items()
        if not acknowledged(name, rules.acknowledge)
    }

    def message(action: Action) -> str | None:
        return held.get(action.reasons[0].cause) if action.disruptive else None

    _block(actions, blocked, BlockedReason.BLAST_RADIUS, message)


def _may_be_disrupted(line: Blocked, desired: Desired, observed: Observed) -> bool:
    """Whether the first answer of a node may make a disruptive action of this line."""
    if line.reason is not BlockedReason.NOT_OBSERVED or line.node in observed.nodes:
        return False
    if line.cause is Cause.GIT:
        return line.verb in POWERS_OFF
    return desired.nodes[line.node].drift is DriftPolicy.CORRECT


def hold_back_all(actions: list[Action], blocked: list[Blocked], abandoned: str) -> None:
    """Block every action: HEAD does not descend from the last commit that was carried out."""
    text = rewritten(abandoned)
    _block(actions, blocked, BlockedReason.HISTORY_REWRITTEN, lambda _: text)


def rewritten(abandoned: str) -> str:
    """What happened to history, and the line that accepts it."""
    short = abandoned[:ACKNOWLEDGED_DIGITS]
    return (
        f"history was rewritten: this commit does not descend from {short}, the last one carried"
        f" out; to go on, commit to the Policy: acknowledge: [{short}]"
    )


def _block(
    actions: list[Action],
    blocked: list[Blocked],
    reason: BlockedReason,
    message_of: Callable[[Action], str | None],
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
                reasons=action.reasons,
            )
        )
    actions[:] = kept
