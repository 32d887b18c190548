"""Single cycles, for what has to be right however the steps of one fall together."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from metalwright.daemon.clock import SteadyClock, system_clock
from metalwright.daemon.fleet import Fleet, open_fleet
from metalwright.daemon.reconcile import FACT_IN_FORCE, CycleResult, Reconciler, applied_as
from metalwright.daemon.service import Service, _pauses
from metalwright.drivers.fake import FakeDriver
from metalwright.errors import StoreError
from metalwright.inventory import Repository
from metalwright.model.observed import (
    ErrorKind,
    Observation,
    ObservationError,
    Observed,
    Power,
    Reading,
)
from metalwright.model.operation import CORRECTIONS_MAX, EffectKind, JournalEntry

from .conftest import REST, WAIT_S, Rig

NODE = """\
apiVersion: metalwright/v1
kind: Node
metadata: {{name: n{number}}}
spec: {{driver: fake, serial: S{number}, bmc: {{address: 192.0.2.{bmc}}}}}
---
"""
IMPATIENT = """\
apiVersion: metalwright/v1
kind: Policy
metadata: {name: fleet}
spec: {timeouts: {softPowerOff: 1s}}
"""


def nodes(*bmcs: int) -> str:
    return "".join(NODE.format(number=n, bmc=bmc) for n, bmc in enumerate(bmcs, 1))


SLEEPY = """\
repository = "inventory"
state_dir = "state"
cycle_interval_s = 3600
[drivers.fake]
speed = 5000
[observe]
interval_s = 3600
busy_interval_s = 0.1
"""


@pytest.fixture
def fleet(rig: Rig) -> Iterator[Fleet]:
    rig.write("nodes.yaml", nodes(1, 2, 3, 4))
    rig.commit("BMCs")
    rig.adopt_all()
    with open_fleet(rig.settings(), drive=True, wake=lambda: None) as fleet:
        yield fleet


def as_desired(reconciler: Reconciler) -> CycleResult:
    deadline = time.monotonic() + WAIT_S
    while True:
        result = reconciler.cycle()
        assert result.plan is not None
        if result.plan.totals.as_desired == 4:
            return result
        assert time.monotonic() < deadline, result.sentence
        time.sleep(0.05)


def test_what_the_old_bmc_said_lets_nothing_be_done_through_the_new_one(
    rig: Rig, fleet: Fleet
) -> None:
    reconciler = Reconciler(fleet)
    as_desired(reconciler)
    rig.write("nodes.yaml", nodes(2, 1, 3, 4))
    rig.loan("n[1-3]")
    result = reconciler.cycle()
    assert result.plan is not None
    assert [action.node for action in result.plan.actions] == ["n3"]
    assert result.plan.totals.by_blocked == {"NOT_OBSERVED": 2}


def test_a_reading_of_an_earlier_process_may_be_of_another_bmc() -> None:
    now = datetime(2026, 11, 20, 8, tzinfo=UTC)
    error = ObservationError(kind=ErrorKind.CREDENTIALS, message="refused")
    refused = Observation(node="n2", at=now, error=error, failures=1, next_attempt_at=now)
    read = Observation(node="n1", at=now, reading=Reading())
    kept = Observed(nodes={"n1": read, "n2": refused})
    assert _pauses(kept, now).nodes == {"n2": refused}
    assert _pauses(kept, now - timedelta(days=2)).nodes == {}, "of a clock that was ahead"


def test_a_node_adopted_as_of_a_commit_that_a_cycle_does_not_know_is_left_alone(
    rig: Rig, fleet: Fleet
) -> None:
    reconciler = Reconciler(fleet)
    as_desired(reconciler)
    fleet.store.forget("n1", "ada", fleet.clock())
    reconciler.cycle()

    class Overtaken(Repository):
        """The moment after HEAD was read, somebody commits and adopts."""

        def head(self) -> str:
            head = super().head()
            if not (rig.inventory / "loan.yaml").exists():
                rig.loan("n1")
                with open_fleet(rig.settings(), drive=False, wake=lambda: None) as other:
                    newer = Reconciler(other)
                    newer.follow_head()
                    now = other.clock()
                    wanted = newer.resolve(now).nodes["n1"]
                    applied = applied_as(wanted, super().head(), now)
                    other.store.adopt({"n1": applied}, "ada", now)
            return head

    with Overtaken(str(rig.inventory), "main", mirror=None) as overtaken:
        fleet.repository = overtaken
        result = reconciler.cycle()
        assert result.plan is not None
        assert result.plan.actions == ()
        reconciler.cycle()
    assert fleet.store.operations("n1", 9) == ()


def test_drift_that_always_comes_back_is_corrected_a_few_times_only(rig: Rig, fleet: Fleet) -> None:
    rig.write("rest.yaml", REST.replace("{owner: lab,", "{owner: lab, drift: correct,"))
    rig.write("policy.yaml", IMPATIENT)
    rig.commit("Correct drift")
    reconciler = Reconciler(fleet)
    result = as_desired(reconciler)
    driver = fleet.drivers["fake"]
    assert isinstance(driver, FakeDriver)
    deadline = time.monotonic() + WAIT_S
    blocked: dict[str, int] = {}
    while blocked.get("DRIFT_REPORTED", 0) == 0:
        assert time.monotonic() < deadline, result.sentence
        if fleet.store.memory().nodes["n1"].operation is None:
            driver.press("n1", Power.ON)
        time.sleep(0.05)
        result = reconciler.cycle()
        assert result.plan is not None
        blocked = dict(result.plan.totals.by_blocked)
    assert len(fleet.store.operations("n1", 99)) == CORRECTIONS_MAX


@pytest.mark.parametrize("jump", [timedelta(hours=2), timedelta(hours=-2)], ids=str)
@pytest.mark.parametrize("count", [1, 4])
def test_a_wall_clock_that_is_set_fails_and_repeats_nothing(
    rig: Rig, jump: timedelta, count: int
) -> None:
    rig.adopt_all()
    rig.loan(f"n[1-{count}]")
    wall = SetWall()
    steady = SteadyClock(wall)
    with open_fleet(rig.settings(), drive=True, wake=lambda: None, clock=steady) as fleet:
        fleet.wall = wall
        reconciler = Reconciler(fleet)
        deadline = time.monotonic() + WAIT_S
        while not any(_told(fleet)):
            assert time.monotonic() < deadline
            reconciler.cycle()
        wall.by = jump
        result = as_desired(reconciler)
        assert result.plan is not None
        operations = fleet.store.operations(None, 99)
        assert len(operations) == count
        assert {(each.state, each.attempt) for each in operations} == {("active", 1)}
        told = [(entry.node, entry.effect) for entry in _intents(fleet)]
        assert len(told) == len(set(told)) == 2 * len(operations)
        assert abs(fleet.clock() - wall()) > timedelta(hours=1), "it was not followed at once"


def test_a_commit_does_not_widen_the_blast_radius_for_itself(rig: Rig) -> None:
    narrow = IMPATIENT.replace("timeouts: {softPowerOff: 1s}", "blastRadius: {nodesMax: 1}")
    rig.loan("n[1-4]")
    rig.write("policy.yaml", narrow)
    rig.commit("Narrow")
    rig.adopt_all()
    with open_fleet(rig.settings(), drive=True, wake=lambda: None) as fleet:
        reconciler, deadline = Reconciler(fleet), time.monotonic() + WAIT_S
        for number in range(1, 5):
            driver = fleet.drivers["fake"]
            assert isinstance(driver, FakeDriver)
            driver.press(f"n{number}", Power.ON)
        as_desired(reconciler)
        rig.write("policy.yaml", narrow.replace("nodesMax: 1", "nodesMax: 9"))
        (rig.inventory / "loan.yaml").unlink()
        rig.commit("Wide, and everything off")
        plan = reconciler.cycle().plan
        assert plan is not None
        assert (plan.actions, plan.totals.by_blocked) == ((), {"BLAST_RADIUS": 4})
        rig.write("note.yaml", "# the wider one is in force by now")
        rig.commit("Nothing of any machine")
        while fleet.store.operations(None, 9) == ():
            assert time.monotonic() < deadline
            reconciler.cycle()


@pytest.mark.parametrize("how", ["a broken commit between", "no parent at all", "restarted"])
def test_where_the_parent_cannot_be_read_the_radius_that_was_in_force_counts(
    rig: Rig, how: str
) -> None:
    narrow = IMPATIENT.replace("timeouts: {softPowerOff: 1s}", "blastRadius: {nodesMax: 1}")
    wide = narrow.replace("nodesMax: 1", "nodesMax: 9")
    rig.loan("n[1-4]")
    rig.write("policy.yaml", narrow)
    rig.commit("Narrow")
    rig.adopt_all()
    with open_fleet(rig.settings(), drive=True, wake=lambda: None) as fleet:
        for number in range(1, 5):
            driver = fleet.drivers["fake"]
            assert isinstance(driver, FakeDriver)
            driver.press(f"n{number}", Power.ON)
        reconciler = Reconciler(fleet)
        as_desired(reconciler)
        if how == "a broken commit between":
            rig.write("policy.yaml", wide.replace("9", "many"))
            rig.commit("Wide, and misspelt")
            reconciler.cycle()
        else:
            last = rig.git("rev-parse", "HEAD").strip()
            wide = wide.replace("spec: {", f"spec: {{acknowledge: ['{last}'], ")
            rig.git("checkout", "--quiet", "--orphan", "anew")
            rig.git("branch", "-D", "main")
            rig.git("branch", "-m", "main")
        rig.write("policy.yaml", wide)
        (rig.inventory / "loan.yaml").unlink()
        rig.commit("Wide, and everything off")
        for _ in range(2):  # also when this revision is the one that was in force
            plan = reconciler.cycle().plan
            assert plan is not None
            assert (plan.actions, plan.totals.by_blocked) == ((), {"BLAST_RADIUS": 4})
            if how == "restarted":
                reconciler = Reconciler(fleet)


class SetWall:
    """The wall clock, which somebody sets."""

    def __init__(self) -> None:
        self.by = timedelta(0)

    def __call__(self) -> datetime:
        return system_clock() + self.by


def _intents(fleet: Fleet) -> list[JournalEntry]:
    return [entry for entry in fleet.store.journal(None, 999) if entry.event == "intent"]


def _told(fleet: Fleet) -> list[bool]:
    nodes = fleet.store.memory().nodes.values()
    return [node.operation is not None and node.operation.intent is not None for node in nodes]


@pytest.mark.parametrize("down", [timedelta(hours=2), timedelta(hours=-2)], ids=str)
def test_what_was_done_while_no_daemon_ran_is_seen_before_a_deadline_counts(
    rig: Rig, down: timedelta
) -> None:
    """A daemon that was away for longer than a boot may take, or whose clock was set meanwhile."""
    rig.adopt_all()
    rig.loan("n1")
    with open_fleet(rig.settings(), drive=True, wake=lambda: None) as fleet:
        reconciler, deadline = Reconciler(fleet), time.monotonic() + WAIT_S
        while not any(
            entry.effect is not None and entry.effect.kind is EffectKind.POWER_ON
            for entry in _intents(fleet)
        ):
            assert time.monotonic() < deadline
            reconciler.cycle()
        assert fleet.engine is not None
        fleet.engine.drain(WAIT_S)
    wall = SetWall()
    wall.by = down
    clock = SteadyClock(wall)
    with open_fleet(rig.settings(), drive=True, wake=lambda: None, clock=clock) as fleet:
        fleet.wall = wall
        as_desired(Reconciler(fleet))
        operations = fleet.store.operations(None, 99)
        assert {(each.state, each.attempt) for each in operations} == {("active", 1)}
        told = [(entry.node, entry.effect) for entry in _intents(fleet)]
        assert len(told) == len(set(told))


def test_calendars_are_about_the_wall_clock_and_plans_about_the_steady_one(rig: Rig) -> None:
    rig.adopt_all()
    begins = system_clock().replace(microsecond=0) + timedelta(hours=1)
    ends = begins + timedelta(hours=1)
    rig.loan("n1", when=f"{{start: '{begins.isoformat()}', end: '{ends.isoformat()}'}}")
    wall = SetWall()
    with open_fleet(
        rig.settings(), drive=True, wake=lambda: None, clock=SteadyClock(wall)
    ) as fleet:
        fleet.wall = wall
        reconciler = Reconciler(fleet)
        as_desired(reconciler)
        assert fleet.store.operations(None, 9) == ()
        wall.by = timedelta(minutes=90)
        result = as_desired(reconciler)
        assert result.plan is not None
        assert abs(result.plan.at - system_clock()) < timedelta(minutes=1)
        (operation,) = fleet.store.operations(None, 9)
        assert operation.node == "n1"
        assert reconciler.desired_until == ends


def test_the_daemon_wakes_when_a_wave_has_soaked_although_nothing_else_happens(rig: Rig) -> None:
    rolled = '{owner: lab, nodes: ["n[1-4]"], rollout: {waves: {nodes: 2}, soak: 30s}, resting: '
    rig.write("rest.yaml", REST.replace('{owner: lab, nodes: ["n[1-4]"], resting: ', rolled))
    rig.commit("In waves")
    rig.adopt_all()
    rig.config.write_text(SLEEPY)
    live = REST.replace('{owner: lab, nodes: ["n[1-4]"], resting: ', rolled)
    rig.write("rest.yaml", live.replace('{power: "off"}', "{template: live}"))
    rig.commit("They run from now on")
    with open_fleet(rig.settings(), drive=True, wake=lambda: None) as fleet:
        reconciler = Reconciler(fleet)
        assert reconciler.planned_until is None
        deadline = time.monotonic() + WAIT_S
        while reconciler.planned_until is None:
            result = reconciler.cycle()
            assert time.monotonic() < deadline, result.sentence
            time.sleep(0.02)
        (rollout,) = result.plan.rollouts if result.plan is not None else ()
        assert rollout.why.startswith("soaks until")
        assert 0 < Service(rig.settings())._pause_s(fleet, reconciler) <= 30


def test_a_daemon_whose_lock_file_was_removed_starts_nothing_more(rig: Rig, fleet: Fleet) -> None:
    reconciler = Reconciler(fleet)
    as_desired(reconciler)
    fleet.lock.path.unlink()
    rig.loan("n1")
    with pytest.raises(StoreError, match="was removed"):
        reconciler.cycle()
    fleet.lock.path.touch()  # another process begins
    with pytest.raises(StoreError, match="was removed"):
        reconciler.cycle()
    assert fleet.store.operations(None, 9) == ()


def test_with_a_broken_head_the_last_commit_that_was_carried_out_stays_in_force(
    rig: Rig, fleet: Fleet
) -> None:
    reconciler = Reconciler(fleet)
    noted = as_desired(reconciler).plan
    assert noted is not None
    # What is in force is written down now and then only: this process died before the next time.
    in_force = json.dumps({"revision": noted.revision.id})
    fleet.store.put_fact(FACT_IN_FORCE, in_force, fleet.clock())
    carried_out = rig.loan("n1")
    reconciler.cycle()
    rig.write("bad.yaml", "kind: [")
    rig.commit("A mistake")
    plan = Reconciler(fleet).cycle().plan
    assert plan is not None
    assert plan.revision.id == carried_out
    assert plan.abandoned_revision is None


def test_a_history_without_what_was_carried_out_starts_nothing(rig: Rig, fleet: Fleet) -> None:
    reconciler = Reconciler(fleet)
    as_desired(reconciler)
    carried_out = rig.loan("n1")
    reconciler.cycle()
    before = {each.id for each in fleet.store.operations(None, 9)}
    assert before
    rig.git("reset", "-q", "--hard", "HEAD~1")
    rig.loan("n2")
    for _ in range(2):
        plan = reconciler.cycle().plan
        assert plan is not None
        assert plan.abandoned_revision == carried_out
        assert plan.actions == ()
    assert {each.id for each in fleet.store.operations(None, 9)} == before
