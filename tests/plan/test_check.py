"""`check` finds every broken promise, in plans that are broken by hand one promise at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from metalwright.model.digest import digest_of
from metalwright.model.hardware import Lifecycle
from metalwright.model.observed import Identity, Power
from metalwright.model.operation import OperationState, Stage, Verb
from metalwright.model.plan import Action, Blocked, BlockedReason, Cause, Fate, Plan, Reason
from metalwright.model.policy import BlastRadius
from metalwright.plan import check, make
from metalwright.plan.make import Totals

from ..schedule.fleet import (  # noqa: TID252 - one fleet for both rooms
    T0,
    Fleet,
    commit_of,
    hours,
    image_of,
)
from .world import World


@pytest.fixture
def world() -> World:
    """Six nodes: two to deploy, one busy, one drifting, one unreachable, one as desired."""
    fleet = Fleet()
    fleet.node("n-[1-6]")
    fleet.template("ci")
    fleet.template("wiped", wipe="full")
    fleet.pool("ci", "n-[1-6]", power="off", drift="correct")
    world = World(fleet)
    world.adopt()
    fleet.assignment("loan", "ci", "n-1", "wiped", priority=700)
    fleet.assignment("work", "ci", "n-2", "ci")
    world.commit()
    busy = world.operation("n-3", verb=Verb.POWER_OFF, state=OperationState.RUNNING)
    world.remember("n-3", operation=busy)
    world.see("n-4", Power.ON)
    world.unreachable("n-5")
    return world


def violations(world: World, plan: Plan) -> str:
    return "\n".join(check(plan, *world.values()))


def recount(plan: Plan) -> Plan:
    """The plan with totals that are those of its lines, so that only what is meant is broken."""

    def counted(words: list[str]) -> dict[str, int]:
        return {word: words.count(word) for word in words}

    totals: Totals = replace(
        plan.totals,
        changes=len(plan.actions),
        in_progress=len(plan.in_progress),
        blocked=len(plan.blocked),
        disruptive=sum(one.disruptive for one in plan.actions),
        destroying=sum(one.destroys_data for one in plan.actions),
        starts_now=sum(one.starts_now for one in plan.actions),
        by_verb=counted([one.verb.value for one in plan.actions]),
        by_blocked=counted([one.reason.value for one in plan.blocked]),
    )
    lines = totals.changes + totals.in_progress + totals.blocked
    return replace(plan, totals=replace(totals, as_desired=totals.nodes - lines))


def with_action(plan: Plan, node: str, **fields: Any) -> Plan:
    actions = [replace(one, **fields) if one.node == node else one for one in plan.actions]
    return recount(replace(plan, actions=tuple(actions)))


def with_progress(plan: Plan, **fields: Any) -> Plan:
    return replace(plan, in_progress=tuple(replace(one, **fields) for one in plan.in_progress))


def without(plan: Plan, node: str) -> Plan:
    return recount(
        replace(
            plan,
            actions=tuple(one for one in plan.actions if one.node != node),
            in_progress=tuple(one for one in plan.in_progress if one.node != node),
            blocked=tuple(one for one in plan.blocked if one.node != node),
        )
    )


def test_a_sound_plan_breaks_nothing(world):
    plan = world.plan()
    assert [one.node for one in plan.actions] == ["n-1", "n-2", "n-4"]
    assert [one.node for one in plan.in_progress] == ["n-3"]
    assert [one.node for one in plan.blocked] == ["n-5"]
    assert recount(plan) == plan
    world.converged()


BROKEN: list[tuple[str, Callable[[Plan], Plan]]] = [
    ("of revision", lambda plan: replace(plan, revision=commit_of(99))),
    ("of another instant", lambda plan: replace(plan, at=T0 + hours(1))),
    ("says that observations are none", lambda plan: replace(plan, observed="none")),
    (
        "n-1: is in the plan more than once",
        lambda plan: recount(replace(plan, actions=(*plan.actions, plan.actions[0]))),
    ),
    ("n-1: is changed without a reason", lambda plan: with_action(plan, "n-1", reasons=())),
    (
        "n-5: is left alone without a reason",
        lambda plan: replace(plan, blocked=(replace(plan.blocked[0], message=""),)),
    ),
    (
        "n-1: is brought to something else than git wants",
        lambda plan: with_action(plan, "n-1", target=plan.actions[1].target),
    ),
    (
        "n-1: is brought to something else than git wants",
        lambda plan: with_action(plan, "n-1", holder=plan.actions[1].holder),
    ),
    ("n-1: is brought to something else", lambda plan: with_action(plan, "n-1", pool="other")),
    ("n-1: has another priority", lambda plan: with_action(plan, "n-1", priority=701)),
    (
        "n-1: undeploy does not lead to power on",
        lambda plan: with_action(plan, "n-1", verb=Verb.UNDEPLOY),
    ),
    ("n-4: rebuild without a template", lambda plan: with_action(plan, "n-4", verb=Verb.REBUILD)),
    (
        "n-1: the stages are not those of deploy",
        lambda plan: with_action(plan, "n-1", stages=(Stage.POWER_OFF, Stage.BOOT)),
    ),
    (
        "n-1: says the wrong thing about data loss",
        lambda plan: with_action(plan, "n-1", destroys_data=False),
    ),
    (
        "n-4: says the wrong thing about disruption",
        lambda plan: with_action(plan, "n-4", disruptive=False),
    ),
    (
        "n-4: git is blamed",
        lambda plan: with_action(
            plan, "n-4", reasons=(replace(plan.actions[2].reasons[0], cause=Cause.GIT),)
        ),
    ),
    ("n-3: has an unfinished operation or a line", lambda plan: without(plan, "n-3")),
    ("n-3: speaks of another operation", lambda plan: with_progress(plan, operation_id="op-x")),
    (
        "n-3: a running operation cannot be cancelled",
        lambda plan: with_progress(plan, fate=Fate.CANCEL, why="so"),
    ),
    ("n-3: gives way without a reason", lambda plan: with_progress(plan, fate=Fate.SUPERSEDE)),
    ("n-2: git wants something else, and the plan", lambda plan: without(plan, "n-2")),
    ("n-4: has drifted, and the plan", lambda plan: without(plan, "n-4")),
    ("n-5: is not known, and the plan", lambda plan: without(plan, "n-5")),
    (
        "a lower priority is before a higher one",
        lambda plan: replace(plan, actions=plan.actions[::-1]),
    ),
    ("its change digest is not", lambda plan: replace(plan, change_digest="0" * 64)),
    ("its change digest is not", lambda plan: replace(plan, change_digest="")),
    (
        "the limit of fleet is told wrongly",
        lambda plan: replace(plan, limits=(replace(plan.limits[0], held=5),)),
    ),
    (
        "the limit of fleet is told wrongly",
        lambda plan: replace(plan, limits=(replace(plan.limits[0], limit=500),)),
    ),
    ("a rewritten history", lambda plan: replace(plan, abandoned_revision="a" * 40)),
]


@pytest.mark.parametrize(
    ("expected", "spoil"), BROKEN, ids=[f"{i}-{text}" for i, (text, _) in enumerate(BROKEN)]
)
def test_a_plan_that_breaks_one_promise_is_refused(world, expected, spoil):
    broken = spoil(world.plan())
    assert expected in violations(world, broken)


@pytest.mark.parametrize(
    "field",
    [
        "nodes",
        "as_desired",
        "changes",
        "in_progress",
        "blocked",
        "disruptive",
        "destroying",
        "starts_now",
        "unmanaged",
        "absent",
    ],
)
def test_each_total_is_counted_again(world, field):
    plan = world.plan()
    wrong = replace(plan.totals, **{field: getattr(plan.totals, field) + 1})
    assert "totals:" in violations(world, replace(plan, totals=wrong))


@pytest.mark.parametrize("field", ["by_verb", "by_blocked"])
def test_each_count_of_words_is_counted_again(world, field):
    plan = world.plan()
    wrong = replace(plan.totals, **{field: {"deploy": 1}})
    assert f"totals: {field}" in violations(world, replace(plan, totals=wrong))


def turned(world: World, change: Callable[[World], None]) -> str:
    """What is wrong with a good plan when the world is not as it was made for any more."""
    plan = world.plan()
    change(world)
    return violations(world, plan)


def _without_memory(world: World) -> None:
    del world.memory["n-2"]


def _too_old(world: World) -> None:
    world.see("n-2", Power.OFF, age_s=121)


def _unknown(world: World) -> None:
    world.see("n-2", Power.UNKNOWN)


def _stranger(world: World) -> None:
    world.see("n-2", Power.OFF, identity=Identity(serial="S-x"))


def _strange_mac(world: World) -> None:
    world.see("n-2", Power.OFF, identity=Identity(macs=("52:54:00:aa:aa:aa",)))


def _anonymous(world: World) -> None:
    world.see("n-1", Power.OFF, identity=Identity())


def _told_by_its_system(world: World) -> None:
    world.see("n-1", Power.ON, bmc_identity=Identity())


def _failed(world: World) -> None:
    world.remember("n-2", failed=world.operation("n-2", state=OperationState.FAILED))


def _busy(world: World) -> None:
    world.remember("n-2", operation=world.operation("n-2"))


def _frozen(world: World) -> None:
    world.fleet.freeze("night", until=T0 + hours(1))


def _incapable(world: World) -> None:
    world.context = replace(world.context, capabilities={"fake": frozenset()})


def _limited(world: World) -> None:
    world.context = replace(world.context, limit_nodes=frozenset({"n-1"}))


def _rewritten(world: World) -> None:
    world.context = replace(world.context, abandoned_revision="a" * 40)


def _older(world: World) -> None:
    applied = world.memory["n-4"].applied
    assert applied is not None
    later = frozenset({applied.revision})
    world.context = replace(world.context, later_revisions=later)


def _reported(world: World) -> None:
    world.fleet.pool("ci", "n-[1-6]", power="off", drift="report")


def _undone(world: World) -> None:
    applied = world.memory["n-4"].applied
    assert applied is not None
    world.remember("n-4", applied=replace(applied, corrections=3))


def _nothing_differs(world: World) -> None:
    world.see("n-4", Power.OFF)


def _broken(world: World) -> None:
    world.fleet.lifecycle("n-2", Lifecycle.BROKEN)


def _absent(world: World) -> None:
    del world.fleet.nodes["n-4"]
    world.fleet.pool("ci", "n-[1-3]", power="off", drift="correct")


def _no_longer_wanted(world: World) -> None:
    world.fleet.assignment("other", "ci", "n-3", "ci")


def _full(world: World) -> None:
    world.slots = {"fleet": 18}


def _too_many(world: World) -> None:
    world.fleet.rules(blast_radius=BlastRadius(nodes_max=1))


def _too_many_of_git(world: World) -> None:
    _too_many(world)
    world.see("n-2", Power.ON)


def _same_tenancy(world: World) -> None:
    """The loan runs already, so the wipe is no boundary's any more."""
    world.adopt("n-1")
    applied = world.memory["n-1"].applied
    assert applied is not None
    world.remember("n-1", applied=None, former=applied)


