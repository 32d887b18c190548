"""Makes a failing scenario small: fewer events, fewer nodes, the same oracle still broken.

Delta debugging (Zeller, Hildebrandt: "Simplifying and Isolating Failure-Inducing Input", 2002) over
the list of events, then over halves of the fleet. Bounded by a number of runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sim_scenario import Event, Scenario

RUNS_MAX = 250
NODES_MIN = 2

Fails = Callable[[Scenario], bool]


def shrink(scenario: Scenario, fails: Fails, runs_max: int = RUNS_MAX) -> Scenario:
    """The smallest scenario found that still fails; `fails` is asked `runs_max` times at most."""
    left = runs_max

    def still(candidate: Scenario) -> bool:
        nonlocal left
        if left <= 0:
            return False
        left -= 1
        return fails(candidate)

    scenario = _fewer_events(scenario, still)
    smaller = _fewer_nodes(scenario, still)
    if smaller is not scenario:
        smaller = _fewer_events(smaller, still)
    return smaller


def _fewer_events(scenario: Scenario, still: Fails) -> Scenario:
    parts = 2
    while scenario.events:
        size = max(1, len(scenario.events) // parts)
        for at in range(0, len(scenario.events), size):
            kept = scenario.events[:at] + scenario.events[at + size :]
            candidate = replace(scenario, events=kept)
            if still(candidate):
                scenario, parts = candidate, max(2, parts - 1)
                break
        else:
            if size == 1:
                return _plainer(scenario, still)
            parts = min(len(scenario.events), parts * 2)
    return scenario


def _plainer(scenario: Scenario, still: Fails) -> Scenario:
    """Commits that say less: each key of each edit is left out where it does not matter."""
    for number, event in enumerate(scenario.events):
        for key in list(event.what.get("set", {})):
            edit = {k: v for k, v in scenario.events[number].what["set"].items() if k != key}
            plainer = _with(scenario, number, replace(event, what=event.what | {"set": edit}))
            if still(plainer):
                scenario, event = plainer, plainer.events[number]
    return scenario


def _with(scenario: Scenario, number: int, event: Event) -> Scenario:
    events = (*scenario.events[:number], event, *scenario.events[number + 1 :])
    return replace(scenario, events=events)


def _fewer_nodes(scenario: Scenario, still: Fails) -> Scenario:
    nodes = scenario.nodes // 2
    while nodes >= NODES_MIN:
        pools = min(scenario.pools, nodes)
        candidate = replace(scenario, nodes=nodes, pools=pools)
        if not still(candidate):
            break
        scenario, nodes = candidate, nodes // 2
    return scenario
