"""What a fleet uses beside its limits, drawn from a seed: rollouts, brakes, rates, lanes, weights.

`rules` are keys of the model that hold from the first commit on; `events` are what people and BMCs
do about them later. A scenario that does not use them draws nothing here, and stays what it was.
"""

from __future__ import annotations

import random
from typing import Any

from sim_inventory import Shape
from sim_policy import Model


def rules(shape: Shape, fleet_limit: int, dice: random.Random, *, dense: bool = False) -> Model:
    """Keys of the model that are in force from the beginning.

    In a dense run, where all of the fleet is turned over within a minute, few pools have rollouts,
    limits and rates are wide, and the blast radius is as in other such runs: it is there to have
    many operations.
    """
    found: Model = {}
    for pool in shape.members:
        if dice.random() < (0.1 if dense else 0.5):
            found[f"rollout/{pool}"] = _strategy(shape, dice)
        if dice.random() < 0.3:
            found[f"weight/{pool}"] = dice.choice((2, 5, 10))
    for key in SCOPES:
        if dice.random() < 0.3:
            found |= scope_edit(key, fleet_limit, dice, dense=dense)
    if dice.random() < 0.3 and not dense:
        found["policy/blast-pool"] = dice.choice((30, 60))
    if dice.random() < 0.3 and not dense:
        found["policy/blast-rack"] = dice.choice((3, 6))
    found |= _lanes(fleet_limit, dice, dense)
    return {key: value for key, value in found.items() if value}


