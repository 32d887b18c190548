"""The stage of validation: what ends it, what does not, and what it says when it fails. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from decide_samples import a_situation, an_operation, at
from execute_rig import START, a_target

from metalwright.execute.advance import decide
from metalwright.execute.situation import (
    CHECK_ROUND_S,
    Enter,
    Fail,
    Finish,
    Situation,
    Supersede,
    Wait,
)
from metalwright.execute.validating import SHOWN_MAX
from metalwright.model.checks import Check, Http, Ping, Ssh, Verdict
from metalwright.model.observed import (
    BootProgress,
    ErrorKind,
    Identity,
    Observation,
    ObservationError,
    Power,
    Reading,
)
from metalwright.model.operation import Effect, EffectKind, Operation, Stage
from metalwright.model.policy import StageTimeouts
from metalwright.model.template import Method

PING, SSH = Check(name="ping", ping=Ping()), Check(name="ssh", ssh=Ssh())
STAGES = (Stage.POWER_OFF, Stage.BOOT, Stage.VALIDATING)
UP: dict[str, Any] = {
    "power": Power.ON,
    "boot_progress": BootProgress.OS_RUNNING,
    "template_digest": "d" * 64,
    "identity": Identity(serial="S-n0"),
}


def validating(**changes: Any) -> Operation:
    """An operation that was told to power on at second 10, and is validated from second 60 on."""
    values: dict[str, Any] = {
        "target": a_target(),
        "stages": STAGES,
        "stage": Stage.VALIDATING,
        "intent_at": at(10),
        "acknowledged_at": at(11),
        "seen_at": at(59),
        "entered_at": at(60),
        "stage_deadline_at": at(160),
    }
    return an_operation(**(values | changes))


def situation(now: float, *, seen_at: float | None = None, **changes: Any) -> Situation:
    reading = Reading(**(UP | changes.pop("reading", {})))
    when = at(now - 1 if seen_at is None else seen_at)
    values: dict[str, Any] = {"timeouts": StageTimeouts(validate=100), "checks": (PING, SSH)}
    observation = Observation(node="n0", at=when, reading=reading)
    return a_situation(now, **({"observation": observation} | values | changes))


def heard(seconds: float, **said: str) -> dict[str, Verdict]:
    """Verdicts of this second; an empty word is a pass."""
    return {
        name: Verdict(at=at(seconds), passed=not word, message=word) for name, word in said.items()
    }


def test_a_machine_that_booted_is_validated_with_a_deadline_of_its_own() -> None:
    booting = validating(
        stage=Stage.BOOT,
        intent=Effect(kind=EffectKind.POWER_ON, operation_id="o1"),
        entered_at=at(9),
        effects=2,
    )
    decision = decide(booting, situation(60, checks=()))
    assert isinstance(decision, Enter)
    assert decision.operation.stage is Stage.VALIDATING
    assert decision.operation.entered_at == at(60)
    assert decision.operation.stage_deadline_at == at(160)
    assert decision.operation.intent is None


def test_it_is_done_when_every_check_has_passed() -> None:
    now = situation(70, verdicts=heard(65, ping="", ssh=""))
    assert decide(validating(), now) == Finish()


@pytest.mark.parametrize(
    ("verdicts", "why"),
    [
        ({}, "ping: no result yet; ssh: no result yet"),
        (heard(65, ping=""), "ssh: no result yet"),
        (heard(65, ping="", ssh="connection refused"), "ssh: connection refused"),
        (heard(59.9, ping="", ssh=""), "ping: no result yet; ssh: no result yet"),
        (heard(59.9, ping="") | heard(60, ssh=""), "ping: no result yet"),
        (heard(65, http=""), "ping: no result yet; ssh: no result yet"),
    ],
)
def test_nothing_but_a_pass_of_each_check_since_the_stage_began_will_do(
    verdicts: dict[str, Verdict], why: str
) -> None:
    assert decide(validating(), situation(70, verdicts=verdicts)) == Wait(why=why, until=at(160))


@pytest.mark.parametrize(
    "reading",
    [
        {"power": Power.OFF, "boot_progress": BootProgress.NONE, "template_digest": None},
        {"template_digest": "e" * 64},
        {"boot_progress": BootProgress.OS_BOOT_STARTED, "template_digest": None},
    ],
    ids=["off", "another template", "boots again"],
)
def test_a_machine_that_does_not_run_what_it_should_has_not_passed(reading: dict[str, Any]) -> None:
    passed = heard(65, ping="", ssh="")
    assert isinstance(decide(validating(), situation(70, verdicts=passed, reading=reading)), Wait)
    late = decide(validating(), situation(160, verdicts=passed, reading=reading))
    assert isinstance(late, Fail)
    assert late.error.startswith("validating: not done in time (the power is o")


def test_a_bmc_that_is_silent_proves_nothing_about_the_machine() -> None:
    passed = heard(65, ping="", ssh="")
    old = situation(200, seen_at=70, verdicts=passed)
    assert isinstance(decide(validating(stage_deadline_at=at(300)), old), Wait)
    error = ObservationError(kind=ErrorKind.TIMEOUT, message="no answer")
    silent = situation(160, observation=Observation(node="n0", at=at(159), error=error))
    decision = decide(validating(), replace(silent, verdicts=passed))
    assert isinstance(decision, Fail)
    assert decision.error == "validating: not done in time (not observed: no answer)"


def test_the_attempt_fails_with_the_words_of_the_checks() -> None:
    said = heard(150, ping="no answer from 10.0.0.7", ssh="connection refused")
    decision = decide(validating(), situation(160, verdicts=said))
    assert decision == Fail(
        error="validating: ping: no answer from 10.0.0.7; ssh: connection refused", probed=True
    )


def test_an_error_has_the_words_of_a_few_checks_only() -> None:
    checks = tuple(Check(name=f"c{number}", http=Http()) for number in range(SHOWN_MAX + 2))
    decision = decide(validating(), situation(160, checks=checks))
    assert isinstance(decision, Fail)
    assert decision.error.endswith("; c4: no result yet; 2 more")


def test_a_pass_that_comes_with_the_deadline_still_counts() -> None:
    now = situation(160, verdicts=heard(159, ping="", ssh=""))
    assert decide(validating(), now) == Finish()


def test_without_checks_that_were_there_when_it_began_it_is_done() -> None:
    assert decide(validating(), situation(70, checks=())) == Finish()


def test_a_newer_commit_ends_it_at_once() -> None:
    assert decide(validating(), situation(70, superseded="newer")) == Supersede(why="newer")
    passed = situation(70, superseded="newer", verdicts=heard(65, ping="", ssh=""))
    assert decide(validating(), passed) == Finish()


def test_after_a_restart_past_the_deadline_each_check_is_made_once() -> None:
    """The daemon was down from second 70 to 500."""
    operation, restarted = validating(), {"started_at": at(500)}
    until = at(500 + PING.timeout + CHECK_ROUND_S)
    waits = decide(operation, situation(502, **restarted))
    assert waits == Wait(why="ping: no result yet; ssh: no result yet", until=until)
    passed = heard(505, ping="", ssh="")
    assert decide(operation, situation(506, **restarted, verdicts=passed)) == Finish()
    late = situation((until - START).total_seconds(), **restarted)
    assert isinstance(decide(operation, late), Fail)


def test_an_installed_machine_has_to_say_what_it_runs() -> None:
    installs = validating(
        target=a_target(method=Method.DISK),
        stages=(Stage.POWER_OFF, Stage.BOOT, Stage.INSTALLING, Stage.VALIDATING),
    )
    passed = heard(65, ping="", ssh="")
    mute = {"template_digest": None}
    assert isinstance(decide(installs, situation(70, verdicts=passed, reading=mute)), Wait)
    assert decide(installs, situation(70, verdicts=passed)) == Finish()
