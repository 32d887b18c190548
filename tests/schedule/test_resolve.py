"""Each pooled node has one holder at every instant, and the next change is told in advance."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metalwright.model.desired import Desired, FreezeInForce, Holder
from metalwright.model.digest import digest_of
from metalwright.model.hardware import Lifecycle
from metalwright.model.inventory import Source
from metalwright.model.tenancy import DriftPolicy, PowerState, TemplateEdits
from metalwright.schedule import RESTING_PRIORITY, desired

from .fleet import T0, Fleet, hours

TICK = timedelta(microseconds=1)


@pytest.fixture
def fleet() -> Fleet:
    made = Fleet()
    made.node("n-[1-6]")
    made.template("rescue")
    made.template("ci", kernel_args=("quiet",))
    made.pool("ci", "n-[1-4]", template="rescue", drift="correct")
    made.pool("spare", "n-5", power="off", data_loss_consent=True)
    return made


def test_a_pool_at_rest_wants_its_template_or_its_power_state(fleet):
    found = desired(fleet.build(), T0)
    assert set(found.nodes) == {"n-1", "n-2", "n-3", "n-4", "n-5"}, "n-6 is in no pool"
    resting, spare = found.nodes["n-1"], found.nodes["n-5"]
    assert resting.holder == Holder(kind="Pool", name="ci", owner="lab")
    assert resting.priority == RESTING_PRIORITY
    assert resting.target.power is PowerState.ON
    assert resting.target.template == fleet.templates["rescue"]
    assert resting.target.digest == digest_of(
        {"power": "on", "template": fleet.templates["rescue"].digest}
    )
    assert resting.drift is DriftPolicy.CORRECT
    assert resting.template_edits is TemplateEdits.IMMEDIATE
    assert resting.source == Source(path="pools/ci.yaml", line=1, field="spec.resting.template")
    assert spare.target.power is PowerState.OFF
    assert spare.target.template is None
    assert spare.target.digest == digest_of({"power": "off", "template": None})
    assert spare.data_loss_consent
    assert spare.source.field == "spec.resting.power"


def test_an_assignment_takes_over_the_nodes_that_it_names(fleet):
    fleet.assignment("nightly", "ci", "n-[2-3]", "ci", owner="alice", priority=700)
    found = desired(fleet.build(), T0).nodes
    held = found["n-2"]
    assert held.holder == Holder(kind="Assignment", name="nightly", owner="alice")
    assert held.target.template == fleet.templates["ci"]
    assert held.priority == 700
    assert held.template_edits is TemplateEdits.AT_BOUNDARY
    assert held.source == Source(path="assignments/nightly.yaml", line=1, field="spec.template")
    assert found["n-3"].target is held.target
    assert found["n-3"].holder is held.holder
    assert found["n-4"].holder.kind == "Pool"
    assert found["n-4"].target is found["n-1"].target


@pytest.mark.parametrize(
    ("after", "holder"),
    [
        (-TICK, "pool/ci"),
        (TICK * 0, "assignment/nightly"),
        (hours(2) - TICK, "assignment/nightly"),
        (hours(2), "pool/ci"),
    ],
)
@pytest.mark.parametrize("by_schedule", [False, True])
def test_an_assignment_begins_at_its_start_and_is_over_at_its_end(
    fleet, after, holder, by_schedule
):
    fleet.schedule("night", (T0, T0 + hours(2)))
    when = {"schedule": "night"} if by_schedule else {"start": T0, "end": T0 + hours(2)}
    fleet.assignment("nightly", "ci", "n-1", "ci", when=when)
    found = desired(fleet.build(), T0 + after).nodes["n-1"]
    assert str(found.holder) == holder
    assert found.holder.since == (T0 if holder.startswith("assignment") else None)


def test_the_next_window_of_a_schedule_is_another_tenancy(fleet):
    fleet.schedule("shifts", (T0, T0 + hours(2)), (T0 + hours(2), T0 + hours(4)))
    fleet.assignment("nightly", "ci", "n-1", "ci", when={"schedule": "shifts"})
    first = desired(fleet.build(), T0)
    assert first.next_change_at == T0 + hours(2)
    second = desired(fleet.build(), T0 + hours(2))
    holder = first.nodes["n-1"].holder
    assert (holder.since, holder.until) == (T0, T0 + hours(2))
    assert second.nodes["n-1"].holder == replace(holder, since=T0 + hours(2), until=T0 + hours(4))


def test_nodes_that_are_not_managed_have_no_desired_state_but_are_told_of(fleet):
    fleet.assignment("nightly", "ci", "n-2", "ci")
    fleet.lifecycle("n-1", Lifecycle.OBSERVED)
    fleet.lifecycle("n-2", Lifecycle.BROKEN)
    fleet.lifecycle("n-6", Lifecycle.RETIRED)
    found = desired(fleet.build(), T0)
    assert set(found.nodes) == {"n-3", "n-4", "n-5"}
    assert {name: str(one.holder) for name, one in found.not_managed.items()} == {
        "n-1": "pool/ci",
        "n-2": "assignment/nightly",
    }


def test_a_freeze_covers_what_it_selects_while_it_is_in_force(fleet):
    fleet.node("n-4", labels={"rack": "a02"})
    fleet.freeze("move", selector="rack=a02", start=T0, until=T0 + hours(1), pass_priority=600)
    assert desired(fleet.build(), T0 - TICK).nodes["n-4"].freeze is None
    assert desired(fleet.build(), T0 - TICK).next_change_at == T0
    found = desired(fleet.build(), T0)
    assert found.nodes["n-4"].freeze == FreezeInForce(
        name="move", reason="because of move", until=T0 + hours(1), pass_priority=600
    )
    assert found.nodes["n-1"].freeze is None
    assert found.next_change_at == T0 + hours(1)
    assert desired(fleet.build(), T0 + hours(1)).nodes["n-4"].freeze is None


def test_of_several_freezes_the_strictest_counts_then_the_longest(fleet):
    fleet.schedule("maintenance", (T0, T0 + hours(3)))
    fleet.freeze("lenient", until=T0 + hours(9), pass_priority=400)
    fleet.freeze("short", selector="pool=ci", until=T0 + hours(1), pass_priority=800)
    fleet.freeze("long", selector="n-[1-2]", schedule="maintenance", pass_priority=800)
    found = desired(fleet.build(), T0).nodes
    names = {name: one.freeze.name for name, one in found.items() if one.freeze}
    assert names == {
        "n-1": "long",
        "n-2": "long",
        "n-3": "short",
        "n-4": "short",
        "n-5": "lenient",
    }
    assert found["n-1"].freeze.until == T0 + hours(3)


def test_the_instant_is_kept_in_utc(fleet):
    local = T0.astimezone(timezone(timedelta(hours=2)))
    fleet.assignment("nightly", "ci", "n-1", "ci", when={"start": T0})
    assert desired(fleet.build(), local) == desired(fleet.build(), T0)
    assert desired(fleet.build(), local).at.utcoffset() == timedelta(0)


def test_the_order_of_the_documents_does_not_matter(fleet):
    fleet.assignment("a", "ci", "n-1", "ci")
    fleet.assignment("b", "ci", "n-2", "rescue")
    fleet.freeze("x", until=T0 + hours(1))
    fleet.freeze("y", until=T0 + hours(1))
    assert desired(fleet.build(), T0).nodes == desired(fleet.build(shuffle=7), T0).nodes


HOURS = st.integers(min_value=0, max_value=24)
SPAN = st.tuples(HOURS, st.integers(min_value=1, max_value=6)).map(
    lambda pair: (T0 + hours(pair[0]), T0 + hours(sum(pair)))
)


@st.composite
def fleets(draw) -> Fleet:
    """Assignments on nodes of their own (the loader refuses overlaps), and freezes anywhere."""
    fleet = Fleet()
    fleet.node("n-[1-4]")
    fleet.template("ci")
    fleet.pool("ci", "n-[1-4]", power="off")
    fleet.schedule("nights", *draw(st.lists(SPAN, min_size=1, max_size=4)))
    for number in range(1, draw(st.integers(min_value=0, max_value=3)) + 1):
        start, end = draw(SPAN)
        when = draw(
            st.sampled_from(
                [
                    {"schedule": "nights"},
                    {"start": start, "end": end},
                    {"start": start},
                    {"end": end},
                ]
            )
        )
        fleet.assignment(f"a{number}", "ci", f"n-{number}", "ci", when=when)
    for number in range(draw(st.integers(min_value=0, max_value=2))):
        start, end = draw(SPAN)
        time = draw(st.sampled_from([{"schedule": "nights"}, {"start": start, "until": end}]))
        selector = draw(st.sampled_from(["*", "n-[1-2]"]))
        fleet.freeze(f"f{number}", selector=selector, **time)
    return fleet


def _without_instant(found: Desired) -> Desired:
    return replace(found, at=T0, next_change_at=None)


@settings(max_examples=150, deadline=None)
@given(fleets(), HOURS, st.floats(min_value=0, max_value=0.999))
def test_nothing_changes_before_the_next_change(fleet, hour, share):
    inventory, at = fleet.build(), T0 + hours(hour)
    found = desired(inventory, at)
    assert set(found.nodes) == {"n-1", "n-2", "n-3", "n-4"}
    for name, one in found.nodes.items():
        named = [key for key, nodes in inventory.assigned.items() if name in nodes]
        assert one.holder.name in [*named, "ci"]
    following = found.next_change_at or at + hours(1_000)
    assert following > at
    between = desired(inventory, at + share * (following - at))
    last = desired(inventory, following - TICK)
    assert _without_instant(between) == _without_instant(found) == _without_instant(last)
    assert between.next_change_at == found.next_change_at


@settings(max_examples=50, deadline=None)
@given(fleets())
def test_following_the_next_change_visits_every_edge_and_ends(fleet):
    inventory, at, steps = fleet.build(), T0 - hours(1), 0
    while (following := desired(inventory, at).next_change_at) is not None:
        assert following > at
        at, steps = following, steps + 1
        assert steps <= 20, "four windows, three assignments and two freezes have no more edges"
    assert desired(inventory, at).nodes == desired(inventory, at + hours(1_000)).nodes
