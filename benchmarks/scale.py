"""Load, resolve, plan and memory at 1,000 and 10,000 nodes, as ratios to a floor of the same run.

    python benchmarks/scale.py [NODES ...]

The floor is `git cat-file --batch` of all blobs of the inventory: no reader of a repository can be
quicker than git itself. Absolute seconds depend on the machine and its other work; read the ratios.
Each figure is the median of `ROUNDS` rounds; each size runs in a process of its own, so that the
memory is its own.
"""

from __future__ import annotations

import gc
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from metalwright.inventory import Loader, Repository
from metalwright.model.frozen import FrozenDict
from metalwright.model.observed import Observation, Observed, Power, Reading
from metalwright.model.operation import Applied, EffectKind, Memory, NodeMemory
from metalwright.plan import PlanContext, check, make, render_text
from metalwright.schedule import desired

SIZES = (1_000, 10_000)
ROUNDS = 5
RACK_NODES = 40
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
CONTEXT = PlanContext(capabilities={"fake": frozenset(EffectKind)})

NODE = """\
apiVersion: metalwright/v1
kind: Node
metadata:
  name: n{number:05}
  labels: {{rack: r{rack:03}, pdu: r{rack:03}-p{pdu}, switch: sw-r{rack:03}}}
spec:
  driver: fake
  bmc: {{address: 10.{a}.{b}.{c}, credentials: bmc/r{rack:03}}}
  serial: SN{number:08}
  systemUuid: 00000000-0000-4000-8000-{number:012x}
  nics:
    - {{name: eno1, mac: "52:54:{m1:02x}:{m2:02x}:{m3:02x}:01", boot: true, switchPort: sw/{c}}}
    - {{name: eno2, mac: "52:54:{m1:02x}:{m2:02x}:{m3:02x}:02"}}
  properties:
    vendor: Dell Inc.
    model: PowerEdge R640
    cpus: 64
    memoryGib: 192
    disks:
      - {{sizeGb: 480, rotational: false, serial: D{number:08}}}
"""
REST = """\
apiVersion: metalwright/v1
kind: Image
metadata: {name: live}
spec:
  kernel: {url: "https://images.example.net/k", sha256: "%(sha)s"}
  initrd: {url: "https://images.example.net/i", sha256: "%(sha)s"}
---
apiVersion: metalwright/v1
kind: BootTemplate
metadata: {name: live}
spec: {method: netboot, image: live, kernelArgs: ["%(args)s"]}
---
apiVersion: metalwright/v1
kind: Pool
metadata: {name: all}
spec: {owner: lab, selector: "model = 'PowerEdge R640'", resting: {template: live}}
"""


def node_text(number: int) -> str:
    """One node's file."""
    low, mid, high = number & 255, number >> 8 & 255, number >> 16 & 255
    return NODE.format(
        number=number,
        rack=number // RACK_NODES,
        pdu=number % 2,
        a=high,
        b=mid,
        c=low,
        m1=high,
        m2=mid,
        m3=low,
    )


def make_repository(home: Path, count: int) -> Path:
    """A bare repository of `count` nodes, one file each, written with `git fast-import`."""
    repository = home / "inventory.git"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(repository)], check=True)
    files = {
        f"nodes/r{number // RACK_NODES:03}/n{number:05}.yaml": node_text(number)
        for number in range(count)
    }
    files["rest.yaml"] = REST % {"sha": "0" * 64, "args": "quiet"}
    fast_import(repository, files, "The fleet")
    return repository


def fast_import(repository: Path, files: dict[str, str], subject: str) -> None:
    """Add one commit that writes these files."""
    parent = b"from refs/heads/main^0\n" if subject != "The fleet" else b""
    stream = [
        b"commit refs/heads/main\ncommitter A <a@example.net> 1760000000 +0000\n",
        b"data %d\n%s\n" % (len(subject), subject.encode()),
        parent,
    ]
    for path, text in files.items():
        content = text.encode()
        stream.append(b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(content), content))
    subprocess.run(
        ["git", "-C", str(repository), "fast-import", "--quiet"], input=b"".join(stream), check=True
    )


