"""Who may use a worker now: one call per BMC, and no sort of call may take all workers.

A dead BMC holds a worker for seconds, a healthy one for a fraction. So observing leaves some
workers to changes, changes leave one to observing, and BMCs that were silent when last asked
(suspects) share a part of the workers: however many are dead, the healthy are served. Nothing here
speaks to a BMC.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from enum import StrEnum

WORKERS_MIN = 3
"""Fewer cannot be divided between observing, changes and suspects."""

WAITING_MAX = 1_024
"""Calls that may wait at once; each holds a thread of its caller."""

SUSPECTS_MAX = 20_000


class Lane(StrEnum):
    """What a call is for."""

    OBSERVE = "observe"
    CHANGE = "change"


@dataclass(eq=False, slots=True)
class Ticket:
    """One call that waits or runs."""

    bmc: str
    lane: Lane
    suspect: bool
    admitted: threading.Event = field(default_factory=threading.Event)


class Admission:
    """Hands out up to `workers_max` tickets, first come, first served among those that fit."""

    def __init__(self, workers_max: int) -> None:
        if workers_max < WORKERS_MIN:
            raise ValueError(f"workers_max should be {WORKERS_MIN} at least, not {workers_max}")
        self.workers_max = workers_max
        self.lane_max = {
            Lane.OBSERVE: workers_max - max(1, workers_max // 4),
            Lane.CHANGE: workers_max - 1,
        }
        self.suspects_max = workers_max // 2
        self._lock = threading.Lock()
        self._running: list[Ticket] = []
        self._waiting: list[Ticket] = []
        self._suspects: dict[str, None] = {}
        self._closed = False

    def enter(self, bmc: str, lane: Lane, timeout_s: float) -> Ticket | None:
        """A ticket within `timeout_s`, or `None`; it must be given back with `leave`."""
        with self._lock:
            if self._closed or len(self._waiting) >= WAITING_MAX:
                return None
            ticket = Ticket(bmc, lane, bmc in self._suspects)
            self._waiting.append(ticket)
            self._admit()
        ticket.admitted.wait(timeout_s)
        with self._lock:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
                return None
            return ticket if ticket in self._running else None

    def leave(self, ticket: Ticket, *, slow: bool) -> None:
        """The call has ended; `slow` when it took so long that its BMC is a suspect from now on."""
        with self._lock:
            self._running.remove(ticket)
            self._suspects.pop(ticket.bmc, None)
            if slow:
                self._suspects[ticket.bmc] = None
            if len(self._suspects) > SUSPECTS_MAX:
                del self._suspects[next(iter(self._suspects))]
            self._admit()

    def close(self) -> None:
        """Admit nobody any more; those who wait are sent away."""
        with self._lock:
            self._closed = True
            waiting, self._waiting = self._waiting, []
        for ticket in waiting:
            ticket.admitted.set()

    def _admit(self) -> None:
        for ticket in list(self._waiting):
            if self._fits(ticket):
                self._waiting.remove(ticket)
                self._running.append(ticket)
                ticket.admitted.set()

    def _fits(self, ticket: Ticket) -> bool:
        running = self._running
        if len(running) >= self.workers_max or any(each.bmc == ticket.bmc for each in running):
            return False
        if ticket.suspect and sum(each.suspect for each in running) >= self.suspects_max:
            return False
        same = sum(each.lane is ticket.lane for each in running)
        return same < self.lane_max[ticket.lane]
