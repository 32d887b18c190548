"""A few seeds of the simulation, as many as fit into the ordinary tests; see `make simulate`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sim_scenario import Recipe, Scenario, generate
from sim_world import play

SMALL = Recipe(nodes=(10, 16), changes=(3, 5), speed=(10.0,))
SEEDS = range(100, 106)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_broken_whatever_happens(seed: int, home: Path) -> None:
    result = play(generate(seed, SMALL), home)
    assert result.violations == []
    assert result.operations > 0
    assert result.overshoot == 0


def test_a_scenario_is_the_same_when_it_is_read_back() -> None:
    scenario = generate(7)
    assert Scenario.parse(scenario.text()) == scenario


def test_a_seed_replays_exactly_in_another_process_too(home: Path) -> None:
    first = play(generate(101, SMALL), home)
    code = (
        "import sys; from pathlib import Path\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from sim_scenario import Recipe, generate; from sim_world import play\n"
        f"small = Recipe(nodes={SMALL.nodes}, changes={SMALL.changes}, speed={SMALL.speed})\n"
        f"print(play(generate(101, small), Path({str(home / 'other')!r})).trace)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "77"},
    )
    assert done.stdout.strip() == first.trace
    assert play(generate(101, SMALL), home).trace == first.trace
