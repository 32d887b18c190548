"""The simulated fleet keeps the promises of every driver.

The rig looks at the machines through a second connection to the same file, as another process
would, and turns a clock of its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from metalwright.drivers.fake import FakeDriver
from metalwright.drivers.fake_faults import Fault, FaultKind
from metalwright.drivers.fake_fleet import FakeFleet
from metalwright.drivers.fake_node import settled
from metalwright.model.documents import Metadata, Node
from metalwright.model.hardware import NodeSpec
from metalwright.model.observed import BootDevice, Power

from .contract import DriverContract

LONG = timedelta(hours=4)


class FakeRig:
    timeout_s = 2.0
    patience_s = 0.3
    secrets = ()

    def __init__(self, state: Path) -> None:
        self._now = datetime(2026, 11, 20, 8, tzinfo=UTC)
        self._truth = FakeFleet(state)
        self.driver = FakeDriver(state, seed=7, clock=lambda: self._now, wait=time.sleep)
        self.nodes = [
            Node(metadata=Metadata(name=f"n{index}"), spec=NodeSpec(driver="fake"))
            for index in range(1, 5)
        ]

    def power(self, node: Node) -> Power:
        self._now += LONG
        state = settled(self._truth.node(node.metadata.name), self._now.timestamp())
        return Power.OFF if state.on_at is None else Power.ON

    def set_power(self, node: Node, power: Power) -> None:
        self.driver.press(node.metadata.name, power)

    def boot_device(self, node: Node) -> BootDevice | None:
        device = self._truth.node(node.metadata.name).boot_device
        return None if device is None else BootDevice(device)

    def power_commands(self, node: Node) -> int:
        state = self._truth.node(node.metadata.name)
        return state.power_ons + state.power_offs + state.soft_power_offs

    def login_attempts(self, node: Node) -> int:
        return self._truth.node(node.metadata.name).refused_logins

    def silence(self, node: Node) -> None:
        self._inject(node, Fault(kind=FaultKind.SILENT))

    def slow(self, node: Node) -> None:
        self._inject(node, Fault(kind=FaultKind.SLOW, delay_s=0.5))

    def garbage(self, node: Node) -> None:
        self._inject(node, Fault(kind=FaultKind.GARBAGE))

    def wrong_password(self, node: Node) -> None:
        self._inject(node, Fault(kind=FaultKind.WRONG_PASSWORD))

    def heal(self, node: Node) -> None:
        self.driver.heal(node.metadata.name)

    def _inject(self, node: Node, fault: Fault) -> None:
        self.driver.inject(node.metadata.name, fault)

    def close(self) -> None:
        self.driver.close()
        self._truth.close()


class TestFakeDriver(DriverContract):
    @pytest.fixture
    def rig(self, tmp_path: Path) -> Iterator[FakeRig]:
        rig = FakeRig(tmp_path / "fleet.db")
        yield rig
        rig.close()
