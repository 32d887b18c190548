"""What waits in the queue is looked at again: hours may lie between a plan and the first effect."""

from __future__ import annotations

from dataclasses import replace

import pytest

from metalwright.model.observed import BootProgress, Power
from metalwright.model.operation import OperationState, Verb
from metalwright.model.plan import BlockedReason, Fate
from metalwright.model.policy import BlastRadius

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
