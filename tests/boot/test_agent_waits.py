"""The agent and a service that is away, that refuses, or that breaks off."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from .agent_rig import MIB, SHELLS, Machine, Service, serving

in_every_shell = pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
AN_HOUR_IN_TRIES = 6
PASSES = """echo >>{root}/pauses
read -r up rest <{root}/proc/uptime
echo "$((${{up%.*}} + 600)).00 $rest" >{root}/proc/uptime"""
"""A sleep of ten minutes that takes no time."""


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as made:
        yield made


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path / "machine")
    made.tools["sleep"] = PASSES.format(root=made.root)
    return made


def pauses(machine: Machine) -> int:
    told = machine.root / "pauses"
    return len(told.read_text().splitlines()) if told.exists() else 0


def phases(service: Service) -> list[str]:
    return [each["phase"] for each in service.reports]


@pytest.mark.parametrize("shell", [["dash"], ["bash", "--posix"]], ids=lambda shell: shell[0])
def test_a_ramdisk_waits_for_its_service_for_as_long_as_it_is_on(
    machine: Machine, service: Service, shell: list[str]
) -> None:
    device = machine.disk("mwd0", 40)
    service.statuses = [503] * 50
    service.answers = ["wipe mwd0 metadata\n"]
    done = machine.run(shell, f"mw.url={service.base}/b/T mw.mode=wipe")
    assert done.returncode == 0, done.stderr
    assert phases(service) == ["ready", "wiping", "wiped"]
    assert service.reports[-1]["wipes"][0]["verified"] is True
    assert device.stat().st_size == 40 * MIB
    assert pauses(machine) == 50
    assert done.stderr.count("503") == 1  # the same words are said once


def test_a_running_system_waits_for_its_service_for_an_hour(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    done = machine.run(["dash"], f"mw.url=http://127.0.0.1:{port}/b/T")
    assert done.returncode == 1
    assert "no answer to the report 'running'" in done.stderr
    assert pauses(machine) == AN_HOUR_IN_TRIES


@pytest.mark.parametrize("mode", ["wipe", "install", "run"])
def test_a_service_that_keeps_refusing_is_believed(
    machine: Machine, service: Service, mode: str
) -> None:
    machine.tools["sleep"] = f"echo >>{machine.root}/pauses"
    service.statuses = [403, 429, *[403] * 40]
    done = machine.run(["dash"], f"mw.url={service.base}/b/T mw.mode={mode}")
    assert done.returncode == 1
    assert pauses(machine) == 30
    assert service.reports == []


@in_every_shell
def test_an_answer_counts_when_it_is_whole(
    machine: Machine, service: Service, shell: list[str]
) -> None:
    """What is told to be checked may hold a backslash, and comes as it was written."""
    service.answers = ["check one 5 printf 'a\\\\tb'\n"]
    done = machine.run(shell, f"mw.url={service.base}/b/T")
    assert done.returncode == 0, done.stderr
    assert service.reports[1]["checks"] == [{"name": "one", "exit_status": 0, "message": "a\\tb"}]


@in_every_shell
def test_an_image_whose_download_breaks_off_is_fetched_anew(
    machine: Machine, service: Service, shell: list[str]
) -> None:
    device = machine.disk("mwd0", 4)
    service.image = bytes(range(256)) * 4096 * 2
    service.breaks = [0, MIB + 10]
    sha256 = hashlib.sha256(service.image).hexdigest()
    service.answers = [f"install mwd0 {sha256} {len(service.image)}\n"]
    done = machine.run(shell, f"mw.url={service.base}/b/T mw.mode=install")
    assert done.returncode == 0, done.stderr
    assert phases(service) == ["ready", *["installing"] * 3, "installed"]
    assert device.read_bytes() == service.image + bytes(2 * MIB)


def test_an_image_that_is_another_one_is_not_installed(machine: Machine, service: Service) -> None:
    machine.disk("mwd0", 4)
    service.image = b"another image"
    service.answers = [f"install mwd0 {'0' * 64} {len(service.image)}\n"]
    done = machine.run(["dash"], f"mw.url={service.base}/b/T mw.mode=install")
    assert done.returncode == 1
    assert phases(service) == ["ready", *["installing"] * 5, "failed"]
    assert "it should be 0000" in service.reports[-1]["message"]


@in_every_shell
def test_a_machine_with_several_cards_asks_by_each_of_them(
    machine: Machine, service: Service, shell: list[str]
) -> None:
    machine.card("eth0", "52:54:00:00:00:01")
    machine.card("eth1", "52:54:00:00:00:02")
    machine.write("sys/class/net/eth1/bonding_slave/perm_hwaddr", "52:54:00:00:00:03")
    machine.card("eth2", "52:54:00:00:00:04")
    machine.write("sys/class/dmi/id/product_serial", "VMware-56 4d 8f&1")
    machine.write("sys/class/dmi/id/product_uuid", "11111111-1111-1111-1111-000000000001")
    service.statuses = [404, 404, 404]
    done = machine.run(shell, f"mw.service={service.base}")
    assert done.returncode == 0, done.stderr
    asked, macs = service.paths[:-1], ["01", "03", "04"]
    who = "&uuid=11111111-1111-1111-1111-000000000001&serial=VMware-56%204d%208f%261"
    assert asked == [f"/hello?mac=52:54:00:00:00:{each}{who}" for each in (*macs, macs[0])]
    found = [each["mac"][-2:] for each in service.reports[0]["facts"]["nics"]]
    assert found == macs


def booted(machine: Machine, arguments: str, *, leases: str, service: str) -> str:
    """The card that the ramdisk ends with: `leases` have DHCP, `service` is reached by one."""
    leased = machine.root / "leased"
    machine.tools = {
        "udhcpc": f'case "$*" in *{leases}*) echo "${{10}}" >{leased} ;; *) exit 1 ;; esac',
        "wget": f'[ "$4" = http://10.0.0.1:8800/agent ] && [ "$(cat {leased})" = {service} ]',
    }
    for number in range(3):
        machine.card(f"eth{number}", f"52:54:00:00:00:0{number}")
    assert "agent" in machine.start(arguments)
    return leased.read_text().strip() if leased.exists() else ""


URL = "mw.url=http://10.0.0.1:8800/b/T mw.mode=wipe"


@pytest.mark.parametrize(
    ("arguments", "leases", "service", "card"),
    [
        (f"{URL} mw.mac=52:54:00:00:00:01", "eth", "none", "eth1"),
        (f"{URL} mw.mac=52:54:00:00:00:01", "eth2", "eth2", "eth2"),
        (URL, "eth", "eth2", "eth2"),
        ("mw.service=http://10.0.0.1:8800", "eth", "eth1", "eth1"),
        (URL, "eth", "none", "eth0"),  # the service is away
        ("quiet", "eth", "none", "eth0"),
        (URL, "none", "none", ""),
    ],
)
def test_a_ramdisk_takes_the_card_that_leads_to_its_service(
    machine: Machine, arguments: str, leases: str, service: str, card: str
) -> None:
    assert booted(machine, arguments, leases=leases, service=service) == card
