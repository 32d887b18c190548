"""Holds, quarantine and cancelled operations: nothing starts there, and what runs gives way."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from metalwright.model.hardware import Hold
from metalwright.model.observed import Power
from metalwright.model.operation import LocalHold, OperationState, Quarantined, Verb
from metalwright.model.plan import BlockedReason, Cause, Fate, Plan
from metalwright.model.policy import BlastRadius
from metalwright.plan import check, exit_code
from metalwright.plan.verdict import verdict

from ..schedule.fleet import T0, Fleet, hours  # noqa: TID252 - one fleet for both rooms
from .test_check import recount, without
from .world import World

HERE = LocalHold(reason="fan swap", by="ada", at=T0 - hours(2))
QUARANTINE = Quarantined(reason="3 operations in a row failed: no link", at=T0 - hours(1))


@pytest.fixture
def world() -> World:
    """Four nodes that run a rescue system; drift is corrected."""
    fleet = Fleet()
    fleet.node("n-[1-4]")
    fleet.template("rescue")
    fleet.pool("ci", "n-[1-4]", template="rescue", drift="correct")
    world = World(fleet)
    world.adopt()
    return world


def edit(world: World) -> None:
    world.fleet.template("rescue", kernel_args=("edited",))
    world.commit()


def in_git(world: World, name: str, **hold: object) -> None:
    node = world.fleet.nodes[name]
    given = Hold(**({"reason": "cabling"} | hold))
    world.fleet.nodes[name] = replace(node, spec=replace(node.spec, hold=given))
    world.commit()


def brake(world: World, how: str, name: str = "n-1") -> None:
    if how == "git":
        in_git(world, name)
    elif how == "here":
        world.remember(name, hold=HERE)
    else:
        world.remember(name, quarantine=QUARANTINE)


BRAKES = [
    ("git", BlockedReason.HELD, "held in git: cabling"),
    (
        "here",
        BlockedReason.HELD,
        "held by ada since 2026-11-20T06:00:00Z: fan swap; `mw resume NODE` lets it go",
    ),
    (
        "quarantine",
        BlockedReason.QUARANTINED,
        (
            "in quarantine since 2026-11-20T07:00:00Z: 3 operations in a row failed: no link;"
            " mend it and `mw resume NODE`, or commit to the Node: lifecycle: broken"
        ),
    ),
]


@pytest.mark.parametrize(("how", "reason", "message"), BRAKES, ids=["git", "here", "quarantine"])
def test_a_node_with_a_brake_on_starts_nothing_that_git_wants(world, how, reason, message):
    brake(world, how)
    edit(world)
    line = world.blocked("n-1")
    assert (line.reason, line.verb, line.cause) == (reason, Verb.REBOOT, Cause.GIT)
    assert line.message.startswith(message)
    assert [one.node for one in world.plan().actions] == ["n-2", "n-3", "n-4"]
    world.converged()
    assert world.reason("n-1") is reason


@pytest.mark.parametrize(("how", "reason", "message"), BRAKES, ids=["git", "here", "quarantine"])
def test_its_drift_is_not_corrected_either(world, how, reason, message):
    brake(world, how)
    world.see("n-1", Power.OFF)
    line = world.blocked("n-1")
    assert (line.reason, line.verb, line.cause) == (reason, Verb.POWER_ON, Cause.DRIFT)
    assert exit_code(world.plan()) == 4
    world.converged()


@pytest.mark.parametrize(("how", "reason", "message"), BRAKES, ids=["git", "here", "quarantine"])
def test_a_brake_is_told_of_although_nothing_is_to_be_done(world, how, reason, message):
    brake(world, how)
    plan = world.plan()
    line = world.blocked("n-1")
    assert (line.reason, line.verb, line.cause) == (reason, None, None)
    assert (exit_code(plan), verdict(plan)) == (0, "AS DESIRED")
    assert (plan.totals.as_desired, plan.totals.blocked) == (3, 1)
    world.converged()


def test_a_held_node_that_does_not_answer_is_not_called_as_desired(world):
    brake(world, "here")
    world.unreachable("n-1")
    line = world.blocked("n-1")
    assert line.reason is BlockedReason.HELD
    assert line.message.endswith("besides: timeout: no answer within 5s")
    assert line.cause is Cause.DRIFT
    assert exit_code(world.plan()) == 4
    world.converged()


@pytest.mark.parametrize(
    ("state", "fate"),
    [(OperationState.PENDING, Fate.CANCEL), (OperationState.RUNNING, Fate.SUPERSEDE)],
)
@pytest.mark.parametrize("rewritten", [False, True], ids=["", "rewritten"])
@pytest.mark.parametrize("how", ["git", "here", "quarantine"])
def test_what_is_under_way_gives_way(world, how, rewritten, state, fate):
    edit(world)
    brake(world, how)
    world.remember("n-1", operation=world.operation("n-1", state=state, verb=Verb.REBOOT))
    if rewritten:
        world.context = replace(world.context, abandoned_revision="a" * 40)
    line = world.progress("n-1")
    assert line.fate is fate
    assert line.why == world_words(world, how)
    world.converged()
    assert world.memory["n-1"].operation is None


def world_words(world: World, how: str) -> str:
    return {
        "git": "held in git: cabling",
        "here": "held by ada since 2026-11-20T06:00:00Z: fan swap; `mw resume NODE` lets it go,"
        " or declare the hold in git (spec.hold)",
        "quarantine": BRAKES[2][2],
    }[how]


def test_a_hold_until_an_instant_ends_by_itself(world):
    in_git(world, "n-1", until=T0 + hours(1))
    edit(world)
    line = world.blocked("n-1")
    assert line.message == "held in git until 2026-11-20T09:00:00Z: cabling"
    assert line.next_attempt_at == T0 + hours(1)
    world.converged()
    world.forward(hours(1))
    assert world.action("n-1").verb is Verb.REBOOT
    world.nothing_left()


def test_git_takes_over_a_hold_that_was_put_on_here(world):
    brake(world, "here")
    assert world.plan().holds_in_git == ()
    in_git(world, "n-1")
    assert world.plan().holds_in_git == ("n-1",)
    assert world.blocked("n-1").message == "held in git: cabling"
    world.succeed()
    assert world.memory["n-1"].hold is None
    assert world.plan().holds_in_git == ()
    world.converged()


def test_a_hold_of_git_that_ends_leaves_the_one_that_was_put_on_here(world):
    brake(world, "here")
    in_git(world, "n-1", until=T0 + hours(1))
    edit(world)
    plan = world.plan()
    assert plan.holds_in_git == ()
    line = world.blocked("n-1")
    assert line.message.startswith(
        "held in git until 2026-11-20T09:00:00Z: cabling; besides: held by ada since"
    )
    assert line.next_attempt_at is None, "the end of git's hold lets nothing go"
    world.succeed()
    world.forward(hours(2))
    assert world.blocked("n-1").message.startswith("held by ada since")
    wrong = replace(world.plan(), holds_in_git=("n-1",))
    assert "n-1: says the wrong thing about a hold" in complaints(world, wrong)
    world.converged()


def test_a_quarantine_outlives_what_git_wants_and_every_hold(world):
    brake(world, "quarantine")
    brake(world, "here")
    in_git(world, "n-1")
    edit(world)
    assert world.reason("n-1") is BlockedReason.QUARANTINED
    assert world.plan().holds_in_git == ("n-1",)
    world.converged()


def test_a_held_node_is_part_of_the_change_that_a_commit_acknowledges(world):
    edit(world)
    world.fleet.rules(blast_radius=BlastRadius(nodes_max=3))
    digest = world.plan().change_digest
    assert world.plan().totals.by_blocked == {"BLAST_RADIUS": 4}
    brake(world, "here")
    assert world.plan().change_digest == digest
    brake(world, "quarantine", "n-2")
    assert world.plan().change_digest != digest, "like a failed one, it waits for a person"
    world.converged()


def test_a_cancelled_operation_waits_like_a_failed_one(world):
    edit(world)
    cancelled = world.operation(
        "n-1", state=OperationState.CANCELLED, verb=Verb.REBOOT, cancelled_by="ada"
    )
    world.remember("n-1", failed=cancelled)
    line = world.blocked("n-1")
    assert line.reason is BlockedReason.OPERATION_CANCELLED
    assert line.message == (
        "reboot was cancelled by ada; `mw retry NODE` begins it again, or commit a change"
    )
    world.converged()
    assert world.reason("n-1") is BlockedReason.OPERATION_CANCELLED
    world.fleet.template("rescue", kernel_args=("another",))
    world.commit()
    assert world.action("n-1").verb is Verb.REBOOT
    world.nothing_left()


# -- what `check` says of plans that forget it ----------------------------------------------------


def complaints(world: World, plan: Plan) -> str:
    return "\n".join(check(plan, *world.values()))


@pytest.mark.parametrize("how", ["git", "here", "quarantine"])
def test_check_refuses_actions_and_operations_that_go_on(world, how):
    edit(world)
    world.remember("n-2", operation=world.operation("n-2", state=OperationState.RUNNING))
    plan = world.plan()
    brake(world, how, "n-1")
    brake(world, how, "n-2")
    plan = replace(plan, revision=world.inventory().revision)
    said = complaints(world, plan)
    called = "in quarantine" if how == "quarantine" else "held"
    assert f"n-1: is changed although it is {called}" in said
    assert f"n-2: goes on although it is {called}" in said
    world.converged()


@pytest.mark.parametrize("how", ["git", "here", "quarantine"])
def test_check_refuses_to_keep_quiet_about_a_brake(world, how):
    brake(world, how)
    said = complaints(world, without(world.plan(), "n-1"))
    assert "and the plan does not say so" in said
    world.converged()


def test_check_refuses_to_drop_a_hold_that_git_does_not_have_or_to_keep_one_that_it_has(world):
    brake(world, "here")
    plan = replace(world.plan(), holds_in_git=("n-1",))
    assert "n-1: says the wrong thing about a hold" in complaints(world, plan)
    in_git(world, "n-1")
    plan = recount(replace(world.plan(), holds_in_git=()))
    assert "n-1: says the wrong thing about a hold" in complaints(world, plan)
    world.forward(timedelta(seconds=1))
    world.converged()
