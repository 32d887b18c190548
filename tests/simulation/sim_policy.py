"""The `Policy` of a simulated fleet: the keys `policy/...` of a model, and the YAML for them.

The values are those of the document, so that a scenario file reads like one.
"""

from __future__ import annotations

import json
from typing import Any

Model = dict[str, Any]

TIMEOUTS = (
    ("softPowerOff", 100, 25),
    ("powerOff", 60, 45),
    ("wipe", 120, 45),
    ("boot", 500, 60),
    ("install", 1_200, 90),
    ("validate", 200, 60),
)
"""Seconds at the pace of life, and the least for BMCs whose pace does not change."""

LEARNT = ("softPowerOff", "powerOff", "boot")
"""What is not declared in a fleet whose deadlines are learnt."""


def policy_text(speed: float, model: Model) -> str:
    """The document."""
    spec: dict[str, Any] = {"limits": _limits(model), "startRates": model.get("policy/rates")}
    spec["ageing"] = model.get("policy/ageing")
    spec["blastRadius"] = _radius(model)
    spec["quarantine"] = _given(failures=model.get("policy/quarantine"))
    spec["acknowledge"] = model.get("policy/acknowledge")
    spec["observationTtl"] = f"{model.get('policy/ttl', 120)}s"
    attempts = model.get("policy/attempts", 3)
    spec["retries"] = {"attemptsMax": attempts, "backoffMin": "10s", "backoffMax": "120s"}
    learnt = LEARNT if model.get("policy/learning") else ()
    spec["learning"] = model.get("policy/learning")
    spec["timeouts"] = {
        name: f"{max(least, int(seconds / speed))}s"
        for name, seconds, least in TIMEOUTS
        if name not in learnt
    }
    lines = [f"  {name}: {json.dumps(value)}" for name, value in spec.items() if value]
    head = "apiVersion: metalwright/v1\nkind: Policy\nmetadata: {name: fleet}\nspec:\n"
    return head + "\n".join(lines) + "\n"


def _limits(model: Model) -> dict[str, Any]:
    return {"fleet": model["policy/fleet"]} | _given(
        labels=_given(rack=model.get("policy/rack")),
        drivers=_given(fake=model.get("policy/driver")),
        conductorGroups=model.get("policy/conductors"),
        imageServers=model.get("policy/images"),
        retries=model.get("policy/retries"),
        reserved=reserved_of(model),
    )


def _radius(model: Model) -> dict[str, Any]:
    return _given(
        nodesMax=model.get("policy/blast"),
        pools=_given(percentMax=model.get("policy/blast-pool")),
        labels=_given(rack=_given(nodesMax=model.get("policy/blast-rack"))),
    )


def reserved_of(model: Model) -> dict[str, int]:
    """The slots that are reserved; fewer where the fleet has too few, as git would refuse them."""
    found = _given(**(model.get("policy/reserved") or {}))
    while found and sum(found.values()) >= model["policy/fleet"]:
        found = {name: number - 1 for name, number in found.items() if number > 1}
    return found


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}
