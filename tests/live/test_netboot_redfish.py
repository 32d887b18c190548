"""A commit decides what machines boot, through Redfish: libvirt's virtual machines behind the
emulator of sushy-tools, neither of which was written here, network-boot and say so themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metalwright.model.operation import EffectKind

from .lab import document, in_flight_max, overlap_max
from .machines import Systems, free_port, service_url
from .machines_lab import POLICY, MachinesLab
from .redfish_machines import RedfishMachines

pytestmark = [pytest.mark.live, pytest.mark.timeout(1200)]

BOOT_S = 180.0
"""For one machine, from the commit to its report; on a quiet computer it is a tenth of that."""

Make = Callable[..., MachinesLab]


@pytest.fixture
def make(tmp_path: Path, systems: Systems) -> Iterator[Make]:
    """Makes a lab of so many machines; everything of it is ended afterwards."""
    farms: list[RedfishMachines] = []
    labs: list[MachinesLab] = []

    def build(count: int) -> MachinesLab:
        port = free_port()
        farm = RedfishMachines(count, tmp_path / "farm", f"{service_url(port)}/boot.ipxe")
        farms.append(farm)
        farm.__enter__()
        lab = MachinesLab(tmp_path / "lab", farm, systems, port, fleet=1)
        labs.append(lab)
        timeouts = POLICY["timeouts"] | {"boot": "300s", "install": "300s"}
        policy = POLICY | {"limits": {"fleet": 1}, "timeouts": timeouts}
        lab.write("policy.yaml", document("Policy", "lab", policy))
        lab.commit("Time enough for a busy computer")
        done = lab.mw("adopt", "*")
        assert done.returncode == 0, done.stderr
        lab.start()
        return lab

    try:
        yield build
    finally:
        for lab in labs:
            lab.close()
        for farm in farms:
            farm.close()


def test_a_commit_decides_what_machines_boot_one_at_a_time(make: Make) -> None:
    lab = make(2)
    assert lab.machines.answers("a wrong password") == 401
    lab.follow_commits_and_a_revert(2 * BOOT_S)
    assert_one_at_a_time(lab)


def assert_one_at_a_time(lab: MachinesLab) -> None:
    """By the journal's order; and from when libvirt first switched a machine to its report."""
    journal = lab.journal()
    assert in_flight_max(journal) == 1
    spans = []
    for index, machine in enumerate(lab.machines):
        mine = [entry for entry in journal if entry.node == lab.name(index)]
        ends = [entry.at.timestamp() for entry in mine if entry.event == "active"]
        begun = 0.0
        for end in ends:
            spans.append((next(at for at, _ in machine.switched if at > begun), end))
            begun = end
        assert [how for _, how in machine.switched] == ["on", "off", "on", "off", "on"]
    assert len(spans) == 6
    assert overlap_max(spans) == 1


def test_a_service_that_dies_in_the_middle_of_a_boot_costs_no_second_power_cycle(
    make: Make,
) -> None:
    lab = make(1)
    machine = lab.machines[0]
    with machine.slow_start():
        lab.wants("red", "n01")
        lab.wait(lambda: machine.switched, BOOT_S, "a machine that is about to start")
        lab.machines.kill_emulator()  # before it has answered
    comes_up_in_silence(lab, "red")
    assert [how for _, how in machine.switched] == ["on"]

    lab.wants("blue", "n01")
    lab.wait(lambda: power_on_outcomes(lab)[1:] == ["done"], BOOT_S, "the second power-on")
    lab.machines.kill_emulator()
    assert lab.console(0) == ["red"]
    comes_up_in_silence(lab, "red", "blue")
    assert lab.end() == 0
    assert [how for _, how in machine.switched] == ["on", "off", "on"]

    unanswered = f"power on: BMC 127.0.0.1:{machine.port}: it hung up"
    assert power_on_outcomes(lab) == [unanswered, "done"]
    assert unanswered in lab.log()
    mine = [entry for entry in lab.journal() if entry.operation_id is not None]
    intents = [entry.effect for entry in mine if entry.event == "intent"]
    assert [each.kind for each in intents if each is not None].count(EffectKind.POWER_ON) == 2
    ends = [each.event for each in mine if each.event in ("active", "retry", "failed")]
    assert ends == ["active", "active"]


def comes_up_in_silence(lab: MachinesLab, *systems: str) -> None:
    """The last of these systems comes up while the service is dead, which is started again then:
    the operation waits for the machine's BMC, an operator can read why, and it ends well.
    """
    lab.wait(lambda: lab.console(0) == list(systems), BOOT_S, "a boot that no BMC tells of")
    digest = lab.operations()[0].target.template.digest
    lab.wait(
        lambda: "n01" in lab.heard() and lab.heard()["n01"].report.template_digest == digest,
        BOOT_S,
        "its report",
    )
    lab.wait(lambda: "Connection refused" in lab.mw("explain", "n01").stdout, BOOT_S, "the words")
    said = lab.mw("explain", "n01").stdout
    assert f"observed  unknown: BMC 127.0.0.1:{lab.machines[0].port}: " in said
    assert "in progress: " in said
    assert "reported  running at " in lab.mw("show", "n01").stdout
    lab.machines.start_emulator()
    lab.wait(lambda: lab.runs(systems[-1], "n01"), BOOT_S, systems[-1])


def power_on_outcomes(lab: MachinesLab) -> list[str]:
    """What became of the power-ons that `n01` was told, in order, as `mw log` has it."""
    return [
        entry.detail
        for entry in lab.journal()
        if entry.event == "outcome"
        and entry.effect is not None
        and entry.effect.kind is EffectKind.POWER_ON
    ]


def test_a_system_is_installed_and_boots_from_its_disk(make: Make) -> None:
    lab = make(1)
    machine = lab.machines[0]
    lab.install_green(2 * BOOT_S)
    reported = [entry.detail for entry in lab.journal() if entry.event == "reported"]
    wiped, installed = ["ready", "wiping", "wiped"], ["ready", "installing", "installed"]
    assert reported == [*wiped, *installed, "running"]
    assert [how for _, how in machine.switched] == ["on", "off", "on"]
