"""The promises about how much is disrupted, counted again, group by group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from metalwright.model.digest import digest_of
from metalwright.model.fields import format_instant
from metalwright.model.observed import Power
from metalwright.model.operation import CORRECTIONS_SPAN, Verb
from metalwright.model.plan import Action, Blocked, BlockedReason, Cause, Plan
from metalwright.model.policy import BlastRadius, Radius
from metalwright.model.tenancy import DriftPolicy
from metalwright.plan.facts import TURNING_OFF, Facts

SHORT_OF_THE_DIGEST = frozenset(
    {
        BlockedReason.NOT_OBSERVED,
        BlockedReason.STALE_OBSERVATION,
        BlockedReason.IDENTITY_MISMATCH,
        BlockedReason.IDENTITY_UNKNOWN,
        BlockedReason.FROZEN,
        BlockedReason.HELD,
        BlockedReason.BLAST_RADIUS,
        BlockedReason.HISTORY_REWRITTEN,
        BlockedReason.ROLLOUT_WAITS,
        BlockedReason.ROLLOUT_PAUSED,
    }
)
NOT_TRULY_SEEN = frozenset(
    {
        BlockedReason.NOT_OBSERVED,
        BlockedReason.STALE_OBSERVATION,
        BlockedReason.IDENTITY_MISMATCH,
        BlockedReason.IDENTITY_UNKNOWN,
    }
)
NOT_WOKEN_NOW = NOT_TRULY_SEEN | {BlockedReason.FROZEN, BlockedReason.HELD}


def digest(plan: Plan, facts: Facts) -> Iterator[str]:
    """The change digest is that of the changes, and only what is acknowledged is consented to."""
    if any(action.node not in facts.desired.nodes for action in plan.actions):
        return
    open_ = _open(plan, facts)
    name = _name(open_.values())
    if plan.change_digest != name:
        yield "its change digest is not that of its changes"
    given = facts.history_kept() and facts.acknowledged(name)
    keys = {_key(facts, name, Verb(row[1])) for name, row in open_.items()} if given else set()
    for key in sorted(set(plan.consents) ^ keys):
        yield f"consent {key} is given or kept back against what git acknowledges"
    yield from _lapsed(plan, facts)


def _lapsed(plan: Plan, facts: Facts) -> Iterator[str]:
    """What git wants by now is not what was acknowledged: then the consent is over."""
    known, gone = facts.memory.consents, set(plan.lapsed)
    for key in sorted(gone - known):
        yield f"consent {key} is forgotten, and never was given"
    if not facts.history_kept():
        return
    for key in sorted(known):
        name, since, _goal = [*key.split("/"), "", ""][:3]
        here = name in facts.desired.nodes and name in facts.memory.nodes
        holds = here and key in (_key(facts, name, verb) for verb in (Verb.REBUILD, Verb.POWER_OFF))
        spent = here and _move(facts, name)[2] != since
        if holds and key in gone:
            yield f"consent {key} is forgotten although git wants its change"
        elif not holds and not spent and key not in gone:
            yield f"consent {key} outlives what git wanted"


def _open(plan: Plan, facts: Facts) -> dict[str, list[str]]:
    """What git wants disrupted, by node, but for what a commit acknowledged before."""
    wanted = [(one.node, one.verb) for one in plan.actions if _cause(one) is Cause.GIT]
    wanted += [
        (one.node, one.verb)
        for one in plan.blocked
        if one.verb is not None and one.cause is Cause.GIT and one.reason in SHORT_OF_THE_DIGEST
    ]
    rows = {
        name: _row(facts, name, verb)
        for name, verb in wanted
        if verb in TURNING_OFF and name in facts.memory.nodes
    }
    known = facts.memory.consents
    if not known:
        return rows
    return {name: row for name, row in rows.items() if _key(facts, name, Verb(row[1])) not in known}


def _row(facts: Facts, name: str, verb: Verb) -> list[str]:
    return [name, verb.value, *_move(facts, name), *_lost(facts, name, verb)]


def _lost(facts: Facts, name: str, verb: Verb) -> list[str]:
    """How the disks are lost, where they are."""
    template = facts.desired.nodes[name].target.template
    if template is None or not facts.destroys(name, verb):
        return []
    return ["destroys data", template.wipe.value]


def _move(facts: Facts, name: str) -> list[str]:
    """Where a node is to go, for whom, and since when it is what it is."""
    wanted, remembered = facts.desired.nodes[name], facts.memory.nodes[name]
    known = facts.checked.moves.get(name)
    if known is not None and known[0] is wanted and known[1] is remembered:
        return known[2]
    origin = facts.origin(name)
    begins = format_instant(wanted.holder.since) if wanted.holder.since is not None else ""
    since = remembered.adopted_at if origin is None else origin.at
    move = [wanted.target.digest, f"{wanted.holder}@{begins}", since.isoformat()]
    facts.checked.moves[name] = (wanted, remembered, move)
    return move


def _key(facts: Facts, name: str, verb: Verb) -> str:
    """A change of a node that is what it is since an instant: so it is consented to once."""
    target, holder, since = _move(facts, name)
    return f"{name}/{since}/{digest_of([target, holder, *_lost(facts, name, verb)])}"


def _name(rows: Iterable[list[str]]) -> str:
    found = sorted(rows)
    return digest_of(found) if found else ""


def _cause(line: Action) -> Cause | None:
    return line.reasons[0].cause if line.reasons else None


def blast_radius(plan: Plan, facts: Facts) -> Iterator[str]:
    """Not too many machines of any group at once, unless a commit acknowledges just these."""
    going = {
        one.node: _cause(one)
        for one in plan.actions
        if one.disruptive and one.node in facts.desired.nodes
    }
    limits = _limits(facts)
    if not going or not any(limits.values()):
        return
    open_ = _open(plan, facts)
    counted = _disrupting(plan, facts, open_)
    if facts.acknowledged(_name(open_.values())):
        counted = set()
    beyond = list(_beyond(facts, limits, Counter(_groups(facts, limits, counted))))
    if any(cause is Cause.GIT and name in counted for name, cause in going.items()):
        for group, count in beyond:
            yield f"{count} nodes{group} are disrupted at once, and no commit acknowledges that"
    drifting = {name for name, cause in going.items() if cause is Cause.DRIFT}
    if drifting:
        yield from _drift(plan, facts, drifting, set() if beyond else counted)


def _drift(plan: Plan, facts: Facts, drifting: set[str], counted: set[str]) -> Iterator[str]:
    limits = _limits(facts)
    lately = {name for name in facts.memory.nodes if _lately(facts, name)} - drifting
    sure = Counter(_groups(facts, limits, counted))
    sure.update(_groups(facts, limits, drifting | lately))
    silent = {one.node for one in plan.blocked if _unasked(one, facts)}
    perhaps = sure + Counter(_groups(facts, limits, silent))
    if silent and list(_beyond(facts, limits, perhaps)):
        yield f"{len(drifting)} nodes are disrupted before {len(silent)} others were asked"
    verbs = {one.node: one.verb for one in plan.actions}
    if facts.acknowledged(_name(_row(facts, name, verbs[name]) for name in drifting)):
        return
    for group, count in _beyond(facts, limits, sure):
        yield f"drift: {count} nodes{group} are disrupted within an hour, unacknowledged"


def _disrupting(plan: Plan, facts: Facts, open_: dict[str, list[str]]) -> set[str]:
    """Those of the changes that take a running system down, as far as anybody knows."""
    doubtful = {one.node for one in plan.blocked if one.reason in NOT_TRULY_SEEN}
    kept_back = {one.node for one in plan.blocked if one.reason in NOT_WOKEN_NOW}
    preview = facts.context.observed_kind == "none"  # what was seen once is taken as it is
    verbs = {one.node: one.verb for one in plan.actions}
    verbs |= {one.node: one.verb for one in plan.blocked if one.verb is not None}
    found = set()
    for name in open_:
        seen = facts.seen(name)
        ttl_s = facts.desired.inventory.rules.observation_ttl
        fresh = preview or (seen is not None and seen.age_s(facts.desired.at) <= ttl_s)
        off = facts.power(name) is Power.OFF and fresh and name not in doubtful
        woken = name not in kept_back and facts.woken(name, verbs[name])
        if not (off or woken) or facts.destroys(name, verbs[name]):
            found.add(name)
    return found


def _lately(facts: Facts, node: str) -> bool:
    remembered = facts.memory.nodes[node]
    running = remembered.operation
    if running is not None and running.unfinished:
        return running.corrects and running.disruptive
    applied, failed = remembered.applied, remembered.failed
    ends = [applied.at] if applied is not None and applied.corrections else []
    if failed is not None and failed.attempt and failed.corrects and failed.disruptive:
        ends.append(failed.ended_at or failed.created_at)
    span_s = CORRECTIONS_SPAN.total_seconds()
    return any(0 <= (facts.desired.at - end).total_seconds() < span_s for end in ends)


def _unasked(line: Blocked, facts: Facts) -> bool:
    """Whether the node was never asked, and what it answers may call for its correction."""
    wanted = facts.desired.nodes.get(line.node)
    if wanted is None or facts.seen(line.node) is not None or line.cause is not Cause.DRIFT:
        return False
    return line.reason is BlockedReason.NOT_OBSERVED and wanted.drift is DriftPolicy.CORRECT


def _limits(facts: Facts) -> dict[str, list[Radius | BlastRadius]]:
    """The limits of each kind of group: of this commit's policy and of the one before."""
    given = [facts.desired.inventory.rules.blast_radius, facts.context.former_radius]
    kinds: dict[str, list[Radius | BlastRadius]] = {"": [], "pool": []}
    for radius in given:
        if radius is None:
            continue
        kinds[""].append(radius)
        kinds["pool"].append(radius.pools)
        for key, limit in radius.labels.items():
            kinds.setdefault(f"={key}", []).append(limit)
    return {
        kind: [one for one in some if (one.nodes_max, one.percent_max) != (None, None)]
        for kind, some in kinds.items()
    }


