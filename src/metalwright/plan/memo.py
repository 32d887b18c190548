"""What was found of each node last time, so that a plan decides anew only what has changed.

A cache and nothing else: a plan with a memo equals the plan without, and whoever doubts one drops
it. Values are told apart by identity, which is safe because none of them ever changes in place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from heapq import heapify, heappop, heappush
from typing import Final, Generic, TypeVar

from metalwright.model.natural import natural
from metalwright.model.plan import Action, Blocked, InProgress
from metalwright.model.waiting import Waiting
from metalwright.plan.beside import Lines
from metalwright.plan.context import Ground
from metalwright.plan.decide import AS_DESIRED, Found
from metalwright.plan.delta import changed
from metalwright.plan.order import Forecaster
from metalwright.plan.radius import Books
from metalwright.plan.standing import Standing

Decide = Callable[[str], Found]
V = TypeVar("V")

DUES_SHARE: Final = 4
"""Instants kept for each node of the fleet on average, before those that are void are dropped."""


class Memo:
    """Kept by whoever plans again and again for one fleet. One thread at a time.

    It holds as much as the fleet is large: what was found last, and the values that it was found
    from.
    """

    def __init__(self) -> None:
        self.forecaster, self.books = Forecaster(), Books()
        self._ground: Ground | None = None
        self._forget()

    def _forget(self) -> None:
        self._found: dict[str, Found] = {}
        self._names: list[str] = []
        self._due: list[tuple[datetime, str]] = []
        self._actions, self._progress = _Kind[Action](), _Kind[InProgress]()
        self._blocked, self._staged = _Kind[Blocked](), _Kind[Standing]()
        self._waiting, self._holds = _Kind[Waiting](), _Kind[bool]()

    def look(self, ground: Ground, names: Collection[str], decide: Decide) -> Lines:
        """What is found of these nodes now, sorted by kind, in the natural order of names.

        Anew are decided those for which git, hardware or memory has another value than last time,
        and those whose time has come; all of them after a commit, with other drivers, and when the
        clock was set back.
        """
        before, self._ground = self._ground, None  # nothing is trusted after an exception
        outdated: Iterable[str] = names
        if before is not None and _comparable(before, ground):
            outdated = self._outdated(before, ground)
        else:
            self._forget()
        if before is None or before.desired.nodes is not ground.desired.nodes or not self._names:
            self._names = sorted(names, key=natural)
        for name in outdated:
            self._note(name, decide(name) if name in names else AS_DESIRED)
        self._ground = ground
        return self._lines()

    def _outdated(self, before: Ground, now: Ground) -> set[str]:
        due, at, found = self._due, now.desired.at, self._found
        if len(due) > DUES_SHARE * len(self._names):
            due[:] = [(one.until, name) for name, one in found.items() if one.until is not None]
            heapify(due)
        outdated = set()
        while due and due[0][0] <= at:
            until, name = heappop(due)
            if name in found and found[name].until == until:
                outdated.add(name)
        outdated |= changed(before.desired.nodes, now.desired.nodes)
        outdated |= changed(before.observed.nodes, now.observed.nodes)
        outdated |= changed(before.memory.nodes, now.memory.nodes)
        return outdated

    def _note(self, name: str, one: Found) -> None:
        """Replace what was found of one node."""
        if one is AS_DESIRED:
            if self._found.pop(name, None) is None:
                return
        else:
            self._found[name] = one
        if one.until is not None:
            heappush(self._due, (one.until, name))
        line = one.line
        self._actions.put(name, line if isinstance(line, Action) else None)
        self._progress.put(name, line if isinstance(line, InProgress) else None)
        self._blocked.put(name, line if isinstance(line, Blocked) else None)
        self._staged.put(name, one.standing)
        self._waiting.put(name, one.waiting)
        self._holds.put(name, one.hold_in_git or None)

    def _lines(self) -> Lines:
        names = self._names
        return Lines(
            actions=list(self._actions.ordered(names).values()),
            progress=list(self._progress.ordered(names).values()),
            blocked=list(self._blocked.ordered(names).values()),
            staged=dict(self._staged.ordered(names)),
            waiting=list(self._waiting.ordered(names).values()),
            holds_in_git=list(self._holds.ordered(names)),
        )


class _Kind(Generic[V]):
    """The values of one kind by node."""

    def __init__(self) -> None:
        self._values: dict[str, V] = {}
        self._in_order = True

    def put(self, name: str, value: V | None) -> None:
        """Set the value of a node; `None` when it has none."""
        if value is None:
            self._values.pop(name, None)
            return
        if name not in self._values:
            self._in_order = False
        self._values[name] = value

    def ordered(self, names: Iterable[str]) -> dict[str, V]:
        """The values in the order of these names, which are all that have one."""
        if not self._in_order:
            values = self._values
            self._values = {name: values[name] for name in names if name in values}
            self._in_order = True
        return self._values


def _comparable(before: Ground, now: Ground) -> bool:
    """Whether nothing that concerns every node is another than before."""
    return (
        before.desired.inventory is now.desired.inventory
        and before.context == now.context
        and before.desired.at <= now.desired.at
    )
