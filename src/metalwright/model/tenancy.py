"""`Pool` and `Assignment`: who has which nodes, and what they are then."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from metalwright.model.checks import Checks
from metalwright.model.fields import (
    Bool,
    Count,
    Duration,
    Instant,
    LabelKey,
    Name,
    Percent,
    Priority,
    Text,
)
from metalwright.model.grammar import CONFIG, SelectorText


class PowerState(StrEnum):
    """A power state that can be wanted (Redfish's `PowerState`, as Ironic spells it)."""

    ON = "on"
    OFF = "off"


class DriftPolicy(StrEnum):
    """What happens when the hardware was changed by someone else."""

    REPORT = "report"
    CORRECT = "correct"


class Replacement(StrEnum):
    """What happens to a failed node of an assignment: a commit that swaps it for another node of
    the pool is suggested, or nothing.
    """

    SUGGEST = "suggest"
    NONE = "none"


class Reuse(StrEnum):
    """What has to happen before a node that one owner had goes to an assignment of another: its
    disks are wiped, or nothing.
    """

    WIPED = "wiped"
    UNWIPED = "unwiped"


class TemplateEdits(StrEnum):
    """When an edit of the template reaches a node that already runs it."""

    AT_BOUNDARY = "at-boundary"
    IMMEDIATE = "immediate"


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Resting:
    """What a pool's node is when nobody holds it: a template, or a power state; exactly one."""

    template: Name | None = None
    power: PowerState | None = None

    def __post_init__(self) -> None:
        if (self.template is None) == (self.power is None):
            raise PydanticCustomError("resting", "should give either template or power, not both")


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class PoolLimits:
    """Limits of one pool, beside the fleet's.

    `weight` is its share of the fleet's slots while several pools of one priority wait.
    """

    in_flight: Count | None = None
    weight: Annotated[int, Field(strict=True, ge=1, le=1_000)] = 1


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Waves:
    """How the nodes after the canaries are divided: by count, by per cent of the rollout, or one
    value of a label (a failure domain) after the other; exactly one.
    """

    nodes: Annotated[int, Field(strict=True, ge=1, le=100_000)] | None = None
    percent: Percent | None = None
    label: LabelKey | None = None

    def __post_init__(self) -> None:
        if sum(each is not None for each in (self.nodes, self.percent, self.label)) != 1:
            raise PydanticCustomError("waves", "should give one of nodes, percent and label")
        if self.percent == 0:
            raise PydanticCustomError("waves", "should be 1 per cent at least")


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class RolloutStrategy:
    """How a change of a pool's template reaches its nodes: canaries, then waves, each gated.

    A wave is passed when all its nodes are done, `soak` has gone by, and they are healthy then.
    With more failed nodes than `failures_max` the rollout pauses. With `confirm`, a node has to be
    seen healthy within that time after its operation, or it counts as failed.
    """

    waves: Waves
    canaries: Annotated[int, Field(strict=True, ge=0, le=1_000)] = 1
    soak: Duration = 300
    failures_max: Annotated[int, Field(strict=True, ge=0, le=100_000)] = 0
    confirm: Duration | None = None


Share = Annotated[int, Field(strict=True, ge=1, le=100)]
"""A part in per cent, never nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Release:
    """When an assignment counts as released: as soon as `quorum` per cent of its nodes, rounded up,
    have passed their checks.
    """

    quorum: Share


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class PoolSpec:
    """A set of nodes with one owner; a node is in one pool at most.

    `validation` adds checks to those of every template on its nodes; `release_quorum` is for
    assignments that give none of their own.
    """

    owner: Text
    resting: Resting
    nodes: Annotated[tuple[Text, ...], Field(max_length=10_000)] = ()
    selector: SelectorText | None = None
    limits: PoolLimits = Field(default_factory=PoolLimits)
    drift: DriftPolicy = DriftPolicy.REPORT
    template_edits: TemplateEdits = TemplateEdits.IMMEDIATE
    reuse: Reuse = Reuse.WIPED
    data_loss_consent: Bool = False
    rollout: RolloutStrategy | None = None
    validation: Checks = ()
    release_quorum: Share | None = None
    replacement: Replacement = Replacement.SUGGEST

    def __post_init__(self) -> None:
        if not self.nodes and self.selector is None:
            raise PydanticCustomError("members", "should give nodes, a selector, or both")


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class When:
    """The half-open time [start, end) of an assignment, or the schedule that it follows."""

    start: Instant | None = None
    end: Instant | None = None
    schedule: Name | None = None

    def __post_init__(self) -> None:
        if self.schedule is not None and (self.start is not None or self.end is not None):
            raise PydanticCustomError("when", "should give a schedule, or start and end, not both")
        if self.schedule is None and self.start is None and self.end is None:
            raise PydanticCustomError("when", "should give start, end, or a schedule")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise PydanticCustomError("when", "should have a start before its end")


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class AssignmentSpec:
    """Nodes of a pool, given to an owner, with a template, for a time."""

    pool: Name
    nodes: Annotated[tuple[Text, ...], Field(min_length=1, max_length=10_000)]
    template: Name
    owner: Text
    purpose: Text | None = None
    cc: Annotated[tuple[Text, ...], Field(max_length=100)] = ()
    ticket: Text | None = None
    priority: Priority = 500
    when: When | None = None
    template_edits: TemplateEdits = TemplateEdits.AT_BOUNDARY
    data_loss_consent: Bool = False
    release: Release | None = None
