"""What is known of a machine that only its own reports tell of, and for how long."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from metalwright.model.boots import Heard
from metalwright.model.desired import Target
from metalwright.model.inventory import ResolvedTemplate
from metalwright.model.observed import BootProgress, Observation, Power, Reading
from metalwright.model.overlay import overlaid
from metalwright.model.report import Phase, Report
from metalwright.model.template import Method
from metalwright.model.tenancy import PowerState
from metalwright.model.waking import BEAT_S, REPORT_LIFE_S, TOKEN_REST_S, may_wake

NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)
SAYS = Heard(
    report=Report(node="n1", at=NOW, boot_id="b", phase=Phase.RUNNING, template_digest="d" * 64)
)


def seen(seconds: float, **reading: object) -> Observation:
    values = {"wakes": True} | reading
    return Observation(
        node="n1",
        at=NOW + timedelta(seconds=seconds),
        reading=Reading(**values),  # type: ignore[arg-type]
    )


def test_a_report_is_good_for_a_few_of_its_intervals() -> None:
    assert 3 * BEAT_S <= REPORT_LIFE_S < TOKEN_REST_S


@pytest.mark.parametrize(("seconds", "power"), [
    (1, Power.ON), (REPORT_LIFE_S, Power.ON), (REPORT_LIFE_S + 1, Power.UNKNOWN)
])  # fmt: skip
def test_a_fresh_report_says_on_and_an_old_one_nothing(seconds: float, power: Power) -> None:
    assert overlaid(seen(seconds), SAYS, None).power is power


def test_who_never_reported_or_was_served_anew_is_unknown() -> None:
    assert overlaid(seen(1), None, None).power is Power.UNKNOWN
    assert overlaid(seen(1), replace(SAYS, live=False), None).power is Power.UNKNOWN


def test_where_a_driver_should_know_a_report_does_not_tell_the_power() -> None:
    made = overlaid(seen(1, wakes=False), SAYS, None)
    assert made.power is Power.UNKNOWN
    assert made.reading is not None
    assert made.reading.boot_progress is BootProgress.OS_RUNNING


def test_what_may_be_woken() -> None:
    template = ResolvedTemplate(
        name="t", chain=("t",), method=Method.NETBOOT, phone_home=True, digest="d" * 64
    )
    target = Target(power=PowerState.ON, template=template, digest="d" * 64)
    reading = Reading(wakes=True)
    assert may_wake(reading, target, destroys=False)
    assert not may_wake(reading, target, destroys=True)
    assert not may_wake(None, target, destroys=False)
    assert not may_wake(Reading(), target, destroys=False)
    for power in (Power.ON, Power.OFF):
        assert not may_wake(replace(reading, power=power), target, destroys=False)
    mute = replace(target, template=replace(template, phone_home=False))
    assert not may_wake(reading, mute, destroys=False)
    assert not may_wake(reading, replace(target, template=None), destroys=False)
