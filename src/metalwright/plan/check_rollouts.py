"""The promises of rollouts, looked at again: whose turn it is, and whether each gate was passed."""

from __future__ import annotations

from collections.abc import Iterator, Set
from datetime import datetime, timedelta

from metalwright.model.digest import digest_of
from metalwright.model.fields import format_instant
from metalwright.model.observed import BootProgress
from metalwright.model.operation import Operation, OperationState
from metalwright.model.plan import Action, Cause, Fate, Plan
from metalwright.model.rollout import Rollout, RolloutState
from metalwright.model.tenancy import RolloutStrategy
from metalwright.plan.facts import Facts

OPEN = frozenset({RolloutState.RUNNING, RolloutState.PAUSED})


def rollouts(plan: Plan, facts: Facts) -> Iterator[str]:
    """Nothing goes before its turn, and no wave is passed that was not done, soaked and healthy."""
    seen: set[str] = set()
    for rollout in plan.rollouts:
        if rollout.id in seen:
            yield f"rollout {rollout.id[:12]} is told of twice"
        seen.add(rollout.id)
        before = facts.memory.rollouts.get(rollout.id)
        rule = _begun(rollout, facts) if before is None else _moved(before, rollout, facts)
        for violation in rule:
            yield f"rollout {rollout.id[:12]}: {violation}"
    for id_, rollout in sorted(facts.memory.rollouts.items()):
        if id_ not in seen and rollout.state in OPEN:
            yield f"rollout {id_[:12]} is forgotten"
    yield from _turns(plan, facts)
    yield from _withdrawn(plan, facts)


def _turns(plan: Plan, facts: Facts) -> Iterator[str]:
    known = {one.id: one for one in plan.rollouts if one.state in OPEN}
    rolling = _rolling(facts)
    for action in plan.actions:
        wanted = facts.desired.nodes.get(action.node)
        if wanted is None or action.node not in facts.memory.nodes:
            continue
        rollout = known.get(action.rollout)
        if wanted.pool not in rolling or not _staged(action, facts):
            if action.rollout:
                yield f"{action.node}: is called part of a rollout"
        elif rollout is None or not _is_of(rollout, action.node, facts):
            yield f"{action.node}: is changed beside the rollout of its pool"
        elif all(action.node not in wave for wave in rollout.waves[: rollout.wave + 1]):
            yield f"{action.node}: is changed before its turn"
        elif rollout.state is RolloutState.PAUSED and action.node not in rollout.failed:
            yield f"{action.node}: is changed while its rollout is paused"


def _staged(action: Action, facts: Facts) -> bool:
    """Whether the change is one of git that the pool rolls out: no boundary of an assignment."""
    if any(reason.cause is not Cause.GIT for reason in action.reasons):
        return False
    return _rolled_out(action.node, facts)


def _rolled_out(node: str, facts: Facts) -> bool:
    origin, wanted = facts.origin(node), facts.desired.nodes[node]
    if origin is None:
        return False
    booked = "Assignment" in (origin.holder.kind, wanted.holder.kind)
    return facts.within_tenancy(node) or not booked


def _strategy(pool: str, facts: Facts) -> RolloutStrategy | None:
    declared = facts.desired.inventory.pools.get(pool)
    return declared.spec.rollout if declared is not None else None


def _is_of(rollout: Rollout, node: str, facts: Facts) -> bool:
    """Whether the rollout brings this node to what git wants."""
    wanted = facts.desired.nodes.get(node)
    if wanted is None:
        return False
    since = wanted.holder.since
    holder = f"{wanted.holder}@{format_instant(since)}" if since is not None else f"{wanted.holder}"
    mine = (wanted.pool, holder, wanted.target.digest)
    return mine == (rollout.pool, rollout.holder, rollout.target_digest)


def _withdrawn(plan: Plan, facts: Facts) -> Iterator[str]:
    known = {one.id: one.state for one in plan.rollouts if one.state in OPEN}
    rolling = _rolling(facts)
    for line in plan.in_progress if known or rolling else ():
        remembered = facts.memory.nodes.get(line.node)
        operation = remembered.operation if remembered is not None else None
        if operation is None or line.fate is not Fate.CONTINUE:
            continue
        if operation.state is not OperationState.PENDING or operation.attempt:
            continue
        if known.get(operation.rollout) is RolloutState.PAUSED:
            yield f"{line.node}: is queued although its rollout is paused"
        elif operation.rollout not in known and _belongs(operation, rolling, facts):
            yield f"{line.node}: is queued beside the rollout of its pool"


def _belongs(operation: Operation, rolling: Set[str], facts: Facts) -> bool:
    """Whether what an operation is for is a change that its pool rolls out."""
    name = operation.node
    wanted = facts.desired.nodes.get(name)
    if wanted is None or wanted.pool not in rolling or operation.corrects or facts.settled(name):
        return False
    return _rolled_out(name, facts)


def _rolling(facts: Facts) -> Set[str]:
    pools = facts.desired.inventory.pools
    return {name for name, pool in pools.items() if pool.spec.rollout is not None}


