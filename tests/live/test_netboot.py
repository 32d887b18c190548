"""A commit decides what machines boot: QEMU machines behind BMC simulators, which network-boot,
install, boot from their disks and are wiped, and say so themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metalwright.model.operation import OperationState

from .lab import in_flight_max, overlap_max
from .machines import (
    MachineFarm,
    Systems,
    free_port,
    service_url,
)
from .machines_lab import MachinesLab

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

BOOT_S = 90.0
"""For one machine, from the commit to its report; on a quiet computer it is a tenth of that."""

Make = Callable[..., MachinesLab]


@pytest.fixture
def make(tmp_path: Path, systems: Systems) -> Iterator[Make]:
    """Makes a lab of so many machines; everything of it is ended afterwards."""
    farms: list[MachineFarm] = []
    labs: list[MachinesLab] = []

    def build(count: int, *, fleet: int = 2, unplugged: int = -1) -> MachinesLab:
        port = free_port()
        farm = MachineFarm(count, tmp_path / "farm", f"{service_url(port)}/boot.ipxe")
        farms.append(farm)
        if unplugged >= 0:
            farm[unplugged].cable = False
        farm.__enter__()
        labs.append(MachinesLab(tmp_path / "lab", farm, systems, port, fleet=fleet))
        return labs[-1]

    try:
        yield build
    finally:
        for lab in labs:
            lab.close()
        for farm in farms:
            farm.close()


def adopted(lab: MachinesLab) -> MachinesLab:
    done = lab.mw("adopt", "*")
    assert done.returncode == 0, done.stderr
    lab.start()
    return lab


def test_a_commit_decides_what_machines_boot_one_at_a_time(make: Make) -> None:
    lab = adopted(make(2, fleet=1))
    lab.follow_commits_and_a_revert(2 * BOOT_S)
    assert_one_at_a_time(lab)


def assert_one_at_a_time(lab: MachinesLab) -> None:
    """By the journal's order; and from a machine's first command, by its BMC, to its report."""
    journal = lab.journal()
    assert in_flight_max(journal) == 1
    spans = []
    for index, machine in enumerate(lab.machines):
        mine = [entry for entry in journal if entry.node == lab.name(index)]
        ends = [entry.at.timestamp() for entry in mine if entry.event == "active"]
        begun = 0.0
        for end in ends:
            commands = [at for at, _ in machine.commands if begun < at < end]
            spans.append((commands[0], end))
            begun = end
        switched = [words for _, words in machine.commands if words == "power 1"]
        assert len(switched) == len(ends), machine.commands
    assert len(spans) == 6
    assert overlap_max(spans) == 1


def test_a_machine_that_never_reports_is_retried_and_then_left_alone(make: Make) -> None:
    lab = adopted(make(2, unplugged=1))
    lab.wants("red", "n01")
    lab.wants("deaf", "n02")
    lab.wait(lambda: lab.memory().nodes["n02"].quarantine is not None, BOOT_S, "the quarantine")
    events = [entry.event for entry in lab.journal() if entry.node == "n02"]
    assert [event for event in events if event in ("retry", "failed", "quarantined")] == [
        "retry", "failed", "quarantined"
    ]  # fmt: skip
    switched = [words for _, words in lab.machines[1].commands if words == "power 1"]
    assert len(switched) == 2
    (failed,) = [each for each in lab.operations() if each.state is OperationState.FAILED]
    assert (failed.node, failed.attempt) == ("n02", 2)
    said = lab.mw("explain", "n02").stdout
    assert "QUARANTINED" in said
    lab.wait(lambda: lab.runs("red", "n01"), BOOT_S, "its neighbour")
    assert lab.console(0) == ["red"]
    assert "n02" not in lab.heard()


def test_a_system_is_installed_boots_from_disk_and_is_wiped_with_evidence(make: Make) -> None:
    lab = adopted(make(1))
    machine = lab.machines[0]
    lab.install_green(2 * BOOT_S)

    lab.wants("clean", "n01")
    lab.wait(lambda: lab.runs("clean", "n01"), 2 * BOOT_S, "a clean disk, and red")
    assert lab.console(0) == ["green", "red"]
    assert machine.disk.stat().st_size == machine.disk_mib << 20
    assert not machine.disk.read_bytes().strip(b"\0")
    (operation,) = [each for each in lab.operations() if _template(each) == "clean"]
    (evidence,) = [each for each in lab.wipes("n01") if each.operation_id == operation.id]
    assert evidence.wipe.serial == machine.disk_serial
    assert evidence.wipe.bytes == machine.disk_mib << 20
    assert evidence.wipe.verified
    assert machine.disk_serial in lab.mw("show", "n01").stdout


def test_a_machine_with_another_disk_than_git_declares_keeps_it(make: Make) -> None:
    lab = make(1)
    machine = lab.machines[0]
    lab.declare(0, properties={"disks": [{"serial": "ANOTHER-1"}]})
    lab.commit("Another disk")
    kept = bytes(range(256)) * ((machine.disk_mib << 20) // 256)
    machine.disk.write_bytes(kept)
    adopted(lab)
    lab.wants("clean", "n01")
    lab.wait(
        lambda: any(each.state is OperationState.FAILED for each in lab.operations()),
        2 * BOOT_S,
        "the refusal",
    )
    assert lab.end() == 0
    assert machine.disk.read_bytes() == kept
    (failed,) = lab.operations()
    assert "ANOTHER-1" in failed.last_error
    assert machine.disk_serial in failed.last_error
    assert lab.wipes("n01") == ()
    assert lab.console(0) == []


def _template(operation: object) -> str:
    template = operation.target.template  # type: ignore[attr-defined]
    return template.name if template is not None else ""
