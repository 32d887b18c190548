"""The loop of the week: events in virtual time, and after each what the product makes of it.

The product's own: the resolution of schedules; the planner and its check, at every commit and every
boundary of an assignment; the operations, the slots they hold, their line and the order in which it
is served (`execute.operations`, `execute.line`, `model.admission`); scopes and limits; the bound on
waiting; the state machine of an operation and its life (`execute.advance`, `execute.life`); the
simulated machines and their pace.

Not: the rest of the loop. No store and no journal, so nothing refuses what is over a limit: that
the order of admission keeps to them is counted afterwards, from attempts alone. No threads. A
machine is looked at when it has something new to show, not every few seconds, and the planner is
not asked between commits and boundaries. So this shows what admission makes of the slots;
`simulate.py` shows that the whole daemon does what it says.
"""

from __future__ import annotations

import random
import time
from dataclasses import replace
from datetime import datetime, timedelta
from heapq import heappop
from typing import cast

from week_agenda import Agenda
from week_figures import Attempt, Figures, Rollout, Use
from week_fleet import (
    FLEET_LIMIT,
    RACK_LIMIT,
    RETRIES,
    T0,
    change_everything,
    limit_as_declared,
    make_fleet,
)
from week_machines import SILENT, Machines, next_silence
from week_memory import Remembered
from week_promises import Promises
from week_situations import CAPABILITIES, Situations, operation_of

from metalwright.execute.advance import decide
from metalwright.execute.life import again, answered, backoff_s, begin, ended
from metalwright.execute.operations import Operations
from metalwright.execute.ports import Journal
from metalwright.execute.situation import (
    Do,
    Enter,
    Fail,
    Finish,
    Resolve,
    Situation,
    Supersede,
    Wait,
)
from metalwright.model.frozen import FrozenDict
from metalwright.model.limits import is_retry
from metalwright.model.observed import Observation, Observed
from metalwright.model.operation import Operation, OperationState
from metalwright.model.plan import Fate, Plan
from metalwright.model.waiting import Answer, Waiting
from metalwright.plan import PlanContext, check, make
from metalwright.schedule import desired

CONTEXT = PlanContext(capabilities={"fake": CAPABILITIES})
TICK = timedelta(milliseconds=1)
ROLLOUT_DAYS = (0.5, 2.5, 4.5)
READ_BACK = timedelta(seconds=6)
"""When a BMC that lost an answer is asked what came of it."""