def _begun(rollout: Rollout, facts: Facts) -> Iterator[str]:
    """A new rollout begins with its canaries, unless it brings back what was before."""
    strategy = _strategy(rollout.pool, facts)
    names = [name for wave in rollout.waves for name in wave]
    if strategy is None or rollout.began_at != facts.desired.at:
        yield "is not one that begins now"
        return
    if len(names) != len(set(names)):
        yield "has a node twice"
    if rollout.forgiven or rollout.accepted or (rollout.wave and not _all_gone(rollout, facts)):
        yield "begins in the middle"
    if rollout.reverts:
        stopped = [
            one
            for one in facts.memory.rollouts.values()
            if (one.pool, one.holder) == (rollout.pool, rollout.holder) and one.state in OPEN
        ]
        if not any(rollout.target_digest in one.formers for one in stopped):
            yield "is called a revert, and brings nothing back"
    elif 0 < strategy.canaries < len(rollout.waves[0]) and not all(
        _is_touched(name, rollout, facts) for name in rollout.waves[0]
    ):
        yield "begins with more nodes than canaries"


def _is_touched(node: str, rollout: Rollout, facts: Facts) -> bool:
    """Whether an operation is on its way to what is rolled out already."""
    remembered = facts.memory.nodes.get(node)
    operation = remembered.operation if remembered is not None else None
    if operation is None or operation.target.digest != rollout.target_digest:
        return False
    return operation.state is OperationState.RUNNING or operation.attempt > 0


def _all_gone(rollout: Rollout, facts: Facts) -> bool:
    passed = [name for wave in rollout.waves[: rollout.wave] for name in wave]
    return all(not _is_of(rollout, name, facts) for name in passed)


def _moved(before: Rollout, now: Rollout, facts: Facts) -> Iterator[str]:
    """What a rollout became follows from what it was."""
    if now == before and (facts.context.limit_nodes is not None or not facts.history_kept()):
        return
    fixed = ("pool", "holder", "target_digest", "revision", "began_at", "formers", "reverts")
    if any(getattr(before, name) != getattr(now, name) for name in fixed):
        yield "is another one under the same name"
    strategy = _strategy(now.pool, facts)
    if now.state is RolloutState.SUPERSEDED:
        names = [name for wave in now.waves for name in wave]
        if strategy is not None and any(_is_of(now, name, facts) for name in names):
            yield "is given up although git wants it"
        return
    if strategy is None:
        yield "goes on without a strategy"
        return
    given = before.state is RolloutState.PAUSED and facts.acknowledged(before.acknowledgement)
    if before.state is RolloutState.PAUSED and now.state is not RolloutState.PAUSED and not given:
        yield "goes on after its pause, and no commit acknowledges that"
    forgiven = set(now.forgiven) - set(before.forgiven)
    if forgiven and not given:
        yield "forgives what no commit acknowledges"
    if now.accepted != before.accepted + (1 if given else 0):
        yield "counts its acknowledged pauses wrongly"
    counted = set(now.failed) - set(now.forgiven)
    open_ = now.state is RolloutState.RUNNING and not now.reverts
    if open_ and len(counted) > strategy.failures_max:
        yield f"goes on with {len(counted)} failed nodes, {strategy.failures_max} may"
    if now.state is RolloutState.PAUSED and now.acknowledgement != _token(now):
        yield "asks for the wrong acknowledgement"
    if now.wave < before.wave:
        yield "goes back by a wave"
    last = len(now.waves) if now.state is RolloutState.DONE else now.wave
    yield from _passed(before, now, last, facts)


def _token(rollout: Rollout) -> str:
    return digest_of([rollout.id, str(rollout.accepted)]) if rollout.accepted else rollout.id


def _passed(before: Rollout, now: Rollout, last: int, facts: Facts) -> Iterator[str]:
    """Every wave that was passed since had come to its end, soaked, and is healthy."""
    strategy = _strategy(now.pool, facts)
    for wave in now.waves[before.wave : last]:
        mine = [name for name in wave if _is_of(now, name, facts)]
        good = [name for name in mine if name not in now.failed]
        for name in good:
            if not facts.settled(name) or not _at_rest(name, facts):
                yield f"a wave is passed although {name} is not done"
            elif not _healthy(name, facts):
                yield f"a wave is passed although {name} is not seen healthy"
        ends = [end for end in (_end(name, facts) for name in mine) if end is not None]
        soak = timedelta(seconds=strategy.soak if strategy is not None else 0)
        if ends and facts.desired.at < max(ends) + soak:
            yield "a wave is passed before it has soaked"


def _at_rest(node: str, facts: Facts) -> bool:
    remembered = facts.memory.nodes.get(node)
    if remembered is None:
        return False
    return remembered.operation is None or not remembered.operation.unfinished


def _end(node: str, facts: Facts) -> datetime | None:
    remembered = facts.memory.nodes.get(node)
    if remembered is None:
        return None
    done = remembered.applied.at if remembered.applied is not None else None
    failed = remembered.failed.ended_at if remembered.failed is not None else None
    return max((one for one in (done, failed) if one is not None), default=None)


def _healthy(node: str, facts: Facts) -> bool:
    """Seen lately, after what was done to it, as git wants it, and running where that is told."""
    seen, applied = facts.seen(node), facts.memory.nodes[node].applied
    if seen is None or seen.reading is None or applied is None or seen.at < applied.at:
        return False
    ttl_s = facts.desired.inventory.rules.observation_ttl
    if seen.age_s(facts.desired.at) > ttl_s:
        return False
    target, reading = facts.desired.nodes[node].target, seen.reading
    if reading.power.value != target.power.value:
        return False
    if target.template is None:
        return True
    runs = reading.boot_progress in (None, BootProgress.OS_RUNNING)
    return runs and reading.template_digest in (None, target.template.digest)
