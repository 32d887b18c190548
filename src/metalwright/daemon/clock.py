"""The two clocks: the wall's, which calendars are about, and a steady one, for what is awaited.

Somebody may set the wall clock at any time: by hand, by NTP after a boot without a network, by a
hypervisor that resumes a machine. Deadlines, back-offs, the age of an observation and start rates
are therefore measured with a clock that only goes forward, at very nearly one second per second.
What decides by time is given one of these functions, or a simulated one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

SLEW: Final = 0.1
"""The share of the time that passed by which the steady clock is moved towards the wall's."""

JUMP_S: Final = 5.0
"""Seconds by which the two drift apart from one reading to the next before it is called a jump."""

LEAD_MAX: Final = timedelta(days=1)
"""How far before the wall a clock goes on from where an earlier process was. One that was years
ahead (a dead battery) is not followed: what it wrote down of operations is moved back instead
(`Store.bring_back`), its holds and pauses of other kinds are over when they say.
"""


def system_clock() -> datetime:
    """The present instant by the wall clock, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockJump:
    """The wall clock was set, or the machine was suspended: by how much, and what it says now."""

    by: timedelta
    wall: datetime

    def __str__(self) -> str:
        way = "forward" if self.by > timedelta(0) else "back"
        return f"the wall clock was set {way} by {abs(self.by.total_seconds()):.0f} s"


class SteadyClock:
    """Starts at the wall's time and follows `monotonic`, slewed towards the wall.

    It never goes back, and while `elapsed` seconds pass on `monotonic` it moves by `elapsed` times
    `1 - slew` at least and `1 + slew` at most, whatever the wall does. So a clock that is set by
    two hours is followed within twenty, and no deadline comes more than a tenth early.

    `told` is called once for each jump of the wall by more than `jump_s`, from the thread that read
    the clock. Any thread may read it.
    """

    def __init__(
        self,
        wall: Callable[[], datetime] = system_clock,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        slew: float = SLEW,
        jump_s: float = JUMP_S,
        told: Callable[[ClockJump], None] | None = None,
    ) -> None:
        """Raises ValueError for a `slew` that is not from 0 to below 1."""
        if not 0 <= slew < 1:
            raise ValueError(f"slew should be from 0 to below 1, not {slew}")
        self._wall, self._monotonic, self._told = wall, monotonic, told
        self._slew, self._jump = slew, timedelta(seconds=jump_s)
        self._lock = threading.Lock()
        self._read_at = monotonic()
        self._now = wall()
        self._ahead = timedelta(0)  # of the wall, at the last reading: negative where we are ahead

    def go_on_from(self, reached: datetime) -> None:
        """Begin no earlier than where an earlier process was, unless that is absurd.

        After the wall was set back between two processes, what the first wrote down would else lie
        in the future: its last effects could not be told from later ones, its pauses not end.
        """
        with self._lock:
            lead = reached - self._now
            if not timedelta(0) < lead <= LEAD_MAX:
                return
            self._now, self._ahead = reached, self._ahead - lead
            wall = reached - lead
        if lead > self._jump and self._told is not None:
            self._told(ClockJump(by=-lead, wall=wall))

    def __call__(self) -> datetime:
        """The present instant, in UTC: never before one that was read already."""
        with self._lock:
            read_at, wall = self._monotonic(), self._wall()
            elapsed = timedelta(seconds=max(0.0, read_at - self._read_at))
            self._read_at = max(read_at, self._read_at)
            followed = self._now + elapsed
            apart = wall - followed
            by = apart - self._ahead
            reach = elapsed * self._slew
            self._now = followed + max(-reach, min(reach, apart))
            self._ahead = wall - self._now
            now = self._now
        if abs(by) > self._jump and self._told is not None:
            self._told(ClockJump(by=by, wall=wall))
        return now
