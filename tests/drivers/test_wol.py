"""Wake-on-LAN: the packet on a real socket, and honesty about everything else."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from metalwright.drivers.wol import PACKETS, WolDriver, mac_to_wake, magic_packet
from metalwright.errors import PermanentError, SettingsError, TemporaryError
from metalwright.model.documents import Metadata, Node
from metalwright.model.hardware import Nic, NodeSpec
from metalwright.model.observed import BootDevice, Power, Reading
from metalwright.model.operation import EffectKind

from .contract import BOOT_FROM, POWER_OFF, POWER_ON, SOFT_POWER_OFF, DriverContract, effect

MAC = "52:54:00:00:00:01"


def node(number: int = 1, *more: Nic) -> Node:
    nics = (Nic(mac=f"52:54:00:00:00:{number:02x}", boot=True), *more)
    return Node(metadata=Metadata(name=f"n{number}"), spec=NodeSpec(driver="wol", nics=nics))


class WolRig:
    """Four machines on a loopback network; a machine is on once it has heard its packet."""

    timeout_s = patience_s = 2.0
    secrets = ()

    def __init__(self) -> None:
        self._ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._ear.bind(("127.0.0.1", 0))
        self._ear.settimeout(0.2)
        self.driver = WolDriver(["127.0.0.1"], port=self._ear.getsockname()[1])
        self.nodes = [node(number) for number in range(1, 5)]
        self._heard: list[bytes] = []

    def heard(self) -> list[bytes]:
        """Every packet so far."""
        try:
            while True:
                self._heard.append(self._ear.recv(2_048))
        except TimeoutError:
            return self._heard

    def power(self, node: Node) -> Power:
        awake = magic_packet(node.spec.nics[0].mac) in self.heard()
        return Power.ON if awake else Power.OFF

    def boot_device(self, node: Node) -> BootDevice | None:
        return None

    def close(self) -> None:
        self.driver.close()
        self._ear.close()


@pytest.fixture
def rig() -> Iterator[WolRig]:
    found = WolRig()
    yield found
    found.close()


class TestWolDriver:
    """The promises of every driver that one without answers can keep."""

    test_what_a_driver_cannot_do_is_permanent = (
        DriverContract.test_what_a_driver_cannot_do_is_permanent
    )
    test_nothing_that_is_shown_carries_a_secret = (
        DriverContract.test_nothing_that_is_shown_carries_a_secret
    )
    test_a_closed_driver_says_so_and_closes_twice = (
        DriverContract.test_a_closed_driver_says_so_and_closes_twice
    )


def test_the_packet_wakes_the_machine_and_no_other(rig: WolRig) -> None:
    first, *others = rig.nodes
    rig.driver.apply(first, POWER_ON, rig.timeout_s)
    expected = b"\xff\xff\xff\xff\xff\xff" + b"\x52\x54\x00\x00\x00\x01" * 16
    assert rig.heard() == [expected] * PACKETS
    assert [rig.power(other) for other in others] == [Power.OFF] * 3


def test_nothing_is_ever_known(rig: WolRig) -> None:
    assert rig.driver.observe(rig.nodes[0], 1.0) == Reading(power=Power.UNKNOWN)
    rig.driver.apply(rig.nodes[0], POWER_ON, 1.0)
    assert rig.driver.observe(rig.nodes[0], 1.0).power is Power.UNKNOWN


@pytest.mark.parametrize("wanted", [POWER_OFF, SOFT_POWER_OFF, BOOT_FROM[BootDevice.PXE]])
def test_it_can_switch_on_and_nothing_else(rig: WolRig, wanted: object) -> None:
    assert rig.driver.capabilities == {EffectKind.POWER_ON}
    with pytest.raises(PermanentError, match="Wake-on-LAN cannot"):
        rig.driver.apply(rig.nodes[0], wanted, 1.0)  # type: ignore[arg-type]
    assert rig.heard() == []


def test_a_machine_that_boots_from_the_network_first_needs_no_boot_device() -> None:
    driver = WolDriver(network_first=True)
    assert driver.capabilities == {EffectKind.POWER_ON, EffectKind.SET_BOOT_DEVICE}
    for device in BootDevice:
        driver.apply(node(), BOOT_FROM[device], 1.0)
    with pytest.raises(PermanentError, match="floppy"):
        driver.apply(node(), effect(EffectKind.SET_BOOT_DEVICE, "floppy"), 1.0)


def test_every_network_gets_the_packet() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second,
    ):
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.2", first.getsockname()[1]))
        driver = WolDriver(["127.0.0.1", "127.0.0.2"], port=first.getsockname()[1])
        driver.apply(node(), POWER_ON, 1.0)
        for ear in (first, second):
            ear.settimeout(5)
            assert [ear.recv(2_048) for _ in range(PACKETS)] == [magic_packet(MAC)] * PACKETS


def test_a_packet_that_the_system_does_not_send_is_temporary() -> None:
    with pytest.raises(TemporaryError, match="was not sent"):
        WolDriver(["127.0.0.1"], port=0).apply(node(), POWER_ON, 1.0)


@pytest.mark.parametrize("addresses", [[], ["bmc.lab"], ["fe80::1"], ["10.0.0.255"] * 65])
def test_wrong_addresses_are_wrong_settings(addresses: list[str]) -> None:
    with pytest.raises(SettingsError, match=r"drivers\.wol\.addresses"):
        WolDriver(addresses)


def test_the_interface_is_the_boot_interface_or_the_only_one() -> None:
    assert mac_to_wake(node(1, Nic(mac="52:54:00:00:00:99"))) == MAC
    only = NodeSpec(driver="wol", nics=(Nic(mac=MAC),))
    assert mac_to_wake(Node(metadata=Metadata(name="n1"), spec=only)) == MAC
    for nics in ((), (Nic(mac=MAC), Nic(mac="52:54:00:00:00:02"))):
        spec = NodeSpec(driver="wol", nics=nics)
        with pytest.raises(PermanentError, match="n1 has no one interface"):
            mac_to_wake(Node(metadata=Metadata(name="n1"), spec=spec))
