"""A simulated fleet, a real store, an engine and a clock that only the test moves."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from metalwright.drivers.fake import FakeDriver
from metalwright.errors import CredentialsError, DriverError, TemporaryError
from metalwright.execute import CycleReport, Engine, EngineSettings
from metalwright.model.desired import Holder, Target
from metalwright.model.documents import Metadata, Node, Policy, Pool
from metalwright.model.frozen import FrozenDict
from metalwright.model.hardware import Bmc, Lifecycle, Nic, NodeSpec
from metalwright.model.inventory import Commit, Inventory, ResolvedTemplate, Source
from metalwright.model.observed import (
    ErrorKind,
    Observation,
    ObservationError,
    Observed,
)
from metalwright.model.operation import (
    Applied,
    JournalEntry,
    Operation,
    OperationState,
    Stage,
    Verb,
)
from metalwright.model.plan import Action, Fate, InProgress, Plan, Totals
from metalwright.model.policy import FleetLimits, PolicySpec, Retries
from metalwright.model.template import Method, Timeouts, WipePolicy
from metalwright.model.tenancy import PoolLimits, PoolSpec, PowerState, Resting
from metalwright.store import Store

START = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
SOURCE = Source(path="pools/ci.yaml", line=3)
HOLDER = Holder(kind="Pool", name="ci", owner="lab")
RULES = PolicySpec(
    limits=FleetLimits(fleet=4, labels={"rack": 2}),
    retries=Retries(attempts_max=3, backoff_min=30, backoff_max=300),
    timeouts=Timeouts(soft_power_off=120, power_off=60, wipe=600, boot=600, install=1_800),
)
STEP_S = 2.0


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class SerialExecutor(Executor):
    """Runs what it is given at once, in the caller's thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class HeldExecutor(SerialExecutor):
    """Keeps what it is given until the test lets it run."""

    def __init__(self) -> None:
        self.held: list[Callable[[], Any]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.held.append(lambda: fn(*args, **kwargs))
        return Future()

    def let_go(self) -> None:
        held, self.held = self.held, []
        for call in held:
            call()


def a_commit(letter: str = "c") -> Commit:
    return Commit(id=letter * 40, author="Ada <ada@lab.example>", subject="Say more", at=START)


def a_target(
    name: str = "debian",
    method: Method = Method.NETBOOT,
    wipe: WipePolicy = WipePolicy.NONE,
    letter: str = "d",
) -> Target:
    template = ResolvedTemplate(
        name=name, chain=(name,), method=method, wipe=wipe, digest=letter * 64
    )
    return Target(power=PowerState.ON, template=template, digest=letter * 64)


OFF = Target(power=PowerState.OFF, digest="0" * 64)
AS_FOUND = Target(power=PowerState.OFF, digest="9" * 64)
ON = Target(power=PowerState.ON, digest="1" * 64)


def a_node(name: str, rack: str = "a01", **spec: Any) -> Node:
    number = int("".join(letter for letter in name if letter.isdigit()) or "0")
    values: dict[str, Any] = {
        "driver": "fake",
        "bmc": Bmc(address="192.0.2.1"),
        "serial": f"S-{name}",
        "nics": (Nic(mac=f"52:54:00:00:{number // 256 % 256:02x}:{number % 256:02x}", boot=True),),
    }
    return Node(
        metadata=Metadata(name=name, labels={"rack": rack}), spec=NodeSpec(**(values | spec))
    )


def an_inventory(
    nodes: Iterable[Node],
    rules: PolicySpec = RULES,
    commit: Commit | None = None,
    pool_limit: int | None = None,
) -> Inventory:
    named = {node.metadata.name: node for node in nodes}
    spec = PoolSpec(
        owner="lab",
        resting=Resting(power=PowerState.OFF),
        nodes=("n[0-999]",),
        limits=PoolLimits(in_flight=pool_limit),
    )
    return Inventory(
        revision=commit or a_commit(),
        nodes=FrozenDict(named),
        pools=FrozenDict(ci=Pool(metadata=Metadata(name="ci"), spec=spec)),
        policy=Policy(metadata=Metadata(name="fleet"), spec=rules),
        pool_of=FrozenDict(dict.fromkeys(named, "ci")),
    )


def stages_of(verb: Verb, target: Target) -> tuple[Stage, ...]:
    if verb in (Verb.POWER_OFF, Verb.UNDEPLOY):
        return (Stage.POWER_OFF,)
    if verb is Verb.POWER_ON:
        return (Stage.BOOT,)
    stages = [Stage.POWER_OFF]
    template = target.template
    if template is not None and template.wipe is not WipePolicy.NONE and verb is not Verb.REBOOT:
        stages.append(Stage.WIPE)
    stages.append(Stage.BOOT)
    if template is not None and template.method is Method.DISK and verb is not Verb.REBOOT:
        stages.append(Stage.INSTALLING)
    return tuple(stages)


class Rig:
    """The smallest daemon: look, plan what differs, carry out, let time pass."""

    def __init__(self, directory: Path, nodes: int = 1, seed: int = 7, **settings: Any) -> None:
        self.directory, self.seed = directory, seed
        self.clock = Clock()
        self.step_s = STEP_S
        self.wakes = 0
        self.stack = ExitStack()
        self.driver = FakeDriver(None, seed=seed, clock=self.clock)
        self.stack.callback(self.driver.close)
        self.provisioner: Any = self.driver
        self.executor: Executor = SerialExecutor()
        self.settings = EngineSettings(**settings)
        self.random = random.Random(seed)
        self.inventory = an_inventory(a_node(f"n{number}") for number in range(nodes))
        self.observed = Observed()
        self.wanted: dict[str, tuple[Verb, Target, int]] = {}
        self.fates: dict[str, Fate] = {}
        self.abandoned_revision: str | None = None
        self.reports: list[CycleReport] = []
        self.store: Store
        self.engine: Engine
        self.open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.store.close()
        self.stack.close()

    def open(self) -> None:
        """A process starts: nothing but the store and the hardware is as it was."""
        self.store = Store.open(f"sqlite:///{self.directory / 'store.sqlite'}")
        self.engine = self.make_engine()

    def make_engine(self, still_ours: Callable[[], bool] = lambda: True) -> Engine:
        return Engine(
            self.store,
            {"fake": self.provisioner},
            self.executor,
            self.clock,
            self.random,
            self.wake,
            self.settings,
            still_ours,
        )

    def reopen(self) -> None:
        """The process was killed and another one starts; what was observed is forgotten."""
        self.store.close()
        self.observed = Observed()
        self.open()

    def wake(self) -> None:
        self.wakes += 1

    def adopt(self, *nodes: str, target: Target = AS_FOUND) -> None:
        applied = Applied(
            target=target, holder=HOLDER, revision="a" * 40, source=SOURCE, at=self.clock()
        )
        names = nodes or tuple(self.inventory.nodes)
        self.store.adopt(dict.fromkeys(names, applied), "ada", self.clock())

    def want(self, node: str, verb: Verb, target: Target, priority: int = 500) -> None:
        self.wanted[node] = (verb, target, priority)

    def look(self, *nodes: str) -> None:
        """Ask the nodes (all of them) once more."""
        found: dict[str, Observation] = dict(self.observed.nodes)
        for name in nodes or tuple(self.inventory.nodes):
            node, at = self.inventory.nodes[name], self.clock()
            try:
                reading = self.driver.observe(node, 5.0)
            except DriverError as error:
                kind = ErrorKind.TIMEOUT
                if isinstance(error, CredentialsError):
                    kind = ErrorKind.CREDENTIALS
                elif not isinstance(error, TemporaryError):
                    kind = ErrorKind.PERMANENT
                said = ObservationError(kind=kind, message=str(error))
                found[name] = Observation(node=name, at=at, error=said, failures=1)
            else:
                found[name] = Observation(node=name, at=at, reading=reading)
        self.observed = Observed(nodes=FrozenDict(found))

    def plan(self) -> Plan:
        """What differs from what is wanted, in the simplest way."""
        actions, going = [], []
        for name, remembered in self.store.memory().nodes.items():
            operation = remembered.operation
            if operation is not None:
                going.append(self.in_progress(operation))
                continue
            if name not in self.wanted or remembered.failed is not None:
                continue
            verb, target, priority = self.wanted[name]
            if remembered.applied is None or remembered.applied.target != target:
                actions.append(self.action(name, verb, target, priority))
        totals = Totals(
            nodes=0,
            as_desired=0,
            changes=0,
            in_progress=0,
            blocked=0,
            disruptive=0,
            destroying=0,
            starts_now=0,
        )
        return Plan(
            revision=self.inventory.revision,
            at=self.clock(),
            totals=totals,
            actions=tuple(actions),
            in_progress=tuple(going),
            abandoned_revision=self.abandoned_revision,
        )

    def action(self, name: str, verb: Verb, target: Target, priority: int) -> Action:
        template = target.template
        wipes = template is not None and template.wipe is not WipePolicy.NONE
        return Action(
            node=name,
            verb=verb,
            pool="ci",
            holder=HOLDER,
            target=target,
            priority=priority,
            stages=stages_of(verb, target),
            disruptive=True,
            destroys_data=wipes,
            reasons=(),
            source=SOURCE,
        )

    def in_progress(self, operation: Operation) -> InProgress:
        return InProgress(
            node=operation.node,
            operation_id=operation.id,
            verb=operation.verb,
            fate=self.fates.get(operation.node, Fate.CONTINUE),
            attempt=operation.attempt,
            since=operation.created_at,
            commit=operation.commit,
            why="a newer commit" if operation.node in self.fates else "",
        )

    def cycle(self, *, look: bool = True) -> CycleReport:
        """Look, plan and carry out, then let a step of time pass."""
        if look:
            self.look()
        report = self.engine.carry_out(self.plan(), self.inventory, self.observed, self.clock())
        self.reports.append(report)
        self.clock.pass_s(self.step_s)
        return report

    def run(self, until: Callable[[], bool], within_s: float = 7_200) -> None:
        """Cycle, once at least, until something holds."""
        end = self.clock() + timedelta(seconds=within_s)
        self.cycle()
        while not until():
            assert self.clock() < end, self.story()
            self.cycle()

    def run_for(self, seconds: float) -> None:
        end = self.clock() + timedelta(seconds=seconds)
        while self.clock() < end:
            self.cycle()

    def settled(self) -> bool:
        """Whether nothing is under way, and nothing is to be begun."""
        nodes = self.store.memory().nodes.values()
        return not self.plan().actions and all(node.operation is None for node in nodes)

    def settle(self, within_s: float = 7_200) -> None:
        self.run(self.settled, within_s)

    def operation(self, node: str = "n0") -> Operation:
        return self.store.operations(node, 1)[0]

    def state(self, node: str = "n0") -> OperationState:
        return self.operation(node).state

    def journal(self, node: str | None = None) -> list[JournalEntry]:
        return list(self.store.journal(node, 100_000))[::-1]

    def events(self, node: str = "n0") -> list[str]:
        return [line.event for line in self.journal(node) if line.event != "adopted"]

    def told(self, node: str = "n0") -> list[str]:
        """The effects that were journalled, in order."""
        return [
            str(line.effect.kind)
            for line in self.journal(node)
            if line.event == "intent" and line.effect is not None
        ]

    def story(self) -> str:
        """The journal, for a test that fails."""
        lines = self.journal()[-60:]
        return "\n".join(
            f"{line.at:%H:%M:%S} {line.node} {line.event} {line.stage} {line.detail}"
            for line in lines
        )


def held_at_most(journal: Iterable[JournalEntry], limits: Mapping[str, int]) -> dict[str, int]:
    """Replay a journal and return the most slots that were ever held, by scope."""
    holds: dict[str, list[str]] = {}
    held: dict[str, int] = {}
    most: dict[str, int] = {}
    for line in journal:
        if line.event == "admitted":
            assert line.operation_id is not None
            holds[line.operation_id] = [part.split("#")[0] for part in line.detail.split(", ")]
            for scope in holds[line.operation_id]:
                held[scope] = held.get(scope, 0) + 1
                most[scope] = max(most.get(scope, 0), held[scope])
                assert held[scope] <= limits[scope], (scope, line)
        elif line.event in ("retry", "active", "failed", "cancelled", "superseded"):
            for scope in holds.pop(line.operation_id or "", ()):
                held[scope] -= 1
    return most


def unmanaged(node: Node, lifecycle: str = "broken") -> Node:
    return replace(node, spec=replace(node.spec, lifecycle=Lifecycle(lifecycle)))
