"""Checks of a machine that really booted: those that it answers by its report, and those that are
made over a network that reaches it.

The machine is on a bridge of a network of its own, with an address that git declares: so it can be
pinged, and its web server be asked, as in a rack.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from metalwright.lab import system
from metalwright.model.operation import OperationState, Stage

from .lab import document
from .machines import MachineFarm, Systems
from .machines_lab import POLICY, MachinesLab
from .namespace import ADDRESS, BRIDGE, Namespace
from .test_dnsmasq import Dnsmasq, parts  # noqa: F401 - the same network, the same packages

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

BOOT_S = 150.0
SERVICE = f"http://{ADDRESS}:8800"
MACHINE = "10.77.0.11"

SERVES = """#!/bin/sh
export PATH=/bin
echo "This is the system served."
mkdir -p /www && echo hello > /www/index.html
mount -t devtmpfs dev /dev
(
	# Until /init has an address.
	until busybox httpd -p 80 -h /www 2>/dev/null; do sleep 1; done
	while :; do echo "SSH-2.0-tiny" | busybox nc -l -p 22 >/dev/null 2>&1; done
) &
umount -l /dev
exec /init
"""
"""A system with a web server, and with something that has the banner of an SSH server."""

SMART = """#!/bin/sh
echo "SMART overall-health self-assessment test result: PASSED"
"""
"""What the machine has for smartctl: QEMU's disks have no SMART of their own."""

FIRST = 'test "$(cat /proc/1/comm)" = init && exit 7'

CHECKS: list[dict[str, Any]] = [
    {"name": "reported", "phoneHome": {}},
    {"name": "facts", "facts": {}},
    {"name": "links", "links": {}},
    {"name": "smart", "smart": {}},
    {"name": "root", "command": {"run": FIRST, "exitStatus": 7}},
    {"name": "echo", "ping": {"count": 2}},
    {"name": "web", "http": {"path": "/index.html"}},
    {"name": "nothing-there", "http": {"path": "/absent", "status": 404}},
    {"name": "shell", "ssh": {}},
]  # fmt: skip


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        network = opened.enter_context(Namespace())
        network.tap("machine")
        yield opened


def a_lab(tmp_path: Path, systems: Systems, stack: ExitStack) -> MachinesLab:
    """One machine on the bridge, and a template `served` whose checks it is to pass."""
    farm = stack.enter_context(MachineFarm(1, tmp_path / "farm", f"{SERVICE}/boot.ipxe"))
    path = farm[0].home / "machine.json"
    command: list[str] = json.loads(path.read_text())["command"]
    tap = "tap,id=net0,ifname=machine,script=no,downscript=no"
    command = [tap if word.startswith("user,") else word for word in command]
    path.write_text(json.dumps({"command": command}))
    lab = MachinesLab(tmp_path / "lab", farm, systems, 8800)
    stack.callback(lab.close)
    settings = lab.config.read_text().replace("http://10.0.2.2:8800", SERVICE)
    lab.config.write_text(settings.replace("127.0.0.1:8800", f"{ADDRESS}:8800"))
    lab.declare(0, address=MACHINE)
    image = systems.system("red") | {"initrd": systems.artifact(_initrd(systems))}
    lab.write("images/served.yaml", document("Image", "served", image))
    served = {"method": "netboot", "image": "served", "validation": CHECKS}
    served |= {"kernelArgs": list(system.ARGUMENTS), "timeouts": {"validate": "60s"}}
    lab.write("templates/served.yaml", document("BootTemplate", "served", served))
    lab.commit("A system that can be looked at")
    ranges = ("--range=10.77.0.100,10.77.0.200,1h", "--range=fd00:77::,ra-only,64,1h")
    printed = lab.mw("dnsmasq", *ranges, "--interface", BRIDGE)
    assert printed.returncode == 0, printed.stderr
    stack.enter_context(Dnsmasq(tmp_path, printed.stdout))
    assert lab.mw("adopt", "*").returncode == 0
    lab.start()
    return lab


def _initrd(systems: Systems) -> Path:
    made = systems.directory / "initrd-served"
    small = (systems.directory / "ramdisk-small").read_bytes()
    more = system.archive({"system": SERVES.encode(), "bin/smartctl": SMART.encode()})
    made.write_bytes(small + bytes(-len(small) % 4) + gzip.compress(more, mtime=0))
    return made


def test_a_machine_that_passes_every_check_is_done_and_one_that_fails_one_is_quarantined(
    tmp_path: Path, systems: Systems, stack: ExitStack
) -> None:
    lab = a_lab(tmp_path, systems, stack)
    lab.wants("served", "n01")
    lab.wait(lambda: lab.runs("served", "n01"), BOOT_S, "a machine that passes its checks")
    (done,) = lab.operations()
    assert done.stages == (Stage.POWER_OFF, Stage.BOOT, Stage.VALIDATING)
    heard = lab.heard()["n01"].report
    assert [(each.name, each.exit_status) for each in heard.checks] == [("root", 7)]
    assert heard.facts is not None
    assert [disk.smart and disk.smart.value for disk in heard.facts.disks] == ["PASSED"]

    broken = {"name": "licence", "command": {"run": "echo no licence found; exit 3"}}
    worse = {"extends": "served", "timeouts": {"validate": "25s"}, "validation": [broken]}
    worse |= {"kernelArgs": ["worse"]}
    lab.write("templates/worse.yaml", document("BootTemplate", "worse", worse))
    lab.write("policy.yaml", document("Policy", "lab", POLICY | {"retries": {"attemptsMax": 1}}))
    lab.wants("worse", "n01")
    lab.wait(lambda: lab.memory().nodes["n01"].quarantine is not None, 2 * BOOT_S, "quarantine")
    (failed,) = [each for each in lab.operations() if each.state is OperationState.FAILED]
    assert failed.stage is Stage.VALIDATING
    assert "licence: exit status 3: no licence found" in failed.last_error
    for passed in CHECKS:
        assert f"{passed['name']}:" not in failed.last_error
    said = lab.mw("explain", "n01").stdout + lab.mw("show", "n01").stdout
    assert "no licence found" in said
    assert "lifecycle: broken" in said
    assert lab.machines[0].is_on, "a machine that is put aside is left as it is, to be looked at"
