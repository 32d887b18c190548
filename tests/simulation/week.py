"""A week of 10,000 machines in less than a minute: rollouts of everything, turn-overs, sick BMCs.

    python tests/simulation/week.py [--seed 7] [--nodes 10000] [--days 7]

What is the product's own: the resolution of schedules, the planner and its check (at every commit
and every boundary of an assignment), the scopes and limits, the order of admission, the bound on
waiting, the state machine of operations (`advance`, `life`), the simulated machines and their pace.

What is not: the loop. No store, no journal, no threads; the ledger is a count that refuses what is
over a limit, as the store does. A machine is looked at in the instant in which it has something new
to show, not every few seconds, and the planner is not asked between commits and boundaries. So this
shows what admission makes of the slots, and `simulate.py` that the whole daemon does what it says.

A rollout counts as long as a first attempt of it runs that succeeds; what fails is tried again
later, in its own lane. Its lower bound is that of list scheduling: the slot-seconds of all that ran
in that time, over the slots; the same for each rack; the longest attempt.
"""

from __future__ import annotations

import argparse
import gc
import math
import random
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "schedule"))

from fleet import T0, Fleet

from metalwright.drivers.fake_node import Call, FakeNode, Pace, carry_out, fraction, reading_at
from metalwright.errors import TemporaryError
from metalwright.execute.advance import decide
from metalwright.execute.bound import admitted_by, hold_s
from metalwright.execute.deadlines import stage_timeouts
from metalwright.execute.life import again, answered, backoff_s, begin, ended
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
from metalwright.model.admission import Queue
from metalwright.model.frozen import FrozenDict
from metalwright.model.limits import demand_of, is_retry, limit_of, scopes_of
from metalwright.model.observed import (
    ErrorKind,
    Identity,
    Observation,
    ObservationError,
    Observed,
)
from metalwright.model.operation import (
    Applied,
    EffectKind,
    Memory,
    NodeMemory,
    Operation,
    OperationState,
)
from metalwright.model.plan import Fate, Plan
from metalwright.model.policy import FleetLimits, Retries, StageTimeouts
from metalwright.model.template import Timeouts
from metalwright.model.waiting import Answer, Room, Waiting
from metalwright.plan import PlanContext, check, make
from metalwright.schedule import desired

RACK_NODES = 40
FLEET_LIMIT, RACK_LIMIT = 200, 3
RETRIES = Retries(attempts_max=3, backoff_min=60, backoff_max=1_800)
TIMEOUTS = Timeouts(soft_power_off=90, power_off=30, boot=400)
CONTEXT = PlanContext(capabilities={"fake": frozenset(EffectKind)})
TICK = timedelta(milliseconds=1)
SILENCE = ObservationError(kind=ErrorKind.TIMEOUT, message="no answer within 5s")
SILENT, SLOW, HANGS, FORGETS = "silent", "slow", "never boots", "loses answers"
PROMISE_EVERY = timedelta(minutes=20)
"""How often the bounds of those that have joined are worked out; what starts before has none."""

FAULTS = (SILENT, SLOW, HANGS, HANGS, FORGETS)  # one per cent of the nodes each
SLOW_S = 20.0
RATIO_MAX, USE_MIN = 1.02, 0.99
ROLLOUT_DAYS = (0.5, 2.5, 4.5)


@dataclass
class Rollout:
    """One commit that changes every machine, and what came of it."""

    began_at: datetime
    operations: int = 0
    ended_at: datetime | None = None
    whole_ended_at: datetime | None = None
    ratio: float = 0.0


@dataclass
class Attempt:
    """One stay in slots."""

    scopes: tuple[str, ...]
    since: datetime
    until: datetime | None = None


