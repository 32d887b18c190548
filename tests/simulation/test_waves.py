"""Rollouts in the simulation: they begin, pause, go on and are taken back; and a daemon whose gate
is broken on purpose is found out by the books of the waves.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from sim_daemon import SimDaemon, SimReconciler
from sim_scenario import Event, Recipe, Scenario, generate
from sim_world import play

from metalwright.model.desired import Desired
from metalwright.model.frozen import FrozenDict
from metalwright.model.inventory import Inventory
from metalwright.model.observed import Observed
from metalwright.model.operation import Memory
from metalwright.model.plan import Plan
from metalwright.plan import PlanContext

SMALL = Recipe(nodes=(10, 16), changes=(3, 5), speed=(10.0,), features=True)


def test_rollouts_pause_and_go_on_and_are_taken_back(home: Path) -> None:
    figures: Counter[str] = Counter()
    for seed in (210, 212):
        result = play(generate(seed, SMALL), home)
        assert result.violations == []
        figures += result.rollouts
    assert figures["rollouts begun"] >= 10
    assert figures["rollouts paused"] >= 2
    assert figures["rollouts let go on"] >= 2
    assert figures["rollouts taken back"] >= 2
    assert figures["rollouts done"] >= 4
    assert figures["waves passed"] >= 6


class Hasty(SimReconciler):
    """The last wave has its turn at once."""

    def plan(
        self, desired: Desired, observed: Observed, memory: Memory, context: PlanContext
    ) -> Plan:
        turned = {
            key: replace(one, wave=len(one.waves) - 1) for key, one in memory.rollouts.items()
        }
        hurried = replace(memory, rollouts=FrozenDict(turned))
        return super().plan(desired, observed, hurried, context)


class Restless(SimReconciler):
    """No wave soaks."""

    def plan(
        self, desired: Desired, observed: Observed, memory: Memory, context: PlanContext
    ) -> Plan:
        hurried = replace(desired, inventory=_without_soak(desired.inventory))
        return super().plan(hurried, observed, memory, context)


@cache
def _without_soak(inventory: Inventory) -> Inventory:
    pools = dict(inventory.pools)
    for name, pool in pools.items():
        if pool.spec.rollout is not None:
            rollout = replace(pool.spec.rollout, soak=0)
            pools[name] = replace(pool, spec=replace(pool.spec, rollout=rollout))
    return replace(inventory, pools=FrozenDict(pools))


class Careless(SimReconciler):
    """Whatever fails is forgiven."""

    def plan(
        self, desired: Desired, observed: Observed, memory: Memory, context: PlanContext
    ) -> Plan:
        forgiven = {
            key: replace(one, forgiven=tuple(name for wave in one.waves for name in wave))
            for key, one in memory.rollouts.items()
        }
        careless = replace(memory, rollouts=FrozenDict(forgiven))
        return super().plan(desired, observed, careless, context)


def daemon_with(kind: type[SimReconciler]) -> type[SimDaemon]:
    class Broken(SimDaemon):
        reconciler_kind = kind

    return Broken


STRATEGY = {"waves": {"nodes": 1}, "canaries": 1, "soak": "60s", "failuresMax": 0}


def scenario(*, bad: bool, clock: float = 0.0) -> Scenario:
    """One change of a pool of four, in four waves; `clock` is by how much it is set on the way,
    just before the daemon is killed.
    """
    edit: dict[str, object] = {"rest/p0": "t5"}
    what = {"template": "t5", "answer": "mend", "set": edit} if bad else {"set": edit}
    events = [Event(at_s=5.0, kind="bad template" if bad else "commit", what=what)]
    if bad:  # until something happens no more, what is bad is not mended before people are told
        events.append(Event(at_s=300.0, kind="second daemon"))
    if clock:
        events.append(Event(at_s=70.0, kind="clock", what={"by_s": clock}))
        events.append(Event(at_s=71.0, kind="crash", what={"down_s": 5.0}))
    # Without a soak nobody has tried again what failed before the next wave has its turn.
    strategy = STRATEGY | ({"soak": "0s"} if bad else {})
    rules = {"rollout/p0": strategy, "policy/attempts": 1}
    plain = generate(7, Recipe(nodes=(8, 8), changes=(1, 1), speed=(30.0,)))
    return replace(
        plain,
        pools=2,
        fleet_limit=8,
        rack_limit=None,
        calls_max=1_000,
        rules=rules,
        events=tuple(events),
    )


@pytest.mark.parametrize(
    ("kind", "bad", "oracle"),
    [
        (Hasty, False, "waves in order"),
        (Restless, False, "waves in order"),
        (Careless, True, "nothing after a pause"),
    ],
)
def test_a_broken_gate_is_found(
    kind: type[SimReconciler], bad: bool, oracle: str, home: Path
) -> None:
    same = scenario(bad=bad)
    assert play(same, home).violations == []
    found = play(same, home, daemons=daemon_with(kind)).violations
    assert found
    assert found[0].oracle == oracle


@pytest.mark.parametrize("clock", [-7_200.0, 7_200.0])
def test_a_broken_gate_is_found_where_the_clock_was_set_too(clock: float, home: Path) -> None:
    same = scenario(bad=False, clock=clock)
    assert play(same, home).violations == []
    found = play(same, home, daemons=daemon_with(Restless)).violations
    assert found
    assert found[0].oracle == "waves in order"
