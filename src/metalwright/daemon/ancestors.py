"""The newest of some commits that is an inventory without errors.

What was refused once is refused for ever, so it is not read again. It decides nothing: which
commits are asked about, and what the answer is for, is the caller's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from metalwright.daemon.fleet import Fleet
from metalwright.errors import InventoryError
from metalwright.model.inventory import Inventory

REFUSED_KEPT_MAX: Final = 10_000
"""Ids of refused commits that are kept, so that a daemon of years does not grow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """`inventory` is that of the newest good commit, if one was found, `passed` the number of
    refused ones before it. Not `complete`: as many were read as may be, and older ones are left.
    """

    inventory: Inventory | None = None
    passed: int = 0
    complete: bool = True


class Ancestors:
    """Answers for one fleet; one thread at a time."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._refused: set[str] = set()

    def line(self, revision: str, count_max: int) -> list[str]:
        """The ids of a commit's first parent, that one's first parent, and so on: `count_max` at
        most. Raises RepositoryError.
        """
        commits = self._fleet.repository.commits(revision, count_max + 1, first_parents=True)
        return [commit.id for commit in commits[1:]]

    def newest_good(self, revisions: Iterable[str], loads_max: int) -> Found:
        """The first of these commits, newest first, that is not refused; so many are read at most.

        Raises:
            RepositoryError: one cannot be read.
        """
        loader, passed, loads = self._fleet.loader, 0, 0
        warnings = loader.last_warnings
        try:
            for revision in revisions:
                if revision not in self._refused:
                    if loads == loads_max:
                        return Found(passed=passed, complete=False)
                    loads += 1
                    try:
                        return Found(inventory=loader.load(revision), passed=passed)
                    except InventoryError:
                        self._refuse(revision)
                passed += 1
        finally:
            loader.last_warnings = warnings
        return Found(passed=passed)

    def _refuse(self, revision: str) -> None:
        if len(self._refused) >= REFUSED_KEPT_MAX:
            self._refused.clear()
        self._refused.add(revision)