def _lanes(fleet_limit: int, dice: random.Random, dense: bool) -> Model:
    """Rates, lanes, ageing, quarantine, learning, attempts."""
    found: Model = {"policy/attempts": dice.choice((1, 1, 2, 3))}
    if dice.random() < 0.5:
        found["policy/rates"] = [_rate(dice, dense) for _ in range(dice.randint(1, 2))]
    if dice.random() < 0.5:
        most = fleet_limit // (16 if dense else 4)
        found["policy/reserved"] = {
            "releases": dice.randint(0, most),
            "operators": dice.randint(0, most),
        }
    if dice.random() < 0.5:
        found["policy/retries"] = dice.randint(1, max(1, fleet_limit // 3))
    if dice.random() < 0.5:
        interval, step = dice.choice((("30s", 100), ("60s", 50), ("300s", 250)))
        found["policy/ageing"] = {"interval": interval, "step": step}
    if dice.random() < 0.5:
        found["policy/quarantine"] = dice.randint(1, 3)
    if dice.random() < 0.3:
        found["policy/learning"] = {"factor": dice.choice((2, 3)), "samplesMin": 5}
    return found


SCOPES = ("policy/driver", "policy/conductors", "policy/images")


def scope_edit(key: str, fleet_limit: int, dice: random.Random, *, dense: bool = False) -> Model:
    """Another limit of drivers, conductor groups or image servers, or none."""
    few = dice.randint(fleet_limit // 2 if dense else 1, max(1, fleet_limit))
    if key == "policy/driver":
        return {key: dice.choice((few, None))}
    if key == "policy/conductors":
        return {key: dice.choice(({"g0": few}, {"g0": few, "g1": few // 2 if dense else 1}, None))}
    hosts = {"images.example": few, "slow.example:8080": max(1, few // 2)}
    return {key: dice.choice((hosts, {"images.example": few}, None))}


def _strategy(shape: Shape, dice: random.Random) -> dict[str, Any]:
    size = max(1, shape.nodes // shape.pools)
    waves: dict[str, Any] = dice.choice(
        ({"nodes": dice.randint(1, size)}, {"percent": dice.choice((25, 50))}, {"label": "rack"})
    )
    strategy = {
        "waves": waves,
        "canaries": dice.randint(0, 2),
        "soak": dice.choice(("0s", "20s", "60s")),
        "failuresMax": dice.choice((0, 0, 1, 3)),
    }
    if dice.random() < 0.3:
        strategy["confirm"] = "90s"
    return strategy


def _rate(dice: random.Random, dense: bool) -> dict[str, Any]:
    label = dice.choice(("pdu", "rack", None))
    starts = dice.randint(1, 4) * (1 if not dense else 4 if label is not None else 60)
    rate: dict[str, Any] = {"starts": starts, "per": dice.choice(("10s", "30s"))}
    return rate | ({"label": label} if label is not None else {})


def edit(shape: Shape, fleet_limit: int, dice: random.Random, *, dense: bool = False) -> Model:
    """What one commit changes of all this; to be taken together with what it wants of machines."""
    found: Model = {}
    for pool in shape.members:
        if dice.random() < 0.1:
            found[f"rollout/{pool}"] = (
                None if dense else dice.choice((None, _strategy(shape, dice)))
            )
        if dice.random() < 0.2:
            found[f"rest/{pool}"] = "t5"
        if dice.random() < 0.1:
            found[f"weight/{pool}"] = dice.choice((None, 3))
    for key in SCOPES:
        if dice.random() < 0.15:
            found |= scope_edit(key, fleet_limit, dice, dense=dense)
    if dice.random() < 0.1:
        found["policy/retries"] = dice.choice((None, 1, 2))
    if dice.random() < 0.1:
        found["policy/rates"] = dice.choice((None, [_rate(dice, dense)]))
    if dice.random() < 0.1:
        found["policy/reserved"] = dice.choice((None, {"releases": 1, "operators": 1}))
    return found


def events(shape: Shape, span_s: float, dice: random.Random) -> list[tuple[float, str, dict]]:
    """Instants, kinds and contents of what happens beside commits and broken BMCs."""
    found: list[tuple[float, str, dict]] = []

    def happen(kind: str, what: dict[str, Any]) -> None:
        found.append((round(dice.uniform(1.0, span_s), 3), kind, what))

    for _ in range(dice.randint(0, 3)):
        happen("hold", {"nodes": _some(shape, dice), "for_s": dice.choice((30.0, 200.0))})
    for _ in range(dice.randint(0, 2)):
        happen("hold in git", {"nodes": _some(shape, dice), "for_s": dice.choice((30.0, 200.0))})
    for _ in range(dice.randint(0, 3)):
        happen("cancel", {"nodes": _some(shape, dice)})
    for _ in range(dice.randint(0, 2)):
        share = dice.choice((0.2, 0.5, 0.9))
        happen("partial sweep", {"share": share, "for_s": dice.choice((20.0, 90.0, 300.0))})
    if dice.random() < 0.5:
        happen("stalled daemon", {"taken_over_s": dice.choice((1.0, 20.0)), "wakes_s": 90.0})
    return found


def trials(
    shape: Shape, attempts: int, changes_at_s: list[float], dice: random.Random
) -> list[tuple[float, float, dict[str, Any]]]:
    """Templates that boot nothing: when, for how long nothing else is changed, and contents.

    Without that calm the next commit would want something else before anybody has failed.
    """
    found = []
    for at_s in sorted(dice.choices(changes_at_s, k=dice.randint(1, 2))):
        template = dice.choice(("t5", "t5", "t1"))
        boot_s = max(60.0, 500.0 / shape.speed)
        calm_s = dice.choice((0.5, 2.0, 4.0)) * attempts * (boot_s + ATTEMPT_S)
        what = {"template": template, "answer": dice.choice(ANSWERS)}
        found.append((at_s, calm_s, what | {"set": _go_bad(shape, template, dice)}))
    return found


def _go_bad(shape: Shape, template: str, dice: random.Random) -> Model:
    """Who gets a template that boots nothing, most of them in waves."""
    found: Model = {}
    for pool in sorted(dice.sample(sorted(shape.members), 1 + len(shape.members) // 4)):
        found[f"rest/{pool}"] = template
        if dice.random() < 0.8:
            few = {"failuresMax": dice.choice((0, 0, 1))}
            found[f"rollout/{pool}"] = _strategy(shape, dice) | few
    return found


ATTEMPT_S = 90.0
"""How long an attempt takes beside its boot, about: to power off, to be asked again, to pause."""

ANSWERS = ("mend", "revert", "acknowledge")
"""What people do about a template that boots nothing, once they are told."""


def _some(shape: Shape, dice: random.Random) -> list[str]:
    count = dice.randint(1, max(1, shape.nodes // 4))
    return sorted(dice.sample(shape.names, count))
