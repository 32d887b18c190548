"""A scenario: a fleet and all that happens to it, as a value that can be written down and replayed.

`generate` draws one from a seed. Everything that is not in the scenario (latencies, ties, the
pauses of the engine) is drawn from its seed too, so a scenario replays exactly.
"""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import sim_features
from sim_inventory import PARTS, Shape
from sim_room import CHECK_KIND, FAULT_KINDS, LYING_KINDS

STORE_FAULTS = ("disk full", "commit fails", "commit in doubt")


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happens at an instant (virtual seconds); `what` depends on its kind."""

    at_s: float
    kind: str
    what: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What a run is made from."""

    seed: int
    nodes: int
    pools: int
    speed: float
    fleet_limit: int
    rack_limit: int | None
    calls_max: int
    interval_s: float
    busy_interval_s: float
    cycle_gap_s: float
    effects_max: int
    dense: bool = False
    rules: dict[str, Any] = field(default_factory=dict)
    events: tuple[Event, ...]

    @property
    def shape(self) -> Shape:
        """The fleet."""
        return Shape(nodes=self.nodes, pools=self.pools, speed=self.speed)

    @property
    def quiet_s(self) -> float:
        """When nothing happens any more, but for what the product does."""
        ends = [
            each.at_s + max(each.what.get("for_s", 0.0), each.what.get("wakes_s", 0.0))
            for each in self.events
        ]
        return max(ends, default=0.0)

    def without_faults(self) -> Scenario:
        """The same changes of git, in a world where nothing goes wrong."""
        kept = tuple(each for each in self.events if each.kind in CHANGES)
        return replace(self, events=kept)

    def text(self) -> str:
        """As a file that can be replayed."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"

    @classmethod
    def parse(cls, text: str) -> Scenario:
        """A scenario from its file."""
        values = json.loads(text)
        values["events"] = tuple(Event(**each) for each in values["events"])
        return cls(**values)


CHANGES = (
    "commit",
    "revert",
    "back",
    "broken",
    "huge",
    "storm",
    "force push",
    "rebase",
    "bad template",
    "hold in git",
)
"""The events that are changes of git."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a kind of run is drawn from: bounds, not values."""

    nodes: tuple[int, int] = (10, 60)
    changes: tuple[int, int] = (6, 14)
    faulty: tuple[float, float] = (0.0, 0.4)
    crashes: tuple[int, int] = (0, 6)
    store_faults: tuple[int, int] = (0, 3)
    jumps: tuple[int, int] = (0, 2)
    presses: tuple[int, int] = (0, 4)
    speed: tuple[float, ...] = (1.0, 4.0, 10.0)
    dense: bool = False  # turn-over upon turn-over, short faults, wide limits
    back: bool = False  # at the end all of it is reverted, now and then in mid-flight
    features: bool = False  # rollouts, brakes, start rates, lanes: all that sim_features draws


