"""The queue as people see it: who is next, what each waits for, when it starts, by when at most.

`queue(plan, inventory, memory, observed)` returns one `Place` for everything that waits: pending
operations, actions that the plan is about to make operations of, and running operations that wait
for a start token. What is kept from the queue is told by `metalwright.execute.place.kept_back`.
`plan` is the plan of these very values; its instant is now. It is told to people, and nothing is
decided from it.

`position` counts in the expected order of starting, from 1; it and `starts_at` are `None` for what
does not wait for slots alone. `guessed` marks a time that a guess went into because not every stage
was measured yet. `by` is the bound of `metalwright.execute.bound`, for what waits for slots.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from metalwright.execute.bound import admitted_by, hold_s
from metalwright.execute.expected import Busy, Durations, Job, Schedule, Times, to_be_started
from metalwright.execute.place import Place, WaitsFor
from metalwright.execute.rates import WaitUntil, take
from metalwright.execute.stages import wakes
from metalwright.model.inventory import Inventory
from metalwright.model.limits import Asking, demand_of, is_retry, limit_of, scopes_of
from metalwright.model.natural import natural
from metalwright.model.observed import Observed, Power
from metalwright.model.operation import Memory, Operation, OperationState, Stage
from metalwright.model.plan import Action, Fate, Plan
from metalwright.model.policy import Ageing
from metalwright.model.waiting import FLEET, Waiting, effective_priority, narrow_first


def queue(
    plan: Plan, inventory: Inventory, memory: Memory, observed: Observed
) -> tuple[Place, ...]:
    """Everything that waits: first what is expected to start, in that order, then the rest by name.

    Without observations in the plan (`Plan.observed` is `none`), nothing is said to wait for one.
    """
    found = _Forecast(plan, inventory, memory, observed)
    places = [*found.in_line(), *found.for_tokens()]
    places.sort(key=lambda place: (place.position is None, place.position, natural(place.node)))
    return tuple(places)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One that waits, with the operation or action that it is."""

    waiting: Waiting
    asking: Asking
    operation: Operation | None
    ready: bool


