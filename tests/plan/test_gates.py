"""What stops a plan as a whole, and the order and forecast of what it does not stop."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from metalwright.model.natural import natural
from metalwright.model.observed import Power
from metalwright.model.operation import OperationState, Verb
from metalwright.model.plan import BlockedReason, Cause, Fate, LimitUse
from metalwright.model.policy import BlastRadius
from metalwright.model.tenancy import PoolLimits
from metalwright.plan import exit_code, render_text
from metalwright.plan.scale import allowed

from ..schedule.fleet import T0, Fleet, hours  # noqa: TID252 - one fleet for both rooms
from .world import World


@pytest.fixture
def world() -> World:
    """Ten nodes that run a rescue system, in two racks; drift is corrected."""
    fleet = Fleet()
    fleet.node("n-[1-5]", labels={"rack": "a01"})
    fleet.node("n-[6-10]", labels={"rack": "a02"})
    fleet.template("rescue")
    fleet.template("ci")
    fleet.pool("ci", "n-[1-10]", template="rescue", drift="correct")
    world = World(fleet)
    world.adopt()
    return world


def edit(world: World, *args: str) -> None:
    """Edit the template that all ten run: ten reboots."""
    world.fleet.template("rescue", kernel_args=args or ("edited",))
    world.commit()


def radius(world: World, *acknowledge: str, **limits: int) -> None:
    world.fleet.rules(blast_radius=BlastRadius(**limits), acknowledge=acknowledge)
    world.commit()


# -- blast radius ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "managed", "expected"),
    [
        ({}, 100, None),
        ({"nodes_max": 7}, 100, 7),
        ({"percent_max": 10}, 100, 10),
        ({"percent_max": 10}, 99, 9),
        ({"percent_max": 10}, 9, 1),
        ({"percent_max": 0}, 9, 1),
        ({"nodes_max": 7, "percent_max": 10}, 100, 7),
        ({"nodes_max": 70, "percent_max": 10}, 100, 10),
    ],
)
def test_the_smaller_limit_holds_and_a_percentage_is_one_node_at_least(limits, managed, expected):
    assert allowed(BlastRadius(**limits), managed) == expected


@pytest.mark.parametrize("limits", [{"nodes_max": 10}, {"percent_max": 100}, {}])
def test_as_many_as_allowed_go_on(world, limits):
    edit(world)
    radius(world, **limits)
    assert world.plan().totals.changes == 10
    world.nothing_left()


@pytest.mark.parametrize("limits", [{"nodes_max": 9}, {"percent_max": 99}, {"percent_max": 10}])
def test_one_more_than_allowed_stops_all_of_them(world, limits):
    edit(world)
    radius(world, **limits)
    plan = world.plan()
    assert plan.actions == ()
    assert plan.totals.by_blocked == {"BLAST_RADIUS": 10}
    assert f"acknowledge: [{plan.change_digest[:12]}]" in world.blocked("n-1").message
    assert world.blocked("n-1").verb is Verb.REBOOT
    assert exit_code(plan) == 3
    world.converged()


@pytest.mark.parametrize("digits", [12, 40, 64])
def test_a_commit_that_acknowledges_the_digest_lets_them_go(world, digits):
    edit(world)
    radius(world, nodes_max=3)
    digest = world.plan().change_digest
    radius(world, digest[:digits], nodes_max=3)
    assert world.plan().change_digest == digest, "the acknowledgement is another commit"
    assert world.plan().totals.changes == 10
    world.nothing_left()


@pytest.mark.parametrize("acknowledges", [False, True])
def test_nodes_that_answer_one_by_one_do_not_slip_under_the_radius(world, acknowledges):
    edit(world)
    radius(world, nodes_max=3)
    digest = world.plan().change_digest
    if acknowledges:
        radius(world, digest, nodes_max=3)
    seen, world.observed = world.observed, {}
    for number in range(1, 11):
        world.observed[f"n-{number}"] = seen[f"n-{number}"]
        plan = world.plan()
        assert len(plan.actions) == (number if acknowledges else 0)
        if not acknowledges:
            assert world.blocked("n-1").message.startswith("10 nodes would be disrupted at once")
        assert plan.change_digest == digest
    world.converged()


def test_drift_that_is_found_node_by_node_does_not_slip_under_the_radius(world):
    world.fleet.pool("ci", "n-[1-10]", power="off", drift="correct")
    world.commit()
    world.adopt()
    radius(world, nodes_max=3)
    world.observed = {}
    for number in (1, 2):
        world.see(f"n-{number}", Power.ON)
    assert world.plan().totals.by_blocked == {"BLAST_RADIUS": 2, "NOT_OBSERVED": 8}
    for number in range(3, 10):
        world.see(f"n-{number}", Power.OFF)
    world.unreachable("n-10")
    assert [action.node for action in world.plan().actions] == ["n-1", "n-2"]


def test_an_acknowledgement_is_for_these_changes_only(world):
    edit(world)
    radius(world, nodes_max=3)
    radius(world, world.plan().change_digest, nodes_max=3)
    edit(world, "another")
    assert world.plan().totals.by_blocked == {"BLAST_RADIUS": 10}
    world.converged()


def test_the_digest_does_not_depend_on_who_answers_or_sleeps_just_now(world):
    edit(world)
    radius(world, nodes_max=3)
    digest = world.plan().change_digest
    world.unreachable("n-1")
    world.see("n-2", age_s=900)
    world.see("n-3", Power.OFF)
    world.fleet.freeze("night", selector="n-4", until=T0 + hours(1))
    world.fleet.nodes["n-5"] = replace(
        world.fleet.nodes["n-5"], spec=replace(world.fleet.nodes["n-5"].spec, serial="S-swapped")
    )
    assert world.plan().change_digest == digest
    reasons = world.plan().totals.by_blocked
    assert reasons["BLAST_RADIUS"] == 5, "n-3 is off, so booting it disrupts nothing"
    radius(world, digest, nodes_max=3)
    assert len(world.plan().actions) == 6
    world.converged()


def test_what_disrupts_nothing_is_not_held_back(world):
    edit(world)
    radius(world, nodes_max=2)
    for number in range(1, 8):
        world.see(f"n-{number}", Power.OFF)
    plan = world.plan()
    assert len(plan.actions) == 7
    assert not any(action.disruptive for action in plan.actions)
    assert plan.totals.by_blocked == {"BLAST_RADIUS": 3}
    world.converged()


def test_corrections_of_drift_count_and_have_a_digest_of_their_own(world):
    world.fleet.pool("ci", "n-[1-10]", power="off", drift="correct")
    world.adopt()
    radius(world, nodes_max=3)
    for number in range(1, 5):
        world.see(f"n-{number}", Power.ON)
    plan = world.plan()
    assert plan.actions == ()
    assert plan.totals.by_blocked == {"BLAST_RADIUS": 4}
    assert plan.change_digest == "", "git wants nothing"
    blocked = world.blocked("n-1")
    assert blocked.cause is Cause.DRIFT
    digest = blocked.message.partition("acknowledge: [")[2][:12]
    radius(world, digest, nodes_max=3)
    assert len(world.plan().actions) == 4
    world.nothing_left()


def test_drift_does_not_make_the_acknowledgement_of_a_commit_void(world):
    edit(world)
    radius(world, nodes_max=3)
    radius(world, world.plan().change_digest, nodes_max=3)
    world.fleet.node("m-1")
    world.fleet.pool("off", "m-1", power="off", drift="correct")
    world.adopt("m-1")
    world.see("m-1", Power.ON)
    plan = world.plan()
    assert len(plan.actions) == 11, "what was acknowledged does not count any more"
    assert len(plan.consents) == 10
    assert plan.blocked == ()
    world.nothing_left()


# -- history --------------------------------------------------------------------------------------

ABANDONED = "abcdef0123456789abcdef0123456789abcdef01"


def test_a_rewritten_history_starts_nothing(world):
    edit(world)
    world.see("n-3", Power.OFF)
    world.remember("n-1", operation=world.operation("n-1"))
    world.remember("n-2", operation=world.operation("n-2", state=OperationState.RUNNING))
    edit(world, "rewritten")
    world.context = replace(world.context, abandoned_revision=ABANDONED)
    plan = world.plan()
    assert plan.actions == ()
    assert plan.totals.by_blocked == {"HISTORY_REWRITTEN": 8}
    assert "acknowledge: [abcdef012345]" in world.blocked("n-3").message
    assert plan.abandoned_revision == ABANDONED
    assert world.progress("n-1").fate is Fate.CANCEL
    assert world.progress("n-2").fate is Fate.CONTINUE, "it ends what it was begun for"
    assert exit_code(plan) == 3
    world.succeed()
    assert world.plan().actions == ()


def test_a_rewritten_history_that_changes_nothing_still_asks(world):
    world.context = replace(world.context, abandoned_revision=ABANDONED)
    plan = world.plan()
    assert plan.blocked == ()
    assert plan.abandoned_revision == ABANDONED
    assert exit_code(plan) == 3
    world.converged()


@pytest.mark.parametrize("given", [ABANDONED[:12], ABANDONED])
def test_a_commit_that_acknowledges_the_abandoned_one_lets_it_go(world, given):
    edit(world)
    world.context = replace(world.context, abandoned_revision=ABANDONED)
    world.fleet.rules(acknowledge=(given,))
    world.commit()
    assert world.plan().abandoned_revision is None
    assert len(world.plan().actions) == 10
    world.nothing_left()


def test_an_acknowledgement_of_another_commit_does_not(world):
    edit(world)
    world.context = replace(world.context, abandoned_revision=ABANDONED)
    world.fleet.rules(acknowledge=("0" * 12, ABANDONED[1:20]))
    assert world.reason("n-1") is BlockedReason.HISTORY_REWRITTEN
    world.converged()


def test_a_node_that_is_recorded_at_a_later_commit_is_not_brought_back(world):
    later = "ab" * 20
    world.remember("n-1", applied=replace(world.memory["n-1"].applied, revision=later))
    edit(world)
    assert len(world.plan().actions) == 10
    world.context = replace(world.context, later_revisions=frozenset({later}))
    plan = world.plan()
    assert plan.totals.by_blocked == {"OLDER_REVISION": 1}
    assert "it is as abababababab wants it" in world.blocked("n-1").message
    assert len(plan.actions) == 9
    assert exit_code(plan) == 2


# -- order and forecast ---------------------------------------------------------------------------


def test_names_are_in_the_order_that_people_count_in():
    names = ["n10", "n2", "n02", "n1", "n", "a-2b10", "a-2b9", "10", "9"]
    assert sorted(names, key=natural) == [
        "9",
        "10",
        "a-2b9",
        "a-2b10",
        "n",
        "n1",
        "n02",
        "n2",
        "n10",
    ]


def test_the_highest_priority_is_admitted_first_then_by_name(world):
    world.fleet.assignment("low", "ci", "n-1", "ci", priority=100)
    world.fleet.assignment("high", "ci", "n-10 n-9", "ci", priority=900)
    edit(world)
    names = [one.node for one in world.plan().actions]
    assert names == ["n-9", "n-10", *(f"n-{number}" for number in range(2, 9)), "n-1"]
    world.nothing_left()


def test_what_starts_now_fits_every_limit_beside_what_is_held(world):
    world.fleet.pool("ci", "n-[1-10]", template="rescue", limits=PoolLimits(in_flight=6))
    world.fleet.rules(limits={"fleet": 8, "labels": {"rack": 3}})
    edit(world)
    world.slots = {"fleet": 2, "pool/ci": 2, "label/rack=a01": 2, "label/rack=gone": 1, "pool/x": 1}
    plan = world.plan()
    starting = [one.node for one in plan.actions if one.starts_now]
    assert starting == ["n-1", "n-6", "n-7", "n-8"], (
        "a01 has one slot left, a02 three, the pool four"
    )
    assert plan.totals.starts_now == 4
    assert plan.limits == (
        LimitUse(scope="fleet", limit=8, held=2),
        LimitUse(scope="label/rack=a01", limit=3, held=2),
        LimitUse(scope="label/rack=a02", limit=3, held=0),
        LimitUse(scope="label/rack=gone", limit=3, held=1),
        LimitUse(scope="pool/ci", limit=6, held=2),
    )
    world.nothing_left()


def test_operations_that_wait_already_are_served_before_new_ones_of_their_priority(world):
    edit(world)
    world.fleet.rules(limits={"fleet": 3})
    world.fleet.assignment("high", "ci", "n-9", "ci", priority=900)
    world.commit()
    later = {"not_before": T0 + hours(1), "attempt": 1}
    earlier = T0 - timedelta(seconds=1)
    waits = world.operation("n-8", verb=Verb.REBOOT, created_at=earlier)
    world.remember("n-8", operation=waits)
    world.remember("n-7", operation=world.operation("n-7", **later))
    plan = world.plan()
    assert [one.node for one in plan.actions if one.starts_now] == ["n-9", "n-1"]
    assert world.progress("n-7").not_before == T0 + hours(1)
    world.nothing_left()


def test_the_forecast_shares_slots_between_pools_by_their_weight(world):
    world.fleet.node("m-[1-10]")
    heavy = PoolLimits(weight=2)
    world.fleet.pool("batch", "m-[1-10]", template="rescue", limits=heavy)
    world.commit()
    world.adopt()
    edit(world)
    world.fleet.rules(limits={"fleet": 9})
    starting = [one.node for one in world.plan().actions if one.starts_now]
    assert starting == ["m-1", "m-2", "m-3", "m-4", "m-5", "m-6", "n-1", "n-2", "n-3"]
    busy = world.operation("n-10", state=OperationState.RUNNING, attempt=1)
    world.remember("n-10", operation=busy)
    world.slots = {"fleet": 1}
    starting = [one.node for one in world.plan().actions if one.starts_now]
    assert [name[0] for name in starting].count("n") == 2, "it holds one already"
    world.slots = {}
    world.nothing_left()


def test_reserved_slots_are_told_as_lanes_with_their_words(world):
    edit(world)
    world.fleet.rules(limits={"fleet": 5, "reserved": {"releases": 1, "operators": 2}})
    plan = world.plan()
    assert plan.totals.starts_now == 2
    assert [(use.scope, use.limit) for use in plan.limits] == [
        ("fleet", 5),
        ("lane/not-operator", 3),
        ("lane/not-release", 4),
        ("lane/ordinary", 2),
    ]
    assert (
        "Slots held: fleet 0/5, all but operators' 0/3, all but releases 0/4, ordinary 0/2"
        in render_text(plan)
    )
    world.nothing_left()


# -- exit codes -----------------------------------------------------------------------------------


def test_exit_codes_say_what_a_plan_comes_to(world):
    assert exit_code(world.plan()) == 0
    world.unreachable("n-1")
    assert exit_code(world.plan()) == 4, "not known is not as desired"
    world.see("n-2", Power.OFF)
    assert exit_code(world.plan()) == 4
    del world.memory["n-3"]
    assert exit_code(world.plan()) == 2
    world.adopt("n-3")
    world.remember("n-4", operation=world.operation("n-4"))
    assert exit_code(world.plan()) == 2
    edit(world)
    assert exit_code(world.plan()) == 2
    world.fleet.template("rescue", method="local", wipe="full")
    world.commit()
    assert exit_code(world.plan()) == 3
    world.converged()
