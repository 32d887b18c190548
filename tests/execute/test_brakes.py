"""Cancel, hold, quarantine, and what else a plan leaves behind beside its actions."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from execute_rig import OFF, RULES, Rig, a_node, a_target, an_inventory

from metalwright.drivers.fake_faults import Fault, FaultKind
from metalwright.model.observed import Power
from metalwright.model.operation import NodeMemory, OperationState, Stage, Verb
from metalwright.model.plan import Fate
from metalwright.model.policy import FleetLimits, Quarantine, Retries
from metalwright.model.rollout import Rollout, RolloutState
from metalwright.model.template import WipePolicy

WIPES = a_target(wipe=WipePolicy.METADATA)


def powered(rig: Rig) -> None:
    rig.driver.press("n0", Power.ON)
    rig.clock.pass_s(600)


def remembered(rig: Rig, node: str = "n0") -> NodeMemory:
    return rig.store.memory().nodes[node]


def test_a_pending_operation_that_is_cancelled_ends_at_once_and_is_not_made_again(rig: Rig) -> None:
    rig.adopt()
    rig.driver.inject("n0", Fault(kind=FaultKind.SILENT))
    rig.want("n0", Verb.DEPLOY, WIPES)
    rig.cycle()
    assert rig.store.cancel(["n0"], "grace", rig.clock()) == ("n0",)
    assert rig.cycle().cancelled == 1
    assert (rig.state(), rig.told()) == (OperationState.CANCELLED, [])
    assert rig.journal("n0")[-1].detail == "cancelled by grace"
    assert remembered(rig).failed == rig.operation()
    rig.driver.heal("n0")
    rig.run_for(60)
    assert len(rig.store.operations("n0", 9)) == 1
    rig.store.retry_failed(["n0"], "grace", rig.clock())
    rig.settle()
    assert rig.state() is OperationState.ACTIVE


def test_a_boot_that_is_cancelled_ends_at_once_and_gives_its_slot_back(rig: Rig) -> None:
    rig.adopt()
    rig.want("n0", Verb.DEPLOY, a_target())
    rig.run(lambda: rig.told() == ["set boot device", "power on"])
    rig.cycle()
    rig.store.cancel(["n0"], "grace", rig.clock())
    report = rig.cycle()
    assert (report.cancelled, report.superseded, rig.store.slots()) == (1, 0, {})
    assert rig.state() is OperationState.CANCELLED
    assert rig.operation().cancelled_by == "grace"


@pytest.mark.parametrize("newer_commit", [False, True])
def test_a_wipe_that_is_cancelled_is_finished_first(rig: Rig, newer_commit: bool) -> None:
    rig.adopt()
    rig.want("n0", Verb.DEPLOY, WIPES)
    rig.run(lambda: rig.told() == ["wipe"])
    wiping = rig.operation()
    rig.store.cancel(["n0"], "grace", rig.clock())
    if newer_commit:
        rig.fates["n0"] = Fate.SUPERSEDE
    rig.run(lambda: not rig.operation().unfinished)
    assert rig.state() is OperationState.CANCELLED
    assert rig.driver.observe(rig.inventory.nodes["n0"], 1).last_wipe == wiping.id
    assert rig.told() == ["wipe"]


def test_an_operation_that_reaches_its_target_before_it_can_be_cancelled_has_reached_it(
    rig: Rig,
) -> None:
    rig.adopt()
    powered(rig)
    rig.want("n0", Verb.POWER_OFF, OFF)
    rig.run(lambda: rig.told() == ["soft power off"])
    rig.store.cancel(["n0"], "grace", rig.clock())
    rig.run(lambda: not rig.operation().unfinished)
    assert rig.state() is OperationState.ACTIVE
    assert remembered(rig).failed is None


def test_a_cancelled_operation_between_two_attempts_ends_at_once(rig: Rig) -> None:
    rig.step_s = 10.0
    rig.adopt()
    rig.driver.inject("n0", Fault(kind=FaultKind.NEVER_BOOTS))
    rig.want("n0", Verb.DEPLOY, a_target())
    rig.cycle()
    rig.run(lambda: "retry" in rig.events())
    rig.store.cancel(["n0"], "grace", rig.clock())
    rig.cycle()
    assert (rig.state(), rig.operation().attempt) == (OperationState.CANCELLED, 1)


@pytest.mark.parametrize("brake", ["hold", "quarantine"])
def test_a_brake_that_is_put_on_after_the_plan_was_made_starts_nothing(
    rig: Rig, brake: str
) -> None:
    rig.adopt()
    rig.driver.inject("n0", Fault(kind=FaultKind.SILENT))
    rig.want("n0", Verb.DEPLOY, a_target())
    rig.cycle()
    rig.driver.heal("n0")
    rig.look()
    plan = rig.plan()
    if brake == "hold":
        rig.store.hold(["n0"], "a disk is being changed", "grace", rig.clock())
    else:
        rig.store.quarantine("n0", "it failed", rig.clock())
    report = rig.engine.carry_out(plan, rig.inventory, rig.observed, rig.clock())
    assert (report.admitted, dict(report.waiting_for)) == (0, {"a hold": 1})
    assert rig.state() is OperationState.PENDING
    rig.store.resume(["n0"], "grace", rig.clock())
    rig.settle()
    assert rig.state() is OperationState.ACTIVE


def test_no_operation_is_made_for_a_node_that_is_held_meanwhile(rig: Rig) -> None:
    rig.adopt()
    rig.want("n0", Verb.DEPLOY, a_target())
    rig.look()
    plan = rig.plan()
    assert len(plan.actions) == 1
    rig.store.hold(["n0"], "a disk is being changed", "grace", rig.clock())
    report = rig.engine.carry_out(plan, rig.inventory, rig.observed, rig.clock())
    assert (report.created, rig.store.operations("n0", 9)) == (0, ())


def fails(rig: Rig, times: int) -> None:
    for _ in range(times):
        rig.store.retry_failed(["n0"], "grace", rig.clock())
        rig.cycle()
        rig.run(lambda: not rig.operation().unfinished, within_s=20_000)
        assert rig.state() is OperationState.FAILED, rig.story()


def hasty(rig: Rig, failures: int) -> None:
    rules = replace(
        RULES,
        retries=Retries(attempts_max=1, backoff_min=30, backoff_max=300),
        quarantine=Quarantine(failures=failures),
    )
    rig.inventory = an_inventory([a_node("n0")], rules)
    rig.step_s = 20.0


def test_a_node_that_fails_again_and_again_is_quarantined_with_the_reasons(rig: Rig) -> None:
    hasty(rig, failures=3)
    rig.adopt()
    rig.driver.inject("n0", Fault(kind=FaultKind.NEVER_BOOTS))
    rig.want("n0", Verb.DEPLOY, a_target())
    fails(rig, 2)
    assert remembered(rig).quarantine is None
    fails(rig, 1)
    quarantine = remembered(rig).quarantine
    assert quarantine is not None
    assert quarantine.at == rig.operation().ended_at
    assert quarantine.reason.startswith("3 operations failed in a row; the last: boot: not done")
    assert rig.events()[-2:] == ["failed", "quarantined"]
    assert any("n0: quarantined: 3 operations" in each for each in rig.reports[-1].events)


def test_one_failure_is_enough_where_git_says_so(rig: Rig) -> None:
    hasty(rig, failures=1)
    rig.adopt()
    rig.driver.inject("n0", Fault(kind=FaultKind.NEVER_BOOTS))
    rig.want("n0", Verb.DEPLOY, a_target())
    fails(rig, 1)
    quarantine = remembered(rig).quarantine
    assert quarantine is not None
    assert "the one before" not in quarantine.reason


def test_what_was_cancelled_or_superseded_is_no_failure(rig: Rig) -> None:
    hasty(rig, failures=1)
    rig.adopt()
    for end in ("cancel", "supersede"):
        rig.want("n0", Verb.DEPLOY, a_target())
        rig.run(lambda: rig.operation().unfinished and rig.operation().stage is Stage.BOOT)
        if end == "cancel":
            rig.store.cancel(["n0"], "grace", rig.clock())
        else:
            rig.fates["n0"] = Fate.SUPERSEDE
        rig.run(lambda: not rig.operation().unfinished)
        rig.fates.clear()
        assert remembered(rig).quarantine is None
        assert remembered(rig).failures == 0
        rig.store.retry_failed(["n0"], "grace", rig.clock())


def test_a_success_in_between_counts_from_none_again(rig: Rig) -> None:
    hasty(rig, failures=2)
    rig.adopt()
    for _ in range(3):
        rig.driver.inject("n0", Fault(kind=FaultKind.NEVER_BOOTS))
        rig.want("n0", Verb.DEPLOY, a_target())
        fails(rig, 1)
        rig.driver.heal("n0")
        rig.store.retry_failed(["n0"], "grace", rig.clock())
        rig.settle()
        rig.want("n0", Verb.UNDEPLOY, OFF)
        rig.settle()
    assert remembered(rig).quarantine is None


def test_what_a_plan_found_out_is_remembered_in_the_same_transaction(rig: Rig) -> None:
    rig.adopt()
    rig.want("n0", Verb.DEPLOY, a_target())
    rig.store.hold(["n0"], "a disk is being changed", "grace", rig.clock())
    rollout = Rollout(
        id="5" * 64,
        pool="ci",
        holder="Pool ci",
        template="debian",
        target_digest="d" * 64,
        revision="c" * 40,
        began_at=rig.clock(),
        waves=(("n0",),),
        wave_began_at=rig.clock(),
    )
    rig.look()
    plan = replace(
        rig.plan(), consents=("k1", "k2"), rollouts=(rollout,), holds_in_git=("n0", "n9")
    )
    for _ in range(2):
        rig.engine.carry_out(plan, rig.inventory, rig.observed, rig.clock())
    memory = rig.store.memory()
    assert memory.consents == {"k1", "k2"}
    assert memory.rollouts == {rollout.id: rollout}
    assert memory.nodes["n0"].hold is None
    holds = [line.detail for line in rig.journal("n0") if line.event == "hold"]
    assert holds == ["by grace: a disk is being changed", "git holds it by now"], "once"
    over = replace(rollout, state=RolloutState.DONE)
    unknown = replace(over, id="6" * 64)
    plan = replace(rig.plan(), rollouts=(over, unknown), lapsed=("k1", "never given"))
    rig.engine.carry_out(plan, rig.inventory, rig.observed, rig.clock())
    assert rig.store.memory().rollouts == {}
    assert rig.store.memory().consents == {"k2"}


def test_what_an_operation_belongs_to_is_written_on_it(rig: Rig) -> None:
    rig.adopt()
    powered(rig)
    rig.want("n0", Verb.DEPLOY, a_target())
    rig.look()
    plan = rig.plan()
    actions = tuple(replace(each, rollout="7" * 64) for each in plan.actions)
    began = rig.clock()
    rig.engine.carry_out(replace(plan, actions=actions), rig.inventory, rig.observed, rig.clock())
    made = rig.operation()
    assert (made.rollout, made.disruptive, made.revision) == ("7" * 64, True, "c" * 40)
    assert (made.admitted_at, made.entered_at) == (began, began)
    rig.clock.pass_s(2)
    rig.run(lambda: rig.operation().stage is Stage.BOOT)
    assert rig.operation().admitted_at == began
    assert began < (rig.operation().entered_at or began) <= rig.clock()


def test_a_slot_that_is_given_back_at_once_is_taken_again_at_once(tmp_path: Path) -> None:
    with Rig(tmp_path, nodes=0) as rig:
        rules = replace(RULES, limits=FleetLimits(fleet=1))
        rig.inventory = an_inventory([a_node(f"n{number}") for number in range(5)], rules)
        rig.adopt()
        for name in rig.inventory.nodes:
            rig.want(name, Verb.POWER_OFF, OFF)  # they are off already
        report = rig.cycle()
        assert (report.admitted, report.finished, report.waiting) == (5, 5, 0)


def test_a_machine_that_does_not_answer_neither_blocks_nor_claims(tmp_path: Path) -> None:
    with Rig(tmp_path, nodes=0) as rig:
        rules = replace(RULES, limits=FleetLimits(fleet=1))
        rig.inventory = an_inventory([a_node(f"n{number}") for number in range(3)], rules)
        rig.step_s = 20.0
        rig.adopt()
        rig.driver.inject("n0", Fault(kind=FaultKind.SILENT))
        rig.want("n0", Verb.DEPLOY, a_target(), priority=990)
        rig.run_for(timedelta(hours=3).total_seconds())
        for name in ("n1", "n2"):
            rig.want(name, Verb.DEPLOY, a_target())
        rig.cycle()
        rig.run(lambda: rig.state("n1") is rig.state("n2") is OperationState.ACTIVE)
        assert rig.state("n0") is OperationState.PENDING
        rig.driver.heal("n0")
        rig.settle()
        assert rig.state("n0") is OperationState.ACTIVE
