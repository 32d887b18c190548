"""The state machine of an operation: from what is stored and what is seen to the one next step.

Pure: the same values give the same decision, so a crash and a restart change nothing. It is asked
only while no effect of the operation is in flight. The rules, in the order in which they are asked:

1. an attempt that failed only waits until the node was asked once more;
2. a stage that is seen to be done is left, whatever its deadline says;
3. an operation that is not wanted any more ends where that is safe;
4. an effect in doubt (answer lost, passing fault) is read back before it is repeated;
5. a deadline that has passed fails the attempt (or forces a power-off that was asked for softly);
6. otherwise the stage's next effect, on a known, fresh reading only; powering on waits for its
   start token, and the deadline with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from metalwright.execute.life import entering
from metalwright.execute.situation import (
    AWAITS_START,
    Decision,
    Do,
    Enter,
    Fail,
    Finish,
    Postpone,
    Resolve,
    Situation,
    Supersede,
    Wait,
    abandoned,
    entry_timeout_s,
    evidence,
    fails_at,
    in_doubt,
    last_touch,
    let_go,
    looked_at,
    out_of_time,
    probed,
    seconds,
)
from metalwright.execute.stages import (
    boot_effect,
    identity_check,
    is_ours,
    may_stop,
    progress_of,
    seen,
    unproven,
)
from metalwright.execute.validating import is_over, too_late, validating
from metalwright.model.altered import altered
from metalwright.model.identity import Match
from metalwright.model.observed import Phase, Power, Reading
from metalwright.model.operation import Effect, EffectKind, Operation, Stage, Verb

SOFT_POWER_OFF_TRIES_MAX = 2
"""A power button pressed again while the system shuts down is at best ignored: in doubt, it is
pressed once more only after the whole time for shutting down has passed."""

ENGINE_STEPS_MAX = 12
"""How often a hardware engine is asked to go on within one stage: it needs about five."""


def decide(operation: Operation, situation: Situation) -> Decision:
    """The next step of a running operation that has no effect in flight."""
    if operation.failing:
        return _failed(operation, situation, operation.last_error)
    reading = evidence(operation, situation)
    ours = reading if reading is not None and is_ours(situation.node, reading) else None
    if ours is not None and is_over(operation, ours, situation):
        return _leave(operation, situation)
    if situation.superseded and may_stop(operation, ours):
        if let_go(operation, situation) or abandoned(operation, situation):
            return Supersede(why=situation.superseded)
        return Wait(why="is asked once more before it is let go")
    if in_doubt(operation) and ours is not None:
        resolved = _read_back(operation, ours)
        if resolved is not None:
            return resolved
    if out_of_time(operation, situation):
        if situation.node is not None and not looked_at(situation):
            return Wait(why="is asked before its time counts as over")
        return _failed(operation, situation, too_late(operation, reading, situation))
    if situation.node is None:
        return Wait(why="is not ours to touch", until=operation.stage_deadline_at)
    if reading is None:
        return Wait(why="is not observed since", until=fails_at(operation, situation))
    if in_doubt(operation):
        return _repeat(operation, situation)
    return _next(operation, reading, situation)


def _leave(operation: Operation, situation: Situation) -> Decision:
    """From a stage that is done to the next, or to the end."""
    assert operation.stage is not None
    at = operation.stages.index(operation.stage) + 1
    if at == len(operation.stages):
        return Finish()
    if situation.superseded:
        return Supersede(why=situation.superseded)
    return Enter(operation=entering(operation, operation.stages[at], situation))


def _next(operation: Operation, reading: Reading, situation: Situation) -> Decision:
    """The next effect of the stage, unless a hardware engine carries it out in steps of its own."""
    assert operation.stage is not None
    progress, intent = progress_of(operation, reading), operation.intent
    if progress is None:
        return _NEXT[operation.stage](operation, reading, situation)
    if progress.phase is Phase.FAILED:
        return _failed(operation, situation, progress.message)
    works = progress.phase is Phase.WORKS or operation.effects >= ENGINE_STEPS_MAX
    if works or intent is None:
        return Wait(why=progress.message, until=operation.stage_deadline_at)
    return _do(operation, intent, situation)


def _read_back(operation: Operation, reading: Reading) -> Decision | None:
    """Settle an effect in doubt that is seen to have worked."""
    assert operation.intent is not None
    if not seen(operation.intent, reading) or unproven(operation, reading):
        return None
    worked = altered(
        operation,
        effects=operation.effects + 1,
        tries=0,
        acknowledged_at=operation.acknowledged_at or operation.intent_at,
    )
    return Resolve(operation=worked, detail=f"{operation.intent.kind}: seen to have worked")


def _repeat(operation: Operation, situation: Situation) -> Decision:
    """An effect in doubt that is not seen to have worked: again after a pause, a few times."""
    intent = operation.intent
    touch = last_touch(operation, situation.alone_at)
    assert intent is not None
    assert touch is not None
    assert situation.observation is not None
    reading = situation.observation.reading
    if reading is not None and unproven(operation, reading):
        return Wait(why="has to say whether it was us", until=operation.stage_deadline_at)
    lost = operation.acknowledged_at is None
    tries = operation.tries + (1 if lost else 0)
    if intent.kind is EffectKind.SOFT_POWER_OFF:
        window = operation.stage_deadline_at or situation.now
        if situation.now < window:
            return Wait(why="may be shutting down", until=window)
        if tries < SOFT_POWER_OFF_TRIES_MAX:
            wait_s = situation.timeouts.soft_power_off
            return _do(altered(operation, tries=tries), intent, situation, wait_s)
        return _force_off(operation, situation)
    if tries >= situation.tries_max:
        if intent.kind is EffectKind.WIPE:
            # Begun or not begun looks the same until it is done: it is given all of its time.
            return Wait(why="may be wiping", until=operation.stage_deadline_at)
        said = operation.last_error or f"{intent.kind}: the answer was lost"
        return _failed(operation, situation, f"{said} ({tries} tries)")
    settled = touch + seconds(situation.settle_s)
    if situation.now < settled:
        return Wait(why="is given time before it is told again", until=settled)
    if intent.kind is not EffectKind.SET_BOOT_DEVICE and situation.observation.at < settled:
        return Wait(why="is read back before it is told again")
    if situation.lacks_start(intent.kind):
        return _await_start(operation, situation)
    return _do(altered(operation, tries=tries), intent, situation)


def _failed(operation: Operation, situation: Situation, error: str) -> Decision:
    """The attempt is over; where the operation is not wanted any more, so is that."""
    asked = probed(operation, situation)
    if situation.superseded and (asked or abandoned(operation, situation)):
        return Supersede(why=f"{situation.superseded}; {error}")
    if not situation.asked:
        return Wait(why="is not asked any more", until=fails_at(operation, situation))
    return Fail(error=error, probed=asked)


def _power_off(operation: Operation, _reading: Reading, situation: Situation) -> Decision:
    intent = operation.intent
    if intent is None:
        if EffectKind.SOFT_POWER_OFF not in situation.capabilities:
            return _force_off(operation, situation)
        wait_s = situation.timeouts.soft_power_off
        entered_at = operation.entered_at or operation.created_at
        if operation.tries > 0 and situation.now >= entered_at + seconds(wait_s):
            # The system was never told to shut down: that is no reason to cut its power.
            return _failed(operation, situation, f"{operation.last_error} (for {wait_s} s)")
        effect = Effect(kind=EffectKind.SOFT_POWER_OFF, operation_id=operation.id)
        return _do(operation, effect, situation, wait_s)
    if intent.kind is EffectKind.POWER_OFF:
        return Wait(why="is being powered off", until=operation.stage_deadline_at)
    if operation.stage_deadline_at is not None and situation.now < operation.stage_deadline_at:
        return Wait(why="is shutting down", until=operation.stage_deadline_at)
    return _force_off(operation, situation)


def _force_off(operation: Operation, situation: Situation) -> Decision:
    effect = Effect(kind=EffectKind.POWER_OFF, operation_id=operation.id)
    return _do(altered(operation, tries=0), effect, situation, situation.timeouts.power_off)


def _wipe(operation: Operation, reading: Reading, situation: Situation) -> Decision:
    if operation.intent is None:
        if reading.power is Power.ON:
            return _failed(operation, situation, _SOMEBODY)
        template = operation.target.template
        level = template.wipe.value if template is not None else ""
        effect = Effect(kind=EffectKind.WIPE, argument=level, operation_id=operation.id)
        if situation.lacks_start(effect.kind):
            return _await_start(operation, situation)
        return _do(operation, effect, situation)
    if operation.intent.kind is EffectKind.WIPE and reading.last_wipe == operation.id:
        # An agent that has wiped and stays on has no system to shut down.
        return _do(
            operation, Effect(kind=EffectKind.POWER_OFF, operation_id=operation.id), situation
        )
    return Wait(why="is being wiped", until=operation.stage_deadline_at)


def _boot(operation: Operation, reading: Reading, situation: Situation) -> Decision:
    intent = operation.intent
    if intent is not None and intent.kind is EffectKind.POWER_ON:
        return Wait(why="is booting", until=operation.stage_deadline_at)
    if reading.power is Power.ON:
        if operation.verb is Verb.POWER_ON:
            return Wait(why="is booting", until=operation.stage_deadline_at)
        by_us = Stage.POWER_OFF in operation.stages
        return _failed(operation, situation, _SOMEBODY if by_us else _AWAKE)
    effect = boot_effect(operation)
    if situation.lacks_start(effect.kind):
        return _await_start(operation, situation)
    return _do(operation, effect, situation)


def _await_start(operation: Operation, situation: Situation) -> Decision:
    """Wait for a start token; the deadline stays at least half the stage's time ahead."""
    boot = seconds(max(1, entry_timeout_s(operation.stage or Stage.BOOT, situation.timeouts)))
    deadline = operation.stage_deadline_at
    if deadline is None or deadline - situation.now <= boot / 2:
        moved = altered(operation, stage_deadline_at=situation.now + boot)
        return Postpone(operation=moved)
    assert situation.power_on_at is not None
    return Wait(why=AWAITS_START, until=min(situation.power_on_at, deadline - boot / 2))


