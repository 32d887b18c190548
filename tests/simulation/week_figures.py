"""What a simulated week came to: its figures, what they are compared with, and how they are told.

Limits are counted here from the beginnings and ends of attempts alone, against what was declared.
Nothing in here knows the order of admission.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

RATIO_MAX, USE_MIN, WALL_MAX_S = 1.02, 0.99, 60.0


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


class Use:
    """Slot-seconds in use while work waits, and those that the limits would let be in use."""

    def __init__(self, fleet_limit: int, rack_limit: int) -> None:
        self._fleet_limit, self._rack_limit = fleet_limit, rack_limit
        self._held: Counter[str] = Counter()
        self._wanted: Counter[str] = Counter()
        self._all_held = self._all_wanted = 0
        self._usable = 0  # slots that the racks allow, for what runs and waits in them
        self.held_s = self.could_s = 0.0

    def hold(self, rack: str, change: int) -> None:
        """So many more slots are held in a rack."""
        before = self._usable_in(rack)
        self._held[rack] += change
        self._all_held += change
        self._usable += self._usable_in(rack) - before

    def want(self, rack: str, change: int) -> None:
        """So many more operations wait for a slot in a rack, and could start."""
        before = self._usable_in(rack)
        self._wanted[rack] += change
        self._all_wanted += change
        self._usable += self._usable_in(rack) - before

    def let_pass(self, seconds: float) -> None:
        """Time passes; it counts while anything waits."""
        if self._all_wanted and seconds > 0:
            self.held_s += self._all_held * seconds
            self.could_s += min(self._fleet_limit, self._usable) * seconds

    def _usable_in(self, rack: str) -> int:
        return min(self._rack_limit, self._held[rack] + self._wanted[rack])


@dataclass
class Figures:
    """What the week came to."""

    use_of: Use
    operations: Counter[str] = field(default_factory=Counter)
    attempts: list[Attempt] = field(default_factory=list)
    rollouts: list[Rollout] = field(default_factory=list)
    overshoot: int = 0
    retries_most: int = 0
    late: int = 0
    waits: int = 0
    bound: int = 0
    longest_wait_s: float = 0.0
    least_slack_s: float = float("inf")
    plans: int = 0
    planning_s: float = 0.0

    @property
    def use(self) -> float:
        """The share of the slots in use, of those that the limits allow what waits to use."""
        return self.use_of.held_s / self.use_of.could_s

    @property
    def holds(self) -> bool:
        """Whether the week kept what is promised of ten thousand machines."""
        made = all(rollout.ratio <= RATIO_MAX for rollout in self.rollouts)
        return made and self.use >= USE_MIN and not self.overshoot and not self.late

    def conclude(self, limit: Callable[[str], int]) -> None:
        """Work out what only the end shows; `limit` is that of a scope."""
        most, self.overshoot = most_held(self.attempts, limit)
        self.retries_most = most["lane/retry"]
        limits = {scope: limit(scope) for scope in most}
        for rollout in self.rollouts:
            assert rollout.ended_at is not None
            span_s = (rollout.ended_at - rollout.began_at).total_seconds()
            bound_s = lower_bound_s(self.attempts, limits, rollout.began_at, rollout.ended_at)
            rollout.ratio = span_s / bound_s


def most_held(attempts: list[Attempt], limit: Callable[[str], int]) -> tuple[Counter[str], int]:
    """The most slots that were held at a time in each scope, and how many were above its limit.

    An attempt that ends in the instant in which another begins has ended before.
    """
    changes: list[tuple[datetime, int, str]] = []
    for attempt in attempts:
        assert attempt.until is not None
        for scope in attempt.scopes:
            changes += [(attempt.since, 1, scope), (attempt.until, -1, scope)]
    held: Counter[str] = Counter()
    most: Counter[str] = Counter()
    above = 0
    for _, change, scope in sorted(changes):
        held[scope] += change
        if change > 0 and held[scope] > most[scope]:
            most[scope] = held[scope]
        above += change > 0 and held[scope] > limit(scope)
    return most, above


def lower_bound_s(
    attempts: list[Attempt], limits: Mapping[str, int], since: datetime, until: datetime
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


def report(figures: Figures, wall_s: float, cpu_s: float) -> str:
    """The figures, for people."""
    lines = [
        f"operations      {dict(sorted(figures.operations.items()))}",
        f"attempts        {len(figures.attempts):,}, {figures.retries_most} retries at a time",
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
