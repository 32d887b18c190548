"""What waits for slots, what there is to grant, and how waiting counts: values only.

`metalwright.model.admission` says in which order they are served.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from metalwright.model.frozen import FrozenDict
from metalwright.model.policy import Ageing

PRIORITY_MAX: Final = 1_000

FLEET: Final = "fleet"

CLAIMANTS_SHARE: Final = 100
"""One in so many of the fleet's slots may be claimed without a look at what it would leave idle."""


class Answer(Enum):
    """What came of a slot that was offered: taken; not by this one at this time; not by anyone."""

    GRANTED = "granted"
    NOT_NOW = "not now"
    ENOUGH = "enough"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One operation, or one action, that waits for slots.

    `key` tells it from all others (the operation's id, or the node). `since` is when it began to
    wait: for a retry the end of its back-off; before that instant it gets nothing.
    """

    key: str
    node: str
    pool: str
    priority: int
    since: datetime
    scopes: tuple[str, ...]
    retry: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What there is to grant: the limit of every scope that anything waits for, the slots held in
    it, and for each pool the slots that it holds and its weight (1 where it is not named).
    """

    limits: Mapping[str, int]
    held: Mapping[str, int] = field(default_factory=FrozenDict)
    pool_held: Mapping[str, int] = field(default_factory=FrozenDict)
    weights: Mapping[str, int] = field(default_factory=FrozenDict)


def effective_priority(waiting: Waiting, ageing: Ageing, now: datetime) -> int:
    """Its priority with what it gained by waiting."""
    intervals = max(0, (now - waiting.since) // timedelta(seconds=ageing.interval))
    return min(PRIORITY_MAX, waiting.priority + ageing.step * intervals)


def overdue_after(priority: int, ageing: Ageing) -> timedelta:
    """How long an operation of this priority waits until it is overdue: one interval at least."""
    steps = max(1, -((priority - PRIORITY_MAX) // ageing.step))
    return timedelta(seconds=ageing.interval * steps)


def claimants(limits: Mapping[str, int]) -> int:
    """How many of the oldest overdue ones claim a slot in all of their scopes."""
    return max(1, limits.get(FLEET, 0) // CLAIMANTS_SHARE)


def narrow_first(scopes: Iterable[str], limits: Mapping[str, int]) -> tuple[str, ...]:
    """The scopes from the smallest limit to the largest, the fleet's last: so they are claimed."""
    return tuple(sorted(scopes, key=lambda scope: (scope == FLEET, limits[scope], scope)))
