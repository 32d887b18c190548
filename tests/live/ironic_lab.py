"""The lab on a real Ironic: a git repository of nodes that Ironic drives, and the real daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metalwright.model.operation import OperationState

from .ironic_rig import Ironic
from .lab import Lab, document

SETTINGS = """\
repository = "inventory"
state_dir = "state"
secrets_dir = "secrets"
cycle_interval_s = 2

[observe]
interval_s = 3
busy_interval_s = 0.5
timeout_s = 8
backoff_min_s = 0.5
backoff_max_s = 3
credentials_retry_s = 300

[execute]
effect_timeout_s = 10
drain_timeout_s = 15

[drivers.ironic]
endpoint = "{endpoint}"
{login}
netboot_interface = ""
disk_interface = ""
list_max_age_s = 0.5

[log]
level = "debug"
"""
LIMIT = 5
POLICY = {
    "limits": {"fleet": 12, "drivers": {"ironic": LIMIT}},
    "observationTtl": "30s",
    "retries": {"attemptsMax": 4, "backoffMin": "1s", "backoffMax": "3s"},
    "timeouts": {
        "softPowerOff": "10s",
        "powerOff": "20s",
        "wipe": "90s",
        "boot": "90s",
        "install": "90s",
    },
}
DIGEST = "0123456789abcdef" * 4


class IronicLab(Lab):
    """Nodes `n01`, `n02`, ... in one pool that rests powered off; templates `live` (from RAM) and
    `disk` (wiped, then installed).
    """

    def __init__(self, home: Path, ironic: Ironic, nodes: int, login: str = "") -> None:
        self.home, self.ironic, self.rack_nodes = home, ironic, 0
        self.store_url = f"sqlite:///{home / 'state' / 'metalwright.sqlite'}"
        self.inventory = home / "inventory"
        self.inventory.mkdir(parents=True)
        self.config = home / "metalwright.toml"
        self.config.write_text(
            SETTINGS.format(
                endpoint=ironic.endpoint, login=f'credentials = "{login}"' if login else ""
            )
        )
        self.daemon = None
        self.starts = 0
        self.names = [f"n{number:02}" for number in range(1, nodes + 1)]
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "user.name", "Ada Operator")
        self.git("config", "user.email", "ada@lab.example")
        self._write_inventory()
        self.commit("The lab")

    def _write_inventory(self) -> None:
        self.write("policy.yaml", document("Policy", "lab", POLICY))
        files = ("kernel", "initrd", "disk")
        kernel, initrd, disk = (
            {"url": f"http://127.0.0.1/{name}", "sha256": DIGEST} for name in files
        )
        self.write("live.yaml", document("Image", "live", {"kernel": kernel, "initrd": initrd}))
        self.write("disk.yaml", document("Image", "disk", {"disk": disk}))
        self.template("live", "console=ttyS0")
        disk_spec = {"method": "disk", "image": "disk", "wipe": "metadata"}
        self.write("template-disk.yaml", document("BootTemplate", "disk", disk_spec))
        nodes = [f"n[01-{len(self.names):02}]"]
        pool = {"owner": "lab", "nodes": nodes, "resting": {"power": "off"}}
        self.write("pool.yaml", document("Pool", "lab", pool))
        macs = [f"52:54:00:00:01:{number:02x}" for number in range(len(self.names))]
        self.ironic.create(self.names, macs=macs)
        for name, mac in zip(self.names, macs, strict=True):
            spec: dict[str, Any] = {"driver": "ironic", "nics": [{"mac": mac, "boot": True}]}
            self.write(f"nodes/{name}.yaml", document("Node", name, spec))

    def template(self, name: str, argument: str) -> None:
        """Write a netboot template with one kernel argument."""
        spec = {"method": "netboot", "image": "live", "kernelArgs": [argument]}
        self.write(f"template-{name}.yaml", document("BootTemplate", name, spec))

    def give(self, name: str, nodes: str, template: str) -> str:
        """Commit an assignment of these nodes."""
        spec = {"pool": "lab", "nodes": [nodes], "template": template, "owner": "tenant"}
        spec["templateEdits"] = "immediate"
        self.write(f"assignments/{name}.yaml", document("Assignment", name, spec))
        return self.commit(f"Assign {nodes} to {name}")

    def deployed(self) -> dict[str, str]:
        """The digest of the template that Ironic has deployed, by node that is on."""
        listed = self.ironic.call(
            "GET", "/v1/nodes?fields=name,provision_state,power_state,instance_info&limit=1000"
        )["nodes"]
        return {
            node["name"]: node["instance_info"].get("metalwright", {}).get("template_digest", "")
            for node in listed
            if node["provision_state"] == "active" and node["power_state"] == "power on"
        }

    def template_digests(self) -> dict[str, str]:
        """What the store says that each node was brought to."""
        found = {}
        for name, node in self.memory().nodes.items():
            if node.applied is not None and node.applied.target.template is not None:
                found[name] = node.applied.target.template.digest
        return found

    def settled(self, on: set[str]) -> bool:
        """Whether just these are on, with what the store says of them, and nothing is under way."""
        running = self.deployed()
        wanted = self.template_digests()
        return set(running) == on and running == wanted and self.idle()

    def failures(self) -> list[str]:
        """The last error of each operation that failed for good."""
        return [
            each.last_error for each in self.operations() if each.state is OperationState.FAILED
        ]
