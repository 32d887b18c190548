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


def test_a_power_button_that_was_not_pressed_is_pressed_later_then_forced() -> None:
    soft = Effect(kind=EffectKind.SOFT_POWER_OFF, operation_id="o1")
    told = booting(stage=Stage.POWER_OFF, intent=soft, acknowledged_at=None, effects=0)
    waits = answered(told, NotBegunError("locked"), at(12))
    on = Reading(power=Power.ON)
    again = decide(waits, situation(Observation(node="n0", at=at(13), reading=on), now=14))
    assert isinstance(again, Do)
    assert again.operation.intent == soft
    assert again.operation.stage_deadline_at == at(600), "waiting does not move the deadline"
    late = Observation(node="n0", at=at(605), reading=on)
    forced = decide(waits, situation(late, now=606))
    assert isinstance(forced, Do)
    assert forced.operation.intent is not None
    assert forced.operation.intent.kind is EffectKind.POWER_OFF


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
