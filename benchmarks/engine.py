"""Operations per minute and CPU per operation: the whole cycle, on a store with durable intents.

    python benchmarks/engine.py [--store sqlite|postgresql] [--profile] [NODES:LIMIT ...]

Without `--store` both are measured: SQLite in a file with `synchronous = FULL`, and a PostgreSQL
server of its own with `fsync` on, where its programs and driver are installed.

Everything of the daemon is real but the hardware and the time: git, schedule, plan and its check,
admission, stages, the store and its transactions. The drivers answer at once and an observation is
there as soon as it is wanted, so that what is measured is the engine, not the machines. Every node
runs a template whose kernel arguments a commit changes: each is powered off by the soft way, told
what to boot, and powered on, in three transactions at least, each of them on the disk before the
hardware is touched.

For comparison, the rate at which a peer enrols simulated hosts: Metal3 baremetal-operator's scale
fixture (800 hosts in 328.3 s at concurrency 100). It does other work; the ratio is for the order.
"""

from __future__ import annotations

import cProfile
import json
import os
import pstats
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from scale import REST, fast_import, make_repository

from metalwright.daemon.fleet import Fleet, Parts
from metalwright.daemon.reconcile import Reconciler, applied_as
from metalwright.inventory import Repository
from metalwright.model.documents import Node
from metalwright.model.frozen import FrozenDict
from metalwright.model.observed import Observation, Observed, Power, Reading
from metalwright.model.operation import Effect, EffectKind
from metalwright.settings import Settings
from metalwright.store import FleetLock, Store

CASES = ((1_000, 20), (1_000, 200), (10_000, 20), (10_000, 200))
"""Nodes in the fleet, and how many of them may be in flight."""

MEASURED_S = 12.0
"""For how long a case is measured, in seconds; or until every node is turned over."""
WARM_UP_CYCLES = 6
"""Cycles that are not measured: the first of them reads ten thousand nodes that just changed and
lines ten thousand operations up, once; and they bring the first machines to their end.
"""
TICK = timedelta(milliseconds=10)
"""How much the clock moves from cycle to cycle: an observation has to be newer than an effect."""

PEER_PER_MINUTE = 800 / 328.3 * 60
"""Hosts per minute: Metal3 baremetal-operator's scale fixture."""

FUNCTIONS_SHOWN = 10
PARTS = (
    ("daemon/reconcile.py", "cycle"),
    ("daemon/reconcile.py", "follow_head"),
    ("store/store.py", "memory"),
    ("plan/make.py", "make"),
    ("plan/check.py", "check"),
    ("plan/attribute.py", "attribute"),
    ("execute/engine.py", "carry_out"),
)
"""The parts of a cycle whose time a profile shows, in the order of the cycle."""

SHA = "0" * 64


class Machines:
    """Every machine of the fleet: does what it is told at once. A driver and a sweeper in one."""

    capabilities = frozenset(
        {EffectKind.SOFT_POWER_OFF, EffectKind.POWER_OFF, EffectKind.POWER_ON}
        | {EffectKind.SET_BOOT_DEVICE}
    )

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._power: dict[str, Power] = {}
        self._seen: dict[str, Observation] = {}

    def switch_on(self, names: Iterable[str]) -> None:
        """The machines as they are at the beginning."""
        for name in names:
            self._power[name] = Power.ON
            self._look(name)

    def apply(self, node: Node, effect: Effect, timeout_s: float) -> None:
        """Bring the effect about."""
        del timeout_s
        if effect.kind is EffectKind.POWER_ON:
            self._power[node.metadata.name] = Power.ON
        elif effect.kind is not EffectKind.SET_BOOT_DEVICE:
            self._power[node.metadata.name] = Power.OFF

    def _look(self, name: str) -> None:
        reading = Reading(power=self._power[name])
        self._seen[name] = Observation(node=name, at=self._clock(), reading=reading)

    def follow(self, nodes: Iterable[Node]) -> None:
        """The fleet stays as it is."""

    def snapshot(self) -> Observed:
        """The latest observation of every machine."""
        return Observed(nodes=FrozenDict(self._seen))

    def tick(self, nodes: Iterable[Node], busy: frozenset[str]) -> None:
        """Look at those with an operation."""
        del nodes
        for name in busy:
            self._look(name)

    def close(self) -> None:
        """Nothing is open."""


