"""What goes wrong around the daemon: BMCs, the store, the clock, the daemon itself."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from sim_room import Fault, MachineRoom
from sim_scenario import Event
from sim_time import Scheduler, VirtualClock

from metalwright.model.observed import Power


class Daemons(Protocol):
    """The daemons of a run, as far as something can happen to them."""

    def crash(self, down_s: float) -> None:
        """Kill the one that drives; another is started after a while."""

    def stall(self, taken_over_s: float, wakes_s: float) -> None:
        """Let the one that drives stand still; another takes over."""

    def clock_was_set(self) -> None:
        """The wall clock shows another time."""

    def second(self) -> None:
        """Start another one beside it."""


class Trouble:
    """Lets things go wrong. `counts` has how often each kind happened."""

    def __init__(
        self,
        room: MachineRoom,
        time: Scheduler,
        clock: VirtualClock,
        daemons: Daemons,
        counts: Counter[str],
    ) -> None:
        self._room, self._time, self._clock = room, time, clock
        self._daemons, self._counts = daemons, counts
        self._store_faults: list[dict[str, Any]] = []
        self._kinds: dict[str, Callable[[Event], None]] = {
            "fault": self._fault,
            "crash": lambda event: daemons.crash(event.what["down_s"]),
            "store": lambda event: self._store_faults.append(dict(event.what)),
            "clock": self._set_clock,
            "press": self._press,
            "second daemon": lambda _event: daemons.second(),
            "stalled daemon": lambda event: daemons.stall(**event.what),
            "partial sweep": self._partial_sweep,
        }

    def happen(self, event: Event) -> bool:
        """Let it go wrong; false when this is not trouble."""
        act = self._kinds.get(event.kind)
        if act is None:
            return False
        act(event)
        return True

    def _fault(self, event: Event) -> None:
        what, machine = event.what, self._room.machines.get(event.what["node"])
        self._counts["fault"] -= 1  # it counts when it is met
        if machine is not None:
            end_s = event.at_s + what["for_s"]
            fault = Fault(node=what["node"], kind=what["fault"], begin_s=event.at_s, end_s=end_s)
            machine.faults.append(fault)
            machine.was_sick = True
            self._time.at(end_s, lambda: machine.faults.remove(fault))

    def _set_clock(self, event: Event) -> None:
        self._clock.offset_s += event.what["by_s"]
        self._daemons.clock_was_set()

    def _press(self, event: Event) -> None:
        if event.what["node"] in self._room.machines:
            self._room.press(event.what["node"], Power(event.what["power"]))

    def _partial_sweep(self, event: Event) -> None:
        """A part of the nodes is not asked for a while."""
        dice = random.Random(str(event.at_s))
        some = [name for name in self._room.machines if dice.random() < event.what["share"]]
        self._room.leave_unasked(some, self._time.now_s + event.what["for_s"])

    def store_fault(self, where: str) -> str:
        """The disk is full at some statement, or fails at a commit; for as often as was drawn."""
        if not self._store_faults:
            return ""
        fault = self._store_faults[0]
        at = {"disk full": "statement", "commit fails": "commit", "commit in doubt": "done"}
        if at[fault["fault"]] != where:
            return ""
        fault["after"] -= 1
        if fault["after"] > 0:
            return ""
        fault["times"] -= 1
        if fault["times"] <= 0:
            self._store_faults.pop(0)
        self._counts[fault["fault"]] += 1
        return "database or disk is full"
