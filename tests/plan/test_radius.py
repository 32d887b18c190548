"""The blast radius: what counts, in which groups, and what a commit's acknowledgement is worth."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from metalwright.model.observed import Identity, Power
from metalwright.model.operation import LocalHold, OperationState, Verb
from metalwright.model.plan import BlockedReason
from metalwright.model.policy import BlastRadius, Radius
from metalwright.plan import check, exit_code, render_text
from metalwright.plan.consents import SPENT_MAX
from metalwright.plan.scale import stricter

from ..schedule.fleet import T0, Fleet, hours  # noqa: TID252 - one fleet for both rooms
from .test_check import recount
from .world import World


@pytest.fixture
def world() -> World:
    """Two pools of four nodes each, in two racks, that run a rescue system; drift is corrected."""
    fleet = Fleet()
    fleet.node("n-[1-3]", labels={"rack": "a01"})
    fleet.node("n-[4-8]", labels={"rack": "a02"})
    fleet.template("rescue")
    fleet.template("other")
    fleet.pool("left", "n-[1-4]", template="rescue", drift="correct")
    fleet.pool("right", "n-[5-8]", template="other", drift="correct")
    world = World(fleet)
    world.adopt()
    return world


def edit(world: World, *templates: str, word: str = "edited") -> None:
    for name in templates or ("rescue", "other"):
        world.fleet.template(name, kernel_args=(word,))
    world.commit()


def rules(world: World, *acknowledge: str, **radius: object) -> None:
    world.fleet.rules(blast_radius=BlastRadius(**radius), acknowledge=acknowledge)
    world.commit()


def held(world: World) -> list[str]:
    return [one.node for one in world.plan().blocked if one.reason is BlockedReason.BLAST_RADIUS]


# -- groups ---------------------------------------------------------------------------------------

GROUPS = [
    ({"nodes_max": 7}, "8 nodes would be disrupted at once, 7 may be (blastRadius);"),
    (
        {"pools": Radius(nodes_max=3)},
        (
            "4 nodes of pool left would be disrupted at once, 3 may be,"
            " 4 nodes of pool right would be disrupted at once, 3 may be (blastRadius);"
        ),
    ),
    (
        {"pools": Radius(percent_max=50)},
        "4 nodes of pool left would be disrupted at once, 2 may be, 4 nodes of pool right",
    ),
    (
        {"labels": {"rack": Radius(nodes_max=4)}},
        "5 nodes of rack=a02 would be disrupted at once, 4 may be (blastRadius);",
    ),
    (
        {"labels": {"rack": Radius(percent_max=70)}},
        "3 nodes of rack=a01 would be disrupted at once, 2 may be, 5 nodes of rack=a02 would be",
    ),
]


@pytest.mark.parametrize(("limits", "message"), GROUPS)
def test_one_group_beyond_its_limit_stops_the_whole_revision(world, limits, message):
    edit(world)
    rules(world, **limits)
    plan = world.plan()
    assert plan.totals.by_blocked == {"BLAST_RADIUS": 8}
    text = world.blocked("n-1").message
    assert text.startswith(message)
    assert text.endswith(
        f"to go on, commit to the Policy: acknowledge: [{plan.change_digest[:12]}]"
    )
    assert exit_code(plan) == 3
    rules(world, plan.change_digest[:12], **limits)
    assert len(world.plan().actions) == 8
    world.nothing_left()


@pytest.mark.parametrize(
    "limits",
    [
        {"nodes_max": 8},
        {"pools": Radius(nodes_max=4)},
        {"pools": Radius(percent_max=100)},
        {"labels": {"rack": Radius(nodes_max=5)}},
        {"labels": {"pdu": Radius(nodes_max=1)}},
    ],
)
def test_as_many_as_each_group_may_have_go_on(world, limits):
    edit(world)
    rules(world, **limits)
    assert len(world.plan().actions) == 8
    world.nothing_left()


def test_many_groups_beyond_are_counted_where_they_are_not_named(world):
    for number in range(1, 9):
        world.fleet.node(f"n-{number}", labels=dict.fromkeys(("a", "b", "c", "d", "e"), "x"))
    edit(world)
    rules(world, labels={key: Radius(nodes_max=1) for key in ("a", "b", "c", "d", "e")})
    assert "2 groups more are beyond the limit" in world.blocked("n-1").message
    rules(world, labels={key: Radius(nodes_max=1) for key in ("a", "b", "c", "d")})
    assert "1 group more is beyond the limit" in world.blocked("n-1").message
    world.converged()


def test_a_commit_cannot_widen_the_radius_for_itself(world):
    edit(world)
    rules(world, nodes_max=100, pools=Radius(nodes_max=4))
    world.context = replace(
        world.context,
        former_radius=BlastRadius(nodes_max=7, labels={"rack": Radius(nodes_max=4)}),
    )
    text = world.blocked("n-1").message
    assert "8 nodes would be disrupted at once, 7 may be" in text
    assert "5 nodes of rack=a02 would be disrupted at once, 4 may be" in text
    world.converged()
    world.context = replace(world.context, former_radius=BlastRadius(nodes_max=100))
    assert len(world.plan().actions) == 8, "the commit after it is judged by it"
    world.nothing_left()


def test_of_two_policies_the_stricter_limit_holds_one_by_one():
    one = BlastRadius(
        nodes_max=5, pools=Radius(percent_max=10), labels={"rack": Radius(nodes_max=2)}
    )
    other = BlastRadius(
        nodes_max=9,
        percent_max=20,
        pools=Radius(nodes_max=3, percent_max=5),
        labels={"rack": Radius(percent_max=50), "pdu": Radius(nodes_max=1)},
    )
    assert stricter(one, other) == BlastRadius(
        nodes_max=5,
        percent_max=20,
        pools=Radius(nodes_max=3, percent_max=5),
        labels={"rack": Radius(nodes_max=2, percent_max=50), "pdu": Radius(nodes_max=1)},
    )
    assert stricter(one, None) is one


# -- consents --------------------------------------------------------------------------------------


def test_what_was_acknowledged_passes_although_the_rest_has_another_digest(world):
    edit(world)
    rules(world, nodes_max=3)
    digest = world.plan().change_digest
    rules(world, digest[:12], nodes_max=3)
    for number in range(3, 9):
        world.unreachable(f"n-{number}")
    plan = world.plan()
    assert [one.node for one in plan.actions] == ["n-1", "n-2"]
    assert len(plan.consents) == 8
    world.succeed()
    assert world.plan().change_digest == "", "nothing is left to be acknowledged"
    rules(world, nodes_max=3)
    for number in range(3, 9):
        world.see(f"n-{number}")
    assert len(world.plan().actions) == 6
    assert world.plan().consents == ()
    world.nothing_left()


def test_a_consent_is_for_one_state_of_one_node(world):
    edit(world)
    rules(world, nodes_max=3)
    rules(world, world.plan().change_digest, nodes_max=3)
    for number in range(1, 9):
        world.unreachable(f"n-{number}")
    world.succeed()
    edit(world, word="another")
    for number in range(1, 9):
        world.see(f"n-{number}")
    assert len(held(world)) == 8
    world.converged()


def test_a_consent_is_spent_once_its_change_is_done(world):
    edit(world, word="second")
    rules(world, nodes_max=7)
    rules(world, world.plan().change_digest, nodes_max=7)
    world.nothing_left()
    for word in ("third", "second"):
        edit(world, word=word)
        rules(world, nodes_max=7)
        world.forward(hours(24 * 90))
        assert len(held(world)) == 8, "what was acknowledged months ago is wanted anew"
        rules(world, world.plan().change_digest, nodes_max=7)
        world.nothing_left()


def silent(world: World, *numbers: int) -> None:
    for number in numbers:
        world.unreachable(f"n-{number}")


def test_a_line_that_stays_in_the_policy_passes_the_same_set_once(world):
    edit(world, word="second")
    rules(world, nodes_max=7)
    digest = world.plan().change_digest
    rules(world, digest, nodes_max=7)
    assert world.plan().unused_acknowledgements == ()
    world.nothing_left()
    for word in ("third", "second"):
        edit(world, word=word)
        rules(world, digest, nodes_max=7)
        world.forward(hours(1))
        plan = world.plan()
        assert plan.unused_acknowledgements == (digest,), "the node became what it is since"
        assert len(held(world)) == 8
        rules(world, digest, plan.change_digest, nodes_max=7)
        assert len(world.plan().actions) == 8
        world.nothing_left()


def test_a_line_for_what_drifted_passes_it_once(world):
    resting_off(world)
    rules(world, nodes_max=1)
    drift(world, 1, 2)
    digest = world.blocked("n-1").message.partition("acknowledge: [")[2][:12]
    rules(world, digest, nodes_max=1)
    assert world.plan().unused_acknowledgements == ()
    world.forward(hours(2))
    world.nothing_left()
    world.forward(hours(2))
    drift(world, 1, 2)
    assert held(world) == ["n-1", "n-2"]
    assert world.plan().unused_acknowledgements == (digest,)
    world.converged()


def test_what_names_a_pause_a_rewritten_history_or_nothing_at_all(world):
    rules(world, "a" * 12, "b" * 40)
    assert world.plan().unused_acknowledgements == ("a" * 12, "b" * 40)
    world.context = replace(world.context, abandoned_revision="b" * 40)
    assert world.plan().unused_acknowledgements == ("a" * 12,)
    assert f"acknowledge: [{'a' * 12}]; take it out of the Policy" in render_text(world.plan())
    world.context = replace(world.context, limit_nodes=frozenset({"n-1"}))
    assert world.plan().unused_acknowledgements == (), "a narrow plan does not know"
    world.converged()


def test_a_consent_ends_when_git_wants_something_else_of_the_node(world):
    """A machine that was silent meanwhile is not changed by what was acknowledged weeks before."""
    edit(world, word="second")
    rules(world, nodes_max=3)
    digest = world.plan().change_digest
    rules(world, digest, nodes_max=3)
    silent(world, *range(1, 9))
    world.succeed()
    assert len(world.consents) == 8
    edit(world, word="third")
    assert len(world.plan().lapsed) == 8
    world.succeed()
    assert world.consents == frozenset()
    edit(world, word="second")
    rules(world, nodes_max=3)
    for number in range(1, 9):
        world.see(f"n-{number}")
    assert len(held(world)) == 8
    world.converged()


def test_what_was_acknowledged_without_a_wipe_does_not_pass_with_one(world):
    """They wait for the end of a freeze, and meanwhile the template is made to wipe."""
    world.fleet.template("x")
    world.fleet.assignment("loan", "left", "n-[1-4]", "x")
    rules(world, nodes_max=3)
    before = world.plan().change_digest
    world.fleet.freeze("exams", until=T0 + hours(2))
    rules(world, before, nodes_max=3)
    world.succeed()
    harmless = world.consents
    assert len(harmless) == 4
    world.fleet.template("x", wipe="full")
    rules(world, before, nodes_max=3)
    assert world.plan().change_digest not in ("", before)
    world.forward(hours(3))
    assert held(world) == ["n-1", "n-2", "n-3", "n-4"]
    plan = world.plan()
    rules(world, plan.change_digest, nodes_max=3)
    wiping = world.plan()
    assert [one.destroys_data for one in wiping.actions] == [True] * 4
    assert len(harmless | set(wiping.consents)) == 8, "each is called what it is"
    world.consents = frozenset(wiping.consents)
    world.fleet.template("x", wipe="metadata")
    rules(world, nodes_max=3)
    assert world.plan().lapsed == wiping.consents, "another level is another loss"
    assert len(held(world)) == 4
    world.fleet.template("x")
    world.consents = harmless
    rules(world, nodes_max=3)
    assert len(world.plan().actions) == 4
    world.nothing_left()


def test_a_consent_ends_with_its_assignment(world):
    world.fleet.template("x")
    world.fleet.assignment("loan", "left", "n-[1-4]", "x", when={"end": T0 + hours(8)})
    rules(world, nodes_max=3)
    rules(world, world.plan().change_digest, nodes_max=3)
    silent(world, 1, 2, 3, 4)
    world.succeed()
    kept = world.consents
    world.forward(hours(1))
    silent(world, 1, 2, 3, 4)
    assert world.plan().lapsed == (), "time alone ends no consent"
    world.forward(hours(8))
    silent(world, 1, 2, 3, 4)
    assert world.plan().lapsed == tuple(sorted(kept))
    world.succeed()
    world.fleet.assignment("loan", "left", "n-[1-4]", "x", when={"end": T0 + hours(24)})
    rules(world, nodes_max=3)
    assert len(world.plan().change_digest) == 64, "lent once more, it counts once more"
    world.converged()


def test_a_consent_outlives_a_rewritten_history_that_nobody_accepted(world):
    edit(world)
    rules(world, nodes_max=3)
    rules(world, world.plan().change_digest, nodes_max=3)
    silent(world, *range(1, 9))
    world.succeed()
    edit(world, word="another")
    world.context = replace(world.context, abandoned_revision="a" * 40)
    assert world.plan().lapsed == ()
    world.context = replace(world.context, abandoned_revision=None)
    assert len(world.plan().lapsed) == 8
    world.converged()


def test_what_is_spent_is_forgotten_in_great_numbers_or_with_what_lapsed(world):
    edit(world)
    rules(world, nodes_max=7)
    rules(world, world.plan().change_digest, nodes_max=7)
    world.forward(hours(1))
    silent(world, 8)
    world.succeed()
    assert len(world.consents) == 8
    assert world.plan().lapsed == (), "seven that match nothing any more cost nothing"
    world.consents |= {f"n-1/then/{number:064}" for number in range(SPENT_MAX)}
    assert len(world.plan().lapsed) == SPENT_MAX + 7
    world.consents = frozenset(key for key in world.consents if "/then/" not in key)
    edit(world, word="another")
    silent(world, *range(1, 9))
    assert len(world.plan().lapsed) == 8
    world.converged()


def test_check_sees_what_is_forgotten_or_kept_against_git(world):
    edit(world)
    rules(world, nodes_max=3)
    rules(world, world.plan().change_digest, nodes_max=3)
    silent(world, *range(1, 9))
    world.succeed()
    (first, *_) = sorted(world.consents)
    wrong = replace(world.plan(), lapsed=(first, "n-1/unheard"))
    said = "\n".join(check(wrong, *world.values()))
    assert f"consent {first} is forgotten although git wants its change" in said
    assert "consent n-1/unheard is forgotten, and never was given" in said
    edit(world, word="another")
    wrong = replace(world.plan(), lapsed=())
    assert f"consent {first} outlives what git wanted" in "\n".join(check(wrong, *world.values()))
    world.converged()


def test_a_later_change_is_acknowledged_for_itself(world):
    edit(world, "rescue")
    rules(world, nodes_max=3)
    rules(world, world.plan().change_digest, nodes_max=3)
    world.unreachable("n-4")
    world.succeed()
    edit(world, "other")
    rules(world, nodes_max=3)
    world.see("n-4")
    plan = world.plan()
    assert [one.node for one in plan.actions] == ["n-4"]
    assert held(world) == ["n-5", "n-6", "n-7", "n-8"]
    assert world.blocked("n-5").message.startswith("4 nodes would be disrupted at once")
    rules(world, plan.change_digest, nodes_max=3)
    world.nothing_left()


# -- what counts -----------------------------------------------------------------------------------


def test_what_only_waits_counts_as_well(world):
    edit(world)
    rules(world, nodes_max=3)
    world.unreachable("n-1")
    world.see("n-2", age_s=900)
    world.see("n-3", Power.OFF, age_s=900)
    world.fleet.freeze("night", selector="n-[4-7]", until=T0 + hours(1))
    world.remember("n-7", hold=LocalHold(reason="x", by="ada", at=T0))
    assert held(world) == ["n-8"]
    assert world.blocked("n-8").message.startswith("8 nodes would be disrupted")
    world.converged()


def test_what_is_frozen_or_held_and_seen_off_is_not_disrupted(world):
    edit(world)
    rules(world, nodes_max=3)
    world.fleet.freeze("night", selector="n-[1-4]", until=T0 + hours(1))
    world.remember("n-5", hold=LocalHold(reason="x", by="ada", at=T0))
    for number in range(1, 6):
        world.see(f"n-{number}", Power.OFF)
    assert [one.node for one in world.plan().actions] == ["n-6", "n-7", "n-8"]
    world.see("n-5", Power.OFF, age_s=900)
    assert held(world) == ["n-6", "n-7", "n-8"], "n-5 may be on by now"
    world.converged()


def test_a_preview_takes_what_was_seen_as_it_is_however_old(world):
    edit(world)
    rules(world, nodes_max=7)
    world.context = replace(world.context, observed_kind="none")
    world.see("n-1", Power.OFF, age_s=900)
    assert len(world.plan().actions) == 8, "and `check` agrees"
    world.converged()


def test_another_machine_that_is_off_says_nothing_of_the_one_that_git_means(world):
    edit(world, "rescue")
    rules(world, nodes_max=3)
    world.see("n-1", Power.OFF, identity=Identity(serial="S-other"))
    assert held(world) == ["n-2", "n-3", "n-4"]
    assert world.blocked("n-2").message.startswith("4 nodes would be disrupted")
    world.converged()


def drift(world: World, *numbers: int) -> None:
    """Nodes that should be off are on: each correction takes a system down."""
    for number in numbers:
        world.see(f"n-{number}", Power.ON)


def resting_off(world: World) -> None:
    world.fleet.pool("left", "n-[1-4]", power="off", drift="correct")
    world.fleet.pool("right", "n-[5-8]", power="off", drift="correct")
    world.commit()
    world.adopt()


def corrected(world: World, name: str, ago: timedelta) -> None:
    applied = world.memory[name].applied
    assert applied is not None
    world.remember(name, applied=replace(applied, corrections=1, at=world.now - ago))


def test_drift_counts_with_what_was_corrected_within_the_hour(world):
    resting_off(world)
    rules(world, nodes_max=2)
    corrected(world, "n-1", timedelta(minutes=50))
    corrected(world, "n-2", timedelta(minutes=59))
    drift(world, 5)
    assert held(world) == ["n-5"]
    assert world.blocked("n-5").message.startswith(
        "3 nodes would be disrupted within an hour, 2 may be (blastRadius);"
    )
    assert world.plan().next_due_at == T0 + timedelta(minutes=1)
    world.converged()
    world.forward(timedelta(minutes=1))
    assert world.action("n-5").verb is Verb.POWER_OFF
    world.nothing_left()


def test_drift_counts_with_what_is_being_corrected(world):
    resting_off(world)
    rules(world, nodes_max=1)
    busy = world.operation("n-1", verb=Verb.POWER_OFF, state=OperationState.RUNNING)
    world.remember("n-1", operation=replace(busy, corrects=True, disruptive=True))
    drift(world, 5)
    assert held(world) == ["n-5"]
    world.remember("n-1", operation=replace(busy, corrects=True, disruptive=False))
    assert world.action("n-5").verb is Verb.POWER_OFF, "what disrupts nothing does not count"
    world.nothing_left()


@pytest.mark.parametrize("state", [OperationState.FAILED, OperationState.CANCELLED])
def test_drift_counts_with_corrections_that_came_to_nothing_within_the_hour(world, state):
    """A fleet whose corrections all fail would else be taken down a few machines at a time."""
    resting_off(world)
    rules(world, nodes_max=3)
    for name in ("n-1", "n-2", "n-3"):
        over = world.operation(
            name, verb=Verb.POWER_OFF, state=state, corrects=True, disruptive=True, attempt=3
        )
        world.interrupted(name, failed=replace(over, ended_at=T0 - timedelta(minutes=50)))
    world.remember("n-3", failed=replace(world.memory["n-3"].failed, attempt=0))
    drift(world, 5)
    assert world.action("n-5").verb is Verb.POWER_OFF, "what never began disrupted nothing"
    drift(world, 6)
    assert held(world) == ["n-5", "n-6"]
    assert "4 nodes would be disrupted within an hour, 3 may be" in world.blocked("n-5").message
    assert world.plan().next_due_at == T0 + timedelta(minutes=10)
    world.forward(timedelta(minutes=10))
    assert sorted(one.node for one in world.plan().actions) == ["n-5", "n-6"]


def test_drift_counts_with_the_changes_of_git_and_gives_way_to_them(world):
    resting_off(world)
    world.fleet.template("x")
    world.fleet.assignment("loan", "left", "n-1 n-2", "x")
    rules(world, nodes_max=2)
    drift(world, 1, 2, 5)
    assert [one.node for one in world.plan().actions] == ["n-1", "n-2"]
    assert held(world) == ["n-5"]
    world.fleet.assignment("loan", "left", "n-1 n-2 n-3", "x")
    world.commit()
    drift(world, 3)
    assert [one.node for one in world.plan().actions] == ["n-5"], "git's changes do not start"
    assert held(world) == ["n-1", "n-2", "n-3"]
    world.converged()


def test_an_acknowledged_correction_is_for_this_time_only(world):
    resting_off(world)
    rules(world, nodes_max=1)
    drift(world, 1, 2)
    digest = world.blocked("n-1").message.partition("acknowledge: [")[2][:12]
    rules(world, digest, nodes_max=1)
    assert len(world.plan().actions) == 2
    assert world.plan().consents == ()
    world.nothing_left()


# -- what `check` says -----------------------------------------------------------------------------


def complaints(world: World) -> str:
    """What is said of a plan that was made without any radius."""
    policy, world.fleet.policy = world.fleet.policy, None
    former, world.context = world.context, replace(world.context, former_radius=None)
    plan = world.plan()
    world.fleet.policy, world.context = policy, former
    return "\n".join(check(plan, *world.values()))


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"nodes_max": 7}, "8 nodes are disrupted at once, and no commit"),
        ({"percent_max": 87}, "8 nodes are disrupted at once, and no commit"),
        ({"pools": Radius(nodes_max=3)}, "4 nodes of pool left are disrupted at once"),
        ({"pools": Radius(percent_max=99)}, "4 nodes of pool right are disrupted at once"),
        ({"labels": {"rack": Radius(nodes_max=4)}}, "5 nodes of rack=a02 are disrupted at once"),
    ],
)
@pytest.mark.parametrize("former", [False, True], ids=["this policy", "the one before"])
def test_check_counts_every_group_again(world, limits, said, former):
    edit(world)
    if former:
        world.context = replace(world.context, former_radius=BlastRadius(**limits))
    else:
        world.fleet.rules(blast_radius=BlastRadius(**limits))
    assert said in complaints(world)
    world.converged()


def test_check_counts_what_waits_and_what_was_corrected(world):
    resting_off(world)
    world.fleet.rules(blast_radius=BlastRadius(nodes_max=1))
    corrected(world, "n-1", timedelta(minutes=50))
    drift(world, 5)
    assert "drift: 2 nodes are disrupted within an hour" in complaints(world)
    del world.observed["n-2"]
    assert "1 nodes are disrupted before 1 others were asked" in complaints(world)
    world.converged()


def test_check_refuses_consents_that_no_commit_gave_and_those_kept_back(world):
    edit(world)
    rules(world, nodes_max=3)
    plan = world.plan()
    given = replace(plan, consents=("0" * 64,))
    assert "is given or kept back" in "\n".join(check(given, *world.values()))
    rules(world, plan.change_digest, nodes_max=3)
    plan = world.plan()
    for consents in (plan.consents[1:], ()):
        broken = recount(replace(plan, consents=consents))
        assert "is given or kept back" in "\n".join(check(broken, *world.values()))
    world.nothing_left()
