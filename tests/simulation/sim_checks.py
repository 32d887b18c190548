"""Books of validation: no operation ends well before its machine has passed every check since."""

from __future__ import annotations

from sim_inventory import CHECKED, CHECKS
from sim_record import Book, Known, Moment
from sim_room import MachineRoom

_BOOTS = frozenset({"deploy", "rebuild", "reboot"})


class CheckBooks(Book):
    """What the machines truly answered, against what the journal says of their operations."""

    def __init__(self, room: MachineRoom) -> None:
        self._room = room
        self._entered_s: dict[str, float] = {}

    def line(self, node: str, event: str, detail: str, moment: Moment) -> None:
        """A machine is validated from this line on, or its attempt is over."""
        if event == "stage" and detail.startswith("entered validating"):
            self._entered_s[node] = self.now_s()
            self._room.met["validated"] += 1
        elif event in ("admitted", "retry", "created"):
            self._entered_s.pop(node, None)

    def ended(self, known: Known, event: str, moment: Moment) -> None:
        """It is over; where it ended well, each check was passed in the stage."""
        since_s = self._entered_s.pop(known.node, None)
        if event != "active" or known.template not in CHECKED or known.verb not in _BOOTS:
            return
        if since_s is None:
            self.broken("what boots is validated", f"{known.node}: {known.verb} was not")
            return
        tries = self._room.machines[known.node].checked
        passed = {each.name for each in tries if each.passed and each.begun_s >= since_s}
        lacks = sorted(set(CHECKS) - passed)
        if lacks:
            self.broken("what is active has passed its checks", f"{known.node}: not {lacks}")
