"""Killed at any instant, the engine comes to the same end, and does nothing to a machine twice.

A boundary is an instant between two steps that the outside can see: before and after each commit,
before and after each call of the driver. A process that dies there is simulated by an exception
that nothing catches; the next engine has nothing but the store and the hardware.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from execute_rig import OFF, RULES, START, Rig, a_node, a_target, an_inventory

from metalwright.drivers.fake_faults import Fault, FaultKind
from metalwright.drivers.fake_node import FakeNode
from metalwright.execute import CycleReport
from metalwright.model.desired import Target
from metalwright.model.documents import Node
from metalwright.model.observed import Power
from metalwright.model.operation import (
    Effect,
    EffectKind,
    JournalEntry,
    Memory,
    OperationState,
    Verb,
)
from metalwright.model.plan import Plan
from metalwright.model.policy import Quarantine, Retries, StartRate
from metalwright.model.rollout import Rollout, RolloutState
from metalwright.model.template import Method, WipePolicy
from metalwright.store import Store

SEED = 5
"""With it the machine of these tests answers to the power button at the first time."""

ANEW = a_target(wipe=WipePolicy.METADATA, method=Method.DISK)


class Killed(BaseException):
    """kill -9."""


class Fuse:
    """Counts the boundaries, and kills at those of a set."""

    def __init__(self, kills: Callable[[int], bool]) -> None:
        self.kills, self.passed = kills, 0

    def boundary(self) -> None:
        self.passed += 1
        if self.kills(self.passed - 1):
            raise Killed


class MortalProvisioner:
    def __init__(self, driver: Any, fuse: Fuse) -> None:
        self.driver, self.fuse, self.capabilities = driver, fuse, driver.capabilities

    def apply(self, node: Node, effect: Effect, timeout_s: float) -> None:
        self.fuse.boundary()
        self.driver.apply(node, effect, timeout_s)
        self.fuse.boundary()


class MortalStore:
    """A real store in a process that may die right before or right after a commit that wrote."""

    def __init__(self, store: Store, fuse: Fuse) -> None:
        self.store, self.fuse = store, fuse

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    @contextmanager
    def batch(self) -> Iterator[None]:
        with self.store.batch():
            before = self.store.memory()
            yield
            wrote = self.store.memory() is not before
            if wrote:
                self.fuse.boundary()
        if wrote:
            self.fuse.boundary()


class ActedOn(Rig):
    """A rig that the outside acts on between two cycles, and whose plans say more."""

    before_cycle: Callable[[Rig], None] = staticmethod(lambda _rig: None)
    more: Callable[[Rig, Plan], Plan] = staticmethod(lambda _rig, plan: plan)

    def plan(self) -> Plan:
        return self.more(self, super().plan())

    def settled(self) -> bool:
        return super().settled() and not self.store.memory().rollouts

    def cycle(self, *, look: bool = True) -> CycleReport:
        self.before_cycle(self)
        return super().cycle(look=look)


@dataclass
class End:
    """What a run came to: the machine's counts, the operation's end, how often it was killed."""

    machine: FakeNode
    state: OperationState
    attempt: int
    carries: Target | None
    boundaries: int
    deaths: int
    memory: Memory
    journal: list[JournalEntry]


def live(directory: Path, scenario: Callable[[ActedOn], None], kills: Callable[[int], bool]) -> End:
    directory.mkdir()
    fuse = Fuse(kills)
    deaths = 0
    with ActedOn(directory, seed=SEED) as rig:
        rig.step_s = 6.0
        rig.adopt()
        scenario(rig)
        driver = rig.driver

        def reborn() -> None:
            rig.provisioner = MortalProvisioner(driver, fuse)
            rig.reopen()
            rig.store = MortalStore(rig.store, fuse)  # type: ignore[assignment]
            rig.engine = rig.make_engine()

        reborn()
        settled = False
        while not settled:
            try:
                rig.settle(within_s=30_000)
                settled = True
            except Killed:
                deaths += 1
                rig.clock.pass_s(rig.step_s)
                reborn()
        machine = driver._fleet.node("n0")
        operation = rig.operation()
        applied = rig.store.memory().nodes["n0"].applied
        assert rig.store.slots() == {}
        assert len(rig.store.operations(None, 99)) == 1, "and it is one operation all along"
        return End(
            machine=machine,
            state=operation.state,
            attempt=operation.attempt,
            carries=applied.target if applied is not None else None,
            boundaries=fuse.passed,
            deaths=deaths,
            memory=rig.store.memory(),
            journal=rig.journal(),
        )


def rebuild_of_a_running_machine(rig: Rig) -> None:
    rig.driver.press("n0", Power.ON)
    rig.clock.pass_s(600)
    rig.want("n0", Verb.REBUILD, ANEW)


def rebuild_of_a_machine_that_ignores_the_button(rig: Rig) -> None:
    rig.driver.inject("n0", Fault(kind=FaultKind.SOFT_OFF_IGNORED))
    rebuild_of_a_running_machine(rig)


def power_off(rig: Rig) -> None:
    rig.driver.press("n0", Power.ON)
    rig.clock.pass_s(600)
    rig.want("n0", Verb.POWER_OFF, OFF)


def counts(machine: FakeNode) -> tuple[int, int, int]:
    return machine.power_ons, machine.power_offs, machine.wipes


SCENARIOS = (
    rebuild_of_a_running_machine,
    rebuild_of_a_machine_that_ignores_the_button,
    power_off,
)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_any_boundary_it_comes_to_the_same_end(
    tmp_path: Path, scenario: Callable[[Rig], None]
) -> None:
    calm = live(tmp_path / "calm", scenario, lambda _number: False)
    assert calm.state is OperationState.ACTIVE
    assert calm.boundaries >= 8
    ignored = scenario is rebuild_of_a_machine_that_ignores_the_button
    assert (calm.machine.soft_power_offs, calm.machine.power_offs) == (1, int(ignored))
    for kill_at in range(calm.boundaries):
        end = live(tmp_path / f"at-{kill_at}", scenario, lambda number: number == kill_at)  # noqa: B023
        assert end.deaths == 1, kill_at
        assert (end.state, end.carries) == (calm.state, calm.carries), kill_at
        assert counts(end.machine) == counts(calm.machine), kill_at
        # A machine that may be going down is not pressed again; one that had all the time to go
        # down, after a press that may never have reached it, is: once, before it is forced.
        assert end.machine.soft_power_offs <= 1 + ignored, kill_at
        assert end.attempt == calm.attempt, kill_at


@pytest.mark.parametrize("seed", range(4))
def test_killed_again_and_again_it_still_comes_to_the_same_end(tmp_path: Path, seed: int) -> None:
    scenario = rebuild_of_a_running_machine
    calm = live(tmp_path / "calm", scenario, lambda _number: False)
    dice = random.Random(seed)
    end = live(tmp_path / "storm", scenario, lambda _number: dice.random() < 0.25)
    assert end.deaths >= 1
    assert (end.state, end.carries) == (calm.state, calm.carries)
    assert end.machine.power_ons == calm.machine.power_ons
    assert end.machine.wipes == calm.machine.wipes


def events(end: End, event: str) -> list[str]:
    return [line.detail for line in end.journal if line.event == event]


def killed_everywhere(
    directory: Path, scenario: Callable[[ActedOn], None]
) -> tuple[End, list[End]]:
    """A life without a death, and one for every boundary at which there can be one."""
    calm = live(directory / "calm", scenario, lambda _number: False)
    ends = [
        live(directory / f"at-{kill_at}", scenario, lambda number: number == kill_at)  # noqa: B023
        for kill_at in range(calm.boundaries)
    ]
    assert [end.deaths for end in ends] == [1] * calm.boundaries
    return calm, ends


@pytest.mark.parametrize("asked_at", ["wipe", "power on"])
def test_a_cancellation_outlives_every_death_and_is_carried_out_once(
    tmp_path: Path, asked_at: str
) -> None:
    def scenario(rig: ActedOn) -> None:
        rebuild_of_a_running_machine(rig)

        def cancels(rig: Rig) -> None:
            if asked_at in rig.told() and rig.operation().unfinished:
                rig.store.cancel(["n0"], "grace", rig.clock())

        rig.before_cycle = cancels

    calm, ends = killed_everywhere(tmp_path, scenario)
    assert calm.state is OperationState.CANCELLED
    for end in ends:
        assert end.state is OperationState.CANCELLED
        assert events(end, "cancelled") == ["cancelled by grace"]
        assert len(events(end, "cancel")) == 1
        failed = end.memory.nodes["n0"].failed
        assert failed is not None
        assert failed.cancelled_by == "grace"
        assert end.memory.nodes["n0"].failures == 0
        # A power-on that was journalled and never sent is not sent after the cancellation.
        assert end.machine.power_ons <= calm.machine.power_ons
        assert end.machine.wipes == calm.machine.wipes


def test_a_start_token_is_taken_with_its_intent_whenever_it_dies(tmp_path: Path) -> None:
    def scenario(rig: ActedOn) -> None:
        rules = replace(RULES, start_rates=(StartRate(starts=1, per=900),))
        rig.inventory = an_inventory([a_node("n0")], rules)
        rig.store.take_starts({"start/fleet": rig.clock() + timedelta(seconds=1_500)})
        rebuild_of_a_running_machine(rig)

    calm, ends = killed_everywhere(tmp_path, scenario)
    assert calm.state is OperationState.ACTIVE
    for end in [calm, *ends]:
        assert (end.state, end.attempt) == (OperationState.ACTIVE, 1)
        assert counts(end.machine) == counts(calm.machine)
        started = [
            line.at
            for line in end.journal
            if line.effect is not None and line.effect.kind is EffectKind.POWER_ON
            if line.event == "intent"
        ]
        assert started[0] >= START + timedelta(seconds=1_500)
        assert end.memory.starts["start/fleet"] == started[-1] + timedelta(seconds=900)
        for before, after in pairwise(started):
            assert after - before >= timedelta(seconds=900), "a repeated one takes another"


def test_a_quarantine_is_written_with_the_failure_that_it_follows_from(tmp_path: Path) -> None:
    def scenario(rig: ActedOn) -> None:
        rules = replace(
            RULES,
            retries=Retries(attempts_max=1, backoff_min=30, backoff_max=300),
            quarantine=Quarantine(failures=1),
        )
        rig.inventory = an_inventory([a_node("n0")], rules)
        rig.driver.inject("n0", Fault(kind=FaultKind.NEVER_BOOTS))
        rig.want("n0", Verb.DEPLOY, a_target())

    calm, ends = killed_everywhere(tmp_path, scenario)
    for end in [calm, *ends]:
        assert end.state is OperationState.FAILED
        node = end.memory.nodes["n0"]
        assert node.failures == 1
        assert node.quarantine is not None
        assert len(events(end, "failed")) == len(events(end, "quarantined")) == 1
        assert node.quarantine.at == next(line.at for line in end.journal if line.event == "failed")


def test_what_a_plan_found_out_is_written_once_whenever_it_dies(tmp_path: Path) -> None:
    def scenario(rig: ActedOn) -> None:
        began = rig.clock()
        rollout = Rollout(
            id="5" * 64,
            pool="ci",
            holder="Pool ci",
            template="debian",
            target_digest=ANEW.digest,
            revision="c" * 40,
            began_at=began,
            waves=(("n0",),),
            wave_began_at=began,
        )

        def found_out(rig: Rig, plan: Plan) -> Plan:
            """What the planner would say of the rollout, from the memory alone."""
            known = rig.store.memory().rollouts.get(rollout.id)
            applied = rig.store.memory().nodes["n0"].applied
            done = applied is not None and applied.target == ANEW
            if done and known is None:
                return plan
            now = replace(
                known or rollout, state=RolloutState.DONE if done else RolloutState.RUNNING
            )
            return replace(plan, rollouts=(now,), consents=("k1",), holds_in_git=("n0",))

        rig.more = found_out
        rig.store.hold(["n0"], "a disk is being changed", "grace", rig.clock())
        rebuild_of_a_running_machine(rig)

    calm, ends = killed_everywhere(tmp_path, scenario)
    for end in [calm, *ends]:
        assert end.state is OperationState.ACTIVE
        assert counts(end.machine) == counts(calm.machine)
        assert end.memory.consents == {"k1"}
        assert end.memory.rollouts == {}
        assert end.memory.nodes["n0"].hold is None
        assert events(end, "hold")[1:] == ["git holds it by now"]
