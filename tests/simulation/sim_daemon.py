"""One daemon process in virtual time: the product's own parts, put together as production does it.

Only what touches the world outside is another: threads are tasks, the drivers lead to the simulated
machine room, the clocks are virtual. The store is the shipped one on a real database; what is added
to it here are places to be killed at, and faults of the disk.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from sim_driver import SimDriver
from sim_room import MachineRoom
from sim_time import Alarm, Group, Killed, Scheduler, VirtualClock, VirtualExecutor
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from metalwright.daemon.clock import SteadyClock
from metalwright.daemon.fleet import Fleet, Parts, take_over, take_store
from metalwright.daemon.reconcile import FACT_IN_FORCE, CycleResult, Reconciler
from metalwright.errors import (
    FencedError,
    LockedError,
    PlanError,
    RepositoryError,
    StoreError,
)
from metalwright.inventory import Repository
from metalwright.model.desired import Desired
from metalwright.model.frozen import FrozenDict
from metalwright.model.observed import Observed
from metalwright.model.operation import Memory
from metalwright.model.plan import Plan
from metalwright.observe import ProbeSettings
from metalwright.plan import PlanContext
from metalwright.settings import Settings
from metalwright.store import Marks, Store, fleet_lock

FAILED_CYCLE_PAUSE_S = 5.0
WAIT_MIN_S = 0.05
SAVE_INTERVAL_S = 60.0


class StoreFault(Protocol):
    """Whether this statement, or this commit, meets a fault of the disk."""

    def __call__(self, where: str) -> str:
        """The fault's name; empty when all is well. `where`: `statement`, `commit`, `done`."""