TURNED = [
    ("n-2: is changed, but not adopted", _without_memory),
    ("n-2: is changed on an observation that is too old", _too_old),
    ("n-2: is changed on unknown power", _unknown),
    ("n-2: is another machine than git means", _stranger),
    ("n-2: is another machine than git means", _strange_mac),
    ("n-1: loses data although nothing says which machine it is", _anonymous),
    ("n-1: loses data although nothing says which machine it is", _told_by_its_system),
    ("n-2: what failed before is tried again", _failed),
    ("n-2: has an unfinished operation already", _busy),
    ("n-2: is changed in freeze night", _frozen),
    ("n-2: driver fake cannot do that", _incapable),
    ("n-2: is outside the limit that was asked for", _limited),
    ("something is changed although history was rewritten", _rewritten),
    ("n-4: goes back to an older revision than it is recorded at", _older),
    ("n-4: its drift is corrected, which pool ci did not ask for", _reported),
    ("n-4: its drift is corrected once more, and was undone every time", _undone),
    ("n-4: is changed although nothing differs", _nothing_differs),
    ("n-2: is changed, but git lets nobody change it", _broken),
    ("n-4: is changed, but git lets nobody change it", _absent),
    ("n-3: goes on with what git does not want any more", _no_longer_wanted),
    ("21 nodes would be in flight in fleet, 20 may be", _full),
    ("drift: 2 nodes are disrupted within an hour, unacknowledged", _too_many),
    ("2 nodes are disrupted at once, and no commit acknowledges that", _too_many_of_git),
    ("n-1: loses data without consent", _same_tenancy),
    ("n-1: is deployed again although its tenancy goes on", _same_tenancy),
]


