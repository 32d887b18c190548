"""A plan that was made with what was kept from the plans before equals one that was made anew."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from metalwright.model.desired import Desired
from metalwright.model.inventory import Commit, Source
from metalwright.model.observed import Observed, Power
from metalwright.model.operation import LocalHold, Memory, OperationState
from metalwright.model.plan import BlockedReason, Plan
from metalwright.model.policy import BlastRadius
from metalwright.model.rollout import ROLLOUT_OVER
from metalwright.plan import (
    Attributed,
    Checked,
    Memo,
    PlanContext,
    attribute,
    check,
    make,
    to_json,
)
from metalwright.schedule import desired as resolve

from ..schedule.fleet import Fleet, commit_of  # noqa: TID252 - one fleet for both rooms
from .test_properties import ABANDONED, NAMES, declare, look, remember, worlds
from .world import World, shuffled

Values = tuple[Desired, Observed, Memory, PlanContext]


def blame(paths: tuple[str, ...], since: str | None) -> Commit:
    return replace(commit_of(1), subject=f"{paths} since {since}")


def locate(source: Source) -> Source:
    return replace(source, line=17)


class Cycles:
    """Makes, checks and attributes plan after plan as the daemon does: what does not change stays
    the very same object. Each is compared with one for which nothing was kept.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._wanted: Desired | None = None
        self.restart()

    def restart(self) -> None:
        """Everything that is kept is lost."""
        self._memo, self._checked, self._attributed = Memo(), Checked(), Attributed()

    def commit(self) -> None:
        """The documents have changed."""
        self.world.commit()
        self._wanted = None

    def values(self, shuffle: int | None = None) -> Values:
        world, wanted = self.world, self._wanted
        if wanted is None:
            wanted = resolve(world.inventory(), world.now)
        until = wanted.next_change_at
        if world.now < wanted.at or (until is not None and world.now >= until):
            wanted = resolve(wanted.inventory, world.now)
        self._wanted = wanted
        _, observed, memory, context = world.values(shuffle)
        return replace(wanted, at=world.now), observed, memory, context

    def cycle(self, shuffle: int | None = None) -> Plan:
        values = self.values(shuffle)
        plan, anew = make(*values, self._memo), make(*values)
        assert plan == anew
        assert to_json(plan) == to_json(anew)
        assert check(plan, *values, self._checked) == check(plan, *values) == ()
        told = attribute(plan, blame, locate, self._attributed)
        assert told == attribute(anew, blame, locate)
        assert to_json(told) == to_json(attribute(anew, blame, locate))
        return plan

    def broken(self, plan: Plan) -> None:
        """The same is said of a wrong plan, whatever was said of the plans before."""
        values, said = self.values(), check(plan, *self.values())
        assert said
        for _ in range(2):  # also when it is asked once more
            assert check(plan, *values, self._checked) == said


def keep_what_it_says(world: World, plan: Plan) -> None:
    """What the engine keeps of a plan beside the operations."""
    world.consents = (world.consents - set(plan.lapsed)) | set(plan.consents)
    world.rollouts = {one.id: one for one in plan.rollouts if one.state not in ROLLOUT_OVER}


def act(world: World, plan: Plan, draw: Any) -> None:
    """Some of the actions become operations, some of the operations go on or come to an end."""
    for action in plan.actions[:2]:
        operation = world.operation(action.node, verb=action.verb, rollout=action.rollout)
        world.remember(action.node, operation=operation)
    for line in plan.in_progress[:2]:
        operation = world.memory[line.node].operation
        assert operation is not None
        if operation.state is OperationState.PENDING and draw(st.booleans()):
            running = replace(operation, state=OperationState.RUNNING)
            world.interrupted(line.node, operation=running)
        else:
            world.interrupted(line.node, operation=None)


def correct(world: World, name: str) -> None:
    """The node was corrected again and again, and has drifted once more."""
    known = world.memory[name].applied if name in world.memory else None
    if known is not None:
        world.remember(name, applied=replace(known, corrections=3, at=world.now))
        world.see(name, Power.OFF)


def change_context(world: World, draw: Any) -> None:
    field, value = draw(
        st.sampled_from(
            [
                ("limit_nodes", None),
                ("limit_nodes", frozenset(NAMES[:3])),
                ("observed_kind", "live"),
                ("observed_kind", "none"),
                ("abandoned_revision", None),
                ("abandoned_revision", ABANDONED),
                ("former_radius", BlastRadius(nodes_max=1)),
                ("later_revisions", frozenset({commit_of(1).id, commit_of(2).id})),
                ("capabilities", {"fake": frozenset()}),
            ]
        )
    )
    world.context = replace(world.context, **{field: value})


