"""What one tenant left on the disks never gets into the hands of another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from metalwright.history import explain
from metalwright.model.operation import OperationState, Stage, Verb
from metalwright.model.plan import BlockedReason, Fate
from metalwright.plan import check

from ..schedule.fleet import T0, Fleet, hours, image_of  # noqa: TID252 - one fleet for both rooms
from .world import World


@pytest.fixture
def world() -> World:
    """Alice had an installed machine, which rests switched off since."""
    fleet = Fleet()
    fleet.node("n-[1-2]")
    fleet.template("local", method="local")
    fleet.template("live")
    fleet.template("installed", method="disk", image=image_of("rocky", disk=True))
    fleet.template("wiped", wipe="metadata")
    fleet.pool("ci", "n-[1-2]", power="off")
    world = World(fleet)
    world.adopt()
    when = {"start": T0 - hours(2)}
    fleet.assignment("loan", "ci", "n-1", "installed", when=when)
    world.commit()
    world.nothing_left()
    rest(world)
    return world


def rest(world: World) -> None:
    world.fleet.assignments.clear()
    world.commit()
    world.nothing_left()


def lend(world: World, owner: str, template: str = "local") -> None:
    world.fleet.assignment(f"for-{owner}", "ci", "n-1", template, owner=owner)
    world.commit()


@pytest.mark.parametrize("template", ["local", "live", "installed"])
def test_a_machine_that_nothing_wipes_does_not_go_to_another_tenant(world, template):
    """Neither an image that is installed nor a system in memory erases all that was there."""
    lend(world, "bob", template)
    line = world.blocked("n-1")
    assert (line.reason, line.verb) == (BlockedReason.NOT_WIPED, Verb.DEPLOY)
    assert line.message == (
        "its disks may hold data of alice (assignment/loan since 2026-11-20T06:00:00Z), and nothing"
        f" wipes them before bob gets it: give template {template} a wipe, or let the tenants of"
        " pool ci have each other's disks (reuse: unwiped)"
    )
    world.converged()
    assert world.reason("n-1") is BlockedReason.NOT_WIPED, "time alone changes nothing"


def test_a_wipe_on_the_way_lets_it_go_to_another_tenant_who_is_the_next_to_be_remembered(world):
    lend(world, "bob", "wiped")
    assert Stage.WIPE in world.action("n-1").stages
    world.nothing_left()
    rest(world)
    lend(world, "alice")
    assert "data of bob (assignment/for-bob)" in world.blocked("n-1").message


def test_the_same_owner_may_have_it_back_as_it_is(world):
    lend(world, "alice")
    assert world.action("n-1").verb is Verb.DEPLOY
    world.nothing_left()


def test_a_node_that_nobody_had_goes_to_anybody(world):
    world.fleet.assignment("first", "ci", "n-2", "local", owner="bob")
    world.commit()
    assert world.action("n-2").verb is Verb.DEPLOY


def test_a_pool_may_say_that_its_tenants_have_each_others_disks(world):
    world.fleet.pool("ci", "n-[1-2]", power="off", reuse="unwiped")
    lend(world, "bob")
    assert world.action("n-1").verb is Verb.DEPLOY
    world.nothing_left()


@pytest.mark.parametrize(("resting", "free"), [("live", False), ("wiped", True)])
def test_the_pool_rests_its_own_system_on_it_and_only_a_wipe_of_its_own_frees_it(
    world, resting, free
):
    world.fleet.pool("ci", "n-[1-2]", template=resting, data_loss_consent=True)
    world.commit()
    assert world.action("n-1").verb is Verb.DEPLOY
    world.nothing_left()
    lend(world, "bob")
    if free:
        assert world.action("n-1").verb is Verb.DEPLOY
    else:
        assert world.reason("n-1") is BlockedReason.NOT_WIPED


def test_what_is_on_the_disks_is_remembered_when_all_else_of_it_is_not(world):
    before = world.memory["n-1"].tenant
    world.remember("n-1", applied=None)
    lend(world, "bob")
    assert world.memory["n-1"].tenant == before
    assert world.reason("n-1") is BlockedReason.NOT_WIPED


def test_an_assignment_whose_owner_is_edited_keeps_its_machine(world):
    lend(world, "alice")
    world.nothing_left()
    world.fleet.assignment("for-alice", "ci", "n-1", "local", owner="alice and bob")
    world.commit()
    world.interrupted("n-1")
    assert world.action("n-1").verb is Verb.REBOOT
    world.nothing_left()
    assert world.memory["n-1"].tenant.owner == "alice and bob"


def test_an_assignment_that_was_edited_to_another_owner_while_it_had_nothing_is_another_one(world):
    """Its name alone does not make a tenancy: the machine was with the pool in between."""
    world.fleet.assignment("loan", "ci", "n-1", "local", owner="bob")
    world.commit()
    assert world.reason("n-1") is BlockedReason.NOT_WIPED


def test_who_comes_back_after_another_tenant_was_booted_does_not_get_that_ones_data(world):
    """Bob's operation booted his system on alice's machine, and was reverted."""
    lend(world, "alice")
    world.nothing_left()
    mine = world.memory["n-1"].tenant
    world.interrupted("n-1", tenant=replace(mine, name="for-bob", owner="bob"))
    assert world.reason("n-1") is BlockedReason.NOT_WIPED


@pytest.mark.parametrize("state", [OperationState.PENDING, OperationState.RUNNING])
def test_an_operation_that_may_not_hand_it_on_any_more_gives_way_before_it_boots(world, state):
    world.fleet.pool("ci", "n-[1-2]", power="off", reuse="unwiped")
    lend(world, "bob")
    world.remember("n-1", operation=world.operation("n-1", state=state))
    goes_on = world.plan()
    assert goes_on.in_progress[0].fate is Fate.CONTINUE
    world.fleet.pool("ci", "n-[1-2]", power="off")
    line = world.plan().in_progress[0]
    fates = {OperationState.PENDING: Fate.CANCEL, OperationState.RUNNING: Fate.SUPERSEDE}
    assert (line.fate, line.why[:33]) == (fates[state], "its disks may hold data of alice ")
    said = check(goes_on, *world.values())
    assert "n-1: goes on into other hands with a tenant's data on its disks" in said


def test_a_plan_that_hands_it_on_as_it_is_is_refused(world):
    world.fleet.pool("ci", "n-[1-2]", power="off", reuse="unwiped")
    lend(world, "bob")
    plan = world.plan()
    assert check(plan, *world.values()) == ()
    world.fleet.pool("ci", "n-[1-2]", power="off")
    assert "n-1: goes to bob with another tenant's data on its disks" in check(
        plan, *world.values()
    )


def test_an_account_of_the_node_says_whose_data_is_there(world):
    desired, observed, memory, _ = world.values()
    account = explain("n-1", desired, observed, memory, world.plan())
    assert account.done.endswith(
        "; data of alice (assignment/loan) may be on its disks, which were not wiped since"
    )
    assert "data of" not in explain("n-2", desired, observed, memory, world.plan()).done
