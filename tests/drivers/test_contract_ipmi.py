"""The IPMI driver keeps the driver contract against real BMCs (`ipmi_sim`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.drivers.contract import DriverContract
from tests.live.bmc_farm import BmcFarm

from metalwright.drivers.credentials import Secrets
from metalwright.drivers.ipmi import IpmiDriver
from metalwright.model.documents import Node
from metalwright.model.observed import BootDevice, Power

pytestmark = pytest.mark.live

OTHER_PASSWORD = "Other-pass-2"


class IpmiRig:
    """Four simulated BMCs and one driver."""

    timeout_s = 20.0
    patience_s = 3.0

    def __init__(self, farm: BmcFarm, secrets: Path) -> None:
        self.farm = farm
        self.driver = IpmiDriver(Secrets(farm.write_secrets(secrets), {}))
        self.nodes = [farm.node(index) for index in farm]
        self.secrets = [farm.password, OTHER_PASSWORD, farm.username]
        self._index = {node.metadata.name: index for index, node in enumerate(self.nodes)}

    def index(self, node: Node) -> int:
        return self._index[node.metadata.name]

    def power(self, node: Node) -> Power:
        return self.farm.power(self.index(node))

    def set_power(self, node: Node, power: Power) -> None:
        self.farm.set_power(self.index(node), power)

    def boot_device(self, node: Node) -> BootDevice | None:
        return self.farm.boot_device(self.index(node))

    def power_commands(self, node: Node) -> int:
        return sum("boot" not in command.words for command in self.farm.log(self.index(node)))

    def login_attempts(self, node: Node) -> int:
        return self.farm.logins(self.index(node))

    def silence(self, node: Node) -> None:
        self.farm.silence(self.index(node))

    def slow(self, node: Node) -> None:
        self.farm.slow(self.index(node), 0.05)

    def garbage(self, node: Node) -> None:
        self.farm.garbage(self.index(node))

    def wrong_password(self, node: Node) -> None:
        self.farm.set_password(self.index(node), OTHER_PASSWORD)

    def heal(self, node: Node) -> None:
        index = self.index(node)
        self.farm.heal(index)
        if self.farm.password_of(index) != self.farm.password:
            self.farm.set_password(index, self.farm.password)
            self.driver.rearm()  # the secret is as it was: only a person can say that it is right


class TestIpmiDriver(DriverContract):
    @pytest.fixture
    def rig(self, tmp_path: Path) -> Iterator[IpmiRig]:
        with BmcFarm(4, tmp_path / "farm") as farm:
            rig = IpmiRig(farm, tmp_path / "secrets")
            yield rig
            rig.driver.close()