def _installing(operation: Operation, _reading: Reading, _situation: Situation) -> Decision:
    return Wait(why="is being installed", until=operation.stage_deadline_at)


_SOMEBODY = "the power is on although it was switched off: somebody else switched it on"
_AWAKE = "it is on already: it has to be shut down by hand before it is woken"

_NEXT: Mapping[Stage, Callable[[Operation, Reading, Situation], Decision]] = {
    Stage.POWER_OFF: _power_off,
    Stage.WIPE: _wipe,
    Stage.BOOT: _boot,
    Stage.INSTALLING: _installing,
    Stage.VALIDATING: validating,
}


def _do(
    operation: Operation, effect: Effect, situation: Situation, timeout_s: float | None = None
) -> Decision:
    """Ask for an effect; `timeout_s` from now is the stage's new deadline."""
    if effect.kind not in situation.capabilities:
        error = f"{effect.kind}: the driver cannot do this"
        return Fail(error=error, probed=probed(operation, situation), final=True)
    assert situation.node is not None
    assert situation.observation is not None
    assert situation.observation.reading is not None
    check = identity_check(operation, situation.node, situation.observation.reading)
    if check.match is not Match.SAME:
        error = f"this may be another machine: {check.message}"
        asked, other = probed(operation, situation), check.match is Match.OTHER
        return Fail(error=error, probed=asked, final=other)
    deadline, entered_at = operation.stage_deadline_at, operation.entered_at
    begins = effect is not operation.intent or in_doubt(operation)
    if begins and operation.stage is not None and situation.takes_start(effect.kind):
        # What it may have waited for a start token is no part of the stage.
        timeout_s = entry_timeout_s(operation.stage, situation.timeouts)
        entered_at = situation.now
    if timeout_s is not None:
        deadline = situation.now + seconds(timeout_s)
    return Do(
        operation=altered(
            operation,
            intent=effect,
            intent_at=situation.now,
            acknowledged_at=None,
            stage_deadline_at=deadline,
            entered_at=entered_at,
        )
    )