def generate(seed: int, recipe: Recipe | None = None) -> Scenario:
    """The scenario of a seed."""
    recipe = recipe or Recipe()
    dice = random.Random(f"{seed}/scenario")
    nodes = dice.randint(*recipe.nodes)
    pools = max(2, min(12, nodes // 12))
    speed = dice.choice(recipe.speed)
    limit = dice.choice((max(1, nodes // 8), max(2, nodes // 3), nodes, nodes))
    scenario = Scenario(
        seed=seed,
        nodes=nodes,
        pools=pools,
        speed=speed,
        fleet_limit=limit,
        rack_limit=dice.choice((None, 2, 4)) if nodes < 100 else dice.choice((None, 6)),
        calls_max=dice.choice((1_000, 1_000, max(8, nodes // 4))),
        interval_s=dice.choice((15.0, 30.0)),
        busy_interval_s=dice.choice((2.0, 5.0, 8.0)),
        cycle_gap_s=dice.choice((1.0, 3.0, 5.0)),
        effects_max=max(8, min(256, nodes)),
        events=(),
    )
    if recipe.dense:
        scenario = _dense(scenario, dice)
    more = random.Random(f"{seed}/features") if recipe.features else None
    if more is not None:
        rules = sim_features.rules(scenario.shape, scenario.fleet_limit, more, dense=scenario.dense)
        scenario = replace(scenario, rules=rules)
    turn_s = _turn_s(scenario)
    changes = _changes(scenario, dice, dice.randint(*recipe.changes), turn_s)
    if more is not None:
        changes = _with_trials(scenario, changes, more)
    span_s = max(each.at_s for each in changes) + turn_s / 2
    events = [*changes, *_faults(scenario, dice, recipe, span_s)]
    for _ in range(dice.randint(*recipe.crashes)):
        down = dice.choice((0.5, 5.0, 20.0) if recipe.dense else (0.5, 20.0, 300.0))
        events.append(_event(dice, span_s, "crash", {"down_s": down}))
    for _ in range(dice.randint(*recipe.store_faults)):
        what = {"fault": dice.choice(STORE_FAULTS), "times": dice.randint(1, 4)}
        what["after"] = dice.randint(0, 12)
        events.append(_event(dice, span_s, "store", what))
    for _ in range(dice.randint(*recipe.jumps)):
        by = dice.choice((-7_200.0, -300.0, -40.0, 40.0, 300.0, 7_200.0))
        events.append(_event(dice, span_s, "clock", {"by_s": by}))
    for _ in range(dice.randint(*recipe.presses)):
        what = {"node": f"n{dice.randrange(nodes):05}", "power": dice.choice(("on", "off"))}
        events.append(_event(dice, span_s, "press", what))
    if dice.random() < 0.3:
        events.append(_event(dice, span_s, "second daemon", {}))
    if recipe.back:
        at_s = max(each.at_s for each in changes) + turn_s * dice.choice((0.1, 0.5, 2.0))
        events.append(Event(at_s=round(at_s, 3), kind="back"))
    if more is not None:
        events = [_with_features(scenario, each, more) for each in events]
        drawn = sim_features.events(scenario.shape, span_s, more)
        events += [Event(at_s=at_s, kind=kind, what=what) for at_s, kind, what in drawn]
    events += _unwell(scenario, random.Random(f"{seed}/checks"), recipe, span_s)
    return replace(scenario, events=tuple(sorted(events, key=lambda each: each.at_s)))


def _unwell(scenario: Scenario, dice: random.Random, recipe: Recipe, span_s: float) -> list[Event]:
    """Machines that boot and fail their checks, for a while."""
    events = []
    for name in scenario.shape.names if recipe.faulty[1] else ():
        if dice.random() < 0.15:
            for_s = round(dice.choice((60.0, 200.0, 600.0)) * dice.uniform(0.5, 1.0), 3)
            what = {"node": name, "fault": CHECK_KIND, "for_s": for_s}
            events.append(_event(dice, span_s, "fault", what))
    return events


def _with_features(scenario: Scenario, event: Event, more: random.Random) -> Event:
    """The same event, where a commit changes more and a BMC may lie in more ways."""
    what = event.what
    if event.kind == "commit":
        edit = sim_features.edit(scenario.shape, scenario.fleet_limit, more, dense=scenario.dense)
        return replace(event, what=what | {"set": what["set"] | edit})
    if event.kind == "fault" and more.random() < 0.25:
        return replace(event, what=what | {"fault": more.choice(LYING_KINDS)})
    return event


def _with_trials(scenario: Scenario, changes: list[Event], more: random.Random) -> list[Event]:
    """The same changes, with templates that boot nothing in between, and time to find that out."""
    instants = [each.at_s for each in changes]
    attempts = scenario.rules["policy/attempts"]
    trials = sim_features.trials(scenario.shape, attempts, instants, more)
    for at_s, calm_s, what in reversed(trials):  # the last first: none is moved out of its place
        later = [
            replace(each, at_s=round(each.at_s + calm_s, 3)) if each.at_s > at_s else each
            for each in changes
        ]
        trial = Event(at_s=at_s + 1.0, kind="bad template", what=what)
        changes = sorted([*later, trial], key=lambda each: each.at_s)
    return changes


def _dense(scenario: Scenario, dice: random.Random) -> Scenario:
    """Much work for each cycle: slow daemons with many slots."""
    return replace(
        scenario,
        dense=True,
        fleet_limit=dice.choice((scenario.nodes // 2, scenario.nodes)),
        rack_limit=dice.choice((None, None, 6)),
        calls_max=scenario.nodes * 2,
        interval_s=60.0,
        busy_interval_s=4.0,
        cycle_gap_s=dice.choice((3.0, 5.0)),
    )


def _turn_s(scenario: Scenario) -> float:
    """About how long it takes to turn the whole fleet over once."""
    rounds = -(-scenario.nodes // scenario.fleet_limit)
    if scenario.dense:
        return 15.0 + rounds * 25.0
    return 40.0 + rounds * (20.0 + 240.0 / scenario.speed)


def _event(dice: random.Random, span_s: float, kind: str, what: dict[str, Any]) -> Event:
    return Event(at_s=round(dice.uniform(1.0, span_s), 3), kind=kind, what=what)


def _changes(scenario: Scenario, dice: random.Random, count: int, turn_s: float) -> list[Event]:
    events: list[Event] = []
    at_s = 5.0
    for number in range(count):
        roll = dice.random()
        if roll < 0.60 or number == 0:
            events.append(Event(at_s=at_s, kind="commit", what={"set": _edit(scenario, dice)}))
        elif roll < 0.75:
            events.append(Event(at_s=at_s, kind="revert"))
        elif roll < 0.80:
            events.append(Event(at_s=at_s, kind="broken", what={"for_s": 60.0}))
        elif roll < 0.85:
            edits = [_edit(scenario, dice) for _ in range(20)]
            events.append(
                Event(at_s=at_s, kind="storm", what={"edits": edits, "commits": 100, "for_s": 60.0})
            )
        elif roll < 0.90:
            events.append(Event(at_s=at_s, kind="huge", what={"set": _edit(scenario, dice)}))
        elif roll < 0.95:
            events.append(Event(at_s=at_s, kind="force push", what={"drop": dice.randint(1, 3)}))
        else:
            events.append(Event(at_s=at_s, kind="rebase", what={"drop": dice.randint(1, 3)}))
        # Mostly when the last change is nearly through, at times right into its middle.
        at_s += round(turn_s * dice.choice((0.05, 0.5, 0.9, 0.9, 1.1)), 3)
    return events


def _edit(scenario: Scenario, dice: random.Random) -> dict[str, Any]:
    """One commit: most of the fleet at once, now and then a limit."""
    edit: dict[str, Any] = {}
    for pool in scenario.shape.members:
        roll = dice.random()
        if roll < (0.8 if scenario.dense else 0.7):
            rests = ("t0", "t1", "t0", "t1", "t2", "t3", "t4", "on", "off", "off")
            edit[f"rest/{pool}"] = dice.choice(rests)
        if roll > 0.85:
            edit[f"limit/{pool}"] = dice.choice((None, 2, 5, scenario.nodes))
        for part in range(PARTS):
            if dice.random() < (0.1 if scenario.dense else 0.3):
                edit[f"loan/{pool}-{part}"] = dice.choice(("t0", "t1", "t2", None, None))
                edit[f"priority/{pool}-{part}"] = dice.choice((100, 500, 900))
    for name in ("t0", "t1", "t2", "t3", "t4"):
        if dice.random() < (0.9 if scenario.dense else 0.3):
            edit[f"template/{name}"] = dice.randrange(1_000)
    if dice.random() < 0.3:
        limit = scenario.fleet_limit
        edit["policy/fleet"] = dice.choice((max(1, limit // 3), limit, limit * 2))
    if dice.random() < 0.2 and scenario.nodes < 100:
        edit["policy/rack"] = dice.choice((None, 1, 3))
    if dice.random() < (0.02 if scenario.dense else 0.1):
        edit["policy/blast"] = dice.choice((None, max(2, scenario.nodes // 4)))
    return edit


def _faults(scenario: Scenario, dice: random.Random, recipe: Recipe, span_s: float) -> list[Event]:
    """Each kind has a rate of its own in this seed; some seeds lack a kind, some have no fault."""
    share = dice.uniform(*recipe.faulty)
    kinds = [kind for kind in FAULT_KINDS if dice.random() < 0.5]
    events = []
    for name in scenario.shape.names:
        if kinds and dice.random() < share:
            spans = (30.0, 120.0) if recipe.dense else (30.0, 120.0, 600.0)
            for_s = round(dice.choice(spans) * dice.uniform(0.5, 1.0), 3)
            what = {"node": name, "fault": dice.choice(kinds), "for_s": for_s}
            events.append(_event(dice, span_s, "fault", what))
    return events
