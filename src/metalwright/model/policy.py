"""`Schedule`, `Policy` and `Freeze`: named time, the limits of the fleet, times of rest."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from metalwright.model.fields import (
    Count,
    Duration,
    Instant,
    LabelKey,
    Name,
    Percent,
    Priority,
    Text,
)
from metalwright.model.frozen import FrozenDict
from metalwright.model.grammar import CONFIG, SelectorText


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Window:
    """A half-open time [start, end), the end given as an instant or as a duration."""

    start: Instant
    end: Instant | None = None
    duration: Duration | None = None

    def __post_init__(self) -> None:
        if (self.end is None) == (self.duration is None):
            raise PydanticCustomError("window", "should give either end or duration, not both")
        if self.end is not None and self.start >= self.end:
            raise PydanticCustomError("window", "should have a start before its end")
        if self.duration == 0:
            raise PydanticCustomError("window", "should be longer than 0s")


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class ScheduleSpec:
    """Named time: explicit windows."""

    windows: Annotated[tuple[Window, ...], Field(min_length=1, max_length=1_000)]


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class FleetLimits:
    """How many nodes may be in flight at once: in the fleet, and for each value of a label."""

    fleet: Count = 20
    labels: Annotated[dict[LabelKey, Count], AfterValidator(FrozenDict)] = Field(
        default_factory=FrozenDict
    )


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class BlastRadius:
    """How many nodes one revision may disrupt before a commit has to acknowledge its plan."""

    nodes_max: Count | None = None
    percent_max: Percent | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Retries:
    """How often an operation is tried, and the bounds of the pause between two tries."""

    attempts_max: Annotated[int, Field(strict=True, ge=1, le=100)] = 3
    backoff_min: Duration = 30
    backoff_max: Duration = 3_600


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class StageTimeouts:
    """How long each stage may take where the template does not say."""

    soft_power_off: Duration = 300
    power_off: Duration = 120
    wipe: Duration = 14_400
    boot: Duration = 1_200
    install: Duration = 3_600


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class PolicySpec:
    """The fleet's limits. An inventory has one policy at most; without one, these defaults hold."""

    limits: FleetLimits = Field(default_factory=FleetLimits)
    blast_radius: BlastRadius = Field(default_factory=BlastRadius)
    retries: Retries = Field(default_factory=Retries)
    timeouts: StageTimeouts = Field(default_factory=StageTimeouts)
    observation_ttl: Duration = 120
    acknowledge: Annotated[
        tuple[Annotated[str, StringConstraints(strict=True, pattern=r"^[0-9a-f]{12,64}$")], ...],
        Field(max_length=1_000),
    ] = ()


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class FreezeSpec:
    """Start nothing in this scope during this time, unless its priority is as high as
    `passPriority`.
    """

    reason: Text
    selector: SelectorText = "*"
    start: Instant | None = None
    until: Instant | None = None
    schedule: Name | None = None
    pass_priority: Priority = 1_000

    def __post_init__(self) -> None:
        if (self.until is None) == (self.schedule is None):
            raise PydanticCustomError("freeze", "should give either until or schedule, not both")
        if self.start is not None and self.schedule is not None:
            raise PydanticCustomError("freeze", "should not give start together with a schedule")
        if self.start is not None and self.until is not None and self.start >= self.until:
            raise PydanticCustomError("freeze", "should have a start before its until")
