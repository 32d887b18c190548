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
from metalwright.execute.operations import Operations
from metalwright.execute.ports import Journal, Provisioner, Random
from metalwright.execute.report import CycleReport
from metalwright.execute.steps import View
from metalwright.model.frozen import FrozenDict
from metalwright.model.inventory import Inventory
from metalwright.model.observed import Observed
from metalwright.model.plan import Plan
from metalwright.model.validation import Validation


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """The bounds of the engine itself; the fleet's limits are git's.

    `effect_tries_max` is how often one effect is told to a BMC within its stage, `settle_s` how
    long a BMC may take to show what it was told, `predecessor_s` for how long after the start a
    call of the process before may still reach a machine: 0 where that process is dead for certain.
    """

    effects_in_flight_max: int = 32
    effect_timeout_s: float = 20.0
    effect_tries_max: int = 3
    settle_s: float = 5.0
    predecessor_s: float = 0.0


class Engine:
    """Drives the operations of one fleet. Only one engine may exist for a store (`FleetLock`).

    `wake` is called from worker threads when an effect came back; it must only set a flag.
    `still_ours` is asked from worker threads right before a driver is called, and must not block:
    whether this process was lately confirmed to be the one that may drive the fleet.
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
        still_ours: Callable[[], bool] = lambda: True,
    ) -> None:
        settings = settings or EngineSettings()
        self._journal = journal
        self._clock = clock
        self._effects = Effects(executor, clock, wake, still_ours, settings.effect_timeout_s)
        self._surroundings = Surroundings(
            journal=journal,
            provisioners=provisioners,
            random=random,
            effects=self._effects,
            effects_in_flight_max=settings.effects_in_flight_max,
            tries_max=settings.effect_tries_max,
            settle_s=settings.settle_s,
            started_at=clock(),
            predecessor_s=settings.predecessor_s,
        )
        self._operations = Operations(journal)
        self._draining = False
        self._busy: frozenset[str] | None = None
        self._next_due_at: datetime | None = None
        self.validations: Mapping[str, Validation] = FrozenDict()
        """The nodes that are validated since the last cycle, and what they have to pass."""

    def carry_out(
        self, plan: Plan, inventory: Inventory, observed: Observed, now: datetime
    ) -> CycleReport:
        """Run one cycle of a checked plan that was made from `inventory` and `observed`.

        Raises:
            StoreError: nothing of this cycle was recorded, and nothing was started.
        """
        cycle = self._cycle(View(inventory=inventory, observed=observed, now=now), plan)
        cycle.start()
        self._busy = cycle.busy()
        self._next_due_at = self._sooner(cycle.next_due_at(), now)
        self.validations = cycle.validations()
        return cycle.report()

    @property
    def alone_after_s(self) -> float:
        """For how many seconds from its start what another process left in doubt is left alone."""
        return self._surroundings.predecessor_s

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

    def alerts(self, now: datetime) -> tuple[str, ...]:
        """What an operator should know: drivers that do not come back. Such a call cannot be ended,
        and may still reach the machine, so nothing is decided about the node.
        """
        return tuple(
            f"{each.node}: the driver has not answered `{each.intent.kind}` since"
            f" {each.intent_at:%Y-%m-%d %H:%M:%S}; restart the daemon"
            for each in self._effects.unanswered()
            if each.intent is not None
            and each.intent_at is not None
            and now >= each.intent_at + self._effects.overdue_after
        )

    def _sooner(self, due: datetime | None, now: datetime) -> datetime | None:
        """When an alert is to be raised, where that comes before what is due."""
        after = self._effects.overdue_after
        times = (each.intent_at + after for each in self._effects.unanswered() if each.intent_at)
        found = [each for each in times if each > now]
        return min(found if due is None else [*found, due], default=None)

    def drain(self, timeout_s: float) -> CycleReport:
        """Start nothing any more, wait for the effects in flight and record what came of them.

        What does not come back in time is read back by the next engine.

        Raises:
            StoreError: the outcomes could not be recorded.
        """
        self._draining = True
        in_time = self._effects.wait(timeout_s)
        view = View(inventory=None, observed=Observed(), now=self._clock())
        cycle = self._cycle(view, None)
        if not in_time:
            cycle.tally.say(f"{len(self._effects)} effects did not come back in {timeout_s:g} s")
        return cycle.report()

    def _cycle(self, view: View, plan: Plan | None) -> Cycle:
        """Record what came back and carry the plan out, in one transaction."""
        outcomes = self._effects.gather()
        try:
            cycle = Cycle(self._surroundings, self._operations, view)
            with self._journal.batch():
                cycle.record(outcomes)
                if plan is not None and not self._draining:
                    cycle.carry_out(plan)
        except BaseException:
            self._operations = Operations(self._journal)  # it knows of writes that are not durable
            raise
        self._effects.recorded(outcomes)
        return cycle
