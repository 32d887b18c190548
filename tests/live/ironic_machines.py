"""Machines that really boot, below a real Ironic: its own hardware type `redfish` and its own iPXE
files; the BMCs are the Redfish emulator of sushy-tools.

The emulator knows no machine by itself (its "fake" driver): it tells an address what it was asked
for, and there the power and the boot device of a QEMU machine are set. The machine's network card
loads the iPXE script of Ironic's HTTP directory, as a DHCP server would have told it.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import subprocess
import threading
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metalwright.lab import power, system
from metalwright.lab.machine import Machine
from metalwright.model.boots import Heard
from metalwright.model.operation import Applied

from .ironic_rig import Ironic
from .lab import Lab, document
from .machines import Systems, free_port, service_url
from .machines_lab import came_up

START_TIMEOUT_S = 60.0
EMULATOR = """\
SUSHY_EMULATOR_FAKE_DRIVER = True
SUSHY_EMULATOR_STATE_DIR = {home!r}
SUSHY_EMULATOR_FAKE_SYSTEMS = {systems!r}
EXTERNAL_NOTIFICATION_URL = {url!r}
"""
QUICK = (  # it lets a change of power wait for a second, not for up to eleven
    "import random, sys; random.randint = min; from sushy_tools.emulator.main import main;"
    " sys.exit(main())"
)
SETTINGS = """\
repository = "inventory"
state_dir = "state"
cycle_interval_s = 2

[boot]
listen = "127.0.0.1:{port}"
url = "{service}"

[observe]
interval_s = 3
busy_interval_s = 0.5
timeout_s = 8
backoff_min_s = 0.5
backoff_max_s = 3

[execute]
effect_timeout_s = 15
drain_timeout_s = 15

[drivers.ironic]
endpoint = "{endpoint}"
list_max_age_s = 0.5
boot_url = "http://127.0.0.1:{port}"

