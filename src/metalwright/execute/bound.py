"""How long anything can wait at most: a bound that follows from the order of admission alone.

It holds however the durations, failures and later arrivals fall, as long as the limits stay as they
are. It counts the time in which the operation, and those before it, could start: not that spent in
a freeze, a back-off, on hold, behind a rollout that is paused, or without an answer of the BMC.

Write H for the longest that a slot can be held, and let everything compared be overdue: that is so
from `overdue_at` of an operation and of all that have waited as long. From then on only these, its
*elders*, come before it, each of them once: a retry waits anew, behind. Three facts follow (at
length in `docs/decisions/0016-waiting-is-bounded.md`):

*Turns.* Let g be the smaller of the number of claimants and the smallest limit in play. The g
oldest claim all their scopes, so what somebody younger takes there leaves their slots free; the
slots held at the beginning are free after H. One of them that is still kept from a scope is kept
from it by holders from the beginning, as many as the limit less those of the g that run; each of
these gives back a slot of the fleet too, which none but the g can take. So the g oldest are
admitted within H, and one with a elders within ceil((a + 1) / g) x H.

*Lines.* An operation whose only limited scope beside the fleet's is s (a rack) lets nobody younger
into s, nor into the fleet while it fits s. So s is full before it for H, and as long as its elders
need to pass through; the fleet likewise, and for another H whenever an elder took its place in s.

*The last.* When no elder waits any more, it is admitted within H.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import groupby

from metalwright.execute.deadlines import stage_timeouts
from metalwright.model.inventory import Inventory, ResolvedTemplate
from metalwright.model.natural import natural
from metalwright.model.operation import Operation, Stage
from metalwright.model.policy import Ageing, PolicySpec, StageTimeouts
from metalwright.model.template import Method, WipePolicy
from metalwright.model.waiting import FLEET, Waiting, claimants, overdue_after

SOFT_ROUNDS = 3
"""A soft power-off that goes unanswered is waited out on entry, and after each of two presses."""

LATE_S = 120
"""What a stage may last beyond its deadlines: an effect that comes back late, a cycle, a sweep."""


def attempt_s(stages: Iterable[Stage], timeouts: StageTimeouts) -> float:
    """The longest that one attempt at these stages can last, without the last probe, in seconds."""
    longest = {
        Stage.POWER_OFF: SOFT_ROUNDS * (timeouts.soft_power_off + timeouts.power_off),
        Stage.WIPE: timeouts.wipe,
        Stage.BOOT: timeouts.boot,
        Stage.INSTALLING: timeouts.install,
        Stage.VALIDATING: timeouts.validate,
    }
    return float(sum(longest[stage] + LATE_S for stage in stages))


def hold_s(inventory: Inventory, operations: Iterable[Operation]) -> float:
    """The longest that a slot can be held, in seconds: by these operations, or by any that may come
    of this revision. The probe that ends a failed attempt takes the life of an observation.
    """
    rules = inventory.rules
    beside = any(pool.spec.validation for pool in inventory.pools.values())
    longest = attempt_s((Stage.POWER_OFF, Stage.BOOT), _declared(None, rules))
    for template in inventory.resolved.values():
        stages = _stages(template, checked=beside or bool(template.validation))
        longest = max(longest, _attempt_s(stages, template, rules))
    known = {(operation.stages, operation.target.template) for operation in operations}
    for stages, applied in known:
        longest = max(longest, _attempt_s(stages, applied, rules))
    return longest + rules.observation_ttl + _tokens_s(rules)


def _stages(template: ResolvedTemplate, *, checked: bool) -> tuple[Stage, ...]:
    """Everything that a deployment of a template can go through."""
    wipe = (Stage.WIPE,) if template.wipe is not WipePolicy.NONE else ()
    install = (Stage.INSTALLING,) if template.method is Method.DISK else ()
    validate = (Stage.VALIDATING,) if checked else ()
    return (Stage.POWER_OFF, *wipe, Stage.BOOT, *install, *validate)


def _attempt_s(
    stages: Iterable[Stage], template: ResolvedTemplate | None, rules: PolicySpec
) -> float:
    return attempt_s(stages, _declared(template, rules))


def _declared(template: ResolvedTemplate | None, rules: PolicySpec) -> StageTimeouts:
    """The time-outs without experience, which only ever makes them shorter."""
    own = template.timeouts if template is not None else None
    return stage_timeouts(own, rules.timeouts, {}).timeouts


def _tokens_s(rules: PolicySpec) -> float:
    """The longest wait for a start token, while everybody who holds a slot asks for one."""
    waits = (
        rate.per / rate.starts * rules.limits.labels.get(rate.label or "", rules.limits.fleet)
        for rate in rules.start_rates
    )
    return sum(waits)


def admitted_by(
    waiting: Iterable[Waiting],
    limits: Mapping[str, int],
    ageing: Ageing,
    now: datetime,
    hold: timedelta,
) -> dict[str, datetime]:
    """For everything that waits, by key, the instant by which it has its slots at the latest.

    `hold` is H. All that waits has to be given, also what could not start at this time.
    """
    order = sorted(waiting, key=lambda each: (each.since, natural(each.node), each.key))
    group, overdue_at, latest, elders = claimants(limits), now, now, 0
    lines = _Lines(limits, hold)
    found: dict[str, datetime] = {}
    for _, tied in groupby(order, key=lambda each: each.since):
        alike = list(tied)
        for each in alike:
            lines.join(each)
            overdue_at = max(overdue_at, each.since + overdue_after(each.priority, ageing))
        for each in alike:
            group = min(group, *(limits[scope] for scope in each.scopes))
            turns = overdue_at + -(-(elders + 1) // group) * hold
            last = max(overdue_at, latest) + hold
            by = min(turns, last, *(overdue_at + wait for wait in lines.waits(each)))
            found[each.key], latest, elders = by, max(latest, by), elders + 1
    return found


class _Lines:
    """How many wait for each scope, and the bound by lines that follows."""

    def __init__(self, limits: Mapping[str, int], hold: timedelta) -> None:
        self._limits, self._hold = limits, hold
        self._waiting: Counter[str] = Counter()
        self._crossed: set[str] = set()  # scopes that one waits for together with others

    def join(self, each: Waiting) -> None:
        """One more has waited as long as those that are asked for next."""
        self._waiting.update(each.scopes)
        narrow = [scope for scope in each.scopes if scope != FLEET]
        if len(narrow) > 1:
            self._crossed.update(narrow)

    def waits(self, each: Waiting) -> Iterator[timedelta]:
        """The longest wait of one, where it is in one scope beside the fleet's at most."""
        narrow = [scope for scope in each.scopes if scope != FLEET]
        if len(narrow) > 1 or not self._crossed.isdisjoint(narrow):
            return
        holds = 1.0 if not narrow else 0.0
        for scope in narrow:
            others = self._waiting[scope] - 1
            holds += 1 + others / self._limits[scope] + self._waiting[scope]
        yield self._hold * (holds + (self._waiting[FLEET] - 1) / self._limits[FLEET])
