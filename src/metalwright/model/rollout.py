"""A rollout: how far one change of a pool has come, canaries first, wave after wave.

A value that the planner works out anew in every cycle from the one before, and the store keeps, so
that a restart changes nothing. It never starts anything: it only says whose turn it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class RolloutState(StrEnum):
    """Where a rollout is. The last two are its ends."""

    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    SUPERSEDED = "superseded"


ROLLOUT_OVER = frozenset({RolloutState.DONE, RolloutState.SUPERSEDED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One target on its way to the nodes of one holder in one pool.

    `id` and `acknowledgement` are 64 hexadecimal digits. A commit that lists the second lets a
    paused rollout go on: it is the id at first, and another at each later pause, so that an old
    acknowledgement accepts no new failures. `waves` has the nodes of each wave, the canaries first,
    as they were divided when it began; `wave` is the index of the one whose turn it is.
    `soaking_since` is when the last node of that wave was done. `failed` are the nodes that failed,
    `forgiven` those of them that a commit accepted; `accepted` counts the pauses that a commit put
    an end to. `formers` has the digest of the target that most of its nodes had before; `reverts`
    says that it brings back that of the rollout that it put an end to. `why` is what it waits for,
    or the reason of a pause, for people to read. Times are UTC.
    """

    id: str
    pool: str
    holder: str
    template: str
    target_digest: str
    revision: str
    began_at: datetime
    waves: tuple[tuple[str, ...], ...]
    wave_began_at: datetime
    wave: int = 0
    soaking_since: datetime | None = None
    failed: tuple[str, ...] = ()
    forgiven: tuple[str, ...] = ()
    accepted: int = 0
    acknowledgement: str = ""
    formers: tuple[str, ...] = ()
    reverts: bool = False
    state: RolloutState = RolloutState.RUNNING
    why: str = ""