[log]
level = "debug"
"""
POLICY = {
    "limits": {"fleet": 2},
    "observationTtl": "60s",
    "retries": {"attemptsMax": 3, "backoffMin": "1s", "backoffMax": "2s"},
    "timeouts": {"softPowerOff": "10s", "powerOff": "30s", "boot": "180s"},
}
USER_DATA = "#cloud-config\nhostname: {{ node.name }}\nphone: {{ boot.url }}\n"


class _Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_words: Any) -> None:
        """Nothing is printed."""


class Hardware:
    """Machines, their BMCs, and Ironic's HTTP directory served. A context manager."""

    def __init__(self, count: int, home: Path, ironic_home: Path) -> None:
        self.home, files = home, functools.partial(_Files, directory=str(ironic_home / "httpboot"))
        self._files = http.server.ThreadingHTTPServer(("127.0.0.1", 0), files)
        self.http_url = service_url(self._files.server_port)
        self.machines = [
            Machine(
                home=home / f"m{number}",
                number=number,
                port=0,
                username="",
                password="",
                boot_url=f"{self.http_url}/boot.ipxe",
            )
            for number in range(1, count + 1)
        ]
        self._by_uuid = {machine.system_uuid: machine for machine in self.machines}
        self._wires = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._emulator: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self.switched: list[tuple[str, str]] = []
        """What was done to the machines: the name of one, `on` or `off`, in order."""

    def __enter__(self) -> Hardware:
        for machine in self.machines:
            machine.build()
        for server in (self._files, self._wires):
            threading.Thread(target=server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._emulator is not None:
            self._emulator.kill()
            self._emulator.wait(timeout=20)
        for server in (self._files, self._wires):
            server.shutdown()
            server.server_close()
        for machine in self.machines:
            machine.close()

    def start_bmcs(self, ironic: Ironic) -> str:
        """Start the emulator, of Ironic's environment; its URL."""
        port = free_port()
        systems = [
            {
                "uuid": machine.system_uuid,
                "name": f"n{machine.number:02}",
                "power_state": "Off",
                "boot_mode": "Legacy",
                "external_notifier": True,
                "nics": [{"mac": machine.mac, "ip": "127.0.0.1"}],
            }
            for machine in self.machines
        ]
        config = self.home / "emulator.py"
        url = f"http://127.0.0.1:{self._wires.server_port}"
        config.write_text(EMULATOR.format(home=str(self.home), systems=systems, url=url))
        words = ["--config", str(config), "--fake", "-i", "127.0.0.1", "-p", str(port)]
        with (self.home / "emulator.log").open("wb") as log:
            self._emulator = subprocess.Popen(
                [ironic.environment / "bin/python", "-c", QUICK, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        service = f"http://127.0.0.1:{port}"
        while not _answers(f"{service}/redfish/v1/Systems/{self.machines[0].system_uuid}"):
            said = (self.home / "emulator.log").read_text()
            assert self._emulator.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.2)
        return service

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        hardware = self

        class Wires(http.server.BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                hardware.set(json.loads(self.rfile.read(length)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_words: Any) -> None:
                """Nothing is printed."""

        return Wires

    def set(self, asked: Mapping[str, Any]) -> None:
        """Make a machine be as its BMC was told, if it is otherwise."""
        machine = self._by_uuid[asked["uuid"]]
        with self._lock:
            is_on, on = machine.is_on, asked["power_state"] == "On"
            if on == is_on:
                return
            if on:
                device = "pxe" if asked.get("boot_device") == "Pxe" else "disk"
                (machine.home / "boot").write_text(device)
                power.switch_on(machine.home)
            else:
                power.switch_off(machine.home)
            self.switched.append((asked["name"], "on" if on else "off"))


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
        return True
    return False


def enroll(ironic: Ironic, hardware: Hardware, service: str) -> None:
    """Make Ironic know the machines, as nodes `n01`, ... that are `manageable`."""
    for machine in hardware.machines:
        name = f"n{machine.number:02}"
        body = {
            "driver": "redfish",
            "name": name,
            "boot_interface": "ipxe",
            "properties": {"capabilities": "boot_mode:bios", "cpu_arch": "x86_64"},
            "driver_info": {
                "redfish_address": service,
                "redfish_system_id": f"/redfish/v1/Systems/{machine.system_uuid}",
                "redfish_username": "admin",
                "redfish_password": "secret",
            },
        }
        made = ironic.call("POST", "/v1/nodes", body)
        ironic.call("POST", "/v1/ports", {"node_uuid": made["uuid"], "address": machine.mac})
        ironic.call("PUT", f"/v1/nodes/{name}/states/provision", {"target": "manage"})
        deadline = time.monotonic() + START_TIMEOUT_S
        while ironic.node(name)["provision_state"] != "manageable":
            assert time.monotonic() < deadline, ironic.node(name)
            time.sleep(0.2)


class IronicMachinesLab(Lab):
    """Nodes `n01`, ... that Ironic drives, in a pool that rests powered off; the templates `red`
    and `blue` (from memory). The daemon runs with its boot service.
    """

    def __init__(self, home: Path, ironic: Ironic, hardware: Hardware, systems: Systems) -> None:
        self.home, self.ironic, self.hardware = home, ironic, hardware
        self.store_url = f"sqlite:///{home / 'state' / 'metalwright.sqlite'}"
        self.inventory = home / "inventory"
        self.inventory.mkdir(parents=True)
        self.config = home / "metalwright.toml"
        self.port = free_port()
        text = SETTINGS.format(
            port=self.port, service=service_url(self.port), endpoint=ironic.endpoint
        )
        self.config.write_text(text)
        self.daemon: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "user.name", "Ada Operator")
        self.git("config", "user.email", "ada@lab.example")
        self.write("policy.yaml", document("Policy", "lab", POLICY))
        for name in ("red", "blue"):
            self.write(f"images/{name}.yaml", document("Image", name, systems.system(name)))
            spec = {
                "method": "netboot",
                "image": name,
                "kernelArgs": [*system.ARGUMENTS, "called={{ node.name }}"],
                "userData": USER_DATA,
            }
            self.write(f"templates/{name}.yaml", document("BootTemplate", name, spec))
        nodes = [f"n{machine.number:02}" for machine in hardware.machines]
        pool: dict[str, Any] = {"owner": "lab", "nodes": nodes, "resting": {"power": "off"}}
        self.write("pool.yaml", document("Pool", "lab", pool | {"dataLossConsent": True}))
        for name, machine in zip(nodes, hardware.machines, strict=True):
            node = {
                "driver": "ironic",
                "systemUuid": machine.system_uuid,
                "nics": [{"mac": machine.mac, "boot": True}],
            }
            self.write(f"nodes/{name}.yaml", document("Node", name, node))
        self.commit("The lab")

    def wants(self, template: str, node: str) -> str:
        """Commit that this node is to run a template."""
        spec: dict[str, Any] = {"pool": "lab", "nodes": [node], "owner": "tenant"}
        spec |= {"template": template, "templateEdits": "immediate", "dataLossConsent": True}
        self.write(f"assignments/{node}.yaml", document("Assignment", f"a-{node}", spec))
        return self.commit(f"{node} runs {template}")

    def console(self, index: int) -> list[str]:
        """The systems that came up on a machine, oldest first, by its own console."""
        return came_up(self.hardware.machines[index].console)

    def heard(self) -> Mapping[str, Heard]:
        """The latest report of each node."""
        found: Mapping[str, Heard] = self._read(lambda store: store.heard())
        return found

    def applied(self, node: str) -> Applied | None:
        """What a node was brought to."""
        return self.memory().nodes[node].applied

    def runs(self, template: str, node: str) -> bool:
        """Whether this node was brought to a template and nothing is under way."""
        found = self.applied(node) if self.idle() else None
        target = found.target.template if found is not None else None
        return target is not None and target.name == template
