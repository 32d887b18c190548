"""Looking without touching: the same values the daemon plans from, for one command.

A command reads the store beside a running daemon and takes the daemon's own fresh observations, so
that it opens no second session to a BMC; only nodes that nobody asked lately are asked here.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from metalwright.cli.common import report
from metalwright.daemon.fleet import Fleet, observed_nodes
from metalwright.daemon.reconcile import Reconciler
from metalwright.errors import MetalwrightError, RepositoryError, SettingsError
from metalwright.model.desired import Desired
from metalwright.model.frozen import FrozenDict
from metalwright.model.inventory import Inventory
from metalwright.model.observed import ErrorKind, Observation, Observed, Power, Reading
from metalwright.model.operation import Memory
from metalwright.model.plan import Plan

FRESH_INTERVALS = 3
ASK_DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One consistent look at the fleet."""

    desired: Desired
    observed: Observed
    memory: Memory
    plan: Plan


def live(
    fleet: Fleet, inventory: Inventory, memory: Memory, names: Collection[str] | None = None
) -> Observed:
    """The daemon's fresh observations, and for the other nodes an answer of their own, with what
    their systems reported. Of these `names`; all without.

    An answer from before we last brought the node somewhere is not about how it is now.
    """
    now = fleet.clock()
    wanted = [
        node for node in observed_nodes(inventory) if names is None or node.metadata.name in names
    ]
    oldest = now - timedelta(seconds=FRESH_INTERVALS * fleet.settings.observe.interval_s)
    kept = fleet.store.observed().nodes

    def fresh(name: str) -> bool:
        remembered, seen = memory.nodes.get(name), kept.get(name)
        applied = remembered.applied if remembered is not None else None
        since = max(oldest, applied.at) if applied is not None else oldest
        if seen is not None and _is_locked_out(seen, now):
            return True
        return seen is not None and since <= seen.at <= now

    missing = [node for node in wanted if not fresh(node.metadata.name)]
    asked = fleet.sweeper.run(missing, ASK_DEADLINE_S) if missing else Observed()
    if fleet.boot is not None:
        asked = fleet.boot.laid(asked, memory, inventory)
    others = {node.metadata.name for node in wanted} - asked.nodes.keys()
    both = {name: kept[name] for name in others if fresh(name)} | dict(asked.nodes)
    return Observed(nodes=FrozenDict(sorted(both.items())))


def _is_locked_out(seen: Observation, now: datetime) -> bool:
    """Whether the BMC refused our credentials a while ago: once more could lock the account."""
    refused = seen.error is not None and seen.error.kind is ErrorKind.CREDENTIALS
    return refused and seen.next_attempt_at is not None and now < seen.next_attempt_at


def shifted(observed: Observed, by: timedelta) -> Observed:
    """The same answers as old at the instant of a forecast as they are now.

    A plan for next Sunday asks what would be done if the hardware stayed as it is, not whether
    today's answers will be too old by then.
    """
    nodes = {
        name: replace(observation, at=observation.at + by)
        for name, observation in observed.nodes.items()
    }
    return Observed(nodes=FrozenDict(nodes))


def recorded(memory: Memory, at: datetime) -> Observed:
    """No hardware asked: each node has the power that its record says, unknown without one."""
    nodes = {
        name: Observation(
            node=name,
            at=at,
            reading=Reading(power=Power(remembered.applied.target.power.value)),
        )
        for name, remembered in sorted(memory.nodes.items())
        if remembered.applied is not None
    }
    return Observed(nodes=FrozenDict(nodes))


def from_file(path: Path) -> Observed:
    """Observations as `mw status --format json` wrote them.

    Raises:
        SettingsError: the file cannot be read or is not that JSON.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return TypeAdapter(StatusFile).validate_json(text).observed
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: is not what `mw status --format json` writes") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusFile:
    """The part of `mw status --format json` that a plan can be made from."""

    observed: Observed


def in_force(fleet: Fleet) -> Desired:
    """What the revision in force wants now; that it is not HEAD is told on the other channel.

    Raises:
        MetalwrightError: no revision can be in force; the message says why.
    """
    _fetch_first(fleet)
    reconciler = Reconciler(fleet)
    reconciler.follow_head()
    if reconciler.inventory is None:
        raise MetalwrightError(reconciler.trouble)
    if reconciler.trouble:
        report(f"warning: {reconciler.trouble}")
    return reconciler.resolve(fleet.clock())


def _fetch_first(fleet: Fleet) -> None:
    """Fetch a remote repository of which there is nothing here yet, before any daemon ran.

    Later the daemon fetches, and a look shows what it has.
    """
    if not fleet.repository.is_remote:
        return
    try:
        fleet.repository.head()
    except RepositoryError:
        fleet.repository.fetch()


def look(fleet: Fleet) -> Look:
    """Resolve, ask and plan at this instant, for the commands that explain."""
    reconciler = Reconciler(fleet)
    desired = in_force(fleet)
    memory = fleet.store.memory()
    observed = live(fleet, desired.inventory, memory)
    context = reconciler.context(memory, desired.inventory)
    plan = reconciler.plan(desired, observed, memory, context)
    return Look(desired=desired, observed=observed, memory=memory, plan=plan)
