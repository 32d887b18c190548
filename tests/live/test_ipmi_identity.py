"""Serial numbers, sensors and rotation against real BMCs (`ipmi_sim`): asked for when needed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.drivers.fru import fru_of

from metalwright.drivers.credentials import Secrets
from metalwright.drivers.ipmi import IpmiDriver
from metalwright.drivers.ipmi_identity import FRU_KEPT_S, FRU_SURE_S
from metalwright.drivers.ipmi_logins import NO_SLOT_PAUSE_S
from metalwright.errors import CredentialsError, PermanentError, TemporaryError
from metalwright.model.documents import Node
from metalwright.model.observed import Health, Power
from metalwright.model.operation import Effect, EffectKind

from .bmc_farm import BmcFarm
from .test_ipmi import SLOTS, open_session

pytestmark = pytest.mark.live

AMPLE_S = 20.0
POWER_ON = Effect(kind=EffectKind.POWER_ON)
NO_EVENTS = " ".join(["0" * 15] * 4)
FRU = fru_of(chassis="CHS-2", board="BRD-3", product="PRD-1")


def temperature_record(name: str, number: int) -> str:
    """A full sensor record (IPMI 2.0, table 43-1) of a sensor in whole degrees Celsius."""
    head = bytes((0x20, 0, number, 7, 1, 0x7F, 0x68, 1, 1, *bytes(6)))
    scale = bytes((0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0, *bytes(6), 1, 1, 0, 0, 0))
    body = head + scale + bytes((0xC0 | len(name),)) + name.encode()
    whole = bytes((0, 0, 0x51, 1, len(body))) + body
    return "main_sdr_add 0x20 " + " ".join(f"0x{each:02x}" for each in whole)


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """One BMC, its node and a driver whose clock can be turned."""

    def __init__(self, farm: BmcFarm, home: Path) -> None:
        self.farm, self.clock, self.home = farm, Clock(), home
        self.driver = IpmiDriver(
            Secrets(farm.write_secrets(home), {}), workers_max=4, monotonic=self.clock
        )

    def node(self, serial: str | None = None, uuid: str | None = None) -> Node:
        node = self.farm.node(0)
        return replace(node, spec=replace(node.spec, serial=serial, system_uuid=uuid))

    def commands(self) -> int:
        return self.farm.line(0).commands


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with BmcFarm(1, tmp_path / "farm") as farm:
        made = Bench(farm, tmp_path / "secrets")
        yield made
        made.driver.close()


def test_the_serial_is_read_when_git_declares_one_and_then_kept_for_hours(bench: Bench) -> None:
    bench.farm.emulate(0, fru=FRU)
    assert bench.driver.observe(bench.node(), AMPLE_S).identity.serial is None
    cheap = cost(bench, bench.node()) + 4  # a packet may be sent twice
    for serial, told in (("CHS-2", "CHS-2"), ("brd-3", "brd-3"), ("else", "PRD-1")):
        assert bench.driver.observe(bench.node(serial), AMPLE_S).identity.serial == told
    assert cost(bench, bench.node("CHS-2")) <= cheap, "it is not read in each sweep"
    bench.clock.now += FRU_KEPT_S
    assert cost(bench, bench.node("CHS-2")) > cheap
    assert cost(bench, bench.node("CHS-2")) <= cheap


def cost(bench: Bench, node: Node) -> int:
    before = bench.commands()
    bench.driver.observe(node, AMPLE_S)
    return bench.commands() - before


def test_a_change_for_another_machine_is_refused_before_it_is_sent(bench: Bench) -> None:
    bench.farm.emulate(0, fru=FRU)
    own = "a1230000-0000-4000-8000-000000000000"
    for node in (bench.node("S-other"), bench.node(uuid=own.replace("a123", "b123"))):
        with pytest.raises(PermanentError, match="another machine answers"):
            bench.driver.apply(node, POWER_ON, AMPLE_S)
    assert bench.farm.log(0) == []
    bench.driver.apply(bench.node("chs-2", own), POWER_ON, AMPLE_S)
    assert bench.farm.power(0) is Power.ON


def test_a_board_that_was_replaced_is_seen_before_the_next_change(bench: Bench) -> None:
    bench.farm.emulate(0, fru=FRU)
    bench.driver.apply(bench.node("CHS-2"), POWER_ON, AMPLE_S)
    bench.farm.emulate(0, fru=fru_of(chassis="CHS-9"))
    bench.clock.now += FRU_SURE_S
    with pytest.raises(PermanentError, match="CHS-9"):
        bench.driver.apply(bench.node("CHS-2"), Effect(kind=EffectKind.POWER_OFF), AMPLE_S)
    assert bench.farm.power(0) is Power.ON


def test_a_bmc_without_a_fru_inventory_stays_unknown(bench: Bench) -> None:
    assert bench.driver.observe(bench.node("CHS-2"), AMPLE_S).identity.serial is None
    bench.driver.apply(bench.node("CHS-2"), POWER_ON, AMPLE_S)
    assert bench.farm.power(0) is Power.ON


def test_sensors_are_read_on_request_and_health_in_each_sweep(bench: Bench) -> None:
    bench.farm.emulate(
        0,
        commands=(
            "sensor_add 0x20 0 1 0x01 0x01",
            "sensor_set_value 0x20 0 1 42 0",
            f"sensor_set_event_support 0x20 0 1 enable scanning per-state {NO_EVENTS}",
            temperature_record("CPU Temp", 1),
        ),
    )
    assert bench.driver.observe(bench.node(), AMPLE_S).health is Health.OK
    (sensor,) = bench.driver.sensors(bench.node(), AMPLE_S)
    assert (sensor.name, sensor.value, sensor.health) == ("CPU Temp", 42.0, Health.OK)
    assert "C" in sensor.units
    told = bench.farm.ipmitool(0, "sdr", "list").stdout
    assert "CPU Temp" in told
    assert "42" in told


def test_a_refused_password_is_presented_once_by_whomever_until_it_changes(bench: Bench) -> None:
    bench.farm.set_password(0, "Changed-3")
    for call in (
        lambda: bench.driver.observe(bench.node(), AMPLE_S),
        lambda: bench.driver.apply(bench.node(), POWER_ON, AMPLE_S),
        lambda: bench.driver.sensors(bench.node(), AMPLE_S),
    ):
        with pytest.raises(CredentialsError, match="bmc/farm"):
            call()
    assert bench.farm.logins(0) == 1
    assert "bmc/farm were refused" in bench.driver.alerts()[0]
    bench.farm.write_secrets(bench.home, "Changed-3")
    assert bench.driver.observe(bench.node(), AMPLE_S).power is Power.OFF
    assert bench.driver.alerts() == ()


def test_the_former_password_stands_in_until_the_bmc_has_the_new_one(bench: Bench) -> None:
    bench.driver.observe(bench.node(), AMPLE_S)
    bench.farm.write_secrets(bench.home, "Rotated-4")
    before = bench.farm.logins(0)
    for _ in range(3):
        assert bench.driver.observe(bench.node(), AMPLE_S).power is Power.OFF
    assert bench.farm.logins(0) == before + 4, "the new one once, the former three times"
    assert "stands in" in bench.driver.alerts()[0]
    bench.driver.apply(bench.node(), POWER_ON, AMPLE_S)
    bench.farm.set_password(0, "Rotated-4")
    before = bench.farm.logins(0)
    assert bench.driver.observe(bench.node(), AMPLE_S).power is Power.ON
    assert bench.farm.logins(0) == before + 2, "the former is refused, the new one is taken"
    assert bench.driver.alerts() == ()


def test_a_bmc_without_a_free_session_is_left_alone_for_a_while(bench: Bench) -> None:
    bench.driver.observe(bench.node(), AMPLE_S)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as clients:
        clients.settimeout(2)
        for number in range(SLOTS + 1):
            open_session(clients, bench.farm, 100 + number)
    with pytest.raises(TemporaryError, match="session slots are taken"):
        bench.driver.observe(bench.node(), AMPLE_S)
    before = bench.farm.logins(0), bench.commands()
    with pytest.raises(TemporaryError, match="not asked"):
        bench.driver.observe(bench.node(), AMPLE_S)
    assert (bench.farm.logins(0), bench.commands()) == before
    bench.clock.now += NO_SLOT_PAUSE_S
    bench.farm.restart(0)
    assert bench.driver.observe(bench.node(), AMPLE_S).power is Power.OFF
