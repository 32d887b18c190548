"""Operations on a machine behind a hardware engine, which takes several steps to do what it is told
and says how far it is.
"""

from __future__ import annotations

from typing import Any

from decide_samples import a_situation, an_operation, at
from execute_rig import Rig, a_target

from metalwright.errors import NotBegunError
from metalwright.execute.advance import ENGINE_STEPS_MAX, decide
from metalwright.execute.life import answered
from metalwright.execute.situation import Do, Fail, Situation, Supersede, Wait
from metalwright.model.documents import Node
from metalwright.model.observed import Observation, Phase, Power, Progress, Reading
from metalwright.model.operation import (
    Effect,
    EffectKind,
    Operation,
    OperationState,
    Stage,
    Verb,
)

POWER_ON = Effect(kind=EffectKind.POWER_ON, operation_id="o1", template_digest="d" * 64)


def booting(**changes: Any) -> Operation:
    """Told at second 10 to power on, and the engine took it at second 11."""
    values: dict[str, Any] = {
        "target": a_target(),
        "stage": Stage.BOOT,
        "intent": POWER_ON,
        "intent_at": at(10),
        "acknowledged_at": at(11),
        "effects": 1,
        "stage_deadline_at": at(600),
    }
    return an_operation(**(values | changes))


def seen(phase: Phase, operation_id: str = "o1", **values: Any) -> Observation:
    progress = Progress(phase=phase, operation_id=operation_id, message="deploying")
    reading = Reading(**({"power": Power.OFF, "progress": progress} | values))
    return Observation(node="n0", at=at(20), reading=reading)


def situation(observation: Observation, now: float = 21, **changes: Any) -> Situation:
    return a_situation(now, observation, **changes)


def test_an_engine_that_waits_is_asked_to_go_on_within_the_same_deadline() -> None:
    decision = decide(booting(), situation(seen(Phase.WAITS), power_on_at=at(0)))
    assert isinstance(decision, Do)
    assert decision.operation.intent == POWER_ON
    assert decision.operation.stage_deadline_at == at(600)
    assert decision.operation.acknowledged_at is None


def test_an_engine_is_asked_to_go_on_a_bounded_number_of_times() -> None:
    decision = decide(booting(effects=ENGINE_STEPS_MAX), situation(seen(Phase.WAITS)))
    assert decision == Wait(why="deploying", until=at(600))


def test_an_engine_at_work_is_waited_for_and_not_interrupted() -> None:
    assert decide(booting(), situation(seen(Phase.WORKS))) == Wait(why="deploying", until=at(600))
    decision = decide(booting(), situation(seen(Phase.WORKS), superseded="a newer commit"))
    assert decision == Wait(why="deploying", until=at(600))
    decision = decide(booting(), situation(seen(Phase.WAITS), superseded="a newer commit"))
    assert isinstance(decision, Supersede | Wait)


def test_an_engine_at_work_has_until_the_deadline_and_no_longer() -> None:
    late = Observation(node="n0", at=at(610), reading=seen(Phase.WORKS).reading)
    assert isinstance(decide(booting(), situation(late, now=611)), Fail)


def test_what_the_engine_failed_with_fails_the_attempt_at_once() -> None:
    decision = decide(booting(), situation(seen(Phase.FAILED)))
    assert isinstance(decision, Fail)
    assert decision.error == "deploying"


def test_the_failure_of_an_earlier_attempt_is_none_of_this_one() -> None:
    fresh = booting(intent=None, effects=0, acknowledged_at=at(11))
    assert isinstance(decide(fresh, situation(seen(Phase.FAILED))), Do)


def test_the_progress_of_another_operation_is_not_ours() -> None:
    decision = decide(booting(), situation(seen(Phase.FAILED, operation_id="o0")))
    assert isinstance(decision, Wait)
    assert decision.why == "is booting"


def test_what_had_to_wait_its_turn_is_no_try_that_counts() -> None:
    operation = booting(acknowledged_at=None, effects=0)
    for turn in range(10):
        operation = answered(operation, NotBegunError("locked"), at(12 + turn))
        assert operation.tries == 1
        assert not operation.failing
    after = Observation(node="n0", at=at(40), reading=Reading(power=Power.OFF))
    assert isinstance(decide(operation, situation(after, now=41)), Do)


def shutting_down(**changes: Any) -> Operation:
    soft = Effect(kind=EffectKind.SOFT_POWER_OFF, operation_id="o1")
    values = {"stage": Stage.POWER_OFF, "intent": soft, "intent_at": at(1), "entered_at": at(0)}
    told = {"acknowledged_at": None, "effects": 0, "stage_deadline_at": at(300)}
    return booting(**(values | told | changes))


def on_at(second: float) -> Observation:
    return Observation(node="n0", at=at(second), reading=Reading(power=Power.ON))


def test_a_power_button_that_was_not_pressed_is_pressed_later_and_gets_all_of_its_time() -> None:
    waits = answered(shutting_down(), NotBegunError("locked"), at(12))
    again = decide(waits, situation(on_at(290), now=291))
    assert isinstance(again, Do)
    assert again.operation.intent == shutting_down().intent
    pressed = answered(again.operation, None, at(292))
    later = decide(pressed, situation(on_at(589), now=590))
    assert isinstance(later, Wait), "the system has the time from the press, not from the first try"
    forced = decide(pressed, situation(on_at(592), now=593))
    assert isinstance(forced, Do)
    assert forced.operation.intent is not None
    assert forced.operation.intent.kind is EffectKind.POWER_OFF


def test_a_power_button_that_could_not_be_pressed_is_no_reason_to_cut_the_power() -> None:
    waits = answered(shutting_down(), NotBegunError("locked"), at(12))
    told = 0
    for second in range(20, 300, 20):
        again = decide(waits, situation(on_at(second - 1), now=second))
        assert isinstance(again, Do)
        waits = answered(again.operation, NotBegunError("locked"), at(second + 1))
        told += 1
    assert told == 14
    late = decide(waits, situation(on_at(300), now=301))
    assert late == Fail(error="soft power off: locked (for 300 s)", probed=True)
    away = answered(shutting_down(), NotBegunError("no connection"), at(2))
    back = decide(away, situation(on_at(329), now=330))
    assert isinstance(back, Fail), "nor is an Ironic that was away for all of that time"


class Handing:
    """A driver that wants the operation, and passes its intent on."""

    def __init__(self, driver: Any) -> None:
        self.driver, self.handed = driver, []  # type: ignore[var-annotated]
        self.capabilities = driver.capabilities

    def apply(self, node: Node, effect: Effect, timeout_s: float) -> None:
        raise AssertionError("an engine is handed the operation")

    def carry_out(self, node: Node, operation: Operation, timeout_s: float) -> None:
        assert operation.intent is not None
        self.handed.append(operation)
        self.driver.apply(node, operation.intent, timeout_s)


def test_an_engine_is_handed_the_operation_with_its_template(rig: Rig) -> None:
    rig.provisioner = engine = Handing(rig.driver)
    rig.engine = rig.make_engine()
    rig.adopt()
    rig.want("n0", Verb.DEPLOY, a_target())
    rig.settle()
    assert rig.state() is OperationState.ACTIVE
    assert {each.target for each in engine.handed} == {a_target()}
