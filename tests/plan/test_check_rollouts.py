"""`check` refuses a plan whose rollouts break a promise, each promise broken by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from metalwright.model.observed import BootProgress, Power
from metalwright.model.operation import OperationState, Verb
from metalwright.model.plan import BlockedReason, Fate, Plan
from metalwright.model.rollout import Rollout, RolloutState
from metalwright.plan import check, make

from .test_check import recount
from .test_rollout import SOAK, current, edit, fail, keep, made, paused, soak, strategy
from .world import World


def said(world: World, plan: Plan) -> str:
    return "\n".join(check(plan, *world.values()))


def spoiled(world: World, **fields: Any) -> str:
    """What is said of the plan when its one rollout is another."""
    plan = world.plan()
    (rollout,) = plan.rollouts
    return said(world, replace(plan, rollouts=(replace(rollout, **fields),)))


def ungated(world: World) -> Plan:
    """The plan as it would be if no pool rolled anything out."""
    spec = world.fleet.pools["ci"].spec
    pool = world.fleet.pools["ci"]
    world.fleet.pools["ci"] = replace(pool, spec=replace(spec, rollout=None))
    plan = make(*world.values())
    world.fleet.pools["ci"] = pool
    return plan


@pytest.fixture
def world() -> World:
    """The canary of ten nodes is done and has soaked; the second wave may begin."""
    world = made()
    edit(world)
    soak(world)
    assert [action.node for action in world.plan().actions] == ["n-2", "n-3", "n-4", "n-5"]
    return world


# -- whose turn it is ------------------------------------------------------------------------------


def test_what_goes_beside_its_rollout_or_before_its_turn_is_refused(world):
    good, free = world.plan(), ungated(world)
    broken = recount(replace(good, actions=free.actions, blocked=()))
    assert "n-2: is changed beside the rollout of its pool" in said(world, broken)
    (rollout,) = good.rollouts
    actions = tuple(replace(one, rollout=rollout.id) for one in free.actions)
    text = said(world, recount(replace(good, actions=actions, blocked=())))
    assert "n-6: is changed before its turn" in text
    assert "n-5: is changed" not in text
    other = replace(rollout, target_digest="0" * 64)
    broken = replace(good, rollouts=(other,))
    assert "n-2: is changed beside the rollout of its pool" in said(world, broken)


def test_what_is_not_rolled_out_is_not_called_so(world):
    world.fleet.assignment("loan", "ci", "n-10", "other")
    world.commit()
    plan = world.plan()
    actions = tuple(replace(one, rollout=plan.rollouts[0].id) for one in plan.actions)
    assert "n-10: is called part of a rollout" in said(world, replace(plan, actions=actions))


def test_nothing_goes_on_in_a_pause(world):
    rollout = current(world)
    free = ungated(world)
    keep(world, world.plan())
    fail(world, "n-3")
    queued = world.operation("n-5", verb=Verb.REBOOT, rollout=rollout.id)
    world.remember("n-5", operation=queued)
    good = world.plan()
    (action,) = [one for one in free.actions if one.node == "n-2"]
    action = replace(action, rollout=rollout.id)
    blocked = tuple(one for one in good.blocked if one.node != "n-2")
    broken = recount(replace(good, actions=(action,), blocked=blocked))
    assert "n-2: is changed while its rollout is paused" in said(world, broken)
    lines = tuple(replace(one, fate=Fate.CONTINUE) for one in good.in_progress)
    assert "n-5: is queued although its rollout is paused" in said(
        world, replace(good, in_progress=lines)
    )


# -- what became of it -----------------------------------------------------------------------------


def test_a_rollout_is_neither_forgotten_nor_told_twice_nor_exchanged(world):
    plan = world.plan()
    (rollout,) = plan.rollouts
    assert "is forgotten" in said(world, replace(plan, rollouts=()))
    assert "is told of twice" in said(world, replace(plan, rollouts=(rollout, rollout)))
    for fields in ({"pool": "x"}, {"revision": "x"}, {"reverts": True}, {"formers": ("x",)}):
        assert "is another one under the same name" in spoiled(world, **fields)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda world: None, ""),
        (
            lambda world: world.forward(-timedelta(seconds=1)),
            "a wave is passed before it has soaked",
        ),
        (lambda world: world.see("n-1", Power.OFF), "although n-1 is not seen healthy"),
        (lambda world: world.see("n-1", age_s=121), "although n-1 is not seen healthy"),
        (
            lambda world: world.see("n-1", boot_progress=BootProgress.OS_BOOT_STARTED),
            "although n-1 is not seen healthy",
        ),
        (lambda world: world.see("n-1", template_digest="0" * 64), "n-1 is not seen healthy"),
        (lambda world: world.unreachable("n-1"), "although n-1 is not seen healthy"),
        (lambda world: world.interrupted("n-1"), "although n-1 is not done"),
        (
            lambda world: world.remember("n-1", operation=world.operation("n-1")),
            "although n-1 is not done",
        ),
    ],
)
def test_a_gate_that_does_not_hold_is_not_passed(world, change, expected):
    (rollout,) = world.plan().rollouts
    assert rollout.wave == 1
    change(world)
    plan = make(*world.values())
    text = said(world, replace(plan, rollouts=(rollout,)))
    assert expected in text
    assert ("a wave is passed" in text) is bool(expected)


def test_an_observation_from_before_the_end_passes_no_gate():
    world = made(soak=0)
    edit(world)
    world.succeed()
    text = spoiled(world, wave=1)
    assert "although n-1 is not seen healthy" in text


def test_a_last_wave_that_is_not_done_is_no_end(world):
    assert "although n-2 is not done" in spoiled(world, state=RolloutState.DONE, wave=3)


def test_it_neither_goes_back_nor_is_given_up(world):
    keep(world, world.plan())
    assert "goes back by a wave" in spoiled(world, wave=0)
    assert "is given up although git wants it" in spoiled(world, state=RolloutState.SUPERSEDED)


def test_a_pause_ends_with_an_acknowledgement_only(world):
    world = made()
    rollout = paused(world)
    assert "goes on after its pause" in spoiled(world, state=RolloutState.RUNNING)
    assert "forgives what no commit acknowledges" in spoiled(world, forgiven=("n-3",))
    assert "asks for the wrong acknowledgement" in spoiled(world, acknowledgement="0" * 64)
    assert "goes on with 1 failed nodes, 0 may" in spoiled(world, state=RolloutState.RUNNING)
    world.fleet.rules(acknowledge=(rollout.id,))
    world.commit()
    assert said(world, world.plan()) == ""


def test_too_many_failures_stop_it(world):
    keep(world, world.plan())
    assert "goes on with 1 failed nodes, 0 may" in spoiled(world, failed=("n-2",))


def test_without_a_strategy_it_is_over(world):
    plan = world.plan()
    world.fleet.pool("ci", "n-[1-10]", template="rescue")
    assert "goes on without a strategy" in said(world, plan)


# -- how it begins ---------------------------------------------------------------------------------


def merged(rollout: Rollout) -> Rollout:
    first, second, *rest = rollout.waves
    return replace(rollout, waves=((*first, *second), *rest))


BEGINNINGS: list[tuple[Callable[[Rollout], Rollout], str]] = [
    (merged, "begins with more nodes than canaries"),
    (lambda one: replace(one, reverts=True), "is called a revert, and brings nothing back"),
    (lambda one: replace(one, waves=(*one.waves, ("n-1",))), "has a node twice"),
    (lambda one: replace(one, wave=2), "begins in the middle"),
    (lambda one: replace(one, forgiven=("n-1",)), "begins in the middle"),
    (lambda one: replace(one, began_at=one.began_at - SOAK), "is not one that begins now"),
    (lambda one: replace(one, pool="other"), "is not one that begins now"),
]


@pytest.mark.parametrize(("spoil", "expected"), BEGINNINGS, ids=[text for _, text in BEGINNINGS])
def test_a_rollout_begins_as_it_should(spoil, expected):
    world = made()
    edit(world)
    plan = world.plan()
    (rollout,) = plan.rollouts
    assert expected in said(world, replace(plan, rollouts=(spoil(rollout),)))


def test_a_narrow_plan_may_leave_a_rollout_as_it_is(world):
    keep(world, world.plan())
    fail(world, "n-3")
    world.context = replace(world.context, limit_nodes=frozenset({"n-2"}))
    world.fleet.pool("ci", "n-[1-10]", template="rescue", rollout=strategy(failures_max=5))
    assert said(world, world.plan()) == ""
    assert [one.reason for one in world.plan().blocked] == []


def test_what_was_queued_before_the_strategy_came_is_not_begun(world):
    edit(world)
    plan = world.plan()
    world.rollouts = {one.id: one for one in plan.rollouts}
    for name in ("n-2", "n-3"):
        world.remember(name, operation=world.operation(name, verb=Verb.REBOOT))
    world.remember("n-3", operation=replace(world.memory["n-3"].operation, attempt=1))
    plan = world.plan()
    goes_on = tuple(replace(line, fate=Fate.CONTINUE, why="") for line in plan.in_progress)
    told = said(world, replace(plan, in_progress=goes_on))
    assert "n-2: is queued beside the rollout of its pool" in told
    assert "n-3" not in told, "it was tried already"
    world.converged()


def test_a_running_operation_of_a_passed_wave_is_not_withdrawn(world):
    (rollout,) = world.plan().rollouts
    keep(world, world.plan())
    fail(world, "n-3")
    running = world.operation(
        "n-2", state=OperationState.RUNNING, attempt=1, verb=Verb.REBOOT, rollout=rollout.id
    )
    world.interrupted("n-2", operation=running)
    assert world.progress("n-2").fate is Fate.CONTINUE
    assert world.reason("n-4") is BlockedReason.ROLLOUT_PAUSED
    world.converged()