def change(cycles: Cycles, plan: Plan, draw: Any) -> None:
    """One thing is another than in the cycle before."""
    world, name = cycles.world, draw(st.sampled_from(NAMES))
    match draw(st.integers(0, 13)):
        case 0 | 1 | 2:
            seconds = draw(st.sampled_from([1, 59, 60, 115, 116, 120, 121, 3600, 14_400]))
            world.now += timedelta(seconds=seconds)
        case 3:
            world.now -= timedelta(seconds=draw(st.sampled_from([1, 121, 7200])))
        case 4 | 5:
            look(world, draw, (name,))
        case 6:
            remember(world, draw, (name,))
        case 7:
            act(world, plan, draw)
        case 8:
            keep_what_it_says(world, plan)
        case 9:
            declare(world.fleet, draw)
            cycles.commit()
        case 10:
            change_context(world, draw)
        case 11:
            world.slots = {"fleet": draw(st.integers(0, 4))}
        case 12:
            correct(world, name)
        case 13:
            cycles.restart()


@settings(max_examples=100, deadline=None)
@given(worlds(), st.data())
def test_what_is_kept_from_plan_to_plan_never_changes_one(world, data):
    cycles = Cycles(world)
    plan = cycles.cycle()
    for number in range(data.draw(st.integers(1, 10))):
        change(cycles, plan, data.draw)
        plan = cycles.cycle(shuffle=data.draw(st.sampled_from([None, None, number])))


@settings(max_examples=60, deadline=None)
@given(worlds(), st.data())
def test_a_plan_that_was_bent_is_found_out_after_any_number_of_good_ones(world, data):
    cycles = Cycles(world)
    plan = cycles.cycle()
    if data.draw(st.booleans()):
        change(cycles, plan, data.draw)
        plan = cycles.cycle()
    if plan.blocked:
        cycles.broken(replace(plan, blocked=plan.blocked[1:]))
    if plan.in_progress:
        line = plan.in_progress[0]
        cycles.broken(replace(plan, in_progress=plan.in_progress[1:]))
        other = replace(line, operation_id="another")
        cycles.broken(replace(plan, in_progress=(other, *plan.in_progress[1:])))
    if plan.actions:
        cycles.broken(replace(plan, actions=plan.actions[1:]))
    cycles.cycle()


def small() -> World:
    fleet = Fleet()
    fleet.node("n-1")
    fleet.node("n-2")
    fleet.pool("ci", "n-[1-2]", template="ci", template_edits="immediate")
    fleet.template("ci")
    world = World(fleet)
    world.adopt()
    return world


def test_an_answer_that_grows_too_old_is_told_of_when_its_time_has_come():
    world = small()
    world.fleet.template("ci", kernel_args=("debug",))
    world.commit()
    cycles = Cycles(world)
    assert [action.node for action in cycles.cycle().actions] == ["n-1", "n-2"]
    world.now += timedelta(seconds=115)
    assert len(cycles.cycle().actions) == 2
    world.now += timedelta(seconds=1)
    stale = cycles.cycle()
    assert [line.reason for line in stale.blocked] == [BlockedReason.STALE_OBSERVATION] * 2


def test_a_line_is_the_same_object_until_something_of_its_node_changes():
    world = small()
    world.fleet.template("ci", kernel_args=("debug",))
    for name in ("n-1", "n-2"):
        world.remember(name, hold=LocalHold(reason="x", by="ada", at=world.now))
    world.commit()
    cycles, memo = Cycles(world), Memo()
    first = make(*cycles.values(), memo).blocked
    world.now += timedelta(seconds=1)
    world.see("n-2", age_s=1)
    second = make(*cycles.values(), memo).blocked
    assert second[0] is first[0]
    assert second[1] is not first[1]
    assert second == first


def test_a_line_that_is_kept_back_is_the_same_object_until_something_of_its_node_changes():
    world = small()
    world.fleet.template("ci", kernel_args=("debug",))
    world.fleet.rules(blast_radius=BlastRadius(nodes_max=1))
    world.commit()
    cycles, memo, attributed = Cycles(world), Memo(), Attributed()
    first = make(*cycles.values(), memo)
    assert {line.reason for line in first.blocked} == {BlockedReason.BLAST_RADIUS}
    told = attribute(first, blame, locate, attributed).blocked
    world.now += timedelta(seconds=1)
    world.see("n-2", age_s=1)
    second = make(*cycles.values(), memo)
    assert second.blocked[0] is first.blocked[0]
    assert second.blocked[1] is not first.blocked[1]
    assert second.blocked == first.blocked
    assert attribute(second, blame, locate, attributed).blocked[0] is told[0]
    world.fleet.rules(blast_radius=BlastRadius(nodes_max=1), acknowledge=("a" * 12,))
    world.unreachable("n-1")
    assert make(*cycles.values(), memo).blocked != first.blocked


def test_a_memo_that_saw_an_exception_begins_anew():
    world = small()
    memo, cycles = Memo(), Cycles(world)
    values = cycles.values()
    before = make(*values, memo)
    lost = replace(values[0].inventory, nodes=shuffled({}, 1))
    try:
        make(replace(values[0], inventory=lost), *values[1:], memo)
    except KeyError:
        pass
    else:
        raise AssertionError("a desired node that git does not have is no plan")
    assert make(*values, memo) == before
