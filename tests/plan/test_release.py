"""The stage of validation in a plan, the release of assignments, and who could replace whom."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from metalwright.model.checks import Check, Ping, Ssh
from metalwright.model.hardware import Hold, Lifecycle, Properties
from metalwright.model.observed import Health, Identity, Power
from metalwright.model.operation import LocalHold, OperationState, Quarantined, Stage, Verb
from metalwright.model.tenancy import Release as Rule
from metalwright.model.tenancy import Replacement
from metalwright.plan import Release, releases, replacements
from metalwright.plan.verbs import stages_of

from ..schedule.fleet import Fleet  # noqa: TID252 - one fleet for both rooms
from .world import World

PING, SSH = Check(name="ping", ping=Ping()), Check(name="ssh", ssh=Ssh())


def lab(*, checks: tuple[Check, ...] = (PING,), **assignment: Any) -> World:
    """Pool `lab` of n1 to n6; `bench` has n1 to n4, with a template that has checks."""
    fleet = Fleet()
    fleet.node("n[1-6]")
    fleet.template("live")
    fleet.template("tested", kernel_args=("tested",), validation=checks)
    fleet.pool("lab", "n[1-6]", template="live")
    fleet.assignment("bench", "lab", "n[1-4]", "tested", **assignment)
    return World(fleet)


def pool(world: World, **spec: Any) -> None:
    declared = world.fleet.pools["lab"]
    world.fleet.pools["lab"] = replace(declared, spec=replace(declared.spec, **spec))


def released(world: World, **unpassed: str) -> tuple[Release, ...]:
    desired, _observed, memory, _context = world.values()
    return releases(desired, memory, world.plan(), unpassed)


def swaps(world: World) -> dict[str, str]:
    desired, observed, memory, _context = world.values()
    return dict(replacements(desired, observed, memory))


@pytest.mark.parametrize(
    ("verb", "validates"),
    [
        (Verb.DEPLOY, True),
        (Verb.REBUILD, True),
        (Verb.REBOOT, True),
        (Verb.UNDEPLOY, False),
        (Verb.POWER_ON, False),
        (Verb.POWER_OFF, False),
    ],
)
def test_what_boots_something_new_is_validated_last(verb: Verb, validates: bool) -> None:
    target = lab().desired().nodes["n1"].target
    bare, checked = stages_of(verb, target), stages_of(verb, target, checked=True)
    assert checked == ((*bare, Stage.VALIDATING) if validates else bare)


def test_a_plan_validates_where_the_template_or_the_pool_has_checks() -> None:
    world = lab()
    world.adopt(rebuild=True)
    assert Stage.VALIDATING in world.action("n1").stages
    assert Stage.VALIDATING not in world.action("n5").stages
    pool(world, validation=(SSH,))
    world.commit()
    assert world.action("n5").stages == (Stage.POWER_OFF, Stage.BOOT, Stage.VALIDATING)
    world.nothing_left()


def test_an_edited_check_changes_no_machine() -> None:
    world = lab()
    world.adopt()
    world.fleet.template("tested", kernel_args=("tested",), validation=(PING, SSH))
    pool(world, validation=(SSH,))
    world.commit()
    assert world.plan().actions == ()


def test_an_operation_goes_on_when_its_checks_are_edited() -> None:
    world = lab()
    world.adopt()
    running = world.operation("n1", state=OperationState.RUNNING, stage=Stage.VALIDATING)
    world.interrupted("n1", operation=running)
    world.fleet.template("tested", kernel_args=("tested",), validation=(SSH,))
    world.commit()
    assert world.progress("n1").fate.value == "continue"


def test_an_assignment_is_released_when_its_last_node_is_ready() -> None:
    world = lab()
    world.adopt(rebuild=True)
    (before,) = released(world)
    assert (before.ready, before.needed, before.since) == (0, 4, None)
    assert {each.why for each in before.missing} == {"to change: deploy"}
    for number, name in enumerate(("n3", "n1", "n4", "n2"), 1):
        world.forward(timedelta(minutes=1))
        world._done(name)
        (now,) = released(world)
        assert now.ready == number
    assert now == Release(
        assignment="bench", nodes=4, ready=4, needed=4, since=world.now, missing=()
    )


@pytest.mark.parametrize(
    ("quorum", "of_pool", "needed"),
    [(50, None, 2), (51, None, 3), (1, None, 1), (None, 75, 3), (100, 25, 4), (None, None, 4)],
)
def test_a_quorum_is_rounded_up_and_the_assignments_own_counts_first(
    quorum: int | None, of_pool: int | None, needed: int
) -> None:
    world = lab(**({"release": Rule(quorum=quorum)} if quorum is not None else {}))
    pool(world, release_quorum=of_pool)
    world.adopt(rebuild=True)
    times = []
    for name in ("n1", "n2", "n3", "n4"):
        world.forward(timedelta(minutes=1))
        world._done(name)
        times.append(world.now)
        (now,) = released(world)
        assert now.needed == needed
        enough = len(times) >= needed
        assert now.since == (times[needed - 1] if enough else None)


def test_what_is_missing_is_told_with_the_words_of_the_checks() -> None:
    world = lab()
    world.adopt()
    running = world.operation("n1", state=OperationState.RUNNING, stage=Stage.VALIDATING, attempt=2)
    world.interrupted("n1", operation=running)
    failed = world.operation("n2", state=OperationState.FAILED, last_error="validating: ssh: no")
    world.interrupted("n2", failed=failed)
    told = {each.node: each.why for each in released(world)[0].missing}
    assert told == {
        "n1": "deploy: validating, attempt 2",
        "n2": "OPERATION_FAILED: validating: ssh: no",
    }
    told = {each.node: each.why for each in released(world, n1="ping: no answer")[0].missing}
    assert told["n1"] == "validating: ping: no answer"


def test_only_assignments_with_something_to_pass_are_told() -> None:
    assert released(lab(checks=())) == ()
    assert len(released(lab(checks=(), release=Rule(quorum=50)))) == 1
    world = lab(checks=())
    pool(world, validation=(SSH,))
    assert len(released(world)) == 1
    later = lab(when={"start": world.now + timedelta(hours=1)})
    assert released(later) == ()


def test_a_node_that_is_not_managed_is_missing() -> None:
    world = lab()
    world.adopt()
    world.fleet.lifecycle("n2", Lifecycle.BROKEN)
    world.commit()
    (now,) = released(world)
    assert (now.ready, now.nodes, now.since) == (3, 4, None)
    assert [each.node for each in now.missing] == ["n2"]


def failing(world: World, *names: str) -> World:
    world.adopt()
    for name in names:
        world.remember(name, quarantine=Quarantined(reason="checks", at=world.now))
    return world


def test_a_failed_node_is_replaced_by_the_first_free_one_and_two_by_two() -> None:
    assert swaps(lab()) == {}
    assert swaps(failing(lab(), "n2")) == {"n2": "n5"}
    assert swaps(failing(lab(), "n4", "n2")) == {"n2": "n5", "n4": "n6"}
    assert swaps(failing(lab(), "n1", "n2", "n3")) == {"n1": "n5", "n2": "n6"}


def test_a_failed_node_at_rest_needs_none() -> None:
    assert swaps(failing(lab(), "n5")) == {}


def test_one_that_git_calls_broken_needs_one() -> None:
    world = failing(lab())
    world.fleet.lifecycle("n3", Lifecycle.BROKEN)
    world.commit()
    assert swaps(world) == {"n3": "n5"}


def test_a_pool_may_do_without_suggestions() -> None:
    world = lab()
    pool(world, replacement=Replacement.NONE)
    assert swaps(failing(world, "n2")) == {}


def _held_here(world: World) -> None:
    world.remember("n5", hold=LocalHold(reason="fan", by="ada", at=world.now))


def _held_in_git(world: World) -> None:
    node = world.fleet.nodes["n5"]
    world.fleet.nodes["n5"] = replace(node, spec=replace(node.spec, hold=Hold(reason="fan")))


def _quarantined(world: World) -> None:
    world.remember("n5", quarantine=Quarantined(reason="checks", at=world.now))


def _failed(world: World) -> None:
    world.remember("n5", failed=world.operation("n5", state=OperationState.FAILED))


def _busy(world: World) -> None:
    world.remember("n5", operation=world.operation("n5"))


def _silent(world: World) -> None:
    world.unreachable("n5")


def _stale(world: World) -> None:
    world.see("n5", age_s=1_000)


def _sick(world: World) -> None:
    world.see("n5", health=Health.CRITICAL)


def _unknown(world: World) -> None:
    world.see("n5", Power.UNKNOWN)


def _another(world: World) -> None:
    world.see("n5", identity=Identity(serial="S-other"))


def _not_adopted(world: World) -> None:
    del world.memory["n5"]


def _broken(world: World) -> None:
    world.fleet.lifecycle("n5", Lifecycle.BROKEN)


def _other_model(world: World) -> None:
    node = world.fleet.nodes["n5"]
    other = replace(node.spec, properties=Properties(model="R740"))
    world.fleet.nodes["n5"] = replace(node, spec=other)


def _booked_later(world: World) -> None:
    later = {"start": world.now + timedelta(days=1)}
    world.fleet.assignment("next", "lab", "n5", "live", when=later)


@pytest.mark.parametrize(
    "change",
    [
        _held_here,
        _held_in_git,
        _quarantined,
        _failed,
        _busy,
        _silent,
        _stale,
        _sick,
        _unknown,
        _another,
        _not_adopted,
        _broken,
        _other_model,
        _booked_later,
    ],
)
def test_who_is_not_free_well_and_alike_is_passed_over(change: Any) -> None:
    world = failing(lab(), "n2")
    change(world)
    world.commit()
    assert swaps(world) == {"n2": "n6"}


def test_a_booking_that_is_over_does_not_count() -> None:
    world = lab()
    past = {"start": world.now - timedelta(days=2), "end": world.now - timedelta(days=1)}
    world.fleet.assignment("former", "lab", "n5", "live", when=past)
    assert swaps(failing(world, "n2")) == {"n2": "n5"}
