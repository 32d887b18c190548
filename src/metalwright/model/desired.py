"""What every node should be at one revision and one instant, and who says so.

`desired(revision, instant)` is a pure function in the `schedule` room; this is its value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from metalwright.model.frozen import FrozenDict
from metalwright.model.inventory import Inventory, ResolvedTemplate, Source
from metalwright.model.tenancy import DriftPolicy, PowerState, TemplateEdits


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who has the node: an assignment, or its pool at rest.

    `since` and `until` are the start and the end of the assignment's window in force (none when it
    has no such bound, or at rest). A node passes a *boundary* when its holder changes; see
    `same_tenancy`.
    """

    kind: str
    name: str
    owner: str
    since: datetime | None = None
    until: datetime | None = None

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The state to reach: a power state, and with power on the template to run.

    `digest` covers both. A target without a template and with power on means "on, whatever it
    runs".
    """

    power: PowerState
    template: ResolvedTemplate | None = None
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeInForce:
    """A freeze that covers a node now."""

    name: str
    reason: str
    until: datetime | None
    pass_priority: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldInForce:
    """A hold of git that is in force now."""

    reason: str
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredNode:
    """One node's desired state and its rules, with the place in git that says so."""

    name: str
    pool: str
    holder: Holder
    target: Target
    priority: int
    drift: DriftPolicy
    template_edits: TemplateEdits
    data_loss_consent: bool
    source: Source
    freeze: FreezeInForce | None = None
    hold: HoldInForce | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """The desired state of the fleet: `nodes` has every pooled node of lifecycle `managed`.

    A node that is in no pool, or not managed, has no desired state: it is only observed.
    `not_managed` says what pools and assignments would want of pooled nodes of another lifecycle;
    it is there to be told of, never to be reached. `next_change_at` is the next instant at which
    the same revision wants something else, if any.
    """

    inventory: Inventory
    at: datetime
    nodes: Mapping[str, DesiredNode] = field(default_factory=FrozenDict)
    not_managed: Mapping[str, DesiredNode] = field(default_factory=FrozenDict)
    next_change_at: datetime | None = None
