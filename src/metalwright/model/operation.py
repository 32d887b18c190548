"""Operations: the life of one node moving to one desired state, and what the store remembers of it.

The tables below are the state machine: which stages there are, what each asks of the hardware, how
it is seen to be done, and what may interrupt it. `docs/architecture.md` draws them from here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from metalwright.model.desired import Holder, Target
from metalwright.model.frozen import FrozenDict
from metalwright.model.inventory import Commit, ResolvedTemplate, Source
from metalwright.model.rollout import Rollout


class Verb(StrEnum):
    """What an action does to a node, in Ironic's words where it has one."""

    DEPLOY = "deploy"
    REBUILD = "rebuild"
    REBOOT = "reboot"
    UNDEPLOY = "undeploy"
    POWER_ON = "power on"
    POWER_OFF = "power off"


class Stage(StrEnum):
    """The steps of an operation, in their order; not every operation has all of them."""

    POWER_OFF = "power off"
    WIPE = "wipe"
    BOOT = "boot"
    INSTALLING = "installing"
    VALIDATING = "validating"


class OperationState(StrEnum):
    """Where an operation is in its life. The last four are terminal."""

    PENDING = "pending"
    RUNNING = "running"
    ACTIVE = "active"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"


TERMINAL = frozenset(
    {
        OperationState.ACTIVE,
        OperationState.FAILED,
        OperationState.CANCELLED,
        OperationState.SUPERSEDED,
    }
)


class Interrupt(StrEnum):
    """What a newer commit may do to a running stage."""

    CANCELLABLE = "cancellable"
    FINISH_FIRST = "finish-first"
    IRREVERSIBLE = "irreversible"


INTERRUPTS: Mapping[Stage, Interrupt] = FrozenDict(
    {
        Stage.POWER_OFF: Interrupt.FINISH_FIRST,
        Stage.WIPE: Interrupt.IRREVERSIBLE,
        Stage.BOOT: Interrupt.CANCELLABLE,
        Stage.INSTALLING: Interrupt.CANCELLABLE,
        Stage.VALIDATING: Interrupt.CANCELLABLE,
    }
)


class EffectKind(StrEnum):
    """All that is ever done to hardware. Each sets a level: done twice is the same as once."""

    SOFT_POWER_OFF = "soft power off"
    POWER_OFF = "power off"
    POWER_ON = "power on"
    SET_BOOT_DEVICE = "set boot device"
    WIPE = "wipe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One call to a driver. `argument` is the boot device, or the wipe level; `once` sets a boot
    device for the next boot only.

    `operation_id` and `template_digest` tell a driver that can use it what the call is for: the
    evidence of a wipe carries the first, the machine that boots reports the second.
    """

    kind: EffectKind
    argument: str = ""
    operation_id: str = ""
    template_digest: str = ""
    once: bool = False


CORRECTIONS_MAX = 3
"""Corrections of drift in a row before a node is left alone for `CORRECTIONS_SPAN`."""

CORRECTIONS_SPAN = timedelta(hours=1)
"""Drift that comes back this soon was not mended: a fuse, the heat, a BMC that lies, or somebody
else's automation. Switching the machine again and again would only wear it out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What a node was last brought to, or adopted as: what the next plan compares with.

    `source` is the place in git, at `revision`, that wanted it. `corrections` counts the
    corrections of drift in a row, each within `CORRECTIONS_SPAN` of the one before.
    """

    target: Target
    holder: Holder
    revision: str
    source: Source
    at: datetime
    corrections: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One node's move to one target, as the store holds it.

    `stages` are those still to do at the time it was made, `stage` the current one (`None` while
    pending). `effects` counts the effects of the current stage that are *acknowledged*;
    `intent_at` is when the last effect was journalled, `acknowledged_at` when the driver answered
    (`None` while the answer is outstanding, or lost in a crash). `fence` grows with every
    admission and every end of an attempt: a result that carries an older one is refused. `tries`
    counts the answers of the current effect that were a passing fault, or lost. `failing` says that
    this attempt has failed and only waits until the node was asked once more. `seen_at` is the
    observation (when its asking began) that the current stage was entered on. `corrects` says that
    it mends drift, `disruptive` that it takes a running system down. `revision` is the commit of
    the plan that made it, `rollout` the rollout that it belongs to, if any. `admitted_at` is when
    the present attempt got its slots, `entered_at` when the present stage began. `cancelled_by` is
    who asked for its end, `bmc` what the present attempt is told to. Times are UTC.
    """

    id: str
    node: str
    verb: Verb
    state: OperationState
    target: Target
    holder: Holder
    pool: str
    priority: int
    stages: tuple[Stage, ...]
    commit: Commit
    source: Source
    created_at: datetime
    destroys_data: bool = False
    stage: Stage | None = None
    effects: int = 0
    intent: Effect | None = None
    intent_at: datetime | None = None
    acknowledged_at: datetime | None = None
    stage_deadline_at: datetime | None = None
    attempt: int = 0
    not_before: datetime | None = None
    fence: int = 0
    last_error: str = ""
    ended_at: datetime | None = None
    tries: int = 0
    failing: bool = False
    seen_at: datetime | None = None
    corrects: bool = False
    disruptive: bool = False
    revision: str = ""
    rollout: str = ""
    admitted_at: datetime | None = None
    entered_at: datetime | None = None
    cancelled_by: str = ""
    bmc: str = ""

    @property
    def unfinished(self) -> bool:
        """Whether it is still pending or running."""
        return self.state not in TERMINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalHold:
    """A brake that an operator put on a node here (`mw hold`), not in git."""

    reason: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """Why and since when a node that failed again and again is left alone."""

    reason: str
    at: datetime


