"""How often a node is asked, as a table and as properties."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metalwright.errors import (
    CredentialsError,
    DriverError,
    PermanentError,
    SettingsError,
    TemporaryError,
)
from metalwright.model.observed import ErrorKind
from metalwright.observe.pace import SweepSettings, due_at, error_of, first_pause_s, pause_s

NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)
SETTINGS = SweepSettings()
DICE = st.floats(0, 1, exclude_max=True)
BACKING_OFF = st.sampled_from([ErrorKind.TIMEOUT, ErrorKind.TEMPORARY, ErrorKind.PERMANENT])


@settings(deadline=None)
@given(st.integers(1, 10_000), BACKING_OFF, DICE)
def test_a_backoff_stays_within_its_bounds(failures: int, kind: ErrorKind, dice: float) -> None:
    pause = pause_s(SETTINGS, failures, kind, dice)
    assert SETTINGS.backoff_min_s <= pause <= SETTINGS.backoff_max_s
    assert pause <= SETTINGS.backoff_min_s * 2 ** min(failures, 30)


@settings(deadline=None)
@given(st.integers(1, 100), BACKING_OFF, DICE)
def test_one_failure_more_never_shortens_the_pause(
    failures: int, kind: ErrorKind, dice: float
) -> None:
    assert pause_s(SETTINGS, failures, kind, dice) <= pause_s(SETTINGS, failures + 1, kind, dice)


def test_the_jitter_is_full_above_the_floor() -> None:
    assert pause_s(SETTINGS, 3, ErrorKind.TIMEOUT, 0.0) == 5.0
    assert pause_s(SETTINGS, 3, ErrorKind.TIMEOUT, 0.5) == 22.5
    assert pause_s(SETTINGS, 3, ErrorKind.TIMEOUT, 0.999999) == pytest.approx(40.0, rel=1e-3)


@settings(deadline=None)
@given(st.integers(0, 100), DICE)
def test_refused_credentials_are_never_presented_early(failures: int, dice: float) -> None:
    assert pause_s(SETTINGS, failures, ErrorKind.CREDENTIALS, dice) == SETTINGS.credentials_retry_s
    due = due_at(SETTINGS, NOW, SETTINGS.credentials_retry_s, ErrorKind.CREDENTIALS, busy=True)
    assert due == NOW + timedelta(seconds=SETTINGS.credentials_retry_s)


@settings(deadline=None)
@given(DICE)
def test_a_healthy_node_is_never_asked_later_than_its_interval(dice: float) -> None:
    pause = pause_s(SETTINGS, 0, None, dice)
    assert SETTINGS.interval_s * (1 - SETTINGS.jitter) <= pause <= SETTINGS.interval_s


def test_the_first_round_spreads_the_nodes_evenly() -> None:
    quarters = [0, 0, 0, 0]
    for number in range(10_000):
        pause = first_pause_s(SETTINGS, f"r640-{number}")
        assert 0 < pause <= SETTINGS.interval_s
        quarters[min(3, int(pause / SETTINGS.interval_s * 4))] += 1
    assert min(quarters) > 2_200, quarters


@pytest.mark.parametrize(
    ("pause", "kind", "expected_s"),
    [
        (15.0, None, 1.0),
        (0.5, None, 0.5),
        (300.0, ErrorKind.TIMEOUT, 15.0),
        (300.0, ErrorKind.PERMANENT, 15.0),
        (6.0, ErrorKind.TEMPORARY, 6.0),
    ],
)
def test_an_operation_shortens_the_pause(
    pause: float, kind: ErrorKind | None, expected_s: float
) -> None:
    assert due_at(SETTINGS, NOW, pause, kind, busy=True) == NOW + timedelta(seconds=expected_s)
    assert due_at(SETTINGS, NOW, pause, kind, busy=False) == NOW + timedelta(seconds=pause)


def _timed_out() -> TemporaryError:
    error = TemporaryError("no answer within 8 s")
    error.__cause__ = TimeoutError()
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (_timed_out(), ErrorKind.TIMEOUT),
        (TemporaryError("busy"), ErrorKind.TEMPORARY),
        (PermanentError("unsupported"), ErrorKind.PERMANENT),
        (CredentialsError("refused"), ErrorKind.CREDENTIALS),
        (DriverError("something"), ErrorKind.PERMANENT),
        (SettingsError("no secret bmc/all"), ErrorKind.PERMANENT),
    ],
)
def test_an_error_of_ours_is_told_in_its_words(error: Exception, kind: ErrorKind) -> None:
    told = error_of(error)
    assert (told.kind, told.message) == (kind, str(error))


def test_a_mistake_in_a_driver_is_told_by_type_and_place_and_nothing_else() -> None:
    try:
        int("hunter2")
    except ValueError as error:
        told = error_of(error)
    assert told.kind is ErrorKind.PERMANENT
    assert told.message.startswith("a mistake in the driver: ValueError at test_pace.py:")
    assert "hunter2" not in told.message
    assert error_of(SystemExit(3)).message == "a mistake in the driver: SystemExit"


@pytest.mark.parametrize(
    "wrong",
    [
        {"interval_s": 0},
        {"in_flight_max": 0},
        {"timeout_s": -1},
        {"jitter": 1.0},
        {"jitter": -0.1},
        {"backoff_min_s": 400},
        {"tick_gap_s": 0},
    ],
)
def test_limits_that_cannot_hold_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError):
        SweepSettings(**wrong)


@pytest.mark.parametrize(("room", "failing", "busy"), [(32, 8, 16), (4, 1, 2), (1, 1, 1)])
def test_the_lanes_leave_room_for_the_healthy(room: int, failing: int, busy: int) -> None:
    settings = SweepSettings(in_flight_max=room)
    assert (settings.failing_in_flight_max, settings.busy_in_flight_max) == (failing, busy)
