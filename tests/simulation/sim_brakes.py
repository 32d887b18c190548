"""Books of the brakes: holds, quarantine, cancellations; and of who may drive."""

from __future__ import annotations

from sim_record import Book, Known, Moment
from sim_room import CallLog


class BrakeBooks(Book):
    """Nothing begins on a node that is held or in quarantine, and what was cancelled stays ended.

    Holds in git are read from the model, the others from the journal's lines, in their order.
    """

    def __init__(self) -> None:
        self._held: set[str] = set()
        self._quarantined: set[str] = set()
        self._asked: set[str] = set()  # nodes whose operation somebody cancels
        self._cancelled: dict[str, str] = {}  # what git wanted then

    def line(self, node: str, event: str, detail: str, moment: Moment) -> None:
        """Brakes are put on and taken off."""
        if event == "hold":
            (self._held.add if detail.startswith("by ") else self._held.discard)(node)
        elif event == "quarantined":
            self._quarantined.add(node)
        elif event == "resumed":
            self._held.discard(node)
            self._quarantined.discard(node)
        elif event == "cancel":
            self._asked.add(node)
        elif event == "adopted" or (event == "retry" and detail.startswith("asked for by")):
            self._cancelled.pop(node, None)

    def created(self, known: Known, moment: Moment) -> None:
        """An operation is made only where no brake is on."""
        if moment.model.get(f"hold/{known.node}"):
            self.broken("nothing begins under a brake", f"{known.node}: made, held in git")
        if known.node in self._quarantined:
            self.broken("nothing begins under a brake", f"{known.node}: made in quarantine")
        if self._cancelled.get(known.node) == known.want:
            self.broken("what was cancelled stays ended", f"{known.node}: {known.verb} again")

    def admitted(self, known: Known, moment: Moment) -> None:
        """An attempt begins only where no brake is on."""
        braked = known.node in self._held or known.node in self._quarantined
        if braked or moment.model.get(f"hold/{known.node}"):
            self.broken("nothing begins under a brake", f"{known.node}: {known.verb} begun")
        if known.node in self._asked:
            self.broken("what was cancelled stays ended", f"{known.node}: {known.verb} begun")

    def ended(self, known: Known, event: str, moment: Moment) -> None:
        """What was cancelled needs somebody to ask for it."""
        if known.node in self._asked:
            self._asked.discard(known.node)
            if event == "cancelled":
                self._cancelled[known.node] = known.want
        if event == "active":
            self._cancelled.pop(known.node, None)


class RightBooks(Book):
    """A daemon that another one has taken over from tells no machine anything."""

    def __init__(self) -> None:
        self.process = 0

    def called(self, known: Known, log: CallLog) -> None:
        """A driver is called: only by the newest process."""
        if log.process < self.process:
            said = f"{log.node}: {log.effect.kind} by daemon {log.process}, not {self.process}"
            self.broken("a former daemon does nothing", said)