class _Forecast:
    """The values that everything is told from."""

    def __init__(
        self, plan: Plan, inventory: Inventory, memory: Memory, observed: Observed
    ) -> None:
        self._plan, self._inventory, self._memory = plan, inventory, memory
        self._observed, self._now = observed, plan.at
        self._durations = Durations(inventory, memory.stage_times)
        operations = [each.operation for each in memory.nodes.values() if each.operation]
        self._running = [each for each in operations if each.state is OperationState.RUNNING]
        self._scopes = {each.id: self._scopes_of(each) for each in self._running}
        self._held = Counter(scope for each in self._scopes.values() for scope in each)
        self._candidates = [*self._pending(), *self._planned()]
        met = {scope for each in self._candidates for scope in each.waiting.scopes}
        self._limits = {scope: limit_of(inventory, scope) for scope in {FLEET, *met}}
        self._hold = timedelta(seconds=hold_s(inventory, operations))

    def in_line(self) -> Iterator[Place]:
        """What waits for slots, or will once it is observed or its back-off is over."""
        jobs, guesses = self._jobs()
        times = self._schedule(list(jobs.values()))
        order = sorted(
            times, key=lambda key: (times[key].starts_at, natural(jobs[key].waiting.node))
        )
        positions = {key: number for number, key in enumerate(order, start=1)}
        waiting = [each.waiting for each in self._candidates]
        bounds = admitted_by(waiting, self._limits, self._ageing, self._now, self._hold)
        holders = self._holders()
        for each in self._candidates:
            key, since = each.waiting.key, each.waiting.since
            time = times.get(key)
            waits_for, scope = self._reason(each, time)
            in_line = waits_for in (WaitsFor.SLOT, WaitsFor.TURN)
            yield Place(
                node=each.waiting.node,
                waits_for=waits_for,
                operation_id=each.operation.id if each.operation is not None else "",
                verb=each.asking.verb,
                pool=each.waiting.pool,
                priority=each.waiting.priority,
                effective_priority=effective_priority(each.waiting, self._ageing, self._now),
                since=since,
                retry=each.waiting.retry,
                position=positions.get(key),
                scope=scope,
                holders=holders.get(scope, ()),
                until=since if waits_for is WaitsFor.BACK_OFF else None,
                why=each.operation.last_error if each.operation is not None else "",
                starts_at=time.starts_at if time is not None else None,
                ends_at=time.ends_at if time is not None else None,
                guessed=time is not None and guesses,
                by=bounds[key] if in_line else None,
            )

    def for_tokens(self) -> Iterator[Place]:
        """The running operations that may not be powered on yet."""
        rates = self._inventory.rules.start_rates
        for operation in self._running if rates else ():
            node = self._inventory.nodes.get(operation.node)
            if operation.stage is not Stage.BOOT or node is None or not to_be_started(operation):
                continue
            said = take(rates, node.metadata.labels, self._memory.starts, self._now)
            if isinstance(said, WaitUntil):
                rest = self._durations.rest(operation, said.at)
                yield Place(
                    node=operation.node,
                    waits_for=WaitsFor.START_TOKEN,
                    operation_id=operation.id,
                    verb=operation.verb,
                    pool=operation.pool,
                    priority=operation.priority,
                    effective_priority=operation.priority,
                    since=operation.entered_at,
                    scope=said.bucket,
                    until=said.at,
                    ends_at=said.at + timedelta(seconds=rest.seconds),
                    guessed=rest.guessed,
                )

    @property
    def _ageing(self) -> Ageing:
        return self._inventory.rules.ageing

    def _scopes_of(self, operation: Operation) -> tuple[str, ...]:
        if operation.node not in self._inventory.nodes:
            return (FLEET,)
        return scopes_of(self._inventory, demand_of(operation, retry=is_retry(operation)))

    def _pending(self) -> Iterator[_Candidate]:
        for line in self._plan.in_progress:
            operation = self._memory.nodes[line.node].operation
            if operation is None or operation.state is not OperationState.PENDING:
                continue
            if line.fate is Fate.CONTINUE and line.node in self._inventory.nodes:
                retry = is_retry(operation)
                since = operation.not_before or operation.created_at
                yield self._candidate(operation, operation.id, operation.pool, since, retry)

    def _planned(self) -> Iterator[_Candidate]:
        """The actions that become operations now; the plan has them in no other order than this."""
        for action in self._plan.actions:
            yield self._candidate(action, action.node, action.pool, self._now, retry=False)

    def _candidate(
        self, asking: Operation | Action, key: str, pool: str, since: datetime, retry: bool
    ) -> _Candidate:
        waiting = Waiting(
            key=key,
            node=asking.node,
            pool=pool,
            priority=asking.priority,
            since=since,
            scopes=scopes_of(self._inventory, demand_of(asking, retry=retry)),
            retry=retry,
        )
        operation = asking if isinstance(asking, Operation) else None
        return _Candidate(waiting, asking, operation, self._answers(asking))

    def _answers(self, asking: Action | Operation) -> bool:
        """Whether the node was seen well enough to be started."""
        if self._plan.observed == "none":
            return True
        seen = self._observed.nodes.get(asking.node)
        if seen is None:
            return False
        if seen.power is Power.UNKNOWN and not wakes(asking, seen.reading):
            return False
        return seen.age_s(self._now) <= self._inventory.rules.observation_ttl

    def _jobs(self) -> tuple[dict[str, Job], bool]:
        """What is scheduled: everything but the machines that do not answer."""
        jobs, guessed = {}, False
        for each in self._candidates:
            if not each.ready:
                continue
            asking, stages = each.asking, each.asking.stages
            span = self._durations.all(stages, asking.node, asking.target)
            boot = None
            if Stage.BOOT in stages:
                rest = stages[stages.index(Stage.BOOT) :]
                boot = self._durations.all(rest, asking.node, asking.target).seconds
            jobs[each.waiting.key] = Job(waiting=each.waiting, seconds=span.seconds, boot_s=boot)
            guessed = guessed or span.guessed
        return jobs, guessed

    def _schedule(self, jobs: Sequence[Job]) -> dict[str, Times]:
        busy = [self._busy(operation) for operation in self._running]
        schedule = Schedule(self._inventory, self._limits, busy, self._memory.starts)
        return schedule.run(jobs, self._now)

    def _busy(self, operation: Operation) -> Busy:
        rest, boot_s = self._durations.rest(operation, self._now).seconds, None
        if self._inventory.rules.start_rates and to_be_started(operation):
            stages = operation.stages[operation.stages.index(Stage.BOOT) :]
            boot_s = self._durations.all(stages, operation.node, operation.target).seconds
            boot_s = min(boot_s, rest)
        return Busy(
            key=operation.id,
            node=operation.node,
            pool=operation.pool,
            scopes=self._scopes[operation.id],
            at=self._now + timedelta(seconds=rest - (boot_s or 0)),
            boot_s=boot_s,
        )

    def _holders(self) -> Mapping[str, tuple[str, ...]]:
        """The nodes that hold slots, by scope."""
        found: dict[str, list[str]] = {}
        for operation in sorted(self._running, key=lambda each: natural(each.node)):
            for scope in self._scopes[operation.id]:
                found.setdefault(scope, []).append(operation.node)
        return {scope: tuple(nodes) for scope, nodes in found.items()}

    def _reason(self, each: _Candidate, time: Times | None) -> tuple[WaitsFor, str]:
        """What it waits for, and the scope where that is a slot."""
        if each.waiting.since > self._now:
            return WaitsFor.BACK_OFF, ""
        if not each.ready:
            return WaitsFor.OBSERVATION, ""
        if time is not None and time.starts_at <= self._now:
            return WaitsFor.TURN, ""
        for scope in narrow_first(each.waiting.scopes, self._limits):
            if self._held[scope] >= self._limits[scope]:
                return WaitsFor.SLOT, scope
        return WaitsFor.TURN, ""
