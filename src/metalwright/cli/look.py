"""Looking without touching: the same values the daemon plans from, for one command.

A command reads the store beside a running daemon and takes the daemon's own fresh observations, so
that it opens no second session to a BMC; only nodes that nobody asked lately are asked here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from metalwright.daemon.fleet import Fleet, observed_nodes
from metalwright.daemon.reconcile import Reconciler
from metalwright.errors import MetalwrightError, SettingsError
from metalwright.model.desired import Desired
from metalwright.model.documents import Node
from metalwright.model.frozen import FrozenDict
from metalwright.model.observed import Observation, Observed, Power, Reading
from metalwright.model.operation import Memory
from metalwright.model.plan import Plan

FRESH_INTERVALS = 3
ASK_DEADLINE_S = 30.0


class ObservedFrom(StrEnum):
    """Where a plan's observations come from."""

    LIVE = "live"
    FILE = "file"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One consistent look at the fleet."""

    desired: Desired
    observed: Observed
    memory: Memory
    plan: Plan


def live(fleet: Fleet, nodes: Iterable[Node]) -> Observed:
    """The daemon's fresh observations, and for the other nodes an answer of their own."""
    now = fleet.clock()
    fresh_s = FRESH_INTERVALS * fleet.settings.observe.interval_s
    kept = {
        name: observation
        for name, observation in fleet.store.observed().nodes.items()
        if 0 <= (now - observation.at).total_seconds() <= fresh_s
    }
    wanted = list(nodes)
    missing = [node for node in wanted if node.metadata.name not in kept]
    asked = fleet.sweeper.run(missing, ASK_DEADLINE_S) if missing else Observed()
    names = {node.metadata.name for node in wanted}
    both = {name: seen for name, seen in kept.items() if name in names} | dict(asked.nodes)
    return Observed(nodes=FrozenDict(sorted(both.items())))


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


def recorded(memory: Memory, desired: Desired) -> Observed:
    """No hardware asked: every node is taken to be as our records say."""
    nodes = {
        name: Observation(
            node=name,
            at=desired.at,
            reading=Reading(
                power=Power(remembered.applied.target.power.value)
                if remembered.applied is not None
                else Power.OFF
            ),
        )
        for name, remembered in sorted(memory.nodes.items())
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
        first = str(error).splitlines()[0]
        raise SettingsError(
            f"{path}: is not what `mw status --format json` writes: {first}"
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusFile:
    """The part of `mw status --format json` that a plan can be made from."""

    observed: Observed


def in_force(fleet: Fleet) -> Desired:
    """What the revision in force wants now.

    Raises:
        MetalwrightError: no revision can be in force; the message says why.
    """
    reconciler = Reconciler(fleet)
    reconciler.follow_head()
    if reconciler.inventory is None:
        raise MetalwrightError(reconciler.trouble)
    return reconciler.resolve(fleet.clock())


def look(fleet: Fleet) -> Look:
    """Resolve, ask and plan at this instant, for the commands that explain."""
    reconciler = Reconciler(fleet)
    desired = in_force(fleet)
    observed = live(fleet, observed_nodes(desired.inventory))
    memory = fleet.store.memory()
    context = reconciler.context(memory, desired.inventory)
    plan = reconciler.plan(desired, observed, memory, context)
    return Look(desired=desired, observed=observed, memory=memory, plan=plan)
