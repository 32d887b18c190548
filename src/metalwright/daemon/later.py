"""Which records are of commits that come after the revision in force.

A machine was brought to, or adopted as, what a commit wanted; the revision in force may be an older
one, since the newer cannot be read any more or the branch was set back. What the newer one took
back, the older still wants: it must not be done. This only tells the commits; the plan blocks.
"""

from __future__ import annotations

from collections.abc import Mapping

from metalwright.daemon.fleet import Fleet
from metalwright.model.operation import Applied, Memory, NodeMemory


def without_later(
    records: Mapping[str, Applied], memory: Memory, later: frozenset[str]
) -> Mapping[str, Applied]:
    """New records of nodes, but for those whose record is of one of these later commits: it stays,
    as what tells that it is.
    """

    def stays(name: str) -> bool:
        applied = memory.nodes[name].applied
        return applied is not None and applied.revision in later

    return {name: one for name, one in records.items() if not stays(name)} if later else records


class Later:
    """Asks git about each commit once, as long as the branch goes on from one to the next."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._revision = ""
        self._contained: set[str] = set()
        self._others: dict[str, bool] = {}
        self._answer: tuple[Mapping[str, NodeMemory], frozenset[str]] | None = None

    def of(self, memory: Memory, revision: str) -> frozenset[str]:
        """The commits of these records that descend from a revision. Raises RepositoryError."""
        if revision != self._revision:
            self._move(revision)
        if self._answer is not None and self._answer[0] is memory.nodes:
            return self._answer[1]
        recorded = {one.applied.revision for one in memory.nodes.values() if one.applied}
        self._ask(recorded - self._contained - self._others.keys())
        later = frozenset(one for one in recorded if self._others.get(one))
        self._answer = (memory.nodes, later)
        return later

    def _move(self, revision: str) -> None:
        """What the one before contained its descendants contain too."""
        on = self._revision and self._fleet.repository.is_ancestor(self._revision, revision)
        if not on:
            self._contained = set()
        self._others, self._answer, self._revision = {}, None, revision

    def _ask(self, fresh: set[str]) -> None:
        repository = self._fleet.repository
        outside = repository.outside(self._revision, fresh) if fresh else frozenset()
        known = {one: repository.is_ancestor(self._revision, one) for one in outside}
        self._contained |= fresh - outside
        self._others |= known
