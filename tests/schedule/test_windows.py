"""Time is half-open: a window holds at its start and no more at its end."""

from __future__ import annotations

from datetime import timedelta

import pytest

from metalwright.model.policy import FreezeSpec, Window
from metalwright.model.tenancy import When
from metalwright.schedule.windows import (
    ALWAYS,
    Calendar,
    Phase,
    phase_between,
    phase_of_spans,
    spans_of,
)

from .fleet import T0, hours

TICK = timedelta(microseconds=1)
TWO = ((T0, T0 + hours(2)), (T0 + hours(5), T0 + hours(6)))


@pytest.mark.parametrize(
    ("after", "in_force", "since", "changes"),
    [
        (-TICK, False, None, T0),
        (TICK * 0, True, T0, T0 + hours(2)),
        (hours(2) - TICK, True, T0, T0 + hours(2)),
        (hours(2), False, None, T0 + hours(5)),
        (hours(5) - TICK, False, None, T0 + hours(5)),
        (hours(5), True, T0 + hours(5), T0 + hours(6)),
        (hours(6), False, None, None),
    ],
)
def test_boundaries_of_a_schedule_are_exact(after, in_force, since, changes):
    phase = phase_of_spans(TWO, T0 + after)
    assert (phase.in_force, phase.since, phase.next_change_at) == (in_force, since, changes)
    assert phase.until == (changes if in_force else None)


@pytest.mark.parametrize(
    ("start", "end", "after", "expected"),
    [
        (0, 2, -1, Phase(in_force=False, next_change_at=T0)),
        (
            0,
            2,
            0,
            Phase(in_force=True, since=T0, until=T0 + hours(2), next_change_at=T0 + hours(2)),
        ),
        (0, 2, 2, Phase(in_force=False)),
        (None, 2, -9, Phase(in_force=True, until=T0 + hours(2), next_change_at=T0 + hours(2))),
        (None, 2, 2, Phase(in_force=False)),
        (0, None, 99, Phase(in_force=True, since=T0)),
    ],
)
def test_boundaries_of_a_single_time_are_exact(start, end, after, expected):
    def instant(hour):
        return None if hour is None else T0 + hours(hour)

    assert phase_between(instant(start), instant(end), T0 + hours(after)) == expected


def test_overlapping_windows_are_one_and_touching_ones_stay_two():
    windows = (
        Window(start=T0 + hours(3), duration=3_600),
        Window(start=T0, end=T0 + hours(2)),
        Window(start=T0 + hours(1), end=T0 + hours(3)),
        Window(start=T0 + hours(1), end=T0 + hours(2)),
    )
    assert spans_of(windows) == ((T0, T0 + hours(3)), (T0 + hours(3), T0 + hours(4)))
    second = phase_of_spans(spans_of(windows), T0 + hours(3))
    assert second.since == T0 + hours(3)


def test_a_calendar_reads_assignments_and_freezes_alike():
    calendar = Calendar({"nights": (Window(start=T0, end=T0 + hours(2)),)}, T0 + hours(1))
    night = Phase(in_force=True, since=T0, until=T0 + hours(2), next_change_at=T0 + hours(2))
    assert calendar.assignment(None) == ALWAYS
    assert calendar.assignment(When(schedule="nights")) == night
    assert calendar.assignment(When(start=T0, end=T0 + hours(2))) == night
    assert calendar.freeze(FreezeSpec(reason="r", schedule="nights")) == night
    assert calendar.freeze(FreezeSpec(reason="r", start=T0, until=T0 + hours(2))) == night
    with pytest.raises(KeyError):
        calendar.schedule("days")
