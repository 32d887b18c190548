"""A small lab on real parts: real BMCs, a real git repository, the real daemon in a process of its
own.

Commits are made with `git`, as a person would; the daemon and the commands are the installed ones.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from metalwright.model.observed import Power
from metalwright.model.operation import JournalEntry, Memory, Operation
from metalwright.store import Store

from .bmc_farm import BmcFarm

SETTINGS = """\
repository = "inventory"
state_dir = "state"
secrets_dir = "secrets"
cycle_interval_s = 2

[observe]
interval_s = 2
busy_interval_s = 0.3
timeout_s = 4
backoff_min_s = 0.5
backoff_max_s = 3
credentials_retry_s = 6

[execute]
effect_timeout_s = 6
drain_timeout_s = 10

[log]
level = "debug"
"""

POLICY = {
    "limits": {"fleet": 3},
    "observationTtl": "20s",
    "retries": {"attemptsMax": 5, "backoffMin": "1s", "backoffMax": "3s"},
    "timeouts": {"softPowerOff": "3s", "powerOff": "10s", "boot": "20s"},
}
COMMAND_TIMEOUT_S = 90.0


def document(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """One document of the inventory."""
    return {
        "apiVersion": "metalwright/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }


class Lab:
    """`farm.count` nodes `n01`, `n02`, ... in one pool that rests powered off.

    With `rack_nodes` every so many of them are in a rack of their own: `r1`, `r2`, ... Without
    `store_url` the store is a SQLite file.
    """

    def __init__(
        self,
        home: Path,
        farm: BmcFarm,
        *,
        settings: str = SETTINGS,
        policy: dict[str, Any] = POLICY,
        rack_nodes: int = 0,
        store_url: str = "",
    ) -> None:
        self.home, self.farm, self.rack_nodes = home, farm, rack_nodes
        self.store_url = store_url or f"sqlite:///{home / 'state' / 'metalwright.sqlite'}"
        self.inventory = home / "inventory"
        self.inventory.mkdir(parents=True)
        self.config = home / "metalwright.toml"
        self.config.write_text(f'store_url = "{self.store_url}"\n{settings}', encoding="utf-8")
        farm.write_secrets(home / "secrets")
        self.daemon: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "user.name", "Ada Operator")
        self.git("config", "user.email", "ada@lab.example")
        self.write("policy.yaml", document("Policy", "lab", policy))
        digest = "0123456789abcdef" * 4
        kernel, initrd = (
            {"url": f"http://127.0.0.1/{name}", "sha256": digest} for name in ("kernel", "initrd")
        )
        self.write("image.yaml", document("Image", "live", {"kernel": kernel, "initrd": initrd}))
        template = {"method": "netboot", "image": "live", "kernelArgs": ["console=ttyS0"]}
        self.write("template.yaml", document("BootTemplate", "live", template))
        pool = {"owner": "lab", "nodes": [f"n[01-{farm.count:02}]"], "resting": {"power": "off"}}
        pool["reuse"] = "unwiped"  # its tenants take turns, and nothing here could wipe a disk
        self.write("pool.yaml", document("Pool", "lab", pool))
        for index in farm:
            node = farm.node(index)
            assert node.spec.bmc is not None
            bmc = {
                "address": node.spec.bmc.address,
                "port": node.spec.bmc.port,
                "credentials": node.spec.bmc.credentials,
            }
            written = document("Node", self.name(index), {"driver": "ipmi", "bmc": bmc})
            if rack_nodes:
                written["metadata"]["labels"] = {"rack": self.rack(index)}
            self.write(f"nodes/{self.name(index)}.yaml", written)
        self.commit("The lab")

    @staticmethod
    def name(index: int) -> str:
        """The node behind BMC `index`."""
        return f"n{index + 1:02}"

    def rack(self, index: int) -> str:
        """The rack of the node behind BMC `index`."""
        return f"r{index // self.rack_nodes + 1}"

    # git

    def git(self, *words: str) -> str:
        """Run git in the inventory."""
        done = subprocess.run(
            ["git", *words], cwd=self.inventory, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def write(self, path: str, content: dict[str, Any]) -> None:
        """Write one file of the inventory."""
        target = self.inventory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")

    def commit(self, subject: str) -> str:
        """Commit everything."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", subject)
        return self.git("rev-parse", "HEAD")

    def assign(self, name: str, nodes: str, owner: str = "tenant") -> str:
        """Commit an assignment of these nodes."""
        spec = {"pool": "lab", "nodes": [nodes], "template": "live", "owner": owner}
        self.write(f"assignments/{name}.yaml", document("Assignment", name, spec))
        return self.commit(f"Assign {nodes} to {owner}")

    # the commands

    def mw(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one command, as installed."""
        return subprocess.run(
            [sys.executable, "-m", "metalwright", *words, "--config", str(self.config)],
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )

    def plan(self) -> tuple[int, dict[str, Any]]:
        """The exit code and the JSON of `mw plan`."""
        done = self.mw("plan", "--format", "json")
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def start(self) -> None:
        """Start the daemon."""
        self.starts += 1
        with (self.home / f"daemon{self.starts:02}.log").open("wb") as log:
            self.daemon = subprocess.Popen(
                [sys.executable, "-m", "metalwright", "daemon", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def end(self, number: int = signal.SIGTERM) -> int:
        """End the daemon with a signal; its exit status."""
        assert self.daemon is not None
        if self.daemon.poll() is None:
            self.daemon.send_signal(number)
        try:
            return self.daemon.wait(timeout=30)
        finally:
            self.daemon = None

    def close(self) -> None:
        """End whatever still runs."""
        if self.daemon is not None:
            self.end(signal.SIGKILL)

    def log(self) -> str:
        """What all the daemons of this lab said."""
        return "\n".join(
            path.read_text(errors="replace") for path in sorted(self.home.glob("daemon*.log"))
        )

    def started(self) -> bool:
        """Whether the daemon that was started last has said that it is at work."""
        path = self.home / f"daemon{self.starts:02}.log"
        return "started" in path.read_text(errors="replace")

    # the truth

    def on(self) -> set[str]:
        """The nodes that are on, from the machines' own files."""
        return {self.name(index) for index in self.farm if self.farm.power(index) is Power.ON}

    def wait(self, reached: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Wait for something to be so; fail with the daemon's log otherwise."""
        deadline = time.monotonic() + timeout_s
        while not reached():
            ended = self.daemon is not None and self.daemon.poll() is not None
            if ended or time.monotonic() > deadline:
                raise AssertionError(f"not within {timeout_s:.0f} s: {what}\n{self.log()[-6000:]}")
            time.sleep(0.1)

    def idle(self) -> bool:
        """Whether no operation is unfinished."""
        return all(node.operation is None for node in self.memory().nodes.values())

    def memory(self) -> Memory:
        """What the store remembers of the fleet."""
        remembered: Memory = self._read(lambda s: s.memory())
        return remembered

    def journal(self) -> tuple[JournalEntry, ...]:
        """Everything that we did, oldest first."""
        entries: tuple[JournalEntry, ...] = self._read(lambda s: s.journal(None, 100_000))
        return tuple(sorted(entries, key=lambda entry: entry.seq))

    def operations(self) -> tuple[Operation, ...]:
        """Every operation that there ever was."""
        found: tuple[Operation, ...] = self._read(lambda s: s.operations(None, 100_000))
        return found

    def _read(self, question: Callable[[Store], Any]) -> Any:
        store = Store.open(self.store_url)
        try:
            return question(store)
        finally:
            store.close()


def in_flight_max(entries: Iterable[JournalEntry]) -> int:
    """The most operations that held slots at once, by the journal's own order."""
    held: set[str] = set()
    most = 0
    for entry in entries:
        if entry.operation_id is None:
            continue
        if entry.event == "admitted":
            held.add(entry.operation_id)
        elif entry.event in ("active", "failed", "cancelled", "superseded", "retry"):
            held.discard(entry.operation_id)
        most = max(most, len(held))
    return most


def overlap_max(spans: Iterable[tuple[float, float]]) -> int:
    """The most spans (begin, end) that cover one instant."""
    edges = sorted(edge for begin, end in spans for edge in ((begin, 1), (end, -1)))
    now = most = 0
    for _at, step in edges:
        now += step
        most = max(most, now)
    return most


def instants(entries: Iterable[JournalEntry], event: str) -> dict[str, datetime]:
    """When an event of each node was last journalled."""
    return {entry.node: entry.at for entry in entries if entry.event == event}
