"""The nodes whose lines `check` found in order last time, so that only others are looked at again.

A verdict holds for the same objects, under the same commit and context. Nothing is remembered of
what broke a promise, and of what time alone can change: that is looked at anew each time.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from metalwright.plan.context import Ground
from metalwright.plan.delta import changed


class Checked:
    """Kept by whoever checks one plan after the other. One thread at a time.

    It holds the values that the last plan was checked against, and the names of its lines.
    """

    def __init__(self) -> None:
        self._ground: Ground | None = None
        self._outdated: set[str] = set()
        self._wrong: set[str] = set()
        self._told: Set[str] = frozenset()
        self.held_in_git: Set[str] = frozenset()
        self._going: Mapping[str, object] = {}
        self.moves: dict[str, tuple[object, object, list[str]]] = {}
        """What a node was to become, and the values that this was worked out from."""

    def begin(self, now: Ground) -> None:
        """Work out what is to be looked at because the values of a node are others.

        `held_in_git` are from then on the nodes that git holds without an end.
        """
        before, self._ground = self._ground, None  # nothing is trusted after an exception
        if before is None or before.desired.nodes is not now.desired.nodes:
            wanted = now.desired.nodes
            self.held_in_git = {
                name
                for name, one in wanted.items()
                if one.hold is not None and one.hold.until is None
            }
        after = (now.desired.nodes, now.observed.nodes, now.memory.nodes)
        if (
            before is None
            or before.desired.inventory is not now.desired.inventory
            or before.context != now.context
        ):
            self._outdated = {name for names in after for name in names}
        else:
            former = (before.desired.nodes, before.observed.nodes, before.memory.nodes)
            self._outdated = self._wrong.union(*map(changed, former, after))
        self._wrong = set()

    def going(self, lines: Mapping[str, object]) -> set[str]:
        """The nodes to look at of those with a line in progress now or before, and of all others
        whose values changed.
        """
        before, self._going = self._going, lines
        return self._outdated | changed(before, lines)

    def untold(self, told: Set[str]) -> set[str]:
        """The nodes to look at that have no line, of those that had one before or changed."""
        before, self._told = self._told, told
        return (self._outdated | before) - told

    def wrong(self, name: str) -> None:
        """Something about this node broke a promise: look again next time."""
        self._wrong.add(name)

    def end(self, now: Ground) -> None:
        """Everything was looked at."""
        self._ground = now
