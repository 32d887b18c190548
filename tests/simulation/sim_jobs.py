"""What the simulation runs: which seed is which kind of scenario, and the figures of it all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sim_record import Violation
from sim_result import Result
from sim_scenario import Recipe, Scenario, generate
from sim_world import play

CRASH_RUNS_MAX = 400
"""Runs of one scenario with a crash at each of its boundaries; longer ones are sampled evenly."""

RECIPES = {
    "mixed": Recipe(features=True),
    "back": Recipe(changes=(3, 6), nodes=(10, 40), crashes=(0, 2), back=True),
    "turnover": Recipe(
        nodes=(240, 300),
        changes=(100, 110),
        faulty=(0.0, 0.1),
        crashes=(1, 6),
        speed=(30.0,),
        dense=True,
    ),
    "busy": Recipe(
        nodes=(100, 140),
        changes=(30, 40),
        faulty=(0.0, 0.1),
        crashes=(1, 6),
        speed=(30.0,),
        dense=True,
        features=True,
    ),
    "thousand": Recipe(
        nodes=(1_000, 1_000), changes=(20, 20), faulty=(0.05, 0.05), speed=(30.0,), dense=True
    ),
    "ten thousand": Recipe(
        nodes=(10_000, 10_000), changes=(10, 10), faulty=(0.05, 0.05), speed=(30.0,), dense=True
    ),
    "crashes": Recipe(
        nodes=(4, 6), changes=(2, 3), crashes=(0, 0), faulty=(0.0, 0.3), jumps=(0, 0), speed=(30.0,)
    ),
}


@dataclass(kw_only=True)
class Figures:
    """What all runs came to."""

    runs: int = 0
    seeds: int = 0
    nodes: int = 0
    operations: int = 0
    cycles: int = 0
    steps: int = 0
    virtual_s: float = 0.0
    crashes: int = 0
    overshoot: int = 0
    compared: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    rollouts: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    violations: list[tuple[Violation, Scenario, tuple[int, ...]]] = field(default_factory=list)

    def add(self, result: Result, crash_at: tuple[int, ...] = ()) -> None:
        """Take one run in."""
        self.runs += 1
        self.nodes += result.scenario.nodes
        self.operations += result.operations
        self.cycles += result.cycles
        self.steps += result.steps
        self.virtual_s += result.virtual_s
        self.crashes += result.crashes
        self.overshoot += result.overshoot
        self.faults.update(result.faults)
        self.rollouts.update(result.rollouts)
        self.events.update(result.events)
        if result.violations:
            self.violations.append((result.violations[0], result.scenario, crash_at))

    def merge(self, other: Figures) -> None:
        """Take those of another worker in."""
        for name in ("runs", "seeds", "nodes", "operations", "cycles", "steps", "virtual_s"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.crashes += other.crashes
        self.overshoot += other.overshoot
        self.compared += other.compared
        self.faults.update(other.faults)
        self.rollouts.update(other.rollouts)
        self.events.update(other.events)
        self.violations += other.violations


def kind_of(seed: int) -> str:
    """Which kind of scenario a seed is: most even ones turn their fleet over and over."""
    if seed % 1_000 == 299:
        return "ten thousand"
    if seed % 100 == 99:
        return "thousand"
    if seed % 10 == 9:
        return "crashes"
    if seed % 10 == 7:
        return "back"
    if seed % 10 == 2:
        return "busy"
    return "turnover" if seed % 2 == 0 else "mixed"


def run_seed(seed: int, home: Path) -> Figures:
    """Everything that belongs to one seed."""
    figures = Figures(seeds=1)
    kind = kind_of(seed)
    scenario = generate(seed, RECIPES[kind])
    if kind == "crashes":
        for result, crash_at in every_crash(scenario, home):
            figures.add(result, crash_at)
        return figures
    result = play(scenario, home)
    if kind == "back":
        undone(result)
    figures.add(result)
    if kind == "mixed" and seed % 3 == 1 and not result.violations:
        compare(figures, result, home)
    return figures


def undone(result: Result) -> None:
    """What was changed and reverted is as it was before, whatever happened on the way."""
    different = [name for name, end in result.ends.items() if result.begins[name] != end]
    if different and not result.violations:
        said = f"{len(different)} nodes are not as before: {different[:3]}"
        result.violations.append(Violation("a revert is as before", result.virtual_s, said))


def compare(figures: Figures, result: Result, home: Path) -> None:
    """The same changes where nothing goes wrong have to come to the same end."""
    calm = play(result.scenario.without_faults(), home)
    figures.add(calm)
    if calm.wanted != result.wanted:
        return  # people answered otherwise, so git ends up wanting something else
    figures.compared += 1
    different = [name for name, end in result.ends.items() if calm.ends[name] != end]
    if different and not calm.violations:
        said = f"{len(different)} nodes end otherwise than without faults: {different[:3]}"
        violation = Violation("the end is that of a calm run", result.virtual_s, said)
        figures.violations.append((violation, result.scenario, ()))


def every_crash(
    scenario: Scenario, home: Path, runs_max: int = CRASH_RUNS_MAX
) -> Iterator[tuple[Result, tuple[int, ...]]]:
    """The scenario as it is, then killed at each boundary of it, then at some pairs of them."""
    whole = play(scenario, home)
    yield whole, ()
    if whole.violations:
        return
    step = max(1, whole.boundaries // runs_max)
    first = scenario.seed % step + 1
    for number in range(first, whole.boundaries + 1, step):
        crash_at = (number,) if number % 4 else (number, number + 1 + scenario.seed % 7)
        result = play(scenario, home, crash_at)
        wrong = [name for name, end in whole.ends.items() if result.ends[name] != end]
        if wrong and not result.violations:
            said = f"killed at {crash_at}, {wrong[:3]} end otherwise than when not killed"
            result.violations.append(Violation("crashes change no end", result.virtual_s, said))
        yield result, crash_at
