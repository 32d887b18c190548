"""What stands in the way of a fleet, in a few lines: is anybody driving, what is held, what is in
quarantine, how far the rollouts are. Only words: it reads values and decides nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from metalwright.cli.look import Look
from metalwright.daemon.fleet import Fleet
from metalwright.daemon.reconcile import FACT_CYCLE
from metalwright.model.desired import Desired
from metalwright.model.fields import format_instant
from metalwright.model.noderange import fold
from metalwright.model.operation import Memory
from metalwright.model.plan import Plan
from metalwright.model.rollout import ROLLOUT_OVER, Rollout, RolloutState
from metalwright.plan import Release, releases

MISSING_TOLD_MAX = 5
"""Nodes that an assignment lacks, and that are told with the reason."""

ACKNOWLEDGED_DIGITS = 12
"""Of the acknowledgement of a rollout: so many are enough for a commit to give it."""


def driver_line(driven_by: int | None, said: Mapping[str, Any] | None) -> str:
    """Who drives the fleet, the last sentence that was said of it, and below it a line for each
    alert of its drivers.
    """
    last = f"{said['sentence']} ({said['at'][:19]}Z)" if said is not None else ""
    last += "".join(f"\nalert     {each}" for each in (said or {}).get("alerts", ()))
    if driven_by is None:
        return f"daemon    none drives this fleet{f'; the last one said: {last}' if last else ''}"
    who = f"process {driven_by}" if driven_by else "a process that is starting"
    return f"daemon    {who}: {last or 'no cycle yet'}"


def standing_lines(desired: Desired, memory: Memory, plan: Plan) -> Iterator[str]:
    """Holds and quarantines, equal ones in one line, then the rollouts that are not over."""
    for (where, reason), names in _grouped(_holds(desired, memory)):
        yield f"held      {fold(names)} ({where}): {reason}"
    for (since, reason), names in _grouped(_quarantines(memory)):
        yield f"quarantine {fold(names)} (since {since}): {reason}; `mw resume` when mended"
    for rollout in plan.rollouts:
        if rollout.state not in ROLLOUT_OVER:
            yield f"rollout   {rollout_words(rollout, desired)}"


_Told = Iterator[tuple[tuple[str, str], str]]


def _holds(desired: Desired, memory: Memory) -> _Told:
    for name, wanted in {**desired.not_managed, **desired.nodes}.items():
        if wanted.hold is not None:
            until = wanted.hold.until
            end = f" until {format_instant(until)}" if until is not None else ""
            yield (f"in git{end}", wanted.hold.reason), name
    for name, remembered in memory.nodes.items():
        if remembered.hold is not None:
            since = instant(remembered.hold.at)
            yield (f"by {remembered.hold.by} since {since}", remembered.hold.reason), name


def _quarantines(memory: Memory) -> _Told:
    for name, remembered in memory.nodes.items():
        if remembered.quarantine is not None:
            yield (instant(remembered.quarantine.at), remembered.quarantine.reason), name


def _grouped(told: _Told) -> list[tuple[tuple[str, str], list[str]]]:
    groups: dict[tuple[str, str], list[str]] = {}
    for key, name in told:
        groups.setdefault(key, []).append(name)
    return sorted(groups.items())


def rollout_words(rollout: Rollout, desired: Desired) -> str:
    """How far one rollout is, and what it waits for."""
    nodes = sum(len(wave) for wave in rollout.waves)
    where = f"in pool {rollout.pool}" + (
        f" for {rollout.holder}" if rollout.holder != f"pool/{rollout.pool}" else ""
    )
    canaries = " (canaries)" if rollout.wave == 0 and _has_canaries(rollout, desired) else ""
    wave = f"wave {rollout.wave + 1} of {len(rollout.waves)}{canaries}"
    head = f"{rollout.template or 'power'} {where}, commit {rollout.revision[:12]}: "
    failed = f", failed: {fold(rollout.failed)}" if rollout.failed else ""
    if rollout.state is RolloutState.PAUSED:
        return (
            f"{head}PAUSED at {wave}: {rollout.why}; revert it, or commit"
            f" to the Policy: acknowledge: [{rollout.acknowledgement[:ACKNOWLEDGED_DIGITS]}]"
        )
    begun = sum(len(wave) for wave in rollout.waves[: rollout.wave + 1])
    why = f", {rollout.why}" if rollout.why else ""
    return f"{head}{wave}, {begun} of {nodes} nodes had their turn{why}{failed}"


def _has_canaries(rollout: Rollout, desired: Desired) -> bool:
    """Whether its first wave are the canaries."""
    pool = desired.inventory.pools.get(rollout.pool)
    strategy = pool.spec.rollout if pool is not None else None
    first = strategy is not None and strategy.canaries > 0 and not rollout.reverts
    return first and len(rollout.waves) > 1


def releases_of(seen: Look, fleet: Fleet) -> tuple[Release, ...]:
    """How far the assignments are whose nodes have something to pass."""
    said = fleet.store.fact(FACT_CYCLE)
    unpassed = json.loads(said[0]).get("unpassed", {}) if said is not None else {}
    return releases(seen.desired, seen.memory, seen.plan, unpassed)


def release_words(release: Release) -> str:
    """Whether an assignment is released, and what it lacks."""
    ready = f"{release.ready} of {release.nodes} nodes ready"
    if release.since is not None:
        head = f"{release.assignment}: released since {instant(release.since)}, {ready}"
    else:
        head = f"{release.assignment}: not released, {ready}, {release.needed} needed"
    told = "; ".join(f"{each.node}: {each.why}" for each in release.missing[:MISSING_TOLD_MAX])
    more = len(release.missing) - MISSING_TOLD_MAX
    return f"{head}{'; missing ' + told if told else ''}{f'; {more} more' if more > 0 else ''}"


def instant(value: datetime) -> str:
    """To the second: nobody reads the rest."""
    return format_instant(value.replace(microsecond=0))
