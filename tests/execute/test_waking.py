"""A machine whose power nobody tells is woken, and seen to be up by its own report alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from decide_samples import a_situation, an_operation, at
from execute_rig import a_target

from metalwright.execute.advance import decide
from metalwright.execute.situation import Do, Fail, Finish, Wait
from metalwright.model.observed import BootProgress, Observation, Power, Reading
from metalwright.model.operation import Effect, EffectKind, Operation, Stage
from metalwright.model.template import WipePolicy

PLAIN = a_target()
assert PLAIN.template is not None
TARGET = replace(PLAIN, template=replace(PLAIN.template, phone_home=True))
CAPABLE = frozenset({EffectKind.POWER_ON, EffectKind.SET_BOOT_DEVICE})


def waking(**changes: Any) -> Operation:
    values: dict[str, Any] = {
        "target": TARGET,
        "stages": (Stage.BOOT,),
        "stage": Stage.BOOT,
        "stage_deadline_at": at(600),
    }
    return an_operation(**(values | changes))


def told(kind: EffectKind = EffectKind.POWER_ON) -> Operation:
    intent = Effect(kind=kind, operation_id="o1")
    return waking(intent=intent, intent_at=at(10), acknowledged_at=at(11), effects=1)


def seen(seconds: float, **reading: Any) -> Observation:
    values: dict[str, Any] = {"power": Power.UNKNOWN, "wakes": True}
    return Observation(node="n0", at=at(seconds), reading=Reading(**(values | reading)))


def decided(operation: Operation, now: float, observation: Observation) -> Any:
    return decide(operation, a_situation(now, observation, capabilities=CAPABLE))


def test_it_is_woken_on_unknown_power_and_waited_for() -> None:
    first = decided(waking(), 1, seen(0.5))
    assert isinstance(first, Do)
    assert first.operation.intent is not None
    assert first.operation.intent.kind is EffectKind.SET_BOOT_DEVICE
    then = decided(told(EffectKind.SET_BOOT_DEVICE), 13, seen(12))
    assert isinstance(then, Do)
    assert then.operation.intent is not None
    assert then.operation.intent.kind is EffectKind.POWER_ON
    assert isinstance(decided(told(), 20, seen(19)), Wait)


def test_silence_until_the_deadline_fails_the_attempt() -> None:
    failed = decided(told(), 601, seen(600))
    assert isinstance(failed, Fail)
    assert failed.probed
    assert "the power is unknown" in failed.error


def test_only_the_report_of_this_template_ends_it() -> None:
    on = {"power": Power.ON}
    assert isinstance(decided(told(), 20, seen(19, **on, boot_progress=BootProgress.NONE)), Wait)
    template = TARGET.template
    assert template is not None
    up = {"boot_progress": BootProgress.OS_RUNNING, "template_digest": template.digest}
    assert isinstance(decided(told(), 20, seen(19, **on, **up)), Finish)


def test_a_machine_that_turns_out_to_be_on_is_not_waited_for() -> None:
    failed = decided(waking(), 1, seen(0.5, power=Power.ON, boot_progress=BootProgress.NONE))
    assert isinstance(failed, Fail)
    assert "shut down by hand" in failed.error


@pytest.mark.parametrize(
    "changes",
    [
        {"stages": (Stage.POWER_OFF, Stage.BOOT)},
        {"target": PLAIN},
        {"destroys_data": True},
        {"target": replace(a_target(wipe=WipePolicy.FULL)), "destroys_data": True},
    ],
)
def test_nothing_else_is_begun_on_unknown_power(changes: dict[str, Any]) -> None:
    assert isinstance(decided(waking(**changes), 1, seen(0.5)), Wait)


def test_a_driver_that_should_know_is_waited_for() -> None:
    assert isinstance(decided(waking(), 1, seen(0.5, wakes=False)), Wait)
