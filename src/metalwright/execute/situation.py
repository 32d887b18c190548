"""What a step of an operation is decided from, and what may be decided: values only."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta

from metalwright.model.documents import Node
from metalwright.model.observed import Observation, Power, Reading
from metalwright.model.operation import EffectKind, Operation, Stage
from metalwright.model.policy import StageTimeouts
from metalwright.model.template import Timeouts


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """One node at one instant.

    `node` is `None` when git no longer lets us touch it. `started_at` is when this engine began:
    an intent without an answer that is older was left by another process. `superseded` says why
    the operation is not wanted any more, and is empty while it is. `settle_s` is how long a BMC may
    take to show what it was told.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Nothing now. `until` is when time alone changes that, if it does."""

    why: str
    until: datetime | None = None


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


Decision = Wait | Do | Enter | Resolve | Finish | Fail | Supersede


def stage_timeouts(template: Timeouts | None, policy: Timeouts) -> StageTimeouts:
    """The time-outs in force: the template's, where it is silent the policy's, else the default."""
    declared = {}
    for field in fields(Timeouts):
        given = (getattr(each, field.name) for each in (template, policy) if each is not None)
        declared[field.name] = next((value for value in given if value is not None), None)
    return replace(
        StageTimeouts(), **{name: value for name, value in declared.items() if value is not None}
    )


def entry_timeout_s(stage: Stage, timeouts: StageTimeouts) -> int:
    """Seconds from entering a stage to its deadline (for `power off`, until it is forced)."""
    return {
        Stage.POWER_OFF: timeouts.soft_power_off,
        Stage.WIPE: timeouts.wipe,
        Stage.BOOT: timeouts.boot,
        Stage.INSTALLING: timeouts.install,
    }[stage]


def last_touch(operation: Operation, started_at: datetime) -> datetime | None:
    """The latest instant at which an effect of ours may have reached the hardware.

    Where the answer never came, the process that waited for it is gone: nothing was sent after this
    one started.
    """
    if operation.intent_at is None:
        return None
    if operation.acknowledged_at is not None:
        return operation.acknowledged_at
    return max(operation.intent_at, started_at)


def probed(operation: Operation, situation: Situation) -> bool:
    """Whether the node was asked, whatever it answered, after the last effect came back."""
    touch = last_touch(operation, situation.started_at)
    if touch is None:
        return True
    return situation.observation is not None and situation.observation.at > touch


def evidence(operation: Operation, situation: Situation) -> Reading | None:
    """The reading, where it says something about the present stage: known, fresh, and newer than
    the last effect that changes what it shows.

    Setting the boot device changes nothing that is decided from, so the reading that the stage was
    entered on still holds after it.
    """
    observation = situation.observation
    if observation is None or observation.reading is None:
        return None
    if observation.power is Power.UNKNOWN:
        return None
    if observation.age_s(situation.now) > situation.observation_ttl_s:
        return None
    intent = operation.intent
    harmless = intent is None or intent.kind is EffectKind.SET_BOOT_DEVICE
    if harmless and operation.seen_at is not None:
        return observation.reading if observation.at >= operation.seen_at else None
    touch = last_touch(operation, situation.started_at)
    return observation.reading if touch is None or observation.at > touch else None


def in_doubt(operation: Operation) -> bool:
    """Whether the last effect may or may not have reached the hardware (none is in flight)."""
    if operation.intent is None:
        return False
    return operation.acknowledged_at is None or operation.tries > 0


def seconds(value: float) -> timedelta:
    """A time span."""
    return timedelta(seconds=value)
