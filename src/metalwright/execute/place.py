"""The lines of the queue: who waits for what until when, and what is kept from it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from metalwright.model.natural import natural
from metalwright.model.operation import Verb
from metalwright.model.plan import NEEDS_ACKNOWLEDGEMENT, BlockedReason, Plan


class WaitsFor(StrEnum):
    """What keeps a node from going on."""

    TURN = "its turn"
    SLOT = "a slot"
    BACK_OFF = "its back-off"
    OBSERVATION = "a fresh observation"
    START_TOKEN = "a start token"  # noqa: S105  a token to start with, not to log in with


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One node in the queue. `operation_id` is empty where there is no operation yet.

    With `SLOT`, `scope` is the first that is full, `holders` the nodes with a slot of it. `why` is
    the last error. `until` is the instant waited for, if it is known. `starts_at` and `ends_at` are
    expected, `by` is the latest instant for its slots.
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


_KEPT_BACK: Final = NEEDS_ACKNOWLEDGEMENT | {
    BlockedReason.HELD,
    BlockedReason.FROZEN,
    BlockedReason.ROLLOUT_WAITS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Nodes that one and the same thing keeps from the queue, in natural order; `why` has the words
    of the plan, with `NODE` for the name. `until` is when that ends by itself, if it is known.
    """

    reason: BlockedReason
    nodes: tuple[str, ...]
    why: str
    until: datetime | None = None


def kept_back(plan: Plan) -> tuple[Kept, ...]:
    """The nodes that a hold, a freeze, a rollout or the lack of a commit keeps from the queue: one
    entry for all that wait for the same, most nodes first. Not one that is as git wants it anyway.
    """
    sets: dict[tuple[BlockedReason, str, datetime | None], list[str]] = {}
    for line in plan.blocked:
        if line.reason in _KEPT_BACK and line.verb is not None:
            key = (line.reason, line.message, line.next_attempt_at)
            sets.setdefault(key, []).append(line.node)
    found = [
        Kept(reason=reason, nodes=tuple(sorted(nodes, key=natural)), why=why, until=until)
        for (reason, why, until), nodes in sets.items()
    ]
    found.sort(key=lambda kept: (-len(kept.nodes), kept.reason, natural(kept.nodes[0])))
    return tuple(found)
