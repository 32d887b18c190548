"""Rollouts: whose turn it is when git changes what many nodes of a pool are within a tenancy.

Boundaries of assignments are not rolled out: a booking begins on time. A change back to what the
nodes of an unfinished rollout had before goes out in one wave: it is known to work, and it mends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from metalwright.model.desired import Desired, DesiredNode
from metalwright.model.digest import digest_of
from metalwright.model.frozen import FrozenDict
from metalwright.model.natural import natural
from metalwright.model.operation import OperationState
from metalwright.model.plan import BlockedReason, Fate, InProgress
from metalwright.model.rollout import ROLLOUT_OVER, Rollout, RolloutState
from metalwright.model.tenancy import RolloutStrategy
from metalwright.plan.beside import Lines
from metalwright.plan.context import Ground
from metalwright.plan.course import Course, pause_text
from metalwright.plan.gates import Kept, block
from metalwright.plan.standing import Key, Standing, View, key_of
from metalwright.plan.waves import divide

_MAY_GO = frozenset({Standing.READY, Standing.WAITS, Standing.AWAY, Standing.UNDER_WAY})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rolled:
    """The rollouts as they are from now on, those that end now among them, and when time alone
    moves each.
    """

    rollouts: tuple[Rollout, ...] = ()
    due: Mapping[str, datetime] = field(default_factory=FrozenDict)


def strategies(desired: Desired) -> dict[str, RolloutStrategy]:
    """How the pools that have a strategy roll changes out."""
    return {
        name: pool.spec.rollout
        for name, pool in desired.inventory.pools.items()
        if pool.spec.rollout is not None
    }


def roll(ground: Ground, staged: Mapping[str, Standing], *, history_kept: bool) -> Rolled:
    """Every rollout one look further: begun, moved, paused, at its end, or over for another one.

    A plan that is narrowed to some nodes, and one on a rewritten history, leave all as they are.
    """
    known = sorted(ground.memory.rollouts.values(), key=_place)
    running = [one for one in known if one.state not in ROLLOUT_OVER]
    if not history_kept or ground.context.limit_nodes is not None:
        return Rolled(rollouts=tuple(running))
    view, how = View(ground=ground, staged=staged), strategies(ground.desired)
    if not running and not staged:
        return Rolled()
    going = _going(staged, ground.desired)
    found: list[Rollout] = []
    due: dict[str, datetime] = {}
    over: dict[tuple[str, str], list[Rollout]] = {}
    for rollout in running:
        key = (rollout.pool, rollout.holder, rollout.target_digest)
        joined = going.pop(key, [])
        why = _why_over(rollout, joined, view, how)
        if why:
            found.append(_ended(rollout, why))
            over.setdefault(key[:2], []).append(rollout)
            continue
        course = Course(_with(rollout, joined, view, how[rollout.pool]), how[rollout.pool], view)
        found.append(course.run())
        if course.due is not None:
            due[rollout.id] = course.due
    for key, names in sorted(going.items()):
        members = sorted(names, key=natural)
        former = over.get(key[:2], [])
        ready = any(staged[name] is Standing.READY for name in members)
        if key[0] in how and (ready or former):
            course = Course(_begun(key, members, former, view, how[key[0]]), how[key[0]], view)
            found.append(course.run())
    return Rolled(rollouts=tuple(sorted(found, key=_place)), due=FrozenDict(due))


def _place(rollout: Rollout) -> tuple[object, ...]:
    return natural(rollout.pool), rollout.holder, rollout.began_at, rollout.id


def _going(staged: Mapping[str, Standing], desired: Desired) -> dict[Key, list[str]]:
    """The nodes that lack something that is rolled out and may get it, by rollout."""
    going: dict[Key, list[str]] = {}
    for name, standing in staged.items():
        if standing in _MAY_GO:
            going.setdefault(key_of(desired.nodes[name]), []).append(name)
    return going


def _why_over(
    rollout: Rollout, joined: list[str], view: View, how: Mapping[str, RolloutStrategy]
) -> str:
    """Why a rollout has no object any more, if so."""
    if rollout.pool not in how:
        return f"pool {rollout.pool} has no rollout strategy any more"
    key = (rollout.pool, rollout.holder, rollout.target_digest)
    nodes = view.ground.desired.nodes
    members = (nodes.get(name) for wave in rollout.waves for name in wave)
    if joined or any(one is not None and key_of(one) == key for one in members):
        return ""
    return "git wants another state of its nodes"


def _ended(rollout: Rollout, why: str) -> Rollout:
    return replace(
        rollout,
        state=RolloutState.SUPERSEDED,
        soaking_since=None,
        acknowledgement="",
        why=why,
    )


def _with(rollout: Rollout, names: Iterable[str], view: View, strategy: RolloutStrategy) -> Rollout:
    """The rollout with those that joined since in its last wave; in waves of their own behind it,
    where there are only canaries.
    """
    known = {name for wave in rollout.waves for name in wave}
    fresh = [name for name in names if name not in known]
    if not fresh:
        return rollout
    if len(rollout.waves) == 1 and strategy.canaries and not rollout.reverts:
        after = replace(strategy, canaries=0)
        more = divide(fresh, after, view.ground.desired.inventory, view.is_away)
        return replace(rollout, waves=(*rollout.waves, *more))
    last = tuple(sorted((*rollout.waves[-1], *fresh), key=natural))
    return replace(rollout, waves=(*rollout.waves[:-1], last))


def _begun(
    key: Key, members: list[str], former: list[Rollout], view: View, strategy: RolloutStrategy
) -> Rollout:
    """A new rollout. `former` are those of the same nodes that it puts an end to."""
    pool, holder, target_digest = key
    desired = view.ground.desired
    formers = {digest for one in former for digest in one.formers}
    if not former:
        formers = set(_carried(members, view)) - {target_digest}
    reverts = bool(former) and target_digest in formers
    waves = (
        (tuple(members),)
        if reverts
        else divide(
            members,
            strategy,
            desired.inventory,
            view.is_away,
            frozenset(_touched(members, target_digest, view)),
        )
    )
    return Rollout(
        id=digest_of([pool, holder, target_digest, desired.inventory.revision.id]),
        pool=pool,
        holder=holder,
        template=_name(desired.nodes[members[0]]),
        target_digest=target_digest,
        revision=desired.inventory.revision.id,
        began_at=desired.at,
        waves=waves,
        wave_began_at=desired.at,
        formers=tuple(sorted(formers)),
        reverts=reverts,
    )


def _touched(members: Iterable[str], target_digest: str, view: View) -> Iterable[str]:
    """The nodes that are on their way to it already, from before anything was rolled out."""
    for name in members:
        operation = view.ground.memory.nodes[name].operation
        if operation is None or operation.target.digest != target_digest:
            continue
        if operation.state is OperationState.RUNNING or operation.attempt:
            yield name


def _carried(members: Sequence[str], view: View) -> Iterable[str]:
    """What more than half of the nodes were brought to before: what only a few of them ran is not
    known to run on the others.
    """
    known = (view.ground.memory.nodes[name] for name in members)
    before = Counter(
        one.target.digest for each in known if (one := each.applied or each.former) is not None
    )
    return (digest for digest, count in before.items() if 2 * count > len(members))


def _name(wanted: DesiredNode) -> str:
    target = wanted.target
    return target.template.name if target.template is not None else f"power {target.power.value}"


def take_turns(
    lines: Lines, staged: Mapping[str, Standing], rolled: Rolled, desired: Desired, kept: Kept
) -> None:
    """Keep back the nodes whose turn it is not, in place; the others carry their rollout's id."""
    by_key = {
        (one.pool, one.holder, one.target_digest): one
        for one in rolled.rollouts
        if one.state not in ROLLOUT_OVER
    }
    turns = {
        one.id: {name: at for at, wave in enumerate(one.waves) for name in wave}
        for one in by_key.values()
    }
    rollouts = {
        action.node: by_key.get(key_of(desired.nodes[action.node]))
        for action in lines.actions
        if action.node in staged
    }
    waits: dict[datetime | None, dict[str, str]] = {}
    paused: dict[str, str] = {}
    for name, rollout in rollouts.items():
        stopped = rollout is not None and rollout.state is RolloutState.PAUSED
        if rollout is not None and stopped and name not in rollout.failed:
            paused[name] = pause_text(rollout)
        elif rollout is None or name not in turns[rollout.id]:
            text = "its pool rolls changes out: a plan that is not narrowed to nodes begins that"
            waits.setdefault(None, {})[name] = text
        elif (turn := turns[rollout.id][name]) > rollout.wave:
            waits.setdefault(rolled.due.get(rollout.id), {})[name] = _waits_text(rollout, turn)
    for due, texts in waits.items():
        _block(lines, BlockedReason.ROLLOUT_WAITS, texts, kept, due)
    if paused:
        _block(lines, BlockedReason.ROLLOUT_PAUSED, paused, kept, None)
    lines.actions[:] = [
        replace(one, rollout=mine.id) if (mine := rollouts.get(one.node)) is not None else one
        for one in lines.actions
    ]


