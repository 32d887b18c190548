"""`Schedule`, `Policy` and `Freeze`: named time, the limits of the fleet, times of rest."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from metalwright.model.fields import (
    HOST_PORT_PATTERN,
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
from metalwright.model.template import Timeouts


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


Positive = Annotated[int, Field(strict=True, ge=1, le=100_000)]
HostPort = Annotated[str, StringConstraints(strict=True, pattern=HOST_PORT_PATTERN)]


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Reserved:
    """Slots of the fleet that only releases (undeploy, power off), or only operations of the
    operators' priority, may take.
    """

    releases: Count = 0
    operators: Count = 0
    operator_priority: Priority = 900


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class FleetLimits:
    """How many nodes may be in flight at once: in the fleet, for each value of a label, for each
    driver, conductor group and image server (`host` or `host:port` of its URLs).

    `retries` bounds the operations that are tried once more; without it, a fifth of the fleet's
    slots, one at least.
    """

    fleet: Count = 20
    labels: Annotated[dict[LabelKey, Count], AfterValidator(FrozenDict)] = Field(
        default_factory=FrozenDict
    )
    drivers: Annotated[dict[Name, Count], AfterValidator(FrozenDict)] = Field(
        default_factory=FrozenDict
    )
    conductor_groups: Annotated[dict[Name, Count], AfterValidator(FrozenDict)] = Field(
        default_factory=FrozenDict
    )
    image_servers: Annotated[dict[HostPort, Count], AfterValidator(FrozenDict)] = Field(
        default_factory=FrozenDict
    )
    retries: Positive | None = None
    reserved: Reserved = Field(default_factory=Reserved)

    def __post_init__(self) -> None:
        reserved = self.reserved.releases + self.reserved.operators
        if reserved and reserved >= self.fleet:
            raise PydanticCustomError("reserved", "should leave slots of the fleet to the others")


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class StartRate:
    """How many machines may be powered on within a time, in each power domain: for each value of
    `label`, or in the whole fleet without one. All of them at once, then one after the other.
    """

    starts: Positive
    per: Duration
    label: LabelKey | None = None

    def __post_init__(self) -> None:
        if self.per == 0:
            raise PydanticCustomError("start_rate", "should have a per longer than 0s")


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Ageing:
    """How waiting raises a priority: by `step` for each `interval` waited, up to 1,000."""

    interval: Duration = 600
    step: Annotated[int, Field(strict=True, ge=1, le=1_000)] = 50

    def __post_init__(self) -> None:
        if self.interval == 0:
            raise PydanticCustomError("ageing", "should have an interval longer than 0s")


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Radius:
    """How many nodes of one group may be disrupted."""

    nodes_max: Count | None = None
    percent_max: Percent | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class BlastRadius:
    """How many nodes one revision may disrupt before a commit has to acknowledge its plan: in the
    fleet, in each pool, in each value of a label (a failure domain).
    """

    nodes_max: Count | None = None
    percent_max: Percent | None = None
    pools: Radius = Field(default_factory=Radius)
    labels: Annotated[dict[LabelKey, Radius], AfterValidator(FrozenDict)] = Field(
        default_factory=FrozenDict
    )


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Retries:
    """How often an operation is tried, and the bounds of the pause between two tries."""

    attempts_max: Annotated[int, Field(strict=True, ge=1, le=100)] = 3
    backoff_min: Duration = 30
    backoff_max: Duration = 3_600


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Quarantine:
    """After so many failed operations in a row a node is left alone until somebody resumes it."""

    failures: Annotated[int, Field(strict=True, ge=1, le=100)] = 3


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Learning:
    """Deadlines that nobody declared: `factor` times the 99th percentile of what the stage took,
    from `samples_min` samples on, and never longer than the default.
    """

    factor: Annotated[int, Field(strict=True, ge=2, le=100)] = 3
    samples_min: Annotated[int, Field(strict=True, ge=5, le=200)] = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTimeouts:
    """The time-outs in force, in seconds; these are the defaults."""

    soft_power_off: int = 300
    power_off: int = 120
    wipe: int = 14_400
    boot: int = 1_200
    install: int = 3_600
    validate: int = 600


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class PolicySpec:
    """The fleet's limits. An inventory has one policy at most; without one, these defaults hold.

    `ramdisk` is the image (kernel and initrd) that the boot service wipes and installs with.
    """

    limits: FleetLimits = Field(default_factory=FleetLimits)
    start_rates: Annotated[tuple[StartRate, ...], Field(max_length=16)] = ()
    ageing: Ageing = Field(default_factory=Ageing)
    blast_radius: BlastRadius = Field(default_factory=BlastRadius)
    retries: Retries = Field(default_factory=Retries)
    quarantine: Quarantine = Field(default_factory=Quarantine)
    timeouts: Timeouts = Field(default_factory=Timeouts)
    learning: Learning = Field(default_factory=Learning)
    observation_ttl: Duration = 120
    ramdisk: Name | None = None
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