class AtOnce(Executor):
    """Does what it is given before it returns."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run it here and now."""
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class Clock:
    """Virtual time."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 20, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        """The present instant."""
        return self.now


def opened(home: Path, url: str, nodes: int, limit: int, stack: ExitStack) -> tuple[Fleet, Clock]:
    """A fleet of machines that are as the last commit but one wants them."""
    path = make_repository(home, nodes)
    fast_import(path, {"policy.yaml": POLICY.format(limit=limit)}, "Policy")
    state = home / "state"
    state.mkdir()
    settings = Settings(repository=str(path), state_dir=state)
    clock = Clock()
    machines = Machines(clock)
    parts = Parts(
        lock=stack.enter_context(FleetLock(state / "fleet.lock")),
        repository=stack.enter_context(Repository(str(path), "main", mirror=None)),
        store=stack.enter_context(Store.open(url)),
        drivers={"fake": machines},
        askers=AtOnce(),
        actors=AtOnce(),
        clock=clock,
        random=random.Random(1),
    )
    fleet = stack.enter_context(Fleet(settings, parts, lambda: None))
    fleet.sweeper.close()
    fleet.sweeper = machines  # type: ignore[assignment]
    reconciler = Reconciler(fleet)
    reconciler.follow_head()
    revision = fleet.repository.head()
    wanted = reconciler.resolve(clock()).nodes
    fleet.store.adopt(
        {n: applied_as(w, revision, clock()) for n, w in wanted.items()}, "b", clock()
    )
    machines.switch_on(wanted)
    fast_import(path, {"rest.yaml": REST % {"sha": SHA, "args": "loud"}}, "All")
    return fleet, clock


def measure(
    nodes: int, limit: int, store: str, profile: cProfile.Profile | None
) -> dict[str, float]:
    """The figures of one case."""
    with tempfile.TemporaryDirectory() as home, ExitStack() as stack:
        url = f"sqlite:///{home}/store.sqlite" if store == "sqlite" else store
        fleet, clock = opened(Path(home), url, nodes, limit, stack)
        reconciler = Reconciler(fleet)
        began = time.perf_counter()
        reconciler.cycle()  # makes every operation, in one transaction; loads the inventory
        first_s = time.perf_counter() - began
        began = time.perf_counter()
        warm = sum(turned(reconciler, clock) for _ in range(WARM_UP_CYCLES))
        warm_s = time.perf_counter() - began
        finished = cycles = 0
        began, cpu = time.perf_counter(), time.process_time()
        if profile is not None:
            profile.enable()
        while warm + finished < nodes and (
            finished < limit or time.perf_counter() - began < MEASURED_S
        ):
            finished += turned(reconciler, clock)
            cycles += 1
        if profile is not None:
            profile.disable()
        wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
        return {
            "first_s": first_s,
            "warm_s": warm_s,
            "per_minute": finished / wall_s * 60,
            "cpu_ms": cpu_s / finished * 1_000,
            "cycle_ms": wall_s / cycles * 1_000,
            "operations": finished,
            "cycles": cycles,
        }


def turned(reconciler: Reconciler, clock: Clock) -> int:
    """How many operations one cycle finished."""
    clock.now += TICK
    report = reconciler.cycle().report
    assert report is not None
    assert not report.failed + report.retried + report.superseded
    return int(report.finished)


POLICY = """\
apiVersion: metalwright/v1
kind: Policy
metadata: {{name: fleet}}
spec: {{limits: {{fleet: {limit}}}}}
"""


def show_profile(profile: cProfile.Profile, operations: float) -> None:
    """The parts of a cycle, and the functions that take most of the time by themselves; per
    operation. A profiled Python is about twice as slow: read it as shares.
    """
    stats: Any = pstats.Stats(profile)
    for path, name in PARTS:
        spent = sum(
            row[3]
            for (where, _line, called), row in stats.stats.items()
            if called == name and where.endswith(path)
        )
        print(f"    {spent / operations * 1e6:8.1f} us with all that it calls  {name}  {path}")
    rows = sorted(stats.stats.items(), key=lambda row: -row[1][2])[:FUNCTIONS_SHOWN]
    for (path, line, name), (_primitive, calls, own_s, with_s, _callers) in rows:
        where = f"{'/'.join(Path(path).parts[-2:])}:{line}" if line else path
        print(
            f"    {own_s / operations * 1e6:8.1f} us own, {with_s / operations * 1e6:8.1f} us with "
            f"what it calls, {calls / operations:7.1f} calls  {name}  {where}"
        )


def measure_all(kind: str, cases: list[str], options: list[str], place: ExitStack) -> None:
    """Measure each case in a process of its own, on a store of its own; print a line for each."""
    server = stores_of(kind, place)
    for case in cases or [f"{nodes}:{limit}" for nodes, limit in CASES]:
        with ExitStack() as stack:
            store = stack.enter_context(server.database("template0")) if server else kind
            command = [sys.executable, __file__, "--one", case, "--store", store, *options]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        first, *rest = done.stdout.splitlines()
        said = json.loads(first)
        nodes, limit = case.split(":")
        print(
            f"{kind:10} {nodes:>6} nodes, {limit:>3} in flight: {said['per_minute']:8,.0f} "
            f"operations per minute ({said['per_minute'] / PEER_PER_MINUTE:6.1f} x the peer's), "
            f"{said['cpu_ms']:6.2f} ms CPU each; cycle {said['cycle_ms']:7.1f} ms, "
            f"first {said['first_s']:5.1f} s, the next {WARM_UP_CYCLES} {said['warm_s']:5.1f} s",
            *rest,
            sep="\n",
            flush=True,
        )


def stores_of(kind: str, place: ExitStack) -> Any:
    """A running PostgreSQL server whose commits are durable; `None` for SQLite."""
    if kind == "sqlite":
        return None
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "store"))
    from postgres import binaries, running_server

    programs = binaries()
    if programs is None:
        raise SystemExit("postgresql: its server is not installed, so it is not measured")
    return place.enter_context(running_server(programs, durable=True))


def main(arguments: list[str]) -> None:
    """Measure what was asked for, or everything."""
    kinds = ["sqlite", "postgresql"]
    if "--store" in arguments:
        at = arguments.index("--store")
        kinds = [arguments[at + 1]]
        del arguments[at : at + 2]
    options = ["--profile"] if "--profile" in arguments else []
    cases = [argument for argument in arguments if ":" in argument]
    if "--one" in arguments:
        nodes, limit = map(int, cases[0].split(":"))
        profile = cProfile.Profile() if options else None
        figures = measure(nodes, limit, kinds[0], profile)
        print(json.dumps(figures))
        if profile is not None:
            show_profile(profile, figures["operations"])
        return
    for kind in kinds:
        with ExitStack() as place:
            measure_all(kind, cases, options, place)


if __name__ == "__main__":
    os.environ.setdefault("GIT_CONFIG_NOSYSTEM", "1")
    main(sys.argv[1:])
