"""What the engine would put together itself: new operations, and what steps follow from."""

from __future__ import annotations

from datetime import datetime

from week_fleet import T0

from metalwright.execute.deadlines import stage_timeouts
from metalwright.execute.situation import Situation
from metalwright.model.inventory import Inventory
from metalwright.model.observed import Observation
from metalwright.model.operation import EffectKind, Operation, OperationState
from metalwright.model.plan import Action, Plan
from metalwright.model.policy import StageTimeouts

CAPABILITIES = frozenset(EffectKind)


def operation_of(action: Action, plan: Plan, key: str, now: datetime) -> Operation:
    """The operation that an action of a plan becomes."""
    return Operation(
        id=key,
        node=action.node,
        verb=action.verb,
        state=OperationState.PENDING,
        target=action.target,
        holder=action.holder,
        pool=action.pool,
        priority=action.priority,
        stages=action.stages,
        commit=plan.revision,
        source=action.source,
        created_at=now,
        destroys_data=action.destroys_data,
        disruptive=action.disruptive,
    )


class Situations:
    """What a step is decided from. Time-outs are looked up once for each target."""

    def __init__(self) -> None:
        self._timeouts: dict[str, StageTimeouts] = {}

    def of(
        self, operation: Operation, inventory: Inventory, seen: Observation, superseded: str
    ) -> Situation:
        """At the instant of the observation."""
        digest, template = operation.target.digest, operation.target.template
        if digest not in self._timeouts:
            own = template.timeouts if template is not None else None
            found = stage_timeouts(own, inventory.rules.timeouts, {})
            self._timeouts[digest] = found.timeouts
        return Situation(
            now=seen.at,
            started_at=T0,
            node=inventory.nodes[operation.node],
            observation=seen,
            timeouts=self._timeouts[digest],
            observation_ttl_s=inventory.rules.observation_ttl,
            capabilities=CAPABILITIES,
            tries_max=3,
            settle_s=5.0,
            superseded=superseded,
        )