@dataclass
class Figures:
    """What the week came to."""

    operations: Counter[str] = field(default_factory=Counter)
    attempts: list[Attempt] = field(default_factory=list)
    rollouts: list[Rollout] = field(default_factory=list)
    overshoot: int = 0
    late: int = 0
    waits: int = 0
    bound: int = 0
    longest_wait_s: float = 0.0
    least_slack_s: float = float("inf")
    held_s: float = 0.0
    could_s: float = 0.0
    lane_most: int = 0
    plans: int = 0
    planning_s: float = 0.0

    @property
    def use(self) -> float:
        """The share of the slots in use, of those that the limits allow what waits to use."""
        return self.held_s / self.could_s

    @property
    def holds(self) -> bool:
        """Whether the week kept what is promised of ten thousand machines."""
        made = all(rollout.ratio <= RATIO_MAX for rollout in self.rollouts)
        return made and self.use >= USE_MIN and not self.overshoot and not self.late


class Week:
    """The loop: events in virtual time, one step of one operation or one plan after the other."""

    def __init__(self, seed: int, nodes: int, days: float) -> None:
        self.seed, self.now, self.end = seed, T0, T0 + timedelta(days=days)
        self.random, self.pace = random.Random(seed), Pace(seed=seed)
        self.figures = Figures()
        self.fleet, self.revision = _fleet(seed, nodes, days), 1
        self.inventory = self.fleet.build(1)
        self.states: dict[str, FakeNode] = {}
        self.memory: dict[str, NodeMemory] = {}
        self.operations: dict[str, Operation] = {}
        self.superseded: dict[str, str] = {}
        self.rollout_of: dict[str, Rollout] = {}
        self.attempt_of: dict[str, Attempt] = {}
        self.queue = Queue()
        self.held: Counter[str] = Counter()
        self.pool_held: Counter[str] = Counter()
        self.limits: dict[str, int] = {}
        self.bounds: dict[str, datetime] = {}
        self.unbound: list[str] = []
        self.promise_at = self.now
        self.timeouts: dict[str, StageTimeouts] = {}
        self.first_waiting = 0
        self.wanted: Counter[str] = Counter()
        self.usable = 0  # slots that the racks allow, for what runs and waits in them
        self.events: list[tuple[datetime, int, str, str]] = []
        self.number = 0
        self.faults = {name: self._fault(name) for name in self.inventory.nodes}
        self.identities = {
            name: Identity(serial=node.spec.serial, macs=tuple(n.mac for n in node.spec.nics))
            for name, node in self.inventory.nodes.items()
        }

    def _fault(self, name: str) -> str:
        share = int(100 * fraction(self.seed, name, "fault"))
        return FAULTS[share] if share < len(FAULTS) else ""

    def at(self, when: datetime, kind: str, name: str = "") -> None:
        self.number += 1
        heappush(self.events, (when, self.number, kind, name))

    def run(self) -> Figures:
        """Let the week pass, and what was begun in it come to its end."""
        self._adopt()
        for day in ROLLOUT_DAYS:
            if T0 + timedelta(days=day) < self.end:
                self.at(T0 + timedelta(days=day), "commit")
        self._boundary()
        while self.events:
            when, _, kind, name = heappop(self.events)
            self._pass_to(when)
            if kind == "commit":
                self._commit()
            elif kind == "boundary":
                self._boundary()
            elif kind == "due":
                self._queue_up(self.operations[name])
            elif name in self.operations:
                self._step(name)
            if not self.events or self.events[0][0] > self.now:
                self._admit()
        self._tell_rollouts()
        return self.figures

    def _pass_to(self, when: datetime) -> None:
        passed_s = (when - self.now).total_seconds()
        if self.first_waiting and passed_s > 0:
            self.figures.held_s += self.held["fleet"] * passed_s
            self.figures.could_s += min(FLEET_LIMIT, self.usable) * passed_s
        self.now = when

    def _adopt(self) -> None:
        wanted = desired(self.inventory, self.now)
        epoch = self.now.timestamp()
        for name, node in wanted.nodes.items():
            applied = Applied(
                target=node.target,
                holder=node.holder,
                revision=self.inventory.revision.id,
                source=node.source,
                at=self.now,
            )
            self.memory[name] = NodeMemory(
                node=name, adopted_at=self.now, adopted_by="ops", applied=applied
            )
            self.states[name] = FakeNode(
                boot_device="pxe",
                on_at=epoch - 900,
                post_at=epoch - 600,
                loader_at=epoch - 500,
                running_at=epoch - 400,
                digest=node.target.template.digest if node.target.template else "",
                power_ons=1,
            )

    # -- plans -----------------------------------------------------------------------------------

    def _commit(self) -> None:
        """Every template changes."""
        self.revision += 1
        for name in tuple(self.fleet.templates):
            args = (f"role={name}", f"revision={self.revision}")
            self.fleet.template(name, kernel_args=args, timeouts=TIMEOUTS)
        self.inventory = self.fleet.build(self.revision)
        rollout = Rollout(began_at=self.now)
        self.figures.rollouts.append(rollout)
        self._plan(rollout)

    def _boundary(self) -> None:
        change_at = self._plan(None)
        if change_at is not None and change_at < self.end:
            self.at(change_at, "boundary")

    def _plan(self, rollout: Rollout | None) -> datetime | None:
        began = time.process_time()
        wanted = desired(self.inventory, self.now)
        observed = Observed(nodes=FrozenDict({name: self._observe(name) for name in self.states}))
        memory = Memory(nodes=FrozenDict(self.memory), slots=FrozenDict(+self.held))
        plan = make(wanted, observed, memory, CONTEXT)
        problems = check(plan, wanted, observed, memory, CONTEXT)
        assert not problems, problems[:3]
        self._follow(plan, rollout)
        self.figures.plans += 1
        self.figures.planning_s += time.process_time() - began
        return wanted.next_change_at

    def _follow(self, plan: Plan, rollout: Rollout | None) -> None:
        for line in plan.in_progress:
            if line.fate is Fate.CANCEL:
                self._finish(self.operations[line.node], OperationState.CANCELLED)
            elif line.fate is Fate.SUPERSEDE:
                self.superseded[line.node] = line.why
                self.at(self.now, "wake", line.node)
        for action in plan.actions:
            operation = Operation(
                id=f"{self.random.getrandbits(64):016x}",
                node=action.node,
                verb=action.verb,
                state=OperationState.PENDING,
                target=action.target,
                holder=action.holder,
                pool=action.pool,
                priority=action.priority,
                stages=action.stages,
                commit=plan.revision,
                source=action.source,
                created_at=self.now,
                destroys_data=action.destroys_data,
                disruptive=action.disruptive,
            )
            if rollout is not None:
                self.rollout_of[operation.id] = rollout
                rollout.operations += 1
            self._put(operation)
            self._queue_up(operation)
            self.promise_at = self.now

    # -- one operation ---------------------------------------------------------------------------

    def _put(self, operation: Operation) -> None:
        self.operations[operation.node] = operation

    def _remember(self, operation: Operation | None, name: str, **fields: Any) -> None:
        self.memory[name] = replace(self.memory[name], operation=operation, **fields)

    def _observe(self, name: str) -> Observation:
        if self.faults[name] == SILENT and self._silent():
            return Observation(node=name, at=self.now, error=SILENCE, failures=1)
        reading = reading_at(self.states[name], self.now.timestamp(), self.identities[name])
        return Observation(node=name, at=self.now, reading=reading)

    def _silent(self) -> bool:
        """BMCs that are silent are so in every fourth hour."""
        return int((self.now - T0).total_seconds() // 3_600) % 4 == 3

    def _situation(self, operation: Operation) -> Situation:
        name = operation.node
        template = operation.target.template
        digest = operation.target.digest
        if digest not in self.timeouts:
            own = template.timeouts if template is not None else None
            policy = self.inventory.rules.timeouts
            self.timeouts[digest] = stage_timeouts(own, policy, {}).timeouts
        return Situation(
            now=self.now,
            started_at=T0,
            node=self.inventory.nodes[name],
            observation=self._observe(name),
            timeouts=self.timeouts[digest],
            observation_ttl_s=self.inventory.rules.observation_ttl,
            capabilities=frozenset(EffectKind),
            tries_max=3,
            settle_s=5.0,
            superseded=self.superseded.get(name, ""),
        )

    def _step(self, name: str) -> None:
        operation = self.operations[name]
        while operation.state is OperationState.RUNNING:
            decision = decide(operation, self._situation(operation))
            match decision:
                case Enter(operation=after) | Resolve(operation=after):
                    operation = after
                case Do(operation=after):
                    operation = self._carry_out(after)
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
                    self.at(self.now + TICK, "wake", name)
                    break
                case Wait(until=until):
                    self._wake(operation, until)
                    break
        self._put(operation)

    def _carry_out(self, operation: Operation) -> Operation:
        name, effect = operation.node, operation.intent
        assert effect is not None
        fault = self.faults[name]
        call = Call(
            node=name,
            now=self.now.timestamp(),
            pace=self.pace,
            boot_hangs=fault == HANGS and self.revision % 2 == 0,
        )
        self.states[name] = carry_out(self.states[name], effect, call)
        lost = fault == FORGETS and self.random.random() < 0.3
        error = TemporaryError("no answer within 20s") if lost else None
        return answered(operation, error, self.now)

    def _wake(self, operation: Operation, until: datetime | None) -> None:
        """Look again when the machine has something to show, or at the deadline."""
        state, now = self.states[operation.node], self.now.timestamp()
        instants = (state.off_at, state.on_at, state.running_at, state.installed_at)
        after = [each for each in instants if each is not None and each > now]
        late_s = SLOW_S if self.faults[operation.node] == SLOW else 0.0
        soon = operation.intent_at is not None and operation.tries > 0
        when = until or self.now + timedelta(minutes=1)
        if after:
            shown = self.now + timedelta(seconds=min(after) - now + late_s) + TICK
            when = min(when, shown)
        if soon:
            when = min(when, self.now + timedelta(seconds=6))
        self.at(max(when, self.now + TICK), "wake", operation.node)

    def _fail(self, operation: Operation, failure: Fail) -> None:
        if failure.final or operation.attempt >= RETRIES.attempts_max:
            self._finish(operation, OperationState.FAILED)
            return
        pause = timedelta(seconds=backoff_s(operation.attempt, RETRIES, self.random.uniform))
        waits = again(operation, failure.error, T0, self.now + pause)
        self.figures.operations["retried"] += 1
        self._release(operation)
        self._put(waits)
        self._remember(waits, operation.node)
        self.at(self.now + pause, "due", operation.node)

    def _finish(self, operation: Operation, state: OperationState) -> None:
        name = operation.node
        self.figures.operations[state.value] += 1
        over = ended(operation, state, self.now)
        if operation.state is OperationState.RUNNING:
            self._release(operation)
        elif operation.id in self.queue:
            self._wait(operation, -1)
            self.queue.discard(operation.id)
        rollout = self.rollout_of.get(operation.id)
        if rollout is not None:
            rollout.whole_ended_at = self.now
            if state is OperationState.ACTIVE and operation.attempt == 1:
                rollout.ended_at = self.now
        del self.operations[name]
        self.superseded.pop(name, None)
        if state is OperationState.ACTIVE:
            applied = Applied(
                target=operation.target,
                holder=operation.holder,
                revision=operation.commit.id,
                source=operation.source,
                at=self.now,
            )
            self._remember(None, name, applied=applied, former=None, failed=None)
        elif state is OperationState.FAILED:
            self._remember(None, name, failed=over)
        else:
            self._remember(None, name)

    # -- slots -----------------------------------------------------------------------------------

    def _queue_up(self, operation: Operation) -> None:
        retry = is_retry(operation)
        scopes = scopes_of(self.inventory, demand_of(operation, retry=retry))
        for scope in scopes:
            if scope not in self.limits:
                self.limits = {**self.limits, scope: limit_of(self.inventory, scope)}
        self.queue.add(
            Waiting(
                key=operation.id,
                node=operation.node,
                pool=operation.pool,
                priority=operation.priority,
                since=operation.not_before or operation.created_at,
                scopes=scopes,
                retry=retry,
            )
        )
        self.unbound.append(operation.id)
        self._wait(operation, 1)
        self._remember(operation, operation.node)

    def _counts(self, operation: Operation) -> bool:
        """Whether slots should be in use while it waits: it is no retry, and its BMC answers."""
        return not is_retry(operation) and self.faults[operation.node] != SILENT

    def _wait(self, operation: Operation, change: int) -> None:
        if self._counts(operation):
            self.first_waiting += change
            self._use(operation, 0, change)

    def _use(self, operation: Operation, held: int, wanted: int) -> None:
        """Work out anew how many slots could be in use in the rack of an operation."""
        rack = f"label/rack={self.inventory.nodes[operation.node].metadata.labels['rack']}"
        before = min(RACK_LIMIT, self.held[rack] + self.wanted[rack])
        self.wanted[rack] += wanted
        after = min(RACK_LIMIT, self.held[rack] + held + self.wanted[rack])
        self.usable += after - before

    def _admit(self) -> None:
        """Slots that are free are taken in this very instant."""
        self._promise()
        while self.queue:
            room = Room(limits=self.limits, held=self.held, pool_held=self.pool_held)
            granted = self.queue.admit(room, self.inventory.rules.ageing, self.now, self._grant)
            for waiting in granted:
                self._step(waiting.node)
            if not granted:
                break

    def _promise(self) -> None:
        """Note by when everything that has begun to wait will have its slots at the latest."""
        if not self.unbound or self.now < self.promise_at:
            return
        self.promise_at = self.now + PROMISE_EVERY
        hold = timedelta(seconds=hold_s(self.inventory, ()))
        ageing = self.inventory.rules.ageing
        found = admitted_by(self.queue, self.limits, ageing, self.now, hold)
        self.bounds |= {key: found[key] for key in self.unbound if key in found}
        self.unbound.clear()

    def _grant(self, waiting: Waiting) -> Answer:
        operation = self.operations[waiting.node]
        situation = self._situation(operation)
        if situation.observation is None or situation.observation.reading is None:
            return Answer.NOT_NOW
        self._use(operation, 1, 0)
        for scope in waiting.scopes:
            self.held[scope] += 1
            self.figures.overshoot += self.held[scope] > self.limits[scope]
        self.pool_held[waiting.pool] += 1
        self.figures.lane_most = max(self.figures.lane_most, self.held["lane/retry"])
        self._wait(operation, -1)
        self._measure(waiting)
        begun = begin(operation, situation)
        self._put(begun)
        known = self.memory[waiting.node]
        former = known.applied or known.former
        self._remember(begun, waiting.node, applied=None, former=former)
        self.attempt_of[begun.id] = attempt = Attempt(waiting.scopes, self.now)
        self.figures.attempts.append(attempt)
        return Answer.GRANTED

    def _measure(self, waiting: Waiting) -> None:
        by = self.bounds.pop(waiting.key, None)
        waited_s = (self.now - waiting.since).total_seconds()
        self.figures.waits += 1
        self.figures.longest_wait_s = max(self.figures.longest_wait_s, waited_s)
        if by is not None and self.faults[waiting.node] != SILENT:  # not observed: not counted
            self.figures.bound += 1
            self.figures.late += self.now > by
            slack_s = (by - self.now).total_seconds()
            self.figures.least_slack_s = min(self.figures.least_slack_s, slack_s)

    def _release(self, operation: Operation) -> None:
        attempt = self.attempt_of.pop(operation.id)
        attempt.until = self.now
        self._use(operation, -1, 0)
        self.held.subtract(attempt.scopes)
        self.pool_held[operation.pool] -= 1

    # -- figures ---------------------------------------------------------------------------------

    def _tell_rollouts(self) -> None:
        for rollout in self.figures.rollouts:
            assert rollout.ended_at is not None
            span_s = (rollout.ended_at - rollout.began_at).total_seconds()
            bound_s = lower_bound_s(
                self.figures.attempts, self.limits, rollout.began_at, rollout.ended_at
            )
            rollout.ratio = span_s / bound_s


def lower_bound_s(
    attempts: list[Attempt], limits: dict[str, int], since: datetime, until: datetime
) -> float:
    """No schedule does what was done between two instants in less time, in seconds."""
    work: defaultdict[str, float] = defaultdict(float)
    longest = 0.0
    for attempt in attempts:
        first, last = max(since, attempt.since), min(until, attempt.until or until)
        seconds = (last - first).total_seconds()
        if seconds > 0:
            longest = max(longest, seconds)
            for scope in attempt.scopes:
                work[scope] += seconds
    return max(longest, *(work[scope] / limits[scope] for scope in work))


def _fleet(seed: int, nodes: int, days: float) -> Fleet:
    """Racks of forty in three pools; a twentieth of each is lent out every day."""
    fleet = Fleet()
    racks = -(-nodes // RACK_NODES)
    for number in range(nodes):
        rack = number // RACK_NODES
        fleet.node(f"n{number:05}", labels={"rack": f"r{rack:03}"})
    for name in ("rest", "lent"):
        fleet.template(name, kernel_args=(f"role={name}",), timeouts=TIMEOUTS)
    edges = [0, int(0.5 * racks) * RACK_NODES, int(0.8 * racks) * RACK_NODES, nodes]
    for name, first, last in zip(("ci", "hpc", "web"), edges[:-1], edges[1:], strict=True):
        fleet.pool(name, f"n[{first:05}-{last - 1:05}]", template="rest", data_loss_consent=True)
        count = max(1, (last - first) // 20)
        for day in range(math.ceil(days)):
            start = T0 + timedelta(days=day, hours=1)
            chosen = random.Random(f"{seed}-{name}-{day}").randint(first, last - count)
            fleet.assignment(
                f"{name}-{day}",
                name,
                f"n[{chosen:05}-{chosen + count - 1:05}]",
                "lent",
                when={"start": start, "end": start + timedelta(hours=9)},
                template_edits="immediate",
                data_loss_consent=True,
            )
    limits = FleetLimits(fleet=FLEET_LIMIT, labels={"rack": RACK_LIMIT}, retries=20)
    fleet.rules(limits=limits, retries=RETRIES)
    return fleet


def report(figures: Figures, wall_s: float, cpu_s: float) -> str:
    """The figures, for people."""
    lines = [
        f"operations      {dict(sorted(figures.operations.items()))}",
        f"attempts        {len(figures.attempts):,}, at most {figures.lane_most} retries at a time",
        f"overshoot       {figures.overshoot}",
        f"waits           {figures.waits:,}, the longest {figures.longest_wait_s / 3_600:.2f} h",
        f"bounds          {figures.late} of {figures.bound:,} not kept",
        f"least slack     {figures.least_slack_s / 3_600:.2f} h",
        f"slot use        {100 * figures.use:.2f} % of what limits allow, while work waits",
    ]
    for rollout in figures.rollouts:
        assert rollout.ended_at is not None
        span = rollout.ended_at - rollout.began_at
        whole = (rollout.whole_ended_at or rollout.ended_at) - rollout.began_at
        lines.append(
            f"rollout         {rollout.operations:,} nodes in {span} "
            f"({rollout.ratio:.4f} x the lower bound; {whole} with all retries)"
        )
    lines.append(f"plans           {figures.plans} in {figures.planning_s:.1f} s of CPU")
    lines.append(f"wall            {wall_s:.1f} s ({cpu_s:.1f} s of CPU)")
    return "\n".join(lines)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--days", type=float, default=7.0)
    arguments = parser.parse_args()
    gc.disable()  # nothing here is circular
    wall, cpu = time.monotonic(), time.process_time()
    figures = Week(arguments.seed, arguments.nodes, arguments.days).run()
    print(report(figures, time.monotonic() - wall, time.process_time() - cpu))
    return 0 if figures.holds else 1


if __name__ == "__main__":
    sys.exit(main())
