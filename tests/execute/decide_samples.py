"""An operation, and the situation that a decision about it is made from. Pure values."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from execute_rig import HOLDER, SOURCE, START, a_commit, a_node, a_target, stages_of

from metalwright.execute.situation import Situation
from metalwright.model.desired import Target
from metalwright.model.observed import Observation
from metalwright.model.operation import EffectKind, Operation, OperationState, Verb
from metalwright.model.policy import StageTimeouts
from metalwright.model.template import Method, WipePolicy

TIMEOUTS = StageTimeouts(soft_power_off=300, power_off=120, wipe=1_000, boot=600, install=3_600)
WIPES = a_target(wipe=WipePolicy.FULL, method=Method.DISK)


def at(seconds: float) -> datetime:
    """So many seconds after everything began."""
    return START + timedelta(seconds=seconds)


def an_operation(verb: Verb = Verb.DEPLOY, target: Target = WIPES, **changes: Any) -> Operation:
    """The first attempt of a running operation of node n0, made at second 0."""
    values: dict[str, Any] = {
        "id": "o1",
        "node": "n0",
        "verb": verb,
        "state": OperationState.RUNNING,
        "target": target,
        "holder": HOLDER,
        "pool": "ci",
        "priority": 500,
        "stages": stages_of(verb, target),
        "commit": a_commit(),
        "source": SOURCE,
        "created_at": START,
        "attempt": 1,
        "fence": 1,
        "seen_at": START,
    }
    return Operation(**(values | changes))


def a_situation(now: float, observation: Observation | None, **changes: Any) -> Situation:
    """At this second, after this observation, with a driver that can do everything."""
    values: dict[str, Any] = {
        "now": at(now),
        "started_at": START - timedelta(days=1),
        "node": a_node("n0"),
        "observation": observation,
        "timeouts": TIMEOUTS,
        "observation_ttl_s": 120.0,
        "capabilities": frozenset(EffectKind),
        "tries_max": 3,
        "settle_s": 5.0,
    }
    return Situation(**(values | changes))
