"""Machines whose power nobody tells: what may be begun for them, and what may not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from metalwright.model.observed import BootProgress, Identity, Power
from metalwright.model.operation import EffectKind, OperationState, Stage, Verb
from metalwright.model.plan import BlockedReason, Cause, Fate
from metalwright.model.policy import BlastRadius
from metalwright.model.tenancy import RolloutStrategy, Waves
from metalwright.plan import check

from ..schedule.fleet import Fleet, image_of  # noqa: TID252 - one fleet for both rooms
from .world import CAPABLE, World

WAKES = frozenset({EffectKind.POWER_ON, EffectKind.SET_BOOT_DEVICE})
WIPES = WAKES | {EffectKind.WIPE}


@pytest.fixture
def world() -> World:
    """One machine that can only be woken, as its pool wants it: on, and nobody says so."""
    fleet = Fleet()
    fleet.node("n-1", driver="wol")
    fleet.template("ci", phone_home=True)
    fleet.template("checked", phone_home=True)
    fleet.template("mute")
    fleet.template("wiped", phone_home=True, wipe="metadata")
    image = image_of("rocky", disk=True)
    fleet.template("installed", phone_home=True, method="disk", image=image)
    fleet.pool("ci", "n-1", power="on", drift="correct", data_loss_consent=True)
    world = World(fleet)
    world.context = replace(CAPABLE, capabilities={"wol": WAKES})
    world.adopt()
    silent(world)
    return world


def silent(world: World) -> None:
    world.see("n-1", Power.UNKNOWN, wakes=True, identity=Identity())


def lend(world: World, template: str) -> None:
    world.fleet.assignment("loan", "ci", "n-1", template)
    world.commit()


def test_silence_is_told_and_wakes_nobody(world: World) -> None:
    blocked = world.blocked("n-1")
    assert (blocked.reason, blocked.cause) == (BlockedReason.NOT_OBSERVED, Cause.DRIFT)
    assert blocked.message == "it has not reported lately, and nothing else tells its power"
    world.converged()


def test_a_machine_that_may_be_off_is_woken_into_what_git_wants(world: World) -> None:
    lend(world, "ci")
    action = world.action("n-1")
    assert (action.verb, action.stages) == (Verb.DEPLOY, (Stage.BOOT,))
    assert not action.disruptive
    assert not action.destroys_data


def test_the_same_machine_with_a_driver_that_should_know_is_left_alone(world: World) -> None:
    lend(world, "ci")
    world.context = replace(CAPABLE, capabilities={"wol": frozenset(EffectKind)})
    world.see("n-1", Power.UNKNOWN)
    assert world.blocked("n-1").reason is BlockedReason.NOT_OBSERVED


@pytest.mark.parametrize("template", ["wiped", "installed", "mute"])
def test_nothing_destructive_and_nothing_unheard_is_begun(world: World, template: str) -> None:
    """Whatever the driver can do; a system that does not report is never seen to have come up."""
    lend(world, template)
    for able in (WAKES, WIPES, frozenset(EffectKind)):
        world.context = replace(CAPABLE, capabilities={"wol": able})
        blocked = world.blocked("n-1")
        reasons = (BlockedReason.NOT_SUPPORTED, BlockedReason.NOT_OBSERVED)
        assert blocked.reason in reasons
    assert blocked.reason is BlockedReason.NOT_OBSERVED


def test_a_machine_that_reported_cannot_be_switched_off(world: World) -> None:
    lend(world, "ci")
    world.see("n-1", Power.ON, wakes=True, boot_progress=BootProgress.OS_RUNNING)
    blocked = world.blocked("n-1")
    assert blocked.reason is BlockedReason.NOT_SUPPORTED
    assert blocked.message == (
        "driver wol cannot soft power off, which spec.method: netboot of template ci needs;"
        " shut it down by hand"
    )


def test_one_that_was_planned_in_silence_is_taken_back_when_the_machine_speaks(
    world: World,
) -> None:
    lend(world, "ci")
    operation = world.operation(
        "n-1", stages=(Stage.BOOT,), disruptive=False, state=OperationState.PENDING
    )
    world.memory["n-1"] = replace(world.memory["n-1"], operation=operation)
    assert world.plan().in_progress[0].fate is Fate.CONTINUE
    world.see("n-1", Power.ON, wakes=True)
    assert world.plan().in_progress[0].fate is Fate.CANCEL


def test_the_check_refuses_what_is_not_only_waking(world: World) -> None:
    lend(world, "ci")
    plan = world.plan()
    (action,) = plan.actions
    for wrong in (
        replace(action, stages=(Stage.POWER_OFF, Stage.BOOT)),
        replace(action, disruptive=True),
    ):
        assert check(replace(plan, actions=(wrong,)), *world.values())
    lend(world, "mute")
    mute = replace(action, target=world.desired().nodes["n-1"].target)
    found = check(replace(plan, actions=(mute,)), *world.values())
    assert any("is changed on unknown power" in violation for violation in found)


@pytest.mark.parametrize("rolled", [False, True])
def test_machines_that_are_only_woken_do_not_count_as_disrupted(rolled: bool) -> None:
    """Three of them and an ordinary one take an edited template, at once or in waves."""
    fleet = Fleet()
    fleet.node("n-[1-3]", driver="wol")
    fleet.node("n-4")
    fleet.template("ci", phone_home=True)
    waves = RolloutStrategy(waves=Waves(nodes=1), canaries=0) if rolled else None
    fleet.pool("ci", "n-[1-4]", template="ci", rollout=waves)
    fleet.rules(blast_radius=BlastRadius(nodes_max=1))
    world = World(fleet)
    world.context = replace(CAPABLE, capabilities={**CAPABLE.capabilities, "wol": WAKES})
    world.adopt()
    for number in (1, 2, 3):
        world.see(f"n-{number}", Power.UNKNOWN, wakes=True, identity=Identity())
    fleet.template("ci", phone_home=True, kernel_args=("edited",))
    world.commit()
    assert len(world.plan().actions) == (1 if rolled else 4)
    fleet.freeze("exams", selector="n-[1-2]", until=world.now + timedelta(hours=1))
    world.commit()
    assert world.reason("n-4") is BlockedReason.BLAST_RADIUS, "who knows what those two do then"


def test_an_old_silence_is_no_better_than_any_other_old_observation(world: World) -> None:
    lend(world, "ci")
    world.now += timedelta(hours=5)
    assert world.blocked("n-1").reason is BlockedReason.STALE_OBSERVATION
