"""Whose time-out holds: the template's, the policy's, experience's, or the default."""

from __future__ import annotations

from dataclasses import replace

import pytest

from metalwright.execute.deadlines import (
    LEARNT_FLOOR_S,
    Learnt,
    learnt_timeouts,
    stage_timeouts,
)
from metalwright.model.inventory import ResolvedTemplate
from metalwright.model.operation import Stage, StageTimes, stage_key
from metalwright.model.policy import Learning, StageTimeouts
from metalwright.model.template import Method, Timeouts, WipePolicy

DEFAULT = StageTimeouts()
NOTHING = Timeouts()
DEBIAN = ResolvedTemplate(
    name="debian", chain=("debian",), method=Method.NETBOOT, wipe=WipePolicy.METADATA
)
LEARNING = Learning(factor=3, samples_min=5)


def times(stage: Stage, *seconds: float) -> dict[str, StageTimes]:
    return {stage_key(stage, "ipmi", DEBIAN): StageTimes(samples_s=tuple(sorted(seconds)))}


def test_the_template_comes_before_the_policy_before_experience_before_the_default() -> None:
    learnt = {
        stage: Learnt(timeout_s=95, samples=48) for stage in Stage if stage not in _NEVER_LEARNT
    }
    template, policy = Timeouts(boot=30), Timeouts(boot=40, wipe=50)
    found = stage_timeouts(template, policy, learnt)
    assert [found.words(stage) for stage in Stage] == [
        "deadline 300s, the default",
        "deadline 50s, of the policy",
        "deadline 30s, of the template",
        "deadline 95s, learnt from 48",
        "deadline 600s, the default",
    ]
    assert stage_timeouts(None, NOTHING, {}).timeouts == DEFAULT
    forced = stage_timeouts(Timeouts(power_off=0), policy, {}).timeouts
    assert (forced.power_off, forced.soft_power_off) == (0, DEFAULT.soft_power_off)


_NEVER_LEARNT = (Stage.POWER_OFF, Stage.VALIDATING)


@pytest.mark.parametrize(
    ("learnt_s", "in_force_s"),
    [(1, LEARNT_FLOOR_S), (95, 95), (DEFAULT.boot, DEFAULT.boot), (10**6, DEFAULT.boot)],
)
def test_a_learnt_deadline_has_a_floor_and_is_never_longer_than_the_default(
    learnt_s: int, in_force_s: int
) -> None:
    learnt = {Stage.BOOT: Learnt(timeout_s=learnt_s, samples=30)}
    assert stage_timeouts(None, NOTHING, learnt).timeouts.boot == in_force_s


def test_it_is_a_multiple_of_the_99th_percentile() -> None:
    known = times(Stage.BOOT, *range(1, 201))
    found = learnt_timeouts(known, LEARNING, "ipmi", DEBIAN)
    assert found == {Stage.BOOT: Learnt(timeout_s=3 * 198, samples=200)}


def test_too_few_samples_and_those_of_others_teach_nothing() -> None:
    known = times(Stage.BOOT, 1, 2, 3, 4)
    assert learnt_timeouts(known, LEARNING, "ipmi", DEBIAN) == {}
    known = times(Stage.BOOT, 1, 2, 3, 4, 5)
    assert learnt_timeouts(known, LEARNING, "ipmi", DEBIAN).keys() == {Stage.BOOT}
    assert learnt_timeouts(known, LEARNING, "ipmi", replace(DEBIAN, name="rocky")) == {}
    assert learnt_timeouts(known, LEARNING, "redfish", DEBIAN) == {}


def test_no_machine_is_switched_off_sooner_because_others_were_quick_to_shut_down() -> None:
    known = times(Stage.POWER_OFF, *([1.0] * 200))
    assert learnt_timeouts(known, LEARNING, "ipmi", DEBIAN) == {}


def test_a_wipe_of_the_metadata_says_nothing_of_one_of_everything() -> None:
    known = times(Stage.WIPE, *([9.0] * 60))
    assert learnt_timeouts(known, LEARNING, "ipmi", DEBIAN).keys() == {Stage.WIPE}
    full = replace(DEBIAN, wipe=WipePolicy.FULL)
    assert learnt_timeouts(known, LEARNING, "ipmi", full) == {}