def _block(
    lines: Lines, reason: BlockedReason, texts: Mapping[str, str], kept: Kept, due: datetime | None
) -> None:
    block(lines, reason, lambda action: texts.get(action.node), kept, due)


def _waits_text(rollout: Rollout, turn: int) -> str:
    now = rollout.why or "is not done yet"
    return f"wave {turn + 1} of {len(rollout.waves)}: wave {rollout.wave + 1} {now}"


def withdraw(
    progress: list[InProgress], staged: Collection[str], rolled: Rolled, ground: Ground
) -> None:
    """Take back what is queued and was never begun, in place: what belongs to a rollout that is
    paused, and what was queued before its pool rolled changes out.
    """
    known = {one.id: one for one in rolled.rollouts if one.state not in ROLLOUT_OVER}
    for at, line in enumerate(progress):
        operation = ground.memory.nodes[line.node].operation
        if line.fate is not Fate.CONTINUE or operation is None or operation.attempt:
            continue
        if operation.state is not OperationState.PENDING:
            continue
        rollout, why = known.get(operation.rollout), ""
        if rollout is None and line.node in staged:
            why = "its pool rolls changes out by now: it goes with its wave"
        elif rollout is not None and rollout.state is RolloutState.PAUSED:
            why = f"its rollout is paused: {rollout.why}"
        if why:
            progress[at] = replace(line, fate=Fate.CANCEL, why=why)
