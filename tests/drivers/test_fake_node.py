"""A simulated machine is a value: what effects make of it and what it answers, at any instant."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metalwright.drivers.fake_node import (
    NEW_NODE,
    SOFT_POWER_OFF_IGNORED_RATE,
    STAGE_SPANS_S,
    Call,
    FakeNode,
    Pace,
    carry_out,
    pressed,
    reading_at,
    settled,
)
from metalwright.errors import PermanentError, TemporaryError
from metalwright.model.observed import BootDevice, BootProgress, Identity, Power, Reading
from metalwright.model.operation import Effect, EffectKind

PACE = Pace(seed=1)
WHO = Identity(serial="ABC123")
DIGEST = "a" * 64
OTHER = "b" * 64


def do(
    state: FakeNode, kind: EffectKind, now: float, argument: str = "", digest: str = "", **more
) -> FakeNode:
    effect = Effect(kind=kind, argument=argument, template_digest=digest, operation_id="op-1")
    return carry_out(state, effect, Call(node="n1", now=now, pace=PACE, **more))


def read(state: FakeNode, now: float) -> Reading:
    return reading_at(state, now, WHO)


def story(state: FakeNode, since: float, until: float) -> list[tuple[float, Reading]]:
    """Every reading that differs from the one before, with its second."""
    told: list[tuple[float, Reading]] = []
    for second in range(int(since), int(until)):
        reading = read(state, second)
        if not told or told[-1][1] != reading:
            told.append((second - since, reading))
    return told


def running(digest: str = DIGEST, device: str = "pxe") -> FakeNode:
    state = do(NEW_NODE, EffectKind.SET_BOOT_DEVICE, 0, device)
    return settled(do(state, EffectKind.POWER_ON, 0, "netboot", digest), 1_000)


def test_a_machine_that_nobody_touched_is_off_and_knows_who_it_is() -> None:
    assert read(NEW_NODE, 0) == Reading(
        power=Power.OFF, boot_progress=BootProgress.NONE, identity=WHO
    )


def test_a_network_boot_goes_through_its_stages_in_realistic_time() -> None:
    state = do(NEW_NODE, EffectKind.SET_BOOT_DEVICE, 0, "pxe")
    told = story(do(state, EffectKind.POWER_ON, 0, "netboot", DIGEST), 0, 1_000)
    assert [(each.power, each.boot_progress, each.template_digest) for _, each in told] == [
        (Power.OFF, BootProgress.NONE, None),
        (Power.ON, BootProgress.NONE, None),
        (Power.ON, BootProgress.HARDWARE_INITIALIZATION, None),
        (Power.ON, BootProgress.OS_BOOT_STARTED, None),
        (Power.ON, BootProgress.OS_RUNNING, DIGEST),
    ]
    assert {each.boot_device for _, each in told} == {BootDevice.PXE}
    on, tested, _loader, runs = (second for second, _ in told[1:])
    assert 1 <= on <= 5
    assert 60 <= tested - on <= 181
    assert 45 <= runs - tested <= 121


def test_an_installation_runs_its_installer_first_and_leaves_the_disk_bootable() -> None:
    state = do(NEW_NODE, EffectKind.SET_BOOT_DEVICE, 0, "pxe")
    state = do(state, EffectKind.POWER_ON, 0, "disk", DIGEST)
    told = story(state, 0, 2_000)
    assert [(each.boot_progress, each.template_digest) for _, each in told[-2:]] == [
        (BootProgress.OS_RUNNING, None),
        (BootProgress.OS_RUNNING, DIGEST),
    ]
    assert 300 <= told[-1][0] - told[-2][0] <= 901
    state = do(state, EffectKind.POWER_OFF, 2_000)
    state = do(state, EffectKind.SET_BOOT_DEVICE, 3_000, "disk")
    state = do(state, EffectKind.POWER_ON, 3_000)
    assert read(state, 4_000).template_digest == DIGEST


def test_an_installation_that_is_cut_short_leaves_nothing() -> None:
    state = do(NEW_NODE, EffectKind.SET_BOOT_DEVICE, 0, "pxe")
    state = do(state, EffectKind.POWER_ON, 0, "disk", DIGEST)
    assert state.running_at is not None
    state = do(state, EffectKind.POWER_OFF, state.running_at + 60)
    state = do(state, EffectKind.SET_BOOT_DEVICE, 5_000, "disk")
    state = do(state, EffectKind.POWER_ON, 5_000)
    assert read(state, 6_000).boot_progress is BootProgress.OS_RUNNING
    assert read(state, 6_000).template_digest is None


def test_power_that_is_there_is_left_alone_whatever_it_was_given_for() -> None:
    state = running()
    assert do(state, EffectKind.POWER_ON, 1_000, "netboot", OTHER) == state
    off = settled(do(state, EffectKind.POWER_OFF, 1_000), 2_000)
    assert do(off, EffectKind.POWER_OFF, 2_000) == off
    assert do(off, EffectKind.SOFT_POWER_OFF, 2_000) == off


def test_a_machine_that_shuts_down_is_not_held_up_by_power_on() -> None:
    state = do(running(), EffectKind.POWER_OFF, 1_000)
    assert do(state, EffectKind.POWER_ON, 1_000.5, "netboot", OTHER) == state
    assert read(state, 1_100).power is Power.OFF


def test_power_off_in_the_moment_of_power_on_ends_off() -> None:
    state = do(do(NEW_NODE, EffectKind.POWER_ON, 0), EffectKind.POWER_OFF, 0.1)
    assert read(state, 100).power is Power.OFF
    assert read(do(state, EffectKind.POWER_ON, 100), 200).power is Power.ON


def test_a_soft_power_off_takes_its_time_and_a_forced_one_overtakes_it() -> None:
    state = do(running(), EffectKind.SOFT_POWER_OFF, 1_000)
    assert state.off_at is not None
    assert 5 <= state.off_at - 1_000 <= 60
    assert do(state, EffectKind.SOFT_POWER_OFF, 1_001) == state
    forced = do(state, EffectKind.POWER_OFF, 1_000)
    assert forced.off_at is not None
    assert forced.off_at <= min(state.off_at, 1_005)


def test_a_soft_power_off_is_sometimes_ignored_and_not_twice_for_the_same_reason() -> None:
    ignored = 0
    for number in range(2_000):
        ignored += PACE.soft_power_off_ignored(f"n{number}", 1)
    assert 0.5 < ignored / 2_000 / SOFT_POWER_OFF_IGNORED_RATE < 1.5
    name = next(f"n{n}" for n in range(2_000) if PACE.soft_power_off_ignored(f"n{n}", 1))
    soft = Effect(kind=EffectKind.SOFT_POWER_OFF)
    state = carry_out(running(), soft, Call(node=name, now=1_000, pace=PACE))
    assert (state.off_at, state.soft_power_offs) == (None, 1)
    state = carry_out(state, soft, Call(node=name, now=1_100, pace=PACE))
    assert state.off_at is not None


def test_a_system_told_to_ignore_the_button_does() -> None:
    state = do(running(), EffectKind.SOFT_POWER_OFF, 1_000, soft_power_off_ignored=True)
    assert read(state, 100_000).power is Power.ON


def test_a_boot_that_hangs_hangs_until_it_is_ended() -> None:
    state = do(NEW_NODE, EffectKind.POWER_ON, 0, "netboot", DIGEST, boot_hangs=True)
    hung = read(state, 1_000_000)
    assert (hung.power, hung.boot_progress) == (Power.ON, BootProgress.OS_BOOT_STARTED)
    assert do(state, EffectKind.SOFT_POWER_OFF, 1_000).off_at is None, "nobody is there to react"
    early = do(state, EffectKind.SOFT_POWER_OFF, 30)
    assert early.off_at is not None, "while the firmware tests, the chipset reacts"
    state = do(state, EffectKind.POWER_OFF, 1_000)
    state = do(state, EffectKind.POWER_ON, 2_000, "netboot", DIGEST)
    assert read(state, 3_000).boot_progress is BootProgress.OS_RUNNING


@pytest.mark.parametrize("level", ["metadata", "discard", "full"])
def test_a_wipe_takes_the_time_of_its_level_and_leaves_evidence(level: str) -> None:
    state = do(NEW_NODE, EffectKind.WIPE, 0, level)
    assert state.wiped_at is not None
    low, high = STAGE_SPANS_S[f"wipe {level}"]
    assert low <= state.wiped_at <= high
    assert read(state, state.wiped_at - 1).last_wipe is None
    assert read(state, state.wiped_at).last_wipe == "op-1"
    assert read(state, state.wiped_at).power is Power.OFF
    assert do(state, EffectKind.WIPE, 1, level) == state
    done = settled(state, state.wiped_at)
    assert do(done, EffectKind.WIPE, state.wiped_at, level) == done


def test_a_wipe_that_is_cut_short_leaves_no_evidence() -> None:
    state = do(NEW_NODE, EffectKind.WIPE, 0, "full")
    state = do(state, EffectKind.POWER_ON, 60)
    assert read(state, 1_000_000).last_wipe is None


def test_a_wipe_removes_what_was_installed() -> None:
    state = replace(NEW_NODE, disk_digest=DIGEST, boot_device="disk")
    state = do(state, EffectKind.WIPE, 0, "metadata")
    state = do(state, EffectKind.POWER_ON, 100)
    assert read(state, 1_000).template_digest is None


def test_a_running_machine_is_not_wiped() -> None:
    with pytest.raises(TemporaryError):
        do(running(), EffectKind.WIPE, 1_000, "full")


@pytest.mark.parametrize(
    "effect",
    [
        Effect(kind=EffectKind.SET_BOOT_DEVICE, argument="floppy"),
        Effect(kind=EffectKind.SET_BOOT_DEVICE),
        Effect(kind=EffectKind.WIPE, argument="none", operation_id="op-1"),
        Effect(kind=EffectKind.WIPE, argument="twice", operation_id="op-1"),
        Effect(kind=EffectKind.WIPE, argument="full"),
    ],
)
def test_an_argument_that_no_machine_knows_is_refused(effect: Effect) -> None:
    with pytest.raises(PermanentError):
        carry_out(NEW_NODE, effect, Call(node="n1", now=0, pace=PACE))


def test_somebody_presses_the_button() -> None:
    call = Call(node="n1", now=1_000, pace=PACE)
    off = pressed(running(), Power.OFF, call)
    assert read(off, 1_000).power is Power.OFF
    on = pressed(off, Power.ON, call)
    assert read(on, 1_000).power is Power.ON
    assert pressed(on, Power.ON, call) == on
    assert on.power_ons == running().power_ons, "no command of ours"


@settings(deadline=None)
@given(
    st.sampled_from(sorted(STAGE_SPANS_S)),
    st.integers(0, 2**64),
    st.integers(0, 1_000),
    st.sampled_from([1.0, 60.0, 1_000.0]),
)
def test_every_stage_stays_within_its_span_and_is_the_same_again(
    stage: str, seed: int, attempt: int, speed: float
) -> None:
    low, high = STAGE_SPANS_S[stage]
    took = Pace(seed=seed, speed=speed).stage_s("n1", stage, attempt)
    assert low / speed <= took <= high / speed
    assert took == Pace(seed=seed, speed=speed).stage_s("n1", stage, attempt)


def test_stage_times_differ_by_node_try_and_seed_and_lean_to_the_short_side() -> None:
    times = [PACE.stage_s(f"n{n}", "post", 1) for n in range(2_000)]
    assert len(set(times)) > 1_800
    assert 98 < median(times) < 110, "the geometric middle of 60 and 180 is 104"
    assert PACE.stage_s("n1", "post", 1) != PACE.stage_s("n1", "post", 2)
    assert PACE.stage_s("n1", "post", 1) != Pace(seed=2).stage_s("n1", "post", 1)


EFFECTS = st.sampled_from(
    [
        Effect(kind=EffectKind.POWER_ON, argument="netboot", template_digest=DIGEST),
        Effect(kind=EffectKind.POWER_ON, argument="disk", template_digest=OTHER),
        Effect(kind=EffectKind.POWER_ON),
        Effect(kind=EffectKind.POWER_OFF),
        Effect(kind=EffectKind.SOFT_POWER_OFF),
        Effect(kind=EffectKind.SET_BOOT_DEVICE, argument="pxe"),
        Effect(kind=EffectKind.SET_BOOT_DEVICE, argument="disk"),
        Effect(kind=EffectKind.WIPE, argument="discard", operation_id="op-7"),
    ]
)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 2_000), EFFECTS), max_size=12), st.floats(0, 5_000))
def test_whatever_is_done_a_machine_makes_sense(
    steps: list[tuple[float, Effect]], later: float
) -> None:
    now, state = 0.0, NEW_NODE
    for gap, effect in steps:
        now += gap
        call = Call(node="n1", now=now, pace=PACE)
        try:
            once = carry_out(state, effect, call)
        except TemporaryError:
            assert effect.kind is EffectKind.WIPE
            assert settled(state, now).on_at is not None
            continue
        if effect.kind is not EffectKind.SOFT_POWER_OFF:  # an ignored button may be pressed again
            assert carry_out(once, effect, call) == once, "a level that was set is set"
        state = once
    now += later
    assert read(settled(state, now), now) == read(state, now), "settling does not change a reading"
    seen = read(state, now)
    if seen.power is Power.OFF:
        assert seen.boot_progress is BootProgress.NONE
        assert seen.template_digest is None
    if seen.template_digest is not None:
        assert seen.boot_progress is BootProgress.OS_RUNNING
    last = [each.kind for _, each in steps if each.kind is not EffectKind.SET_BOOT_DEVICE]
    if last and last[-1] is EffectKind.POWER_OFF:
        assert read(state, now + 10).power is Power.OFF
