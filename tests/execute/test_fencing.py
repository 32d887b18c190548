"""A process that may not drive the fleet any more sends nothing, also what it had begun to."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from execute_rig import HeldExecutor, Rig, SerialExecutor, a_target

from metalwright.execute.life import again
from metalwright.model.operation import OperationState, Verb


class Ours:
    """What the daemon knows of its right to drive."""

    def __init__(self) -> None:
        self.still = True

    def __call__(self) -> bool:
        return self.still


def begun(rig: Rig, ours: Ours) -> HeldExecutor:
    """An intent is durable and its effect is about to be sent."""
    rig.executor = held = HeldExecutor()
    rig.engine = rig.make_engine(ours)
    rig.adopt()
    rig.want("n0", Verb.DEPLOY, a_target())
    rig.cycle()
    assert rig.told() == ["set boot device"]
    return held


def test_an_effect_is_not_sent_by_a_process_that_lost_the_fleet(rig: Rig) -> None:
    ours = Ours()
    held = begun(rig, ours)
    ours.still = False
    held.let_go()
    report = rig.cycle()
    assert rig.driver._fleet.node("n0").boot_device is None
    assert "n0: not sent: this process may not drive the fleet" in report.events
    assert rig.state() is OperationState.RUNNING
    operation = rig.operation()
    assert (operation.acknowledged_at, operation.last_error) == (None, ""), "it failed nothing"
    assert "outcome" not in rig.events()


def test_what_was_not_sent_is_read_back_and_told_again_by_whoever_may(rig: Rig) -> None:
    ours = Ours()
    held = begun(rig, ours)
    ours.still = False
    held.let_go()
    rig.cycle()
    with ThreadPoolExecutor(1) as threads:
        rig.executor = threads
        rig.reopen()
        rig.settle()
    assert (rig.state(), rig.operation().attempt) == (OperationState.ACTIVE, 1)
    assert rig.driver._fleet.node("n0").power_ons == 1


def test_an_answer_to_an_attempt_that_is_over_says_nothing_of_the_next_one(rig: Rig) -> None:
    """The same operation, by now with another fence: somebody else ended the attempt."""
    held = begun(rig, Ours())
    first = rig.operation()
    at = rig.clock()
    waits = again(first, "no answer", at, at)
    assert rig.store.retry(waits, at)
    second = replace(
        waits,
        state=OperationState.RUNNING,
        stage=first.stage,
        intent=first.intent,
        intent_at=at,
        acknowledged_at=None,
        stage_deadline_at=first.stage_deadline_at,
        attempt=2,
        fence=waits.fence + 1,
    )
    assert rig.store.admit(second, {"fleet": 4}, at)
    held.let_go()
    report = rig.cycle(look=False)
    assert "n0: an answer to an operation that is over" in report.events
    assert "outcome" not in rig.events()
    assert rig.operation().effects == 0, "nobody has said that the effect of this attempt was made"


def test_a_check_that_breaks_sends_nothing(rig: Rig) -> None:
    class Broken(Ours):
        def __call__(self) -> bool:
            raise OSError("the lock file cannot be read")

    held = begun(rig, Broken())
    held.let_go()
    report = rig.cycle()
    assert "n0: not sent: this process may not drive the fleet" in report.events
    assert rig.driver._fleet.node("n0").boot_device is None


class Holding(SerialExecutor):
    """Carries out what comes before the first effect of a kind, and keeps that."""

    def __init__(self, held: HeldExecutor, kind: str, rig: Rig) -> None:
        self.held, self.kind, self.rig = held, kind, rig

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        chosen = self.rig.told()[-1:] == [self.kind]
        return (self.held if chosen else super()).submit(fn, *args, **kwargs)


def left_behind(tmp_path: Path, kind: str, **settings: float) -> tuple[Rig, HeldExecutor]:
    """A process that still lives was taken over from while a call of it was under way."""
    rig = Rig(tmp_path, **settings)
    rig.adopt()
    rig.want("n0", Verb.DEPLOY, a_target())
    held = HeldExecutor()
    rig.executor = Holding(held, kind, rig)
    rig.engine = rig.make_engine()
    rig.run(lambda: rig.told()[-1:] == [kind])
    rig.executor = SerialExecutor()
    rig.reopen()
    return rig, held


@pytest.mark.parametrize("kind", ["set boot device", "power on"])
def test_while_a_call_of_another_process_may_still_land_nothing_of_it_is_repeated(
    tmp_path: Path, kind: str
) -> None:
    rig, held = left_behind(tmp_path, kind, predecessor_s=80.0)
    with rig:
        began, told = rig.clock(), rig.told()
        rig.run_for(40)
        assert rig.told() == told
        due = rig.engine.next_due_at()
        assert due == began + timedelta(seconds=80), "it is looked at again without a reason"
        held.let_go()
        rig.run_for(38)
        assert rig.told() == told, "what is seen may change once more"
        assert rig.events()[-1] == "intent"
        rig.settle()
        assert rig.driver._fleet.node("n0").power_ons == 1
        assert (rig.state(), rig.operation().attempt) == (OperationState.ACTIVE, 1)
        assert rig.told().count("power on") == 1


def test_what_a_dead_process_left_is_read_back_at_once(tmp_path: Path) -> None:
    rig, _ = left_behind(tmp_path, "power on")
    with rig:
        rig.run_for(20)
        assert rig.told().count("power on") == 2
