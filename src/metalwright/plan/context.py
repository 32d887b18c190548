"""What the planner must know beside desired, observed and memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from metalwright.model.desired import Desired
from metalwright.model.frozen import FrozenDict
from metalwright.model.observed import Observed
from metalwright.model.operation import EffectKind, Memory
from metalwright.model.policy import BlastRadius


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanContext:
    """Facts about this installation and this run.

    `capabilities` has the effects of each driver. `observed_kind` is `none` when no hardware was
    asked: the plan then takes every node to be as remembered, is a preview, and must not be carried
    out. `abandoned_revision` is the last applied revision when HEAD is not its descendant.
    `limit_nodes` narrows the plan to these nodes. `former_radius` is the blast radius in the policy
    of the first parent commit, where there is one: a commit cannot widen the radius for itself.
    `no_ramdisk` are the drivers whose machines the boot service wipes and installs, by the ramdisk
    that the policy does not name.
    `later_revisions` are commits of records that come after the revision that is planned.
    """

    capabilities: Mapping[str, frozenset[EffectKind]] = field(default_factory=FrozenDict)
    observed_kind: Literal["live", "file", "none"] = "live"
    abandoned_revision: str | None = None
    limit_nodes: frozenset[str] | None = None
    former_radius: BlastRadius | None = None
    no_ramdisk: frozenset[str] = frozenset()
    later_revisions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """The values that a plan is made of."""

    desired: Desired
    observed: Observed
    memory: Memory
    context: PlanContext
