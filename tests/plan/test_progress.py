"""What waits in the queue is looked at again: hours may lie between a plan and the first effect."""

from __future__ import annotations

from dataclasses import replace

import pytest

from metalwright.model.observed import BootProgress, Power
from metalwright.model.operation import Effect, EffectKind, OperationState, Stage, Verb
from metalwright.model.plan import BlockedReason, Fate
from metalwright.model.policy import BlastRadius
from metalwright.plan import check, make

from ..schedule.fleet import Fleet  # noqa: TID252 - one fleet for both rooms
from .world import World


@pytest.fixture
def world() -> World:
    """Three nodes that run a rescue system; drift is corrected."""
    fleet = Fleet()
    fleet.node("n-[1-3]")
    fleet.template("rescue")
    fleet.pool("ci", "n-[1-3]", template="rescue", drift="correct")
    world = World(fleet)
    world.adopt()
    return world


def queued(world: World, name: str, **fields: object) -> None:
    """What the engine makes of the plan's action, waiting for a slot."""
    action = world.action(name)
    given = {"verb": action.verb, "disruptive": action.disruptive, "stages": action.stages}
    world.remember(name, operation=world.operation(name, **(given | fields)))


def test_machines_that_were_off_and_run_by_now_are_counted_before_they_are_taken_down(world):
    """Power came back to a rack, and the machines with it, while their restarts waited."""
    names = ("n-1", "n-2", "n-3")
    for name in names:
        world.see(name, Power.OFF)
    world.fleet.template("rescue", kernel_args=("edited",))
    world.fleet.rules(blast_radius=BlastRadius(nodes_max=2))
    world.commit()
    assert [one.disruptive for one in world.plan().actions] == [False] * 3
    for name in names:
        queued(world, name)
        assert world.progress(name).fate is Fate.CONTINUE
    for name in names:
        world.see(name, Power.ON)
    assert {one.fate for one in world.plan().in_progress} == {Fate.CANCEL}
    assert world.progress("n-1").why == "it was off when this was planned, and runs by now"
    for name in names:
        world.remember(name, operation=None)
    for name in names:
        assert world.reason(name) is BlockedReason.BLAST_RADIUS


def test_a_machine_that_only_does_not_answer_keeps_its_place(world):
    world.see("n-1", Power.OFF)
    world.fleet.template("rescue", kernel_args=("edited",))
    world.commit()
    queued(world, "n-1")
    world.unreachable("n-1")
    assert world.progress("n-1").fate is Fate.CONTINUE
    world.see("n-1", Power.ON)
    begun = replace(world.memory["n-1"].operation, attempt=1)
    world.interrupted("n-1", operation=begun)
    assert world.progress("n-1").fate is Fate.CONTINUE, "what runs there is of our own making"


@pytest.mark.parametrize("state", [OperationState.PENDING, OperationState.RUNNING])
def test_drift_that_went_away_by_itself_is_not_corrected(world, state):
    world.see("n-1", boot_progress=BootProgress.OS_RUNNING, template_digest="f" * 64)
    assert world.action("n-1").verb is Verb.REBOOT
    queued(world, "n-1", corrects=True, state=state)
    assert world.progress("n-1").fate is Fate.CONTINUE
    world.unreachable("n-1")
    assert world.progress("n-1").fate is Fate.CONTINUE, "nobody knows"
    digest = world.fleet.templates["rescue"].digest
    world.see("n-1", boot_progress=BootProgress.OS_RUNNING, template_digest=digest)
    pending = state is OperationState.PENDING
    assert world.progress("n-1").fate is (Fate.CANCEL if pending else Fate.CONTINUE)
    world.nothing_left()


@pytest.fixture
def lent() -> World:
    """Two nodes that rest in a rescue system and are lent out, to be wiped before."""
    fleet = Fleet()
    fleet.node("n-[1-2]")
    fleet.template("rescue")
    fleet.template("fresh", kernel_args=("fresh",), wipe="full")
    fleet.pool("ci", "n-[1-2]", template="rescue")
    world = World(fleet)
    world.adopt()
    fleet.assignment("loan", "ci", "n-[1-2]", "fresh")
    world.commit()
    return world


def under_way(world: World, **fields: object) -> None:
    """The first node is lent out already, as far as `fields` say."""
    queued(world, "n-1", destroys_data=world.action("n-1").destroys_data, **fields)


def starts_anew(world: World, fate: Fate, level: str, *, wipes: bool) -> None:
    """The operation gives way, and what is planned instead does what git says."""
    line = world.progress("n-1")
    assert (line.fate, line.why) == (fate, level)
    world.remember("n-1", operation=None)
    action = world.action("n-1")
    assert (action.destroys_data, Stage.WIPE in action.stages) == (wipes, wipes)
    world.nothing_left()


