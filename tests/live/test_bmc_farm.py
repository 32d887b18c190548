"""The farm tells the truth about its BMCs, and each of its faults is the fault it says."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from metalwright.model.observed import BootDevice, Power

from .bmc_farm import BmcFarm

pytestmark = pytest.mark.live

LONG_S = 600
"""Longer than anything here takes, on whatever computer."""


@pytest.fixture
def farm(tmp_path: Path):
    with BmcFarm(2, tmp_path) as running:
        yield running


def through_the_network(farm: BmcFarm, index: int, *words: str) -> subprocess.CompletedProcess:
    command = ["ipmitool", "-I", "lanplus", "-C", "3", "-N", "1", "-R", "1", "-p", str(farm.port)]
    command += ["-H", farm.address(index), "-U", farm.username, "-P", farm.password]
    return subprocess.run([*command, *words], capture_output=True, text=True, timeout=20)


def test_a_second_implementation_sees_what_the_files_say(farm: BmcFarm) -> None:
    assert (farm.power(0), farm.ipmitool_power(0), farm.boot_device(0)) == ("off", "off", None)
    assert farm.ipmitool(0, "chassis", "bootdev", "pxe").returncode == 0
    assert farm.ipmitool(0, "chassis", "power", "on").returncode == 0
    assert (farm.power(0), farm.ipmitool_power(0)) == (Power.ON, Power.ON)
    assert farm.boot_device(0) is farm.ipmitool_boot_device(0) is BootDevice.PXE
    assert farm.ipmitool(0, "chassis", "bootdev", "disk").returncode == 0
    assert farm.boot_device(0) is farm.ipmitool_boot_device(0) is BootDevice.DISK
    assert (farm.power(1), farm.boot_device(1)) == (Power.OFF, None)
    farm.set_power(0, Power.OFF)
    assert farm.ipmitool_power(0) is Power.OFF


def test_the_log_has_every_command_with_its_time(farm: BmcFarm) -> None:
    began = time.time()
    for words in (("power", "on"), ("identify",), ("bootdev", "pxe"), ("power", "off")):
        assert farm.ipmitool(0, "chassis", *words).returncode == 0
    log = farm.log(0)
    assert [command.words for command in log] == ["power 1", "identify 15 0", "boot pxe", "power 0"]
    assert began - 0.1 < log[0].at < log[1].at < log[2].at < log[3].at < time.time() + 0.1
    assert farm.log(1) == []


def test_a_shutdown_takes_its_time(farm: BmcFarm) -> None:
    farm.set_soft_power_off_delay(0, LONG_S)
    farm.set_power(0, Power.ON)
    began = int(time.time())
    farm.ipmitool(0, "chassis", "power", "soft")
    assert farm.ipmitool_power(0) is farm.power(0) is Power.ON
    assert began + LONG_S <= farm.due_at(0) <= time.time() + LONG_S
    farm.let_time_pass(0)
    assert farm.ipmitool_power(0) is farm.power(0) is Power.OFF


def test_a_power_on_takes_its_time_and_is_under_way_meanwhile(farm: BmcFarm) -> None:
    farm.set_power_on_delay(0, LONG_S)
    began = int(time.time())
    farm.ipmitool(0, "chassis", "power", "on")
    due = farm.due_at(0)
    assert began + LONG_S <= due <= time.time() + LONG_S
    assert farm.ipmitool_power(0) is farm.power(0) is Power.OFF
    while int(time.time()) == int(farm.log(0)[0].at):
        time.sleep(0.05)  # by the next second, as the machine counts whole ones
    farm.ipmitool(0, "chassis", "power", "on")
    assert farm.due_at(0) == due, "it began anew"
    farm.let_time_pass(0)
    assert farm.ipmitool_power(0) is farm.power(0) is Power.ON
    assert [command.words for command in farm.log(0)] == ["power 1", "power 1"]
    farm.ipmitool(0, "chassis", "power", "off")
    assert farm.ipmitool_power(0) is farm.power(0) is Power.OFF
    farm.ipmitool(0, "chassis", "power", "on")
    farm.ipmitool(0, "chassis", "power", "off")
    assert farm.due_at(0) is None, "it was switched off on its way"
    assert farm.ipmitool_power(0) is farm.power(0) is Power.OFF


def test_what_takes_a_second_is_done_by_itself(farm: BmcFarm) -> None:
    farm.set_power_on_delay(0, 1)
    farm.ipmitool(0, "chassis", "power", "on")
    deadline = time.monotonic() + 30
    while farm.power(0) is Power.OFF:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert farm.ipmitool_power(0) is Power.ON


def test_ignored_commands_are_acknowledged_and_do_nothing(farm: BmcFarm) -> None:
    farm.ignore_power(0)
    assert farm.ipmitool(0, "chassis", "power", "on").returncode == 0
    assert farm.power(0) is Power.OFF
    assert [command.words for command in farm.log(0)] == ["power 1"]
    farm.ignore_soft_power_off(1)
    farm.set_power(1, Power.ON)
    farm.ipmitool(1, "chassis", "power", "soft")
    assert farm.power(1) is Power.ON
    farm.ipmitool(1, "chassis", "power", "off")
    assert farm.power(1) is Power.OFF


def test_a_refusing_bmc_refuses(farm: BmcFarm) -> None:
    farm.refuse(0)
    assert farm.ipmitool(0, "chassis", "power", "on").returncode != 0
    farm.refuse(0, False)
    assert farm.ipmitool(0, "chassis", "power", "on").returncode == 0


def test_a_new_password_locks_the_old_one_out(farm: BmcFarm) -> None:
    farm.set_password(0, "Another-1")
    assert farm.ipmitool_power(0) is Power.OFF
    assert through_the_network(farm, 0, "chassis", "status").returncode != 0
    assert farm.logins(0) >= 1
    farm.set_password(0, farm.password)
    assert through_the_network(farm, 0, "chassis", "status").returncode == 0


def test_kill_hang_resume_and_restart(farm: BmcFarm) -> None:
    farm.set_power(0, Power.ON)
    farm.hang(0)
    assert through_the_network(farm, 0, "chassis", "status").returncode != 0
    farm.resume(0)
    assert farm.ipmitool_power(0) is Power.ON
    farm.kill(0)
    assert through_the_network(farm, 0, "chassis", "status").returncode != 0
    assert through_the_network(farm, 1, "chassis", "status").returncode == 0
    farm.restart(0)
    assert farm.ipmitool_power(0) is Power.ON


def test_the_network_fails_and_heals(farm: BmcFarm) -> None:
    for fault in (farm.silence, farm.garbage):
        fault(0)
        assert through_the_network(farm, 0, "chassis", "status").returncode != 0
        assert farm.ipmitool_power(0) is Power.OFF, "ipmitool goes round the network"
        farm.heal(0)
        assert through_the_network(farm, 0, "chassis", "status").returncode == 0
    assert farm.logins(0) == 2


def test_a_session_can_be_cut_before_or_after_the_command_took_effect(farm: BmcFarm) -> None:
    assert through_the_network(farm, 0, "chassis", "power", "off").returncode == 0
    at = farm.line(0).commands - 1  # the power command is the last but one, then Close Session
    farm.hang_mid_session(0, at)
    assert through_the_network(farm, 0, "chassis", "power", "on").returncode != 0
    assert farm.power(0) is Power.OFF
    farm.heal(0)
    farm.hang_mid_session(0, at, deliver=True)
    assert through_the_network(farm, 0, "chassis", "power", "on").returncode != 0
    assert farm.power(0) is Power.ON, "it came about and nobody was told"


def test_two_farms_do_not_meet(farm: BmcFarm, tmp_path: Path) -> None:
    with BmcFarm(1, tmp_path / "second") as second:
        assert second.address(0) != farm.address(0)
        second.ipmitool(0, "chassis", "power", "on")
        assert (second.power(0), farm.power(0)) == (Power.ON, Power.OFF)


def test_nothing_is_left_running(tmp_path: Path) -> None:
    with BmcFarm(2, tmp_path) as farm:
        pids = [bmc.process.pid for bmc in farm._bmcs]
        farm.hang(1)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
