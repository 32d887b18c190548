"""The blast radius: how many machines one revision, or drift within an hour, may disrupt.

Counted are the changes that are wanted, not those that could start just now, in the fleet, in each
pool and in each failure domain; so it does not matter in which order the BMCs answer. What a commit
acknowledged is remembered change by change and counts no more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from metalwright.model.desired import Desired
from metalwright.model.observed import Observed, Power
from metalwright.model.operation import CORRECTIONS_SPAN, NodeMemory, Verb
from metalwright.model.plan import Action, Blocked, BlockedReason, Cause
from metalwright.model.policy import BlastRadius
from metalwright.model.tenancy import DriftPolicy
from metalwright.plan.beside import Lines
from metalwright.plan.blockers import PASSING
from metalwright.plan.consents import Names
from metalwright.plan.context import Ground
from metalwright.plan.gates import ACKNOWLEDGED_DIGITS, Kept, acknowledged, block
from metalwright.plan.scale import FLEET, Scale, stricter
from metalwright.plan.verbs import POWERS_OFF

GROUPS_NAMED_MAX: Final = 3
"""Groups beyond their limit that a message names; all count."""

_SEEN_AS_IT_IS: Final = frozenset({BlockedReason.FROZEN, BlockedReason.HELD})
"""What keeps a node back although it may have been seen: its power counts as it was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the blast radius says: the name of the changes that count, the keys of those that a
    commit acknowledges now, when time alone changes the answer, and the name of what has drifted.
    """

    digest: str
    consents: tuple[str, ...] = ()
    due: datetime | None = None
    drift_digest: str = ""


@dataclass(frozen=True, slots=True)
class _Change:
    node: str
    verb: Verb
    disruptive: bool


class Books:
    """What was worked out for the last plan and is mostly the same for the next: names, counts,
    lines. A cache and nothing else.
    """

    def __init__(self) -> None:
        self.names, self.drifting, self.kept = Names(), Names(), Kept()
        self._scale: Scale | None = None

    def scale(self, desired: Desired, radius: BlastRadius) -> Scale:
        """Something that counts nodes; the same one while it counts the same nodes."""
        known = self._scale
        if known is None or not known.fits(desired, radius):
            known = self._scale = Scale(desired, radius)
        return known


def hold_back(lines: Lines, ground: Ground, books: Books, *, history_kept: bool) -> Verdict:
    """Block the disruptive actions where they are too many and no commit acknowledges them.

    Changes of git are counted for their revision, all that it wants. Corrections of drift are
    counted with those of the last hour and with the changes of git that may go on; they have a
    digest of their own, since drift comes and goes, and must not make an acknowledgement void.
    Without `history_kept` nothing starts anyway, and only the digest is worked out.
    """
    desired, names = ground.desired, books.names
    rules, known = desired.inventory.rules, ground.memory.consents
    wanted = [
        one
        for one in _of_git(lines, ground.observed, desired)
        if not known or names.key(one.node, one.verb, ground) not in known
    ]
    digest = names.digest([(one.node, one.verb) for one in wanted], ground)
    if not history_kept:
        return Verdict(digest=digest)
    scale = books.scale(desired, stricter(rules.blast_radius, ground.context.former_radius))
    consents: tuple[str, ...] = ()
    if digest and acknowledged(digest, rules.acknowledge):
        consents = tuple(sorted(names.key(one.node, one.verb, ground) for one in wanted))
        wanted = []
    if not scale.limited():
        return Verdict(digest=digest, consents=consents)
    counted = scale.count_again([one.node for one in wanted if one.disruptive])
    beyond = scale.beyond(counted)
    if beyond:
        too_many = {one.node for one in wanted}
        text = _too_many(beyond, digest, "")
        _block_where(lines, books.kept, Cause.GIT, text, too_many)
        counted = Counter()
    due, drift_digest = _hold_back_drift(lines, ground, books, scale, counted)
    return Verdict(digest=digest, consents=consents, due=due, drift_digest=drift_digest)


def _of_git(lines: Lines, observed: Observed, desired: Desired) -> Iterator[_Change]:
    """The changes of git that take a system down, those too that only wait for something passing.

    What was not seen counts as disruptive: nobody knows that it is off.
    """
    for action in lines.actions:
        if action.verb in POWERS_OFF and action.reasons[0].cause is Cause.GIT:
            yield _Change(action.node, action.verb, action.disruptive)
    for line in lines.blocked:
        if line.verb in POWERS_OFF and line.cause is Cause.GIT and line.reason in PASSING:
            off = line.reason in _SEEN_AS_IT_IS and _seen_off(line.node, observed, desired)
            yield _Change(line.node, line.verb, line.destroys_data or not off)


def _seen_off(node: str, observed: Observed, desired: Desired) -> bool:
    seen = observed.nodes.get(node)
    if seen is None or seen.power is not Power.OFF:
        return False
    return seen.age_s(desired.at) <= desired.inventory.rules.observation_ttl


def _too_many(beyond: Sequence[tuple[str, int, int]], digest: str, span: str) -> str:
    """The groups that are too many, and the line that lets them go on."""
    named = [
        f"{count} nodes{_of(group)} would be disrupted {span or 'at once'}, {limit} may be"
        for group, count, limit in beyond[:GROUPS_NAMED_MAX]
    ]
    more = len(beyond) - len(named)
    if more:
        others = "group more is" if more == 1 else "groups more are"
        named.append(f"{more} {others} beyond the limit")
    return (
        f"{', '.join(named)} (blastRadius);"
        f" to go on, commit to the Policy: acknowledge: [{digest[:ACKNOWLEDGED_DIGITS]}]"
    )


def _of(group: str) -> str:
    return "" if group == FLEET else f" of {group}"


def _hold_back_drift(
    lines: Lines, ground: Ground, books: Books, scale: Scale, counted: Counter[str]
) -> tuple[datetime | None, str]:
    """Block the disruptive corrections of drift where they are too many.

    While a node that may have drifted was never asked, it counts as one: after a start the first
    answers come in one by one, and a plan for each would stay within any radius. The end of the
    oldest correction that counts is the answer, where that is what they wait for; with it goes the
    name of the set.
    """
    desired = ground.desired
    drifting = [
        one for one in lines.actions if one.disruptive and one.reasons[0].cause is Cause.DRIFT
    ]
    if not drifting:
        return None, ""
    digest = books.drifting.digest([(one.node, one.verb) for one in drifting], ground)
    names = {one.node for one in drifting}
    lately = {
        name: since
        for name, remembered in ground.memory.nodes.items()
        if name not in names and (since := corrected_at(remembered, desired.at)) is not None
    }
    now = counted + scale.count(names) + scale.count(lately)
    unasked = [line.node for line in lines.blocked if _may_have_drifted(line, ground)]
    waiting = scale.beyond(now + scale.count(unasked))
    if waiting and unasked:
        text = (
            f"waits until {len(unasked)} nodes more were asked: together more may be disrupted at"
            f" once than {waiting[0][2]}{_of(waiting[0][0])} (blastRadius)"
        )
        _block_where(lines, books.kept, Cause.DRIFT, text)
        return None, digest
    beyond = scale.beyond(now)
    if not beyond or acknowledged(digest, desired.inventory.rules.acknowledge):
        return None, digest
    span = "within an hour" if lately else ""
    _block_where(lines, books.kept, Cause.DRIFT, _too_many(beyond, digest, span))
    return min(lately.values()) + CORRECTIONS_SPAN if lately else None, digest


def corrected_at(remembered: NodeMemory, at: datetime) -> datetime | None:
    """When a correction of drift was made that still counts, or is being made now.

    One that came to nothing counts too: it took the system down like any other.
    """
    operation, applied, failed = remembered.operation, remembered.applied, remembered.failed
    if operation is not None and operation.unfinished:
        return at if operation.corrects and operation.disruptive else None
    ends = []
    if applied is not None and applied.corrections:
        ends.append(applied.at)
    if failed is not None and failed.corrects and failed.disruptive and failed.attempt:
        ends.append(failed.ended_at or failed.created_at)
    return max((end for end in ends if at - CORRECTIONS_SPAN < end <= at), default=None)


def _may_have_drifted(line: Blocked, ground: Ground) -> bool:
    """Whether the first answer of a node may make a correction of drift of this line."""
    if line.reason is not BlockedReason.NOT_OBSERVED or line.cause is not Cause.DRIFT:
        return False
    if line.node in ground.observed.nodes:
        return False
    return ground.desired.nodes[line.node].drift is DriftPolicy.CORRECT


def _block_where(
    lines: Lines, kept: Kept, cause: Cause, text: str, concerned: Set[str] | None = None
) -> None:
    def message(action: Action) -> str | None:
        mine = action.disruptive and action.reasons[0].cause is cause
        return text if mine and (concerned is None or action.node in concerned) else None

    block(lines, BlockedReason.BLAST_RADIUS, message, kept)