def test_a_plan_that_installs_by_a_ramdisk_that_there_is_not_is_refused(world):
    world.fleet.template("wiped", wipe="full", method="disk", image=image_of("rocky", disk=True))
    plan = world.plan()
    assert violations(world, plan) == ""
    world.context = replace(world.context, no_ramdisk=frozenset({"fake"}))
    assert violations(world, plan) == "n-1: is to be installed by a ramdisk that there is not"


@pytest.mark.parametrize(
    ("expected", "change"), TURNED, ids=[f"{text}-{one.__name__}" for text, one in TURNED]
)
def test_a_plan_made_of_other_values_is_refused(world, expected, change):
    assert expected in turned(world, change)


def test_a_live_edit_and_a_drift_that_rebuilds_are_refused():
    fleet = Fleet()
    fleet.node("n-1")
    fleet.template("disk", method="disk", image=image_of("rocky", disk=True))
    fleet.pool("ci", "n-1", template="disk", drift="correct", data_loss_consent=True)
    world = World(fleet)
    world.adopt()
    fleet.template(
        "disk", method="disk", image=image_of("rocky", disk=True), kernel_args=("edited",)
    )
    world.commit()
    plan = world.plan()
    assert plan.actions[0].verb is Verb.REBUILD
    fleet.pool("ci", "n-1", template="disk", data_loss_consent=True, template_edits="at-boundary")
    assert "an edit reaches it while pool/ci has it" in violations(world, plan)
    fleet.pool("ci", "n-1", template="disk", drift="correct", data_loss_consent=True)
    world.adopt()
    world.see("n-1", Power.OFF)
    assert "its drift is corrected by rebuild" in violations(
        world, with_action(plan, "n-1", disruptive=True)
    )


