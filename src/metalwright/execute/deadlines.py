"""How long a stage may take, and who said so: the template, the policy, experience, or nobody.

Pure. The time for shutting a system down is never learnt: that others were quick is no reason to
switch off a machine that still writes its data. Nor is the time for passing the checks: what a
check waits for (a cluster, a file system that is mended) is not the machine's own pace.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Final

from metalwright.execute.situation import entry_timeout_s
from metalwright.model.frozen import FrozenDict
from metalwright.model.inventory import ResolvedTemplate
from metalwright.model.operation import Stage, StageTimes, stage_key
from metalwright.model.policy import Learning, StageTimeouts
from metalwright.model.template import Timeouts

LEARNT_FLOOR_S: Final = 60
"""No learnt deadline is shorter: a BMC that answers slowly is no stage that hangs."""

LEARNT_QUANTILE: Final = 0.99

_FIELDS: Final[Mapping[Stage, str]] = FrozenDict(
    {
        Stage.POWER_OFF: "soft_power_off",
        Stage.WIPE: "wipe",
        Stage.BOOT: "boot",
        Stage.INSTALLING: "install",
        Stage.VALIDATING: "validate",
    }
)
"""The time-out that bounds a stage from its entry."""

_LEARNABLE: Final = frozenset({Stage.WIPE, Stage.BOOT, Stage.INSTALLING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """A deadline, in seconds, made from so many samples."""

    timeout_s: int
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """The time-outs in force, and where that of each stage comes from."""

    timeouts: StageTimeouts
    origins: Mapping[Stage, str]

    def words(self, stage: Stage) -> str:
        """For the journal: `deadline 95s, learnt from 48`."""
        return f"deadline {entry_timeout_s(stage, self.timeouts)}s, {self.origins[stage]}"


def stage_timeouts(
    template: Timeouts | None, policy: Timeouts, learnt: Mapping[Stage, Learnt]
) -> Deadlines:
    """The time-outs in force: the template's, where it is silent the policy's, then what was
    learnt (never longer than the default), else the default.
    """
    default = StageTimeouts()
    found: dict[str, int] = {}
    said: dict[str, str] = {}
    for by, who in ((policy, "of the policy"), (template, "of the template")):
        for field in fields(Timeouts):
            value = getattr(by, field.name) if by is not None else None
            if value is not None:
                found[field.name], said[field.name] = value, who
    for stage, known in learnt.items():
        name = _FIELDS[stage]
        if name not in found:
            found[name] = min(getattr(default, name), max(LEARNT_FLOOR_S, known.timeout_s))
            said[name] = f"learnt from {known.samples}"
    origins = {stage: said.get(name, "the default") for stage, name in _FIELDS.items()}
    return Deadlines(timeouts=replace(default, **found), origins=FrozenDict(origins))


def learnt_timeouts(
    times: Mapping[str, StageTimes],
    learning: Learning,
    driver: str,
    template: ResolvedTemplate | None,
) -> Mapping[Stage, Learnt]:
    """What experience says of each stage, where there is enough of it."""
    found = {}
    for stage in Stage:
        known = times.get(stage_key(stage, driver, template))
        if stage in _LEARNABLE and known and len(known.samples_s) >= learning.samples_min:
            timeout_s = math.ceil(known.quantile_s(LEARNT_QUANTILE) * learning.factor)
            found[stage] = Learnt(timeout_s=timeout_s, samples=len(known.samples_s))
    return found
