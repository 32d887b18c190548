"""The text of a plan, as people read it. `REWRITE_GOLDEN=1` writes the expected texts anew."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from metalwright.model.hardware import Hold, Lifecycle
from metalwright.model.noderange import unfold
from metalwright.model.observed import Power
from metalwright.model.operation import LocalHold, OperationState, Quarantined, Stage, Verb
from metalwright.model.plan import Plan
from metalwright.model.policy import BlastRadius
from metalwright.model.tenancy import RolloutStrategy, Waves
from metalwright.plan import attribute, render_text

from ..schedule.fleet import (  # noqa: TID252 - one fleet for both rooms
    T0,
    Fleet,
    commit_of,
    hours,
    image_of,
)
from .world import World

GOLDEN = Path(__file__).parent / "golden"


def lab() -> World:
    """Forty machines that rest switched off and eight that run a rescue system, in three racks."""
    fleet = Fleet()
    for rack, names in (("a01", "r640-[01-16]"), ("a02", "r640-[17-32]"), ("a03", "r640-[33-48]")):
        fleet.node(names, labels={"rack": rack})
    fleet.template("base", kernel_args=("console=ttyS0",))
    fleet.template("ci", "base", kernel_args=("console=ttyS0", "quiet"))
    fleet.template("rescue", "base", kernel_args=("console=ttyS0",))
    fleet.template("installed", method="disk", image=image_of("rocky", disk=True), wipe="metadata")
    fleet.pool("ci", "r640-[01-40]", power="off", drift="correct")
    fleet.pool("rescue", "r640-[41-48]", template="rescue")
    fleet.rules(limits={"fleet": 8, "labels": {"rack": 3}})
    world = World(fleet)
    world.adopt()
    return world


def as_desired() -> World:
    return lab()


def first_commit() -> World:
    """Nobody was adopted yet."""
    world = lab()
    world.memory.clear()
    return world


def lending() -> World:
    """A commit lends machines for three purposes, one of which destroys data."""
    world = lab()
    world.fleet.assignment("nightly", "ci", "r640-[01-06] r640-09", "ci", owner="CI team")
    world.fleet.assignment("db", "ci", "r640-[17-18]", "installed", owner="DB team", priority=700)
    world.fleet.assignment("sick", "rescue", "r640-48", "ci")
    world.fleet.lifecycle("r640-48", Lifecycle.BROKEN)
    world.see("r640-05", Power.ON)
    world.commit()
    return world


def template_edit() -> World:
    """One argument in the base template: eight reboots, and live assignments that wait."""
    world = lending()
    world.succeed()
    world.fleet.template("base", kernel_args=("console=ttyS1",))
    world.fleet.template("ci", "base", kernel_args=("console=ttyS1", "quiet"))
    world.fleet.template("rescue", "base", kernel_args=("console=ttyS1",))
    world.commit()
    return world


def blast_radius() -> World:
    """The same edit where only four machines may be disrupted at once."""
    world = template_edit()
    world.fleet.rules(blast_radius=BlastRadius(nodes_max=4, percent_max=50))
    world.see("r640-20", Power.ON)
    return world


def many_reasons() -> World:
    """One machine for nearly every reason to leave it alone."""
    world = lab()
    fleet = world.fleet
    for number in (1, 2, 3, 4, 5):
        fleet.node(f"r640-{number:02d}", driver="ipmi" if number == 1 else "fake")
    fleet.template("wiped", wipe="full")
    fleet.assignment("unsupported", "ci", "r640-01", "wiped")
    fleet.assignment("failing", "ci", "r640-[02-03]", "ci")
    fleet.assignment("frozen", "ci", "r640-04", "ci")
    fleet.freeze("exams", selector="r640-04", until=T0 + hours(30), reason="No reboots in exams")
    fleet.template("rescue", method="local", wipe="discard")
    world.commit()
    for name in ("r640-02", "r640-03"):
        failed = world.operation(
            name,
            state=OperationState.FAILED,
            stage=Stage.BOOT,
            attempt=3,
            last_error="not running after 20m",
        )
        world.interrupted(name, failed=failed)
    world.unreachable("r640-06")
    world.unreachable("r640-07")
    world.unreachable("r640-08", "wrong password for \x1b[31mroot")
    world.see("r640-41", Power.OFF, age_s=900)
    world.see("r640-42", identity=replace(world.observed["r640-42"].reading.identity, serial="X"))
    del world.memory["r640-10"]
    world.fleet.lifecycle("r640-48", Lifecycle.RETIRED)
    return world


def under_way() -> World:
    """Operations that go on, wait, and give way, with slots held and a limit that is full."""
    world = lending()
    running = {"state": OperationState.RUNNING, "attempt": 1}
    for name, stage in (("r640-01", Stage.BOOT), ("r640-02", Stage.BOOT), ("r640-03", Stage.WIPE)):
        wipes = stage is Stage.WIPE
        operation = world.operation(name, stage=stage, destroys_data=wipes, **running)
        world.remember(name, operation=operation)
    retried = world.operation(
        "r640-17", attempt=2, not_before=T0 + hours(1), last_error="timeout: no answer within 5s"
    )
    world.remember("r640-17", operation=retried)
    world.remember("r640-33", operation=world.operation("r640-33", verb=Verb.POWER_OFF, **running))
    world.fleet.assignment("hurry", "ci", "r640-33", "ci", priority=900)
    world.slots = {"fleet": 4, "label/rack=a01": 3, "label/rack=a03": 1}
    world.commit()
    return world


def rewritten() -> World:
    world = template_edit()
    world.context = replace(world.context, abandoned_revision="abcdef" * 6 + "abcd")
    return world


def rolling_out() -> World:
    """A template edit that goes out in waves: one pool soaks, one is paused, one goes back; nodes
    are held here, in git and in quarantine.
    """
    world = lab()
    fleet = world.fleet
    strategy = RolloutStrategy(canaries=1, waves=Waves(nodes=3))
    for pool, names in (("a", "r640-[01-08]"), ("b", "r640-[09-16]"), ("c", "r640-[41-48]")):
        fleet.template(f"run-{pool}")
        fleet.pool(pool, names, template=f"run-{pool}", rollout=strategy)
    del fleet.pools["rescue"]
    fleet.pool("ci", "r640-[17-40]", power="off", drift="correct")
    world.adopt()
    for pool in "abc":
        fleet.template(f"run-{pool}", kernel_args=("quiet",))
    world.commit()
    world.succeed()
    world.forward(timedelta(minutes=5))
    world.see("r640-09", Power.OFF, age_s=0)
    world.succeed()
    fleet.template("run-c")
    held = replace(fleet.nodes["r640-20"].spec, hold=Hold(reason="cabling"))
    fleet.nodes["r640-20"] = replace(fleet.nodes["r640-20"], spec=held)
    here = LocalHold(reason="fan swap", by="ada", at=T0)
    world.remember("r640-20", hold=here)
    world.remember("r640-21", hold=here)
    world.remember("r640-22", quarantine=Quarantined(reason="3 operations failed", at=T0))
    fleet.rules(blast_radius=BlastRadius(nodes_max=4))
    world.commit()
    digest = world.plan().change_digest
    fleet.rules(blast_radius=BlastRadius(nodes_max=4), acknowledge=(digest,))
    world.commit()
    return world


def drift_only() -> World:
    world = lab()
    world.see("r640-20", Power.ON)
    world.see("r640-41", Power.OFF)
    world.unreachable("r640-30")
    return world


SCENES: list[Callable[[], World]] = [
    as_desired,
    first_commit,
    lending,
    template_edit,
    blast_radius,
    many_reasons,
    under_way,
    rewritten,
    rolling_out,
    drift_only,
]


def planned(world: World) -> Plan:
    subject = commit_of(world.revision, "Lend machines to CI and DB")
    return attribute(world.plan(), lambda paths, since: subject if paths else None, lambda at: at)


def compare(name: str, text: str) -> None:
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("REWRITE_GOLDEN"):
        path.write_text(text + "\n", encoding="utf-8")
    assert text + "\n" == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_the_text_of_a_plan(scene):
    world = scene()
    compare(scene.__name__, render_text(planned(world)))
    if scene is not rewritten:
        world.converged()


def test_the_text_with_every_node_by_itself():
    compare("lending_in_detail", render_text(planned(lending()), detail=True))


def test_the_text_on_a_narrow_terminal():
    text = render_text(planned(lending()), width=60)
    compare("lending_narrow", text)
    assert max(len(line) for line in text.splitlines()) <= 60


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_lines_are_no_longer_than_they_have_to_be(scene, width):
    for line in render_text(planned(scene()), width=width).splitlines():
        assert len(line) <= width or len(max(line.split(), key=len)) > width - 12


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_colour_only_adds_to_the_text(scene):
    plan = planned(scene())
    plain, colored = render_text(plan), render_text(plan, color=True)
    assert "\x1b" not in plain
    assert "\x1b[" in colored
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == plain


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_every_node_of_the_plan_is_in_the_text(scene):
    plan = planned(scene())
    lines = render_text(plan, width=10_000).splitlines()
    named: list[str] = []
    for line in lines:
        if re.fullmatch(r" {6}r640-\S+", line):
            named += [
                name for part in re.split(r",(?![^\[]*\])", line.strip()) for name in unfold(part)
            ]
    expected = [one.node for one in (*plan.actions, *plan.in_progress, *plan.blocked)]
    assert sorted(named) == sorted(expected)


def test_two_thousand_equal_changes_are_one_block():
    fleet = Fleet()
    fleet.node("n-[0001-2500]")
    fleet.template("rescue")
    fleet.pool("ci", "n-[0001-2500]", template="rescue")
    world = World(fleet)
    world.adopt()
    fleet.template("rescue", kernel_args=("quiet",))
    world.commit()
    world.unreachable("n-0007")
    text = render_text(planned(world))
    assert "~ reboot: 2499 nodes\n      n-[0001-0006,0008-2500]\n" in text
    assert len(text.splitlines()) < 30


def test_names_that_do_not_fold_are_cut_and_say_so():
    fleet = Fleet()
    names = [f"host{chr(97 + number % 26)}{chr(97 + number // 26)}x" for number in range(400)]
    for name in names:
        fleet.node(name)
    fleet.template("rescue")
    fleet.pool("ci", names[0], template="rescue")
    spec = fleet.pools["ci"].spec
    fleet.pools["ci"] = replace(fleet.pools["ci"], spec=replace(spec, nodes=tuple(names)))
    text = render_text(World(fleet).plan())
    assert "NOT_ADOPTED: 400 nodes" in text
    assert "... all of them with --format json" in text
    assert "`mw adopt NODE`" in text
    assert len(text.splitlines()) < 20


def test_what_was_only_not_seen_is_not_called_drift() -> None:
    world = lab()
    world.unreachable("r640-30")
    assert render_text(world.plan()).startswith("NOT OBSERVED: 1 left alone")
    world.see("r640-41", Power.OFF)
    assert render_text(world.plan()).startswith("DRIFT: 2 left alone")
