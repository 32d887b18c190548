"""Carries plans out: admission, stages, effects, within limits that hold, through any crash.

One cycle is one transaction: what came back, what ends, what begins and every new intent become
durable together, and only then are the drivers called, on worker threads. The engine never waits
for hardware. It never decides what a node should be (the plan does) nor whether an attempt of a
step is right (`advance` does).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime

from metalwright.execute.changes import Surroundings
from metalwright.execute.cycle import Cycle
from metalwright.execute.effects import Effects
from metalwright.execute.ports import Journal, Provisioner, Random
from metalwright.execute.report import CycleReport
from metalwright.model.inventory import Inventory
from metalwright.model.observed import Observed
from metalwright.model.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """The bounds of the engine itself; the fleet's limits are git's.

    `effect_tries_max` is how often one effect is told to a BMC within its stage, `settle_s` how
    long a BMC may take to show what it was told.
    """

    effects_in_flight_max: int = 32
    effect_timeout_s: float = 20.0
    effect_tries_max: int = 3
    settle_s: float = 5.0


class Engine:
    """Drives the operations of one fleet. Only one engine may exist for a store (`FleetLock`).

    `wake` is called from worker threads when an effect came back; it must only set a flag.
    """

    def __init__(
        self,
        journal: Journal,
        provisioners: Mapping[str, Provisioner],
        executor: Executor,
        clock: Callable[[], datetime],
        random: Random,
        wake: Callable[[], None],
        settings: EngineSettings | None = None,
    ) -> None:
        settings = settings or EngineSettings()
        self._journal = journal
        self._clock = clock
        self._effects = Effects(executor, clock, wake, settings.effect_timeout_s)
        self._surroundings = Surroundings(
            journal=journal,
            provisioners=provisioners,
            random=random,
            effects=self._effects,
            effects_in_flight_max=settings.effects_in_flight_max,
            tries_max=settings.effect_tries_max,
            settle_s=settings.settle_s,
            started_at=clock(),
        )
        self._draining = False
        self._busy: frozenset[str] | None = None
        self._next_due_at: datetime | None = None

    def carry_out(
        self, plan: Plan, inventory: Inventory, observed: Observed, now: datetime
    ) -> CycleReport:
        """Run one cycle of a checked plan that was made from `inventory` and `observed`.

        Raises:
            StoreError: nothing of this cycle was recorded, and nothing was started.
        """
        outcomes = self._effects.gather()
        cycle = Cycle(self._surroundings, inventory, observed, now)
        with self._journal.batch():
            cycle.record(outcomes)
            if not self._draining:
                cycle.cancel(plan)
                cycle.create(plan)
                cycle.advance(plan)
                cycle.admit(plan)
        self._effects.recorded(outcomes)
        cycle.start()
        self._busy = cycle.busy()
        self._next_due_at = cycle.next_due_at()
        return cycle.report()

    def busy(self) -> frozenset[str]:
        """The nodes to be asked more often: those with a running operation, and those that could be
        started if only they were observed.
        """
        if self._busy is None:
            nodes = self._journal.memory().nodes.values()
            self._busy = frozenset(node.node for node in nodes if node.operation is not None)
        return self._busy

    def next_due_at(self) -> datetime | None:
        """When time alone calls for a cycle: a deadline, a pause that ends. `None`: not by itself.

        An effect that comes back calls `wake`; a new observation is the sweeper's to tell.
        """
        return self._next_due_at

    def drain(self, timeout_s: float) -> CycleReport:
        """Start nothing any more, wait for the effects in flight and record what came of them.

        What does not come back in time is read back by the next engine.

        Raises:
            StoreError: the outcomes could not be recorded.
        """
        self._draining = True
        in_time = self._effects.wait(timeout_s)
        outcomes = self._effects.gather()
        cycle = Cycle(self._surroundings, None, Observed(), self._clock())
        with self._journal.batch():
            cycle.record(outcomes)
        self._effects.recorded(outcomes)
        if not in_time:
            cycle.tally.say(f"{len(self._effects)} effects did not come back in {timeout_s:g} s")
        return cycle.report()
