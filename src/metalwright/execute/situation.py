"""What a step of an operation is decided from, and what may be decided: values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from metalwright.execute.stages import wakes
from metalwright.model.checks import Check, Verdict
from metalwright.model.documents import Node
from metalwright.model.frozen import FrozenDict
from metalwright.model.observed import Observation, Power, Reading
from metalwright.model.operation import EffectKind, Operation, Stage
from metalwright.model.policy import StageTimeouts

AWAITS_START: Final = "a start token"

POWERS_ON: Final = frozenset({EffectKind.POWER_ON})
"""The effects that switch a machine on, where its driver says nothing else."""

CHECK_ROUND_S: Final = 30.0
"""Until every check of a machine had its turn, beside the time that the check itself takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """One node at one instant.

    `node` is `None` when git no longer lets us touch it; `asked` is false where it is not even
    observed any more, so that nothing will ever be seen of it. `started_at` is when this engine
    began: an intent without an answer that is older was left by another process, whose call may
    still reach the machine for `predecessor_s` from then on. `superseded` says why the operation is
    not wanted any more, and is empty while it is. `settle_s` is how long a BMC may
    take to show what it was told. `power_on_at` is when a start rate lets the node be powered on;
    `None` where no rate applies to it; `powers_on` are the effects that it is for.
    `checks` are those that the node has to pass while it is validated, `verdicts` the latest of
    each by its name.
    """

    now: datetime
    started_at: datetime
    node: Node | None
    observation: Observation | None
    timeouts: StageTimeouts
    observation_ttl_s: float
    capabilities: frozenset[EffectKind]
    tries_max: int
    settle_s: float
    superseded: str = ""
    asked: bool = True
    power_on_at: datetime | None = None
    powers_on: frozenset[EffectKind] = POWERS_ON
    predecessor_s: float = 0.0
    checks: tuple[Check, ...] = ()
    verdicts: Mapping[str, Verdict] = field(default_factory=FrozenDict)

    def lacks_start(self, kind: EffectKind) -> bool:
        """Whether an effect has to wait for a start token."""
        waits_until = self.power_on_at if kind in self.powers_on else None
        return waits_until is not None and self.now < waits_until

    def takes_start(self, kind: EffectKind) -> bool:
        """Whether an effect takes a start token."""
        return self.power_on_at is not None and kind in self.powers_on

    @property
    def alone_at(self) -> datetime:
        """From when on nothing that another process sent can reach a machine."""
        return self.started_at + seconds(self.predecessor_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Nothing now. `until` is when time alone changes that, if it does."""

    why: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Postpone:
    """A start token is lacking: `operation` has its deadline moved along."""

    operation: Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Do:
    """Journal `operation`, then ask the driver for `operation.intent`."""

    operation: Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Enter:
    """The stage is done; the operation goes on with its next."""

    operation: Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolve:
    """An effect whose answer was lost, or a fault, is seen to have worked."""

    operation: Operation
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """The target is reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """The attempt has failed. `probed`: the node was asked since its last effect came back, so that
    nothing of ours can still be under way. With `final` there is no other attempt.
    """

    error: str
    probed: bool
    final: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Supersede:
    """End it here: git wants something else."""

    why: str


Decision = Wait | Postpone | Do | Enter | Resolve | Finish | Fail | Supersede


def entry_timeout_s(stage: Stage, timeouts: StageTimeouts) -> int:
    """Seconds from entering a stage to its deadline (for `power off`, until it is forced)."""
    return {
        Stage.POWER_OFF: timeouts.soft_power_off,
        Stage.WIPE: timeouts.wipe,
        Stage.BOOT: timeouts.boot,
        Stage.INSTALLING: timeouts.install,
        Stage.VALIDATING: timeouts.validate,
    }[stage]


def last_touch(operation: Operation, alone_at: datetime) -> datetime | None:
    """The latest instant at which an effect of ours may have reached the hardware.

    Where the answer never came, the process that waited for it was taken over from: nothing it sent
    arrives after `alone_at`.
    """
    if operation.intent_at is None:
        return None
    if operation.acknowledged_at is not None:
        return operation.acknowledged_at
    return max(operation.intent_at, alone_at)


def may_still_land(operation: Operation, situation: Situation) -> Wait | None:
    """Wait while a call without an answer, of a process that may still live, can be under way:
    until that is over, nothing that is seen is the end of it.
    """
    lost = operation.intent is not None and operation.acknowledged_at is None
    if not lost or situation.now >= situation.alone_at:
        return None
    return Wait(why="may still be told by another process", until=situation.alone_at)


def probed(operation: Operation, situation: Situation) -> bool:
    """Whether the node was asked, whatever it answered, after the last effect came back."""
    touch = last_touch(operation, situation.alone_at)
    if touch is None:
        return True
    if operation.intent is None and operation.seen_at is not None and operation.seen_at > touch:
        return True  # by what the stage was entered on
    return situation.observation is not None and situation.observation.at > touch


def let_go(operation: Operation, situation: Situation) -> bool:
    """Whether an operation that is not wanted any more may end: the node was asked since.

    One that was told to power on and shows "off" is asked until it had its time to show it: the
    next operation would take it for a machine that is off.
    """
    seen, intent = situation.observation, operation.intent
    touch = last_touch(operation, situation.alone_at)
    if not probed(operation, situation) or seen is None or touch is None:
        return probed(operation, situation)
    told_on = intent is not None and intent.kind is EffectKind.POWER_ON
    if not told_on or seen.power is not Power.OFF:
        return True
    return seen.at >= touch + seconds(situation.settle_s)


def evidence(operation: Operation, situation: Situation) -> Reading | None:
    """The reading, where it says something about the present stage: known, fresh, and newer than
    the last effect that changes what it shows.

    Setting the boot device changes nothing that is decided from, so the reading that the stage was
    entered on still holds after it.
    """
    observation = situation.observation
    if observation is None or observation.reading is None:
        return None
    if observation.power is Power.UNKNOWN and not wakes(operation, observation.reading):
        return None
    if observation.age_s(situation.now) > situation.observation_ttl_s:
        return None
    intent = operation.intent
    harmless = intent is None or intent.kind is EffectKind.SET_BOOT_DEVICE
    if harmless and operation.seen_at is not None:
        return observation.reading if observation.at >= operation.seen_at else None
    touch = last_touch(operation, situation.alone_at)
    return observation.reading if touch is None or observation.at > touch else None


def in_doubt(operation: Operation) -> bool:
    """Whether the last effect may or may not have reached the hardware (none is in flight)."""
    if operation.intent is None:
        return False
    return operation.acknowledged_at is None or operation.tries > 0


def seconds(value: float) -> timedelta:
    """A time span."""
    return timedelta(seconds=value)


def looked_at(situation: Situation) -> bool:
    """Whether this process asked the node already, whatever it answered.

    While no daemon ran, or its clock was wrong, a deadline may pass over what was done in time.
    """
    seen = situation.observation
    return seen is not None and seen.at >= situation.started_at


def fails_at(operation: Operation, situation: Situation) -> datetime | None:
    """When the stage has failed. A soft power-off that ran out of time is forced first, for which
    the node has to be observed: that is given the time of a forced one. A machine that was to be
    validated while no daemon ran is given the time of one round of its checks.
    """
    deadline = operation.stage_deadline_at
    if operation.stage is Stage.VALIDATING and deadline is not None:
        return max(deadline, _checked_once_by(operation, situation))
    intent = operation.intent
    forced = intent is not None and intent.kind is EffectKind.POWER_OFF
    if deadline is None or operation.stage is not Stage.POWER_OFF or forced:
        return deadline
    if situation.node is None:
        return deadline
    return deadline + seconds(situation.timeouts.power_off)


def out_of_time(operation: Operation, situation: Situation) -> bool:
    """Whether the stage has failed."""
    until = fails_at(operation, situation)
    return until is not None and situation.now >= until


def abandoned(operation: Operation, situation: Situation) -> bool:
    """Whether a node that is not even asked any more had its time for what it was told last. It is
    the one exit by time: nothing will be seen of it, and until then it may be in flight.
    """
    return not situation.asked and out_of_time(operation, situation)


def _checked_once_by(operation: Operation, situation: Situation) -> datetime:
    """When each check was made once by this process, if it entered the stage before it began."""
    entered_at = operation.entered_at
    if entered_at is None or entered_at >= situation.started_at or not situation.checks:
        return situation.started_at
    longest_s = max(check.timeout for check in situation.checks)
    return situation.started_at + seconds(longest_s + CHECK_ROUND_S)


def timed_out(operation: Operation, reading: Reading | None, situation: Situation) -> str:
    """The error of a stage that was not done by its deadline: what was found instead."""
    assert operation.stage is not None
    observation = situation.observation
    if reading is not None:
        found = f"the power is {reading.power}"
        if reading.boot_progress is not None:
            found += f", the boot at {reading.boot_progress}"
        if reading.template_digest is not None and operation.stage is not Stage.POWER_OFF:
            found += f", it runs template {reading.template_digest[:12]}"
    elif observation is not None and observation.error is not None:
        found = f"not observed: {observation.error.message}"
    else:
        found = "not observed"
    again = f"; before that: {operation.last_error}" if operation.last_error else ""
    return f"{operation.stage}: not done in time ({found}){again}"
