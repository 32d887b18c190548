"""The IPMI driver where it hurts: real BMCs that die, lie, forget, refuse and lose the answer."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from metalwright.drivers.credentials import Secrets
from metalwright.drivers.ipmi import IpmiDriver
from metalwright.errors import CredentialsError, PermanentError, TemporaryError
from metalwright.model.documents import Metadata, Node
from metalwright.model.hardware import BootMode, NodeSpec
from metalwright.model.observed import BootDevice, Power
from metalwright.model.operation import Effect, EffectKind

from .bmc_farm import BmcFarm
from .ipmi_sim import OPERATOR

pytestmark = pytest.mark.live

AMPLE_S = 20.0
POWER_ON = Effect(kind=EffectKind.POWER_ON)
POWER_OFF = Effect(kind=EffectKind.POWER_OFF)
SOFT_POWER_OFF = Effect(kind=EffectKind.SOFT_POWER_OFF)
SLOTS = 63


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[BmcFarm]:
    with BmcFarm(2, tmp_path / "farm") as running:
        yield running


@pytest.fixture
def driver(farm: BmcFarm, tmp_path: Path) -> Iterator[IpmiDriver]:
    running = IpmiDriver(Secrets(farm.write_secrets(tmp_path / "secrets"), {}), workers_max=4)
    yield running
    running.close()


def as_user(farm: BmcFarm, username: str, password: str | None = None) -> IpmiDriver:
    names = ("METALWRIGHT_SECRET_BMC_FARM_USERNAME", "METALWRIGHT_SECRET_BMC_FARM_PASSWORD")
    values = (username, password or farm.password)
    return IpmiDriver(Secrets(None, dict(zip(names, values, strict=True))), workers_max=3)


def words(farm: BmcFarm, index: int = 0) -> list[str]:
    return [command.words for command in farm.log(index)]


def test_a_second_implementation_agrees(farm: BmcFarm, driver: IpmiDriver) -> None:
    node = farm.node(0)
    driver.apply(node, Effect(kind=EffectKind.SET_BOOT_DEVICE, argument="pxe"), AMPLE_S)
    driver.apply(node, POWER_ON, AMPLE_S)
    assert farm.ipmitool_power(0) is driver.observe(node, AMPLE_S).power is Power.ON
    assert farm.ipmitool_boot_device(0) is farm.boot_device(0) is BootDevice.PXE
    assert words(farm) == ["boot pxe", "power 1"]
    assert farm.ipmitool(0, "chassis", "power", "off").returncode == 0
    assert driver.observe(node, AMPLE_S).power is Power.OFF


def test_the_system_uuid_is_the_declared_one_in_whatever_order_the_bmc_sends_it(
    farm: BmcFarm, driver: IpmiDriver
) -> None:
    undeclared = farm.node(1)
    smbios = driver.observe(undeclared, AMPLE_S).identity.system_uuid
    assert smbios == "000023a1-0000-0040-8000-000000000001"
    as_sent = "a1230000-0000-4000-8000-000000000001"
    for declared, told in ((as_sent, as_sent), (smbios, smbios), ("0" * 8 + as_sent[8:], smbios)):
        spec = NodeSpec(
            driver="ipmi", bmc=undeclared.spec.bmc, boot_mode=BootMode.BIOS, system_uuid=declared
        )
        node = Node(metadata=Metadata(name="declared"), spec=spec)
        assert driver.observe(node, AMPLE_S).identity.system_uuid == told


def test_a_lost_acknowledgement_is_temporary_and_the_repeat_disturbs_nobody(
    farm: BmcFarm, driver: IpmiDriver
) -> None:
    # in a session of ours: set privilege, chassis status, chassis control
    farm.hang_mid_session(0, 3, deliver=True)
    with pytest.raises(TemporaryError):
        driver.apply(farm.node(0), POWER_ON, 4.0)
    assert (farm.power(0), words(farm)) == (Power.ON, ["power 1"])
    farm.heal(0)
    driver.apply(farm.node(0), POWER_ON, AMPLE_S)
    assert words(farm) == ["power 1"]


def test_after_the_deadline_nothing_comes_out_any_more(farm: BmcFarm, driver: IpmiDriver) -> None:
    driver.observe(farm.node(1), AMPLE_S)
    farm.slow(0, 0.2)  # the power command would go out after some 3 s
    with pytest.raises(TemporaryError):
        driver.apply(farm.node(0), POWER_ON, 1.5)
    farm.heal(0)
    time.sleep(3)
    assert (farm.power(0), words(farm)) == (Power.OFF, [])


def test_a_bmc_that_dies_in_mid_session_is_temporary_and_heals(
    farm: BmcFarm, driver: IpmiDriver
) -> None:
    farm.hang_mid_session(0, 2)
    with pytest.raises(TemporaryError):
        driver.observe(farm.node(0), 4.0)
    farm.heal(0)
    farm.restart(0)
    assert driver.observe(farm.node(0), AMPLE_S).power is Power.OFF


def test_dead_hung_and_rebooted_bmcs(farm: BmcFarm, driver: IpmiDriver) -> None:
    node = farm.node(0)
    driver.apply(node, POWER_ON, AMPLE_S)
    farm.hang(0)
    with pytest.raises(TemporaryError):
        driver.observe(node, 2.0)
    farm.resume(0)
    assert driver.observe(node, AMPLE_S).power is Power.ON
    farm.kill(0)
    began = time.monotonic()
    with pytest.raises(TemporaryError, match="did not answer") as caught:
        driver.observe(node, AMPLE_S)
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert time.monotonic() - began < 8, "pyghmi gives up by itself after five seconds"
    farm.restart(0)
    assert driver.observe(node, AMPLE_S).power is Power.ON


def test_an_ignored_command_is_acknowledged_and_the_next_reading_tells(
    farm: BmcFarm, driver: IpmiDriver
) -> None:
    farm.ignore_power(0)
    driver.apply(farm.node(0), POWER_ON, AMPLE_S)
    assert driver.observe(farm.node(0), AMPLE_S).power is Power.OFF


def test_a_soft_power_off_begins_and_returns(farm: BmcFarm, driver: IpmiDriver) -> None:
    farm.set_power(0, Power.ON)
    farm.set_soft_power_off_delay(0, 30)
    driver.apply(farm.node(0), SOFT_POWER_OFF, AMPLE_S)
    assert driver.observe(farm.node(0), AMPLE_S).power is Power.ON
    driver.apply(farm.node(0), POWER_OFF, AMPLE_S)
    assert driver.observe(farm.node(0), AMPLE_S).power is Power.OFF
    assert words(farm) == ["shutdown 1", "power 0"]


def test_a_refusal_is_an_error_with_its_reason(farm: BmcFarm, driver: IpmiDriver) -> None:
    farm.refuse(0)
    for call in (
        lambda: driver.apply(farm.node(0), POWER_ON, AMPLE_S),
        lambda: driver.observe(farm.node(0), AMPLE_S),
    ):
        with pytest.raises((TemporaryError, PermanentError), match="BMC 127"):
            call()
    farm.refuse(0, False)
    driver.apply(farm.node(0), POWER_ON, AMPLE_S)


def test_an_operator_is_enough(farm: BmcFarm) -> None:
    driver = as_user(farm, OPERATOR)
    try:
        driver.apply(farm.node(0), POWER_ON, AMPLE_S)
        driver.apply(
            farm.node(0), Effect(kind=EffectKind.SET_BOOT_DEVICE, argument="disk"), AMPLE_S
        )
    finally:
        driver.close()
    assert (farm.power(0), farm.boot_device(0)) == (Power.ON, BootDevice.DISK)


def test_an_unknown_account_is_tried_once(farm: BmcFarm) -> None:
    driver = as_user(farm, "nobody77")
    try:
        with pytest.raises(CredentialsError) as caught:
            driver.apply(farm.node(0), POWER_ON, AMPLE_S)
    finally:
        driver.close()
    assert "user name" in str(caught.value)
    assert "nobody77" not in str(caught.value)
    assert farm.logins(0) == 1
    assert farm.power(0) is Power.OFF


@pytest.mark.parametrize(
    ("username", "password"), [("u" * 17, "short"), ("short", "p" * 21), ("ü" * 9, "short")]
)
def test_what_ipmi_cannot_carry_is_not_tried(farm: BmcFarm, username: str, password: str) -> None:
    driver = as_user(farm, username, password)
    try:
        with pytest.raises(PermanentError, match="bytes at most"):
            driver.observe(farm.node(0), AMPLE_S)
    finally:
        driver.close()
    assert farm.logins(0) == 0


def test_sessions_are_given_back(farm: BmcFarm, driver: IpmiDriver) -> None:
    for _ in range(SLOTS + 7):
        assert driver.observe(farm.node(0), AMPLE_S).power is Power.OFF


def test_full_session_slots_are_temporary(farm: BmcFarm, driver: IpmiDriver) -> None:
    driver.observe(farm.node(0), AMPLE_S)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as clients:
        clients.settimeout(2)
        statuses = [open_session(clients, farm, 100 + number) for number in range(SLOTS + 1)]
    assert statuses[-1] == 1, "insufficient resources"
    with pytest.raises(TemporaryError, match="session slots"):
        driver.observe(farm.node(0), AMPLE_S)


def open_session(client: socket.socket, farm: BmcFarm, session_id: int) -> int:
    """Begin a login and leave it there; the status of the BMC's answer (IPMI 2.0, 13.17)."""
    algorithms = b"".join(bytes((kind, 0, 0, 8, 1, 0, 0, 0)) for kind in range(3))
    body = bytes(4) + session_id.to_bytes(4, "little") + algorithms
    packet = b"\x06\x00\xff\x07\x06\x10" + bytes(8) + len(body).to_bytes(2, "little") + body
    client.sendto(packet, (farm.address(0), farm.port))
    return client.recv(512)[17]


