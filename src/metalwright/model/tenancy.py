"""`Pool` and `Assignment`: who has which nodes, and what they are then."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from metalwright.model.fields import Bool, Count, Instant, Name, Priority, Text
from metalwright.model.grammar import CONFIG, SelectorText


class PowerState(StrEnum):
    """A power state that can be wanted (Redfish's `PowerState`, as Ironic spells it)."""

    ON = "on"
    OFF = "off"


class DriftPolicy(StrEnum):
    """What happens when the hardware was changed by someone else."""

    REPORT = "report"
    CORRECT = "correct"


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
    """Limits of one pool, beside the fleet's."""

    in_flight: Count | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class PoolSpec:
    """A set of nodes with one owner; a node is in one pool at most."""

    owner: Text
    resting: Resting
    nodes: Annotated[tuple[Text, ...], Field(max_length=10_000)] = ()
    selector: SelectorText | None = None
    limits: PoolLimits = Field(default_factory=PoolLimits)
    drift: DriftPolicy = DriftPolicy.REPORT
    template_edits: TemplateEdits = TemplateEdits.IMMEDIATE
    data_loss_consent: Bool = False

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