class SimStore(Store):
    """The shipped store, with places to be killed at and a disk that may fail."""

    boundary: Callable[[str], None]
    on_commit: Callable[[], None]
    fault: StoreFault
    delay: Callable[[], None]

    def equip(
        self,
        boundary: Callable[[str], None],
        on_commit: Callable[[], None],
        fault: StoreFault,
        delay: Callable[[], None],
    ) -> None:
        """Say whom to tell."""
        self.boundary, self.on_commit, self.fault, self.delay = boundary, on_commit, fault, delay
        event.listen(self._engine, "before_cursor_execute", self._statement)
        event.listen(self._engine, "commit", self._commit)

    @contextmanager
    def batch(self) -> Iterator[None]:
        """As the store's; the transaction begins some time after what it is made from."""
        if self._batch is not None:
            yield
            return
        self.delay()
        with super().batch():
            yield
        self.on_commit()
        if self.fault("done"):
            raise StoreError("the connection was lost after the commit")
        self.boundary("after the commit")

    def _statement(self, _connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if self._batch is not None and statement[:6] in ("INSERT", "UPDATE", "DELETE"):
            said = self.fault("statement")
            if said:
                raise OperationalError(statement, None, Exception(said))

    def _commit(self, _connection: Any) -> None:
        if self._batch is not None:
            self.boundary("before the commit")
            said = self.fault("commit")
            if said:
                raise OperationalError("COMMIT", None, Exception(said))


class SimRepository(Repository):
    """The shipped repository; git is asked for the head again only when the branch was moved."""

    moves: Callable[[], int]
    _seen: tuple[int, str] | None = None

    def head(self) -> str:
        """As the repository's."""
        moves = self.moves()
        if self._seen is None or self._seen[0] != moves:
            self._seen = (moves, super().head())
        return self._seen[1]


class SimReconciler(Reconciler):
    """The shipped reconciler; the plan that it made last can be seen."""

    last_plan: Plan | None = None

    def plan(
        self, desired: Desired, observed: Observed, memory: Memory, context: PlanContext
    ) -> Plan:
        """As the reconciler's."""
        self.last_plan = None
        self.last_plan = super().plan(desired, observed, memory, context)
        return self.last_plan


@dataclass(kw_only=True)
class Surroundings:
    """What every daemon of a run finds."""

    seed: int
    time: Scheduler
    clock: VirtualClock
    room: MachineRoom
    settings: Settings
    moves: Callable[[], int]
    fault: StoreFault
    boundary: Callable[[SimDaemon, str], None]
    on_commit: Callable[[SimDaemon], None]
    on_cycle: Callable[[SimDaemon, CycleResult], None]
    on_fenced: Callable[[SimDaemon], None]
    on_break: Callable[[str, str], None]
    cycle_gap_s: float
    counts: dict[str, int] = field(default_factory=dict)


class SimDaemon:
    """One process, from its start to its end. `driver_kind` is how it reaches the machines,
    `reconciler_kind` how it plans.
    """

    driver_kind: type[SimDriver] = SimDriver
    reconciler_kind: type[SimReconciler] = SimReconciler

    def __init__(self, around: Surroundings, number: int) -> None:
        self.around, self.number = around, number
        self.group = Group(f"daemon {number}")
        self.alarm = Alarm(around.time)
        self.began_s = 0.0
        self.reconciler: SimReconciler | None = None
        self.store: SimStore | None = None
        self._dice = random.Random(f"{around.seed}/daemon/{number}")
        self._lock = fleet_lock(around.settings.store, around.settings.state_dir)
        self._saved_s, self._saved_revision = -SAVE_INTERVAL_S, ""

    def start(self) -> None:
        """Begin, unless another process drives. Raises LockedError, StoreError."""
        self._lock.acquire()
        self.around.time.spawn(self.group, self._run)

    def kill(self) -> None:
        """End it where it stands; the kernel closes what it had open. Not from within."""
        self.around.time.kill(self.group)
        if self.store is not None:
            self.store.close()
        self._lock.release()

    def stall(self, until_s: float) -> None:
        """Stop it where it stands, in the middle of a cycle or a call, until an instant."""
        self.group.stalled_until_s = until_s

    def lose_lock(self) -> None:
        """The lock is somebody else's to take: its connection was given up."""
        self._lock.release()

    def wake(self) -> None:
        """Ask for a cycle."""
        self.alarm.set()

    def _run(self) -> None:
        around = self.around
        self.store = store = SimStore.open(around.settings.store)
        store.equip(
            lambda what: around.boundary(self, what),
            lambda: around.on_commit(self),
            around.fault,
            lambda: around.time.sleep_s(self._dice.uniform(0.0, 0.2)),
        )
        clock = SteadyClock(around.clock.wall, around.clock.monotonic)
        take_over(store, clock, self.group.name)
        marks = Marks(around.settings.state_dir, around.settings.store)
        take_store(store, marks, clock)
        repository = SimRepository(around.settings.repository, around.settings.branch, mirror=None)
        repository.moves = around.moves
        parts = Parts(
            lock=self._lock,
            repository=repository,
            store=store,
            drivers={"fake": self._driver()},
            askers=self._executor("askers", around.settings.observe.in_flight_max),
            probers=self._executor("probers", ProbeSettings().in_flight_max),
            actors=self._executor("actors", around.settings.execute.effects_in_flight_max),
            clock=clock,
            wall=around.clock.wall,
            marks=marks,
            random=random.Random(f"{around.seed}/random/{self.number}"),
        )
        with Fleet(around.settings, parts, self.wake) as fleet:
            fleet.sweeper.preload(_pauses(store.observed()))
            self.reconciler = self.reconciler_kind(fleet)
            while True:
                self.alarm.clear()
                pause_s = self._cycle(fleet, self.reconciler)
                if pause_s > around.cycle_gap_s:
                    self.alarm.wait(pause_s)
                around.time.sleep_s(around.cycle_gap_s * self._dice.uniform(0.5, 1.0))

    def _driver(self) -> SimDriver:
        dice = random.Random(f"{self.around.seed}/driver/{self.number}")
        return self.driver_kind(
            self.around.room, dice, lambda what: self.around.boundary(self, what), self.number
        )

    def _executor(self, name: str, workers: int) -> VirtualExecutor:
        dice = random.Random(f"{self.around.seed}/{name}/{self.number}")
        return VirtualExecutor(self.around.time, self.group, dice, workers)

    def _cycle(self, fleet: Fleet, reconciler: SimReconciler) -> float:
        """One cycle as the service runs it; seconds until the next one by itself."""
        self.began_s = self.around.time.now_s
        try:
            result = reconciler.cycle()
        except PlanError as error:
            self.around.on_break("plan.check", str(error))
            raise Killed from error
        except FencedError as error:
            self.around.on_fenced(self)
            raise Killed from error
        except (StoreError, RepositoryError, LockedError) as error:
            kind = type(error).__name__
            self.around.counts[kind] = self.around.counts.get(kind, 0) + 1
            self.around.time.sleep_s(FAILED_CYCLE_PAUSE_S)
            return 0.0
        self._save(fleet, reconciler, result)
        self.around.on_cycle(self, result)
        return self._pause_s(fleet, reconciler)

    def _save(self, fleet: Fleet, reconciler: Reconciler, result: CycleResult) -> None:
        revision = reconciler.inventory.revision.id if reconciler.inventory is not None else ""
        now_s = self.around.time.now_s
        if now_s - self._saved_s < SAVE_INTERVAL_S and revision == self._saved_revision:
            return
        self._saved_s, self._saved_revision = now_s, revision
        try:
            with fleet.store.batch():
                if result.observed is not None:
                    fleet.store.save_observed(result.observed)
                if reconciler.inventory is not None:
                    in_force = f'{{"revision": "{reconciler.inventory.revision.id}"}}'
                    fleet.store.put_fact(FACT_IN_FORCE, in_force, result.at)
        except FencedError as error:
            self.around.on_fenced(self)
            raise Killed from error
        except StoreError:
            self.around.counts["not saved"] = self.around.counts.get("not saved", 0) + 1

    def _pause_s(self, fleet: Fleet, reconciler: Reconciler) -> float:
        assert fleet.engine is not None
        now, wall = fleet.clock(), fleet.wall()
        due: list[tuple[datetime | None, datetime]] = [
            (fleet.sweeper.next_due_at(), now),
            (fleet.prober.next_due_at(), now),
            (fleet.engine.next_due_at(), now),
            (reconciler.planned_until, now),
            (reconciler.desired_until, wall),
        ]
        pauses = [(at - since).total_seconds() for at, since in due if at is not None]
        return max(WAIT_MIN_S, min([fleet.settings.cycle_interval_s, *pauses]))


def _pauses(kept: Observed) -> Observed:
    """What the service takes over from an earlier process: the failures, for their pauses."""
    nodes: Mapping[str, Any] = kept.nodes
    return Observed(
        nodes=FrozenDict({name: each for name, each in nodes.items() if each.reading is None})
    )
