"""Drivers whose nodes share one answer, or one login: what a reading's own age and a node without a
BMC are taken for.
"""

from __future__ import annotations

import random
from datetime import timedelta

from metalwright.errors import CredentialsError
from metalwright.model.documents import Metadata, Node
from metalwright.model.hardware import NodeSpec
from metalwright.model.observed import Power, Reading
from metalwright.observe import Sweeper, SweepSettings

from .parts import Clock, SerialExecutor

IDLE: frozenset[str] = frozenset()
NODE = Node(metadata=Metadata(name="n1"), spec=NodeSpec(driver="ironic"))


class Shared:
    """A driver with one list for all its nodes."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.asked, self.refuses = clock, 0, False

    def observe(self, node: Node, timeout_s: float) -> Reading:
        del node, timeout_s
        self.asked += 1
        if self.refuses:
            raise CredentialsError("refused")
        return Reading(power=Power.ON, asked_at=self.clock.now - timedelta(seconds=4))


def test_a_reading_counts_as_old_as_its_list() -> None:
    clock = Clock()
    sweeper = a_sweeper(Shared(clock), clock)
    sweeper.tick([NODE], IDLE)
    observation = sweeper.snapshot().nodes["n1"]
    assert observation.at == clock.now - timedelta(seconds=4)
    assert observation.age_s(clock.now) == 4


def test_a_node_without_a_bmc_is_asked_anew_when_its_drivers_login_changes() -> None:
    clock, version = Clock(), ["v1"]
    driver = Shared(clock)
    driver.refuses = True
    sweeper = a_sweeper(driver, clock, version)
    sweeper.tick([NODE], IDLE)
    clock.forward(1)
    sweeper.tick([NODE], IDLE)
    assert driver.asked == 1
    version[0], driver.refuses = "v2", False
    clock.forward(1)
    sweeper.tick([NODE], IDLE)
    assert sweeper.snapshot().nodes["n1"].power is Power.ON


def a_sweeper(driver: Shared, clock: Clock, version: list[str] | None = None) -> Sweeper:
    versions = version or ["v1"]
    return Sweeper(
        {"ironic": driver},
        clock,
        SerialExecutor(),
        SweepSettings(),
        lambda: None,
        rng=random.Random(1),
        credentials_version=lambda _node: versions[0],
    )
