"""Killed at any instant, the engine comes to the same end, and does nothing to a machine twice.

A boundary is an instant between two steps that the outside can see: before and after each commit,
before and after each call of the driver. A process that dies there is simulated by an exception
that nothing catches; the next engine has nothing but the store and the hardware.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from execute_rig import OFF, Rig, a_target

from metalwright.drivers.fake_faults import Fault, FaultKind
from metalwright.drivers.fake_node import FakeNode
from metalwright.model.desired import Target
from metalwright.model.documents import Node
from metalwright.model.observed import Power
from metalwright.model.operation import Effect, OperationState, Verb
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


@dataclass
class End:
    """What a run came to: the machine's counts, the operation's end, how often it was killed."""

    machine: FakeNode
    state: OperationState
    attempt: int
    carries: Target | None
    boundaries: int
    deaths: int


def live(directory: Path, scenario: Callable[[Rig], None], kills: Callable[[int], bool]) -> End:
    directory.mkdir()
    fuse = Fuse(kills)
    deaths = 0
    with Rig(directory, seed=SEED) as rig:
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
