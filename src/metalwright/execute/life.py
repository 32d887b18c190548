"""How an operation changes when it begins, is answered, fails or ends. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from metalwright.errors import (
    MetalwrightError,
    NotBegunError,
    NotSupportedError,
    TemporaryError,
    mistake_of,
)
from metalwright.execute.situation import Situation, entry_timeout_s, last_touch, seconds
from metalwright.model.altered import altered
from metalwright.model.hardware import place_of
from metalwright.model.operation import EffectKind, Operation, OperationState, Stage
from metalwright.model.policy import Retries


def begin(operation: Operation, situation: Situation) -> Operation:
    """A pending operation at the start of its next attempt."""
    observation = situation.observation
    return altered(
        entering(operation, operation.stages[0], situation),
        state=OperationState.RUNNING,
        attempt=operation.attempt + 1,
        fence=operation.fence + 1,
        not_before=None,
        failing=False,
        last_error="",
        seen_at=observation.at if observation is not None else None,
        admitted_at=situation.now,
        bmc=place_of(situation.node.spec) if situation.node is not None else "",
    )


def answered(operation: Operation, error: BaseException | None, at: datetime) -> Operation:
    """The operation after the driver answered its intent at `at`, with an error or without."""
    if error is None:
        return altered(operation, acknowledged_at=at, effects=operation.effects + 1, tries=0)
    heard = altered(operation, acknowledged_at=at, last_error=_words(operation, error))
    soft = operation.intent is not None and operation.intent.kind is EffectKind.SOFT_POWER_OFF
    if isinstance(error, NotBegunError):
        waits = altered(heard, tries=max(1, operation.tries))
        # A power button that was not pressed is pressed once there is a reading from after that.
        return altered(waits, intent=None, seen_at=at) if soft else waits
    if isinstance(error, TemporaryError):
        return altered(heard, tries=operation.tries + 1)
    if soft and isinstance(error, NotSupportedError):
        # There is no button to press (a BMC without ACPI): it is forced at once.
        return altered(heard, stage_deadline_at=at, tries=0)
    return altered(heard, failing=True, tries=0)


def entering(operation: Operation, stage: Stage, situation: Situation) -> Operation:
    """At the start of a stage. `intent_at` and `acknowledged_at` stay: they date the last touch."""
    observation = situation.observation
    return altered(
        operation,
        stage=stage,
        effects=0,
        tries=0,
        intent=None,
        acknowledged_at=last_touch(operation, situation.alone_at),
        stage_deadline_at=situation.now + seconds(entry_timeout_s(stage, situation.timeouts)),
        seen_at=observation.at if observation is not None else operation.seen_at,
        entered_at=situation.now,
    )


def again(operation: Operation, error: str, alone_at: datetime, not_before: datetime) -> Operation:
    """A running operation whose attempt failed, waiting for the next one."""
    return altered(
        operation,
        state=OperationState.PENDING,
        stage=None,
        effects=0,
        tries=0,
        intent=None,
        acknowledged_at=last_touch(operation, alone_at),
        stage_deadline_at=None,
        seen_at=None,
        admitted_at=None,
        entered_at=None,
        failing=False,
        fence=operation.fence + 1,
        not_before=not_before,
        last_error=error,
    )


def ended(operation: Operation, state: OperationState, at: datetime, error: str = "") -> Operation:
    """An operation at its end. What it was last told to do stays visible."""
    return altered(
        operation, state=state, ended_at=at, last_error=error or operation.last_error, failing=False
    )


def backoff_s(attempt: int, retries: Retries, uniform: Callable[[float, float], float]) -> float:
    """Seconds until the next attempt, after `attempt` of them: anywhere up to the doubled pause.

    Full jitter between the bounds of the policy (AWS Architecture Blog, "Exponential Backoff And
    Jitter", 2015), so that a rack that failed together does not come back together.
    """
    low = float(retries.backoff_min)
    high = min(float(retries.backoff_max), low * 2.0 ** min(attempt, 30))
    return uniform(low, max(low, high))


def _words(operation: Operation, error: BaseException) -> str:
    """What the driver said; of an exception that is none of ours, a bug, only where it was."""
    kind = operation.intent.kind if operation.intent is not None else "effect"
    if isinstance(error, MetalwrightError):
        return f"{kind}: {error}"
    return f"{kind}: the driver broke: {mistake_of(error)}"
