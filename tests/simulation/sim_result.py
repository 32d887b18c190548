"""What a run came to, and how long it may take to come there."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field

from sim_inventory import Model, Shape, wanted
from sim_record import Violation
from sim_room import MachineRoom
from sim_scenario import Scenario


@dataclass(kw_only=True)
class Result:
    """What a run came to."""

    scenario: Scenario
    violations: list[Violation]
    trace: str
    operations: int
    cycles: int
    boundaries: int
    crashes: int
    virtual_s: float
    steps: int
    overshoot: int
    faults: Counter[str] = field(default_factory=Counter)
    rollouts: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    begins: dict[str, str] = field(default_factory=dict)
    ends: dict[str, str] = field(default_factory=dict)
    wanted: str = ""
    stable_s: float | None = None
    boundary_names: list[str] = field(default_factory=list)


def bound_s(scenario: Scenario) -> float:
    """How long it may take until all is as desired, once nothing happens any more.

    Drift that came back is left alone for an hour; before that the longest attempt may have to run
    into its deadlines as often as the policy says, and the fleet to go through its slots.
    """
    attempt_s = 100.0 + 2_000.0 / scenario.speed + 300.0
    rounds = -(-scenario.nodes // max(1, scenario.fleet_limit // 3)) + 3
    slow_s = 3 * 3_600.0 if scenario.rules else 0.0  # wave after wave, with long deadlines
    return 2 * 3_600.0 + 3 * attempt_s + rounds * (attempt_s / 2) + 3 * 600.0 + slow_s


def ends(room: MachineRoom, shape: Shape) -> dict[str, str]:
    """What each machine truly is."""
    readings = {name: room.true_reading(name) for name in shape.names}
    return {name: f"{each.power} {each.template_digest}" for name, each in readings.items()}


def wanted_text(shape: Shape, model: Model) -> str:
    """What a commit wants of the machines, to compare two runs by."""
    versions = {key: model[key] for key in model if key.startswith("template/")}
    return json.dumps([wanted(shape, model), versions], sort_keys=True)