def _groups(
    facts: Facts, limits: dict[str, list[Radius | BlastRadius]], nodes: Iterable[str]
) -> Iterator[tuple[str, str]]:
    """The limited groups of these nodes: their kind, and how they are called."""
    for name in nodes:
        wanted, node = facts.desired.nodes.get(name), facts.desired.inventory.nodes.get(name)
        for kind, some in limits.items():
            if not some:
                continue
            if not kind:
                yield kind, ""
            elif wanted is not None and kind == "pool":
                yield kind, f" of pool {wanted.pool}"
            elif wanted is not None and node is not None and kind[1:] in node.metadata.labels:
                yield kind, f" of {kind[1:]}={node.metadata.labels[kind[1:]]}"


def _beyond(
    facts: Facts,
    limits: dict[str, list[Radius | BlastRadius]],
    counts: Counter[tuple[str, str]],
) -> Iterator[tuple[str, int]]:
    """The groups with more than one of their limits lets be, and how many they have."""
    shares = any(one.percent_max is not None for some in limits.values() for one in some)
    sizes = Counter(_groups(facts, limits, facts.desired.nodes)) if shares else Counter()
    for (kind, group), count in sorted(counts.items()):
        for limit in limits[kind]:
            share = limit.percent_max
            most = sizes[kind, group] * share // 100 if share is not None else count
            if count > max(1, most) or (limit.nodes_max is not None and count > limit.nodes_max):
                yield group, count
                break
