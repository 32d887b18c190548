"""The state machine as a table: what is stored and what is seen, to the one next step."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from decide_samples import TIMEOUTS, WIPES, a_situation, an_operation, at
from execute_rig import OFF, ON, START, a_target, stages_of
from hypothesis import given
from hypothesis import strategies as st

from metalwright.errors import (
    CredentialsError,
    NotSupportedError,
    PermanentError,
    TemporaryError,
)
from metalwright.execute.advance import decide
from metalwright.execute.life import again, answered, backoff_s, begin
from metalwright.execute.situation import (
    Do,
    Enter,
    Fail,
    Finish,
    Resolve,
    Situation,
    Supersede,
    Wait,
    evidence,
    last_touch,
    out_of_time,
    probed,
)
from metalwright.model.observed import (
    BootProgress,
    ErrorKind,
    Identity,
    Observation,
    ObservationError,
    Power,
    Reading,
)
from metalwright.model.operation import (
    INTERRUPTS,
    Effect,
    EffectKind,
    Interrupt,
    Operation,
    OperationState,
    Stage,
    Verb,
)
from metalwright.model.policy import Retries
from metalwright.model.template import Method

DIGEST = "d" * 64
SAME = Identity(serial="S-n0")
EVERY = frozenset(EffectKind)


def told(operation: Operation, kind: EffectKind, **changes: Any) -> Operation:
    """The operation after it was told this at second 10, and the driver said yes at second 11."""
    values: dict[str, Any] = {
        "intent": Effect(kind=kind, operation_id="o1"),
        "intent_at": at(10),
        "acknowledged_at": at(11),
        "effects": 1,
    }
    return replace(operation, **(values | changes))


def seen(seconds: float, **reading: Any) -> Observation:
    values: dict[str, Any] = {"power": Power.OFF, "identity": SAME}
    return Observation(node="n0", at=at(seconds), reading=Reading(**(values | reading)))


def silent(seconds: float) -> Observation:
    said = ObservationError(kind=ErrorKind.TIMEOUT, message="no answer")
    return Observation(node="n0", at=at(seconds), error=said, failures=1)


def power_off(**changes: Any) -> Operation:
    return an_operation(stage=Stage.POWER_OFF, stage_deadline_at=at(300), **changes)


def wipe(**changes: Any) -> Operation:
    return an_operation(stage=Stage.WIPE, stage_deadline_at=at(1_000), **changes)


def boot(**changes: Any) -> Operation:
    return an_operation(stage=Stage.BOOT, stage_deadline_at=at(600), **changes)


def installing(**changes: Any) -> Operation:
    return an_operation(stage=Stage.INSTALLING, stage_deadline_at=at(3_600), **changes)


ON_NOW = {"power": Power.ON, "boot_progress": BootProgress.NONE}
RUNNING = {"power": Power.ON, "boot_progress": BootProgress.OS_RUNNING}


@pytest.mark.parametrize(
    ("operation", "situation", "kind"),
    [
        (power_off(), a_situation(1, seen(0.5, **ON_NOW)), EffectKind.SOFT_POWER_OFF),
        (
            power_off(),
            a_situation(1, seen(0.5, **ON_NOW), capabilities=EVERY - {EffectKind.SOFT_POWER_OFF}),
            EffectKind.POWER_OFF,
        ),
        (
            told(power_off(), EffectKind.SOFT_POWER_OFF),
            a_situation(300, seen(290, **ON_NOW)),
            EffectKind.POWER_OFF,
        ),
        (wipe(), a_situation(1, seen(0.5)), EffectKind.WIPE),
        (
            told(wipe(), EffectKind.WIPE),
            a_situation(99, seen(90, last_wipe="o1", **ON_NOW)),
            EffectKind.POWER_OFF,
        ),
        (boot(), a_situation(1, seen(0.5)), EffectKind.SET_BOOT_DEVICE),
        (
            told(boot(), EffectKind.SET_BOOT_DEVICE),
            a_situation(12, seen(0.5)),
            EffectKind.POWER_ON,
        ),
        (boot(verb=Verb.POWER_ON, target=ON), a_situation(1, seen(0.5)), EffectKind.POWER_ON),
        (
            told(boot(), EffectKind.SET_BOOT_DEVICE, acknowledged_at=None),
            a_situation(20, seen(0.5)),
            EffectKind.SET_BOOT_DEVICE,
        ),
        (
            told(boot(), EffectKind.POWER_ON, acknowledged_at=None),
            a_situation(20, seen(16)),
            EffectKind.POWER_ON,
        ),
        (
            told(wipe(), EffectKind.WIPE, tries=1),
            a_situation(20, seen(17)),
            EffectKind.WIPE,
        ),
    ],
)
def test_the_next_effect(operation: Operation, situation: Situation, kind: EffectKind) -> None:
    decision = decide(operation, situation)
    assert isinstance(decision, Do), decision
    after = decision.operation
    assert after.intent is not None
    assert after.intent.kind is kind
    assert after.intent.operation_id == "o1"
    assert (after.intent_at, after.acknowledged_at) == (situation.now, None)


@pytest.mark.parametrize(
    ("operation", "situation"),
    [
        pytest.param(power_off(), a_situation(1, None), id="never observed"),
        pytest.param(power_off(), a_situation(1, silent(0.5)), id="not answered"),
        pytest.param(
            power_off(), a_situation(1, seen(0.5, power=Power.UNKNOWN)), id="unknown power"
        ),
        pytest.param(power_off(), a_situation(200, seen(1, **ON_NOW)), id="stale"),
        pytest.param(
            told(power_off(), EffectKind.SOFT_POWER_OFF),
            a_situation(12, seen(11)),
            id="off, but asked before the answer came",
        ),
        pytest.param(
            told(power_off(), EffectKind.SOFT_POWER_OFF),
            a_situation(299, seen(290, **ON_NOW)),
            id="shutting down",
        ),
        pytest.param(
            told(power_off(), EffectKind.SOFT_POWER_OFF),
            a_situation(310, silent(305)),
            id="to be forced, but not observed",
        ),
        pytest.param(
            told(power_off(), EffectKind.SOFT_POWER_OFF, acknowledged_at=None),
            a_situation(200, seen(190, **ON_NOW)),
            id="may be shutting down",
        ),
        pytest.param(
            told(power_off(), EffectKind.POWER_OFF),
            a_situation(200, seen(190, **ON_NOW)),
            id="being powered off",
        ),
        pytest.param(
            told(wipe(), EffectKind.WIPE), a_situation(99, seen(90)), id="wiping, off meanwhile"
        ),
        pytest.param(
            told(wipe(), EffectKind.WIPE),
            a_situation(99, seen(90, last_wipe="o0")),
            id="the evidence of another wipe",
        ),
        pytest.param(
            told(wipe(), EffectKind.WIPE, tries=3), a_situation(99, seen(90)), id="may be wiping"
        ),
        pytest.param(told(boot(), EffectKind.POWER_ON), a_situation(20, seen(15)), id="not on yet"),
        pytest.param(
            told(boot(), EffectKind.POWER_ON), a_situation(20, seen(15, **ON_NOW)), id="in POST"
        ),
        pytest.param(
            told(boot(verb=Verb.REBOOT, target=a_target()), EffectKind.POWER_ON),
            a_situation(99, seen(90, template_digest="e" * 64, **RUNNING)),
            id="runs something else",
        ),
        pytest.param(
            told(boot(), EffectKind.POWER_ON, acknowledged_at=None),
            a_situation(13, seen(12)),
            id="a BMC is given time to show what it was told",
        ),
        pytest.param(
            told(boot(), EffectKind.POWER_ON, acknowledged_at=None),
            a_situation(20, seen(12)),
            id="read back after that time only",
        ),
        pytest.param(
            told(boot(), EffectKind.POWER_ON, acknowledged_at=None),
            a_situation(30, seen(20), started_at=at(22)),
            id="read back by this process only",
        ),
        pytest.param(
            installing(), a_situation(99, seen(90, template_digest=None, **RUNNING)), id="installer"
        ),
        pytest.param(
            power_off(failing=True, intent_at=at(10), acknowledged_at=at(11)),
            a_situation(20, seen(11)),
            id="failed, and not asked again yet",
        ),
    ],
)
def test_what_is_waited_for(operation: Operation, situation: Situation) -> None:
    decision = decide(operation, situation)
    if isinstance(decision, Fail):
        assert not decision.probed
    else:
        assert isinstance(decision, Wait), decision


@pytest.mark.parametrize(
    ("operation", "observation", "entered"),
    [
        (power_off(), seen(0.5), Stage.WIPE),
        (told(power_off(), EffectKind.SOFT_POWER_OFF), seen(12), Stage.WIPE),
        (told(power_off(), EffectKind.POWER_OFF), seen(12), Stage.WIPE),
        (wipe(), seen(0.5, last_wipe="o1"), Stage.BOOT),
        (told(wipe(), EffectKind.WIPE), seen(12, last_wipe="o1"), Stage.BOOT),
        (
            told(boot(), EffectKind.POWER_ON),
            seen(12, power=Power.ON, boot_progress=BootProgress.OS_BOOT_STARTED),
            Stage.INSTALLING,
        ),
        (told(boot(), EffectKind.POWER_ON), seen(12, power=Power.ON), Stage.INSTALLING),
    ],
)
def test_the_next_stage(operation: Operation, observation: Observation, entered: Stage) -> None:
    decision = decide(operation, a_situation(20, observation))
    assert isinstance(decision, Enter), decision
    after = decision.operation
    timeout_s = {Stage.WIPE: 1_000, Stage.BOOT: 600, Stage.INSTALLING: 3_600}[entered]
    assert after.stage is entered
    assert after.stage_deadline_at == at(20 + timeout_s)
    assert (after.effects, after.intent, after.tries) == (0, None, 0)
    assert after.seen_at == observation.at
    assert after.acknowledged_at == operation.acknowledged_at


@pytest.mark.parametrize(
    ("operation", "observation"),
    [
        (
            power_off(verb=Verb.POWER_OFF, target=OFF),
            seen(0.5),
        ),
        (boot(verb=Verb.POWER_ON, target=ON), seen(0.5, **ON_NOW)),
        (boot(verb=Verb.POWER_ON, target=a_target()), seen(0.5, template_digest=DIGEST, **RUNNING)),
        (
            told(boot(verb=Verb.REBOOT, target=a_target()), EffectKind.POWER_ON),
            seen(12, template_digest=DIGEST, **RUNNING),
        ),
        (
            told(boot(verb=Verb.REBOOT, target=a_target()), EffectKind.POWER_ON),
            seen(12, **RUNNING),
        ),
        (
            told(boot(verb=Verb.REBOOT, target=a_target()), EffectKind.POWER_ON),
            seen(12, power=Power.ON),
        ),
        (installing(), seen(12, template_digest=DIGEST, **RUNNING)),
    ],
)
def test_the_end(operation: Operation, observation: Observation) -> None:
    assert decide(operation, a_situation(20, observation)) == Finish()


def test_what_was_reached_late_counts_all_the_same() -> None:
    late = told(power_off(), EffectKind.POWER_OFF, stage_deadline_at=at(50))
    assert isinstance(decide(late, a_situation(60, seen(55))), Enter)


@pytest.mark.parametrize(
    ("operation", "now", "observation", "error"),
    [
        (
            told(power_off(), EffectKind.POWER_OFF),
            300,
            seen(290, **ON_NOW),
            "power off: not done in time (the power is on",
        ),
        (
            told(power_off(), EffectKind.SOFT_POWER_OFF),
            420,
            silent(410),
            "power off: not done in time (not observed: no answer)",
        ),
        (told(wipe(), EffectKind.WIPE), 1_000, seen(990), "wipe: not done in time"),
        (
            told(boot(), EffectKind.POWER_ON, last_error="power on: busy"),
            600,
            seen(590, **ON_NOW),
            "boot: not done in time (the power is on, the boot at None); before that: power on: b",
        ),
        (installing(), 3_600, seen(3_590, **RUNNING), "installing: not done in time"),
        (wipe(), 20, seen(15, **ON_NOW), "somebody else switched it on"),
        (boot(), 20, seen(15, **ON_NOW), "somebody else switched it on"),
        (
            told(boot(), EffectKind.SET_BOOT_DEVICE),
            20,
            seen(15, **ON_NOW),
            "somebody else switched it on",
        ),
        (
            told(boot(), EffectKind.POWER_ON, tries=3, last_error="power on: busy"),
            20,
            seen(17),
            "power on: busy (3 tries)",
        ),
        (
            told(boot(), EffectKind.POWER_ON, tries=2, acknowledged_at=None),
            20,
            seen(17),
            "power on: the answer was lost (3 tries)",
        ),
        (power_off(failing=True, last_error="refused"), 20, silent(15), "refused"),
    ],
)
def test_an_attempt_that_failed(
    operation: Operation, now: float, observation: Observation, error: str
) -> None:
    decision = decide(operation, a_situation(now, observation))
    assert isinstance(decision, Fail), decision
    assert error in decision.error
    assert (decision.probed, decision.final) == (True, False)
    blind = decide(operation, a_situation(now, None))
    assert isinstance(blind, Fail | Wait)
    if isinstance(blind, Fail):
        assert blind.probed is (operation.intent_at is None)


@pytest.mark.parametrize(
    ("identity", "final"),
    [
        (Identity(serial="S-other"), True),
        (Identity(macs=("02:00:00:00:00:01",)), True),
        (Identity(), False),
    ],
)
@pytest.mark.parametrize("operation", [power_off(), wipe(), boot()])
def test_another_machine_is_told_nothing(
    operation: Operation, identity: Identity, final: bool
) -> None:
    state = Power.ON if operation.stage is Stage.POWER_OFF else Power.OFF
    decision = decide(operation, a_situation(1, seen(0.5, power=state, identity=identity)))
    assert isinstance(decision, Fail)
    assert decision.final is final


def test_an_operation_that_destroys_nothing_needs_no_identity_but_no_other_either() -> None:
    reboot = power_off(verb=Verb.REBOOT, target=a_target())
    unknown = seen(0.5, identity=Identity(), **ON_NOW)
    assert isinstance(decide(reboot, a_situation(1, unknown)), Do)
    other = seen(0.5, identity=Identity(serial="S-other"), **ON_NOW)
    decision = decide(reboot, a_situation(1, other))
    assert isinstance(decision, Fail)
    assert decision.final


@pytest.mark.parametrize("operation", [power_off(), told(power_off(), EffectKind.POWER_OFF)])
def test_what_another_machine_is_does_not_end_a_stage(operation: Operation) -> None:
    other = seen(12, power=Power.OFF, identity=Identity(serial="S-other"))
    assert not isinstance(decide(operation, a_situation(13, other)), Enter | Finish)


def test_an_observation_from_before_the_clock_was_set_back_starts_nothing() -> None:
    ahead = seen(3_600, **ON_NOW)
    decision = decide(power_off(), a_situation(1, ahead))
    assert isinstance(decision, Wait), decision


@pytest.mark.parametrize("kind", sorted(EVERY - {EffectKind.SOFT_POWER_OFF}))
def test_what_the_driver_cannot_do_fails_for_good(kind: EffectKind) -> None:
    first = {
        EffectKind.POWER_OFF: told(power_off(), EffectKind.SOFT_POWER_OFF),
        EffectKind.WIPE: wipe(),
        EffectKind.SET_BOOT_DEVICE: boot(),
        EffectKind.POWER_ON: told(boot(), EffectKind.SET_BOOT_DEVICE),
    }[kind]
    on = first.stage is Stage.POWER_OFF
    observation = seen(305, power=Power.ON if on else Power.OFF)
    situation = a_situation(310, observation, capabilities=EVERY - {kind})
    decision = decide(first, situation)
    assert isinstance(decision, Fail), decision
    assert decision.final
    assert "the driver cannot do this" in decision.error


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize("sent", [False, True])
def test_where_a_superseded_operation_ends(stage: Stage, sent: bool) -> None:
    operation = an_operation(stage=stage, stage_deadline_at=at(5_000))
    if sent:
        operation = told(operation, EffectKind.POWER_ON, intent=Effect(kind=EffectKind.POWER_OFF))
    observation = seen(15, power=Power.ON, boot_progress=BootProgress.NONE)
    decision = decide(operation, a_situation(20, observation, superseded="newer"))
    safe = not sent or INTERRUPTS[stage] is Interrupt.CANCELLABLE
    assert isinstance(decision, Supersede) is safe, decision


def test_a_superseded_operation_is_let_go_after_the_node_was_asked() -> None:
    booting = told(boot(), EffectKind.POWER_ON)
    early = a_situation(20, seen(11), superseded="newer")
    assert isinstance(decide(booting, early), Wait)
    asked = a_situation(20, silent(12), superseded="newer")
    assert decide(booting, asked) == Supersede(why="newer")


@pytest.mark.parametrize("answered_at", [at(11), None])
def test_one_that_was_told_to_power_on_is_not_let_go_while_it_may_be_coming_on(
    answered_at: datetime | None,
) -> None:
    """The next operation would take it for off, and find it on with what the last one booted."""
    operation = told(
        boot(),
        EffectKind.POWER_ON,
        acknowledged_at=answered_at,
    )
    touch = last_touch(operation, START)
    assert touch is not None
    settled = (touch - START).total_seconds() + 5.0  # the situation's `settle_s`
    for second, lets_go in ((settled - 0.5, False), (settled + 0.5, True)):
        decision = decide(operation, a_situation(settled + 1, seen(second), superseded="newer"))
        assert isinstance(decision, Supersede if lets_go else Wait)
    silence = a_situation(settled - 1, silent(settled - 2), superseded="newer")
    assert isinstance(decide(operation, silence), Supersede)


def test_a_superseded_operation_is_not_tried_again() -> None:
    forced = told(power_off(), EffectKind.POWER_OFF)
    decision = decide(forced, a_situation(400, seen(390, **ON_NOW), superseded="newer"))
    assert isinstance(decision, Supersede)
    assert decision.why.startswith("newer; power off: not done in time")


def test_an_effect_in_doubt_that_worked_is_settled() -> None:
    doubtful = told(boot(), EffectKind.POWER_ON, acknowledged_at=None, effects=1)
    decision = decide(doubtful, a_situation(20, seen(12, **ON_NOW)))
    assert isinstance(decision, Resolve)
    assert (decision.operation.effects, decision.operation.tries) == (2, 0)
    assert decision.operation.acknowledged_at == at(10)


def test_a_machine_that_is_on_without_our_call_is_not_ours_until_it_says_so() -> None:
    target = a_target()
    assert target.template is not None
    doubtful = told(boot(target=target), EffectKind.POWER_ON, acknowledged_at=None)
    running = {"power": Power.ON, "boot_progress": BootProgress.OS_RUNNING}
    for reading in (running, running | {"template_digest": "f" * 64}):
        decision = decide(doubtful, a_situation(20, seen(18, **reading)))
        assert isinstance(decision, Wait), reading
        late = decide(doubtful, a_situation(700, seen(690, **reading)))
        assert isinstance(late, Fail), reading
    proven = running | {"template_digest": target.template.digest}
    assert isinstance(decide(doubtful, a_situation(20, seen(18, **proven))), Finish)
    answered = replace(doubtful, acknowledged_at=at(11))
    assert isinstance(decide(answered, a_situation(20, seen(18, **running))), Finish)
    # Of a driver that tells nothing of the boot, "on" has to do.
    plain = decide(doubtful, a_situation(20, seen(18, power=Power.ON)))
    assert isinstance(plain, Finish)


def test_a_soft_power_off_in_doubt_is_asked_for_once_more_and_then_forced() -> None:
    first = told(power_off(), EffectKind.SOFT_POWER_OFF, acknowledged_at=None)
    again_ = decide(first, a_situation(301, seen(300, **ON_NOW)))
    assert isinstance(again_, Do)
    second = again_.operation
    assert second.intent == first.intent
    assert (second.tries, second.stage_deadline_at) == (1, at(601))
    failed = answered(second, TemporaryError("busy"), at(303))
    forced = decide(failed, a_situation(602, seen(601, **ON_NOW)))
    assert isinstance(forced, Do)
    assert forced.operation.intent is not None
    assert forced.operation.intent.kind is EffectKind.POWER_OFF
    assert (forced.operation.tries, forced.operation.stage_deadline_at) == (0, at(722))


def test_what_an_answer_makes_of_an_operation() -> None:
    asked = told(boot(), EffectKind.POWER_ON, acknowledged_at=None, effects=1, tries=1)
    done = answered(asked, None, at(12))
    assert (done.effects, done.acknowledged_at, done.tries) == (2, at(12), 0)
    busy = answered(asked, TemporaryError("busy"), at(12))
    assert (busy.effects, busy.tries, busy.failing) == (1, 2, False)
    assert busy.last_error == "power on: busy"
    for error in (PermanentError("no"), CredentialsError("no"), ValueError("no")):
        failed = answered(asked, error, at(12))
        assert (failed.failing, failed.effects) == (True, 1)
    soft = told(power_off(), EffectKind.SOFT_POWER_OFF, acknowledged_at=None)
    refused = answered(soft, NotSupportedError("no ACPI"), at(12))
    assert (refused.failing, refused.stage_deadline_at) == (False, at(12))
    forced = decide(refused, a_situation(15, seen(13, **ON_NOW)))
    assert isinstance(forced, Do), "a machine without a soft power-off is forced at once"
    for trouble in (PermanentError("the secret cannot be read"), CredentialsError("no")):
        failed = answered(soft, trouble, at(12))
        assert failed.failing, "trouble is no reason to cut the power of a running system"
        assert isinstance(decide(failed, a_situation(15, seen(13, **ON_NOW))), Fail)


def test_an_attempt_begins_with_the_first_stage_and_forgets_the_last_one() -> None:
    waits = an_operation(
        state=OperationState.PENDING,
        attempt=1,
        fence=2,
        not_before=at(0),
        last_error="busy",
        intent_at=at(-20),
        acknowledged_at=at(-19),
    )
    begun = begin(waits, a_situation(5, seen(4)))
    assert (begun.state, begun.stage) == (OperationState.RUNNING, Stage.POWER_OFF)
    assert (begun.attempt, begun.fence) == (2, 3)
    assert (begun.last_error, begun.not_before) == ("", None)
    assert begun.stage_deadline_at == at(305)
    assert begun.seen_at == at(4)


def test_between_two_attempts_the_last_touch_is_remembered() -> None:
    lost = told(boot(), EffectKind.POWER_ON, acknowledged_at=None)
    waits = again(lost, "silence", at(50), at(99))
    assert (waits.state, waits.stage, waits.fence) == (OperationState.PENDING, None, 2)
    assert (waits.intent, waits.not_before) == (None, at(99))
    assert last_touch(waits, at(0)) == at(50)
    assert evidence(waits, a_situation(60, seen(50))) is None
    assert evidence(waits, a_situation(60, seen(51))) is not None


def test_pauses_double_up_to_their_bound_with_full_jitter() -> None:
    retries = Retries(attempts_max=9, backoff_min=30, backoff_max=300)
    longest = [backoff_s(attempt, retries, lambda _low, high: high) for attempt in range(1, 7)]
    assert longest == [60, 120, 240, 300, 300, 300]
    assert backoff_s(10**6, retries, lambda low, _high: low) == 30
    odd = Retries(attempts_max=9, backoff_min=60, backoff_max=10)
    assert backoff_s(3, odd, random.Random(1).uniform) == 60


@st.composite
def operations(draw: st.DrawFn) -> Operation:
    verb = draw(st.sampled_from(list(Verb)))
    target = draw(st.sampled_from([OFF, ON, WIPES, a_target(), a_target(method=Method.LOCAL)]))
    stages = stages_of(verb, target)
    operation = an_operation(verb, target, stages=stages, stage=draw(st.sampled_from(stages)))
    kind = draw(st.none() | st.sampled_from(list(EffectKind)))
    if kind is not None:
        operation = told(operation, kind)
        if draw(st.booleans()):
            operation = replace(operation, acknowledged_at=None, effects=0)
    return replace(
        operation,
        stage_deadline_at=at(draw(st.integers(0, 200))),
        failing=draw(st.booleans()),
        tries=draw(st.integers(0, 3)) if kind is not None else 0,
        destroys_data=draw(st.booleans()),
    )


observations = st.none() | st.builds(
    lambda seconds, reading: (
        silent(seconds)
        if reading is None
        else Observation(node="n0", at=at(seconds), reading=reading)
    ),
    st.integers(0, 200),
    st.none()
    | st.builds(
        Reading,
        power=st.sampled_from(list(Power)),
        boot_progress=st.none() | st.sampled_from(list(BootProgress)),
        template_digest=st.sampled_from([None, DIGEST, "e" * 64]),
        last_wipe=st.sampled_from([None, "o1", "o0"]),
        identity=st.sampled_from([SAME, Identity(), Identity(serial="S-other")]),
    ),
)


@given(
    operation=operations(),
    observation=observations,
    now=st.integers(0, 400),
    ours=st.booleans(),
    asked=st.booleans(),
    superseded=st.sampled_from(["", "newer"]),
)
def test_whatever_is_stored_and_seen(
    operation: Operation,
    observation: Observation | None,
    now: int,
    ours: bool,
    asked: bool,
    superseded: str,
) -> None:
    """There is always a decision, and no decision breaks a promise."""
    if not ours:
        superseded = superseded or "vanished"
    situation = a_situation(now, observation, superseded=superseded)
    if not ours:
        situation = replace(situation, node=None, asked=asked)
    decision = decide(operation, situation)
    assert decision == decide(operation, situation)
    if isinstance(decision, Do):
        assert ours, "a node that is not ours is told nothing"
        assert observation is not None
        assert observation.power is not Power.UNKNOWN
        assert observation.age_s(situation.now) <= situation.observation_ttl_s
        assert not operation.failing
        assert observation.reading is not None
        assert observation.reading.identity != Identity(serial="S-other")
        intent = decision.operation.intent
        assert intent is not None
        if intent.kind is EffectKind.WIPE:
            assert observation.power is Power.OFF
            assert observation.reading is not None
            assert observation.reading.identity == SAME
            assert observation.reading.last_wipe != operation.id
        if intent.kind is EffectKind.POWER_ON and operation.intent == intent:
            assert observation.power is Power.OFF, "nothing is repeated that is seen to be so"
    if isinstance(decision, Supersede):
        assert superseded
        given_up = not situation.asked and out_of_time(operation, situation)
        assert probed(operation, situation) or given_up
    if isinstance(decision, Enter | Finish):
        assert evidence(operation, situation) is not None
    if superseded and isinstance(decision, Enter):
        pytest.fail("a superseded operation enters no further stage")


def test_a_wipe_that_switches_the_machine_on_waits_for_a_start_token() -> None:
    both = frozenset({EffectKind.POWER_ON, EffectKind.WIPE})
    later = {"power_on_at": at(60), "powers_on": both}
    assert isinstance(decide(wipe(), a_situation(1, seen(0.5), **later)), Wait)
    done = decide(wipe(), a_situation(61, seen(60.5), **later))
    assert isinstance(done, Do)
    assert done.operation.stage_deadline_at == at(61 + TIMEOUTS.wipe)
    by_itself = decide(wipe(), a_situation(1, seen(0.5), power_on_at=at(60)))
    assert isinstance(by_itself, Do)
    assert by_itself.operation.stage_deadline_at == at(1_000)
