"""Rollouts: canaries, waves, gates, pauses, and what the next commit makes of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from metalwright.model.hardware import Lifecycle
from metalwright.model.observed import BootProgress, Identity, Power
from metalwright.model.operation import LocalHold, OperationState, Stage, Verb
from metalwright.model.plan import BlockedReason, Fate, Plan
from metalwright.model.policy import BlastRadius
from metalwright.model.rollout import Rollout, RolloutState
from metalwright.model.tenancy import RolloutStrategy, Waves
from metalwright.plan import exit_code

from ..schedule.fleet import T0, Fleet, hours  # noqa: TID252 - one fleet for both rooms
from .world import World

SOAK = timedelta(minutes=5)


def strategy(**fields: object) -> RolloutStrategy:
    return RolloutStrategy(**({"waves": Waves(nodes=4), "canaries": 1} | fields))


def made(**fields: object) -> World:
    """Ten nodes that run a rescue system, in three racks; a strategy of one canary, then fours."""
    fleet = Fleet()
    fleet.node("n-[1-4]", labels={"rack": "a01"})
    fleet.node("n-[5-8]", labels={"rack": "a02"})
    fleet.node("n-[9-10]", labels={"rack": "a10"})
    fleet.template("rescue")
    fleet.template("other")
    fleet.pool("ci", "n-[1-10]", template="rescue", rollout=strategy(**fields))
    world = World(fleet)
    world.adopt()
    return world


@pytest.fixture
def world() -> World:
    return made()


def edit(world: World, word: str = "edited") -> None:
    world.fleet.template("rescue", kernel_args=(word,))
    world.commit()


def going(world: World) -> list[str]:
    return [action.node for action in world.plan().actions]


def only(world: World) -> Rollout:
    (found,) = world.plan().rollouts
    return found


def current(world: World) -> Rollout:
    """The one rollout that is not over."""
    (found,) = [one for one in world.plan().rollouts if one.state is RolloutState.RUNNING]
    return found


def soak(world: World, by: timedelta = SOAK) -> None:
    """What is to be done is done, and time passes."""
    world.succeed()
    world.forward(by)


def fail(world: World, name: str, error: str = "not running after 20m") -> None:
    """The operation of the node comes to its end without success."""
    failed = world.operation(
        name,
        verb=Verb.REBOOT,
        state=OperationState.FAILED,
        stage=Stage.BOOT,
        attempt=3,
        last_error=error,
        ended_at=world.now,
    )
    world.interrupted(name, failed=failed, operation=None)


def keep(world: World, plan: Plan) -> None:
    """What a cycle remembers of a plan, without anything that it does."""
    world.rollouts = {
        one.id: one
        for one in plan.rollouts
        if one.state in (RolloutState.RUNNING, RolloutState.PAUSED)
    }


def finish(world: World) -> None:
    """Wave after wave until nothing is left, in at most as many steps as there are nodes."""
    for _ in range(12):
        soak(world)
    world.nothing_left()
    assert world.rollouts == {}


# -- waves -----------------------------------------------------------------------------------------


def test_canaries_go_first_then_wave_after_wave(world):
    edit(world)
    plan = world.plan()
    rollout = only(world)
    assert rollout.waves == (
        ("n-1",),
        ("n-2", "n-3", "n-4", "n-5"),
        ("n-6", "n-7", "n-8", "n-9"),
        ("n-10",),
    )
    assert (rollout.pool, rollout.holder, rollout.template) == ("ci", "pool/ci", "rescue")
    assert going(world) == ["n-1"]
    assert plan.actions[0].rollout == rollout.id
    assert plan.totals.by_blocked == {"ROLLOUT_WAITS": 9}
    assert world.blocked("n-2").message == "wave 2 of 4: wave 1 is not done yet"
    assert exit_code(plan) == 2
    world.succeed()
    assert world.blocked("n-2").message == ("wave 2 of 4: wave 1 soaks until 2026-11-20T08:05:00Z")
    assert world.blocked("n-10").message == ("wave 4 of 4: wave 1 soaks until 2026-11-20T08:05:00Z")
    assert world.blocked("n-2").next_attempt_at == T0 + SOAK
    assert world.plan().next_due_at == T0 + SOAK
    assert only(world).soaking_since == T0
    world.forward(SOAK - timedelta(seconds=1))
    assert going(world) == []
    world.forward(timedelta(seconds=1))
    assert going(world) == ["n-2", "n-3", "n-4", "n-5"]
    soak(world)
    assert going(world) == ["n-6", "n-7", "n-8", "n-9"]
    soak(world)
    assert going(world) == ["n-10"]
    world.succeed()
    assert only(world).state is RolloutState.RUNNING, "the last wave soaks as well"
    assert world.plan().blocked == ()
    world.forward(SOAK)
    assert only(world).state is RolloutState.DONE
    world.succeed()
    assert world.plan().rollouts == ()
    world.nothing_left()


@pytest.mark.parametrize(
    ("fields", "waves"),
    [
        ({"waves": Waves(percent=50)}, [1, 5, 4]),
        ({"waves": Waves(percent=1)}, [1] * 10),
        ({"waves": Waves(percent=100), "canaries": 3}, [3, 7]),
        ({"waves": Waves(nodes=100), "canaries": 0}, [10]),
        ({"waves": Waves(nodes=1), "canaries": 100}, [10]),
        ({"waves": Waves(label="rack"), "canaries": 2}, [2, 2, 4, 2]),
        ({"waves": Waves(label="pdu"), "canaries": 0}, [10]),
    ],
)
def test_waves_by_count_per_cent_and_failure_domain(fields, waves):
    world = made(**fields)
    edit(world)
    rollout = only(world)
    assert [len(wave) for wave in rollout.waves] == waves
    flat = [name for wave in rollout.waves for name in wave]
    assert flat == [f"n-{number}" for number in range(1, 11)]
    finish(world)


def test_a_rack_that_is_away_as_a_whole_goes_last_and_keeps_nobody_waiting():
    world = made(waves=Waves(label="rack"), canaries=0, soak=0)
    for number in range(1, 5):
        world.unreachable(f"n-{number}")
    edit(world)
    assert [len(wave) for wave in only(world).waves] == [4, 2, 4]
    assert going(world) == ["n-5", "n-6", "n-7", "n-8"]


def test_a_node_without_the_label_is_in_the_last_wave(world):
    world = made(waves=Waves(label="pdu"), canaries=0)
    world.fleet.node("n-2", labels={"pdu": "p10"})
    world.fleet.node("n-9", labels={"pdu": "p9"})
    edit(world)
    assert [len(wave) for wave in only(world).waves] == [1, 1, 8]
    assert only(world).waves[:2] == (("n-9",), ("n-2",))
    finish(world)


@pytest.mark.parametrize("canaries", [0, 1])
def test_an_empty_label_is_a_value_like_any_other(canaries):
    world = made(waves=Waves(label="rack"), canaries=canaries)
    for name in ("n-2", "n-9"):
        world.fleet.node(name, labels={"rack": ""})
    edit(world)
    assert only(world).waves[canaries] == ("n-2", "n-9")
    assert {name for wave in only(world).waves for name in wave} == world.memory.keys()
    finish(world)
    world = made(waves=Waves(label="rack"), canaries=canaries)
    world.fleet.node("n-[1-10]", labels={"rack": ""})
    edit(world)
    finish(world)


def test_bookings_drift_and_pools_without_a_strategy_are_not_rolled_out(world):
    world.fleet.assignment("loan", "ci", "n-1", "other")
    world.fleet.node("m-[1-3]")
    world.fleet.pool("plain", "m-[1-3]", template="rescue", drift="correct")
    world.commit()
    world.adopt("m-1", "m-2", "m-3")
    assert going(world) == ["n-1"]
    assert world.plan().rollouts == ()
    assert world.action("n-1").rollout == ""
    edit(world)
    world.see("m-3", Power.OFF)
    assert sorted(going(world)) == ["m-1", "m-2", "m-3", "n-1", "n-2"]
    assert [one.node for one in world.plan().actions if one.rollout] == ["n-2"]
    finish(world)


def test_an_assignment_with_immediate_edits_has_a_rollout_of_its_own(world):
    for name in ("n-1", "n-2", "n-3"):
        world.fleet.assignment(
            f"loan-{name}", "ci", name, "other", template_edits="immediate", owner=name
        )
    world.commit()
    world.nothing_left()
    world.fleet.assignment("all", "ci", "n-4 n-5 n-6", "other", template_edits="immediate")
    world.commit()
    world.nothing_left()
    world.fleet.template("other", kernel_args=("edited",))
    world.commit()
    assert [one.holder for one in world.plan().rollouts] == [
        "assignment/all",
        "assignment/loan-n-1",
        "assignment/loan-n-2",
        "assignment/loan-n-3",
    ]
    assert going(world) == ["n-1", "n-2", "n-3", "n-4"]
    finish(world)


def brake_hold(world: World) -> None:
    hold = LocalHold(reason="a fan", by="ops", at=world.now)
    world.remember("n-2", hold=hold)


def brake_freeze(world: World) -> None:
    world.fleet.freeze("night", until=world.now + hours(9), selector="name=n-2")
    world.commit()


def brake_failure(world: World) -> None:
    failed = world.operation("n-2", state=OperationState.FAILED, attempt=3, ended_at=world.now)
    world.remember("n-2", failed=failed)


@pytest.mark.parametrize("brake", [brake_hold, brake_freeze, brake_failure])
def test_who_left_the_assignment_and_came_back_is_no_part_of_its_rollout(world, brake):
    """What it lacks is a boundary then: the rollout neither brings it nor waits for it."""
    fleet = world.fleet
    fleet.pool("ci", "n-[1-10]", template="rescue", rollout=strategy(waves=Waves(nodes=1)))
    fleet.assignment("loan", "ci", "n-[1-3]", "other", template_edits="immediate")
    world.converged()
    fleet.template("other", kernel_args=("edited",))
    world.commit()
    world.succeed()
    assert only(world).waves == (("n-1",), ("n-2",), ("n-3",))
    fleet.assignment("loan", "ci", "n-[1,3]", "other", template_edits="immediate")
    world.commit()
    world.succeed()
    fleet.assignment("loan", "ci", "n-[1-3]", "other", template_edits="immediate")
    world.commit()
    brake(world)
    world.forward(SOAK)
    keep(world, world.plan())
    assert only(world).waves == (("n-1",), (), ("n-3",))
    assert going(world) == ["n-3"]


def test_a_move_into_the_pool_is_rolled_out_as_well(world):
    world.fleet.node("m-[1-3]")
    world.fleet.pool("spare", "m-[1-3]", power="off")
    world.commit()
    world.adopt("m-1", "m-2", "m-3")
    del world.fleet.pools["spare"]
    spec = world.fleet.pools["ci"].spec
    world.fleet.pools["ci"] = replace(
        world.fleet.pools["ci"], spec=replace(spec, nodes=("n-[1-10]", "m-[1-3]"))
    )
    world.commit()
    assert world.action("m-1").verb is Verb.DEPLOY
    assert world.reason("m-2") is BlockedReason.ROLLOUT_WAITS
    finish(world)


def test_a_wave_waits_for_slots_and_retries_of_its_own(world):
    edit(world)
    soak(world)
    plan = world.plan()
    rollout = only(world)
    busy = {"rollout": rollout.id, "verb": Verb.REBOOT}
    keep(world, plan)
    for name in ("n-2", "n-3", "n-4"):
        world.remember(name, operation=world.operation(name, **busy))
    world.interrupted("n-4")
    retried = world.operation("n-4", attempt=1, not_before=world.now + hours(1), **busy)
    world.remember("n-4", operation=retried)
    assert [one.fate for one in world.plan().in_progress] == [Fate.CONTINUE] * 3
    assert going(world) == ["n-5"]
    assert only(world).soaking_since is None
    assert world.blocked("n-6").message == "wave 3 of 4: wave 2 is not done yet"
    finish(world)


# -- gates -----------------------------------------------------------------------------------------


def test_the_soak_begins_with_the_last_end_of_the_wave(world):
    edit(world)
    soak(world)
    plan = world.plan()
    keep(world, plan)
    for number in (2, 3, 4):
        world._done(f"n-{number}")
    world.forward(timedelta(minutes=30))
    assert going(world) == ["n-5"]
    assert only(world).soaking_since is None
    world._done("n-5")
    assert only(world).soaking_since == world.now
    world.forward(SOAK)
    assert going(world) == ["n-6", "n-7", "n-8", "n-9"]
    finish(world)


SICK = [
    ({"power": Power.OFF}, "its power is off"),
    ({"boot_progress": BootProgress.OS_BOOT_STARTED}, "its boot is at OSBootStarted"),
    (
        {"template_digest": "0" * 64, "boot_progress": BootProgress.OS_RUNNING},
        "it runs something else",
    ),
    ({"identity": Identity(serial="S-other")}, "another machine answers"),
]


@pytest.mark.parametrize(("reading", "ailment"), SICK)
def test_a_wave_not_healthy_at_the_end_of_its_soak_stops_the_rollout(world, reading, ailment):
    edit(world)
    world.succeed()
    world.see("n-1", **reading)
    assert only(world).failed == (), "it may recover while it soaks"
    world.forward(SOAK)
    world.see("n-1", **reading, age_s=0)
    rollout = only(world)
    assert rollout.state is RolloutState.PAUSED
    assert rollout.failed == ("n-1",)
    assert rollout.why == (
        f"1 failed (n-1), 0 may (failuresMax): n-1: not healthy after its operation: {ailment}"
    )
    assert world.reason("n-2") is BlockedReason.ROLLOUT_PAUSED
    world.succeed()
    assert going(world) == []


def test_a_node_that_recovers_while_it_soaks_is_healthy(world):
    edit(world)
    world.succeed()
    world.see("n-1", boot_progress=BootProgress.OS_BOOT_STARTED)
    world.forward(timedelta(minutes=4))
    assert going(world) == []
    world.see("n-1", boot_progress=BootProgress.OS_RUNNING)
    world.forward(timedelta(minutes=1))
    assert going(world) == ["n-2", "n-3", "n-4", "n-5"]
    finish(world)


def test_what_is_not_seen_at_the_end_of_the_soak_is_waited_for(world):
    edit(world)
    soak(world)
    seen = world.observed["n-1"]
    for unsure in (None, replace(seen, at=world.now - hours(1))):
        if unsure is None:
            del world.observed["n-1"]
        else:
            world.observed["n-1"] = unsure
        assert going(world) == []
        assert only(world).state is RolloutState.RUNNING
        assert only(world).why == "soaked; waits to see n-1 healthy"
    world.unreachable("n-1")
    world.observed["n-1"] = replace(world.observed["n-1"], failures=2)
    assert only(world).state is RolloutState.RUNNING, "a hiccup of the network"
    world.observed["n-1"] = replace(world.observed["n-1"], failures=3)
    assert only(world).state is RolloutState.PAUSED
    assert only(world).why.endswith("n-1: not healthy after its operation: it does not answer")
    world.observed["n-1"] = seen
    assert going(world) == ["n-2", "n-3", "n-4", "n-5"]
    finish(world)


def test_a_failed_node_that_left_git_is_still_named_by_the_pause(world):
    edit(world)
    world.succeed()
    world.forward(SOAK)
    world.see("n-1", power=Power.OFF, age_s=0)
    assert only(world).failed == ("n-1",)
    keep(world, world.plan())
    del world.fleet.nodes["n-1"]
    spec = replace(world.fleet.pools["ci"].spec, nodes=("n-[2-10]",))
    world.fleet.pools["ci"] = replace(world.fleet.pools["ci"], spec=spec)
    rollout = only(world)
    assert rollout.state is RolloutState.PAUSED
    assert rollout.why.endswith("n-1: not healthy after its operation")


def test_a_wave_of_which_nobody_may_start_says_whom_it_waits_for(world):
    edit(world)
    world.observed.pop("n-1")
    assert going(world) == []
    rollout = only(world)
    assert rollout.state is RolloutState.RUNNING
    assert rollout.why == "waits for n-1, which may not be started yet"


def test_an_observation_from_before_the_operation_ended_says_nothing_of_health(world):
    world = made(soak=0)
    edit(world)
    world.succeed()
    assert going(world) == [], "it was seen before its end only"
    world.forward(timedelta(seconds=6))
    assert going(world) == ["n-2", "n-3", "n-4", "n-5"]
    finish(world)


def test_a_node_that_does_not_check_in_within_the_time_to_confirm_has_failed():
    world = made(confirm=60, soak=600)
    edit(world)
    world.succeed()
    world.see("n-1", boot_progress=BootProgress.OS_BOOT_STARTED)
    assert world.plan().next_due_at == T0 + timedelta(seconds=60)
    world.forward(timedelta(seconds=60))
    world.see("n-1", boot_progress=BootProgress.OS_BOOT_STARTED, age_s=1)
    assert only(world).state is RolloutState.RUNNING, "it was asked before the time was over"
    world.see("n-1", boot_progress=BootProgress.OS_BOOT_STARTED, age_s=0)
    assert only(world).state is RolloutState.PAUSED
    world.see("n-1", boot_progress=BootProgress.OS_RUNNING, age_s=0)
    assert only(world).state is RolloutState.RUNNING
    for _ in range(12):
        soak(world, timedelta(minutes=10))
    world.nothing_left()


def test_a_longer_time_to_confirm_than_to_soak_holds_the_wave_until_then():
    world = made(confirm=1_200, soak=0)
    edit(world)
    world.succeed()
    world.forward(timedelta(minutes=10))
    world.see("n-1", Power.OFF, age_s=0)
    assert going(world) == []
    assert only(world).state is RolloutState.RUNNING
    assert world.plan().next_due_at == T0 + timedelta(minutes=20)
    world.forward(timedelta(minutes=10))
    world.see("n-1", Power.OFF, age_s=0)
    assert only(world).state is RolloutState.PAUSED
    world.see("n-1", boot_progress=BootProgress.OS_RUNNING, age_s=0)
    finish(world)


@pytest.mark.parametrize("wakes", [True, False], ids=["woken only", "BMC"])
def test_a_node_that_tells_nothing_of_its_power_any_more_has_failed(wakes):
    world = made(confirm=300, soak=60)
    edit(world)
    world.succeed()
    world.forward(timedelta(minutes=5))
    world.see("n-1", Power.UNKNOWN, wakes=wakes, age_s=0)
    assert only(world).state is RolloutState.RUNNING, "one such answer may be a hiccup"
    assert only(world).why == "soaked; waits to see n-1 healthy"
    assert world.plan().next_due_at == T0 + timedelta(minutes=7), "observationTtl later"
    world.forward(timedelta(minutes=2))
    world.see("n-1", Power.UNKNOWN, wakes=wakes, age_s=1)
    assert only(world).state is RolloutState.RUNNING, "it was asked before the time was over"
    world.see("n-1", Power.UNKNOWN, wakes=wakes, age_s=0)
    assert only(world).state is RolloutState.PAUSED
    assert only(world).why.endswith("not healthy after its operation: its power is unknown")
    keep(world, world.plan())
    world.fleet.rules(acknowledge=(only(world).acknowledgement,))
    world.commit()
    assert going(world) == ["n-2", "n-3", "n-4", "n-5"]


def test_a_node_without_power_does_not_fail_while_others_are_waited_for():
    world = made(confirm=60, soak=0, canaries=2)
    edit(world)
    world._done("n-1")
    running = world.operation("n-2", state=OperationState.RUNNING, rollout=only(world).id)
    world.interrupted("n-2", operation=running)
    keep(world, world.plan())
    world.forward(hours(1))
    world.see("n-1", Power.UNKNOWN, age_s=0)
    assert (only(world).state, only(world).failed) == (RolloutState.RUNNING, ())


def test_without_a_time_to_confirm_the_rollout_says_how_to_go_on_without_the_node(world):
    edit(world)
    soak(world)
    world.forward(hours(10))
    world.see("n-1", Power.UNKNOWN, age_s=0)
    why = only(world).why
    assert why.startswith("soaked; waits to see n-1 healthy; n-1 told nothing of the power: ")
    assert "commit `confirm` to the pool's rollout" in why
    managed = world.fleet.nodes["n-1"]
    world.fleet.lifecycle("n-1", Lifecycle.BROKEN)
    world.commit()
    assert going(world) == ["n-2"], "another canary: nobody has seen that the first one runs"
    world.fleet.nodes["n-1"] = managed
    world.fleet.pool("ci", "n-[1-10]", template="rescue", rollout=strategy(confirm=600))
    world.commit()
    assert only(world).state is RolloutState.PAUSED


# -- pauses ----------------------------------------------------------------------------------------


def paused(world: World) -> Rollout:
    """The canary is done, the second wave has one failure."""
    edit(world)
    soak(world)
    keep(world, world.plan())
    fail(world, "n-3")
    rollout = only(world)
    keep(world, world.plan())
    return rollout


def test_one_failure_too_many_pauses_and_says_why(world):
    rollout = paused(world)
    assert rollout.state is RolloutState.PAUSED
    assert rollout.acknowledgement == rollout.id
    line = world.blocked("n-2")
    assert line.reason is BlockedReason.ROLLOUT_PAUSED
    assert line.message == (
        "the rollout of rescue is paused: 1 failed (n-3), 0 may (failuresMax):"
        " n-3: not running after 20m; revert it, or to go on, commit to the Policy:"
        f" acknowledge: [{rollout.id[:12]}]"
    )
    plan = world.plan()
    assert plan.totals.by_blocked == {"ROLLOUT_PAUSED": 8, "OPERATION_FAILED": 1}
    assert exit_code(plan) == 3
    assert plan.next_due_at is None
    world.converged()
    world.forward(hours(10))
    assert going(world) == [], "time alone does not heal it"


def test_what_is_queued_of_a_paused_rollout_is_withdrawn_and_what_runs_goes_on(world):
    edit(world)
    soak(world)
    rollout = only(world)
    keep(world, world.plan())
    fail(world, "n-3")
    of = {"rollout": rollout.id, "verb": Verb.REBOOT}
    world.remember("n-2", operation=world.operation("n-2", **of))
    world.interrupted("n-4", operation=world.operation("n-4", attempt=1, **of))
    running = world.operation("n-5", state=OperationState.RUNNING, attempt=1, **of)
    world.interrupted("n-5", operation=running)
    fates = {one.node: one.fate for one in world.plan().in_progress}
    assert fates == {"n-2": Fate.CANCEL, "n-4": Fate.CONTINUE, "n-5": Fate.CONTINUE}
    assert world.progress("n-2").why.startswith("its rollout is paused: 1 failed (n-3)")
    world.converged()
    assert world.reason("n-2") is BlockedReason.ROLLOUT_PAUSED


def test_a_commit_that_acknowledges_the_rollout_lets_it_go_on(world):
    rollout = paused(world)
    world.fleet.rules(acknowledge=(rollout.id[:12],))
    world.commit()
    after = only(world)
    assert after.id == rollout.id, "another commit is no other rollout"
    assert (after.state, after.forgiven, after.failed) == (
        RolloutState.RUNNING,
        ("n-3",),
        ("n-3",),
    )
    assert going(world) == ["n-2", "n-4", "n-5"]
    for _ in range(6):
        soak(world)
    assert world.rollouts == {}
    assert world.plan().totals.by_blocked == {"OPERATION_FAILED": 1}
    world.converged()


def test_an_acknowledgement_is_for_one_pause_only(world):
    rollout = paused(world)
    world.fleet.rules(acknowledge=(rollout.id,))
    world.commit()
    keep(world, world.plan())
    fail(world, "n-5")
    again = only(world)
    assert again.state is RolloutState.PAUSED
    assert again.acknowledgement not in ("", rollout.id)
    assert "1 failed (n-5)" in again.why
    assert going(world) == []
    keep(world, world.plan())
    world.fleet.rules(acknowledge=(rollout.id, again.acknowledgement[:12]))
    world.commit()
    assert only(world).forgiven == ("n-3", "n-5")
    assert going(world) == ["n-2", "n-4"]
    world.converged()


def test_a_forgiven_node_that_was_mended_and_fails_again_is_counted():
    world = made(canaries=2, soak=600, confirm=60)
    edit(world)
    world.succeed()

    def look(power: Power) -> Rollout:
        world.forward(timedelta(seconds=70))
        world.see("n-1", power, age_s=0)
        keep(world, world.plan())
        return only(world)

    first = look(Power.OFF)
    assert (first.state, first.failed) == (RolloutState.PAUSED, ("n-1",))
    world.fleet.rules(acknowledge=(first.acknowledgement,))
    world.commit()
    assert look(Power.OFF).forgiven == ("n-1",)
    mended = look(Power.ON)
    assert (mended.failed, mended.forgiven) == ((), ())
    again = look(Power.OFF)
    assert (again.state, again.failed) == (RolloutState.PAUSED, ("n-1",))
    assert again.acknowledgement not in ("", first.acknowledgement)


def test_failures_within_the_budget_do_not_stop_it():
    world = made(failures_max=1)
    rollout = paused(world)
    assert (rollout.state, rollout.failed) == (RolloutState.RUNNING, ("n-3",))
    soak(world)
    assert going(world) == ["n-6", "n-7", "n-8", "n-9"]
    keep(world, world.plan())
    fail(world, "n-7")
    assert only(world).state is RolloutState.PAUSED, "the budget is that of the whole rollout"
    assert "2 failed (n-[3,7]), 1 may" in only(world).why
    world.converged()


def test_a_failed_node_that_is_tried_again_goes_although_the_rest_is_paused(world):
    paused(world)
    world.remember("n-3", failed=None)
    assert going(world) == ["n-3"]
    world.succeed()
    world.forward(timedelta(minutes=1))
    assert only(world).failed == ()
    assert only(world).state is RolloutState.PAUSED, "only a commit lets it go on"
    world.fleet.rules(acknowledge=(only(world).acknowledgement,))
    world.commit()
    finish(world)


def test_an_acknowledgement_is_spent_although_the_failed_node_was_mended_before(world):
    rollout = paused(world)
    world.remember("n-3", failed=None)
    world.succeed()
    world.forward(timedelta(minutes=1))
    assert only(world).failed == (), "it was tried again, and is healthy"
    world.fleet.rules(acknowledge=(rollout.id,))
    world.commit()
    assert going(world) == ["n-2", "n-4", "n-5"]
    keep(world, world.plan())
    fail(world, "n-5")
    again = only(world)
    keep(world, world.plan())
    assert again.state is RolloutState.PAUSED
    assert again.acknowledgement not in ("", rollout.id)
    assert going(world) == []
    assert only(world).state is RolloutState.PAUSED, "nobody has accepted this failure"


def test_a_cancelled_operation_is_no_failure_of_the_change(world):
    edit(world)
    soak(world)
    keep(world, world.plan())
    world.remember("n-3", failed=world.operation("n-3", state=OperationState.CANCELLED))
    assert only(world).state is RolloutState.RUNNING
    soak(world)
    assert going(world) == ["n-6", "n-7", "n-8", "n-9"]
    world.remember("n-3", failed=None)
    assert only(world).waves[-1] == ("n-3", "n-10"), "it joins the last wave"
    finish(world)


# -- the next commit -------------------------------------------------------------------------------


def test_another_edit_is_another_rollout(world):
    edit(world)
    soak(world)
    first = only(world)
    keep(world, world.plan())
    queued = {"rollout": first.id, "verb": Verb.REBOOT}
    world.remember("n-2", operation=world.operation("n-2", **queued))
    running = world.operation("n-3", state=OperationState.RUNNING, attempt=1, **queued)
    world.interrupted("n-3", operation=running)
    edit(world, "another")
    plan = world.plan()
    (old,) = [one for one in plan.rollouts if one.id == first.id]
    new = current(world)
    assert (old.id, old.state) == (first.id, RolloutState.SUPERSEDED)
    assert old.why == "git wants another state of its nodes"
    assert new.id != first.id
    assert new.waves[0] == ("n-1",)
    assert sum(len(wave) for wave in new.waves) == 10
    assert not new.reverts
    assert {one.node: one.fate for one in plan.in_progress} == {
        "n-2": Fate.CANCEL,
        "n-3": Fate.SUPERSEDE,
    }
    assert going(world) == ["n-1"]
    finish(world)


def test_a_revert_withdraws_what_is_queued_and_goes_back_at_once(world):
    before = world.fleet.templates["rescue"].digest
    edit(world)
    soak(world)
    first = only(world)
    keep(world, world.plan())
    for name in ("n-2", "n-3"):
        world._done(name)
    world.remember("n-4", operation=world.operation("n-4", rollout=first.id))
    running = world.operation("n-5", state=OperationState.RUNNING, attempt=1, rollout=first.id)
    world.interrupted("n-5", operation=running)
    world.fleet.template("rescue")
    world.commit()
    assert world.fleet.templates["rescue"].digest == before
    assert world.progress("n-4").fate is Fate.CANCEL
    assert world.progress("n-5").fate is Fate.SUPERSEDE
    back = current(world)
    assert back.reverts
    assert back.waves == (("n-1", "n-2", "n-3", "n-5"),)
    assert going(world) == ["n-1", "n-2", "n-3"], "no canaries on the way back"
    world.succeed()
    assert going(world) == ["n-5"]
    finish(world)


def test_a_revert_is_never_paused(world):
    edit(world)
    soak(world)
    world.succeed()
    world.fleet.template("rescue")
    world.commit()
    world.unreachable("n-2")
    world.succeed()
    fail(world, "n-3")
    world.see("n-2")
    assert only(world).failed == ("n-3",)
    assert only(world).state is RolloutState.RUNNING
    assert going(world) == ["n-2"]
    world.converged()


def test_a_second_try_of_what_was_reverted_begins_with_its_canaries(world):
    edit(world)
    soak(world)
    world.succeed()
    world.fleet.template("rescue")
    world.commit()
    world.succeed()
    edit(world)
    new = current(world)
    assert not new.reverts
    assert new.waves[0] == ("n-1",)
    finish(world)


def test_what_only_a_few_nodes_had_before_is_no_way_back_for_all(world):
    """One node was silent for long and still carries what was left behind long ago."""
    world.unreachable("n-10")
    edit(world, "second")
    for _ in range(8):
        soak(world)
        world.unreachable("n-10")
    world.rollouts = {}
    world.see("n-10")
    edit(world, "third")
    soak(world)
    world.succeed()
    world.fleet.template("rescue")
    world.commit()
    new = current(world)
    assert not new.reverts, "nine of ten ran the second"
    assert len(new.waves[0]) == 1


def test_what_an_unfinished_rollout_brought_is_no_known_state(world):
    edit(world, "first")
    soak(world)
    world.succeed()
    edit(world, "second")
    world.succeed()
    edit(world, "first")
    new = current(world)
    assert not new.reverts, "the first was never seen to the end"
    world.fleet.template("rescue")
    world.commit()
    assert current(world).reverts
    finish(world)


def in_the_middle(**fields: object) -> World:
    """Ten nodes of a pool without a strategy that are changed: three run, one of them is tried once
    more, one is done, six wait. Then the pool gets a strategy.
    """
    world = made(**fields)
    world.fleet.pool("ci", "n-[1-10]", template="rescue")
    edit(world)
    for number in range(1, 11):
        name = f"n-{number}"
        queued = world.operation(name, verb=Verb.REBOOT)
        running = replace(queued, state=OperationState.RUNNING, attempt=1)
        if number in (2, 5):
            world.interrupted(name, operation=running)
        elif number == 8:
            world.interrupted(name, operation=replace(queued, attempt=1))
        elif number == 10:
            world._done(name)
        else:
            world.remember(name, operation=queued)
    world.fleet.pool("ci", "n-[1-10]", template="rescue", rollout=strategy(**fields))
    world.commit()
    return world


def withdrawn(world: World) -> list[str]:
    return [one.node for one in world.plan().in_progress if one.fate is Fate.CANCEL]


def take_back(world: World) -> None:
    """A cycle that only withdraws: what runs goes on running."""
    plan = world.plan()
    assert plan.actions == ()
    for line in plan.in_progress:
        if line.fate is Fate.CANCEL:
            world.remember(line.node, operation=None)
    keep(world, plan)


@pytest.mark.parametrize(("canaries", "fills"), [(1, ()), (0, ()), (5, ("n-1", "n-3"))])
def test_a_strategy_that_comes_in_the_middle_gates_what_is_queued(canaries, fills):
    world = in_the_middle(canaries=canaries)
    assert withdrawn(world) == ["n-1", "n-3", "n-4", "n-6", "n-7", "n-9"]
    assert world.progress("n-1").why == ("its pool rolls changes out by now: it goes with its wave")
    take_back(world)
    first = tuple(sorted(["n-2", "n-5", "n-8", *fills]))
    rollout = only(world)
    assert rollout.waves[0] == first, "what runs already is the first wave"
    assert "n-10" not in [name for wave in rollout.waves for name in wave]
    assert going(world) == list(fills)
    assert withdrawn(world) == []
    keep(world, world.plan())
    for name in first:
        world._done(name)
    assert going(world) == [], "it has to soak like any other wave"
    world.forward(SOAK)
    assert only(world).wave == 1
    assert going(world) == list(only(world).waves[1])
    finish(world)


def test_a_failure_of_what_ran_before_the_strategy_came_pauses_it():
    world = in_the_middle()
    take_back(world)
    keep(world, world.plan())
    fail(world, "n-5")
    assert only(world).state is RolloutState.PAUSED
    assert going(world) == []


def test_what_is_queued_stays_so_where_it_is_part_of_the_rollout_or_mends_drift():
    world = in_the_middle()
    take_back(world)
    keep(world, world.plan())
    for name in ("n-2", "n-5", "n-8"):
        world._done(name)
    world.forward(SOAK)
    rollout = only(world)
    keep(world, world.plan())
    queued = world.operation("n-1", verb=Verb.REBOOT, rollout=rollout.id)
    world.remember("n-1", operation=queued)
    drifted = world.operation("n-10", verb=Verb.POWER_ON, corrects=True, disruptive=False)
    world.see("n-10", Power.OFF)
    world.remember("n-10", operation=drifted)
    fates = {one.node: one.fate for one in world.plan().in_progress}
    assert fates == {"n-1": Fate.CONTINUE, "n-10": Fate.CONTINUE}
    world.converged()


def test_what_was_queued_for_a_rollout_that_is_over_goes_with_the_next():
    world = in_the_middle()
    take_back(world)
    keep(world, world.plan())
    old = world.operation("n-1", verb=Verb.REBOOT, rollout="f" * 64)
    world.remember("n-1", operation=old)
    assert withdrawn(world) == ["n-1"]
    take_back(world)
    finish(world)


def test_a_pool_that_loses_its_strategy_changes_the_rest_at_once(world):
    edit(world)
    soak(world)
    keep(world, world.plan())
    world.fleet.pool("ci", "n-[1-10]", template="rescue")
    world.commit()
    assert only(world).state is RolloutState.SUPERSEDED
    assert len(going(world)) == 9
    world.nothing_left()


# -- who cannot go, who joins, who leaves ----------------------------------------------------------


def test_canaries_are_nodes_that_can_go(world):
    world.remember("n-1", hold=LocalHold(reason="x", by="ada", at=T0))
    world.unreachable("n-2")
    edit(world)
    assert only(world).waves[0] == ("n-3",)
    assert only(world).waves[-1] == ("n-2",)
    world.remember("n-1", hold=None)
    world.see("n-2")
    finish(world)


def test_a_canary_that_is_held_before_its_turn_is_replaced(world):
    edit(world)
    keep(world, world.plan())
    world.remember("n-1", hold=LocalHold(reason="x", by="ada", at=T0))
    assert only(world).waves[0] == ("n-2",)
    assert going(world) == ["n-2"]
    for _ in range(5):
        soak(world)
    assert only(world).why == "waits for n-1, which cannot be started"
    assert world.plan().totals.by_blocked == {"HELD": 1}
    world.remember("n-1", hold=None)
    assert going(world) == ["n-1"]
    finish(world)


@pytest.mark.parametrize("way", ["cancelled", "broken", "another pool"])
def test_canaries_that_leave_before_one_of_them_is_done_are_replaced(world, way):
    edit(world)
    keep(world, world.plan())
    if way == "cancelled":
        cancelled = world.operation("n-1", state=OperationState.CANCELLED, ended_at=world.now)
        world.interrupted("n-1", failed=cancelled, operation=None)
    elif way == "broken":
        world.fleet.lifecycle("n-1", Lifecycle.BROKEN)
        world.commit()
    else:
        spec = world.fleet.pools["ci"].spec
        kept = replace(spec, nodes=("n-[2-10]",))
        world.fleet.pools["ci"] = replace(world.fleet.pools["ci"], spec=kept)
        world.commit()
    assert only(world).waves[0] == ("n-2",)
    assert going(world) == ["n-2"]
    soak(world)
    assert len(going(world)) == 4


def test_who_joins_while_there_are_only_canaries_goes_after_them():
    fleet = Fleet()
    fleet.node("n-[1-10]")
    fleet.template("rescue")
    fleet.pool("ci", "n-1", template="rescue", rollout=strategy())
    fleet.pool("spare", "n-[2-10]", power="off")
    world = World(fleet)
    world.adopt()
    edit(world)
    assert only(world).waves == (("n-1",),)
    keep(world, world.plan())
    del world.fleet.pools["spare"]
    world.fleet.pool("ci", "n-[1-10]", template="rescue", rollout=strategy())
    world.commit()
    assert going(world) == ["n-1"], "nine more are no canaries"
    assert [len(wave) for wave in only(world).waves] == [1, 4, 4, 1]
    finish(world)


def test_a_silent_node_does_not_stop_its_wave_and_goes_when_it_is_back(world):
    edit(world)
    soak(world)
    world.unreachable("n-3")
    world.succeed()
    assert only(world).waves == (
        ("n-1",),
        ("n-2", "n-4", "n-5"),
        ("n-6", "n-7", "n-8", "n-9"),
        ("n-3", "n-10"),
    )
    for name in list(world.observed):
        if name != "n-3":
            world.see(name)
    soak(world)
    world.unreachable("n-3")
    soak(world)
    world.unreachable("n-3")
    assert going(world) == ["n-10"]
    world.see("n-3")
    finish(world)


def test_after_a_start_nobody_is_taken_for_away(world):
    edit(world)
    soak(world)
    keep(world, world.plan())
    before = only(world).waves
    world.observed = {}
    assert only(world).waves == before
    assert going(world) == []
    for number in range(1, 11):
        world.see(f"n-{number}")
    assert only(world).waves == before
    finish(world)


def test_a_frozen_wave_waits_for_the_end_of_the_freeze(world):
    edit(world)
    soak(world)
    keep(world, world.plan())
    world.fleet.freeze("night", until=world.now + hours(1))
    before = only(world).waves
    assert going(world) == []
    assert only(world).waves == before
    world.forward(hours(1))
    assert going(world) == ["n-2", "n-3", "n-4", "n-5"]
    finish(world)


def test_all_of_them_away_is_waited_for(world):
    edit(world)
    keep(world, world.plan())
    for number in range(1, 11):
        world.unreachable(f"n-{number}")
    assert only(world).waves[0] == ("n-1",)
    assert going(world) == []
    world.see("n-7")
    assert going(world) == ["n-7"]
    for number in range(1, 11):
        world.see(f"n-{number}")
    finish(world)


def test_who_joins_goes_with_the_last_wave_and_who_leaves_is_not_waited_for(world):
    edit(world)
    soak(world)
    keep(world, world.plan())
    world.fleet.node("m-1")
    world.fleet.pool("spare", "m-1", power="off")
    world.commit()
    world.adopt("m-1")
    del world.fleet.pools["spare"]
    del world.memory["n-6"]
    world.fleet.pool("ci", "n-[1-2]", template="rescue", rollout=strategy())
    spec = world.fleet.pools["ci"].spec
    world.fleet.pools["ci"] = replace(
        world.fleet.pools["ci"], spec=replace(spec, nodes=("n-[1-4]", "n-[6-10]", "m-1"))
    )
    world.commit()
    assert only(world).waves[-1] == ("m-1", "n-10")
    assert going(world) == ["n-2", "n-3", "n-4"]
    soak(world)
    assert only(world).waves[1] == ("n-2", "n-3", "n-4")
    assert going(world) == ["n-7", "n-8", "n-9"]
    soak(world)
    assert going(world) == ["m-1", "n-10"]
    for _ in range(2):
        soak(world)
    assert world.rollouts == {}
    world.converged()


# -- beside the other gates ------------------------------------------------------------------------


def test_the_radius_counts_all_waves_and_no_rollout_begins_before_it_is_acknowledged(world):
    edit(world)
    world.fleet.rules(blast_radius=BlastRadius(nodes_max=9))
    plan = world.plan()
    assert plan.totals.by_blocked == {"BLAST_RADIUS": 10}
    assert plan.rollouts == ()
    world.fleet.rules(blast_radius=BlastRadius(nodes_max=9), acknowledge=(plan.change_digest,))
    world.commit()
    assert going(world) == ["n-1"]
    assert len(world.plan().consents) == 10
    world.succeed()
    world.fleet.rules(blast_radius=BlastRadius(nodes_max=1))
    world.commit()
    world.forward(SOAK)
    assert going(world) == ["n-2", "n-3", "n-4", "n-5"], "all ten were acknowledged"
    finish(world)


def test_a_rewritten_history_and_a_narrow_plan_leave_rollouts_as_they_are(world):
    edit(world)
    soak(world)
    before = dict(world.rollouts)
    world.context = replace(world.context, limit_nodes=frozenset({"n-2", "n-6"}))
    plan = world.plan()
    assert [one.node for one in plan.actions] == []
    assert {one.id: one for one in plan.rollouts} == before
    world.context = replace(world.context, limit_nodes=None, abandoned_revision="a" * 40)
    assert {one.id: one for one in world.plan().rollouts} == before
    world.context = replace(world.context, abandoned_revision=None)
    keep(world, world.plan())
    world.context = replace(world.context, limit_nodes=frozenset({"n-2", "n-6"}))
    assert going(world) == ["n-2"]
    world.rollouts = {}
    assert world.reason("n-2") is BlockedReason.ROLLOUT_WAITS
    assert "not narrowed to nodes" in world.blocked("n-2").message
    world.converged()


def test_a_narrow_plan_begins_nothing_on_a_node_that_joined_since(world):
    fleet = world.fleet
    waves = strategy(waves=Waves(nodes=9), soak=0)
    fleet.pool("ci", "n-[1-10]", template="rescue", rollout=waves)
    edit(world)
    soak(world)
    keep(world, world.plan())
    assert len(going(world)) == 9, "the last wave has its turn"
    fleet.node("n-11")
    fleet.pool("ci", "n-[1-11]", template="rescue", rollout=waves)
    world.commit()
    world.memory["n-11"] = replace(world.memory["n-10"], node="n-11")
    world.see("n-11")
    world.context = replace(world.context, limit_nodes=frozenset({"n-11"}))
    assert world.reason("n-11") is BlockedReason.ROLLOUT_WAITS
    assert "not narrowed to nodes" in world.blocked("n-11").message
    world.context = replace(world.context, limit_nodes=None)
    assert "n-11" in going(world)
    finish(world)