QUEUED = {"state": OperationState.PENDING}
RETRIED = {"state": OperationState.PENDING, "attempt": 1}
SWITCHED_OFF = {"state": OperationState.RUNNING, "attempt": 1, "stage": Stage.POWER_OFF}
ABOUT_TO_WIPE = {"state": OperationState.RUNNING, "attempt": 1, "stage": Stage.WIPE}


@pytest.mark.parametrize("so_far", [QUEUED, RETRIED, SWITCHED_OFF, ABOUT_TO_WIPE])
def test_what_has_not_wiped_yet_does_not_once_git_says_so(lent, so_far):
    under_way(lent, **so_far)
    assert lent.progress("n-1").fate is Fate.CONTINUE
    assert lent.progress("n-1").destroys_data
    lent.fleet.template("fresh", kernel_args=("fresh",))
    lent.commit()
    pending = so_far["state"] is OperationState.PENDING
    fate = Fate.CANCEL if pending else Fate.SUPERSEDE
    starts_anew(lent, fate, "git wants wipe: none by now, not full", wipes=False)


@pytest.mark.parametrize("so_far", [QUEUED, RETRIED, SWITCHED_OFF])
def test_what_would_not_wipe_does_once_git_says_so(lent, so_far):
    lent.fleet.template("fresh", kernel_args=("fresh",))
    lent.commit()
    under_way(lent, **so_far)
    assert not lent.progress("n-1").destroys_data
    lent.fleet.template("fresh", kernel_args=("fresh",), wipe="metadata")
    lent.commit()
    pending = so_far["state"] is OperationState.PENDING
    fate = Fate.CANCEL if pending else Fate.SUPERSEDE
    starts_anew(lent, fate, "git wants wipe: metadata by now, not none", wipes=True)


@pytest.mark.parametrize("stage", [Stage.WIPE, Stage.BOOT])
def test_a_wipe_that_was_begun_is_finished_as_it_was_begun(lent, stage):
    wipe = Effect(kind=EffectKind.WIPE, argument="full")
    under_way(lent, state=OperationState.RUNNING, attempt=1, stage=stage, intent=wipe)
    lent.interrupted("n-1")
    lent.fleet.template("fresh", kernel_args=("fresh",))
    lent.commit()
    assert lent.progress("n-1").fate is Fate.CONTINUE


@pytest.mark.parametrize("so_far", [QUEUED, SWITCHED_OFF])
def test_a_node_that_went_back_to_where_nothing_consents_is_not_wiped(so_far):
    """Its former pool rests in the same template by now: there a restart brings it."""
    fleet = Fleet()
    fleet.node("n-[1-2]")
    fleet.template("rescue")
    fleet.template("fresh", kernel_args=("fresh",), wipe="full")
    fleet.pool("ci", "n-[1-2]", template="rescue")
    world = World(fleet)
    world.adopt()
    fleet.pool("ci", "n-2", template="rescue")
    fleet.pool("scratch", "n-1", template="fresh", data_loss_consent=True)
    world.commit()
    under_way(world, **so_far)
    del fleet.pools["scratch"]
    fleet.pool("ci", "n-[1-2]", template="fresh")
    world.commit()
    line = world.progress("n-1")
    assert line.fate is (Fate.CANCEL if so_far is QUEUED else Fate.SUPERSEDE)
    assert line.why == "what git wants by now destroys no data"
    values = world.values()
    plan = make(*values)
    goes_on = replace(plan, in_progress=(replace(line, fate=Fate.CONTINUE, why=""),))
    said = "n-1: goes on to treat the disks as git does not want any more"
    assert (said in check(goes_on, *values)) is (so_far is QUEUED)
    world.remember("n-1", operation=None)
    assert world.action("n-1").verb is Verb.REBOOT
    world.nothing_left()


def test_a_plan_that_lets_another_wipe_go_on_or_hides_one_is_refused(lent):
    under_way(lent, **SWITCHED_OFF)
    values = lent.values()
    plan = make(*values)
    hidden = replace(plan, in_progress=(replace(plan.in_progress[0], destroys_data=False),))
    assert check(hidden, *values) == ("n-1: says the wrong thing about data loss",)
    lent.fleet.template("fresh", kernel_args=("fresh",))
    lent.commit()
    values = lent.values()
    plan = make(*values)
    line = replace(plan.in_progress[0], fate=Fate.CONTINUE, why="")
    said = check(replace(plan, in_progress=(line,)), *values)
    assert said == ("n-1: goes on to treat the disks as git does not want any more",)


def test_a_queued_change_that_needs_another_verb_by_now_is_planned_anew(world):
    world.fleet.template("rescue", kernel_args=("edited",))
    world.commit()
    queued(world, "n-1", verb=Verb.REBUILD)
    line = world.progress("n-1")
    assert (line.fate, line.why) == (
        Fate.CANCEL,
        "to be as git wants it, it needs reboot by now",
    )
