"""A plan: what would be done and why, what is left alone and why, in one immutable value.

The same revision, instant, observations and memory give the same plan, byte for byte. `PLAN_FORMAT`
names the version of the JSON; `schemas/plan.json` is generated from these types.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

from metalwright.model.desired import Holder, Target
from metalwright.model.frozen import FrozenDict
from metalwright.model.inventory import Commit, Source
from metalwright.model.operation import Stage, Verb
from metalwright.model.rollout import Rollout

PLAN_FORMAT: Final = "metalwright.plan/v1"


class BlockedReason(StrEnum):
    """Why a drifting node is left alone. Each has a heading in `docs/operating.md`."""

    NOT_OBSERVED = "NOT_OBSERVED"
    STALE_OBSERVATION = "STALE_OBSERVATION"
    NOT_ADOPTED = "NOT_ADOPTED"
    NOT_MANAGED = "NOT_MANAGED"
    ABSENT_FROM_GIT = "ABSENT_FROM_GIT"
    FROZEN = "FROZEN"
    WAITS_FOR_BOUNDARY = "WAITS_FOR_BOUNDARY"
    DATA_LOSS_NOT_CONSENTED = "DATA_LOSS_NOT_CONSENTED"
    IDENTITY_MISMATCH = "IDENTITY_MISMATCH"
    IDENTITY_UNKNOWN = "IDENTITY_UNKNOWN"
    NOT_SUPPORTED = "NOT_SUPPORTED"
    BLAST_RADIUS = "BLAST_RADIUS"
    HISTORY_REWRITTEN = "HISTORY_REWRITTEN"
    OLDER_REVISION = "OLDER_REVISION"
    OPERATION_FAILED = "OPERATION_FAILED"
    DRIFT_REPORTED = "DRIFT_REPORTED"
    HELD = "HELD"
    QUARANTINED = "QUARANTINED"
    OPERATION_CANCELLED = "OPERATION_CANCELLED"
    ROLLOUT_WAITS = "ROLLOUT_WAITS"
    ROLLOUT_PAUSED = "ROLLOUT_PAUSED"
    NOT_WIPED = "NOT_WIPED"


NEEDS_ACKNOWLEDGEMENT = frozenset(
    {
        BlockedReason.BLAST_RADIUS,
        BlockedReason.DATA_LOSS_NOT_CONSENTED,
        BlockedReason.HISTORY_REWRITTEN,
        BlockedReason.ROLLOUT_PAUSED,
    }
)


class Cause(StrEnum):
    """Why desired and observed differ: git changed, or the hardware did."""

    GIT = "git"
    DRIFT = "drift"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One field that differs: desired and observed value as text, and the place in git that wants
    it.

    `former_source` is the place that wanted the former state, when another one wants the new state
    (an assignment that ended or was removed), and `former_revision` the commit that the former
    state was applied from. `commit` is the last commit that touched either place, filled in by
    `plan.attribute`.
    """

    field: str
    desired: str
    observed: str
    cause: Cause
    source: Source | None = None
    former_source: Source | None = None
    former_revision: str | None = None
    commit: Commit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One node to be changed: a new operation when the plan is carried out. `rollout` is the id of
    the rollout that it belongs to, if any.
    """

    node: str
    verb: Verb
    pool: str
    holder: Holder
    target: Target
    priority: int
    stages: tuple[Stage, ...]
    disruptive: bool
    destroys_data: bool
    reasons: tuple[Reason, ...]
    source: Source
    starts_now: bool = False
    rollout: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """One node that differs from git (or might) and is left alone."""

    node: str
    reason: BlockedReason
    message: str
    verb: Verb | None = None
    cause: Cause | None = None
    destroys_data: bool = False
    next_attempt_at: datetime | None = None
    reasons: tuple[Reason, ...] = ()


class Fate(StrEnum):
    """What the plan says to an unfinished operation."""

    CONTINUE = "continue"
    CANCEL = "cancel"
    SUPERSEDE = "supersede"


@dataclass(frozen=True, slots=True, kw_only=True)
class InProgress:
    """One node with an unfinished operation, and what becomes of that.

    `CANCEL` ends a pending operation that git no longer wants; `SUPERSEDE` ends a running one at
    its next safe point. `destroys_data` says that it erases or overwrites disks, or did so.
    """

    node: str
    operation_id: str
    verb: Verb
    fate: Fate
    attempt: int
    stage: Stage | None = None
    since: datetime
    commit: Commit
    not_before: datetime | None = None
    last_error: str = ""
    why: str = ""
    destroys_data: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """The counts, first in every rendering. They add up: every managed node is counted once.

    `nodes` = `as_desired` + `changes` + `in_progress` + `blocked` of the managed nodes; `unmanaged`
    are the nodes of git that are never changed; `absent` the remembered nodes that git no longer
    has.
    """

    nodes: int
    as_desired: int
    changes: int
    in_progress: int
    blocked: int
    disruptive: int
    destroying: int
    starts_now: int
    unmanaged: int = 0
    absent: int = 0
    by_verb: Mapping[str, int] = field(default_factory=FrozenDict)
    by_blocked: Mapping[str, int] = field(default_factory=FrozenDict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitUse:
    """One limit: how many slots it has, how many are held before this plan starts anything."""

    scope: str
    limit: int
    held: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one cycle would do. Actions are in the order in which they are admitted.

    `change_digest` (64 hexadecimal digits) names the set of disruptive changes: it is what a commit
    acknowledges (`Policy.spec.acknowledge`) when the blast radius is exceeded. `abandoned_revision`
    is the last applied commit while HEAD does not descend from it and no commit acknowledges that:
    then nothing is started, and this revision must not be remembered as applied. `consents` are the
    keys of the changes that a commit acknowledges and that are to be remembered, `lapsed` the keys
    that are remembered and have to be forgotten, `unused_acknowledgements` the lines of
    `Policy.spec.acknowledge` that name nothing which waits now, `rollouts` the rollouts as they are
    from now on (those that this plan ends among them), `holds_in_git` the nodes whose local hold
    git declares by now. `next_due_at` is the next instant at which time alone moves something of
    this plan: a rollout that has soaked, a node that had to be seen healthy.
    """

    format: Literal["metalwright.plan/v1"] = PLAN_FORMAT
    revision: Commit
    at: datetime
    observed: Literal["live", "file", "none"] = "live"
    totals: Totals
    actions: tuple[Action, ...] = ()
    in_progress: tuple[InProgress, ...] = ()
    blocked: tuple[Blocked, ...] = ()
    limits: tuple[LimitUse, ...] = ()
    change_digest: str = ""
    abandoned_revision: str | None = None
    consents: tuple[str, ...] = ()
    lapsed: tuple[str, ...] = ()
    unused_acknowledgements: tuple[str, ...] = ()
    rollouts: tuple[Rollout, ...] = ()
    holds_in_git: tuple[str, ...] = ()
    next_due_at: datetime | None = None
