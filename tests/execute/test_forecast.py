"""The queue: positions, reasons, expected times and bounds, from a real store and a real engine."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from metalwright.execute.expected import GUESSES_S, Durations, Span
from metalwright.execute.forecast import queue
from metalwright.execute.place import Kept, Place, WaitsFor, kept_back
from metalwright.model.frozen import FrozenDict
from metalwright.model.observed import Observed
from metalwright.model.operation import Memory, Operation, Stage, StageTimes, Verb
from metalwright.model.plan import Blocked, BlockedReason
from metalwright.model.policy import FleetLimits, StartRate
from metalwright.model.template import Timeouts

from .execute_rig import RULES, START, STEP_S, Rig, a_node, a_target, an_inventory

TARGET = a_target()
STAGES = (Stage.POWER_OFF, Stage.BOOT)
MEASURED = FrozenDict(
    {
        "power off/fake/debian": StageTimes(samples_s=(10.0, 20.0, 90.0)),
        "boot/fake/debian": StageTimes(samples_s=(100.0,)),
    }
)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    with Rig(tmp_path, nodes=7) as found:
        found.adopt()
        for name in found.inventory.nodes:
            found.want(name, Verb.DEPLOY, TARGET)
        yield found  # type: ignore[misc]


def places(rig: Rig) -> dict[str, Place]:
    memory = replace(rig.store.memory(), stage_times=MEASURED)
    found = queue(rig.plan(), rig.inventory, memory, rig.observed)
    assert [place.position for place in found if place.position is not None] == [
        *range(1, 1 + sum(place.position is not None for place in found))
    ]
    return {place.node: place for place in found}


def test_before_anything_runs_the_first_have_their_turn_and_the_rest_an_expected_time(
    rig: Rig,
) -> None:
    rig.look()
    found = places(rig)
    # All in rack a01, which has two slots: two at a time, 120 s each.
    assert [found[f"n{number}"].position for number in range(7)] == [1, 2, 3, 4, 5, 6, 7]
    assert [found[f"n{number}"].waits_for for number in range(3)] == [
        WaitsFor.TURN,
        WaitsFor.TURN,
        WaitsFor.TURN,
    ]
    starts_s = [(found[f"n{number}"].starts_at - START).total_seconds() for number in range(7)]
    assert starts_s == [0, 0, 120, 120, 240, 240, 360]
    assert found["n6"].ends_at == START + timedelta(seconds=480)
    assert not found["n6"].guessed


def test_a_full_scope_is_named_with_those_who_hold_it(rig: Rig) -> None:
    rig.cycle()
    found = places(rig)
    assert set(found) == {"n2", "n3", "n4", "n5", "n6"}
    first = found["n2"]
    assert first.waits_for is WaitsFor.SLOT
    assert (first.scope, first.holders) == ("label/rack=a01", ("n0", "n1"))
    assert (first.priority, first.effective_priority, first.verb) == (500, 500, Verb.DEPLOY)
    assert first.operation_id
    assert first.since == START
    assert first.starts_at == START + timedelta(seconds=100)  # they are off already, and boot
    assert first.by is not None
    assert all(place.by <= found["n6"].by for place in found.values())


def test_the_expected_order_is_the_order_in_which_they_then_start(rig: Rig) -> None:
    rig.cycle()
    expected = sorted(places(rig).values(), key=lambda place: place.position)
    rig.settle()
    started = [line.node for line in rig.journal() if line.event == "admitted"]
    assert started[2:] == [place.node for place in expected]
    latest = {place.node: place.by for place in expected}
    for line in rig.journal():
        if line.event == "admitted" and line.node in latest:
            assert line.at <= latest[line.node]


def test_what_is_not_observed_waits_for_that_and_has_no_place(rig: Rig) -> None:
    rig.look("n0", "n1")
    found = places(rig)
    assert found["n2"].waits_for is WaitsFor.OBSERVATION
    assert found["n2"].position is None
    assert found["n2"].starts_at is None
    assert found["n2"].by is None
    everything = queue(
        replace(rig.plan(), observed="none"), rig.inventory, rig.store.memory(), Observed()
    )
    assert all(place.waits_for is not WaitsFor.OBSERVATION for place in everything)


def test_an_observation_that_is_too_old_is_none(rig: Rig) -> None:
    rig.look()
    rig.clock.pass_s(RULES.observation_ttl + 1)
    assert {place.waits_for for place in places(rig).values()} == {WaitsFor.OBSERVATION}


def test_a_retry_waits_for_its_back_off(rig: Rig) -> None:
    rig.cycle()
    memory = rig.store.memory()
    known = memory.nodes["n6"]
    assert known.operation is not None
    due = START + timedelta(seconds=500)
    waits = replace(known.operation, attempt=1, not_before=due, last_error="no answer")
    nodes = {**memory.nodes, "n6": replace(known, operation=waits)}
    memory = replace(memory, nodes=FrozenDict(nodes), stage_times=MEASURED)
    found = {place.node: place for place in queue(rig.plan(), rig.inventory, memory, rig.observed)}
    place = found["n6"]
    assert (place.waits_for, place.until, place.why) == (WaitsFor.BACK_OFF, due, "no answer")
    assert place.retry
    assert place.starts_at == due
    assert place.by is None


def test_one_that_runs_may_wait_for_a_start_token(rig: Rig) -> None:
    rates = (StartRate(label="rack", starts=1, per=600),)
    rules = replace(RULES, start_rates=rates)
    rig.inventory = an_inventory(rig.inventory.nodes.values(), rules)
    rig.cycle()
    rig.run(lambda: all(rig.operation(name).stage is Stage.BOOT for name in ("n0", "n1")))
    rig.run_for(3 * STEP_S)
    found = places(rig)
    tokens = [place for place in found.values() if place.waits_for is WaitsFor.START_TOKEN]
    assert [place.scope for place in tokens] == ["start/rack=a01"]
    assert tokens[0].until is not None
    assert tokens[0].until > rig.clock()
    # Its boot has not begun, however long it waits: all of it comes after the token.
    assert tokens[0].ends_at == tokens[0].until + timedelta(seconds=100)
    waits = rig.operation(tokens[0].node)
    durations = Durations(rig.inventory, MEASURED)
    assert durations.rest(waits, START + timedelta(days=1)) == Span(100.0, guessed=False)
    # Those behind are expected one token after the other.
    last = max(place.ends_at for place in found.values() if place.position is not None)
    assert last >= tokens[0].until + 5 * timedelta(seconds=600)


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (BlockedReason.HELD, True),
        (BlockedReason.FROZEN, True),
        (BlockedReason.BLAST_RADIUS, True),
        (BlockedReason.ROLLOUT_WAITS, True),
        (BlockedReason.ROLLOUT_PAUSED, True),
        (BlockedReason.NOT_ADOPTED, False),
    ],
)
def test_what_is_kept_back_by_the_same_is_one_entry_with_the_words_of_the_plan(
    rig: Rig, reason: BlockedReason, told: bool
) -> None:
    lines = tuple(
        Blocked(node=name, reason=reason, message=why, verb=verb, next_attempt_at=START)
        for name, why, verb in (
            ("n10", "because", Verb.REBOOT),
            ("n2", "because", Verb.REBOOT),
            ("n3", "another reason", Verb.DEPLOY),
            ("n1", "as git wants it", None),
        )
    )
    plan = replace(rig.plan(), actions=(), blocked=lines)
    expected = (
        Kept(reason=reason, nodes=("n2", "n10"), why="because", until=START),
        Kept(reason=reason, nodes=("n3",), why="another reason", until=START),
    )
    assert kept_back(plan) == (expected if told else ())
    assert queue(plan, rig.inventory, rig.store.memory(), rig.observed) == ()


def test_durations_are_medians_or_marked_guesses() -> None:
    inventory = an_inventory([a_node("n0")])
    measured = Durations(inventory, MEASURED)
    assert measured.stage(Stage.POWER_OFF, "n0", TARGET) == Span(20.0, guessed=False)
    assert measured.all(STAGES, "n0", TARGET) == Span(120.0, guessed=False)
    guessed = Durations(inventory, {})
    assert guessed.stage(Stage.BOOT, "n0", TARGET) == Span(GUESSES_S[Stage.BOOT], guessed=True)


def test_no_expected_time_lies_above_the_time_out_of_its_stage() -> None:
    assert TARGET.template is not None
    own = replace(TARGET.template, timeouts=Timeouts(boot=50))
    target = replace(TARGET, template=own)
    rules = replace(RULES, timeouts=Timeouts(soft_power_off=5, power_off=7, boot=80))
    inventory = an_inventory([a_node("n0")], rules)
    guessed, measured = Durations(inventory, {}), Durations(inventory, MEASURED)
    assert guessed.stage(Stage.POWER_OFF, "n0", TARGET) == Span(12, guessed=True)
    assert guessed.stage(Stage.BOOT, "n0", TARGET) == Span(80, guessed=True)
    assert guessed.stage(Stage.BOOT, "n0", target) == Span(50, guessed=True)
    assert measured.stage(Stage.BOOT, "n0", target) == Span(50, guessed=False)


def test_what_is_left_of_a_running_operation(rig: Rig) -> None:
    rig.cycle()
    operation: Operation = rig.operation("n0")
    durations = Durations(rig.inventory, MEASURED)
    entered_at = START + timedelta(seconds=100)
    boots = replace(operation, stage=Stage.BOOT, entered_at=entered_at)
    assert durations.rest(boots, entered_at + timedelta(seconds=30)) == Span(70.0, guessed=False)
    late = durations.rest(boots, entered_at + timedelta(seconds=300))
    assert 0 < late.seconds < 10
    off = replace(operation, stage=Stage.POWER_OFF, entered_at=entered_at)
    assert durations.rest(off, entered_at) == Span(120.0, guessed=False)


def test_slots_that_nothing_gives_back_leave_no_expected_time(rig: Rig) -> None:
    rules = replace(RULES, limits=FleetLimits(fleet=1, labels={"rack": 1}))
    rig.look()
    rig.inventory = an_inventory(rig.inventory.nodes.values(), rules)
    found = queue(rig.plan(), rig.inventory, Memory(nodes=rig.store.memory().nodes), rig.observed)
    assert [place.position for place in found] == [1, 2, 3, 4, 5, 6, 7]
    assert all(place.guessed for place in found)
