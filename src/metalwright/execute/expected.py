"""What an operation is expected to take, and when those that wait will get their slots if it does.

Times come from what the stages took lately, else from a guess that is marked as one. The schedule
is the order of admission played on: a slot is taken again when the one before is expected to give
it back. It is told to people; nothing is decided from it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from heapq import heappop, heappush
from typing import Final

from metalwright.execute.deadlines import stage_timeouts
from metalwright.execute.rates import buckets
from metalwright.model.admission import Queue
from metalwright.model.desired import Target
from metalwright.model.frozen import FrozenDict
from metalwright.model.inventory import Inventory, ResolvedTemplate
from metalwright.model.operation import EffectKind, Operation, Stage, StageTimes, stage_key
from metalwright.model.template import Timeouts, WipePolicy
from metalwright.model.waiting import Answer, Room, Waiting

MEDIAN: Final = 0.5

GUESSES_S: Final[Mapping[Stage, float]] = FrozenDict(
    {
        Stage.POWER_OFF: 30.0,
        Stage.WIPE: 60.0,
        Stage.BOOT: 240.0,
        Stage.INSTALLING: 600.0,
        Stage.VALIDATING: 30.0,
    }
)
"""What a stage takes on servers of the last decade, while nothing was measured yet; never more
than it may.
"""

FULL_WIPE_S: Final = 7_200.0

PASSED_MIN_S: Final = 5.0
"""What is expected of a stage that takes longer than expected already."""

GRAIN: Final = timedelta(seconds=10)
"""Slots given back within this time are handed on together: 10,000 passes would take seconds."""


@dataclass(frozen=True, slots=True)
class Span:
    """How long something is expected to take, and whether any part of that is a guess."""

    seconds: float
    guessed: bool


class Durations:
    """The expected times of the stages on one fleet."""

    def __init__(self, inventory: Inventory, times: Mapping[str, StageTimes]) -> None:
        self._inventory, self._times = inventory, times
        self._rated = bool(inventory.rules.start_rates)
        self._known: dict[tuple[Stage, str, str, WipePolicy, Timeouts | None], Span] = {}

    def stage(self, stage: Stage, node: str, target: Target) -> Span:
        """What one stage takes on a node."""
        document, template = self._inventory.nodes.get(node), target.template
        driver = document.spec.driver if document is not None else ""
        name = template.name if template is not None else ""
        wipe = template.wipe if template is not None else WipePolicy.NONE
        key = (stage, driver, name, wipe, template.timeouts if template is not None else None)
        if key not in self._known:
            self._known[key] = self._look_up(stage, driver, template)
        return self._known[key]

    def _look_up(self, stage: Stage, driver: str, template: ResolvedTemplate | None) -> Span:
        longest_s = self._longest_s(stage, template.timeouts if template is not None else None)
        times = self._times.get(stage_key(stage, driver, template))
        if times is not None and times.samples_s:
            return Span(min(longest_s, times.quantile_s(MEDIAN)), guessed=False)
        full = stage is Stage.WIPE and template is not None and template.wipe is WipePolicy.FULL
        return Span(min(longest_s, FULL_WIPE_S if full else GUESSES_S[stage]), guessed=True)

    def _longest_s(self, stage: Stage, declared: Timeouts | None) -> float:
        """What a stage may take by its time-outs: the attempt has failed then."""
        timeouts = stage_timeouts(declared, self._inventory.rules.timeouts, {}).timeouts
        return {
            Stage.POWER_OFF: timeouts.soft_power_off + timeouts.power_off,
            Stage.WIPE: timeouts.wipe,
            Stage.BOOT: timeouts.boot,
            Stage.INSTALLING: timeouts.install,
            Stage.VALIDATING: timeouts.validate,
        }[stage]

    def all(self, stages: Sequence[Stage], node: str, target: Target) -> Span:
        """What several stages take, one after the other."""
        spans = [self.stage(stage, node, target) for stage in stages]
        return Span(sum(span.seconds for span in spans), any(span.guessed for span in spans))

    def rest(self, operation: Operation, now: datetime) -> Span:
        """What is left of a running operation. A boot that waits for its start token has not begun:
        all of it is left, from `now` on.
        """
        if operation.stage is None:
            return self.all(operation.stages, operation.node, operation.target)
        at = operation.stages.index(operation.stage)
        this, *others = operation.stages[at:]
        span = self.stage(this, operation.node, operation.target)
        entered_at = operation.entered_at or operation.admitted_at or operation.created_at
        passed_s = max(0.0, (now - entered_at).total_seconds())
        if operation.stage is Stage.BOOT and self._rated and to_be_started(operation):
            passed_s = 0.0
        left_s = max(PASSED_MIN_S, span.seconds - passed_s)
        after = self.all(others, operation.node, operation.target)
        return Span(left_s + after.seconds, span.guessed or after.guessed)


def to_be_started(operation: Operation) -> bool:
    """Whether a running operation is yet to power its machine on."""
    if operation.stage is None or Stage.BOOT not in operation.stages:
        return False
    started = operation.intent is not None and operation.intent.kind is EffectKind.POWER_ON
    at = operation.stages.index(Stage.BOOT) - operation.stages.index(operation.stage)
    return at > 0 or (at == 0 and not started)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One that waits: how long it takes until it needs a start token, and from there to its end.

    `boot_s` is `None` where it needs none.
    """

    waiting: Waiting
    seconds: float
    boot_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """One that holds slots: until about `at`, or where it has to be powered on yet, until `boot_s`
    after it got the start token that it asks for then.
    """

    key: str
    node: str
    pool: str
    scopes: tuple[str, ...]
    at: datetime
    boot_s: float | None = None