def test_an_operation_that_never_ran_is_not_superseded(world):
    world.remember("n-3", operation=world.operation("n-3"))
    plan = with_progress(world.plan(), fate=Fate.SUPERSEDE, why="so")
    assert "n-3: an operation that never ran cannot be superseded" in violations(world, plan)


def test_a_node_that_nobody_adopted_must_be_told_of(world):
    del world.memory["n-6"]
    assert "n-6: is not adopted, and the plan does not say so" in violations(
        world, without(world.plan(), "n-6")
    )


def test_an_action_that_somebody_made_up_is_refused(world):
    made = make(*world.values())
    wanted = world.desired().nodes["n-6"]
    invented = Action(
        node="n-6",
        verb=Verb.UNDEPLOY,
        pool="ci",
        holder=wanted.holder,
        target=wanted.target,
        priority=wanted.priority,
        stages=(Stage.POWER_OFF,),
        disruptive=False,
        destroys_data=False,
        reasons=(Reason(field="power", desired="off", observed="on", cause=Cause.DRIFT),),
        source=wanted.source,
    )
    plan = recount(replace(made, actions=(*made.actions, invented)))
    assert "n-6: is changed although nothing differs" in violations(world, plan)


def test_a_plan_that_only_says_that_it_was_acknowledged_is_refused(world):
    """The digest is worked out again, not believed."""
    world.fleet.rules(blast_radius=BlastRadius(nodes_max=1), acknowledge=(digest_of("x"),))
    world.commit()
    held = world.plan()
    assert [one.node for one in held.blocked if one.reason is BlockedReason.BLAST_RADIUS] == ["n-4"]
    world.fleet.rules()
    free = replace(world.plan(), change_digest=digest_of("x"))
    world.fleet.rules(blast_radius=BlastRadius(nodes_max=1), acknowledge=(digest_of("x"),))
    assert "disrupted within an hour, unacknowledged" in violations(world, free)


def test_a_blocked_line_does_not_hide_an_action(world):
    plan = world.plan()
    line = Blocked(node="n-1", reason=BlockedReason.FROZEN, message="so")
    assert "n-1: is in the plan more than once" in violations(
        world, recount(replace(plan, blocked=(*plan.blocked, line)))
    )
