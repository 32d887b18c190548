"""Why one node is as it is: the words for brakes and rollouts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from metalwright.history import explain
from metalwright.model.hardware import Hold
from metalwright.model.operation import OperationState, Quarantined, Verb

from ..plan.test_rollout import edit, fail, keep, made, soak  # noqa: TID252 - one world for both
from ..plan.world import World  # noqa: TID252 - one world for both


def verdict(world: World, name: str) -> str:
    desired, observed, memory, _ = world.values()
    return explain(name, desired, observed, memory, world.plan()).verdict


def done(world: World, name: str) -> str:
    desired, observed, memory, _ = world.values()
    return explain(name, desired, observed, memory, world.plan()).done


def test_a_held_node_is_as_desired_and_kept_so() -> None:
    world = made()
    node = world.fleet.nodes["n-1"]
    world.fleet.nodes["n-1"] = replace(node, spec=replace(node.spec, hold=Hold(reason="cabling")))
    world.commit()
    assert verdict(world, "n-1") == "as desired, and kept so: HELD: held in git: cabling"
    edit(world)
    assert verdict(world, "n-1").startswith("left alone: HELD: held in git: cabling")


def test_a_quarantine_names_the_command_and_the_commit_that_end_it() -> None:
    world = made()
    edit(world)
    at = world.now - timedelta(hours=1)
    world.remember("n-5", quarantine=Quarantined(reason="no link", at=at), failures=3)
    assert verdict(world, "n-5") == (
        "left alone: QUARANTINED: in quarantine since 2026-11-20T07:00:00Z: no link; mend it and"
        " `mw resume n-5`, or commit to the Node: lifecycle: broken"
    )
    assert done(world, "n-5").endswith("; 3 operations in a row failed")
    world.remember("n-5", applied=None, failures=1)
    assert done(world, "n-5").endswith("what it carries is not known; 1 operation in a row failed")


def test_a_node_is_told_with_the_rollout_that_it_is_part_of() -> None:
    world = made()
    edit(world)
    assert verdict(world, "n-1") == (
        "to be changed: reboot, starts now; in wave 1 of 4 of the rollout of rescue"
        " (running at wave 1)"
    )
    world.succeed()
    soaks = "(running at wave 1, soaks until 2026-11-20T08:05:00Z)"
    assert verdict(world, "n-1") == f"as desired; in wave 1 of 4 of the rollout of rescue {soaks}"
    assert verdict(world, "n-7") == (
        "left alone: ROLLOUT_WAITS: wave 3 of 4: wave 1 soaks until 2026-11-20T08:05:00Z"
        f"; in wave 3 of 4 of the rollout of rescue {soaks}"
    )
    soak(world, timedelta(minutes=5))
    keep(world, world.plan())
    rollout = next(iter(world.rollouts.values()))
    running = world.operation(
        "n-2", verb=Verb.REBOOT, state=OperationState.RUNNING, attempt=1, rollout=rollout.id
    )
    world.interrupted("n-2", operation=running)
    assert verdict(world, "n-2").endswith(
        "in wave 2 of 4 of the rollout of rescue (running at wave 2)"
    )
    fail(world, "n-3")
    assert verdict(world, "n-3").endswith("; it failed")
    assert "(paused at wave 2, 1 failed (n-3)" in verdict(world, "n-3")
