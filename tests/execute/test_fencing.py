"""A process that may not drive the fleet any more sends nothing, also what it had begun to."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from execute_rig import HeldExecutor, Rig, a_target

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


def test_a_check_that_breaks_sends_nothing(rig: Rig) -> None:
    class Broken(Ours):
        def __call__(self) -> bool:
            raise OSError("the lock file cannot be read")

    held = begun(rig, Broken())
    held.let_go()
    report = rig.cycle()
    assert "n0: not sent: this process may not drive the fleet" in report.events
    assert rig.driver._fleet.node("n0").boot_device is None
