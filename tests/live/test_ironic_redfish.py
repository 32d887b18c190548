"""Through Ironic to a BMC that speaks Redfish: Ironic's own hardware type and the emulator of
sushy-tools, neither of which was written here.
"""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from metalwright.drivers.credentials import Secrets
from metalwright.drivers.ironic import IronicDriver, Place
from metalwright.errors import NotBegunError
from metalwright.model.documents import Metadata, Node
from metalwright.model.hardware import NodeSpec
from metalwright.model.observed import Power
from metalwright.model.operation import Effect, EffectKind

from .ironic_rig import Ironic

pytestmark = [pytest.mark.live, pytest.mark.timeout(400)]

SYSTEM = "11111111-1111-4111-8111-111111111111"
MAC = "52:54:00:00:09:01"
PATIENCE_S = 120.0
EMULATOR = """\
SUSHY_EMULATOR_FAKE_DRIVER = True
SUSHY_EMULATOR_STATE_DIR = {home!r}
SUSHY_EMULATOR_FAKE_SYSTEMS = [
    {{
        "uuid": {system!r},
        "name": "r01",
        "power_state": "Off",
        "external_notifier": False,
        "nics": [{{"mac": {mac!r}, "ip": "127.0.0.2"}}],
    }}
]
"""


@pytest.fixture
def ironic(tmp_path: Path) -> Iterator[Ironic]:
    with Ironic(tmp_path / "ironic") as ironic:
        yield ironic


@pytest.fixture
def bmc(ironic: Ironic, tmp_path: Path) -> Iterator[str]:
    """The URL of a Redfish service with one system that is off."""
    home = tmp_path / "bmc"
    home.mkdir()
    config = home / "emulator.py"
    config.write_text(EMULATOR.format(home=str(home), system=SYSTEM, mac=MAC))
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    words = ["--config", str(config), "--fake", "-i", "127.0.0.1", "-p", str(port)]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [ironic.environment / "bin/sushy-emulator", *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while not answers(url):
            assert time.monotonic() < deadline, (home / "log").read_text()
            time.sleep(0.2)
        yield url
    finally:
        process.kill()
        process.wait(timeout=20)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/redfish/v1/Systems/{SYSTEM}", timeout=5):
            return True
    except OSError:
        return False


def truly(url: str) -> str:
    with urllib.request.urlopen(f"{url}/redfish/v1/Systems/{SYSTEM}", timeout=20) as answer:
        return "on" if b'"PowerState": "On"' in answer.read() else "off"


def test_power_reaches_the_bmc_through_ironic(ironic: Ironic, bmc: str) -> None:
    driver_info = {
        "redfish_address": bmc,
        "redfish_system_id": f"/redfish/v1/Systems/{SYSTEM}",
        "redfish_username": "admin",
        "redfish_password": "secret",
    }
    body = {"driver": "redfish", "name": "r01", "driver_info": driver_info}
    made = ironic.call("POST", "/v1/nodes", {**body, "deploy_interface": "ramdisk"})
    ironic.call("POST", "/v1/ports", {"node_uuid": made["uuid"], "address": MAC})
    ironic.call("PUT", "/v1/nodes/r01/states/provision", {"target": "manage"})
    node = Node(metadata=Metadata(name="r01"), spec=NodeSpec(driver="ironic"))
    driver = IronicDriver(
        Place(endpoint=ironic.endpoint),
        Secrets(None, {}),
        lambda: datetime.now(UTC),
        list_max_age_s=0.5,
    )
    reached(ironic, driver, node, Power.OFF)
    assert driver.observe(node, 20).identity.macs == (MAC,)
    for kind, power in ((EffectKind.POWER_ON, Power.ON), (EffectKind.POWER_OFF, Power.OFF)):
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                driver.apply(node, Effect(kind=kind), 30)
                break
            except NotBegunError:
                assert time.monotonic() < deadline
                time.sleep(0.5)
        reached(ironic, driver, node, power)
        assert truly(bmc) == power.value
    driver.close()


def reached(ironic: Ironic, driver: IronicDriver, node: Node, power: Power) -> None:
    """Wait until the driver reads a power, and Ironic is through with the node."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        reading = driver.observe(node, 20)
        if reading.power is power and ironic.node("r01")["reservation"] is None:
            return
        assert time.monotonic() < deadline, ironic.node("r01")
        time.sleep(0.5)