def floor(repository: Path) -> None:
    """`git cat-file --batch` of every blob at HEAD."""
    listing = subprocess.run(
        ["git", "-C", str(repository), "ls-tree", "-r", "--object-only", "main"],
        capture_output=True,
        check=True,
    )
    subprocess.run(
        ["git", "-C", str(repository), "cat-file", "--batch"],
        input=listing.stdout,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def timed(rounds: int, act: Callable[[], Any]) -> float:
    """The median seconds of `act` over some rounds."""
    seconds = []
    for _ in range(rounds):
        gc.collect()
        began = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def rss_mb() -> float:
    """The most memory that this process ever had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(count: int) -> dict[str, float]:
    """All figures for one size: seconds, except those whose name says MB."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as home:
        path = make_repository(Path(home), count)
        figures["floor: git cat-file --batch"] = timed(ROUNDS, lambda: floor(path))
        before = rss_mb()
        with Repository(str(path), "main", mirror=None) as repository:

            def cold() -> None:
                Loader(repository).load(repository.head())

            figures["load, cold"] = timed(ROUNDS, cold)
            loader = Loader(repository)
            first = loader.load(repository.head())
            figures["memory of a load, MB"] = rss_mb() - before
            changed = iter(range(1, 1_000))

            def one_file() -> None:
                text = node_text(0).replace("cpus: 64", f"cpus: {next(changed)}")
                fast_import(path, {"nodes/r000/n00000.yaml": text}, "One file")

            incremental = []
            for _ in range(ROUNDS):
                one_file()
                incremental.append(timed(1, lambda: loader.load(repository.head())))
            figures["load, one file changed"] = statistics.median(incremental)
            fast_import(path, {"rest.yaml": REST % {"sha": "0" * 64, "args": "loud"}}, "All")
            second = loader.load(repository.head())
        figures["resolve"] = timed(ROUNDS, lambda: desired(first, NOW))
        wanted = desired(first, NOW)
        memory = Memory(
            nodes=FrozenDict(
                {
                    name: NodeMemory(
                        node=name,
                        adopted_at=NOW,
                        adopted_by="benchmark",
                        applied=Applied(
                            target=node.target,
                            holder=node.holder,
                            revision=first.revision.id,
                            source=node.source,
                            at=NOW,
                        ),
                    )
                    for name, node in wanted.nodes.items()
                }
            )
        )
        seen = Observed(
            nodes=FrozenDict(
                {
                    name: Observation(node=name, at=NOW, reading=Reading(power=Power.ON))
                    for name in wanted.nodes
                }
            )
        )
        figures["plan, nothing to do"] = timed(ROUNDS, lambda: make(wanted, seen, memory, CONTEXT))
        after = desired(second, NOW)
        plan = make(after, seen, memory, CONTEXT)
        assert len(plan.actions) == count
        figures["plan, every node changes"] = timed(
            ROUNDS, lambda: make(after, seen, memory, CONTEXT)
        )
        figures["check of that plan"] = timed(
            ROUNDS, lambda: check(plan, after, seen, memory, CONTEXT)
        )
        figures["text of that plan"] = timed(ROUNDS, lambda: render_text(plan))
    figures["memory at the end, MB"] = rss_mb()
    return figures


def main(arguments: list[str]) -> None:
    """Measure each size in a process of its own and print one table."""
    if arguments[:1] == ["--one"]:
        print(json.dumps(measure(int(arguments[1]))))
        return
    for size in [int(argument) for argument in arguments] or SIZES:
        done = subprocess.run(
            [sys.executable, __file__, "--one", str(size)],
            capture_output=True,
            text=True,
            check=True,
        )
        figures = json.loads(done.stdout)
        base = figures["floor: git cat-file --batch"]
        print(f"\n{size} nodes")
        for name, value in figures.items():
            unit = f"{value:10.0f} MB" if name.endswith("MB") else f"{value * 1_000:10.1f} ms"
            ratio = "" if name.endswith("MB") else f"  {value / base:7.2f} x floor"
            print(f"  {name:32} {unit}{ratio}")


if __name__ == "__main__":
    main(sys.argv[1:])
