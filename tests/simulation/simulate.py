"""Runs the simulation over many seeds, on several processors, and prints figures.

    python tests/simulation/simulate.py [--seeds ci|long|COUNT|FIRST-LAST] [--workers 2]
    python tests/simulation/simulate.py --scenario FILE

A broken oracle is shrunk and written as a scenario file, which the second form replays exactly.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from sim_jobs import Figures, kind_of, run_seed
from sim_scenario import Scenario
from sim_shrink import shrink
from sim_world import play

SEEDS_CI = (0, 1, 2, 4, 7, 9, 17, 99, 599)
SEEDS_LONG = (
    *range(50),
    *(seed for seed in range(99, 3_700, 100) if kind_of(seed) == "thousand"),
    299,
)
OPERATIONS_MIN = {"ci": 100_000, "long": 1_000_000}
"""Fewer operations than these show too little to be called a pass."""

COLLECTOR = (100_000, 50, 50)
"""Thresholds of the cyclic garbage collector: with Python's own, a tenth of all time is its."""


def main() -> int:
    """The command; 1 when an oracle was broken, or less was run than means anything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="ci")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--scenario", type=Path)
    parser.add_argument("--out", type=Path, default=Path())
    arguments = parser.parse_args()
    with _home() as home:
        if arguments.scenario is not None:
            return _replay(arguments.scenario, home)
        seeds = _seeds(arguments.seeds)
        began = time.monotonic()
        figures = _run(seeds, arguments.workers, home)
        print(_table(figures, time.monotonic() - began))
        for number, found in enumerate(figures.violations):
            _tell(number, found, home, arguments.out)
    return 1 if figures.violations or not _enough(figures, arguments.seeds) else 0


def _enough(figures: Figures, seeds: str) -> bool:
    """Whether the run was as long as its name says, and compared something."""
    wanted = OPERATIONS_MIN.get(seeds, 0)
    if figures.operations < wanted:
        print(f"NOT ENOUGH: {figures.operations:,} of {wanted:,} operations")
    if wanted and not figures.compared:
        print("NOT ENOUGH: nothing was compared with a run in which nothing goes wrong")
    return figures.operations >= wanted and bool(figures.compared or not wanted)


def _seeds(text: str) -> list[int]:
    if text in ("ci", "long"):
        return list(SEEDS_CI if text == "ci" else SEEDS_LONG)
    first, dash, last = text.partition("-")
    return list(range(int(first), int(last) + 1)) if dash else list(range(int(first)))


@contextmanager
def _home() -> Iterator[Path]:
    """A directory in memory where the system has such a place."""
    memory = Path("/dev/shm")
    home = Path(tempfile.mkdtemp(prefix="simulation-", dir=memory if memory.is_dir() else None))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _one(job: tuple[int, Path]) -> tuple[int, float, Figures]:
    seed, home = job
    gc.set_threshold(*COLLECTOR)
    began = time.process_time()
    figures = run_seed(seed, home / str(os.getpid()))
    return seed, time.process_time() - began, figures


def _run(seeds: list[int], workers: int, home: Path) -> Figures:
    figures = Figures()
    # The long ones first, so that no processor is left with one of them at the end.
    order = ("ten thousand", "turnover", "thousand", "crashes", "busy", "mixed", "back")
    jobs = [(seed, home) for seed in sorted(seeds, key=lambda each: order.index(kind_of(each)))]
    with multiprocessing.get_context("spawn").Pool(workers, maxtasksperchild=20) as pool:
        for seed, cpu_s, found in pool.imap_unordered(_one, jobs):
            figures.merge(found)
            broken = f", BROKEN: {found.violations[0][0].oracle}" if found.violations else ""
            each_ms = 1_000 * cpu_s / max(1, found.operations)
            print(
                f"seed {seed:>4} {kind_of(seed):<12} {found.operations:>7} operations in"
                f" {found.runs:>2} runs, {each_ms:5.1f} ms each{broken}",
                flush=True,
            )
    return figures


def _table(figures: Figures, wall_s: float) -> str:
    days = figures.virtual_s / 86_400
    return "\n".join(
        (
            "",
            f"seeds        {figures.seeds:,} ({figures.runs:,} runs)",
            f"compared     {figures.compared:,} with a run in which nothing goes wrong",
            f"nodes        {figures.nodes:,}",
            f"operations   {figures.operations:,}",
            f"virtual time {days:,.1f} days, {figures.cycles:,} cycles, {figures.steps:,} steps",
            f"journal      {_counted(figures.events)}",
            f"rollouts     {_counted(figures.rollouts)}",
            f"faults       {_counted(figures.faults)}",
            f"crashes      {figures.crashes:,}",
            f"overshoot    {figures.overshoot:,}",
            f"violations   {len(figures.violations):,}",
            f"wall time    {wall_s:,.0f} s",
            f"rate         {figures.operations / max(wall_s, 0.001):,.0f} operations per second",
        )
    )


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{kind} {count:,}" for kind, count in sorted(counts.items()))


def _tell(number: int, found: tuple, home: Path, out: Path) -> None:
    """Print one violation, shrunk, with the file that replays it."""
    violation, scenario, crash_at = found
    print(f"\nBROKEN: {violation.oracle} at {violation.at_s:.1f} s: {violation.text}")
    if number >= 3:
        print(f"(seed {scenario.seed}, not shrunk: three were already)")
        return

    def fails(candidate: Scenario) -> bool:
        again = play(candidate, home, crash_at)
        return any(each.oracle == violation.oracle for each in again.violations)

    small = shrink(scenario, fails) if fails(scenario) else scenario
    path = out / f"scenario-{scenario.seed}.json"
    path.write_text(json.dumps({"crash_at": crash_at, "scenario": asdict(small)}, indent=1) + "\n")
    print(f"{len(small.events)} events, {small.nodes} nodes; replay: make simulate SCENARIO={path}")
    print(path.read_text())


def _replay(path: Path, home: Path) -> int:
    values = json.loads(path.read_text())
    scenario = Scenario.parse(json.dumps(values["scenario"]))
    result = play(scenario, home, tuple(values["crash_at"]), tell=print)
    print(f"trace {result.trace}, {result.operations} operations, {len(result.violations)} broken")
    for violation in result.violations:
        print(f"BROKEN: {violation.oracle} at {violation.at_s:.1f} s: {violation.text}")
    return 1 if result.violations else 0


if __name__ == "__main__":
    sys.exit(main())
