"""The daemon switches machines through real Redfish services, which die in between."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.live.redfish_farm import RedfishFarm, write_secret

from metalwright.model.observed import Power

pytestmark = pytest.mark.live

APPLY_S = 120.0
POOL = """\
apiVersion: metalwright/v1
kind: Pool
metadata: {{name: lab}}
spec: {{owner: lab, nodes: ["n[0-2]"], resting: {{power: "{power}"}}}}
---
apiVersion: metalwright/v1
kind: Policy
metadata: {{name: fleet}}
spec: {{timeouts: {{softPowerOff: 20s, powerOff: 40s}}}}
"""


class Installation:
    """Three machines behind Redfish services, declared in a repository of their own."""

    def __init__(self, farm: RedfishFarm, home: Path) -> None:
        self.farm, self.home, self.inventory = farm, home, home / "inventory"
        self.inventory.mkdir()
        write_secret(home / "secrets")
        (home / "metalwright.toml").write_text(
            'repository = "inventory"\nstate_dir = "state"\nsecrets_dir = "secrets"\n'
            "cycle_interval_s = 1\n[observe]\ninterval_s = 1\nbusy_interval_s = 0.5\n"
            "backoff_min_s = 1\nbackoff_max_s = 2\n"
        )
        nodes = []
        for index in range(farm.count):
            node = farm.node(index)
            assert node.spec.bmc is not None
            bmc = {
                "address": node.spec.bmc.address,
                "port": node.spec.bmc.port,
                "credentials": node.spec.bmc.credentials,
                "protocol": "http",
                "system": node.spec.bmc.system,
            }
            spec = {"driver": "redfish", "bmc": bmc, "systemUuid": farm.uuid(index)}
            document = {
                "apiVersion": "metalwright/v1",
                "kind": "Node",
                "metadata": {"name": node.metadata.name},
                "spec": spec,
            }
            nodes.append(f"---\n{json.dumps(document)}\n")
        (self.inventory / "nodes.yaml").write_text("".join(nodes))
        self.git("init", "-q", "-b", "main")

    def rest(self, power: str) -> None:
        """Commit what the machines are when nobody has them."""
        (self.inventory / "pool.yaml").write_text(POOL.format(power=power))
        self.git("add", "-A")
        self.git("commit", "-q", "-m", f"Rest {power}")

    def git(self, *words: str) -> None:
        identity = ["-c", "user.name=Ada", "-c", "user.email=ada@lab.example"]
        subprocess.run(["git", *identity, *words], cwd=self.inventory, check=True)

    def mw(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "metalwright", *words],
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=APPLY_S,
            check=False,
        )

    def resets(self, index: int) -> list[str]:
        """The power commands that came to a machine's service."""
        seen = self.farm.fronts[index].seen
        return [json.loads(each.body)["ResetType"] for each in seen if each.path.endswith("Reset")]

    def await_resets(self, count: int) -> None:
        """Wait until so many have come to all services together."""
        deadline = time.monotonic() + APPLY_S
        while sum(len(self.resets(index)) for index in range(self.farm.count)) < count:
            assert time.monotonic() < deadline, "no power command came"
            time.sleep(0.05)

    def powers(self) -> list[Power]:
        return [self.farm.power(index) for index in range(self.farm.count)]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Installation]:
    with RedfishFarm(3, tmp_path / "farm") as farm:
        yield Installation(farm, tmp_path)


def test_a_commit_becomes_the_power_of_the_machines_and_dead_services_only_delay_it(
    lab: Installation,
) -> None:
    lab.rest("off")
    adopted = lab.mw("adopt", "n[0-2]")
    assert adopted.returncode == 0, adopted.stdout + adopted.stderr
    lab.rest("on")
    applied = lab.mw("apply")
    assert applied.returncode == 0, applied.stdout + applied.stderr
    assert lab.powers() == [Power.ON] * 3

    lab.rest("off")
    lab.farm.kill()
    applied = lab.mw("apply")
    assert "3 NOT_OBSERVED" in applied.stdout, "unknown is not off, and nothing is done"
    lab.farm.start()
    with ThreadPoolExecutor(1) as executor:
        running = executor.submit(lab.mw, "apply")
        lab.await_resets(4)
        lab.farm.kill()  # in the middle of an operation, with a command just acknowledged or not
        time.sleep(3)
        lab.farm.start()
        applied = running.result()
    assert applied.returncode == 0, applied.stdout + applied.stderr
    assert lab.powers() == [Power.OFF] * 3
    for index in range(lab.farm.count):
        told = lab.resets(index)
        assert told[0] == "On"
        assert set(told[1:]) <= {"GracefulShutdown", "ForceOff"}