class Week:
    """One step of one operation, or one plan, after the other."""

    def __init__(self, seed: int, nodes: int, days: float) -> None:
        self.now, self.end = T0, T0 + timedelta(days=days)
        self.dice = random.Random(seed)
        self.figures = Figures(Use(FLEET_LIMIT, RACK_LIMIT))
        self.fleet, self.revision = make_fleet(seed, nodes, days), 1
        self.inventory = self.fleet.build(1)
        self.machines = Machines(self.inventory, seed, self.dice)
        self.remembered = Remembered()
        # It is asked for what others wrote, and there is nobody else.
        self.operations = Operations(cast(Journal, None))
        self.answers: dict[str, Observation] = {}
        self.promises = Promises(self.figures)
        self.superseded: dict[str, str] = {}
        self.rollout_of: dict[str, Rollout] = {}
        self.attempt_of: dict[str, Attempt] = {}
        self.situations = Situations()
        self.agenda = Agenda()
        self.moved = False  # something waits, or is free, since slots were last offered

    def run(self) -> Figures:
        """Let the week pass, and what was begun in it come to its end."""
        wanted = desired(self.inventory, self.now)
        self.remembered.adopt(wanted, self.now)
        self.machines.switch_on(wanted, self.now)
        self.answers = self.machines.observe_all(self.now)
        self.operations.follow(self.inventory)
        for day in ROLLOUT_DAYS:
            if T0 + timedelta(days=day) < self.end:
                self.agenda.at(T0 + timedelta(days=day), "commit")
        self.agenda.at(next_silence(self.now), "silence")
        self._boundary()
        while self.agenda.events:
            when, _, kind, name = heappop(self.agenda.events)
            self.figures.use_of.let_pass((when - self.now).total_seconds())
            self.now = when
            self._meet(kind, name)
            if self.moved and (not self.agenda.events or self.agenda.events[0][0] > self.now):
                self._admit()
        self.figures.conclude(limit_as_declared)
        return self.figures

    def _meet(self, kind: str, name: str) -> None:
        if kind == "commit":
            self._commit()
        elif kind == "boundary":
            self._boundary()
        elif kind == "silence":
            self._silence()
        elif kind == "due":
            self.moved = True
        elif self.agenda.woken_at.get(name) == self.now and name in self.operations.running:
            self._step(self.operations.running[name], self._situation(name))

    def _commit(self) -> None:
        self.revision += 1
        change_everything(self.fleet, self.revision)
        self.inventory = self.fleet.build(self.revision)
        self.operations.follow(self.inventory)
        rollout = Rollout(began_at=self.now)
        self.figures.rollouts.append(rollout)
        self._plan(rollout)

    def _boundary(self) -> None:
        change_at = self._plan(None)
        if change_at is not None and change_at < self.end:
            self.agenda.at(change_at, "boundary")

    def _silence(self) -> None:
        """Some BMCs cease to answer, or answer again."""
        self.answers = {**self.answers, **self.machines.observe_silent(self.now)}
        self.moved = True
        if self.now < self.end or self.operations.of:
            self.agenda.at(next_silence(self.now), "silence")

    def _plan(self, rollout: Rollout | None) -> datetime | None:
        began = time.process_time()
        wanted = desired(self.inventory, self.now)
        observed = Observed(nodes=FrozenDict(self.machines.observe_all(self.now)))
        memory = self.remembered.memory(self.operations.of, self.operations.held)
        plan = make(wanted, observed, memory, CONTEXT)
        problems = check(plan, wanted, observed, memory, CONTEXT)
        assert not problems, problems[:3]
        self.figures.plans += 1
        self.figures.planning_s += time.process_time() - began
        self._follow(plan, rollout)
        return wanted.next_change_at

    def _follow(self, plan: Plan, rollout: Rollout | None) -> None:
        for line in plan.in_progress:
            if line.fate is Fate.CANCEL:
                self._finish(self.operations.of[line.node], OperationState.CANCELLED)
            elif line.fate is Fate.SUPERSEDE:
                self.superseded[line.node] = line.why
                self.agenda.wake(self.now, line.node)
        for action in plan.actions:
            key = f"{self.dice.getrandbits(64):016x}"
            operation = operation_of(action, plan, key, self.now)
            if rollout is not None:
                self.rollout_of[operation.id] = rollout
                rollout.operations += 1
            self._join(operation)
            self.promises.at_once()

    def _situation(self, name: str) -> Situation:
        operation = self.operations.of[name]
        seen, why = self.machines.observe(name, self.now), self.superseded.get(name, "")
        return self.situations.of(operation, self.inventory, seen, why)

    def _step(self, operation: Operation, situation: Situation) -> None:
        """All that one look at a machine leads to."""
        while True:
            match decision := decide(operation, situation):
                case Enter(operation=after) | Resolve(operation=after):
                    operation = after
                case Do(operation=after):
                    hangs = self.revision % 2 == 0
                    error = self.machines.carry_out(after, self.now, hangs)
                    operation = answered(after, error, self.now)
                case Finish():
                    self._finish(operation, OperationState.ACTIVE)
                    return
                case Supersede():
                    self._finish(operation, OperationState.SUPERSEDED)
                    return
                case Fail(probed=True):
                    self._fail(operation, decision)
                    return
                case Fail():
                    operation = replace(operation, failing=True, last_error=decision.error)
                    self.agenda.wake(self.now + TICK, operation.node)
                    break
                case Wait(until=until):
                    self._look_again(operation, until)
                    break
        self.operations.put(operation)

    def _look_again(self, operation: Operation, until: datetime | None) -> None:
        """When the machine has something to show, or at the deadline."""
        when = until or self.now + timedelta(minutes=1)
        shown = self.machines.shows_at(operation.node, self.now)
        if shown is not None:
            when = min(when, shown)
        if operation.intent_at is not None and operation.tries > 0:
            when = min(when, self.now + READ_BACK)
        self.agenda.wake(max(when, self.now) + TICK, operation.node)

    def _fail(self, operation: Operation, failure: Fail) -> None:
        if failure.final or operation.attempt >= RETRIES.attempts_max:
            self._finish(operation, OperationState.FAILED)
            return
        pause = timedelta(seconds=backoff_s(operation.attempt, RETRIES, self.dice.uniform))
        self.figures.operations["retried"] += 1
        self._release(operation)
        self._join(again(operation, failure.error, T0, self.now + pause))
        self.agenda.at(self.now + pause, "due")

    def _finish(self, operation: Operation, state: OperationState) -> None:
        name = operation.node
        self.figures.operations[state.value] += 1
        if operation.state is OperationState.RUNNING:
            self._release(operation)
        else:
            self.promises.leave(operation.id)
            self._want(operation, -1)
        rollout = self.rollout_of.get(operation.id)
        if rollout is not None:
            rollout.whole_ended_at = self.now
            if state is OperationState.ACTIVE and operation.attempt == 1:
                rollout.ended_at = self.now
        self.operations.drop(name)
        self.superseded.pop(name, None)
        self.remembered.ended(ended(operation, state, self.now), self.now)

    def _join(self, operation: Operation) -> None:
        """It waits for its slots from now on, or from the end of its pause on."""
        self.operations.put(operation)
        self.promises.join(operation, self.inventory)
        self._want(operation, 1)
        self.moved = True

    def _rack(self, name: str) -> str:
        return self.inventory.nodes[name].metadata.labels["rack"]

    def _want(self, operation: Operation, change: int) -> None:
        """Slots should be in use while it waits, if it is no retry and its BMC answers."""
        if not is_retry(operation) and self.machines.fault_of[operation.node] != SILENT:
            self.figures.use_of.want(self._rack(operation.node), change)

    def _admit(self) -> None:
        """Slots that are free are taken in this very instant."""
        self.promises.make(self.inventory, self.now)
        operations, released = self.operations, -1
        while released != operations.released:
            released = operations.released
            line = operations.line_up(self.answers)
            assert line is not None
            line.admit(
                operations.held,
                operations.uncounted,
                operations.pool_held,
                self.now,
                lambda waiting, _limits: self._grant(waiting),
            )
        self.moved = False

    def _grant(self, waiting: Waiting) -> Answer:
        name = waiting.node
        pending, situation = self.operations.pending[name], self._situation(name)
        if situation.observation is None or situation.observation.reading is None:
            return Answer.NOT_NOW
        counts = self.machines.fault_of[name] != SILENT  # not observed: not counted
        self.promises.admitted(waiting.key, self.now, counts)
        self._want(pending, -1)
        self.figures.use_of.hold(self._rack(name), 1)
        begun = begin(pending, situation)
        self.operations.grant(begun, waiting.scopes)
        self.remembered.begun(name)
        self.attempt_of[begun.id] = attempt = Attempt(waiting.scopes, self.now)
        self.figures.attempts.append(attempt)
        self._step(begun, situation)
        return Answer.GRANTED

    def _release(self, operation: Operation) -> None:
        self.attempt_of.pop(operation.id).until = self.now
        self.figures.use_of.hold(self._rack(operation.node), -1)
        self.operations.release(operation)
        self.moved = True
