"""A lab of machines that really boot: their git repository, and the daemon with its boot service.

Commits are made with `git`, as a person would; the daemon and the commands are the installed ones.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metalwright.lab import system
from metalwright.model.boots import Heard, WipeEvidence
from metalwright.model.operation import Applied
from metalwright.model.report import Phase

from .lab import Lab, document
from .machines import MachineFarm, Systems, service_url

SETTINGS = """\
repository = "inventory"
state_dir = "state"
secrets_dir = "secrets"
cycle_interval_s = 2

[boot]
listen = "127.0.0.1:{port}"
url = "{service}"

[observe]
interval_s = 3
busy_interval_s = 0.5
timeout_s = 6
backoff_min_s = 0.5
backoff_max_s = 3

[execute]
effect_timeout_s = 10
drain_timeout_s = 10

[log]
level = "debug"
"""

POLICY = {
    "limits": {"fleet": 2},
    "observationTtl": "30s",
    "ramdisk": "ramdisk",
    "retries": {"attemptsMax": 2, "backoffMin": "1s", "backoffMax": "2s"},
    "quarantine": {"failures": 1},
    "timeouts": {
        "softPowerOff": "10s",
        "powerOff": "15s",
        "boot": "120s",
        "install": "120s",
        "wipe": "120s",
    },
}


def came_up(console: str) -> list[str]:
    """The systems that came up, oldest first, by what a machine said on its serial port."""
    return re.findall(r"This is the system (\w+)\.", console)


class MachinesLab(Lab):
    """Nodes `n01`, `n02`, ... behind the machines of a farm, in a pool that rests powered off.

    The templates `red`, `blue` (from memory), `green` (disk) and `clean` (as `red`, on a disk that
    is wiped whole before) are there, and `deaf` (as `red`, which has 6 s to boot).
    """

    def __init__(
        self, home: Path, farm: MachineFarm, systems: Systems, port: int, *, fleet: int = 2
    ) -> None:
        self.home, self.machines, self.systems = home, farm, systems
        self.store_url = f"sqlite:///{home / 'state' / 'metalwright.sqlite'}"
        self.inventory = home / "inventory"
        self.inventory.mkdir(parents=True)
        self.config = home / "metalwright.toml"
        service = service_url(port)
        self.config.write_text(SETTINGS.format(port=port, service=service))
        farm.write_secrets(home / "secrets")
        self.daemon: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "user.name", "Ada Operator")
        self.git("config", "user.email", "ada@lab.example")
        self.write("policy.yaml", document("Policy", "lab", POLICY | {"limits": {"fleet": fleet}}))
        self._write_templates(service)
        names = f"n[01-{len(farm.machines):02}]" if len(farm.machines) > 1 else "n01"
        pool: dict[str, Any] = {"owner": "lab", "nodes": [names], "resting": {"power": "off"}}
        self.write("pool.yaml", document("Pool", "lab", pool | {"dataLossConsent": True}))
        for index in range(len(farm.machines)):
            self.declare(index)
        self.commit("The lab")

    def _write_templates(self, service: str) -> None:
        images = {name: self.systems.system(name) for name in ("red", "blue")}
        images |= {"green": self.systems.disk("green", service), "ramdisk": self.systems.ramdisk()}
        for name, spec in images.items():
            self.write(f"images/{name}.yaml", document("Image", name, spec))
        network = {"method": "netboot", "kernelArgs": list(system.ARGUMENTS)}
        templates: dict[str, dict[str, Any]] = {
            "red": network | {"image": "red"},
            "blue": network | {"image": "blue"},
            "green": {"method": "disk", "image": "green", "wipe": "metadata"},
            "clean": {"extends": "red", "wipe": "full"},
            "deaf": {"extends": "red", "timeouts": {"boot": "6s"}},
        }
        for name, spec in templates.items():
            self.write(f"templates/{name}.yaml", document("BootTemplate", name, spec))

    def declare(self, index: int, **more: Any) -> None:
        """Write the document of a machine's node."""
        spec = self.machines.node_spec(index, **more)
        self.write(f"nodes/{self.name(index)}.yaml", document("Node", self.name(index), spec))

    def wants(self, template: str, *nodes: str) -> str:
        """Commit that these nodes are to run a template."""
        spec: dict[str, Any] = {"pool": "lab", "nodes": list(nodes)}
        spec |= {"template": template, "owner": "tenant"}
        spec |= {"templateEdits": "immediate", "dataLossConsent": True}
        name = f"a-{nodes[0]}"
        self.write(f"assignments/{name}.yaml", document("Assignment", name, spec))
        return self.commit(f"{' and '.join(nodes)} run {template}")

    def follow_commits_and_a_revert(self, boot_s: float) -> None:
        """Commit `red`, `blue`, and the way back, and see after each that every machine boots it,
        says so by its digest, and that this is what the commit brought.
        """
        names = [self.name(index) for index in range(len(self.machines.machines))]
        digests = []
        for step, template in enumerate(("red", "blue", "red")):
            if step < 2:
                commit = self.wants(template, *names)
            else:
                self.git("revert", "--no-edit", "HEAD")
                commit = self.git("rev-parse", "HEAD")
            self.wait(lambda t=template: self.runs(t, *names), boot_s, f"{template} on all")
            for index, node in enumerate(names):
                applied, heard = self.applied(node), self.heard()[node]
                assert applied is not None
                assert applied.target.template is not None
                assert applied.revision == commit
                assert heard.live
                assert heard.report.phase is Phase.RUNNING
                assert heard.report.template_digest == applied.target.template.digest
                assert self.console(index)[step:] == [template]
            digests.append(self.heard()[names[0]].report.template_digest)
        assert digests[0] == digests[2] != digests[1]
        assert self.plan()[0] == 0

    def install_green(self, boot_s: float) -> None:
        """Commit `green` for `n01`, and see that it is written to the disk and boots from there."""
        machine = self.machines[0]
        self.wants("green", "n01")
        self.wait(lambda: self.runs("green", "n01"), boot_s, "green on its disk")
        image = (self.systems.directory / "disk-green").read_bytes()
        assert machine.disk.read_bytes()[: len(image)] == image
        assert self.console(0) == ["green"]
        heard = self.heard()["n01"].report
        assert heard.phase is Phase.RUNNING
        assert heard.facts is not None
        assert [disk.serial for disk in heard.facts.disks] == [machine.disk_serial]

    # the truth

    def console(self, index: int) -> list[str]:
        """The systems that came up on a machine, oldest first, by its own console."""
        return came_up(self.machines[index].console)

    def heard(self) -> Mapping[str, Heard]:
        """The latest report of each node."""
        found: Mapping[str, Heard] = self._read(lambda store: store.heard())
        return found

    def wipes(self, node: str) -> tuple[WipeEvidence, ...]:
        """The evidence of a node's wipes."""
        found: tuple[WipeEvidence, ...] = self._read(lambda store: store.wipes(node, 100))
        return found

    def applied(self, node: str) -> Applied | None:
        """What a node was brought to."""
        return self.memory().nodes[node].applied

    def runs(self, template: str, *nodes: str) -> bool:
        """Whether these nodes were brought to a template and nothing is under way."""
        if not self.idle():
            return False
        found = [self.applied(node) for node in nodes]
        return all(
            each is not None and each.target.template is not None
            and each.target.template.name == template
            for each in found
        )  # fmt: skip
