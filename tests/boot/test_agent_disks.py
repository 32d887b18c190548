"""What the agent does to disks: everything that it says is wiped is, whatever fails meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .agent_rig import MIB, PCI, SHELLS, Machine, Service, serving

SECRET = b"what the tenant left"
in_every_shell = pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as made:
        yield made


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "machine")


def write(device: Path, *places: float) -> None:
    with device.open("r+b") as file:
        for mib in places:
            file.seek(int(mib * MIB))
            file.write(SECRET)


def wipe(
    machine: Machine, service: Service, shell: list[str], *named: str, level: str = "full"
) -> list[dict[str, Any]]:
    """The evidence that the agent gives for the disks it is told to wipe."""
    service.answers = ["".join(f"wipe {name} {level}\n" for name in named)]
    machine.run(shell, f"mw.url={service.base}/b/T mw.mode=wipe")
    ready, wiping, wiped = service.reports
    assert [each["phase"] for each in (ready, wiping, wiped)] == ["ready", "wiping", "wiped"]
    evidence: list[dict[str, Any]] = wiped["wipes"]
    return evidence


@in_every_shell
@pytest.mark.parametrize("level", ["metadata", "discard", "full"])
def test_a_disk_that_was_written_and_read_back_is_wiped(
    machine: Machine, service: Service, shell: list[str], level: str
) -> None:
    device = machine.disk("mwd0", 40.5)
    write(device, 0, 20, 39.9, 40.4)
    (evidence,) = wipe(machine, service, shell, "mwd0", level=level)
    assert evidence["serial"] == "serial of mwd0"
    assert (evidence["verified"], evidence["message"]) == (True, "")
    size, edges = int(40.5 * MIB), int(32.5 * MIB)
    assert evidence["bytes"] == (edges if level == "metadata" else size)
    assert device.stat().st_size == size
    assert device.read_bytes().count(SECRET) == (1 if level == "metadata" else 0)


@in_every_shell
@pytest.mark.parametrize("mib", [0.25, 1, 3])
def test_the_smallest_disks_are_wiped_whole(
    machine: Machine, service: Service, shell: list[str], mib: float
) -> None:
    device = machine.disk("mwd0", mib)
    write(device, 0, mib - 0.1)
    (evidence,) = wipe(machine, service, shell, "mwd0", level="metadata")
    assert (evidence["verified"], evidence["bytes"]) == (True, int(mib * MIB))
    assert device.read_bytes() == bytes(int(mib * MIB))


@in_every_shell
def test_a_disk_that_fails_in_the_middle_is_not_wiped(
    machine: Machine, service: Service, shell: list[str]
) -> None:
    device = machine.disk("mwd0", 64)
    write(device, 35, 39, 43)  # where no sample is taken
    machine.writable_mib = 32
    (evidence,) = wipe(machine, service, shell, "mwd0")
    assert device.read_bytes().count(SECRET) == 3
    assert (evidence["verified"], evidence["bytes"]) == (False, 0)
    assert "could not be written" in evidence["message"]


def test_a_disk_that_cannot_be_read_back_is_not_wiped(machine: Machine, service: Service) -> None:
    device = machine.disk("mwd0", 64)
    machine.tools["dd"] = f'case "$1" in if={device}) exit 1 ;; esac; exec /bin/dd "$@"'
    (evidence,) = wipe(machine, service, ["dash"], "mwd0")
    assert evidence["verified"] is False


def test_a_disk_that_goes_away_meanwhile_is_not_wiped_and_not_made_anew(
    machine: Machine, service: Service
) -> None:
    device = machine.disk("mwd0", 64)
    machine.tools["dd"] = f'/bin/dd "$@"; rm -f {device}'
    (evidence,) = wipe(machine, service, ["dash"], "mwd0")
    assert (evidence["verified"], evidence["bytes"]) == (False, 0)
    assert not device.exists()


def test_another_disk_of_the_same_name_is_not_the_one_that_was_wiped(
    machine: Machine, service: Service
) -> None:
    machine.disk("mwd0", 64)
    serial = machine.root / "sys" / "block" / "mwd0" / "serial"
    machine.tools["dd"] = f'/bin/dd "$@"; echo another >{serial}'
    (evidence,) = wipe(machine, service, ["dash"], "mwd0")
    assert (evidence["verified"], evidence["serial"]) == (False, "serial of mwd0")
    assert evidence["message"] == "it went away meanwhile"


@in_every_shell
def test_a_name_without_a_device_is_not_wiped_and_gets_none(
    machine: Machine, service: Service, shell: list[str]
) -> None:
    machine.disk("mwd0", 64, node=False)
    (evidence,) = wipe(machine, service, shell, "mwd0")
    assert (evidence["verified"], evidence["bytes"]) == (False, 0)
    assert "is no disk" in evidence["message"]
    assert list((machine.root / "dev").iterdir()) == []


@in_every_shell
def test_the_paths_to_a_disk_are_no_disks_and_a_slash_in_a_name_is_one(
    machine: Machine, service: Service, shell: list[str]
) -> None:
    machine.disk("nvme0n1", 40, hidden=0)
    machine.disk("nvme0c0n1", 40, hidden=1, node=False)
    machine.disk("mmcblk0boot0", 4)
    device = machine.disk("cciss!c0d0", 40)
    write(device, 20)
    (evidence,) = wipe(machine, service, shell, "cciss!c0d0")
    found = [each["name"] for each in service.reports[0]["facts"]["disks"]]
    assert found == ["cciss!c0d0", "nvme0n1"]
    assert evidence["verified"] is True
    assert not device.read_bytes().strip(b"\0")


@in_every_shell
def test_an_image_is_not_written_where_no_disk_is(
    machine: Machine, service: Service, shell: list[str]
) -> None:
    machine.disk("mwd0", 64, node=False)
    service.answers = [f"install mwd0 {'0' * 64} 1000\n"]
    done = machine.run(shell, f"mw.url={service.base}/b/T mw.mode=install")
    assert done.returncode == 1
    assert [each["phase"] for each in service.reports] == ["ready", "failed"]
    assert "is no disk" in service.reports[-1]["message"]
    assert list((machine.root / "dev").iterdir()) == []


@in_every_shell
def test_how_each_disk_is_attached_is_told(
    machine: Machine, service: Service, shell: list[str]
) -> None:
    nvme = "devices/virtual/nvme-subsystem/nvme-subsys0"
    for name, bus in (
        ("mwa", f"{PCI}/ata1/host0/target0:0:0/0:0:0:0"),
        ("mwb", f"{PCI}/host2/rport-2:0-0/target2:0:0/2:0:0:1"),
        ("mwc", "devices/platform/host3/session1/target3:0:0/3:0:0:1"),
        ("mwd", f"{PCI}/usb1/1-1/1-1:1.0/host4/target4:0:0/4:0:0:0"),
        ("mwe", "devices/virtual"),
        ("mwf", "devices/a-bus-to-come"),
        ("nvme0n1", nvme),
        ("nvme1n1", f"{PCI}/nvme/nvme1"),
        ("nvme2n1", nvme),
        ("vda", f"{PCI}/virtio1"),
    ):
        machine.disk(name, 1, bus=bus)
    for place in ("nvme0n1/device/nvme0", "nvme0n1/device/nvme9", "nvme1n1/device"):
        machine.write(f"sys/block/{place}/transport", "pcie")
    machine.write("sys/block/nvme2n1/device/nvme4/transport", "pcie")
    machine.write("sys/block/nvme2n1/device/nvme5/transport", "tcp")
    machine.run(shell, f"mw.url={service.base}/b/T")
    (report,) = service.reports
    assert {each["name"]: each.get("transport") for each in report["facts"]["disks"]} == {
        "mwa": "local",
        "mwb": "fc",
        "mwc": "iscsi",
        "mwd": "usb",
        "mwe": "virtual",
        "mwf": None,
        "nvme0n1": "local",
        "nvme1n1": "local",
        "nvme2n1": "tcp",
        "vda": "local",
    }
