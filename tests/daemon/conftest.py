"""A daemon in a thread, on the shipped simulated fleet and a real git repository."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metalwright.daemon import CycleResult, Service
from metalwright.daemon.fleet import open_fleet
from metalwright.daemon.reconcile import Reconciler, applied_as
from metalwright.settings import Settings, load_settings

WAIT_S = 60.0

NODES = """\
apiVersion: metalwright/v1
kind: Node
metadata: {{name: n{number}}}
spec: {{driver: fake, serial: S{number}}}
---
"""
REST = f"""\
apiVersion: metalwright/v1
kind: Image
metadata: {{name: live}}
spec:
  kernel: {{url: "http://127.0.0.1/k", sha256: "{"0" * 64}"}}
  initrd: {{url: "http://127.0.0.1/i", sha256: "{"1" * 64}"}}
---
apiVersion: metalwright/v1
kind: BootTemplate
metadata: {{name: live}}
spec: {{method: netboot, image: live}}
---
apiVersion: metalwright/v1
kind: Pool
metadata: {{name: lab}}
spec: {{owner: lab, nodes: ["n[1-4]"], resting: {{power: "off"}}}}
"""
LOAN = """\
apiVersion: metalwright/v1
kind: Assignment
metadata: {{name: loan}}
spec: {{pool: lab, nodes: ["{nodes}"], template: live, owner: tenant}}
"""


class Rig:
    """One installation: `inventory` with nodes n1 to n4, and a daemon when it is started."""

    def __init__(self, home: Path) -> None:
        self.home, self.inventory = home, home / "inventory"
        self.inventory.mkdir()
        self.config = home / "metalwright.toml"
        self.config.write_text(
            'repository = "inventory"\nstate_dir = "state"\ncycle_interval_s = 1\n'
            "[drivers.fake]\nspeed = 5000\n"
            "[observe]\ninterval_s = 0.5\nbusy_interval_s = 0.1\nbackoff_min_s = 0.2\n"
        )
        self.results: list[CycleResult] = []
        self.service: Service | None = None
        self.thread: threading.Thread | None = None
        self.git("init", "--quiet", "--initial-branch=main")
        self.write("nodes.yaml", "".join(NODES.format(number=n) for n in range(1, 5)))
        self.write("rest.yaml", REST)
        self.commit("The lab")

    def settings(self, **overrides: object) -> Settings:
        return load_settings(self.config, **overrides)

    def git(self, *words: str, where: Path | None = None) -> str:
        identity = ["-c", "user.name=Ada", "-c", "user.email=ada@lab.example"]
        done = subprocess.run(
            ["git", *identity, *words],
            cwd=where or self.inventory,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def write(self, name: str, text: str) -> None:
        (self.inventory / name).write_text(text, encoding="utf-8")

    def commit(self, subject: str) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", subject)
        return self.git("rev-parse", "HEAD")

    def loan(self, nodes: str, when: str | None = None) -> str:
        text = LOAN.format(nodes=nodes)
        self.write("loan.yaml", text if when is None else f"{text.rstrip()[:-1]}, when: {when}}}\n")
        return self.commit(f"Lend {nodes}")

    def adopt_all(self) -> None:
        with open_fleet(self.settings(), drive=False, wake=lambda: None) as fleet:
            reconciler = Reconciler(fleet)
            reconciler.follow_head()
            now = fleet.clock()
            wanted = reconciler.resolve(now).nodes
            records = {name: applied_as(node, "0" * 40, now) for name, node in wanted.items()}
            fleet.store.adopt(records, "test", now)

    def start(self, **overrides: object) -> Service:
        self.results.clear()
        service = Service(self.settings(**overrides), self.config, self.results.append)
        self.service = service
        self.thread = threading.Thread(target=service.run)
        self.thread.start()
        return service

    def stop(self) -> None:
        if self.service is not None and self.thread is not None:
            self.service.stop()
            self.thread.join(WAIT_S)
            assert not self.thread.is_alive()
        self.service = self.thread = None

    def wait(self, reached: Callable[[CycleResult], bool], what: str) -> CycleResult:
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            if self.results and reached(self.results[-1]):
                return self.results[-1]
            time.sleep(0.02)
        said = self.results[-1].sentence if self.results else "no cycle"
        raise AssertionError(f"not reached: {what}; the last cycle said: {said}")

    def wait_settled(self, revision: str) -> CycleResult:
        def reached(result: CycleResult) -> bool:
            plan = result.plan
            return (
                plan is not None
                and plan.revision.id == revision
                and plan.totals.as_desired == plan.totals.nodes
            )

        return self.wait(reached, f"the fleet as {revision[:7]} wants")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    try:
        yield rig
    finally:
        rig.stop()