@dataclass(frozen=True, slots=True)
class Times:
    """When a job is expected to get its slots, and to give them back."""

    starts_at: datetime
    ends_at: datetime


@dataclass(slots=True)
class _Tokens:
    """Start tokens, reserved in the order in which they are asked for."""

    inventory: Inventory
    full_at: dict[str, datetime] = field(default_factory=dict)

    def reserve(self, node: str, at: datetime) -> datetime:
        """When a node that asks for its tokens then has them."""
        document = self.inventory.nodes.get(node)
        labels = document.metadata.labels if document is not None else {}
        asked = list(buckets(self.inventory.rules.start_rates, labels))
        for key, rate in asked:
            full_at = self.full_at.get(key, at)
            at = max(at, full_at + rate.token - rate.span)
        for key, rate in asked:
            self.full_at[key] = max(self.full_at.get(key, at), at) + rate.token
        return at


_Event = tuple[datetime, int, Busy]


class Schedule:
    """Slots handed on in the order of admission, as time passes and what runs comes to its end."""

    def __init__(
        self,
        inventory: Inventory,
        limits: Mapping[str, int],
        busy: Sequence[Busy],
        starts: Mapping[str, datetime],
    ) -> None:
        self._ageing = inventory.rules.ageing
        self._limits = limits
        self._weights = {name: pool.spec.limits.weight for name, pool in inventory.pools.items()}
        self._tokens = _Tokens(inventory, dict(starts)) if inventory.rules.start_rates else None
        self._held = Counter(scope for each in busy for scope in each.scopes)
        self._pool_held = Counter(each.pool for each in busy)
        self._events: list[_Event] = []
        self._number = 0
        for each in busy:
            self._push(each)
        self._starts: dict[str, datetime] = {}
        self._ends: dict[str, datetime] = {}

    def run(self, jobs: Sequence[Job], now: datetime) -> dict[str, Times]:
        """The times of each job, by key; one that never gets its slots is left out."""
        known = {job.waiting.key: job for job in jobs}
        queue = Queue(job.waiting for job in jobs)
        later = sorted({job.waiting.since for job in jobs if job.waiting.since > now}, reverse=True)
        freed = [now]
        while True:
            at = freed[-1]
            room = Room(
                limits=self._limits,
                held=self._held,
                pool_held=self._pool_held,
                weights=self._weights,
            )
            granted = queue.admit(room, self._ageing, at, lambda _: Answer.GRANTED)
            for number, waiting in enumerate(granted):
                self._begin(known[waiting.key], freed[min(number, len(freed) - 1)])
            if not self._events and not later:
                break
            freed = self._go_on(later) or freed
        return {key: Times(at, self._ends[key]) for key, at in self._starts.items()}

    def _begin(self, job: Job, at: datetime) -> None:
        waiting = job.waiting
        at = max(at, waiting.since)
        self._starts[waiting.key] = at
        self._held.update(waiting.scopes)
        self._pool_held[waiting.pool] += 1
        boot_s = job.boot_s if self._tokens is not None else None
        self._push(
            Busy(
                key=waiting.key,
                node=waiting.node,
                pool=waiting.pool,
                scopes=waiting.scopes,
                at=at + timedelta(seconds=job.seconds - (boot_s or 0)),
                boot_s=boot_s,
            )
        )

    def _push(self, busy: Busy) -> None:
        self._number += 1
        heappush(self._events, (busy.at, self._number, busy))

    def _go_on(self, later: list[datetime]) -> list[datetime]:
        """Let time pass until slots are given back, or a back-off ends: at these instants."""
        times: list[datetime] = []
        while self._events or later:
            at = self._events[0][0] if self._events else later[-1]
            if later and later[-1] < at:
                at = later[-1]
            if times and at > times[0] + GRAIN:
                break
            if later and later[-1] == at:
                times.append(later.pop())
                continue
            *_, busy = heappop(self._events)
            if self._tokens is not None and busy.boot_s is not None:
                until = self._tokens.reserve(busy.node, at) + timedelta(seconds=busy.boot_s)
                self._push(replace(busy, at=until, boot_s=None))
                continue
            self._held.subtract(busy.scopes)
            self._pool_held[busy.pool] -= 1
            self._ends[busy.key] = at
            times.append(at)
        return times
