"""Half-open time: which window is in force at an instant, since when, and when that changes next.

Everything is an instant in UTC, so no time zone and no daylight saving is left to think of here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from metalwright.model.policy import FreezeSpec, Window
from metalwright.model.tenancy import When

Span = tuple[datetime, datetime]
"""[start, end)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Whether a time is in force at an instant, since when and until when.

    `next_change_at` is the next instant at which any of this is something else, `None` for never.
    """

    in_force: bool
    since: datetime | None = None
    until: datetime | None = None
    next_change_at: datetime | None = None


ALWAYS = Phase(in_force=True)


def spans_of(windows: Sequence[Window]) -> tuple[Span, ...]:
    """The windows in order of time, overlapping ones as one.

    Windows that only touch stay two: the end of one is the boundary to the next.
    """
    spans: list[Span] = []
    for start, end in sorted((window.start, _end(window)) for window in windows):
        if spans and start < spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
        else:
            spans.append((start, end))
    return tuple(spans)


def _end(window: Window) -> datetime:
    if window.end is not None:
        return window.end
    assert window.duration is not None, "a window has an end or a duration"
    return window.start + timedelta(seconds=window.duration)


def phase_of_spans(spans: Sequence[Span], at: datetime) -> Phase:
    """The phase of a schedule with these spans, which are in order and do not overlap."""
    for start, end in spans:
        if at < start:
            return Phase(in_force=False, next_change_at=start)
        if at < end:
            return Phase(in_force=True, since=start, until=end, next_change_at=end)
    return Phase(in_force=False)


def phase_between(start: datetime | None, end: datetime | None, at: datetime) -> Phase:
    """The phase of the single time [start, end); what is not given has no bound."""
    if start is not None and at < start:
        return Phase(in_force=False, next_change_at=start)
    if end is not None and at >= end:
        return Phase(in_force=False)
    return Phase(in_force=True, since=start, until=end, next_change_at=end)


class Calendar:
    """The phases of an inventory's schedules at one instant, each worked out once."""

    def __init__(self, windows: Mapping[str, Sequence[Window]], at: datetime) -> None:
        self.at, self._windows, self._phases = at, windows, dict[str, Phase]()

    def schedule(self, name: str) -> Phase:
        """The phase of a schedule. Raises KeyError for one that the inventory does not declare."""
        found = self._phases.get(name)
        if found is None:
            found = phase_of_spans(spans_of(self._windows[name]), self.at)
            self._phases[name] = found
        return found

    def assignment(self, when: When | None) -> Phase:
        """The phase of an assignment; one without a time is always in force."""
        if when is None:
            return ALWAYS
        if when.schedule is not None:
            return self.schedule(when.schedule)
        return phase_between(when.start, when.end, self.at)

    def freeze(self, spec: FreezeSpec) -> Phase:
        """The phase of a freeze."""
        if spec.schedule is not None:
            return self.schedule(spec.schedule)
        return phase_between(spec.start, spec.until, self.at)