def test_rotated_credentials_are_used_at_once(
    farm: BmcFarm, driver: IpmiDriver, tmp_path: Path
) -> None:
    driver.observe(farm.node(0), AMPLE_S)
    farm.set_password(0, "Rotated-3")
    with pytest.raises(CredentialsError):
        driver.observe(farm.node(0), AMPLE_S)
    farm.write_secrets(tmp_path / "secrets", "Rotated-3")
    assert driver.observe(farm.node(0), AMPLE_S).power is Power.OFF


KILLED = """
import sys
from pathlib import Path
from metalwright.drivers.credentials import Secrets
from metalwright.drivers.ipmi import IpmiDriver
from metalwright.model.documents import Metadata, Node
from metalwright.model.hardware import Bmc, NodeSpec
from metalwright.model.operation import Effect, EffectKind

bmc = Bmc(address=sys.argv[1], port=int(sys.argv[2]), credentials="bmc/farm")
node = Node(metadata=Metadata(name="n"), spec=NodeSpec(driver="ipmi", bmc=bmc))
driver = IpmiDriver(Secrets(Path(sys.argv[3]), {}))
driver.apply(node, Effect(kind=EffectKind.POWER_ON), 30.0)
"""


def test_a_killed_daemon_changes_nothing_afterwards(farm: BmcFarm, tmp_path: Path) -> None:
    secrets = farm.write_secrets(tmp_path / "secrets")
    farm.slow(0, 0.2)  # the power command would go out some 3 s after the first packet
    arguments = [farm.address(0), str(farm.port), str(secrets)]
    parent = subprocess.Popen([sys.executable, "-c", KILLED, *arguments])
    try:
        deadline = time.monotonic() + 30
        while not farm.line(0).logins:
            assert time.monotonic() < deadline, "it should log in"
            assert parent.poll() is None
            time.sleep(0.01)
    finally:
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    farm.heal(0)
    time.sleep(4)
    assert (farm.power(0), words(farm)) == (Power.OFF, [])
    driver = IpmiDriver(Secrets(secrets, {}), workers_max=3)
    driver.apply(farm.node(0), POWER_ON, AMPLE_S)  # and the whole program would have worked
    driver.close()
    assert farm.power(0) is Power.ON