STAGE_SAMPLES_MAX = 200
"""How many of the latest durations are kept for one `stage_key`."""


def stage_key(stage: Stage, driver: str, template: ResolvedTemplate | None) -> str:
    """What durations are gathered by: `boot/ipmi/debian-13`, `wipe/ipmi/debian-13/full`."""
    key = f"{stage.value}/{driver}/{template.name if template is not None else '-'}"
    return f"{key}/{template.wipe.value}" if template is not None and stage is Stage.WIPE else key


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTimes:
    """What a stage took lately, in seconds, shortest first: `STAGE_SAMPLES_MAX` at most."""

    samples_s: tuple[float, ...]

    def quantile_s(self, share: float) -> float:
        """The nearest-rank quantile: the shortest time that at least this share stayed within."""
        rank = math.ceil(share * len(self.samples_s))
        return self.samples_s[max(0, rank - 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeMemory:
    """What the store remembers of one node; a node without it is not adopted.

    `applied` is `None` when what the machine carries is not known: adopted to be rebuilt, or in the
    middle of an operation. `former` is then what it was before that operation began, if known: it
    tells whether a tenancy was being left, so that restarting what was interrupted destroys nothing
    of the tenancy that still holds the machine. `failed` is the last operation when it failed, or
    was cancelled by an operator, and nothing succeeded since. `failures` counts the operations that
    failed in a row, whatever they were for. `overwritten` says that a wipe of the disks, or an
    installation onto them, was begun since the node was brought to something, or adopted, last:
    they may be empty or half written, whatever it was before. `tenant` is the assignment that it
    was booted for last, and not wiped since: its data may be on the disks, whatever rests there.
    """

    node: str
    adopted_at: datetime
    adopted_by: str
    applied: Applied | None = None
    former: Applied | None = None
    operation: Operation | None = None
    failed: Operation | None = None
    failures: int = 0
    hold: LocalHold | None = None
    quarantine: Quarantined | None = None
    overwritten: bool = False
    tenant: Holder | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What the store remembers of the fleet: never an instruction, only what we did.

    `applied_revision` is the last commit that a plan was carried out from; `slots` counts the slots
    held, by scope (`fleet`, `pool/ci`, `label/rack=a01`). `rollouts` has the rollouts by id that
    are not over, `consents` the keys of disruptive changes that a commit acknowledged,
    `stage_times` what stages took by `stage_key`, `starts` the instant of each start-rate bucket.
    """

    nodes: Mapping[str, NodeMemory] = field(default_factory=FrozenDict)
    applied_revision: str | None = None
    slots: Mapping[str, int] = field(default_factory=FrozenDict)
    rollouts: Mapping[str, Rollout] = field(default_factory=FrozenDict)
    consents: frozenset[str] = frozenset()
    stage_times: Mapping[str, StageTimes] = field(default_factory=FrozenDict)
    starts: Mapping[str, datetime] = field(default_factory=FrozenDict)


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """One line of what we did: an intent, its outcome, or a change of an operation's state.

    `event` is one of `created`, `admitted`, `intent`, `outcome`, `stage`, `retry`, `active`,
    `failed`, `cancelled`, `superseded`, `adopted`, `released` (no longer adopted), `recorded` (git
    names the same state otherwise), `hold`, `resumed`, `cancel` (asked for), `quarantined`; of the
    boot service `served`, `reported`, `refused` (node `-` where none is known); `media`: a disc was
    taken out of a virtual CD drive. `seq` grows without gaps in one store. The detail of `admitted`
    names the slots that were taken; `retry` and the four ends give them back.
    """

    seq: int
    at: datetime
    node: str
    event: str
    operation_id: str | None = None
    stage: Stage | None = None
    effect: Effect | None = None
    fence: int = 0
    detail: str = ""
