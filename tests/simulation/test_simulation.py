"""A few seeds of the simulation, as many as fit into the ordinary tests; see `make simulate`."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sim_daemon import SimDaemon
from sim_driver import SimDriver
from sim_jobs import RECIPES, every_crash, undone
from sim_scenario import Event, Recipe, Scenario, generate
from sim_shrink import shrink
from sim_world import play

from metalwright.model.documents import Node
from metalwright.model.observed import Power
from metalwright.model.operation import Effect, EffectKind

SMALL = Recipe(nodes=(10, 16), changes=(3, 5), speed=(10.0,))
SEEDS = range(100, 104)
WITH_FEATURES = replace(SMALL, features=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_broken_whatever_happens(seed: int, home: Path) -> None:
    result = play(generate(seed, SMALL), home)
    assert result.violations == []
    assert result.operations > 0
    assert result.overshoot == 0


@pytest.mark.parametrize("seed", [206])
def test_rollouts_brakes_and_lanes_hold_whatever_happens(seed: int, home: Path) -> None:
    result = play(generate(seed, WITH_FEATURES), home)
    assert result.violations == []
    assert result.operations > 0
    assert result.overshoot == 0


@pytest.mark.parametrize("seed", [317])
def test_a_revert_is_as_before(seed: int, home: Path) -> None:
    result = play(generate(seed, replace(SMALL, changes=(1, 2), back=True)), home)
    undone(result)
    assert result.violations == []
    assert result.operations > 0


def test_a_scenario_is_the_same_when_it_is_read_back() -> None:
    scenario = generate(7)
    assert Scenario.parse(scenario.text()) == scenario


def test_a_seed_replays_exactly_in_another_process_too(home: Path) -> None:
    first = play(generate(100, SMALL), home)
    code = (
        "import sys; from pathlib import Path\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from sim_scenario import Recipe, generate; from sim_world import play\n"
        f"small = Recipe(nodes={SMALL.nodes}, changes={SMALL.changes}, speed={SMALL.speed})\n"
        f"print(play(generate(100, small), Path({str(home / 'other')!r})).trace)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "77"},
    )
    assert done.stdout.strip() == first.trace
    assert play(generate(100, SMALL), home).trace == first.trace


def test_a_daemon_that_is_killed_comes_to_the_same_end(home: Path) -> None:
    scenario = replace(generate(109, RECIPES["crashes"]), nodes=2, pools=2)
    runs = list(every_crash(scenario, home, runs_max=6))
    assert len(runs) > 6
    assert [result.violations for result, _crash_at in runs] == [[] for _ in runs]
    assert sum(result.crashes for result, _crash_at in runs) >= 6


class Twice(SimDriver):
    """Tells the BMC everything twice."""

    def apply(self, node: Node, effect: Effect, timeout_s: float) -> None:
        super().apply(node, effect, timeout_s)
        super().apply(node, effect, timeout_s)


class Stammering(SimDaemon):
    """A daemon with a driver that is broken on purpose."""

    driver_kind = Twice


def test_a_broken_oracle_is_shrunk_to_what_breaks_it(home: Path) -> None:
    def fails(candidate: Scenario) -> bool:
        result = play(candidate, home, daemons=Stammering)
        return any(each.oracle == "one effect for one intent" for each in result.violations)

    scenario = generate(103, SMALL)
    assert fails(scenario)
    small = shrink(scenario, fails, runs_max=60)
    assert len(small.events) == 1
    assert small.nodes < scenario.nodes
    assert fails(Scenario.parse(small.text()))
    assert play(small, home).violations == []


class Meddled(SimDriver):
    """Once, before our power-on reaches the machine, somebody switches it on by hand: what it has
    on its disk boots, and says nothing of itself.
    """

    def apply(self, node: Node, effect: Effect, timeout_s: float) -> None:
        name = node.metadata.name
        if effect.kind is EffectKind.POWER_ON and not self._room.met["meddled"]:
            self._room.met["meddled"] += 1
            self._room.press(name, Power.ON)
            machine = self._room.machines[name]
            machine.state = replace(machine.state, digest="")
            self._boundary("meddled")
        super().apply(node, effect, timeout_s)


class AmongOthers(SimDaemon):
    """A daemon in a machine room with people in it."""

    driver_kind = Meddled


def test_a_machine_that_somebody_switched_on_while_no_daemon_ran_is_not_ours(home: Path) -> None:
    turn = Event(at_s=5.0, kind="commit", what={"set": {"rest/p1": "t0"}})
    scenario = replace(generate(7, SMALL), nodes=2, pools=2, speed=10.0, events=(turn,))
    whole = play(scenario, home, daemons=AmongOthers)
    killed_at = whole.boundary_names.index("meddled") + 1
    result = play(scenario, home, (killed_at,), daemons=AmongOthers)
    assert result.crashes == 1
    assert result.violations == []
