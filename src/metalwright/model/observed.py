"""What the hardware said, how old that is, and why we do not know where we do not.

Unknown is a value: it is never "off" and never "clean". Words are Redfish's and Ironic's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from metalwright.model.checks import Verdict
from metalwright.model.frozen import FrozenDict
from metalwright.model.inspected import Facts
from metalwright.model.inspected import Identity as Identity


class Power(StrEnum):
    """The power state that the BMC reported."""

    ON = "on"
    OFF = "off"
    UNKNOWN = "unknown"


class BootDevice(StrEnum):
    """Ironic's boot devices that Metalwright sets."""

    PXE = "pxe"
    DISK = "disk"


class BootProgress(StrEnum):
    """How far the boot is (Redfish `BootProgress`), where something can tell."""

    NONE = "None"
    HARDWARE_INITIALIZATION = "SystemHardwareInitializationComplete"
    OS_BOOT_STARTED = "OSBootStarted"
    OS_RUNNING = "OSRunning"


class Health(StrEnum):
    """How well the machine is, in Redfish's words."""

    OK = "OK"
    WARNING = "Warning"
    CRITICAL = "Critical"


class ErrorKind(StrEnum):
    """Why an observation has no values."""

    TIMEOUT = "timeout"
    CREDENTIALS = "credentials"
    TEMPORARY = "temporary"
    PERMANENT = "permanent"


_UNTOLD: Final = Identity()


class Phase(StrEnum):
    """How far an effect is that a service in front of the machine carries out in several steps."""

    WORKS = "works"
    WAITS = "waits"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a hardware engine (Ironic) is with the effect that `operation_id` asked of it.

    One that `WORKS` takes nothing else meanwhile. One that `WAITS` goes on when it is asked for the
    same effect once more. `message` has the engine's own words.
    """

    phase: Phase
    operation_id: str
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The values of one successful observation.

    `template_digest` is the template that the booted system reports, `last_wipe` the id of the
    operation whose wipe the disks carry evidence of; both `None` where nothing can tell. `progress`
    is what a hardware engine in front of the machine is at, `facts` the hardware as the booted
    system reported it; `media` the image in the virtual CD drive (empty: none), which is read of
    machines that boot by one. `asked_at` is when the asking truly began, where one answer is shared
    by many nodes: earlier than this node was asked for. `wakes`: nobody but the machine itself
    tells the power, and to power on is harmless whatever that is (Wake-on-LAN). `bmc_identity` is
    the part of `identity` that is told whatever the power is, where the running system told more.
    """

    power: Power = Power.UNKNOWN
    boot_device: BootDevice | None = None
    boot_progress: BootProgress | None = None
    template_digest: str | None = None
    last_wipe: str | None = None
    identity: Identity = _UNTOLD
    bmc_identity: Identity | None = None
    health: Health | None = None
    progress: Progress | None = None
    facts: Facts | None = None
    media: str | None = None
    wakes: bool = False
    asked_at: datetime | None = field(default=None, compare=False)

    @property
    def lasting_identity(self) -> Identity:
        """Who it is as it is told also when the machine is off."""
        return self.identity if self.bmc_identity is None else self.bmc_identity


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservationError:
    """Why the node could not be asked, in the driver's words, without any secret."""

    kind: ErrorKind
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One node's latest answer: a reading or an error, and when the asking *began*.

    `reading` is that of this very attempt, never an older one carried along. `next_attempt_at` is
    when a failing node is asked again; `failures` counts the failures in a row.
    """

    node: str
    at: datetime
    reading: Reading | None = None
    error: ObservationError | None = None
    failures: int = 0
    next_attempt_at: datetime | None = None

    @property
    def power(self) -> Power:
        """The power state read, `unknown` where there is no reading."""
        return self.reading.power if self.reading is not None else Power.UNKNOWN

    def age_s(self, now: datetime) -> float:
        """Seconds since the asking began; never negative.

        One from the future was made before the clock was set back: how long ago is not known, so
        it counts as old as it is ahead, not as fresh until that time has come again.
        """
        return abs((now - self.at).total_seconds())


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The latest observation of every node that was ever asked; a missing node was not.

    `checks` has, for the nodes that are validated now, the latest verdict of each check by its
    name; a missing one was not made.
    """

    nodes: Mapping[str, Observation] = field(default_factory=FrozenDict)
    checks: Mapping[str, Mapping[str, Verdict]] = field(default_factory=FrozenDict)
