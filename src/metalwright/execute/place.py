"""One line of the queue: a node, what it waits for, and when that will be over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from metalwright.model.frozen import FrozenDict
from metalwright.model.operation import Verb
from metalwright.model.plan import BlockedReason, Plan


class WaitsFor(StrEnum):
    """What keeps a node from going on."""

    TURN = "its turn"
    SLOT = "a slot"
    BACK_OFF = "its back-off"
    OBSERVATION = "a fresh observation"
    START_TOKEN = "a start token"  # noqa: S105  a token to start with, not to log in with
    HOLD = "the end of a hold"
    FREEZE = "the end of a freeze"
    ROLLOUT = "its wave of a rollout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One node in the queue. `operation_id` is empty where there is no operation yet.

    With `SLOT`, `scope` is the first that is full, `holders` the nodes with a slot of it. Where
    the plan says more, `why` has its words. `until` is the instant waited for, if it is known.
    `starts_at` and `ends_at` are expected, `by` is the latest instant for its slots.
    """

    node: str
    waits_for: WaitsFor
    operation_id: str = ""
    verb: Verb | None = None
    pool: str = ""
    priority: int = 0
    effective_priority: int = 0
    since: datetime | None = None
    retry: bool = False
    position: int | None = None
    scope: str = ""
    holders: tuple[str, ...] = ()
    until: datetime | None = None
    why: str = ""
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    guessed: bool = False
    by: datetime | None = None


_KEPT_BACK: Final[Mapping[BlockedReason, WaitsFor]] = FrozenDict(
    {
        BlockedReason.HELD: WaitsFor.HOLD,
        BlockedReason.FROZEN: WaitsFor.FREEZE,
        BlockedReason.ROLLOUT_WAITS: WaitsFor.ROLLOUT,
        BlockedReason.ROLLOUT_PAUSED: WaitsFor.ROLLOUT,
    }
)


def kept_back(plan: Plan) -> Iterator[Place]:
    """The nodes that a hold, a freeze or a rollout keeps from the queue; not one that is as git
    wants it anyway.
    """
    for line in plan.blocked:
        waits_for = _KEPT_BACK.get(line.reason)
        if waits_for is not None and line.verb is not None:
            yield Place(
                node=line.node,
                waits_for=waits_for,
                verb=line.verb,
                until=line.next_attempt_at,
                why=line.message,
            )
